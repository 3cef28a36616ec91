"""The transaction log, read action by action where deltalake has no way to ask for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow.fs as pa_fs
from msgspec import Struct

from delta_io.errors import LogError
from delta_io.features import Protocol

if TYPE_CHECKING:
    from delta_io.storage import Location

LOG: Final = "_delta_log"
# Where a commit carries its own id, as those of other writers do.
MARK: Final = "txnId"
# Where a commit says what its files are sorted by, ascending and nulls last: names in the files, as JSON.
SORTED: Final = "delta_io.sorted_by"
_COMMIT: Final = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT: Final = re.compile(
    r"^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.([0-9a-f-]{36}))?\.(parquet|json)$"
)
_NO_OBJECT: Final = re.compile(rb"\n[^{]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DeletionVector(Struct, frozen=True, rename="camel"):
    """Where the positions of a file's deleted rows are stored.

    Parameters
    ----------
    storage_type : str
        ``u`` for a file in the table's folder, ``p`` for an absolute path, ``i`` for inline.
    path_or_inline_dv : str
        Encoded name of the file, its path, or the data.
    size_in_bytes : int
        Size of the stored vector.
    cardinality : int
        Number of deleted rows.
    offset : int, optional
        Where in the file the vector starts.
    """

    storage_type: str
    path_or_inline_dv: str
    size_in_bytes: int
    cardinality: int
    offset: int | None = None


class Add(Struct, frozen=True, rename="camel"):
    """A data file that a commit makes part of the table."""

    path: str
    partition_values: dict[str, str | None] = {}
    size: int = 0
    modification_time: int = 0
    data_change: bool = True
    stats: str | None = None
    deletion_vector: DeletionVector | None = None


class Remove(Struct, frozen=True, rename="camel"):
    """A data file that a commit takes out of the table."""

    path: str
    data_change: bool = True
    partition_values: dict[str, str | None] | None = None
    size: int | None = None
    deletion_vector: DeletionVector | None = None


class ChangeData(Struct, frozen=True, rename="camel"):
    """A change file of a commit."""

    path: str
    partition_values: dict[str, str | None] = {}
    size: int = 0


class Metadata(Struct, frozen=True, rename="camel"):
    """What a commit says about the table."""

    id: str
    schema_string: str = '{"type":"struct","fields":[]}'
    partition_columns: list[str] = []
    configuration: dict[str, str | None] = {}
    name: str | None = None
    description: str | None = None


class ProtocolAction(Struct, frozen=True, rename="camel"):
    """What a commit says that readers and writers have to know."""

    min_reader_version: int
    min_writer_version: int
    reader_features: list[str] | None = None
    writer_features: list[str] | None = None

    def to_protocol(self) -> Protocol:
        """Return it as it is shown."""
        return Protocol(
            min_reader_version=self.min_reader_version,
            min_writer_version=self.min_writer_version,
            reader_features=frozenset(self.reader_features or ()),
            writer_features=frozenset(self.writer_features or ()),
        )


class Txn(Struct, frozen=True, rename="camel"):
    """Version of an application's transaction."""

    app_id: str
    version: int


class _Line(Struct, frozen=True, rename="camel"):
    add: Add | None = None
    remove: Remove | None = None
    cdc: ChangeData | None = None
    meta_data: Metadata | None = None
    protocol: ProtocolAction | None = None
    txn: Txn | None = None
    commit_info: dict[str, Any] | None = None


_LINES: Final = msgspec.json.Decoder(_Line)


class Actions(Struct, frozen=True, kw_only=True):
    """The actions of one commit."""

    version: int
    timestamp_ms: int
    adds: tuple[Add, ...]
    removes: tuple[Remove, ...]
    change_data: tuple[ChangeData, ...]
    metadata: Metadata | None
    protocol: ProtocolAction | None
    transactions: tuple[Txn, ...]
    commit_info: dict[str, Any]


def mark(actions: Actions) -> str | None:
    """Return the id that a commit carries of its own, or None."""
    found = actions.commit_info.get(MARK)
    return found if isinstance(found, str) else None


def sorted_by(actions: Actions) -> tuple[str, ...]:
    """Return the columns that the files of a commit are sorted by; none where it does not say."""
    try:
        return msgspec.json.decode(actions.commit_info.get(SORTED) or "[]", type=tuple[str, ...])
    except (msgspec.MsgspecError, TypeError):
        return ()


def repeated(actions: Actions) -> int:
    """Return how often deltalake tried again to place a commit, as far as the commit says."""
    found = (actions.commit_info.get("operationMetrics") or {}).get("num_retries")
    return found if isinstance(found, int) else 0


def commit_path(version: int) -> str:
    """Return the path of a commit below the table's folder."""
    return f"{LOG}/{version:020}.json"


