"""Rows put in order before they are written, run by run, so that a stream never has to be held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa
from msgspec import Struct

from delta_io._compute import pc
from delta_io._read import choose

if TYPE_CHECKING:
    from delta_io.policy import WritePolicy

# Bits of the curve: all columns together fit a signed 64-bit integer.
_CURVE_BITS: Final = 60


class Run(Struct, frozen=True):
    """Rows in order, and whether they are all that there are: then no two batches are of one partition."""

    batches: list[pa.RecordBatch]
    alone: bool


class Order:
    """The order that a policy asks for; no order at all when it names no column."""

    def __init__(self, policy: WritePolicy, schema: pa.Schema, partition_by: Sequence[str] = ()) -> None:
        self.columns: Final = policy.z_order_by or policy.sort_by
        self._curve: Final = bool(policy.z_order_by)
        self._run_bytes: Final = policy.sort_run_bytes
        if self.columns:
            choose(schema, list(self.columns))
        self._partition_by: Final = tuple(name for name in partition_by if name in schema.names)
        self.sure: Final = self._sure(schema)

    def _sure(self, schema: pa.Schema) -> tuple[str, ...]:
        """Return the columns that files can be said to be sorted by, because every engine orders them alike.

        Within a file, columns that the table is partitioned by have one value.
        """
        if self._curve or not all(_is_sure(schema.field(name).type) for name in self._partition_by):
            return ()
        rest = [name for name in self.columns if name not in self._partition_by]
        return tuple(takewhile(lambda name: _is_sure(schema.field(name).type), rest))

    def runs(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Run]:
        """Yield the rows, each run in order."""
        run: list[pa.RecordBatch] = []
        held, count = 0, 0
        for batch in batches:
            run.append(batch)
            held += batch.nbytes
            if held >= self._run_bytes:
                yield Run(self._ordered(run), alone=False)
                run, held, count = [], 0, count + 1
        if run and not count and self.sure and set(self._partition_by) <= set(run[0].schema.names):
            yield self._alone(run)
        elif run:
            yield Run(self._ordered(run), alone=False)

    def _ordered(self, run: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        table = pa.Table.from_batches(run)
        if self._curve:
            indices = pc.sort_indices(_along_curve([table[name] for name in self.columns]))
            table = table.take(indices)
        else:
            table = _sorted(table, self.columns)
        return table.to_batches(max_chunksize=max(each.num_rows for each in run) or None)

    def _alone(self, run: Sequence[pa.RecordBatch]) -> Run:
        """Return all rows in one batch for each partition.

        The writer keeps the order within a batch, not that of batches, which several of its threads take.
        """
        table = _sorted(pa.Table.from_batches(run), (*self._partition_by, *self.columns)).combine_chunks()
        batches = table.to_batches()
        if len(batches) != 1:
            return Run(batches, alone=False)
        (batch,) = batches
        edges = [0, *_ends(batch, self._partition_by)]
        return Run([batch.slice(start, end - start) for start, end in pairwise(edges)], alone=True)


def _sorted(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    keys = [(str(index), "ascending") for index in range(len(columns))]
    sorted_by = pa.table({str(index): table[name] for index, name in enumerate(columns)})
    return table.take(pc.sort_indices(sorted_by, sort_keys=keys))


def _ends(batch: pa.RecordBatch, columns: Sequence[str]) -> list[int]:
    """Return where the rows end that have the same values of some columns."""
    runs = (pc.run_end_encode(batch.column(name)) for name in columns)
    ends = {end for each in runs for end in cast("pa.RunEndEncodedArray", each).run_ends.to_pylist()}
    return sorted(ends | {batch.num_rows})


def _is_sure(kind: pa.DataType) -> bool:
    """Tell whether engines agree on the order of values: they don't on floats, with NaN and two zeros."""
    tests = (
        pa.types.is_signed_integer,
        pa.types.is_boolean,
        pa.types.is_date32,
        pa.types.is_timestamp,
        pa.types.is_decimal128,
        pa.types.is_string,
    )
    return any(test(kind) for test in tests)


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
