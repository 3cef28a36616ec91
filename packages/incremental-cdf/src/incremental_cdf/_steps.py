"""The queries of a refresh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from incremental_cdf._affected import AffectedKeys, key_column, matches_key
from incremental_cdf._names import quote
from incremental_cdf._types import stored_query
from incremental_cdf.plan import SqlStep

ROWS = '"@rows"'
STORED = '"@stored"'
DIFFERENCE = '"@difference"'
CHANGED_KEYS = '"@changed_keys"'
WEIGHT = '"@weight"'


def full_steps(query: str, result: pa.Schema, stored: pa.Schema) -> tuple[SqlStep, ...]:
    """Write the steps that recompute a view: its rows and, where it can be told, what is different."""
    rows = SqlStep(name="rows", sql=stored_query(query, result, stored))
    if not is_comparable(stored):
        return (rows,)
    return rows, SqlStep(name="difference", sql=difference(stored.names, ROWS, STORED))


def affected_steps(
    affected: AffectedKeys, changed: frozenset[str], result: pa.Schema, stored: pa.Schema
) -> tuple[SqlStep, ...]:
    """Write the steps that recompute the rows of a view with affected keys."""
    steps = [
        SqlStep(name="keys", sql=affected.keys_query(changed)),
        SqlStep(name="rows", sql=stored_query(affected.rows_query(), result, stored)),
    ]
    if not is_comparable(stored):
        return tuple(steps)
    columns = ", ".join(quote(name) for name in stored.names)
    key = [quote(name) for name in affected.key]
    touched = f"(SELECT {columns} FROM {STORED} WHERE {matches_key(key)})"
    aliased = ", ".join(f"{name} AS {key_column(position)}" for position, name in enumerate(key))
    replacement = f"SELECT {columns} FROM {ROWS} WHERE {matches_key(key, CHANGED_KEYS)}"
    steps += [
        SqlStep(name="difference", sql=difference(stored.names, ROWS, touched)),
        SqlStep(name="changed_keys", sql=f"SELECT DISTINCT {aliased} FROM {DIFFERENCE}"),
        SqlStep(name="replacement", sql=replacement),
    ]
    return (*steps, *_by_one_column(columns, key, replacement))


def replacement_by(position: int) -> str:
    """Name the step that replaces rows by one column of a key."""
    return f"replacement_by_{position}"


def _by_one_column(columns: str, key: Sequence[str], replacement: str) -> Iterator[SqlStep]:
    """Write the steps that let one column stand for a key of several.

    Rows that share the value of that column with a changed key are written back as they are. A condition on
    one column is worth it: writers take seconds over a condition on a thousand combinations.
    """
    if len(key) == 1:
        return
    shares = [_shares_value(position, name) for position, name in enumerate(key)]
    counts = (
        f"SELECT {position} AS place, count(*) AS sharing FROM {STORED} WHERE {share}"
        for position, share in enumerate(shares)
    )
    yield SqlStep(name="sharing", sql="\nUNION ALL\n".join(counts))
    for position, share in enumerate(shares):
        kept = f"SELECT {columns} FROM {STORED} WHERE {share} AND NOT {matches_key(key, CHANGED_KEYS)}"
        yield SqlStep(name=replacement_by(position), sql=f"{replacement}\nUNION ALL\n{kept}")


def _shares_value(position: int, name: str) -> str:
    return f"EXISTS (SELECT 1 FROM {CHANGED_KEYS} WHERE {key_column(position)} IS NOT DISTINCT FROM {name})"


def difference(names: Sequence[str], wanted: str, found: str) -> str:
    """Write the query for the rows by which two bags differ, weighed by how many more are wanted."""
    columns = ", ".join(quote(name) for name in names)
    return (
        f"SELECT {columns}, sum({WEIGHT}) AS {WEIGHT} FROM (\n"
        f"SELECT {columns}, CAST(1 AS BIGINT) AS {WEIGHT} FROM {wanted} AS {quote('@wanted')}\n"
        f"UNION ALL\n"
        f"SELECT {columns}, CAST(-1 AS BIGINT) AS {WEIGHT} FROM {found} AS {quote('@found')}\n"
        f") AS {quote('@both')}\n"
        f"GROUP BY {columns}\nHAVING sum({WEIGHT}) <> 0"
    )


def is_comparable(schema: pa.Schema) -> bool:
    """Whether rows can be grouped by all of their columns."""
    return len(schema) > 0 and not any(_has_map(field.type) for field in schema)


def _has_map(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return True
    return any(_has_map(kind.field(position).type) for position in range(kind.num_fields))
