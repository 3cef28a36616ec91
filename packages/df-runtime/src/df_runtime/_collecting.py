"""Rows of a stream, collected in memory up to a size."""

from __future__ import annotations

from typing import Final, Literal

import pyarrow as pa

from df_runtime.errors import ResultSizeError

# What a profile that names no limit stands for.
MAX_RESULT_BYTES: Final = 2_000_000_000

Limit = int | Literal["profile"] | None


def collected(reader: pa.RecordBatchReader, max_bytes: int | None) -> pa.Table:
    """Read a stream to its end, and close it.

    Raises
    ------
    ResultSizeError
        The rows take more bytes than allowed; what was read is let go.
    """
    batches: list[pa.RecordBatch] = []
    size = rows = 0
    with reader:
        for batch in reader:
            batches.append(batch)
            size += batch.nbytes
            rows += batch.num_rows
            if max_bytes is not None and size > max_bytes:
                raise _too_large(max_bytes, size=size, rows=rows, batches=len(batches))
        return pa.Table.from_batches(batches, schema=reader.schema)


def _too_large(max_bytes: int, *, size: int, rows: int, batches: int) -> ResultSizeError:
    message = (
        f"The result is larger than the {max_bytes:,} bytes that may be collected in memory: its first "
        f"{rows:,} rows, in {batches:,} batches, take {size:,}. Read it as a stream with `to_reader`, write "
        "it with `delta_io.Table.write`, or raise the limit: `max_bytes=…` for this call, None for no limit, "
        "or `RuntimeProfile(max_result_bytes=…)`."
    )
    return ResultSizeError(message, rows=rows, batches=batches, bytes_=size)
