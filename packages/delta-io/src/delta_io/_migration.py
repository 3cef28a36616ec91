"""Delta tables made of folders of Parquet files, in place or by copy."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from delta_io._creation import create_table, table_exists
from delta_io._log import stat
from delta_io._map_errors import mapped
from delta_io._places import open_file
from delta_io._target import check_enforceable
from delta_io.errors import OptionError, SchemaMismatchError, StorageError, TableExistsError
from delta_io.policy import WritePolicy
from delta_io.storage import Location
from delta_io.table import Table, own_properties
from schema_spec import SpecError, TableSpec

MIGRATED: Final = "delta_io.migrated_from"
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def migrate_parquet(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    spec: TableSpec | None = None,
    partition_by: pa.Schema | None = None,
    policy: WritePolicy | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Table:
    """Make a Delta table of a folder of Parquet files.

    Without a target, a log is added to the folder in one commit, and no file is touched. With one, the rows
    are copied, as a stream.

    Parameters
    ----------
    source : str or PathLike
        Path or URI of the folder. Folders named ``column=value`` below it are partitions; files and folders
        whose names begin with ``_`` or ``.`` are passed over.
    target : str or PathLike, optional
        Path or URI of a table to copy the rows to.
    spec : TableSpec, optional
        Contract of the table; made of the files' own columns when left out.
    partition_by : pyarrow.Schema, optional
        Types of the partition columns; texts, and for a copy what their values look like, when left out.
    policy : WritePolicy, optional
        How the table is written.
    storage_options : Mapping[str, str], optional
        Options of the storage, of the folder's and the target's alike.

    Returns
    -------
    Table
        The table.

    Raises
    ------
    TableExistsError
        When the folder, or the target, is a table already.
    OptionError
        When there is no Parquet file.
    SchemaMismatchError
        When the files do not fit each other, or the contract.
    StorageError
        When a file cannot be read.
    UnsupportedError
        When the folder is to become a table in place on remote storage without conditional puts.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp(), "day=2024-01-31")
    >>> folder.mkdir()
    >>> pq.write_table(pa.table({"id": [1, 2]}), folder / "a.parquet")
    >>> days = pa.schema([("day", pa.date32())])
    >>> table = migrate_parquet(folder.parent, partition_by=days)
    >>> table.snapshot().to_reader(predicate="day = DATE '2024-01-31'").read_all().num_rows
    2
    """
    place = Location(source, storage_options)
    if table_exists(place):
        raise TableExistsError(
            f"{place.shown!r} cannot be migrated",
            "it is a Delta table already, and may hold files that left it",
            "Open it, or clone it elsewhere.",
        )
    with mapped(place, "looking for Parquet files in"):
        files = sorted(_parquet_files(place))
    if not files:
        raise OptionError(f"no Parquet file is in {place.shown!r}", fix="Check the folder.")
    if target is None:
        return _in_place(place, files, spec, partition_by, policy)
    with mapped(place, "reading Parquet files of"):
        data = _dataset(place, files, partition_by)
        contract = spec or _contract(place.name, data.schema, _partition_names(files))
        known = [name for name in data.schema.names if name in contract.column_names]
        reader = data.scanner(columns=known).to_reader()
    table = Table.create(target, contract, policy=policy, storage_options=storage_options)
    table.write(reader, metadata={MIGRATED: place.shown})
    return table


def _parquet_files(place: Location) -> Iterator[PurePosixPath]:
    """Yield the files below a folder, other than hidden ones."""
    for below in _files(place):
        hidden = any(part.startswith(("_", ".")) and "=" not in part for part in below.parts)
        if below.suffix == ".parquet" and not hidden:
            yield below


def _files(place: Location) -> Iterator[PurePosixPath]:
    if place.local:
        root = Path(place.uri)
        yield from (
            PurePosixPath(path.relative_to(root)) for path in root.rglob("*.parquet") if path.is_file()
        )
        return
    selector = pa_fs.FileSelector("", allow_not_found=True, recursive=True)
    for info in place.filesystem.get_file_info(selector):
        if info.type == pa_fs.FileType.File:
            yield PurePosixPath(info.path)


def _dataset(place: Location, files: list[PurePosixPath], partition_by: pa.Schema | None) -> Any:
    partitioning = "hive" if partition_by is None else ds.partitioning(partition_by, flavor="hive")
    filesystem = pa_fs.LocalFileSystem() if place.local else place.filesystem
    base = place.uri if place.local else ""
    options = {"partition_base_dir": base, "partitioning": partitioning, "format": "parquet"}
    paths = [f"{base}/{path}" if base else str(path) for path in files]
    data: Any = ds.dataset(paths, filesystem=filesystem, **options)
    schemas = (footer.schema.to_arrow_schema() for footer in _footers(place, files))
    return data.replace_schema(_unified([*schemas, data.schema]))


def _footers(place: Location, files: Iterable[PurePosixPath]) -> Iterator[pq.FileMetaData]:
    for path in files:
        with open_file(place, str(path)) as file:
            yield pq.read_metadata(file)


def _partition_names(files: list[PurePosixPath]) -> tuple[str, ...]:
    found = {tuple(name for name, _ in _values(path)) for path in files}
    if len(found) > 1:
        raise SchemaMismatchError(
            "the files are not all partitioned alike",
            " and ".join(", ".join(names) or "not at all" for names in sorted(found)[:2]),
            "Move them.",
        )
    return found.pop()


def _values(path: PurePosixPath) -> list[tuple[str, str | None]]:
    """Return the partition columns and values that the folders of a file name."""
    pairs = (part.split("=", 1) for part in path.parts[:-1] if "=" in part)
    return [(unquote(name), None if value == _NULL else unquote(value)) for name, value in pairs]


def _contract(name: str, schema: pa.Schema, partition_by: tuple[str, ...]) -> TableSpec:
    try:
        made = TableSpec.from_arrow(name, schema)
        return TableSpec(name, made.columns, partition_by=partition_by)
    except SpecError as error:
        raise SchemaMismatchError("the files cannot become a table", str(error), "Cast them.") from None


def _in_place(
    place: Location,
    files: list[PurePosixPath],
    spec: TableSpec | None,
    partition_by: pa.Schema | None,
    policy: WritePolicy | None,
) -> Table:
    names = _partition_names(files)
    types = {name: pa.string() for name in names} | {
        field.name: field.type for field in partition_by or () if field.name in names
    }
    with mapped(place, "reading Parquet files of"):
        footers = list(_footers(place, files))
        schemas = [each.schema.to_arrow_schema() for each in footers]
        stored = _unified(schemas)
    partitions = [pa.field(name, types[name]) for name in names]
    own = [field for field in stored if field.name not in names]
    contract = spec or _contract(place.name, pa.schema([*own, *partitions]), names)
    if tuple(contract.partition_by) != names:
        raise SchemaMismatchError(
            "the contract has another partitioning than the files",
            f"the folders have {', '.join(names) or 'none'}",
            "Correct the contract.",
        )
    check_enforceable(contract)
    with mapped(place, "looking at Parquet files of"):
        adds = [_add(place, path, footer, contract) for path, footer in zip(files, footers, strict=True)]
    chosen = policy or WritePolicy()
    create_table(
        place, contract.to_delta(), own_properties(contract, chosen) | contract.to_delta().configuration, adds
    )
    return Table(place.uri, spec=contract, policy=chosen, storage_options=place.options)


def _unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Return the columns of all files."""
    try:
        return pa.unify_schemas([each.remove_metadata() for each in schemas])
    except pa.ArrowException as error:
        raise SchemaMismatchError("the files do not fit each other", str(error), "Cast them.") from None


