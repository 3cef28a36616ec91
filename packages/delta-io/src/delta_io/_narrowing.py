"""Predicates that let deltalake's engine leave out the files that our own pruning drops.

A rewritten predicate leaves out no file. Every row it is true for is in a file that may hold such rows, so
it is within the bounds that a column of whole numbers has over those files: a comparison with them, added to
the predicate, changes no row, and the engine prunes by it. That is so at one version: the files that another
commit brings are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from msgspec import Struct

from delta_io._compute import pc
from delta_io._predicate import parse
from delta_io._sound import Sound, quote
from delta_io.errors import PredicateError
from delta_io.index import may_hold

if TYPE_CHECKING:
    from delta_io.snapshot import Snapshot

_LARGEST: Final = 1 << 62


class Where(Struct, frozen=True, kw_only=True):
    """The rows that an operation is about: a predicate for all versions, and a narrower one for one."""

    sql: str | None = None
    narrow: str | None = None
    version: int = -1

    def at(self, handle: DeltaTable, commit: CommitProperties) -> str | None:
        """Return the predicate for the version a handle stands at, which then no other commit may follow."""
        if self.narrow is None or handle.version() != self.version:
            return self.sql
        commit.max_commit_retries = 0
        return self.narrow


def narrowed(predicate: str | None, made: Sound | None, snapshot: Snapshot) -> Where:
    """Return what an operation is about, so that few files are read for it."""
    if predicate is None or made is None:
        return Where()
    every = Where(sql=made.sql)
    if made.reason is None:
        return every
    try:
        node = parse(predicate, snapshot.schema)
    except PredicateError:
        return every
    actions, partition_by = snapshot.add_actions(), snapshot.partition_by
    files = actions.filter(may_hold(actions, snapshot.schema, partition_by, node))
    if files.num_rows in (0, actions.num_rows):
        return every

    def left(condition: str) -> int:
        within = parse(condition, snapshot.schema)
        return may_hold(actions, snapshot.schema, partition_by, within).true_count

    best = min(_conditions(files, snapshot), key=left, default=None)
    if best is None or left(best) == actions.num_rows:
        return every
    return Where(sql=made.sql, narrow=f"({made.sql}\n) AND ({best})", version=snapshot.version)


def _conditions(files: pa.Table, snapshot: Snapshot) -> Iterator[str]:
    """Yield conditions that hold for all rows of some files, one for each column that has bounds in all."""
    for field in snapshot.schema:
        if not pa.types.is_integer(field.type):
            continue
        if field.name in snapshot.partition_by:
            lows = highs = _child(files, "partition", field.name)
            null = None if lows is None else lows.is_null()
        else:
            lows, highs = _child(files, "min", field.name), _child(files, "max", field.name)
            counts = _child(files, "null_count", field.name)
            records = files["num_records"].combine_chunks()
            null = None if counts is None else pc.fill_null(pc.equal(counts, records), False)
        if lows is None or highs is None or null is None:
            continue
        if pc.all(pc.or_(pc.and_(lows.is_valid(), highs.is_valid()), null)).as_py():
            yield from _within(field.name, pc.min(lows).as_py(), pc.max(highs).as_py())


def _within(name: str, low: int | None, high: int | None) -> Iterator[str]:
    column = quote(name)
    if low is None or high is None:
        yield f"{column} IS NULL"
    elif -_LARGEST < low <= high < _LARGEST:
        yield f"{column} BETWEEN {low} AND {high} OR {column} IS NULL"


def _child(files: pa.Table, kind: str, name: str) -> pa.Array[Any] | None:
    if kind not in files.column_names:
        return None
    struct = cast("pa.StructArray", files[kind].combine_chunks())
    return pc.struct_field(struct, [name]) if struct.type.get_field_index(name) >= 0 else None
