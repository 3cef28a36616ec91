"""Snapshot: one version of a table, pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable

from delta_io import _log, _stats
from delta_io._map_errors import mapped
from delta_io._read import read_snapshot
from delta_io._schema import arrow_schema, physical_name
from delta_io.features import Protocol
from delta_io.index import FileIndex, prune
from schema_spec import TableSpec

if TYPE_CHECKING:
    from delta_io.storage import Location, StorageOptions


class Snapshot:
    """A version of a table, pinned: what it says does not change when the table does.

    Snapshots come from `Table.snapshot`.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from delta_io import Table
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> spec = TableSpec("orders", [ColumnSpec("id", "long")])
    >>> table = Table.create(tempfile.mkdtemp() + "/orders", spec)
    >>> _ = table.write(pa.table({"id": [1, 2]}))
    >>> snapshot = table.snapshot()
    >>> snapshot.version, snapshot.to_reader().read_all().num_rows
    (1, 2)
    """

    def __init__(self, location: Location, handle: DeltaTable) -> None:
        self._location = location
        self._pinned: DeltaTable | None = handle
        self._version = handle.version()
        metadata = handle.metadata()
        self._table_id = str(metadata.id)
        self._name: str | None = metadata.name
        self._description: str | None = metadata.description
        self._partition_by = tuple(metadata.partition_columns)
        self._properties = dict(metadata.configuration)
        protocol = handle.protocol()
        self._protocol = Protocol(
            min_reader_version=protocol.min_reader_version,
            min_writer_version=protocol.min_writer_version,
            reader_features=frozenset(protocol.reader_features or ()),
            writer_features=frozenset(protocol.writer_features or ()),
        )
        self._schema_json = handle.schema().to_json()

    @property
    def uri(self) -> str:
        """Place of the table: an absolute path, or a URI."""
        return self._location.uri

    @property
    def version(self) -> int:
        """Version of the table."""
        return self._version

    @property
    def table_id(self) -> str:
        """Identity of the table; a table that is deleted and made anew has another."""
        return self._table_id

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Columns the files are partitioned by."""
        return self._partition_by

    @property
    def properties(self) -> Mapping[str, str]:
        """Table properties."""
        return dict(self._properties)

    @property
    def protocol(self) -> Protocol:
        """What the table asks of its readers and writers."""
        return self._protocol

    @property
    def storage_options(self) -> StorageOptions:
        """Options of the storage; their values never show in a representation."""
        return self._location.options

    @property
    def column_mapping(self) -> str:
        """How columns are found in the files: ``none``, ``name`` or ``id``."""
        return self._properties.get("delta.columnMapping.mode", "none")

    @cached_property
    def schema(self) -> pa.Schema:
        """Logical columns; semantic types are told by the metadata of the fields."""
        return arrow_schema(self._schema_json)

    @cached_property
    def spec(self) -> TableSpec:
        """The contract that the table's own metadata states."""
        return TableSpec.from_delta(
            self._schema_json,
            name=self._name or self._location.name,
            description=self._description,
            partition_columns=self._partition_by,
            configuration=self._properties,
        )

    @property
    def schema_identity_hash(self) -> str:
        """Hash of what gives the data its meaning."""
        return self.spec.schema_identity_hash

    @cached_property
    def timestamp(self) -> datetime:
        """When the version was committed, in UTC."""
        actions = _log.read_commit(self._location, self._version)
        return _log.moment(0 if actions is None else actions.timestamp_ms)

    @property
    def file_columns(self) -> tuple[str, ...]:
        """Names of the columns in the files, in the order of the schema."""
        return tuple(physical_name(field, self.column_mapping) for field in self.schema)

    @cached_property
    def _actions(self) -> pa.Table:
        with mapped(self._location, "listing the files of"):
            return _stats.add_actions(self._location, self._handle(), self)

    def add_actions(self) -> pa.Table:
        """Return the live files, one row each.

        Returns
        -------
        pyarrow.Table
            ``path`` (below the table's folder, decoded), ``size_bytes``, ``modification_time`` (ms),
            ``num_records``; ``partition``, ``null_count``, ``min``, ``max`` (structs, logical names) and
            ``deletion_vector`` where there are any. ``min`` and ``max`` are bounds, which texts, binaries and
            timestamps may not reach; rows that a deletion vector deletes are counted everywhere.

        Raises
        ------
        DeltaIoError
            When the log cannot be read.
        """
        return self._actions

    def files(self, predicate: str | None = None) -> FileIndex:
        """Return the files that may hold rows that satisfy a predicate.

        Parameters
        ----------
        predicate : str, optional
            SQL text over the table's columns; all files when left out.

        Returns
        -------
        FileIndex
            The files, and why the others were dropped.

        Raises
        ------
        PredicateError
            When the text is no predicate over the table's columns.
        """
        return prune(self._actions, self.schema, self._partition_by, predicate)

    def to_reader(
        self, columns: Sequence[str] | None = None, predicate: str | None = None
    ) -> pa.RecordBatchReader:
        """Return the rows as a stream.

        Parameters
        ----------
        columns : Sequence[str], optional
            Columns wanted, in that order; all when left out.
        predicate : str, optional
            SQL text that the rows satisfy.

        Returns
        -------
        pyarrow.RecordBatchReader
            The rows, in no particular order.

        Raises
        ------
        PredicateError
            When the text is no predicate over the table's columns.
        SchemaMismatchError
            When a column is not in the table.
        """
        return read_snapshot(self, self._location, columns, predicate)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as an Arrow C stream."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def transaction_version(self, app_id: str) -> int | None:
        """Return the version an application last wrote.

        Parameters
        ----------
        app_id : str
            Id of the application.

        Returns
        -------
        int or None
            Its version, None when it never wrote.
        """
        with mapped(self._location, "reading a transaction id of"):
            return self._handle().transaction_version(app_id)

    def _handle(self) -> DeltaTable:
        """Return a handle that stands at this version."""
        if self._pinned is None:
            with mapped(self._location, "opening"):
                self._pinned = DeltaTable(
                    self._location.root, version=self._version, storage_options=self._location.plain_options
                )
        return self._pinned

    def _release(self) -> None:
        """Give the handle away, so that the table may move it on."""
        if self._pinned is not None:
            _ = self._actions
            self._pinned = None

    def __repr__(self) -> str:
        return f"Snapshot({self._location.shown!r}, version={self._version})"
