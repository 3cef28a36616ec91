"""What is known of a table: its newest state, kept up to date cheaply, and the handle that commits use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.fs as pa_fs
from deltalake import DeltaTable

from delta_io import _log
from delta_io._map_errors import mapped
from delta_io._replay import advance, load
from delta_io.errors import (
    DeltaIoError,
    NotDeltaError,
    TableNotFoundError,
    UnsupportedError,
    VersionNotFoundError,
)
from delta_io.snapshot import Snapshot, state_of
from delta_io.storage import Location

# File stores that keep whole seconds only may show two commits with one time and size.
_COARSE_CLOCK_NS: Final = 1_000_000_000
_COMPARED_BYTES: Final = 1 << 16
_Stamp = tuple[int, int, bytes] | None


class Handles:
    """Opens versions of one table, and knows cheaply whether there is a newer one."""

    def __init__(self, location: Location) -> None:
        self._location: Final = location
        self._lock: Final = threading.RLock()
        self._latest: Snapshot | None = None
        self._stamp: _Stamp = None
        self._handle: DeltaTable | None = None

    def newest(self) -> Snapshot:
        """Return the newest version, reusing what is known of the log."""
        with self._lock, mapped(self._location, "opening"):
            known = self._latest
            if known is None or self._stamp is None or self._read_stamp(known.version) != self._stamp:
                self._handle = None
                state = load(self._location)
                if state is None:
                    raise _absent(self._location)
            else:
                state = advance(self._location, state_of(known))
                if state.version == known.version:
                    return known
            self._latest = latest = Snapshot(self._location, state, known)
            self._stamp = self._read_stamp(latest.version)
            return latest

    def at(self, version: int) -> Snapshot:
        """Return a version that is known to exist."""
        with mapped(self._location, f"opening version {version} of"):
            state = load(self._location, version)
        if state is None:
            raise VersionNotFoundError(f"{self._location.shown!r} cannot show version {version}")
        return Snapshot(self._location, state)

    def take(self) -> DeltaTable:
        """Take the handle out, at the newest version, for a commit that moves it on."""
        with self._lock:
            newest = self.newest()
            handle, self._handle = self._handle, None
            with mapped(self._location, "opening"):
                if handle is None:
                    return DeltaTable(self._location.root, storage_options=self._location.plain_options)
                if handle.version() < newest.version:
                    handle.update_incremental()
                return handle

    def take_to_rewrite(self) -> DeltaTable:
        """Take the handle out for a commit that removes files: it has to know just those of the log."""
        handle = self.take()
        newest = self.newest()
        known = handle.version() == newest.version
        with mapped(self._location, "opening"):
            count = pa.table(handle.get_add_actions()).num_rows if known else 0
        if known and count != newest.add_actions().num_rows:
            raise UnsupportedError(
                f"files of {self._location.shown!r} cannot be rewritten",
                "the log spells paths of removed files in several ways, and deltalake takes them for others",
                "Write its rows to a new table: clone_table copies them.",
            )
        return handle

    def give(self, handle: DeltaTable | None) -> None:
        """Put a handle back after a commit, if there is one that can be relied on."""
        with self._lock:
            if handle is None:
                return
            if self._handle is None or self._handle.version() < handle.version():
                self._handle = handle

    def forget(self) -> None:
        """Leave the handle: files that it knows of were cleaned up."""
        with self._lock:
            self._handle = None

    def _read_stamp(self, version: int) -> _Stamp:
        """Return what tells a commit from the commit of that version in a table made anew."""
        path = _log.commit_path(version)
        found = _log.stat(self._location, path)
        if found is None or found[1] % _COARSE_CLOCK_NS:
            return None if found is None else (*found, b"")
        with self._location.filesystem.open_input_stream(path) as stream:
            return (*found, stream.read(_COMPARED_BYTES))


def _absent(location: Location) -> DeltaIoError:
    """Return the error that tells a place that holds nothing from one that holds something else."""
    if _has_something(location):
        return NotDeltaError(
            f"{location.shown!r} is no Delta table", "it has no log", "Create the table, or check the path."
        )
    return TableNotFoundError(
        f"no table at {location.shown!r}", "nothing is there", "Create it, or check the path."
    )


def _has_something(location: Location) -> bool:
    if location.local:
        return Path(location.uri).exists()
    with mapped(location, "looking at"):
        return bool(location.filesystem.get_file_info(pa_fs.FileSelector("", allow_not_found=True)))
