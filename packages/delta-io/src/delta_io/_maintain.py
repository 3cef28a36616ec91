"""Files and commits that nobody needs any more: which they are, and how they go."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import pyarrow as pa
import pyarrow.fs as pa_fs

from delta_io import _log
from delta_io._arguments import check_span
from delta_io._checkpoints import read_checkpoint
from delta_io._dv import vector_path
from delta_io._map_errors import mapped
from delta_io._places import placed
from delta_io._replay import rows_of
from delta_io._times import version_at
from delta_io.errors import DeltaIoError, StorageError
from delta_io.snapshot import state_of

if TYPE_CHECKING:
    from delta_io._log import Add, Checkpoint, Remove
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
    check_span(retention, "the retention")
    with mapped(location, "looking for old files of"):
        hours = -(-retention // timedelta(hours=1))
        found: list[str] = snapshot._handle().vacuum(  # pyright: ignore[reportPrivateUsage] -- same package
            retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=unknown_files
        )
        # deltalake does not know which deletion vectors are in use, and takes them for unknown files.
        live = _named(location, rows_of(state_of(snapshot).files)) | _recent_vectors(
            location, snapshot, retention
        )
        old = [path for path in dict.fromkeys(found) if path not in live]
        needed = _needed(location, snapshot, reached(consumers)) if consumers else frozenset()
    paths = [path for path in old if path not in needed]
    return _remove(location, paths, len(old) - len(paths), dry_run=dry_run)


def _recent_vectors(location: Location, snapshot: Snapshot, retention: timedelta) -> frozenset[str]:
    """Return the files of versions that the retention still covers, in tables that have deletion vectors."""
    if "deletionVectors" not in snapshot.protocol.features_to_read:
        return frozenset()
    covered = version_at(location, state_of(snapshot), _ago_ms(retention))
    return _needed(location, snapshot, -1 if covered is None else covered)


def clean_log(
    location: Location,
    snapshot: Snapshot,
    retention: timedelta,
    consumers: tuple[Consumer, ...],
    *,
    dry_run: bool,
) -> Removal:
    """Delete what lies before the newest checkpoint that is old enough, and that no consumer is behind."""
    check_span(retention, "the retention")
    with mapped(location, "looking for old commits of"):
        old = version_at(location, state_of(snapshot), _ago_ms(retention))
        behind = (
            []
            if old is None
            else [each for each in _log.list_log(location).checkpoints if each.version <= old]
        )
        limit = _newest_readable(location, behind)
        guard = reached(consumers) if consumers else limit
        allowed = _newest_readable(location, [each for each in behind if each.version <= guard])
        files = sorted(_log_files(location))
    paths = [f"{_log.LOG}/{name}" for version, name in files if version < allowed]
    kept = sum(allowed <= version < limit for version, _ in files)
    return _remove(location, paths, kept, dry_run=dry_run)


def _ago_ms(retention: timedelta) -> int:
    return int((time.time() - retention.total_seconds()) * 1000)


def _newest_readable(location: Location, checkpoints: list[Checkpoint]) -> int:
    """Return the version of the newest of some checkpoints that can be read whole, 0 for none."""
    for checkpoint in checkpoints:
        try:
            read_checkpoint(location, checkpoint)
        except (pa.ArrowException, OSError, msgspec.MsgspecError, DeltaIoError):
            continue  # an older one, or the commits, are needed all the more
        return checkpoint.version
    return 0


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
        needed |= _named(location, (*actions.adds, *actions.removes))
        needed.update(placed(location, each.path) for each in actions.change_data)
    return frozenset(needed)


def _named(location: Location, actions: Iterable[Add | Remove]) -> frozenset[str]:
    """Return data files and their deletion vectors."""
    named: set[str] = set()
    for each in actions:
        named.add(placed(location, each.path))
        vector = each.deletion_vector
        if vector is not None and vector.storage_type != "i":
            named.add(vector_path(location, vector))
    return frozenset(named)


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
