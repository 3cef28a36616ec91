"""Statistics that the log holds as JSON texts: many at once where they are well formed, else one by one."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
import pyarrow as pa

from delta_io._compute import pc
from delta_io._json_lines import read_piece
from delta_io._threads import in_threads

_TEXTS_AT_ONCE: Final = 4096
_NO_NUMBERS: Final = (b'"NaN"', b'"Infinity"', b'"-Infinity"')


def read_statistics(texts: pa.ChunkedArray[Any], kind: pa.StructType) -> pa.StructArray:
    """Return statistics as a struct; texts, or parts of them, that do not fit are null."""
    some = [
        cast("pa.StringArray", chunk.slice(start, _TEXTS_AT_ONCE))
        for chunk in texts.chunks
        for start in range(0, len(chunk), _TEXTS_AT_ONCE)
    ]
    found = pa.chunked_array(in_threads(lambda each: _read_some(each, kind), some), kind)
    return cast("pa.StructArray", found.combine_chunks())


def _read_some(texts: pa.StringArray, kind: pa.StructType) -> pa.StructArray:
    data = _lines(texts)
    for attempt in (lambda: data, lambda: _without_no_numbers(data)):
        try:
            found = read_piece(attempt(), pa.schema(list(kind)))
        except pa.ArrowInvalid:
            continue
        if found.num_rows == len(texts):
            return cast("pa.StructArray", found.to_struct_array().combine_chunks())
    rows = [_read(text, kind) for text in texts.to_pylist()]
    return cast("pa.StructArray", pa.array(rows, kind))


def _lines(texts: pa.StringArray) -> pa.Buffer:
    """Return texts as lines; the JSON reader may die of what is no object."""
    kind = pa.large_string()
    large = texts.cast(kind)
    objects = pc.fill_null(pc.starts_with(large, "{"), False)
    if objects.false_count:
        large = pc.if_else(objects, large, pa.scalar("{}", kind))
    lines = pc.binary_join_element_wise(large, pa.scalar("", kind), pa.scalar("\n", kind))
    return cast("pa.Buffer", lines.buffers()[2]).slice(0, pc.sum(pc.binary_length(lines)).as_py() or 0)


def _without_no_numbers(data: pa.Buffer) -> bytes:
    """Return lines in which values that JSON has no numbers for are null: nothing is known of them then."""
    cleaned = data.to_pybytes()
    for text in _NO_NUMBERS:
        cleaned = cleaned.replace(b":" + text, b":null")
    return cleaned


def _read(text: str | None, kind: pa.StructType) -> dict[str, Any] | None:
    try:
        value: object = msgspec.json.decode(text or "{}")
    except msgspec.MsgspecError:
        return None
    return _fitting(value, kind)


def _fitting(value: object, kind: pa.DataType) -> Any:
    """Return a value of JSON if it is one of a type, else None."""
    if pa.types.is_struct(kind):
        if not isinstance(value, dict):
            return None
        given = cast("dict[str, object]", value)
        return {each.name: _fitting(given.get(each.name), each.type) for each in cast("pa.StructType", kind)}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if pa.types.is_floating(kind):
        return float(cast("float", value)) if number else None
    if pa.types.is_integer(kind):
        return value if number and isinstance(value, int) and -(2**63) <= value < 2**63 else None
    expected = bool if pa.types.is_boolean(kind) else str
    return value if isinstance(value, expected) else None