def _add(
    place: Location, path: PurePosixPath, footer: pq.FileMetaData, contract: TableSpec
) -> dict[str, Any]:
    found = stat(place, str(path))
    if found is None:
        raise StorageError(f"{str(path)!r} of {place.shown!r} is gone", "it was there before", "Try again.")
    size, modified_ns = found
    return {
        "path": quote(path.as_posix(), safe="/=-_.~!'(),;:@&+$"),
        "partitionValues": dict(_values(path)),
        "size": size,
        "modificationTime": modified_ns // 1_000_000,
        "dataChange": True,
        "stats": msgspec.json.encode(_stats(footer, contract)).decode(),
    }


def _stats(footer: pq.FileMetaData, contract: TableSpec) -> dict[str, Any]:
    """Return statistics of a file: bounds of whole numbers and dates, whose footers have them exactly."""
    stats: dict[str, Any] = {"numRecords": footer.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for index in range(footer.num_columns):
        chunks = [footer.row_group(group).column(index) for group in range(footer.num_row_groups)]
        name = footer.schema.column(index).path
        found = [chunk.statistics for chunk in chunks]
        whole = all(each is not None and each.has_null_count for each in found)
        if not whole or name not in contract.column_names:
            continue
        stats["nullCount"][name] = sum(each.null_count for each in found)
        valued = [each for each in found if each.num_values]
        bounds = [bound for each in valued if each.has_min_max for bound in (each.min, each.max)]
        if bounds and len(bounds) == 2 * len(valued) and all(_is_exact(bound) for bound in bounds):
            stats["minValues"][name], stats["maxValues"][name] = _text(min(bounds)), _text(max(bounds))
    return stats


def _is_exact(value: object) -> bool:
    if isinstance(value, dt.datetime):
        return False
    return isinstance(value, (int, dt.date)) and not isinstance(value, bool)


def _text(value: int | dt.date) -> int | str:
    return value.isoformat() if isinstance(value, dt.date) else value
