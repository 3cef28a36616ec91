"""Whether a table is due for maintenance, and why."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from delta_io import _log
from delta_io._map_errors import mapped
from delta_io._read import why_not_compacted

if TYPE_CHECKING:
    from delta_io.maintenance import MaintenancePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

_DEFAULT_TARGET_BYTES: Final = 100 << 20
_INTERVAL: Final = re.compile(
    r"\s*(?:interval\s+)?(\d+)\s+(week|day|hour|minute|second|millisecond|microsecond)s?\s*\Z", re.IGNORECASE
)


class Due(Struct, frozen=True):
    """Whether something is to be done, and why or why not."""

    due: bool
    reason: str


def file_retention(snapshot: Snapshot) -> timedelta:
    """Return how long files that left the table are kept."""
    return _interval(snapshot, "delta.deletedFileRetentionDuration", timedelta(days=7))


def log_retention(snapshot: Snapshot) -> timedelta:
    """Return how long commits are kept."""
    return _interval(snapshot, "delta.logRetentionDuration", timedelta(days=30))


def _interval(snapshot: Snapshot, name: str, default: timedelta) -> timedelta:
    """Read a property such as "interval 7 days"; one that cannot be read keeps files for longest."""
    text = snapshot.properties.get(name)
    if text is None:
        return default
    match = _INTERVAL.match(text)
    return timedelta(**{match[2].lower() + "s": int(match[1])}) if match else max(default, timedelta(days=30))


def span(time: timedelta) -> str:
    """Return a time span for people."""
    days, hours = divmod(time / timedelta(hours=1), 24)
    if time >= timedelta(days=1) and hours == 0:
        return f"{days:.0f} days" if days != 1 else "1 day"
    return f"{time / timedelta(hours=1):g} hours"


def optimizing(
    location: Location, snapshot: Snapshot, policy: MaintenancePolicy, target_bytes: int | None
) -> Due:
    """Tell whether files are to be put together, or ordered."""
    due = _optimizing(location, snapshot, policy, target_bytes)
    obstacle = why_not_compacted(snapshot, location) if due.due else None
    return due if obstacle is None else Due(False, obstacle)


def _optimizing(
    location: Location, snapshot: Snapshot, policy: MaintenancePolicy, target_bytes: int | None
) -> Due:
    if snapshot.column_mapping != "none":
        return Due(False, "deltalake does not compact tables with column mapping")
    if policy.z_order_by:
        return _ordering(location, snapshot, policy.z_order_share)
    if not policy.compact:
        return Due(False, "the policy leaves it out")
    target = target_bytes or _target_bytes(snapshot)
    files = snapshot.add_actions()
    partitions = files["partition"].to_pylist() if "partition" in files.column_names else [None] * len(files)
    small = Counter(
        repr(partition)
        for partition, size in zip(partitions, files["size_bytes"].to_pylist(), strict=True)
        if size < target / 2
    )
    most = max(small.values(), default=0)
    found = f"smaller than half of {target / (1 << 20):.1f} MiB in one partition"
    if most >= policy.small_files:
        return Due(True, f"{most} files are {found}")
    return Due(False, f"no more than {most} of {policy.small_files} files are {found}")


def _target_bytes(snapshot: Snapshot) -> int:
    text = snapshot.properties.get("delta.targetFileSize", "")
    return int(text) if text.isdigit() and int(text) else _DEFAULT_TARGET_BYTES


def _ordering(location: Location, snapshot: Snapshot, share: float) -> Due:
    """Compare the bytes of files that the last ordering did not write with all of them."""
    files = snapshot.add_actions()
    sizes = dict(zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True))
    total = sum(sizes.values())
    if not total:
        return Due(False, "the table is empty")
    ordered = _written_in_order(location, snapshot)
    fresh = sum(size for path, size in sizes.items() if path not in ordered)
    found = f"{fresh / total:.0%} of the bytes came after the last ordering"
    return Due(fresh > 0 and fresh / total >= share, found if ordered else "the files were never ordered")


def _written_in_order(location: Location, snapshot: Snapshot) -> frozenset[str]:
    """Return the files that the newest commit which ordered the table wrote."""
    from delta_io._places import placed

    with mapped(location, "reading the history of"):
        for version, _ in reversed(_log.list_commits(location)):
            actions = _log.read_commit(location, version) if version <= snapshot.version else None
            metrics = {} if actions is None else actions.commit_info.get("operationMetrics") or {}
            if actions is not None and metrics.get("plannerStrategy") == "zOrder":
                return frozenset(placed(location, add.path) for add in actions.adds)
    return frozenset()


def checkpoint(location: Location, snapshot: Snapshot, interval: int) -> Due:
    """Tell whether a checkpoint is to be written."""
    if interval == 0:
        return Due(False, "the policy leaves it out")
    with mapped(location, "listing the log of"):
        written = (each.version for each in _log.list_log(location).checkpoints)
        last = max((version for version in written if version <= snapshot.version), default=0)
    since = snapshot.version - last
    return Due(since >= interval, f"{since} of {interval} commits since the last checkpoint")
