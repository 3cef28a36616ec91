"""Checkpoints of the log: classic, in parts, and those that keep their files in sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from delta_io import _log
from delta_io._compute import pc
from delta_io._log import LOG, Metadata, ProtocolAction, Txn
from delta_io._places import open_file, placed

if TYPE_CHECKING:
    from delta_io._log import Checkpoint
    from delta_io.storage import Location

_FILE_FIELDS: Final = (
    "path", "partitionValues", "partitionValues_parsed", "size", "modificationTime", "stats", "stats_parsed",
    "deletionVector",
)  # fmt: skip
_KINDS: Final = {"protocol": ProtocolAction, "metaData": Metadata, "txn": Txn}


class Contents(Struct, frozen=True, kw_only=True):
    """What a checkpoint holds: files as structs or as lines of JSON, and the other actions."""

    adds: list[pa.StructArray]
    lines: list[bytes]
    named: list[ProtocolAction | Metadata | Txn]


def read_checkpoint(location: Location, checkpoint: Checkpoint) -> Contents:
    """Read a checkpoint with its sidecars."""
    contents = Contents(adds=[], lines=[], named=[])
    for name in checkpoint.names:
        path = f"{LOG}/{name}"
        if name.endswith(".json"):
            sidecars = _read_json(location, path, contents)
        else:
            sidecars = _read_parquet(location, path, contents)
        for sidecar in sidecars:
            below = placed(location, sidecar) if "/" in sidecar else f"{LOG}/_sidecars/{sidecar}"
            _read_parquet(location, below, contents)
    return contents


def _read_json(location: Location, path: str, contents: Contents) -> list[str]:
    data = _log.object_lines(_log.read_bytes(location, path), f"checkpoint {path}")
    contents.lines.append(data)
    lines = (line for line in data.splitlines() if b'"sidecar"' in line)
    found = (msgspec.json.decode(line, type=dict[str, Any]).get("sidecar") for line in lines)
    return [each["path"] for each in found if each is not None]


def _read_parquet(location: Location, path: str, contents: Contents) -> list[str]:
    with open_file(location, path) as file, _open(file) as parquet:
        kinds = {field.name: field.type for field in parquet.schema_arrow}
        held = [name for name in _FILE_FIELDS if _has(kinds.get("add"), name)]
        if "partitionValues" in held and "partitionValues_parsed" in held:
            held.remove("partitionValues_parsed")
        wanted = [f"add.{name}" for name in held]
        wanted += [name for name in _KINDS if name in kinds]
        wanted += ["sidecar.path"] if "sidecar" in kinds else []
        table = parquet.read(columns=wanted)
    for name, kind in _KINDS.items():
        if name in table.column_names:
            rows = table[name].combine_chunks().drop_null().to_pylist()
            contents.named.extend(msgspec.convert(_plain(row), kind) for row in rows)
    if "add" in table.column_names:
        contents.adds.extend(valid(cast("pa.StructArray", chunk)) for chunk in table["add"].chunks)
    if "sidecar" not in table.column_names:
        return []
    return [each["path"] for each in table["sidecar"].combine_chunks().drop_null().to_pylist()]


def _open(file: pa.NativeFile) -> pq.ParquetFile:
    return pq.ParquetFile(file, pre_buffer=True, coerce_int96_timestamp_unit="us")


def valid(array: pa.StructArray) -> pa.StructArray:
    """Return the values that are there; those in a row are not copied."""
    there = array.is_valid()
    first, count = pc.index(there, True).as_py(), there.true_count
    if there.slice(max(first, 0), count).true_count == count:
        return cast("pa.StructArray", array.slice(max(first, 0), count))
    return cast("pa.StructArray", array.filter(there))


def _has(kind: pa.DataType | None, name: str) -> bool:
    return kind is not None and cast("pa.StructType", kind).get_field_index(name) >= 0


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its maps, which pyarrow hands out as pairs, as dictionaries, nulls left out."""
    return dict(_entries(row))


def _entries(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if value is None:
            continue
        pairs = name == "configuration" and isinstance(value, list)
        yield name, dict(cast("list[tuple[str, str | None]]", value)) if pairs else value