def parse_commit(version: int, data: bytes, modified_ms: int) -> Actions:
    """Return the actions of a commit from its file."""
    try:
        lines = [_LINES.decode(line) for line in data.splitlines() if line.strip()]
    except msgspec.MsgspecError as error:
        raise LogError(f"commit {version} cannot be read", str(error), "The log may be damaged.") from None
    info = next((line.commit_info for line in lines if line.commit_info is not None), {})
    in_commit = info.get("inCommitTimestamp")
    metadata = [line.meta_data for line in lines if line.meta_data is not None]
    protocols = [line.protocol for line in lines if line.protocol is not None]
    return Actions(
        version=version,
        timestamp_ms=in_commit if isinstance(in_commit, int) else modified_ms,
        adds=tuple(line.add for line in lines if line.add is not None),
        removes=tuple(line.remove for line in lines if line.remove is not None),
        change_data=tuple(line.cdc for line in lines if line.cdc is not None),
        metadata=metadata[-1] if metadata else None,
        protocol=protocols[-1] if protocols else None,
        transactions=tuple(line.txn for line in lines if line.txn is not None),
        commit_info=info,
    )


def decode_line(line: bytes) -> Any:
    """Return the actions of a line."""
    try:
        return _LINES.decode(line)
    except msgspec.MsgspecError as error:
        raise LogError("a line of the log cannot be read", str(error), "The log may be damaged.") from None


def object_lines(data: bytes, what: str) -> bytes:
    """Return lines of JSON, each an object, none empty: Arrow's JSON reader dies of others."""
    if data.startswith(b"{") and _NO_OBJECT.search(data) is None:
        return data
    lines = [line.strip() for line in data.splitlines() if line.strip()]
    if not all(line.startswith(b"{") for line in lines):
        raise LogError(f"{what} cannot be read", "a line of it is no JSON object", "The log may be damaged.")
    return b"\n".join(lines)


def read_bytes(location: Location, path: str) -> bytes:
    """Return the contents of a file below the table's folder."""
    if location.local:
        return Path(location.uri, path).read_bytes()
    with location.filesystem.open_input_stream(path) as stream:
        return stream.read()


def read_commit(location: Location, version: int, committed_ms: int | None = None) -> Actions | None:
    """Return the actions of a commit, or None when its file is gone."""
    path = commit_path(version)
    found = stat(location, path)
    if found is None:
        return None
    modified_ms = found[1] // 1_000_000 if committed_ms is None else committed_ms
    return parse_commit(version, read_bytes(location, path), modified_ms)


def stat(location: Location, path: str) -> tuple[int, int] | None:
    """Return size and modification time (ns) of a file below the table's folder, or None."""
    if location.local:
        try:
            found = Path(location.uri, path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size, found.st_mtime_ns
    info = location.filesystem.get_file_info(path)
    return None if info.type == pa_fs.FileType.NotFound else (info.size or 0, info.mtime_ns or 0)


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint all of whose files are there."""

    version: int
    names: tuple[str, ...]
    modified_ms: int


class Listing(Struct, frozen=True, kw_only=True):
    """What the log's folder holds: modification time (ms) of each commit, and checkpoints, newest first."""

    commits: dict[int, int]
    checkpoints: list[Checkpoint]


def list_log(location: Location) -> Listing:
    """List commits and whole checkpoints."""
    commits: dict[int, int] = {}
    parts: dict[tuple[int, str], list[str]] = {}
    times: dict[str, int] = {}
    for name, size, modified_ns in _files(location):
        if match := _COMMIT.match(name):
            commits[int(match[1])] = modified_ns // 1_000_000
        elif size and (match := _CHECKPOINT.match(name)):
            parts.setdefault((int(match[1]), match[3] or match[4] or ""), []).append(name)
            times[name] = modified_ns // 1_000_000
    whole = [
        Checkpoint(
            version=version, names=tuple(sorted(names)), modified_ms=max(times[name] for name in names)
        )
        for (version, kind), names in sorted(parts.items(), reverse=True)
        if not kind.isdigit() or len(names) == int(kind)
    ]
    return Listing(commits=dict(sorted(commits.items())), checkpoints=whole)


def _files(location: Location) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time (ns) of the files of the log's folder."""
    if location.local:
        folder = Path(location.uri, LOG)
        with os.scandir(folder) if folder.is_dir() else nullcontext([]) as entries:
            for entry in entries:
                if _COMMIT.match(entry.name) or _CHECKPOINT.match(entry.name):
                    with suppress(FileNotFoundError):  # cleaned up by another, just then
                        found = entry.stat()
                        yield entry.name, found.st_size, found.st_mtime_ns
        return
    for info in location.filesystem.get_file_info(pa_fs.FileSelector(LOG, allow_not_found=True)):
        yield info.base_name, info.size or 0, info.mtime_ns or stat_mtime(location, f"{LOG}/{info.base_name}")


def list_commits(location: Location) -> list[tuple[int, int]]:
    """Return version and modification time (ms) of every commit whose file is there, in order."""
    return list(list_log(location).commits.items())


def stat_mtime(location: Location, path: str) -> int:
    """Return the modification time (ns) of a file, 0 when it is gone."""
    found = stat(location, path)
    return found[1] if found else 0


def moment(milliseconds: int) -> datetime:
    """Return the point in time that many milliseconds after 1970 in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(point: datetime) -> int:
    """Return how many whole milliseconds after 1970 a point in time is."""
    return (point - _EPOCH) // timedelta(milliseconds=1)
