"""A stream prepared by a thread of its own: while rows are written, the next ones are read, a few at a time.

Besides, the writer's runtime must not be entered by what it reads from.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

# deltalake has some 16 batches under way, whatever their size; it copies those of up to 4096 rows.
_PIECE_ROWS: Final = 16384
_AHEAD: Final = 8
_POLL_SECONDS: Final = 0.1


def pumped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches that another thread reads, a few ahead; what it raises is raised here.

    Examples
    --------
    >>> import pyarrow as pa
    >>> [batch.num_rows for batch in pumped(pa.table({"a": [1, 2, 3]}).to_batches(2))]
    [2, 1]
    """
    pump = _Pump()
    threading.Thread(target=pump.read, args=(batches,), name="delta-io-read", daemon=True).start()
    try:
        while (item := pump.ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        pump.stopped.set()


def pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches in pieces, so that few rows are held at a time, and those still in the processor's cache.

    Examples
    --------
    >>> import pyarrow as pa
    >>> [piece.num_rows for piece in pieces(pa.table({"a": range(20_000)}).to_batches())]
    [16384, 3616]
    """
    for batch in batches:
        if batch.num_rows <= _PIECE_ROWS:
            yield batch
            continue
        for start in range(0, batch.num_rows, _PIECE_ROWS):
            yield batch.slice(start, _PIECE_ROWS)


class _Pump:
    def __init__(self) -> None:
        self.ready: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(_AHEAD)
        self.stopped = threading.Event()

    def read(self, batches: Iterable[pa.RecordBatch]) -> None:
        try:
            for batch in batches:
                self._put(batch)
                if self.stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that waits
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: pa.RecordBatch | BaseException | None) -> None:
        while not self.stopped.is_set():
            try:
                return self.ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        return None
