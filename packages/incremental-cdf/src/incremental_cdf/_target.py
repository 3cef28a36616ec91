"""The table of a view: what is there, who wrote it, and what its last refresh consumed."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from delta_io import Snapshot, Table
from incremental_cdf._block import Refusal
from incremental_cdf._cursor import Cursor, application_id, cursor_of
from incremental_cdf._sources import CHANGES_GONE, Changes
from incremental_cdf.errors import TargetError
from incremental_cdf.view import View


class Target(NamedTuple):
    """A view's table at the moment it was looked at."""

    table: Table
    snapshot: Snapshot
    cursor: Cursor | None
    reset: Refusal | None
    """Why what the table holds cannot be built upon."""


def read_target(view: View, table: Table) -> Target:
    """Look at the table of a view.

    Raises
    ------
    TargetError
        The table holds data that no view wrote.
    """
    snapshot = table.snapshot()
    cursor, version = _last_cursor(table, snapshot.version)
    if cursor is not None:
        return Target(table, snapshot, cursor, _foreign_changes(table, version, snapshot.version))
    if table.transaction_version(application_id(view.name)) is not None:
        reason = "its table's log no longer says what the last refresh consumed"
        return Target(table, snapshot, None, Refusal("cursor-lost", reason))
    if any(commit.operation != "CREATE TABLE" for commit in table.history()):
        message = (
            f"View {view.name} is to be kept at {view.target}, where there is a table that no view wrote; "
            "choose another target, or move that table away."
        )
        raise TargetError(message)
    return Target(table, snapshot, None, Refusal("first-build", "its table is empty and was never refreshed"))


def _last_cursor(table: Table, newest: int) -> tuple[Cursor | None, int]:
    for version in range(newest, -1, -1):
        try:
            cursor = cursor_of(table.commit_info(version).metadata)
        except CHANGES_GONE:
            break
        if cursor is not None:
            return cursor, version
    return None, 0


def _foreign_changes(table: Table, since: int, newest: int) -> Refusal | None:
    if since == newest:
        return None
    reason = f"its table was changed by others after version {since}"
    try:
        changed = not Changes(table.changes(since=since, until=newest)).is_none
    except CHANGES_GONE:
        changed = True
    return Refusal("target-modified", reason) if changed else None


def same_columns(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether two schemas have the same names and types in the same order."""
    return one.names == other.names and all(a.type == b.type for a, b in zip(one, other, strict=True))
