"""Worker processes of this run: chunks of files in, rows out, in order.

Not `multiprocessing`: its spawned processes import the caller's main module again, with all that hangs on it,
and a worker that dies takes the pool with it. Here a death costs a retry, file by file, and the file that
kills a worker by itself becomes a diagnostic.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self, cast

from code_graph._columns import PackedRows, RowChunk
from code_graph._extract import Diagnostic, add_file
from code_graph._worker import Task, receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO

# The package's `__init__` would import what a worker has no use for, and cannot find without site packages.
_BOOTSTRAP = """
import sys, types
package = types.ModuleType("code_graph")
package.__path__ = [sys.argv[1]]
sys.modules["code_graph"] = package
from code_graph._worker import main
main()
"""


class _Worker:
    """One process; started again by whoever finds it dead."""

    def __init__(self) -> None:
        arguments = ["-I", "-S", "-W", "ignore", "-c", _BOOTSTRAP, str(Path(__file__).parent)]
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def extract(self, tasks: Sequence[Task], extractor: str) -> PackedRows:
        """Have the process extract some files; EOFError or OSError when it dies of them."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise EOFError
        send(cast("BinaryIO", process.stdin), ([tuple(task) for task in tasks], extractor))
        return cast("PackedRows", receive(cast("BinaryIO", process.stdout)))

    def end(self) -> None:
        """Let the process go; a dead one is collected."""
        self._process.kill()
        self._process.communicate()


class WorkerPool:
    """As many processes as asked for, started when first needed.

    Parameters
    ----------
    workers : int
        Number of processes.
    extractor : str
        From `extractor_id`.
    """

    def __init__(self, workers: int, extractor: str) -> None:
        self._extractor = extractor
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="code-graph")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for _ in range(self._workers):
            worker = self._idle.get()
            if worker is not None:
                worker.end()

    def extract(self, chunks: Sequence[Sequence[Task]]) -> Iterator[list[PackedRows]]:
        """Extract chunks of files.

        Parameters
        ----------
        chunks : sequence of sequence of Task
            Each goes to one process.

        Yields
        ------
        list of PackedRows
            The rows of each chunk, in the order given; more than one where the chunk had to be retried.
        """
        yield from self._threads.map(self._extract_chunk, chunks)

    def _extract_chunk(self, tasks: Sequence[Task]) -> list[PackedRows]:
        rows = self._attempt(tasks)
        if rows is not None:
            return [rows]
        return [self._attempt([task]) or self._killer(task) for task in tasks]

    def _attempt(self, tasks: Sequence[Task]) -> PackedRows | None:
        worker = self._idle.get() or _Worker()
        try:
            rows = worker.extract(tasks, self._extractor)
        except (EOFError, OSError):
            worker.end()
            self._idle.put(None)
            return None
        self._idle.put(worker)
        return rows

    def _killer(self, task: Task) -> PackedRows:
        rows = RowChunk()
        why = Diagnostic("parser-crashed", "The process that parsed this file died.")
        add_file(rows, task.file, status=why.code, extractor=self._extractor, diagnostics=[why])
        return rows.pack()


def usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
