"""When versions were committed, and which version a point in time shows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from delta_io import _log

if TYPE_CHECKING:
    from delta_io._replay import State
    from delta_io.storage import Location

_ENABLED: Final = "delta.enableInCommitTimestamps"
_SINCE_VERSION: Final = "delta.inCommitTimestampEnablementVersion"
_SINCE_TIME: Final = "delta.inCommitTimestampEnablementTimestamp"


def rising(modified_ms: Mapping[int, int]) -> dict[int, int]:
    """Return times that rise with versions: where the clock went back, a millisecond after the last."""
    times: dict[int, int] = {}
    latest: int | None = None
    for version, modified in sorted(modified_ms.items()):
        latest = modified if latest is None else max(modified, latest + 1)
        times[version] = latest
    return times


def committed_ms(location: Location, state: State) -> int:
    """Return when a version was committed, in milliseconds since 1970."""
    if state.metadata.configuration.get(_ENABLED) == "true":
        actions = _log.read_commit(location, state.version)
        if actions is not None:
            return actions.timestamp_ms
    return rising(state.modified_ms)[state.version]


def version_at(location: Location, newest: State, wanted_ms: int) -> int | None:
    """Return the newest version committed by a point in time, None when the log starts later."""
    properties = newest.metadata.configuration
    times = rising(newest.modified_ms)
    if properties.get(_ENABLED) != "true":
        return _last(times, wanted_ms)
    since = int(properties.get(_SINCE_VERSION) or 0)
    if since and wanted_ms < int(properties.get(_SINCE_TIME) or 0):
        return _last({version: at for version, at in times.items() if version < since}, wanted_ms)
    versions = [version for version in times if version >= since]
    found = bisect_right(versions, wanted_ms, key=lambda version: _in_commit_ms(location, version, times))
    return versions[found - 1] if found else None


def _last(times: Mapping[int, int], wanted_ms: int) -> int | None:
    found = bisect_right(list(times.values()), wanted_ms)
    return list(times)[found - 1] if found else None


def _in_commit_ms(location: Location, version: int, times: Mapping[int, int]) -> int:
    actions = _log.read_commit(location, version)
    return times[version] if actions is None else actions.timestamp_ms
