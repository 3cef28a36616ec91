"""Tables made of a snapshot of another: with its rows copied, or with its files as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import pyarrow.fs as pa_fs
from msgspec.structs import replace

from delta_io._creation import commit_first, creatable, table_exists
from delta_io._dv import vector_path
from delta_io._map_errors import mapped
from delta_io._objects import check_commits, copy_within, same_store
from delta_io._places import is_absolute, placed
from delta_io._replay import rows_of
from delta_io.errors import TableExistsError, UnsupportedError
from delta_io.snapshot import Snapshot, state_of
from delta_io.storage import Location
from delta_io.table import Table

if TYPE_CHECKING:
    from delta_io._log import Add
    from delta_io.policy import WritePolicy

CLONED: Final = "delta_io.cloned_from"


def clone_table(
    snapshot: Snapshot,
    target: str | os.PathLike[str],
    *,
    shallow: bool = False,
    policy: WritePolicy | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Table:
    """Make a table that holds what a snapshot holds, and goes its own way from there.

    A deep clone copies the rows, in the commit after its creation. A shallow one reads none: all its files
    are in its first commit, on a local file system as hard links to those of the other table, on remote
    storage as copies that the store makes by itself. Neither table notices what happens to the other, vacuums
    included.

    Parameters
    ----------
    snapshot : Snapshot
        The version to clone.
    target : str or PathLike
        Path or URI of the new table's folder.
    shallow : bool, default False
        Link or copy the files as they are instead of reading rows; both tables have to be on one local file
        system, or in one bucket or container.
    policy : WritePolicy, optional
        How the new table is written.
    storage_options : Mapping[str, str], optional
        Options of the storage; those of the snapshot when left out.

    Returns
    -------
    Table
        The new table, whose commit names the place and version that it came from.

    Raises
    ------
    TableExistsError
        When a table is there already.
    UnsupportedError
        When a shallow clone is asked for and the tables are not in one store, or it has no conditional puts.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> folder = tempfile.mkdtemp()
    >>> table = Table.create(folder + "/t", TableSpec("t", [ColumnSpec("id", "long")]))
    >>> _ = table.write(pa.table({"id": [1, 2]}))
    >>> branch = clone_table(table.snapshot(), folder + "/branch", shallow=True)
    >>> branch.delete("id = 1").rows
    1
    >>> table.snapshot().to_reader().read_all().num_rows
    2
    """
    options = snapshot.storage_options if storage_options is None else storage_options
    place = Location(target, options)
    source = Location(snapshot.uri, snapshot.storage_options)
    if shallow:
        _check_one_store(source, place)
    if table_exists(place):
        raise TableExistsError(f"cannot clone to {place.shown!r}", "a table is there", "Clone elsewhere.")
    origin = f"{source.shown}@{snapshot.version}"
    if shallow:
        _link_files(snapshot, source, place, origin)
        return Table(target, policy=policy, storage_options=options)
    spec = snapshot.spec
    columns = [replace(each, field_id=None, physical_name=None) for each in spec.columns]
    contract = replace(spec, columns=tuple(columns), properties=creatable(spec.properties))
    table = Table.create(target, contract, policy=policy, storage_options=options)
    table.write(snapshot.to_reader(), metadata={CLONED: origin})
    return table


def _link_files(snapshot: Snapshot, source: Location, place: Location, origin: str) -> None:
    state = state_of(snapshot)
    now = int(time.time() * 1000)
    protocol = snapshot.protocol
    named = {
        "readerFeatures": sorted(protocol.reader_features),
        "writerFeatures": sorted(protocol.writer_features),
    }
    metadata: dict[str, Any] = msgspec.to_builtins(state.metadata)
    actions: list[dict[str, Any]] = [
        {"commitInfo": {"timestamp": now, "operation": "CLONE", "operationParameters": {}, CLONED: origin}},
        {
            "protocol": {
                "minReaderVersion": protocol.min_reader_version,
                "minWriterVersion": protocol.min_writer_version,
                **{kind: features for kind, features in named.items() if features},
            }
        },
        {
            "metaData": {
                **metadata,
                "id": str(uuid4()),
                "format": {"provider": "parquet", "options": {}},
                "createdTime": now,
            }
        },
    ]
    files = list(rows_of(state.files))
    below = _paths(source, files)
    if place.local:
        for path in below:
            _link(source, place, path)
    else:
        _copy(source, place, sorted(set(below)))
    commit_first(place, [*actions, *({"add": _added(add, now)} for add in files)])


def _check_one_store(source: Location, place: Location) -> None:
    if source.local != place.local:
        raise _not_linkable(source, place, "one of them is local, the other is not")
    if not (place.local or same_store(source, place)):
        raise _not_linkable(source, place, "they are not in one store")
    check_commits(place, f"{source.shown!r} cannot be cloned to {place.shown!r} without copying rows")


def _copy(source: Location, place: Location, paths: list[str]) -> None:
    with mapped(place, "copying files to"):
        infos = place.filesystem.get_file_info(paths) if paths else []
        there = next((info.path for info in infos if info.type != pa_fs.FileType.NotFound), None)
        if there is not None:
            raise _not_linkable(source, place, f"{there!r} is there")
        copy_within(source, place, paths)


def _paths(source: Location, files: Iterable[Add]) -> Iterator[str]:
    """Yield the files below the table's folder; others are named by where they are, in both tables."""
    for add in files:
        vector = add.deletion_vector
        if not is_absolute(path := placed(source, add.path)):
            yield path
        if vector is not None and vector.storage_type == "u":
            yield vector_path(source, vector)


def _link(source: Location, place: Location, path: str) -> None:
    old, new = Path(source.uri, path), Path(place.uri, path)
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except FileExistsError:
        if not old.samefile(new):  # two vectors may lie in one file
            raise _not_linkable(source, place, f"{path!r} is there") from None
    except OSError as error:
        raise _not_linkable(source, place, str(error)) from None


def _not_linkable(source: Location, place: Location, why: str) -> UnsupportedError:
    what = f"{source.shown!r} cannot be cloned to {place.shown!r} without copying rows"
    return UnsupportedError(what, why, "Make a deep clone.")


def _added(add: Add, now: int) -> dict[str, Any]:
    action: dict[str, Any] = {
        "path": add.path,
        "partitionValues": dict(add.partition_values),
        "size": add.size,
        "modificationTime": now,
        "dataChange": True,
    }
    if add.stats:
        action["stats"] = add.stats
    if add.deletion_vector is not None:
        vector: dict[str, Any] = msgspec.to_builtins(add.deletion_vector)
        action["deletionVector"] = {name: value for name, value in vector.items() if value is not None}
    return action
