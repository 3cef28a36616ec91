"""Lines of JSON as Arrow columns."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.json as pj

_BLOCK_BYTES: Final = 4 << 20


def read_json_lines(data: bytes | pa.Buffer, schema: pa.Schema) -> pa.Table:
    """Return lines of JSON, each an object, as columns; what the schema does not name is left out."""
    buffer = pa.py_buffer(data)
    if not buffer.size:
        return schema.empty_table()
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    block = _BLOCK_BYTES
    while True:
        try:
            return pj.read_json(pa.BufferReader(buffer), pj.ReadOptions(block_size=block), options)
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error) or block > buffer.size:
                raise
            block *= 8
