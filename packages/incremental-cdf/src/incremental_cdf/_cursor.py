"""Where a view stands: what its last refresh consumed, kept in the log of the view's own table."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

CURSOR = "incremental_cdf.cursor"
"""Name under which a commit carries its cursor."""

FORMAT = 1


class Consumed(msgspec.Struct, frozen=True, kw_only=True):
    """A source as a refresh read it; data in memory has neither version nor identifier."""

    version: int | None = None
    table_id: str | None = None


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh consumed and how."""

    view: str
    definition: str
    strategy: str
    code: str
    refresh: int
    """Counts the refreshes of the view; the version of its transaction."""
    sources: dict[str, Consumed]
    format: int = FORMAT

    def to_metadata(self) -> dict[str, str]:
        """Write the cursor as metadata of a commit."""
        return {CURSOR: msgspec.json.encode(self, order="sorted").decode()}


def cursor_of(commit: Mapping[str, object]) -> Cursor | None:
    """Read the cursor out of a commit's metadata, or None if there is none that can be understood."""
    text = commit.get(CURSOR)
    if not isinstance(text, str):
        return None
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
    except msgspec.MsgspecError:
        return None
    return cursor if cursor.format == FORMAT else None


def application_id(view: str) -> str:
    """Name the application under which a view's transactions are counted."""
    return f"incremental_cdf/{view}"
