"""Packed rows as Arrow record batches."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from code_graph._columns import FLAG, LAYOUT, OPTIONAL_INTEGER, OPTIONAL_TEXT, TEXT

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from code_graph._columns import PackedRows


def arrow_schema(table: str) -> pa.Schema:
    """Give the schema of the batches of a table."""
    nullable = (OPTIONAL_TEXT, OPTIONAL_INTEGER)
    return pa.schema(
        [pa.field(name, _arrow_type(kind), kind in nullable) for name, kind in LAYOUT[table].items()]
    )


class ArrowRows:
    """Packed rows that give a record batch for each table.

    Parameters
    ----------
    rows : PackedRows
        What a worker gave.
    """

    def __init__(self, rows: PackedRows) -> None:
        self._strings = rows["strings"]
        self._columns = rows["columns"]

    @cached_property
    def _texts(self) -> dict[str, pa.Array]:
        return {
            TEXT: pa.array(self._strings, pa.string()),
            OPTIONAL_TEXT: pa.array([None, *self._strings[1:]], pa.string()),
        }

    def batch(self, table: str, without: Container[str] = ()) -> pa.RecordBatch:
        """Make a record batch.

        Parameters
        ----------
        table : str
            A table of `LAYOUT`.
        without : Container of str
            Paths whose rows are left out.

        Returns
        -------
        pyarrow.RecordBatch
            The rows, in the order they were added.
        """
        columns = self._columns[table]
        arrays = [_column(columns[name], kind, self._texts) for name, kind in LAYOUT[table].items()]
        batch = pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))
        if not without:
            return batch
        kept = [self._strings[code] not in without for code in array("i", columns["path"])]
        return batch.filter(pa.array(kept, pa.bool_()))


def _arrow_type(kind: str) -> pa.DataType:
    if kind in (TEXT, OPTIONAL_TEXT):
        return pa.string()
    return pa.bool_() if kind == FLAG else pa.int64()


def _column(data: bytes, kind: str, texts: Mapping[str, pa.Array]) -> pa.Array:
    buffers = [None, pa.py_buffer(data)]
    if kind in texts:
        codes = pa.Array.from_buffers(pa.int32(), len(data) // 4, buffers)
        return pa.DictionaryArray.from_arrays(codes, texts[kind]).dictionary_decode()
    if kind == OPTIONAL_INTEGER:
        return pa.array([None if value < 0 else value for value in array("q", data)], pa.int64())
    integers = pa.Array.from_buffers(pa.int64(), len(data) // 8, buffers)
    return integers.cast(pa.bool_()) if kind == FLAG else integers
