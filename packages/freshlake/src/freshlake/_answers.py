"""The rows of a query on their way out: a bounded table for people, one JSON document for programs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Protocol

import msgspec
import pyarrow as pa

from freshlake import _values
from freshlake._render import TextTable, table
from freshlake.errors import RepeatedColumnsError

_MEMORY_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


class Rows(Protocol):
    """What hands out rows as an Arrow stream."""

    def to_reader(self) -> pa.RecordBatchReader:
        """Run the query and hand out its rows."""
        ...


def json_chunks(rows: Rows, limit: int | None) -> Iterator[bytes]:
    """`{"columns": […], "rows": […]}`, in pieces, once the last row has been read without an error.

    With a limit that leaves rows out, `"more_rows"` tells how many.
    """
    reader = rows.to_reader()
    if repeated := _values.repeated_names(reader.schema):
        message = f'Two columns are named "{repeated[0]}"; a JSON object needs them named apart, with AS.'
        raise RepeatedColumnsError(message)
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
        _write_document(file, reader, limit)
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def text_table(rows: Rows, limit: int | None) -> tuple[TextTable, int]:
    """Lay out the first rows as a table, and count those left out."""
    reader = rows.to_reader()
    encoders = [_values.encoder(field.type) for field in reader.schema]
    shown: list[list[str]] = []
    more = 0
    for batch in reader:
        room = batch.num_rows if limit is None else max(limit - len(shown), 0)
        shown += [[_text(value) for value in row] for row in _values.rows(batch.slice(0, room), encoders)]
        more += max(batch.num_rows - room, 0)
    numeric = [position for position, field in enumerate(reader.schema) if _is_numeric(field.type)]
    return table(reader.schema.names, shown, right=numeric), more


def _write_document(file: IO[bytes], reader: pa.RecordBatchReader, limit: int | None) -> None:
    columns = [{"name": field.name, "type": str(field.type)} for field in reader.schema]
    names = reader.schema.names
    encoders = [_values.encoder(field.type) for field in reader.schema]
    file.write(b'{"columns":' + msgspec.json.encode(columns) + b',"rows":[')
    written = more = 0
    for batch in reader:
        room = batch.num_rows if limit is None else max(limit - written, 0)
        for row in _values.rows(batch.slice(0, room), encoders):
            file.write(b"," if written else b"")
            file.write(msgspec.json.encode(dict(zip(names, row, strict=True))))
            written += 1
        more += max(batch.num_rows - room, 0)
    file.write(b"]" + (b',"more_rows":%d' % more if more else b"") + b"}\n")


def _text(value: _values.JsonValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _is_numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
