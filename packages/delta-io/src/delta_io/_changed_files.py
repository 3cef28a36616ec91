"""Which files, and which of their rows, make up the changes between two versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from delta_io import _log
from delta_io._compute import pc
from delta_io._dv import vector_path
from delta_io._feed_doubts import leaves_out
from delta_io._log import Actions, Add, DeletionVector, Metadata, Remove
from delta_io._places import decode_paths, file_size, missing, placed
from delta_io._replay import difference, rows_of
from delta_io._schema import arrow_schema, mappable, physical_name
from delta_io._times import rising
from delta_io.errors import ChangesUnavailableError, DeltaIoError
from delta_io.snapshot import Snapshot, state_of

if TYPE_CHECKING:
    from delta_io.storage import Location

_FEED: Final = "delta.enableChangeDataFeed"
_MAPPING: Final = "delta.columnMapping.mode"
_BYTES_PER_ROW: Final = 32


class ChangedFile(Struct, frozen=True, kw_only=True):
    """A file whose rows, or some of them, changed.

    Parameters
    ----------
    path : str
        Below the table's folder, decoded; a percent-encoded URI when the file lies elsewhere.
    change_type : str or None
        ``insert`` or ``delete``; None when the file says it row by row in ``_change_type``.
    version : int
        Version the change belongs to.
    timestamp_ms : int
        When it was committed, in milliseconds since 1970.
    partition : Mapping[str, str or None]
        Partition values as the log writes them.
    size_bytes : int
        Size of the file.
    rows_estimate : int
        About how many rows changed.
    only : DeletionVector, optional
        Take just the rows that this vector deletes.
    exclude : DeletionVector, optional
        Leave out the rows that this vector deletes.
    """

    path: str
    change_type: Literal["insert", "delete"] | None
    version: int
    timestamp_ms: int
    partition: Mapping[str, str | None]
    size_bytes: int
    rows_estimate: int
    only: DeletionVector | None = None
    exclude: DeletionVector | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """How the changes after a version are found."""

    since: int
    source: Literal["feed", "files", "none"]
    reason: str
    files: tuple[ChangedFile, ...] = ()


class _Stats(Struct):
    numRecords: int | None = None  # noqa: N815 -- as the log writes it


class _Range(Struct, frozen=True, kw_only=True):
    """What is known of the commits of a range."""

    location: Any
    since: int
    until: Any
    commits: tuple[Actions, ...]
    open_version: Callable[[int], Any]


OpenVersion = Callable[[int], "Snapshot"]


def plan_changes(location: Location, open_version: OpenVersion, since: int, until: Snapshot) -> Plan:
    """Return how to find the changes after a version, or raise when there is no way left."""
    if since == until.version:
        return Plan(since=since, source="none", reason="No version lies between.")
    commits, lost = _read_commits(location, since, until)
    scope = _Range(location=location, since=since, until=until, commits=commits, open_version=open_version)
    scope = replace(scope, commits=_completed(scope))
    obstacle = lost or _feed_obstacle(scope) or _unplaced(scope)
    if obstacle is None:
        files = tuple(_feed_files(location, scope.commits))
        obstacle = _incomplete(location, scope.commits, files)
        if obstacle is None:
            return Plan(since=since, source="feed", reason="The change data feed is whole.", files=files)
    return _from_files(scope, obstacle, lost)


def _incomplete(location: Location, commits: Iterable[Actions], files: Iterable[ChangedFile]) -> str | None:
    """Return what the change data lacks, or None."""
    gone = _gone(location, files)
    if gone is not None:
        return f"{gone} of the change data feed is gone"
    short = next((each.version for each in commits if leaves_out(location, each)), None)
    if short is None:
        return None
    return f"the change data of version {short} lacks rows that became equal to others"


def _read_commits(location: Location, since: int, until: Snapshot) -> tuple[tuple[Actions, ...], str | None]:
    commits: list[Actions] = []
    times = rising(state_of(until).modified_ms)
    for version in range(since + 1, until.version + 1):
        actions = _log.read_commit(location, version, times.get(version))
        if actions is None:
            return (), f"the log of version {version} is gone"
        commits.append(actions)
    marks = {actions.version: _log.mark(actions) for actions in commits}
    return tuple(_emptied(each) if _repeats(location, each, marks) else each for each in commits), None


def _completed(scope: _Range) -> tuple[Actions, ...]:
    """Return commits whose removes say how large a file was, and in which partition, as its add did."""
    lacking = {
        placed(scope.location, each.path)
        for actions in scope.commits
        for each in actions.removes
        if each.data_change and (each.partition_values is None or each.size is None)
    }
    if not lacking:
        return scope.commits
    known = _adds_of(scope, lacking)
    return tuple(
        replace(actions, removes=tuple(_complete(scope, each, known) for each in actions.removes))
        for actions in scope.commits
    )


def _adds_of(scope: _Range, paths: set[str]) -> dict[str, Add]:
    """Return what was said of some files when they came."""
    adds = [add for actions in scope.commits for add in actions.adds]
    if scope.since >= 0:
        with suppress(DeltaIoError):  # cleaned up: what is still not known then is told below
            files = state_of(scope.open_version(scope.since)).files
            places = decode_paths(scope.location, files["path"])
            adds = [*rows_of(files.filter(pc.is_in(places, value_set=pa.array(sorted(paths))))), *adds]
    return {placed(scope.location, add.path): add for add in adds}


def _complete(scope: _Range, remove: Remove, known: Mapping[str, Add]) -> Remove:
    add = known.get(placed(scope.location, remove.path))
    values, size = remove.partition_values, remove.size
    if values is None:
        values = add.partition_values if add is not None else None if scope.until.partition_by else {}
    if size is None:
        size = add.size if add is not None else file_size(scope.location, placed(scope.location, remove.path))
    return replace(remove, partition_values=values, size=size)


def _unplaced(scope: _Range) -> str | None:
    """Return why removes cannot be read as changes, or None."""
    for actions in scope.commits:
        if not actions.change_data and any(
            each.data_change and each.partition_values is None for each in actions.removes
        ):
            return f"the log does not say which partition version {actions.version} removed files from"
    return None


def _repeats(location: Location, actions: Actions, marks: dict[int, str | None]) -> bool:
    """Tell whether a commit landed before, unnoticed: a store repeated the request whose answer was lost.

    Its writer then took its own commit for another one's, and placed itself on top; no row came twice.
    """
    own = marks[actions.version]
    if own is None or not _log.repeated(actions):
        return False
    for version in range(actions.version - 1, max(-1, actions.version - 1 - _log.repeated(actions)), -1):
        if version not in marks:
            earlier = _log.read_commit(location, version)
            marks[version] = None if earlier is None else _log.mark(earlier)
        if marks[version] == own:
            return True
    return False


def _emptied(actions: Actions) -> Actions:
    return replace(actions, adds=(), removes=(), change_data=())


def _feed_obstacle(scope: _Range) -> str | None:
    """Return why the feed cannot be used, or None."""
    changed = [actions for actions in scope.commits if actions.metadata is not None]
    if not changed:
        return None if scope.until.properties.get(_FEED) == "true" else "the change data feed is off"
    if scope.since >= 0:
        before = scope.open_version(scope.since)
        if changed[0].version > scope.since + 1 and before.properties.get(_FEED) != "true":
            return f"the change data feed is off at version {scope.since}"
        reason = _incompatible(state_of(before).metadata, scope.until)
        if reason:
            return reason
    for actions in changed:
        reason = _metadata_obstacle(actions, scope.until)
        if reason is not None:
            return f"{reason} at version {actions.version}"
    return None


def _metadata_obstacle(actions: Actions, until: Snapshot) -> str | None:
    metadata = actions.metadata
    if metadata is None:
        return None
    if metadata.configuration.get(_FEED) != "true":
        return "the change data feed is off"
    return _incompatible(metadata, until)


def _feed_files(location: Location, commits: Iterable[Actions]) -> Iterator[ChangedFile]:
    for actions in commits:
        if actions.change_data:
            for each in actions.change_data:
                yield ChangedFile(
                    path=placed(location, each.path),
                    change_type=None,
                    version=actions.version,
                    timestamp_ms=actions.timestamp_ms,
                    partition=each.partition_values,
                    size_bytes=each.size,
                    rows_estimate=max(1, each.size // _BYTES_PER_ROW),
                )
        else:
            net = _net(location, (actions,))
            yield from _changed(location, net, actions.version, actions.timestamp_ms)


_Key = tuple[str, str, str, int | None]


def _key(location: Location, action: Add | Remove) -> _Key:
    """Return what tells files apart: the place, however it is written, and the deletion vector."""
    path, vector = placed(location, action.path), action.deletion_vector
    if vector is None:
        return path, "", "", None
    return path, vector.storage_type, vector.path_or_inline_dv, vector.offset


def _net(location: Location, commits: Iterable[Actions]) -> tuple[list[Remove | Add], list[Add | Remove]]:
    """Return what left and what came over some commits, by file and vector, what cancels left out."""
    left: dict[_Key, Add | Remove] = {}
    came: dict[_Key, Add | Remove] = {}
    for actions in commits:
        for remove in actions.removes:
            key = _key(location, remove)
            if remove.data_change and came.pop(key, None) is None:
                left[key] = remove
        for add in actions.adds:
            key = _key(location, add)
            if add.data_change and left.pop(key, None) is None:
                came[key] = add
    return list(left.values()), list(came.values())


def _changed(
    location: Location,
    net: tuple[list[Remove | Add], list[Add | Remove]],
    version: int,
    timestamp_ms: int,
) -> Iterator[ChangedFile]:
    """Yield the rows that left, then those that came; where only the vector changed, just those."""
    left, came = net
    before = {placed(location, each.path): each for each in left}
    after = {placed(location, each.path): each for each in came}

    def piece(
        action: Add | Remove,
        change_type: Literal["insert", "delete"],
        only: DeletionVector | None,
        exclude: DeletionVector | None,
    ) -> ChangedFile:
        return ChangedFile(
            path=placed(location, action.path),
            change_type=change_type,
            version=version,
            timestamp_ms=timestamp_ms,
            partition=action.partition_values or {},
            size_bytes=action.size or 0,
            rows_estimate=_rows(action, only, exclude),
            only=only,
            exclude=exclude,
        )

    for path, old in before.items():
        new = after.get(path)
        if new is None:
            yield piece(old, "delete", None, old.deletion_vector)
        elif new.deletion_vector is not None:
            yield piece(new, "delete", new.deletion_vector, old.deletion_vector)
    for path, new in after.items():
        old = before.get(path)
        if old is None:
            yield piece(new, "insert", None, new.deletion_vector)
        elif old.deletion_vector is not None:
            yield piece(new, "insert", old.deletion_vector, new.deletion_vector)


def _rows(action: Add | Remove, only: DeletionVector | None, exclude: DeletionVector | None) -> int:
    gone = 0 if exclude is None else exclude.cardinality
    if only is not None:
        return max(0, only.cardinality - gone)
    known = None
    if isinstance(action, Add) and action.stats:
        known = _record_count(action.stats)
    return max(0, (known if known is not None else max(1, (action.size or 0) // _BYTES_PER_ROW)) - gone)


def _record_count(stats: str) -> int | None:
    try:
        return msgspec.json.decode(stats, type=_Stats).numRecords
    except msgspec.MsgspecError:
        return None


def _gone(location: Location, files: Iterable[ChangedFile]) -> str | None:
    """Return a file, or vector, that is needed and no longer there."""
    paths: dict[str, None] = {}
    for each in files:
        paths[each.path] = None
        for vector in (each.only, each.exclude):
            if vector is not None and vector.storage_type != "i":
                paths[vector_path(location, vector)] = None
    return next(iter(missing(location, paths)), None)


def _from_files(scope: _Range, obstacle: str, lost: str | None) -> Plan:
    """Return the plan that reads the files that came and went, because the feed cannot be used."""
    _check_schemas(scope)
    gone: str | None = None
    if lost is None and not any(actions.metadata for actions in scope.commits):
        files = tuple(_net_files(scope, _net(scope.location, scope.commits)))
        gone = _gone(scope.location, files)
        if gone is None:
            return Plan(since=scope.since, source="files", reason=_sentence(obstacle), files=files)
    files = tuple(_net_files(scope, _live_difference(scope)))
    gone = _gone(scope.location, files)
    if gone is None:
        return Plan(since=scope.since, source="files", reason=_sentence(obstacle), files=files)
    raise ChangesUnavailableError(
        f"the changes in ({scope.since}, {scope.until.version}] are lost",
        f"{obstacle}, and data file {gone} is gone",
        "Read the whole table.",
    )


def _sentence(obstacle: str) -> str:
    return obstacle[0].upper() + obstacle[1:] + "; the files of both versions are compared."


def _net_files(scope: _Range, net: tuple[list[Any], list[Any]]) -> list[ChangedFile]:
    if scope.until.partition_by and any(each.partition_values is None for each in net[0]):
        raise ChangesUnavailableError(
            f"the changes in ({scope.since}, {scope.until.version}] are lost",
            "the log does not say in which partition the removed files were",
            "Read the whole table.",
        )
    stamp = scope.commits[-1].timestamp_ms if scope.commits else int(scope.until.timestamp.timestamp() * 1000)
    return list(_changed(scope.location, net, scope.until.version, stamp))


def _check_schemas(scope: _Range) -> None:
    if not any(actions.metadata for actions in scope.commits) and scope.commits:
        return
    if scope.since < 0:
        return
    try:
        before = scope.open_version(scope.since)
    except DeltaIoError as error:
        raise _lost(scope, f"version {scope.since} cannot be opened ({error.found or error.what})") from None
    reason = _incompatible(state_of(before).metadata, scope.until)
    if reason is not None:
        raise _lost(scope, reason)


def _incompatible(old: Metadata, until: Snapshot) -> str | None:
    """Return why rows under older metadata cannot be shown with the columns of a version, or None."""
    new = state_of(until).metadata
    modes = tuple(each.configuration.get(_MAPPING) or "none" for each in (old, new))
    if modes[0] != modes[1] and modes != ("none", "name"):  # which keeps the names that the files have
        return "the column mapping is another"
    before = arrow_schema(old.schema_string)
    partitions = [
        [physical_name(schema.field(name), mode) for name in metadata.partition_columns]
        for schema, metadata, mode in zip((before, until.schema), (old, new), modes, strict=True)
    ]
    if partitions[0] != partitions[1]:
        return "the partitioning is another"
    return mappable(before, until.schema, (modes[0], modes[1]))


def _lost(scope: _Range, found: str) -> ChangesUnavailableError:
    return ChangesUnavailableError(
        f"the changes in ({scope.since}, {scope.until.version}] cannot be told",
        found,
        "Read the whole table.",
    )


def _live_difference(scope: _Range) -> tuple[list[Add], list[Add]]:
    """Return the files that are live at one end only."""
    new = state_of(scope.until).files
    old = new.slice(0, 0) if scope.since < 0 else state_of(scope.open_version(scope.since)).files
    return difference(scope.location, old, new)
