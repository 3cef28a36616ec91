"""Change sets as native scans, and table functions over registered Delta tables."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec
import pyarrow as pa

from datafusion_ext import DeltaScan, Engine, EngineError
from delta_io import ChangeSet, Table
from df_runtime._names import TableName
from df_runtime._references import FUNCTIONS_OF_TABLES
from df_runtime._resolve import ArrowDataset, Dataset, DeltaDataset
from df_runtime.datasets import DatasetIdentity, DatasetResolution, DatasetSource
from df_runtime.errors import DatasetSourceError, DatasetUnknownError, ParameterError

if TYPE_CHECKING:
    from datafusion import SessionContext

    from df_runtime._registry import Registry

_KIND = "_change_type"
_OF_FILE = "_change_type_of_file"
_VERSION = "_commit_version"
_TIMESTAMP = "_commit_timestamp"
_TYPES = frozenset({"insert", "delete", "update_preimage", "update_postimage"})

ScanView: TypeAlias = tuple[DeltaScan, list[str], str | None]


def native_changes(changes: ChangeSet) -> ScanView:
    """Hand a change set to the engine: a scan of its files, the columns to show, and which rows.

    Commits, and the type of change where a whole file has one, are constants of each file, so they choose
    files as partition values do.
    """
    snapshot = changes.snapshot
    columns = [field.with_nullable(True) for field in snapshot.schema]
    constants = [
        pa.field(_OF_FILE, pa.string()),
        pa.field(_VERSION, pa.int64()),
        pa.field(_TIMESTAMP, pa.timestamp("us", "UTC")),
    ]
    scan = DeltaScan(
        snapshot.uri,
        pa.schema([*columns, pa.field(_KIND, pa.string()), *constants]),
        _files(changes, constants),
        partition_columns=[*snapshot.partition_by, *(field.name for field in constants)],
        column_mapping=snapshot.column_mapping,
        storage_options=dict(snapshot.storage_options),
        version=snapshot.version,
    )
    kind = f'coalesce("{_OF_FILE}", "{_KIND}")'
    shown = [_quoted(field.name) for field in changes.columns]
    conditions = [] if changes.predicate is None else [f"({changes.predicate})"]
    if changes.change_types != _TYPES:
        wanted = ", ".join(f"'{each}'" for each in sorted(changes.change_types))
        conditions.append(f"{kind} IN ({wanted})" if wanted else "false")
    return scan, [*shown, f"{kind} AS {_KIND}", _VERSION, _TIMESTAMP], " AND ".join(conditions) or None


def _files(changes: ChangeSet, constants: list[pa.Field]) -> pa.Table:
    actions = changes.file_actions()
    count = actions.num_rows
    arrays = [actions[name].combine_chunks() for name in ("change_type", "version", "timestamp")]
    fields = list(constants)
    if "partition" in actions.column_names:
        partition = actions["partition"].combine_chunks()
        arrays += partition.flatten()
        fields += list(partition.type)
    return pa.table(
        {
            "path": actions["path"],
            "size_bytes": actions["size_bytes"],
            "modification_time": pa.repeat(pa.scalar(0, pa.int64()), count),
            "num_records": pa.nulls(count, pa.int64()),
            "partition": pa.StructArray.from_arrays(arrays, fields=fields),
            "deletion_vector": actions["exclude"],
            "only": actions["only"],
        }
    )


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


class ChangesDataset(Dataset):
    """The rows of a change set, read from its files by each query."""

    def __init__(self, changes: ChangeSet) -> None:
        self.source: DatasetSource = changes
        self.changes = changes
        self.view = native_changes(changes)
        self._uri = f"memory:{uuid.uuid4().hex}"

    def attach(self, engine: Engine, name: TableName) -> None:
        scan, columns, condition = self.view
        engine.register_scan_view(name.quoted(), scan, columns, where=condition)

    def attach_context(self, context: SessionContext, name: TableName) -> None:
        scan, columns, condition = self.view
        rows = context.read_table(scan)
        if condition is not None:
            rows = rows.filter(rows.parse_sql_expr(condition))
        shown = rows.select(*(rows.parse_sql_expr(column) for column in columns))
        context.register_view(name.quoted(), shown)

    def identity(self, name: TableName) -> DatasetIdentity:
        return DatasetIdentity(name=name.quoted(), kind="changes", uri=self._uri)

    def resolution(self, name: str) -> DatasetResolution:
        snapshot = self.changes.snapshot
        return DatasetResolution(
            name=name,
            kind="changes",
            provider="native",
            uri=snapshot.uri,
            version=snapshot.version,
            timestamp=snapshot.timestamp,
            table_id=snapshot.table_id,
            files=self.view[0].num_files,
            bytes=self.changes.bytes_estimate,
        )


def resolve_changes(changes: ChangeSet) -> Dataset:
    """Bind a change set: natively, or in memory where the engine can't read its files."""
    try:
        return ChangesDataset(changes)
    except EngineError:
        return ArrowDataset(changes, changes.to_reader().read_all(), "changes")


