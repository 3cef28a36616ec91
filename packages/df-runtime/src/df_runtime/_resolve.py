"""From what the user registers to what the engine scans: the only place that decides it."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

import pyarrow as pa

from datafusion_ext import DeltaScan, Engine, EngineError
from delta_io import ChangeSet, Snapshot, Table
from df_runtime._lexer import starts_query
from df_runtime._names import TableName
from df_runtime._references import table_references
from df_runtime.datasets import (
    ArrowStreamExportable,
    DatasetIdentity,
    DatasetKind,
    DatasetResolution,
    DatasetSource,
)
from df_runtime.errors import DatasetSourceError, DatasetUnsupportedError

if TYPE_CHECKING:
    from datafusion import SessionContext


class Dataset(ABC):
    """One registered source, bound to what the engine reads at one moment.

    Attributes
    ----------
    source : object
        What the user registered.
    reusable : bool
        Whether a plan over the dataset can outlive the session: it has an identity that means the same
        elsewhere.
    """

    source: DatasetSource
    reusable: bool = False
    depends: frozenset[TableName] = frozenset()

    @abstractmethod
    def attach(self, engine: Engine, name: TableName) -> None:
        """Make the engine know the dataset under the name, in place of what it knew before."""

    @abstractmethod
    def attach_context(self, context: SessionContext, name: TableName) -> None:
        """Make a context of the `datafusion` package know the dataset under a name that it has not."""

    @abstractmethod
    def identity(self, name: TableName) -> DatasetIdentity:
        """Tell this dataset, as bound, from every other."""

    @abstractmethod
    def resolution(self, name: str) -> DatasetResolution:
        """Describe how the dataset was resolved."""


class DeltaDataset(Dataset):
    """A Delta table at one snapshot; followed to newer snapshots unless pinned."""

    reusable = True

    def __init__(self, source: DatasetSource, snapshot: Snapshot, *, follows: Table | None) -> None:
        self.source: DatasetSource = source
        self.snapshot = snapshot
        self.follows = follows
        self.scan = native_scan(snapshot)

    def advanced(self, snapshot: Snapshot) -> DeltaDataset:
        """Bind to another snapshot; itself if nothing was committed in between."""
        mine = self.snapshot
        if snapshot.version == mine.version and snapshot.table_id == mine.table_id:
            return self
        return DeltaDataset(self.source, snapshot, follows=self.follows)

    def attach(self, engine: Engine, name: TableName) -> None:
        engine.register_delta(name.quoted(), self.scan)

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        context.register_table(name.quoted(), self.scan)

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(
            name=name.quoted(),
            kind="delta",
            uri=self.snapshot.uri,
            version=self.snapshot.version,
            table_id=self.snapshot.table_id,
            schema_identity_hash=self._schema_identity_hash,
        )

    @cached_property
    def _schema_identity_hash(self) -> str:
        return self.snapshot.schema_identity_hash

    def resolution(self, name: str) -> DatasetResolution:
        return DatasetResolution(
            name=name,
            kind="delta",
            provider="native",
            pinned=self.follows is None,
            uri=self.snapshot.uri,
            version=self.snapshot.version,
            timestamp=self.snapshot.timestamp,
            table_id=self.snapshot.table_id,
            schema_identity_hash=self.snapshot.schema_identity_hash,
            files=self.scan.num_files,
            rows=self.scan.num_rows,
            bytes=self.snapshot.files().bytes,
        )


class ArrowDataset(Dataset):
    """Rows in memory: Arrow data, or the rows of a change set."""

    def __init__(self, source: ArrowStreamExportable | ChangeSet, data: pa.Table, kind: DatasetKind) -> None:
        self.source = source
        self.data = data
        self.kind: DatasetKind = kind
        self._uri = f"memory:{uuid.uuid4().hex}"

    def attach(self, engine: Engine, name: TableName) -> None:
        engine.register_batches(name.quoted(), self.data)

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        batches = self.data.to_batches() or [pa.RecordBatch.from_pylist([], schema=self.data.schema)]
        context.register_record_batches(name.quoted(), [batches])

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(name=name.quoted(), kind=self.kind, uri=self._uri)

    def resolution(self, name: str) -> DatasetResolution:
        size, rows = self.data.nbytes, self.data.num_rows
        return DatasetResolution(name=name, kind=self.kind, provider="memory", rows=rows, bytes=size)


class StreamDataset(Dataset):
    """A stream that the first query over it reads."""

    def __init__(self, source: pa.RecordBatchReader) -> None:
        self.source: pa.RecordBatchReader = source
        self._uri = f"stream:{uuid.uuid4().hex}"

    def attach(self, engine: Engine, name: TableName) -> None:
        engine.register_stream(name.quoted(), self.source)

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        """Do nothing: a stream has one reader, and that is the session."""

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(name=name.quoted(), kind="stream", uri=self._uri)

    def resolution(self, name: str) -> DatasetResolution:
        return DatasetResolution(name=name, kind="stream", provider="stream")


class ViewDataset(Dataset):
    """A query under a name."""

    reusable = True

    def __init__(self, query: str, depends: frozenset[TableName], *, exact: bool) -> None:
        self.source = query
        self.query = query
        self.depends = depends
        self.exact = exact

    def attach(self, engine: Engine, name: TableName) -> None:
        engine.register_view(name.quoted(), self.query)

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        context.register_view(name.quoted(), context.sql(self.query))

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(name=name.quoted(), kind="view", definition=self.query)

    def resolution(self, name: str) -> DatasetResolution:
        return DatasetResolution(
            name=name,
            kind="view",
            provider="view",
            pinned=False,
            query=self.query,
            depends=tuple(sorted(dependency.quoted() for dependency in self.depends)),
        )


class _NameReader(Protocol):
    """Reads names with the defaults of one session."""

    def __call__(self, text: str) -> TableName:
        """Read one name."""
        ...


def resolve(
    source: object,
    *,
    version: int | None = None,
    timestamp: datetime | str | None = None,
    known: Iterable[TableName],
    read_name: _NameReader,
) -> Dataset:
    """Bind a source to what the engine will read.

    Parameters
    ----------
    source : DatasetSource
        What the user registered.
    version, timestamp : optional
        Which snapshot of a Delta table; the newest at each query if both are left out.
    known : iterable of TableName
        What a view can refer to.
    read_name : callable
        Reads a name with the session's defaults.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetSourceError
        The source is of no known kind, or a version was asked of something that has none.
    DatasetUnsupportedError
        The engine cannot scan the table correctly.
    delta_io.DeltaIoError
        The table cannot be opened, or does not have the version.
    """
    if isinstance(source, str) and starts_query(source):
        _refuse_version("A view", version, timestamp)
        depends, exact = table_references(source, known, read_name)
        return ViewDataset(source, depends, exact=exact)
    if isinstance(source, (str, os.PathLike)):
        source = Table(os.fspath(cast("str | os.PathLike[str]", source)))
    if isinstance(source, Table):
        return _resolve_table(source, version, timestamp)
    _refuse_version(f"A {type(source).__name__}", version, timestamp)
    if isinstance(source, Snapshot):
        return DeltaDataset(source, source, follows=None)
    if isinstance(source, ChangeSet):
        changes: ChangeSet = source
        return ArrowDataset(changes, changes.to_reader().read_all(), "changes")
    if isinstance(source, pa.RecordBatchReader):
        return StreamDataset(source)
    if isinstance(source, ArrowStreamExportable):
        return ArrowDataset(source, pa.RecordBatchReader.from_stream(source).read_all(), "arrow")
    found = type(source).__name__
    raise DatasetSourceError(
        f"Cannot register a {found}: "
        "give a URI, Table, Snapshot, ChangeSet, Arrow data or the text of a query."
    )


def native_scan(snapshot: Snapshot) -> DeltaScan:
    """Hand a snapshot to the engine as its own Parquet scan.

    Parameters
    ----------
    snapshot : Snapshot

    Returns
    -------
    DeltaScan

    Raises
    ------
    DatasetUnsupportedError
        The table uses what the scan does not implement; the message says what.
    """
    try:
        return DeltaScan(
            snapshot.uri,
            snapshot.schema,
            snapshot.add_actions(),
            partition_columns=snapshot.partition_by,
            column_mapping=snapshot.column_mapping,
            storage_options=dict(snapshot.storage_options),
            version=snapshot.version,
        )
    except EngineError as error:
        raise _unsupported(snapshot, str(error.message)) from error


def _unsupported(snapshot: Snapshot, reason: str) -> DatasetUnsupportedError:
    return DatasetUnsupportedError(
        f"The engine cannot scan {snapshot.uri} at version {snapshot.version}: {reason}. "
        "Read it with `delta_io.Snapshot.to_reader` and register the rows."
    )


def _resolve_table(table: Table, version: int | None, timestamp: datetime | str | None) -> DeltaDataset:
    if version is None and timestamp is None:
        return DeltaDataset(table, table.snapshot(), follows=table)
    return DeltaDataset(table, table.snapshot(version=version, timestamp=timestamp), follows=None)


def _refuse_version(what: str, version: int | None, timestamp: datetime | str | None) -> None:
    if version is not None or timestamp is not None:
        raise DatasetSourceError(
            f"{what} has no versions to choose from; leave out `version` and `timestamp`."
        )
