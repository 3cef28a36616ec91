"""Which files are known to be sorted: those of commits that say so, as long as the log has these commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from msgspec import Struct

from delta_io import _log
from delta_io._places import decode_paths, placed
from delta_io._threads import in_threads
from delta_io.errors import LogError

if TYPE_CHECKING:
    from delta_io._log import Actions, Add
    from delta_io._replay import State
    from delta_io.storage import Location

_READ_AT_ONCE: Final = 8
_MOST_COMMITS: Final = 1000


class Sorted(Struct, frozen=True):
    """Columns that files are sorted by, as the files name them, by path; known of commits up to a version."""

    version: int = -1
    files: Mapping[str, tuple[str, ...]] = {}


def sorted_files(location: Location, state: State, earlier: Sorted) -> Sorted:
    """Return what is known of the files of a version, given what was known of an earlier one.

    Commits are read from the newest on, until one adds a file and does not say that it is sorted: a table
    whose files are not sorted costs no more than that.
    """
    known = earlier if earlier.version <= state.version else Sorted()
    live = set(decode_paths(location, state.files["path"]).to_pylist())
    files = {path: columns for path, columns in known.files.items() if path in live}
    unsaid = live - files.keys()
    decided: set[str] = set()
    for actions in _backwards(location, state.version, known.version):
        columns = _log.sorted_by(actions)
        for add in actions.adds:
            path = placed(location, add.path)
            if path in live and path not in decided and (columns or _is_written(add, actions)):
                decided.add(path)
                files.pop(path, None)
                if not columns:
                    return Sorted(state.version, files)
                files[path] = columns
        if unsaid <= decided:
            break
    return Sorted(state.version, files)


def with_order(actions: pa.Table, known: Sorted, names: Mapping[str, str]) -> pa.Table:
    """Add the columns that files are sorted by, by the names that the table gives them, if any is known."""
    if not known.files:
        return actions
    by_file = (known.files.get(path, ()) for path in actions["path"].to_pylist())
    shown = [[names[name] for name in takewhile(names.__contains__, columns)] for columns in by_file]
    column = pa.array([each or None for each in shown], pa.list_(pa.string()))
    return actions.append_column("sorted_by", column)


def _is_written(add: Add, actions: Actions) -> bool:
    """Tell whether a commit wrote a file itself: it did not if it restored it or deletes rows of it."""
    return add.deletion_vector is None and actions.commit_info.get("operation") != "RESTORE"


def _backwards(location: Location, newest: int, known: int) -> Iterator[Actions]:
    """Yield the commits after a version, the newest first, as far as the log has them."""
    last = max(known, newest - _MOST_COMMITS)
    at_once = 1
    while newest > last:
        versions = range(newest, max(newest - at_once, last), -1)
        for actions in in_threads(lambda version: _commit(location, version), versions, _READ_AT_ONCE):
            if actions is None:
                return
            yield actions
        newest, at_once = newest - len(versions), _READ_AT_ONCE


def _commit(location: Location, version: int) -> Actions | None:
    try:
        return _log.read_commit(location, version, committed_ms=0)
    except LogError:  # a checkpoint covers it, and it says nothing else
        return None
