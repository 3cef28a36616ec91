"""Rows put in order before they are written, run by run, so that a stream never has to be held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io._read import choose

if TYPE_CHECKING:
    from delta_io.policy import WritePolicy

# Bits of the curve: all columns together fit a signed 64-bit integer.
_CURVE_BITS: Final = 60


class Order:
    """The order that a policy asks for; no order at all when it names no column."""

    def __init__(self, policy: WritePolicy, schema: pa.Schema) -> None:
        self.columns: Final = policy.z_order_by or policy.sort_by
        self._curve: Final = bool(policy.z_order_by)
        self._run_bytes: Final = policy.sort_run_bytes
        if self.columns:
            choose(schema, list(self.columns))

    def runs(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows, each run in order."""
        run: list[pa.RecordBatch] = []
        held = 0
        for batch in batches:
            run.append(batch)
            held += batch.nbytes
            if held >= self._run_bytes:
                yield from self._ordered(run)
                run, held = [], 0
        if run:
            yield from self._ordered(run)

    def _ordered(self, run: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        table = pa.Table.from_batches(run)
        if self._curve:
            indices = pc.sort_indices(_along_curve([table[name] for name in self.columns]))
        else:
            keys = [(str(index), "ascending") for index in range(len(self.columns))]
            sorted_by = pa.table({str(index): table[name] for index, name in enumerate(self.columns)})
            indices = pc.sort_indices(sorted_by, sort_keys=keys)
        return table.take(indices).to_batches(max_chunksize=max(each.num_rows for each in run) or None)


def _along_curve(columns: Sequence[pa.ChunkedArray[Any]]) -> pa.Array[Any]:
    """Return each row's place on a Z-order curve over the ranks of its values.

    Ranks, not values: every column then fills its range evenly, whatever its type and distribution.
    """
    bits = _CURVE_BITS // len(columns)
    rows = len(columns[0])
    shift = max(0, max(rows - 1, 1).bit_length() - bits)
    place = cast("pa.Array[Any]", pa.repeat(pa.scalar(0, pa.int64()), rows))
    for index, column in enumerate(columns):
        ranks = pc.rank(column, sort_keys="ascending", tiebreaker="min")
        rank = pc.shift_right(pc.cast(ranks, pa.int64()), shift)
        for bit in range(min(bits, rows.bit_length())):
            one = pc.bit_wise_and(pc.shift_right(rank, bit), 1)
            place = pc.bit_wise_or(place, pc.shift_left(one, bit * len(columns) + index))
    return place
