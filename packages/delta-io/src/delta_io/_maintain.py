"""Files and commits that nobody needs any more: which they are, and how they go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pyarrow.fs as pa_fs

from delta_io import _log
from delta_io._due import checkpoints
from delta_io._dv import vector_path
from delta_io._map_errors import mapped
from delta_io._places import placed
from delta_io.errors import StorageError

if TYPE_CHECKING:
    from delta_io.maintenance import Consumer, Removal
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

# Commits, their checksums, compacted ranges of them, and checkpoints in one part or several.
_OF_VERSION: Final = re.compile(
    r"(\d{20})\.(?:json|crc|checkpoint(?:\..*)?\.(?:parquet|json)|(\d{20})\.compacted\.json)$"
)


def vacuum(
    location: Location,
    snapshot: Snapshot,
    retention: timedelta,
    consumers: tuple[Consumer, ...],
    *,
    unknown_files: bool,
    dry_run: bool,
) -> Removal:
    """Delete files that left the table before the retention, other than those that consumers need."""
    with mapped(location, "looking for old files of"):
        hours = -(-retention // timedelta(hours=1))
        found: list[str] = snapshot._handle().vacuum(  # pyright: ignore[reportPrivateUsage] -- same package
            retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=unknown_files
        )
        needed = _needed(location, snapshot, reached(consumers)) if consumers else frozenset()
    paths = [path for path in found if path not in needed]
    return _remove(location, paths, len(found) - len(paths), dry_run=dry_run)


def clean_log(
    location: Location,
    retention: timedelta,
    consumers: tuple[Consumer, ...],
    *,
    dry_run: bool,
) -> Removal:
    """Delete what lies before the newest checkpoint that is old enough, and that no consumer is behind."""
    with mapped(location, "looking for old commits of"):
        commits = _log.list_commits(location)
        oldest_wanted = int((time.time() - retention.total_seconds()) * 1000)
        old = _log.version_at(location, commits, oldest_wanted)
        behind = [] if old is None else [each for each in checkpoints(location) if each <= old]
        limit = max(behind, default=0)
        guard = reached(consumers) if consumers else limit
        allowed = max((each for each in behind if each <= guard), default=0)
        files = sorted(_log_files(location))
    paths = [f"{_log.LOG}/{name}" for version, name in files if version < allowed]
    kept = sum(allowed <= version < limit for version, _ in files)
    return _remove(location, paths, kept, dry_run=dry_run)


def reached(consumers: Iterable[Consumer]) -> int:
    """Return the version that the consumer furthest behind has come to."""
    return min(_reached(consumer) for consumer in consumers)


def _reached(consumer: Consumer) -> int:
    if consumer.version is not None:
        return consumer.version
    from delta_io.table import Table

    table = Table(str(consumer.uri), storage_options=consumer.storage_options)
    version = table.transaction_version(str(consumer.app_id))
    return -1 if version is None else version


def _log_files(location: Location) -> list[tuple[int, str]]:
    """Return the files of the log that belong to versions: the last version of each, and its name."""
    selector = pa_fs.FileSelector(_log.LOG, allow_not_found=True)
    names = [info.base_name for info in location.filesystem.get_file_info(selector)]
    return [(int(match[2] or match[1]), name) for name in names if (match := _OF_VERSION.match(name))]


def _needed(location: Location, snapshot: Snapshot, since: int) -> frozenset[str]:
    """Return every file that the commits after a version name: enough to read the changes from there on."""
    needed: set[str] = set()
    for version, _ in _log.list_commits(location):
        if not since < version <= snapshot.version:
            continue
        actions = _log.read_commit(location, version)
        if actions is None:
            continue
        for each in (*actions.adds, *actions.removes, *actions.change_data):
            needed.add(placed(location, each.path))
        for each in (*actions.adds, *actions.removes):
            vector = each.deletion_vector
            if vector is not None and vector.storage_type != "i":
                needed.add(vector_path(location, vector))
    return frozenset(needed)


def _remove(location: Location, paths: list[str], kept: int, *, dry_run: bool) -> Removal:
    from delta_io.maintenance import Removal

    with mapped(location, "deleting old files of"):
        infos = location.filesystem.get_file_info(paths) if paths else []
        there = [info for info in infos if info.type == pa_fs.FileType.File]
        for info in () if dry_run else there:
            _delete(location, info.path)
    return Removal(
        paths=tuple(info.path for info in there),
        bytes=sum(info.size or 0 for info in there),
        kept=kept,
        dry_run=dry_run,
    )


def _delete(location: Location, path: str) -> None:
    try:
        location.filesystem.delete_file(path)
    except FileNotFoundError:
        return  # somebody else is cleaning up as well
    except OSError as error:
        raise StorageError(f"{path!r} cannot be deleted", str(error), "Check the permissions.") from None
