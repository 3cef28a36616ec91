"""The deltalake handle of a table: kept at the newest version, lent to commits, safe for snapshots."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Final

import pyarrow.fs as pa_fs
from deltalake import DeltaTable

from delta_io import _log
from delta_io._map_errors import mapped
from delta_io.errors import DeltaIoError, NotDeltaError, TableNotFoundError, VersionNotFoundError
from delta_io.snapshot import Snapshot
from delta_io.storage import Location


class Handles:
    """Opens versions of one table, and knows cheaply whether there is a newer one."""

    def __init__(self, location: Location) -> None:
        self._location: Final = location
        self._lock: Final = threading.RLock()
        self._handle: DeltaTable | None = None
        self._stamp: tuple[int, int] | None = None
        self._latest: weakref.ref[Snapshot] | None = None

    def newest(self) -> Snapshot:
        """Return the newest version, reusing what is known of the log."""
        with self._lock:
            handle = self._handle
            if handle is None or not self._is_same_table(handle):
                self._release()
                handle = self._open_newest()
                return self._pin(handle)
            if self._stat(handle.version() + 1) is not None:
                self._release()
                with mapped(self._location, "refreshing"):
                    handle.update_incremental()
            return (self._latest() if self._latest is not None else None) or self._pin(handle)

    def at(self, version: int) -> Snapshot:
        """Return a version that is known to exist."""
        try:
            with mapped(self._location, f"opening version {version} of"):
                return Snapshot(self._location, self._open(version))
        except NotDeltaError as error:
            raise VersionNotFoundError(
                error.what, "its log has been cleaned up to a later version", "Ask for a later one."
            ) from None

    def take(self) -> DeltaTable:
        """Take the handle out, at the newest version, for a commit that moves it on."""
        with self._lock:
            self.newest()
            self._release()
            handle, self._handle = self._handle, None
            return handle if handle is not None else self._open_newest()

    def give(self, handle: DeltaTable) -> None:
        """Put a handle back after a commit."""
        with self._lock:
            if self._handle is None or self._handle.version() < handle.version():
                self._release()
                self._handle = handle
                self._stamp = self._stat(handle.version())

    def _pin(self, handle: DeltaTable) -> Snapshot:
        snapshot = Snapshot(self._location, handle)
        self._handle = handle
        self._stamp = self._stat(handle.version())
        self._latest = weakref.ref(snapshot)
        return snapshot

    def _release(self) -> None:
        """Let a snapshot that still uses the handle take what it needs and leave it."""
        snapshot = self._latest() if self._latest is not None else None
        if snapshot is not None:
            snapshot._release()  # pyright: ignore[reportPrivateUsage] -- same package
        self._latest = None

    def _stat(self, version: int) -> tuple[int, int] | None:
        with mapped(self._location, "looking at the log of"):
            return _log.stat(self._location, _log.commit_path(version))

    def _is_same_table(self, handle: DeltaTable) -> bool:
        """Tell whether the newest commit known is still the one read: a table made anew has others."""
        found = self._stat(handle.version())
        return found is not None and found == self._stamp

    def _open(self, version: int | None = None) -> DeltaTable:
        options = self._location.plain_options
        return DeltaTable(self._location.root, version=version, storage_options=options)

    def _open_newest(self) -> DeltaTable:
        try:
            with mapped(self._location, "opening"):
                return self._open()
        except (TableNotFoundError, NotDeltaError):
            raise _absent(self._location) from None


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
