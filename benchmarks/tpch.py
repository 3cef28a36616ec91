"""TPC-H through a Freshlake session, and through the other ways to reach the same files.

Each way runs in a process of its own, with a limit of memory, and only one of them works at a time.

Run ``uv run python benchmarks/tpch.py``. With ``--write docs/performance.md`` the tables
replace the ones in that file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from _apart import apart
from _report import markdown, replace_between, setting
from _timing import Timing, Timings, disagreements, measure
from _tpch_data import lookup_queries, prepare, tpch_queries
from _ways import WAYS, Way

DATA = Path(__file__).parent / ".data"
MARK = "tpch"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data, compare the answers, measure, and report."""
    options = parse_arguments(arguments)
    lake = prepare(options.data / f"tpch-sf{options.scale}", options.scale)
    groups = {"TPC-H": tpch_queries(options.scale), "look-ups": lookup_queries(lake)}
    queries = {name: text for group in groups.values() for name, text in group.items()}
    with apart(options.ways, lake, options.memory << 30) as ways:
        if wrong := disagreements(ways, queries):
            print("\n".join(wrong), file=sys.stderr)
            return 1
        timings = measure(ways, queries, rounds=options.rounds, seed=options.seed)
    report = render(ways, groups, timings, options)
    print(report)
    if options.write:
        replace_between(options.write, MARK, report)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="TPC-H over one set of Delta tables, several ways.")
    parser.add_argument("--scale", type=Decimal, default=Decimal(1), help="scale factor (1)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    parser.add_argument("--memory", type=int, default=8, help="GiB that the engine of each way may use (8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the orders within the rounds (0)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to compare (all)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the data between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables to replace")
    return parser.parse_args(arguments)


def render(
    ways: Mapping[str, Way],
    groups: Mapping[str, Mapping[str, str]],
    timings: Timings,
    options: argparse.Namespace,
) -> str:
    """Write the report in Markdown."""
    tpch, lookups = groups["TPC-H"], groups["look-ups"]
    shared = [query for query in tpch if all(math.isfinite(timings[way, query].median) for way in ways)]
    total = f"**{len(shared)} queries**" if len(shared) == len(tpch) else f"**{len(shared)} that all answer**"
    totals = {
        (way, total): sum((timings[way, query] for query in shared), Timing(best=0.0, median=0.0))
        for way in ways
    }
    rows = table(ways, list(tpch), timings) + table(ways, [total], totals)[2:]
    ratios = {**timings, **totals}
    what = f"Scale factor {options.scale}, {options.rounds} rounds, {options.memory} GiB for each engine"
    return "\n\n".join(
        [
            setting(what),
            "Milliseconds, best / median:",
            "\n".join(rows),
            "\n".join(table(ways, list(lookups), timings)),
            "Our time as a multiple of theirs, best / median (below 1 is faster):",
            "\n".join(ratio_table(ways, [total, *lookups], ratios)),
        ]
    )


def table(ways: Mapping[str, Way], queries: Sequence[str], timings: Timings) -> list[str]:
    """Write one row per query, one column per way."""
    head = ["query", *(way.title for way in ways.values())]
    body = [[query, *(milliseconds(timings[way, query]) for way in ways)] for query in queries]
    return markdown(head, body)


def ratio_table(ways: Mapping[str, Way], queries: Sequence[str], timings: Timings) -> list[str]:
    """Write the first way's time as a multiple of each other's."""
    first, *others = ways
    head = ["query", *(ways[other].title for other in others)]
    body = [
        [query, *(multiple(timings[first, query], timings[other, query]) for other in others)]
        for query in queries
    ]
    return markdown(head, body)


def milliseconds(timing: Timing) -> str:
    """Write a time with a decimal where it matters."""
    if not math.isfinite(timing.median):
        return "out of memory"
    digits = 1 if timing.best < 0.1 else 0
    return f"{timing.best * 1e3:,.{digits}f} / {timing.median * 1e3:,.{digits}f}"


def multiple(ours: Timing, theirs: Timing) -> str:
    """Write how many times as long ours takes."""
    if not (math.isfinite(ours.median) and math.isfinite(theirs.median)):
        return "-"
    return f"{ours.best / theirs.best:.2f} / {ours.median / theirs.median:.2f}"


if __name__ == "__main__":
    sys.exit(main())
