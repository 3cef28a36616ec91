"""Lines of JSON as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.json as pj

from delta_io._threads import in_threads

_PIECE_BYTES: Final = 1 << 20
Lines = bytes | memoryview | pa.Buffer


def read_json_lines(parts: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """Return lines of JSON, each an object, as columns; what the schema does not name is left out."""
    tables = in_threads(lambda piece: read_piece(piece, schema), list(_pieces(parts)))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def read_piece(lines: Lines, schema: pa.Schema) -> pa.Table:
    """Return some lines as one chunk of columns."""
    buffer = pa.py_buffer(lines)
    if not buffer.size:
        return schema.empty_table()
    # One block, so that no line is too long for one.
    reading = pj.ReadOptions(use_threads=False, block_size=buffer.size + 1)
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    return pj.read_json(pa.BufferReader(buffer), reading, parsing)


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield the same lines, small parts put together and large ones cut."""
    small: list[bytes] = []
    held = 0
    for part in parts:
        if small and held + len(part) > _PIECE_BYTES:
            yield b"\n".join(small)
            small, held = [], 0
        if len(part) > _PIECE_BYTES:
            yield from _cut(part)
        elif part:
            small.append(part)
            held += len(part)
    if small:
        yield b"\n".join(small)


def _cut(part: bytes) -> Iterator[memoryview]:
    view, start = memoryview(part), 0
    while start < len(part):
        end = part.find(b"\n", start + _PIECE_BYTES) + 1 or len(part)
        yield view[start:end]
        start = end
