"""The live files of a version, replayed from the log: vectors and raw partitions, which deltalake hides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from delta_io._log import LOG, Add, DeletionVector, read_commit
from delta_io.errors import LogError

if TYPE_CHECKING:
    from delta_io.storage import Location

_CHECKPOINT: Final = re.compile(
    r"^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.([0-9a-f-]{36}))?\.(parquet|json)$"
)
_FIELDS: Final = ("path", "partitionValues", "size", "modificationTime", "deletionVector")


def live_vectors(location: Location, version: int) -> dict[str, DeletionVector]:
    """Return the deletion vector of each live file that has one, by the path in the log."""
    live = live_files(location, version)
    return {path: add.deletion_vector for path, add in live.items() if add.deletion_vector is not None}


def live_files(location: Location, version: int) -> dict[str, Add]:
    """Return the live files of a version by the path in the log."""
    start, parts = _newest_checkpoint(location, version)
    live: dict[str, Add] = {}
    for part in parts:
        live.update((add.path, add) for add in _checkpoint_files(location, f"{LOG}/{part}"))
    for commit in range(start + 1, version + 1):
        actions = read_commit(location, commit)
        if actions is None:
            raise LogError(f"commit {commit} is missing", "no checkpoint covers it", "Restore the file.")
        for remove in actions.removes:
            found = live.get(remove.path)
            if found is not None and found.deletion_vector == remove.deletion_vector:
                del live[remove.path]
        live.update((add.path, add) for add in actions.adds)
    return live


def _newest_checkpoint(location: Location, version: int) -> tuple[int, list[str]]:
    """Return version and file names of the newest whole checkpoint up to a version; -1 when there is none."""
    found: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
    for info in location.filesystem.get_file_info(pa_fs.FileSelector(LOG, allow_not_found=True)):
        match = _CHECKPOINT.match(info.base_name)
        if match is None or int(match[1]) > version or not info.size:
            continue
        part, of = int(match[2] or 1), int(match[3] or 1)
        found.setdefault((int(match[1]), match[4] or f"{of}"), []).append((part, of, info.base_name))
    for (at, _), parts in sorted(found.items(), reverse=True):
        if len(parts) == parts[0][1]:
            return at, [name for _, _, name in sorted(parts)]
    return -1, []


def _checkpoint_files(location: Location, path: str) -> Iterator[Add]:
    rows = _json_rows if path.endswith(".json") else _parquet_rows
    for name, row in rows(location, path):
        if name == "sidecar":
            yield from _checkpoint_files(location, f"{LOG}/_sidecars/{row['path']}")
        else:
            values = row.get("partitionValues") or {}
            yield msgspec.convert({**row, "partitionValues": dict(values)}, Add)


def _parquet_rows(location: Location, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with location.filesystem.open_input_file(path) as file, pq.ParquetFile(file) as parquet:
        names = [each for each in ("add", "sidecar") if each in parquet.schema_arrow.names]
        wanted = [f"{name}.{field}" for name in names for field in (_FIELDS if name == "add" else ("path",))]
        for batch in parquet.iter_batches(columns=wanted):
            for name in names:
                for row in batch.column(name).drop_null().to_pylist():
                    yield name, row


def _json_rows(location: Location, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with location.filesystem.open_input_stream(path) as stream:
        for line in stream.read().splitlines():
            action: dict[str, Any] = msgspec.json.decode(line) if line.strip() else {}
            for name in ("add", "sidecar"):
                if name in action:
                    yield name, action[name]
