"""Measuring in shuffled rounds, and comparing what came back."""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from _ways import OutOfMemoryError, Way


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one query run one way, over all rounds; infinitely many where it could not be answered."""

    best: float
    median: float

    def __add__(self, other: Timing) -> Timing:
        return Timing(best=self.best + other.best, median=self.median + other.median)


Timings = Mapping[tuple[str, str], Timing]


def measure(ways: Mapping[str, Way], queries: Mapping[str, str], *, rounds: int, seed: int) -> Timings:
    """Time every query every way, in an order that differs from round to round.

    Parameters
    ----------
    ways : Mapping[str, Way]
        What to run, by name.
    queries : Mapping[str, str]
        SQL texts, by name.
    rounds : int
        How often each pair is timed.
    seed : int
        Makes the orders repeatable.
    """
    pairs = [(way, query) for way in ways for query in queries]
    seconds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    shuffler = random.Random(seed)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        shuffler.shuffle(pairs)
        for way, query in pairs:
            seconds[way, query].append(elapsed(ways[way], queries[query]))
    return {pair: Timing(best=min(each), median=statistics.median(each)) for pair, each in seconds.items()}


def elapsed(way: Way, query: str) -> float:
    """Return the seconds that a query takes, infinitely many where memory does not suffice."""
    try:
        return way.answer(query).seconds
    except OutOfMemoryError as failure:
        print(f"{way.title}: {failure}", file=sys.stderr)
        return math.inf


def disagreements(ways: Mapping[str, Way], queries: Mapping[str, str]) -> list[str]:
    """Run every query every way once, and say which answers are not those of the first that has one."""
    found: list[str] = []
    for name, query in queries.items():
        answers = {way: rows for way in ways if (rows := answered(ways[way], query)) is not None}
        reference, *others = answers or [""]
        for other in others:
            exact = ways[reference].exact and ways[other].exact
            if not same_rows(answers[reference], answers[other], exact=exact):
                found.append(f"{name}: {other} answers otherwise than {reference}")
    return found


def answered(way: Way, query: str) -> list[tuple[Any, ...]] | None:
    """Return the rows of an answer, and none where memory does not suffice for one."""
    try:
        return rows_of(way.run(query))
    except OutOfMemoryError as failure:
        print(f"{way.title}: {failure}", file=sys.stderr)
        return None


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return the rows, sorted, whatever the columns are called."""
    columns = [column.to_pylist() for column in table.columns]
    return sorted(zip(*columns, strict=True), key=_rank)


def _rank(row: Sequence[Any]) -> list[tuple[bool, str]]:
    # Numbers last and rounded: engines differ in the last digits of averages.
    texts = [(_is_number(value), f"{value:020.2f}" if _is_number(value) else str(value)) for value in row]
    return sorted(texts, key=lambda each: each[0])


def same_rows(expected: Iterable[Sequence[Any]], actual: Iterable[Sequence[Any]], *, exact: bool) -> bool:
    """Compare sorted rows; where not exact, numbers need agree to five digits only."""
    left, right = list(expected), list(actual)
    return len(left) == len(right) and all(
        len(one) == len(other) and all(_same(a, b, exact) for a, b in zip(one, other, strict=True))
        for one, other in zip(left, right, strict=True)
    )


def _same(one: Any, other: Any, exact: bool) -> bool:
    if exact or not (_is_number(one) and _is_number(other)):
        return bool(one == other)
    return math.isclose(float(one), float(other), rel_tol=1e-5, abs_tol=1e-5)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal)
