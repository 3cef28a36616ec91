"""The tables that views read: opened once and pinned once for each run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal, NamedTuple

import pyarrow as pa

from delta_io import (
    ChangeSet,
    ChangesUnavailableError,
    Snapshot,
    StorageError,
    Table,
    UnsupportedError,
    VersionNotFoundError,
)
from df_runtime import DatasetUnknownError, Session
from df_runtime.datasets import ArrowStreamExportable
from incremental_cdf.errors import SourceUnknownError, SourceUnsupportedError
from incremental_cdf.view import View

WEIGHT_COLUMN = "_weight"

CHANGES_GONE = (ChangesUnavailableError, VersionNotFoundError, UnsupportedError, StorageError)
"""What says that the changes between two versions can no longer be told."""


class Size(NamedTuple):
    """How large a dataset is, as far as its files tell."""

    rows: int
    bytes: int


class Changes:
    """The rows that differ between two versions of a table, consolidated when they are first asked for."""

    def __init__(self, found: ChangeSet) -> None:
        self._found = found
        self._rows: pa.Table | None = None

    @property
    def is_none(self) -> bool:
        """Whether no commit in between changed data."""
        return self._found.source == "none" or not self._found.files

    @property
    def estimate(self) -> int:
        """How many rows differ at most, as far as that is known without reading them."""
        return self._found.rows_estimate

    def rows(self) -> pa.Table:
        """Return the rows, each once, with how many more of it there are than before."""
        if self._rows is None:
            self._rows = self._found.weighted().read_all()
        return self._rows

    def count(self) -> int:
        """How many rows appeared or disappeared."""
        return sum(abs(weight) for weight in self.rows().column(WEIGHT_COLUMN).to_pylist())


class TableSource:
    """A Delta table, pinned when it is first looked at."""

    def __init__(
        self, name: str, kind: Literal["table", "view"], table: Table, version: int | None = None
    ) -> None:
        self.name = name
        self.kind: Literal["table", "view"] = kind
        self._table = table
        self._version = version
        self._newest: Snapshot | None = None
        self._snapshots: dict[int, Snapshot] = {}
        self._changes: dict[tuple[int, int], Changes] = {}

    def newest(self) -> Snapshot:
        """Return the version that this run reads."""
        if self._newest is None:
            self._newest = self._table.snapshot(version=self._version)
            self._snapshots[self._newest.version] = self._newest
        return self._newest

    def unpin(self) -> None:
        """Look for the newest version again when asked for it next."""
        self._newest = None

    def at(self, version: int) -> Snapshot:
        """Return the table at a version."""
        if version not in self._snapshots:
            self._snapshots[version] = self._table.snapshot(version=version)
        return self._snapshots[version]

    def changes(self, old: int, new: int) -> Changes:
        """Return the rows that differ between two versions."""
        if (old, new) not in self._changes:
            self._changes[old, new] = Changes(self._table.changes(since=old, until=new))
        return self._changes[old, new]

    def size(self, version: int) -> Size:
        """Size of the table at a version."""
        return snapshot_size(self.at(version))

    def primary_key(self) -> tuple[str, ...]:
        """Return the primary key that the table's contract declares."""
        spec = self.newest().spec
        return tuple(spec.primary_key)


class DataSource(NamedTuple):
    """Data in memory, which has no versions."""

    name: str
    data: ArrowStreamExportable
    schema: pa.Schema
    size: Size


class Catalog:
    """Finds what the names in views' queries mean.

    Parameters
    ----------
    session : Session
        Where names that are no views are registered.
    views : Mapping of str to View
        The views by the names under which queries read them.
    storage_options : Mapping of str to str, optional
        For opening the views' tables.
    """

    def __init__(
        self, session: Session, views: Mapping[str, View], storage_options: Mapping[str, str] | None
    ) -> None:
        self.session = session
        self.views = views
        self._storage_options = storage_options
        self._found: dict[str, TableSource | DataSource] = {}
        self._targets: dict[str, Table] = {}

    def source(self, name: str, reader: str) -> TableSource | DataSource | None:
        """Find what a view reads under a name.

        Parameters
        ----------
        name : str
            Canonical name.
        reader : str
            The view that reads it.

        Returns
        -------
        TableSource, DataSource or None
            None for a view that has no table yet.

        Raises
        ------
        SourceUnknownError
            Nothing has the name.
        SourceUnsupportedError
            What has the name cannot be pinned.
        """
        if name not in self._found:
            view = self.views.get(name)
            if view is None:
                self._found[name] = self._registered(name, reader)
            elif (table := self.open_target(view)) is not None:
                self._found[name] = TableSource(name, "view", table)
        return self._found.get(name)

    def forget(self, name: str) -> None:
        """Look a source up again when it is asked for next."""
        found = self._found.get(name)
        if isinstance(found, TableSource):
            found.unpin()

    def open_target(self, view: View) -> Table | None:
        """Open the table of a view, or None if it has none yet."""
        if view.name not in self._targets:
            if not Table.exists(view.target, storage_options=self._storage_options):
                return None
            self._targets[view.name] = Table(view.target, storage_options=self._storage_options)
        return self._targets[view.name]

    @property
    def storage_options(self) -> Mapping[str, str] | None:
        """What the views' tables are opened with."""
        return self._storage_options

    def _registered(self, name: str, reader: str) -> TableSource | DataSource:
        try:
            source = self.session.source(name)
        except DatasetUnknownError as error:
            raise self._unknown(name, reader) from error
        resolution = self.session.resolution(name)
        if isinstance(source, Snapshot):
            table = Table(source.uri, storage_options=source.storage_options)
            return TableSource(name, "table", table, source.version)
        if isinstance(source, Table):
            return TableSource(name, "table", source, resolution.version if resolution.pinned else None)
        if resolution.kind != "arrow" or not isinstance(source, ArrowStreamExportable):
            what = {"view": "a query of the session", "stream": "a one-shot stream"}.get(
                resolution.kind, "changes"
            )
            message = (
                f"View {reader} reads {name}, which is {what} and has no versions to go back to; "
                "make it a view of the set or register a table."
            )
            raise SourceUnsupportedError(message, view=reader)
        size = Size(resolution.rows or 0, resolution.bytes or 0)
        return DataSource(name, source, self.session.schema(name), size)

    def _unknown(self, name: str, reader: str) -> SourceUnknownError:
        known = sorted({*self.views, *self.session.tables()})
        close = tuple(difflib.get_close_matches(name, known, n=3))
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"there are {', '.join(known) or 'no tables'}."
        )
        message = f"View {reader} reads {name}, which is neither a view nor a table of the session; {hint}"
        return SourceUnknownError(message, view=reader, suggestions=close)


def snapshot_size(snapshot: Snapshot) -> Size:
    """Size of a table at a version, by its files' statistics."""
    counts = snapshot.add_actions().column("num_records").to_pylist()
    return Size(sum(count or 0 for count in counts), snapshot.files().bytes)