class TableFunctions:
    """`changes`, `delta_files` and `delta_history`, called by the engine while it plans.

    Calls come on threads of the engine while the session holds the registry's lock: names are looked up
    without it.
    """

    def __init__(self, registry: Registry) -> None:
        # The engine holds these functions and the registry the engine: a circle that nothing would ever free.
        self._registry = weakref.ref(registry)

    def register(self, engine: Engine) -> None:
        """Make the functions known to an engine."""
        functions = {"changes": self.changes, "delta_files": self.files, "delta_history": self.history}
        for name in FUNCTIONS_OF_TABLES:
            engine.register_table_function(name, functions[name])

    def changes(self, *arguments: object) -> ScanView:
        """Scan the rows that changed after one version, up to another or the one that the query reads."""
        name, since, until = _checked("changes(table, since, until)", arguments, required=2)
        dataset = self._dataset(name)
        last = dataset.snapshot.version if until is None else until
        return native_changes(_table(dataset).changes(since or 0, last))

    def files(self, *arguments: object) -> pa.Table:
        """List the live files of a table with what the log says of them."""
        name, *_ = _checked("delta_files(table)", arguments, most=1)
        return self._dataset(name).snapshot.add_actions()

    def history(self, *arguments: object) -> pa.Table:
        """List the commits of a table up to the version that the query reads, the newest first."""
        name, limit, _ = _checked("delta_history(table, limit)", arguments, most=2)
        if limit is not None and limit < 0:
            raise ParameterError("The limit of `delta_history` must not be negative.")
        dataset = self._dataset(name)
        newest = dataset.snapshot.version
        commits = [each for each in _table(dataset).history() if each.version <= newest][:limit]
        return pa.table(
            {
                "version": pa.array([each.version for each in commits], pa.int64()),
                "timestamp": pa.array([each.timestamp for each in commits], pa.timestamp("us", "UTC")),
                "operation": pa.array([each.operation for each in commits], pa.string()),
                "parameters": _json(each.parameters for each in commits),
                "metadata": _json(each.metadata for each in commits),
                "transactions": _json(each.transactions for each in commits),
            }
        )

    def _dataset(self, name: str) -> DeltaDataset:
        registry = self._registry()
        dataset = None if registry is None else registry.get(name)
        if dataset is None:
            raise DatasetUnknownError(f"No dataset {name!r} is registered.")
        if not isinstance(dataset, DeltaDataset):
            raise DatasetSourceError(f"{name!r} is not a Delta table, and has neither versions nor files.")
        return dataset


def _checked(
    usage: str, arguments: tuple[object, ...], *, required: int = 1, most: int = 3
) -> tuple[str, int | None, int | None]:
    """Read a table's name and up to two whole numbers."""
    name, *numbers = arguments or (None,)
    whole = all(isinstance(each, int) for each in numbers[: required - 1])
    known = all(each is None or isinstance(each, int) for each in numbers)
    if isinstance(name, str) and required <= len(arguments) <= most and whole and known:
        first, second = (*numbers, None, None)[:2]
        return name, cast("int | None", first), cast("int | None", second)
    raise ParameterError(f"Expected {usage} with a text and whole numbers, found {arguments!r}.")


def _json(values: Iterable[Mapping[str, object]]) -> pa.Array:
    return pa.array([msgspec.json.encode(each).decode() for each in values], pa.string())


def _table(dataset: DeltaDataset) -> Table:
    if dataset.follows is not None:
        return dataset.follows
    snapshot = dataset.snapshot
    return Table(snapshot.uri, storage_options=dict(snapshot.storage_options))
