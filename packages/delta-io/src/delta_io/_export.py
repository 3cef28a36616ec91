"""A snapshot written to one file, and a history as rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from msgspec import Struct

from delta_io.errors import OptionError, StorageError, UnsupportedError

if TYPE_CHECKING:
    from delta_io.snapshot import Snapshot
    from delta_io.table import Table

Format = Literal["parquet", "arrow", "csv"]


class Export(Struct, frozen=True, kw_only=True):
    """What an export wrote.

    Parameters
    ----------
    path : str
        The file.
    version : int
        Version of the table.
    rows : int
        Rows written.
    bytes : int
        Size of the file.
    seconds : float
        Time it took.
    """

    path: str
    version: int
    rows: int
    bytes: int
    seconds: float


def export_snapshot(
    snapshot: Snapshot,
    path: str | os.PathLike[str],
    *,
    format: Format = "parquet",  # noqa: A002 -- what users call it
    columns: Sequence[str] | None = None,
    predicate: str | None = None,
    overwrite: bool = False,
) -> Export:
    """Write the rows of a snapshot to one local file, as a stream.

    The file appears under its name when it is whole.

    Parameters
    ----------
    snapshot : Snapshot
        The version to export.
    path : str or PathLike
        The file.
    format : {"parquet", "arrow", "csv"}, default "parquet"
        ``arrow`` is the Arrow IPC file format. In CSV, null is nothing and an empty text is ``""``.
    columns : Sequence[str], optional
        Columns wanted, in that order.
    predicate : str, optional
        SQL text that the rows satisfy.
    overwrite : bool, default False
        Replace a file of that name.

    Returns
    -------
    Export
        Rows, bytes and seconds.

    Raises
    ------
    OptionError
        When the file is there and is not to be replaced.
    UnsupportedError
        When the format cannot hold a column.
    StorageError
        When the file cannot be written.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from delta_io import Table
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> folder = tempfile.mkdtemp()
    >>> table = Table.create(folder + "/t", TableSpec("t", [ColumnSpec("id", "long")]))
    >>> _ = table.write(pa.table({"id": [1, 2]}))
    >>> export_snapshot(table.snapshot(), folder + "/t.csv", format="csv").rows
    2
    >>> Path(folder, "t.csv").read_text().splitlines()
    ['"id"', '1', '2']
    """
    started = time.monotonic()
    if format not in get_args(Format):
        raise OptionError(f"unknown format {format!r}", fix=f"Use one of {', '.join(get_args(Format))}.")
    target = Path(path)
    if target.exists() and not overwrite:
        raise OptionError(f"{str(target)!r} exists", fix="Choose another name, or overwrite it.")
    reader = snapshot.to_reader(columns, predicate)
    if format == "csv":
        _check_flat(reader.schema)
    pending = target.with_name(f".{target.name}.{uuid4()}")
    try:
        rows = _write_file(reader, pending, format)
        size = pending.stat().st_size
        pending.replace(target)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{str(target)!r} cannot be written", str(error), "Check the folder.") from None
    finally:
        pending.unlink(missing_ok=True)
    return Export(
        path=str(target), version=snapshot.version, rows=rows, bytes=size, seconds=time.monotonic() - started
    )


def _check_flat(schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise UnsupportedError(
                f"CSV cannot hold column {field.name!r}",
                f"it is {field.type}",
                "Leave it out, or use Parquet.",
            )


def _write_file(reader: pa.RecordBatchReader, path: Path, form: Format) -> int:
    openers: dict[str, Callable[[], Any]] = {
        "parquet": lambda: pq.ParquetWriter(path, reader.schema),
        "arrow": lambda: pa.ipc.new_file(path, reader.schema),
        "csv": lambda: pa_csv.CSVWriter(path, reader.schema),
    }
    rows = 0
    with openers[form]() as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def history_table(table: Table, *, limit: int | None = None) -> pa.Table:
    """Return the history of a table as rows, the newest first.

    Parameters
    ----------
    table : Table
        The table.
    limit : int, optional
        Most commits to return.

    Returns
    -------
    pyarrow.Table
        ``version`` (int64), ``timestamp`` (UTC), ``operation`` (text), ``parameters``, ``metadata`` and
        ``transactions`` (JSON text).

    Raises
    ------
    LogError
        When a commit cannot be read.
    """
    commits = table.history(limit)
    columns = {
        "version": pa.array([each.version for each in commits], pa.int64()),
        "timestamp": pa.array([each.timestamp for each in commits], pa.timestamp("us", "UTC")),
        "operation": pa.array([each.operation for each in commits], pa.string()),
    }
    for name in ("parameters", "metadata", "transactions"):
        texts = [msgspec.json.encode(getattr(each, name)).decode() for each in commits]
        columns[name] = pa.array(texts, pa.string())
    return pa.table(columns)
