"""Snapshot: one version of a table, pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from deltalake import DeltaTable

from delta_io import _log, _stats
from delta_io._map_errors import mapped
from delta_io._predicate import columns_of, parse
from delta_io._read import choose, read_snapshot, why_by_file
from delta_io._schema import arrow_schema, has_variants, known_fields, physical_name
from delta_io._sorted import Sorted, sorted_files, with_order
from delta_io._stats import StatsLayout
from delta_io._times import committed_ms
from delta_io.errors import UnsupportedError
from delta_io.index import FileIndex, prune
from schema_spec import TableSpec

if TYPE_CHECKING:
    from delta_io._engine_doubts import Oddities
    from delta_io._replay import State
    from delta_io.features import Protocol
    from delta_io.storage import Location, StorageOptions

# What deltalake was told of the protocol when it made the table is no property of it.
_OF_PROTOCOL: Final = frozenset(("delta.minReaderVersion", "delta.minWriterVersion"))


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

    def __init__(self, location: Location, state: State, earlier: Snapshot | None = None) -> None:
        self._location = location
        self._state = state
        self._engine: DeltaTable | None = None
        self._columns_known: tuple[frozenset[str], pa.Table] | None = None
        alike = earlier is not None and state_of(earlier).metadata == state.metadata
        self._footers: dict[str, Oddities] = earlier._footers if earlier is not None and alike else {}
        self._earlier_sorted: Sorted = earlier._known_sorted if earlier is not None and alike else Sorted()

    @property
    def uri(self) -> str:
        """Place of the table: an absolute path, or a URI."""
        return self._location.uri

    @property
    def version(self) -> int:
        """Version of the table."""
        return self._state.version

    @property
    def table_id(self) -> str:
        """Identity of the table; a table that is deleted and made anew has another."""
        return self._state.metadata.id

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Columns the files are partitioned by."""
        return tuple(self._state.metadata.partition_columns)

    @property
    def properties(self) -> Mapping[str, str]:
        """Table properties."""
        given = self._state.metadata.configuration
        return {name: text for name, text in given.items() if text is not None and name not in _OF_PROTOCOL}

    @property
    def protocol(self) -> Protocol:
        """What the table asks of its readers and writers."""
        return self._state.protocol

    @property
    def storage_options(self) -> StorageOptions:
        """Options of the storage; their values never show in a representation."""
        return self._location.options

    @property
    def column_mapping(self) -> str:
        """How columns are found in the files: ``none``, ``name`` or ``id``."""
        return self.properties.get("delta.columnMapping.mode", "none")

    @cached_property
    def schema(self) -> pa.Schema:
        """Logical columns; semantic types are told by the metadata of the fields."""
        schema = arrow_schema(self._state.metadata.schema_string)
        if self.protocol.shreds_variants and has_variants(schema):
            raise UnsupportedError(
                "type 'variant' cannot be read",
                "feature 'variantShredding' lets files hold parts of values in columns of their own",
                "Read the columns of other types from another table.",
            )
        return schema

    @cached_property
    def spec(self) -> TableSpec:
        """The contract that the table's own metadata states."""
        return TableSpec.from_delta(
            self._state.metadata.schema_string,
            name=self._state.metadata.name or self._location.name,
            description=self._state.metadata.description,
            partition_columns=self.partition_by,
            configuration=self.properties,
        )

    @property
    def schema_identity_hash(self) -> str:
        """Hash of what gives the data its meaning."""
        return self.spec.schema_identity_hash

    @cached_property
    def timestamp(self) -> datetime:
        """When the version was committed, in UTC.

        Tables with in-commit timestamps say it themselves. For others the file of the commit does, or of the
        checkpoint when that is all that is left; where the clock went back, a commit counts as a millisecond
        after the one before, so that times rise with versions.
        """
        with mapped(self._location, "reading the log of"):
            return _log.moment(committed_ms(self._location, self._state))

    @property
    def file_columns(self) -> tuple[str, ...]:
        """Names of the columns in the files, in the order of the schema."""
        return tuple(physical_name(field, self.column_mapping) for field in self.schema)

    @cached_property
    def _actions(self) -> pa.Table:
        return self._describe(None)

    @cached_property
    def _fields(self) -> list[pa.Field[Any]]:
        return known_fields(self._state.metadata.schema_string)

    @property
    def _known_sorted(self) -> Sorted:
        return self.__dict__.get("_sorted", self._earlier_sorted)

    @cached_property
    def _sorted(self) -> Sorted:
        return sorted_files(self._location, self._state, self._earlier_sorted)

    @cached_property
    def _json_statistics(self) -> pa.StructArray:
        return _stats.read_json(self._state.files, self._layout(None))

    def _layout(self, columns: frozenset[str] | None) -> StatsLayout:
        fields = (each for each in self._fields if columns is None or each.name in columns)
        rest = tuple(each for each in fields if each.name not in self.partition_by)
        return StatsLayout(fields=rest, mode=self.column_mapping)

    def _describe(self, kept: pa.BooleanArray | None) -> pa.Table:
        """Return files with what is known of their rows."""
        with mapped(self._location, "listing the files of"):
            files = self._state.files if kept is None else self._state.files.filter(kept)
            described = _stats.add_actions(self._location, files, self._known(kept, None))
            if not self._state.may_be_sorted:
                return described
            names = dict(zip(self.file_columns, self.schema.names, strict=True))
            return with_order(described, self._sorted, names)

    def _known(self, kept: pa.BooleanArray | None, columns: frozenset[str] | None) -> pa.Table:
        """Return what is known of the rows of files, of some columns or of all."""
        partitions = [each for each in self._fields if each.name in self.partition_by]
        with mapped(self._location, "listing the files of"):
            files, given = self._state.files, self._json_statistics
            if kept is not None:
                files, given = files.filter(kept), given.filter(kept)
            statistics = _stats.typed_statistics(files, given, self._layout(columns))
            return _stats.known_of(files, statistics, partitions, self.column_mapping)

    def _known_of_all(self, columns: frozenset[str]) -> pa.Table:
        """Return what is known of all files, of at least these columns."""
        if "_actions" in self.__dict__:
            return self._actions
        if self._columns_known is None or not columns <= self._columns_known[0]:
            self._columns_known = columns, self._known(None, columns)
        return self._columns_known[1]

    def _kept(self, kept: pa.BooleanArray | None) -> pa.Table:
        if kept is None or "_actions" in self.__dict__:
            return self._actions if kept is None else self._actions.filter(kept)
        return self._describe(kept)

    def add_actions(self) -> pa.Table:
        """Return the live files, one row each.

        Returns
        -------
        pyarrow.Table
            ``path`` (below the table's folder, decoded), ``size_bytes``, ``modification_time`` (ms),
            ``num_records``; ``partition``, ``null_count``, ``min``, ``max`` (structs, logical names),
            ``deletion_vector`` and ``tight_bounds`` (false where bounds and counts are around the file's rows
            and not of them) where there are any, and ``sorted_by`` (columns that the rows of a file are in
            the order of, ascending with nulls last) where that is known of any file. ``min`` and ``max`` are
            bounds, which texts, binaries and timestamps may not reach; rows that a deletion vector deletes
            are counted everywhere.

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
        sizes = self._state.files["size_bytes"]
        if predicate is None:
            return FileIndex(self._kept, sizes, None, {})
        node = parse(predicate, self.schema)
        kept, reasons = prune(self._known_of_all(columns_of(node)), self.schema, self.partition_by, node)
        return FileIndex(self._kept, sizes, kept, reasons)

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
        return read_snapshot(self, self._location, self._state.files, columns, predicate)

    def why_by_file(self, columns: Sequence[str] | None = None, predicate: str | None = None) -> str | None:
        """Return why `to_reader` reads the files one by one, by itself.

        Parameters
        ----------
        columns : Sequence[str], optional
            Columns wanted; all when left out.
        predicate : str, optional
            SQL text that the rows satisfy.

        Returns
        -------
        str or None
            The reason; None when deltalake's engine reads them, as it does unless it is known to be wrong.
        """
        return why_by_file(self, self._location, choose(self.schema, columns), predicate)

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
        return self._state.transactions.get(app_id)

    def _handle(self) -> DeltaTable:
        """Return a handle of deltalake that stands at this version."""
        if self._engine is None:
            with mapped(self._location, "opening"):
                options = self._location.plain_options
                self._engine = DeltaTable(self._location.root, version=self.version, storage_options=options)
        return self._engine

    def __repr__(self) -> str:
        return f"Snapshot({self._location.shown!r}, version={self.version})"


def state_of(snapshot: Snapshot) -> State:
    """Return what the log says of a snapshot's version."""
    return snapshot._state  # pyright: ignore[reportPrivateUsage] -- same module
