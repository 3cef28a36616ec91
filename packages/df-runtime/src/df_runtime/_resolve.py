"""From what the user registers to what the engine scans: the only place that decides it."""

from __future__ import annotations

import hashlib
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, get_args

import msgspec
import pyarrow as pa

from datafusion_ext import DeltaScan, Engine, EngineError
from delta_io import ChangeSet, FeaturePolicy, ScanConfig, Snapshot, Table
from df_runtime._alignment import shown_columns
from df_runtime._arguments import expect
from df_runtime._definitions import is_definition, read_definition
from df_runtime._external import read_external
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
from schema_spec import EvolutionPolicy, SqlExpression

if TYPE_CHECKING:
    from datafusion import SessionContext

    from schema_spec import TableSpec


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


class Rules(NamedTuple):
    """What a profile says of every Delta table that is registered."""

    features: FeaturePolicy
    evolution: EvolutionPolicy | None

    def capped(self, contract: TableSpec | None) -> TableSpec | None:
        """Keep a contract from admitting more than the profile does."""
        if contract is None or self.evolution is None:
            return contract
        order = get_args(EvolutionPolicy)
        least = min(self.evolution, contract.evolution, key=order.index)
        return msgspec.structs.replace(contract, evolution=least)


class DeltaDataset(Dataset):
    """A Delta table at one snapshot; followed to newer snapshots unless pinned."""

    reusable = True

    def __init__(
        self,
        source: DatasetSource,
        snapshot: Snapshot,
        *,
        follows: Table | None,
        contract: TableSpec | None,
        config: ScanConfig,
        rules: Rules,
    ) -> None:
        rules.features.check(snapshot.protocol, "read", table=snapshot.uri)
        self.source: DatasetSource = source
        self.snapshot = snapshot
        self.follows = follows
        self.contract = contract
        self.config = config
        self.rules = rules
        self.shown = shown_columns(snapshot, rules.capped(contract), config.schema)
        self.scan = native_scan(snapshot, config)

    @property
    def spec(self) -> TableSpec:
        """The contract that holds for the rows as they are shown."""
        return self.contract or self.snapshot.spec

    def advanced(self, snapshot: Snapshot) -> DeltaDataset:
        """Bind to another snapshot; itself if nothing was committed in between."""
        mine = self.snapshot
        if snapshot.version == mine.version and snapshot.table_id == mine.table_id:
            return self
        return DeltaDataset(
            self.source,
            snapshot,
            follows=self.follows,
            contract=self.contract,
            config=self.config,
            rules=self.rules,
        )

    def attach(self, engine: Engine, name: TableName) -> None:
        if self.shown is None:
            engine.register_delta(
                name.quoted(), self.scan, writer=self._writer(), defaults=self._computed_defaults()
            )
        else:
            shown = self.shown
            engine.register_delta(
                name.quoted(),
                self.scan,
                schema=shown.schema,
                expressions=shown.expressions,
                writer=self._writer(),
                defaults=self._computed_defaults(),
            )

    def _writer(self) -> Callable[[ArrowStreamExportable, bool], None] | None:
        """Where rows go that SQL inserts: the table's own write path, unless that can't be."""
        table = self.follows
        if table is None or self.config.added_columns.names:
            return None

        def write(rows: ArrowStreamExportable, overwrite: bool) -> None:
            mode = "overwrite" if overwrite else "append"
            table.write(pa.RecordBatchReader.from_stream(rows), mode=mode)

        return write

    def _computed_defaults(self) -> dict[str, str]:
        """Return the defaults that it takes an engine to compute; the others are the write path's own."""
        columns = self.spec.columns
        return {each.name: each.default.sql for each in columns if isinstance(each.default, SqlExpression)}

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        if self.shown is None:
            context.register_table(name.quoted(), self.scan)
            return
        rows = context.read_table(self.scan)
        pairs = zip(self.shown.schema.names, self.shown.expressions, strict=True)
        columns = [rows.parse_sql_expr(sql).alias(column) for column, sql in pairs]
        added = [rows.parse_sql_expr(_quoted(column)) for column in self.config.added_columns.names]
        types = {field.name: field.type for field in self.shown.schema if not pa.types.is_nested(field.type)}
        context.register_view(name.quoted(), rows.select(*columns, *added).cast(types))

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(
            name=name.quoted(),
            kind="delta",
            uri=self.snapshot.uri,
            version=self.snapshot.version,
            table_id=self.snapshot.table_id,
            schema_identity_hash=self._schema_identity_hash,
            scan=self._scan_identity_hash,
        )

    @cached_property
    def _scan_identity_hash(self) -> str | None:
        if self.shown is None and not self.config.payload:
            return None
        shown = self.shown and (str(self.shown.schema), self.shown.expressions)
        return hashlib.sha256(msgspec.json.encode((self.config.identity_hash, shown))).hexdigest()

    @property
    def _evolution(self) -> EvolutionPolicy | None:
        contract = self.rules.capped(self.contract)
        return None if contract is None else contract.evolution

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
            scan=self.config if self.config.payload else None,
            scan_identity_hash=self.config.identity_hash,
            features=tuple(sorted(self.snapshot.protocol.features_to_read)),
            environment=self.rules.features.environment,
            evolution=self._evolution,
            adapted=() if self.shown is None else self.shown.adapted,
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


def _defined(statement: str) -> tuple[Table, ScanConfig]:
    definition = read_definition(statement)
    if definition is None or definition.what != "external":
        raise DatasetSourceError(
            "A statement that is registered is CREATE EXTERNAL TABLE … STORED AS DELTATABLE LOCATION '…'; "
            "give a view as its query, and run other statements by `Session.sql`."
        )
    return read_external(definition)


