"""The process that parses: takes chunks of files on standard input, gives their rows on standard output.

It needs the standard library alone, so that it starts without site packages and their start-up work.
Messages are pickles, each after its length in eight bytes. The end of input ends the process.
"""

from __future__ import annotations

import gc
import pickle
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from code_graph._columns import PackedRows, RowChunk
from code_graph._extract import Diagnostic, SourceFile, add_file, extract

if TYPE_CHECKING:
    from typing import BinaryIO

_LENGTH = struct.Struct("<Q")


class Task(NamedTuple):
    """A file to extract: where to read it, and what it is called in rows."""

    location: bytes
    path: str
    module: str
    is_package: bool

    @property
    def file(self) -> SourceFile:
        """The file as rows name it."""
        return SourceFile(self.path, self.module, self.is_package)


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message.

    Raises
    ------
    EOFError
        When the stream ends before a whole message.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def extract_chunk(tasks: list[Task], extractor: str) -> PackedRows:
    """Extract some files; files that are gone leave no rows.

    Parameters
    ----------
    tasks : list of Task
        The files.
    extractor : str
        From `extractor_id`.

    Returns
    -------
    PackedRows
        Their rows in all tables.
    """
    rows = RowChunk()
    for task in tasks:
        try:
            with open(task.location, "rb") as stream:  # noqa: PTH123 - a path in bytes
                data = stream.read()
        except FileNotFoundError:
            continue
        except (OSError, MemoryError) as error:
            _give_up(rows, task, extractor, "unreadable", getattr(error, "strerror", None) or "out of memory")
            continue
        try:
            extract(rows, task.file, data, extractor)
        except Exception as error:  # noqa: BLE001 - one file never stops the run; its row tells
            _give_up(rows, task, extractor, "extractor-failed", f"{type(error).__name__}: {error}")
    return rows.pack()


def _give_up(rows: RowChunk, task: Task, extractor: str, code: str, message: str) -> None:
    text = message.encode(errors="backslashreplace").decode()
    add_file(rows, task.file, status=code, extractor=extractor, diagnostics=[Diagnostic(code, text)])


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            tasks, extractor = receive(requests)
        except EOFError:
            return
        try:
            send(replies, extract_chunk([Task(*task) for task in tasks], extractor))
        except BrokenPipeError:
            return
