"""Weighted rows added up: equal rows become one, whose weight says how many more there are.

Rows are equal where DataFusion, in which views are kept, groups them: -0.0 is 0.0 in a column of numbers,
while NaNs of different bits, and numbers inside of nested values, are told apart by their bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import pyarrow as pa

from delta_io._compute import pc

WEIGHT: Final = pa.field("_weight", pa.int64(), nullable=False)
_PARTIAL_ROWS: Final = 1_000_000
_BATCH_ROWS: Final = 65_536


def consolidate(batches: Iterable[pa.RecordBatch], columns: pa.Schema) -> pa.RecordBatchReader:
    """Return a stream of distinct rows with their summed weights, zeros left out."""
    schema = pa.schema([*(field.with_nullable(True) for field in columns), WEIGHT])
    return pa.RecordBatchReader.from_batches(schema, _consolidated(batches, schema))


def _consolidated(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    pending: list[pa.RecordBatch] = []
    rows, limit = 0, _PARTIAL_ROWS
    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        if rows >= limit:
            pending = add_up(pa.Table.from_batches(pending, schema)).to_batches()
            rows = sum(each.num_rows for each in pending)
            limit = max(_PARTIAL_ROWS, 2 * rows)
    yield from add_up(pa.Table.from_batches(pending, schema)).to_batches(_BATCH_ROWS)


def add_up(table: pa.Table) -> pa.Table:
    """Return the distinct rows of a table, whose last column is the weight, with the sum of their weights."""
    if not table.num_rows:
        return table
    names = [f"c{index}" for index in range(table.num_columns - 1)]
    keys = [_key(_unsigned(column.combine_chunks())) for column in table.columns[:-1]]
    rows = pa.arange(0, table.num_rows)
    coded = pa.table([*keys, rows, table.column(-1)], names=[*names, "row", "weight"])
    summed = coded.group_by(names).aggregate([("row", "min"), ("weight", "sum")])
    kept = summed.filter(pc.not_equal(summed["weight_sum"], 0))
    taken = table.take(kept["row_min"])
    return taken.set_column(table.num_columns - 1, WEIGHT, kept["weight_sum"]).cast(table.schema)


def _unsigned(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return numbers whose zeros have no sign."""
    if not pa.types.is_floating(array.type):
        return array
    zero = pa.scalar(0.0, array.type)
    return pc.if_else(pc.equal(array, zero), zero, array)


def _key(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return an array that can be grouped by and is equal where the given one is."""
    kind = array.type
    if pa.types.is_struct(kind):
        return _code(cast("pa.StructArray", array))
    if pa.types.is_map(kind):
        return _list_key(array, cast("pa.MapArray[Any, Any]", array))
    if pa.types.is_list(kind):
        return _list_key(array, cast("pa.ListArray[Any]", array))
    return array


def _code(array: pa.StructArray) -> pa.Array[Any]:
    """Return a number per row of a struct, equal for equal structs."""
    children = [_key(child) for child in array.flatten()]
    return _group_numbers([array.is_valid(), *children])


def _group_numbers(columns: list[pa.Array[Any]]) -> pa.Array[Any]:
    names = [f"c{index}" for index in range(len(columns))]
    rows = pa.arange(0, len(columns[0]))
    table = pa.table([*columns, rows], names=[*names, "row"])
    groups = table.group_by(names).aggregate([("row", "list")])["row_list"].combine_chunks()
    numbers = pc.list_parent_indices(groups)
    order = pc.sort_indices(pc.list_flatten(groups))
    return numbers.take(order)


def _list_key(array: pa.Array[Any], lists: Any) -> pa.Array[Any]:
    """Return a list's elements, coded as numbers, as the bytes of one value."""
    flat = lists.flatten() if pa.types.is_list(array.type) else None
    if flat is None:
        entries = pa.array(lists).cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
        return _list_key(entries, entries)
    numbers = _group_numbers([_key(flat)]).cast(pa.int64()) if len(flat) else pa.array([], pa.int64())
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    ends = pc.multiply(pc.cumulative_sum(lengths), 8)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    data = numbers.buffers()[1] or pa.py_buffer(b"")
    keys = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(array), [None, offsets.buffers()[1], data])
    return pc.if_else(array.is_valid(), keys, pa.scalar(None, pa.large_binary()))
