"""Runs as lines of JSON in a file that several processes may write."""

from __future__ import annotations

import logging
import os
from typing import Final

import msgspec

from df_runtime.runs import RunEnvelope

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LOG: Final = logging.getLogger("df_runtime.events")


class EventFile:
    """Appends one line for each run.

    Each line is one write to a file that is open for appending, so lines of several threads and processes do
    not mix. What a crash left of a line ends where the next one begins. No handle is kept: a result may
    outlive its session.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def tell(self, envelope: RunEnvelope) -> None:
        """Append a line. A file that cannot be written is no reason for a query to fail."""
        line = msgspec.json.encode(envelope) + b"\n"
        try:
            self._append(line)
        except OSError as error:
            _LOG.warning("Cannot append run %s to %s: %s", envelope.run_id, self._path, error)

    def _append(self, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(self._path, flags, 0o666)
        try:
            if fcntl is not None:  # a line that is being written looks as if a crash had left it
                fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) != len(line):
                raise OSError("only a part of the line was written")
        finally:
            os.close(handle)
