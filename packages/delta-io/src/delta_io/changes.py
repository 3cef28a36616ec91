"""ChangeSet: the rows that differ between two versions, from the change data feed or from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import pyarrow as pa

from delta_io._changed_files import ChangedFile, Plan, plan_changes
from delta_io._compute import pc
from delta_io._map_errors import mapped
from delta_io._predicate import parse
from delta_io._read import choose
from delta_io._rows import Layout, Repeated, partition_scalar, read_rows
from delta_io._schema import physical_name
from delta_io._stats import vector_array
from delta_io._weights import WEIGHT, consolidate
from delta_io.errors import OptionError
from delta_io.index import rows_satisfy

if TYPE_CHECKING:
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

ChangeType = Literal["insert", "delete", "update_preimage", "update_postimage"]
Source = Literal["feed", "files", "none"]
CHANGE_TYPE: Final = "_change_type"
_VERSION: Final = "_commit_version"
_TIMESTAMP: Final = "_commit_timestamp"
_CHANGE_FIELDS: Final = (
    pa.field(CHANGE_TYPE, pa.string()),
    pa.field(_VERSION, pa.int64()),
    pa.field(_TIMESTAMP, pa.timestamp("us", "UTC")),
)
_ADDED: Final = ("insert", "update_postimage")


class ChangeSet:
    """The changes after one version of a table, up to another: a description, until it is read.

    Change sets come from `Table.changes`. From the feed, rows are as each commit recorded them, in the order
    of the commits; an update may appear as a delete and an insert. From files, they are the net change, with
    the version and time of the last commit; rows that stayed in a rewritten file appear as both.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from delta_io import Table
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> table = Table.create(tempfile.mkdtemp() + "/orders", TableSpec("orders", [ColumnSpec("id", "long")]))
    >>> _ = table.write(pa.table({"id": [1, 2]}))
    >>> _ = table.delete("id = 1")
    >>> changes = table.changes(since=1)
    >>> changes.source, changes.versions, changes.to_reader().read_all()["_change_type"].to_pylist()
    ('feed', (1, 2), ['delete'])
    """

    def __init__(
        self,
        location: Location,
        until: Snapshot,
        plan: Plan,
        *,
        change_types: frozenset[str],
        columns: pa.Schema,
        predicate: str | None,
    ) -> None:
        self._location = location
        self._until = until
        self._plan = plan
        self._types = change_types
        self._columns = columns
        self._predicate = predicate
        self._node = None if predicate is None else parse(predicate, until.schema)

    @property
    def source(self) -> Source:
        """Where the rows come from: ``feed``, ``files``, or ``none`` when no version lies between."""
        return self._plan.source

    @property
    def reason(self) -> str:
        """Why they come from there, in one sentence."""
        return self._plan.reason

    @property
    def versions(self) -> tuple[int, int]:
        """The version known and the version reached."""
        return self._plan.since, self._until.version

    @property
    def table_id(self) -> str:
        """Identity of the table at the version reached."""
        return self._until.table_id

    @property
    def snapshot(self) -> Snapshot:
        """The version reached: rows are shown with its columns, found in the files by its column mapping."""
        return self._until

    @property
    def columns(self) -> pa.Schema:
        """The table's columns wanted."""
        return self._columns

    @property
    def predicate(self) -> str | None:
        """SQL text that the rows satisfy, if one was given."""
        return self._predicate

    @property
    def change_types(self) -> frozenset[str]:
        """The types of change wanted."""
        return self._types

    @property
    def files(self) -> tuple[ChangedFile, ...]:
        """The files to read, and which of their rows."""
        return self._plan.files

    def file_actions(self) -> pa.Table:
        """Return the files to read, one row each: the hand-over to an engine.

        An engine reads each file with the columns and column mapping of `snapshot`, leaves rows out by the
        two deletion vectors, applies `predicate`, and, where ``change_type`` is null, takes the type of
        change from the file's column ``_change_type`` and keeps those in `change_types`.

        Returns
        -------
        pyarrow.Table
            ``path`` and ``size_bytes`` as in `Snapshot.add_actions`; ``change_type`` (``insert``, ``delete``,
            or null when the rows say it) and ``weight`` (1, -1 or null likewise); ``version`` and
            ``timestamp`` of the commit; ``rows_estimate``; ``partition`` (struct of values by logical name)
            where the table is partitioned; ``only`` (take just the rows that this deletion vector deletes)
            and ``exclude`` (leave out the rows that this one deletes), null where there is none.

        Examples
        --------
        >>> import pyarrow as pa, tempfile
        >>> from delta_io import Table
        >>> from schema_spec import ColumnSpec, TableSpec
        >>> table = Table.create(tempfile.mkdtemp() + "/t", TableSpec("t", [ColumnSpec("id", "long")]))
        >>> _ = table.write(pa.table({"id": [1, 2]}))
        >>> table.changes(0).file_actions().select(["change_type", "weight", "version"]).to_pylist()
        [{'change_type': 'insert', 'weight': 1, 'version': 1}]
        """
        files = [each for each in self._plan.files if self._wants(each)]
        kinds = pa.array([each.change_type for each in files], pa.string())
        times = pa.array([each.timestamp_ms * 1000 for each in files], pa.int64())
        columns: dict[str, pa.Array[Any]] = {
            "path": pa.array([each.path for each in files], pa.string()),
            "size_bytes": pa.array([each.size_bytes for each in files], pa.int64()),
            "change_type": kinds,
            "weight": pc.if_else(
                pc.equal(kinds, "insert"), pa.scalar(1, pa.int8()), pa.scalar(-1, pa.int8())
            ),
            "version": pa.array([each.version for each in files], pa.int64()),
            "timestamp": times.cast(_CHANGE_FIELDS[2].type),
            "rows_estimate": pa.array([each.rows_estimate for each in files], pa.int64()),
            "only": vector_array(each.only for each in files),
            "exclude": vector_array(each.exclude for each in files),
        }
        if self._until.partition_by:
            columns["partition"] = self._partitions(files)
        return pa.table(columns)

    def _partitions(self, files: Sequence[ChangedFile]) -> pa.StructArray:
        fields = [self._until.schema.field(name) for name in self._until.partition_by]
        arrays: list[pa.Array[Any]] = []
        for field in fields:
            name = physical_name(field, self._until.column_mapping)
            texts = [each.partition.get(name, each.partition.get(field.name)) for each in files]
            values = {text: partition_scalar(text, field.type) for text in set(texts)}
            arrays.append(pa.array([values[text] for text in texts], field.type))
        return pa.StructArray.from_arrays(arrays, fields=[pa.field(each.name, each.type) for each in fields])

    def _wants(self, change: ChangedFile) -> bool:
        return change.change_type is None or change.change_type in self._types

    @property
    def rows_estimate(self) -> int:
        """About how many rows will be read."""
        return sum(each.rows_estimate for each in self._plan.files)

    @property
    def bytes_estimate(self) -> int:
        """Size of the files that will be read."""
        return sum(each.size_bytes for each in self._plan.files)

    @property
    def schema(self) -> pa.Schema:
        """Columns of `to_reader`: the table's, the type of change, and the commit's version and time."""
        return pa.schema([field.with_nullable(True) for field in self._columns] + list(_CHANGE_FIELDS))

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the changed rows as a stream.

        Returns
        -------
        pyarrow.RecordBatchReader
            Rows with ``_change_type``, ``_commit_version`` and ``_commit_timestamp``.

        Raises
        ------
        StorageError
            When a file disappears while it is read; the stream ends with this error.
        """
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def weighted(self) -> pa.RecordBatchReader:
        """Return the net change: equal rows added up, those that cancel dropped.

        Returns
        -------
        pyarrow.RecordBatchReader
            Rows with ``_weight``: how many more there are, never 0. Null equals null, NaN equals NaN.

        Raises
        ------
        StorageError
            When a file cannot be read.
        """
        return consolidate(self._weighted_batches(), self._columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the changed rows as an Arrow C stream."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        since, until = self.versions
        return f"ChangeSet({self._location.shown!r}, since={since}, until={until}, source={self.source!r})"

    def _batches(self) -> Iterator[pa.RecordBatch]:
        schema = self.schema
        version = time = Repeated(pa.scalar(None, pa.int64()))
        known: ChangedFile | None = None
        for change, batch in self._read():
            if change is not known:
                known, version = change, Repeated(pa.scalar(change.version, pa.int64()))
                moment = pa.scalar(change.timestamp_ms * 1000, pa.int64())
                time = Repeated(moment.cast(_CHANGE_FIELDS[2].type))
            arrays = [batch.column(name) for name in schema.names[: -len(_CHANGE_FIELDS)]]
            arrays.append(batch.column(CHANGE_TYPE))
            arrays += [version.take(batch.num_rows), time.take(batch.num_rows)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _weighted_batches(self) -> Iterator[pa.RecordBatch]:
        fields = [field.with_nullable(True) for field in self._columns]
        schema = pa.schema([*fields, WEIGHT])
        for _, batch in self._read():
            arrays = [batch.column(field.name) for field in fields]
            added = pc.is_in(batch.column(CHANGE_TYPE), value_set=pa.array(_ADDED))
            arrays.append(pc.if_else(added, pa.scalar(1, pa.int64()), pa.scalar(-1, pa.int64())))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _read(self) -> Iterator[tuple[ChangedFile, pa.RecordBatch]]:
        """Yield the rows wanted, file by file, with their type of change as the last column."""
        layout = Layout(
            fields=tuple(self._columns if self._node is None else self._until.schema),
            partition_by=frozenset(self._until.partition_by),
            mode=self._until.column_mapping,
        )
        for change in filter(self._wants, self._plan.files):
            for batch in self._read_file(change, layout):
                kept = self._filter(batch)
                if kept.num_rows:
                    yield change, kept

    def _read_file(self, change: ChangedFile, layout: Layout) -> Iterator[pa.RecordBatch]:
        extra = (CHANGE_TYPE,) if change.change_type is None else ()
        kind = Repeated(pa.scalar(change.change_type, pa.string()))
        with mapped(self._location, "reading the changes of"):
            for batch in read_rows(
                self._location,
                change.path,
                layout,
                change.partition,
                only=change.only,
                exclude=change.exclude,
                extra=extra,
            ):
                if change.change_type is None:
                    yield batch
                else:
                    yield batch.append_column(_CHANGE_FIELDS[0], kind.take(batch.num_rows))

    def _filter(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if len(self._types) < len(get_args(ChangeType)):
            batch = batch.filter(pc.is_in(batch.column(CHANGE_TYPE), value_set=pa.array(sorted(self._types))))
        if self._node is not None:
            batch = batch.filter(rows_satisfy(self._node, batch))
        return batch


def find_changes(
    location: Location,
    open_version: Callable[[int], Snapshot],
    since: int,
    until: Snapshot,
    *,
    change_types: Sequence[str] | None,
    columns: Sequence[str] | None,
    predicate: str | None,
) -> ChangeSet:
    """Return the changes of a range of versions."""
    known = get_args(ChangeType)
    types = frozenset(known if change_types is None else change_types)
    unknown = sorted(types.difference(known))
    if unknown:
        raise OptionError(f"unknown change type {unknown[0]!r}", fix=f"Use {', '.join(known)}.")
    chosen = choose(until.schema, columns)
    if predicate is not None:
        parse(predicate, until.schema)  # refused before the log is read
    with mapped(location, "finding the changes of"):
        plan = plan_changes(location, open_version, since, until)
    return ChangeSet(location, until, plan, change_types=types, columns=chosen, predicate=predicate)
