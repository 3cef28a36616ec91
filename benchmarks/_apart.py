"""Each way in a process of its own, so that none works in the memory that another left."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import multiprocessing
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pyarrow as pa

from _tpch_data import Lake
from _ways import WAYS, Answer, OutOfMemoryError, Way

# What a process may keep between its queries is this part of what it may use.
KEPT = 4
WARM_UP = "SELECT count(*) FROM region"
# Engines and the packages around them say it in words only.
RAN_OUT = ("Resources exhausted", "query-resources", "Out of Memory")


@contextmanager
def apart(names: Sequence[str], lake: Lake, memory_bytes: int) -> Generator[dict[str, Way]]:
    """Run ways in processes of their own until the block is left.

    Parameters
    ----------
    names : Sequence[str]
        Which ways, as keys of `WAYS`.
    lake : Lake
        What they query.
    memory_bytes : int
        What the engine of each may use; a process that keeps more than a quarter of it after a query is
        replaced.
    """
    workers = {name: Worker(name, lake, memory_bytes) for name in names}
    try:
        yield {name: worker.way() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()


@dataclass(frozen=True)
class Reply:
    """What came of a query, and how much memory its process has kept."""

    outcome: Answer | Exception
    kept_bytes: int


@dataclass(frozen=True, kw_only=True)
class ApartWay(Way):
    """A way whose time is taken in its own process."""

    worker: Worker

    def answer(self, query: str) -> Answer:
        """Run a query there."""
        return self.worker.answer(query)


class Worker:
    """A process that answers the queries of one way, replaced when it died or keeps too much memory."""

    def __init__(self, name: str, lake: Lake, memory_bytes: int) -> None:
        self._arguments = (name, lake, memory_bytes)
        self._most_kept = memory_bytes // KEPT
        self._running: tuple[SpawnProcess, Connection] | None = None
        self._failed: dict[str, OutOfMemoryError] = {}

    def way(self) -> Way:
        """Start the process, and return its way as others see it."""
        title, exact = self._start()
        return ApartWay(title=title, exact=exact, run=lambda query: self.answer(query).rows, worker=self)

    def answer(self, query: str) -> Answer:
        """Run a query, but not again when memory did not suffice for it."""
        if query in self._failed:
            raise self._failed[query]
        outcome = self._outcome(query)
        if isinstance(outcome, OutOfMemoryError):
            self._failed[query] = outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _outcome(self, query: str) -> Answer | Exception:
        try:
            connection = self._connected()
            connection.send(query)
            reply: Reply = connection.recv()
        except (EOFError, ConnectionError):
            self.close()
            return OutOfMemoryError("the system ended its process")
        if reply.kept_bytes > self._most_kept:
            self.close()
        return reply.outcome

    def close(self) -> None:
        """End the process, if there is one."""
        if self._running is not None:
            process, connection = self._running
            self._running = None
            connection.close()
            process.join()

    def _connected(self) -> Connection:
        if self._running is None:
            self._start()
        assert self._running is not None
        return self._running[1]

    def _start(self) -> tuple[str, bool]:
        context = multiprocessing.get_context("spawn")
        connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()
        self._running = process, connection
        title, exact = connection.recv()
        return title, exact


def _serve(connection: Connection, name: str, lake: Lake, memory_bytes: int) -> None:
    _give_way()
    way = WAYS[name](lake, memory_bytes)
    way.run(WARM_UP)
    connection.send((way.title, way.exact))
    while True:
        try:
            query = connection.recv()
        except EOFError:
            return
        outcome = _outcome(way, query)
        _give_back()
        connection.send(Reply(outcome, _resident_bytes()))


def _outcome(way: Way, query: str) -> Answer | Exception:
    try:
        return way.answer(query)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the parent is told of it and raises it
        text = f"{type(failure).__name__}: {failure}"
        ran_out = any(words in text for words in RAN_OUT)
        return OutOfMemoryError(text) if ran_out else RuntimeError(f"{way.title}: {text}")


def _give_way() -> None:
    """Be what the system ends first when its memory runs out, so that the measurement goes on."""
    wish = Path("/proc/self/oom_score_adj")
    if wish.exists():
        wish.write_text("1000", encoding="utf-8")


def _give_back() -> None:
    """Return memory that is free to the system, as far as allocators let it be asked for."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident_bytes() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