def _rows(source: ArrowStreamExportable) -> pa.Table:
    try:
        return pa.RecordBatchReader.from_stream(source).read_all()
    except pa.ArrowInvalid as error:
        message = f"Cannot register a {type(source).__name__}: {error}. Give a table, with columns."
        raise DatasetSourceError(message) from error


def resolve(
    source: object,
    *,
    version: int | None = None,
    timestamp: datetime | str | None = None,
    scan: ScanConfig | None = None,
    rules: Rules,
    known: Iterable[TableName],
    read_name: _NameReader,
) -> Dataset:
    """Bind a source to what the engine will read.

    Parameters
    ----------
    source : DatasetSource
        What the user registered, or a statement that says it.
    version, timestamp : optional
        Which snapshot of a Delta table; the newest at each query if both are left out.
    scan : ScanConfig, optional
        How a Delta table is scanned.
    rules : Rules
        What the profile says of Delta tables.
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
        The source is of no known kind, or a version or a scan was asked of something that has none.
    DatasetUnsupportedError
        The engine cannot scan the table correctly.
    delta_io.DeltaIoError
        The table cannot be opened, or does not have the version.
    """
    expect("version", version, (int, NoneType), "a whole number")
    expect("timestamp", timestamp, (str, datetime, NoneType), "a datetime or a text")
    expect("scan", scan, (ScanConfig, NoneType), "a ScanConfig")
    if isinstance(source, str) and starts_query(source):
        _refuse_version("A view", version, timestamp, scan)
        depends, exact = table_references(source, known, read_name)
        return ViewDataset(source, depends, exact=exact)
    if isinstance(source, str) and is_definition(source):
        if scan is not None:
            raise DatasetSourceError("A statement says how it is scanned in OPTIONS; leave out `scan`.")
        source, scan = _defined(source)
    if isinstance(source, (str, os.PathLike)):
        source = Table(os.fspath(cast("str | os.PathLike[str]", source)))
    if isinstance(source, Table):
        return _resolve_table(source, version, timestamp, scan or ScanConfig(), rules)
    if isinstance(source, Snapshot):
        config = scan or ScanConfig()
        _refuse_version("A Snapshot", version, timestamp, None)
        _refuse_version("A Snapshot", config.version, config.timestamp, None)
        return DeltaDataset(source, source, follows=None, contract=None, config=config, rules=rules)
    _refuse_version(f"A {type(source).__name__}", version, timestamp, scan)
    if isinstance(source, ChangeSet):
        # It builds on the datasets of this module.
        from df_runtime._changes import resolve_changes

        return resolve_changes(source)
    if isinstance(source, pa.RecordBatchReader):
        return StreamDataset(source)
    if isinstance(source, ArrowStreamExportable):
        return ArrowDataset(source, _rows(source), "arrow")
    found = type(source).__name__
    raise DatasetSourceError(
        f"Cannot register a {found}: "
        "give a URI, Table, Snapshot, ChangeSet, Arrow data or the text of a query."
    )


def native_scan(snapshot: Snapshot, config: ScanConfig | None = None) -> DeltaScan:
    """Hand a snapshot to the engine as its own Parquet scan.

    Parameters
    ----------
    snapshot : Snapshot
    config : ScanConfig, optional
        How it is scanned. Which version that is, and which columns are shown, is not looked at.

    Returns
    -------
    DeltaScan

    Raises
    ------
    DatasetSourceError
        The options do not fit the table, such as a file that it does not have.
    DatasetUnsupportedError
        The table uses what the scan does not implement; the message says what.
    """
    config = config or ScanConfig()
    try:
        return DeltaScan(
            snapshot.uri,
            snapshot.schema,
            snapshot.add_actions(),
            partition_columns=snapshot.partition_by,
            column_mapping=snapshot.column_mapping,
            storage_options=dict(snapshot.storage_options),
            version=snapshot.version,
            file_column=config.file_column,
            row_index_column=config.row_index_column,
            view_types=config.view_types,
            wrap_partition_values=config.wrap_partition_values,
            pushdown=config.pushdown,
            only=config.files,
        )
    except EngineError as error:
        if config.payload and error.code == "engine-scan-input":
            raise DatasetSourceError(
                f"The options of the scan do not fit {snapshot.uri} at version {snapshot.version}: "
                f"{error.message}."
            ) from error
        raise _unsupported(snapshot, str(error.message)) from error


def _unsupported(snapshot: Snapshot, reason: str) -> DatasetUnsupportedError:
    return DatasetUnsupportedError(
        f"The engine cannot scan {snapshot.uri} at version {snapshot.version}: {reason}. "
        "Read it with `delta_io.Snapshot.to_reader` and register the rows."
    )


def _resolve_table(
    table: Table,
    version: int | None,
    timestamp: datetime | str | None,
    config: ScanConfig,
    rules: Rules,
) -> DeltaDataset:
    chosen = [each for each in (version, timestamp, config.version, config.timestamp) if each is not None]
    if len(chosen) > 1:
        raise DatasetSourceError(
            "The version is chosen more than once; give one `version` or `timestamp`, here or in `scan`."
        )
    pinned = table.snapshot(
        version=version if version is not None else config.version,
        timestamp=timestamp if timestamp is not None else config.timestamp,
    )
    follows = None if chosen else table
    contract = table.contract
    return DeltaDataset(table, pinned, follows=follows, contract=contract, config=config, rules=rules)


def _refuse_version(
    what: str, version: int | None, timestamp: datetime | str | None, scan: ScanConfig | None
) -> None:
    if version is not None or timestamp is not None:
        raise DatasetSourceError(
            f"{what} has no versions to choose from; leave out `version` and `timestamp`."
        )
    if scan is not None:
        raise DatasetSourceError(f"{what} has no files to scan; leave out `scan`.")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
