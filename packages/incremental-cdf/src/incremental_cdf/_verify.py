"""Comparing a view's table with its query, in the engine."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from df_runtime import Session
from incremental_cdf._names import quote
from incremental_cdf._steps import DIFFERENCE, WEIGHT, difference

MATCHED = '"@matched"'
_SAMPLE_ROWS = 10
_TOLERANCE = {pa.float32(): 1e-5, pa.float64(): 1e-9}


class Comparison(NamedTuple):
    """How two bags of rows differ."""

    rows: int
    missing: int
    extra: int
    close: int
    missing_rows: tuple[dict[str, Any], ...]
    extra_rows: tuple[dict[str, Any], ...]


def compare(session: Session, schema: pa.Schema, query: str, found: str) -> Comparison:
    """Compare the result of a query with a table of the same columns as bags.

    Rows that differ in floating-point columns only, by no more than the order of additions explains, are
    equal.
    """
    differing = session.sql(difference(schema.names, f"(\n{query}\n)", found)).to_arrow()
    session.register(DIFFERENCE, differing)
    floats = [field for field in schema if field.type in _TOLERANCE]
    close = 0
    if floats and differing.num_rows:
        matched = session.sql(_matched(schema, floats)).to_arrow()
        session.register(MATCHED, matched)
        close = _sum(session, f"SELECT sum(abs({WEIGHT})) FROM {MATCHED}") // 2
        session.register(DIFFERENCE, session.sql(_unmatched(schema)).to_arrow())
    missing = _sum(session, f"SELECT sum({WEIGHT}) FROM {DIFFERENCE} WHERE {WEIGHT} > 0")
    extra = -_sum(session, f"SELECT sum({WEIGHT}) FROM {DIFFERENCE} WHERE {WEIGHT} < 0")
    return Comparison(
        rows=_sum(session, f"SELECT count(*) FROM {found}") + missing - extra,
        missing=missing,
        extra=extra,
        close=close,
        missing_rows=_sample(session, schema, ">"),
        extra_rows=_sample(session, schema, "<"),
    )


def _sum(session: Session, query: str) -> int:
    return session.sql(query).to_arrow().column(0)[0].as_py() or 0


def _sample(session: Session, schema: pa.Schema, sign: str) -> tuple[dict[str, Any], ...]:
    columns = ", ".join(quote(name) for name in schema.names)
    query = f"SELECT {columns} FROM {DIFFERENCE} WHERE {WEIGHT} {sign} 0 LIMIT {_SAMPLE_ROWS}"
    return tuple(session.sql(query).to_arrow().to_pylist())


def _matched(schema: pa.Schema, floats: list[pa.Field]) -> str:
    """Write the query for both rows of each pair that is equal but for rounding.

    Such rows have the same rank among the rows that are equal in all other columns.
    """
    others = [quote(field.name) for field in schema if field not in floats]
    order = ", ".join(quote(field.name) for field in floats)
    partition = f"PARTITION BY {', '.join(others)} " if others else ""
    rank = f'row_number() OVER ({partition}ORDER BY {order}) AS "@rank"'
    sides = [
        f"(SELECT *, {rank} FROM {DIFFERENCE} WHERE {WEIGHT} {sign} 0) AS {name}"
        for sign, name in ((">", "w"), ("<", "f"))
    ]
    same = ['w."@rank" = f."@rank"', f"w.{WEIGHT} = -f.{WEIGHT}"]
    same += [f"w.{name} IS NOT DISTINCT FROM f.{name}" for name in others]
    same += [_close(field) for field in floats]
    pairs = f"FROM {sides[0]} JOIN {sides[1]} ON {' AND '.join(f'({term})' for term in same)}"
    columns = [quote(name) for name in schema.names]
    halves = [
        f"SELECT {', '.join(f'{side}.{name} AS {name}' for name in [*columns, WEIGHT])} {pairs}"
        for side in ("w", "f")
    ]
    return "\nUNION ALL\n".join(halves)


def _close(field: pa.Field) -> str:
    one, other = f"w.{quote(field.name)}", f"f.{quote(field.name)}"
    largest = f"greatest(abs({one}), abs({other}), 1e-3)"
    close = f"abs({one} - {other}) <= {_TOLERANCE[field.type]!r} * {largest}"
    return f"({one} IS NOT DISTINCT FROM {other}) OR {close}"


def _unmatched(schema: pa.Schema) -> str:
    columns = [*(quote(name) for name in schema.names), WEIGHT]
    same = " AND ".join(f"(m.{name} IS NOT DISTINCT FROM d.{name})" for name in columns)
    return (
        f"SELECT {', '.join(f'd.{name} AS {name}' for name in columns)} FROM {DIFFERENCE} AS d "
        f"WHERE NOT EXISTS (SELECT 1 FROM {MATCHED} AS m WHERE {same})"
    )
