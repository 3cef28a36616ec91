"""Strategies of views for property tests; needs hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from hypothesis import strategies as st

from incremental_cdf._names import quote
from incremental_cdf.view import RefreshMode, View

__all__ = ["views"]

_AGGREGATES = ("count({})", "min({})", "max({})", "count(DISTINCT {})")


@st.composite
def views(
    draw: st.DrawFn,
    tables: Mapping[str, pa.Schema],
    target: str,
    *,
    name: str = "view",
    refresh: RefreshMode = "incremental",
) -> View:
    """Draw views over tables: filters, groups, inner and left joins, self joins.

    Every query means the same in any engine that speaks standard SQL, so that another one can be the judge.

    Parameters
    ----------
    tables : Mapping of str to pyarrow.Schema
        Columns of each table; a table is joined to another by columns of the same type.
    target : str
        Path or URI of the view's table.
    name : str
        Name of the view.
    refresh : str
        Its refresh mode.

    Returns
    -------
    hypothesis.strategies.SearchStrategy of View
    """
    first = draw(st.sampled_from(sorted(tables)))
    scope = [("a", column) for column in tables[first]]
    source = f"{quote(first)} AS a"
    if draw(st.booleans()):
        source, scope = _joined(draw, tables, source, scope)
    kept = [column for column in scope if column[0] == "a"]
    where = f" WHERE {draw(_conditions(scope))}" if draw(st.booleans()) else ""
    keys = draw(st.lists(st.sampled_from(kept), min_size=1, max_size=2, unique_by=lambda item: item[1].name))
    items = [f"{_text(column)} AS k{position}" for position, column in enumerate(keys)]
    others = draw(st.lists(st.sampled_from(scope), max_size=2))
    if draw(st.booleans()):
        items += [
            f"{draw(st.sampled_from(_AGGREGATES)).format(_text(column))} AS v{position}"
            for position, column in enumerate(others)
        ]
        group = ", ".join(_text(column) for column in keys)
        query = f"SELECT {', '.join(items)} FROM {source}{where} GROUP BY {group}"
        return View(name, query, target, refresh=refresh)
    items += [f"{_text(column)} AS v{position}" for position, column in enumerate(others)]
    query = f"SELECT {', '.join(items)} FROM {source}{where}"
    key = tuple(f"k{position}" for position in range(len(keys)))
    return View(name, query, target, key=key, refresh=refresh)


_Column = tuple[str, pa.Field]


def _joined(
    draw: st.DrawFn, tables: Mapping[str, pa.Schema], source: str, scope: list[_Column]
) -> tuple[str, list[_Column]]:
    second = draw(st.sampled_from(sorted(tables)))
    pairs = [(left, ("b", right)) for left in scope for right in tables[second] if left[1].type == right.type]
    if not pairs:
        return source, scope
    left, right = draw(st.sampled_from(pairs))
    kind = draw(st.sampled_from(["JOIN", "LEFT JOIN"]))
    joined = f"{source} {kind} {quote(second)} AS b ON {_text(left)} = {_text(right)}"
    return joined, [*scope, *(("b", column) for column in tables[second])]


def _conditions(scope: Sequence[_Column]) -> st.SearchStrategy[str]:
    tests = st.sampled_from(["{} IS NULL", "{} IS NOT NULL", "{0} = {0}"])
    one = st.tuples(st.sampled_from(scope), tests).map(lambda pair: pair[1].format(_text(pair[0])))
    return st.lists(one, min_size=1, max_size=2).map(" OR ".join)


def _text(column: _Column) -> str:
    alias, field = column
    return f"{alias}.{quote(field.name)}"
