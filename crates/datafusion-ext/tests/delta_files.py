"""Data files, deletion vectors and hand-overs as a Delta log would describe them."""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datafusion_ext import DeltaScan, Engine

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
MAGIC = 1681511377
WITHOUT_RUNS = 12346
VECTOR = pa.struct(
    [
        ("storage_type", pa.string()),
        ("path_or_inline_dv", pa.string()),
        ("offset", pa.int32()),
        ("size_in_bytes", pa.int32()),
        ("cardinality", pa.int64()),
    ]
)
FORMS = ["inline", "relative", "absolute"]


def roaring(positions: Iterable[int]) -> bytes:
    """Serialise positions below 2**32 as the protocol's portable bitmap, in array containers."""
    containers: dict[int, list[int]] = {}
    for position in sorted(positions):
        containers.setdefault(position >> 16, []).append(position & 0xFFFF)
    heads = b"".join(struct.pack("<HH", key, len(low) - 1) for key, low in containers.items())
    bodies = [
        struct.pack(f"<{len(low)}H", *low)
        if len(low) <= 4096
        else sum(1 << each for each in low).to_bytes(8192, "little")
        for low in containers.values()
    ]
    start = 8 + len(heads) + 4 * len(bodies)
    ends = [start + sum(map(len, bodies[:index])) for index in range(len(bodies))]
    offsets = b"".join(struct.pack("<I", end) for end in ends)
    bitmap = struct.pack("<II", WITHOUT_RUNS, len(containers)) + heads + offsets + b"".join(bodies)
    return struct.pack("<iqI", MAGIC, 1, 0) + bitmap


def z85(data: bytes) -> str:
    return base64.b85encode(data).decode().translate(str.maketrans(B85, Z85))


def vector(root: Path, positions: Iterable[int], form: str = "relative") -> dict[str, object]:
    """Store a deletion vector in one of the protocol's forms and describe it as the log does."""
    deleted = sorted(set(positions))
    data = roaring(deleted)
    if form == "inline":
        data += b"\0" * (-len(data) % 4)
    described: dict[str, object] = {"size_in_bytes": len(data), "cardinality": len(deleted)}
    if form == "inline":
        return {**described, "storage_type": "i", "path_or_inline_dv": z85(data), "offset": None}
    name = uuid.uuid4()
    folder = root / "ab" if form == "relative" else root.parent / "vectors é%20"
    folder.mkdir(exist_ok=True)
    path = folder / f"deletion_vector_{name}.bin"
    # The vector is the second of its file.
    first = b"\x01" + framed(roaring([0]))
    path.write_bytes(first + framed(data))
    described["offset"] = len(first)
    if form == "relative":
        return {**described, "storage_type": "u", "path_or_inline_dv": "ab" + z85(name.bytes)}
    return {**described, "storage_type": "p", "path_or_inline_dv": path.as_uri()}


def framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))


def data_file(
    root: Path,
    name: str,
    rows: pa.Table,
    *,
    deletion_vector: Mapping[str, object] | None = None,
    partition: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, object]:
    """Write a data file without statistics in its log entry; `options` are for the Parquet writer."""
    path = Path(name) if Path(name).is_absolute() else root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **options)
    return {
        "path": path.as_uri() if Path(name).is_absolute() else name,
        "size_bytes": path.stat().st_size,
        "modification_time": 0,
        "num_records": rows.num_rows,
        "deletion_vector": deletion_vector,
        "partition": partition,
    }


def hand_over(files: Sequence[Mapping[str, object]], partitions: Mapping[str, pa.DataType]) -> pa.Table:
    fields = [
        ("path", pa.string()),
        ("size_bytes", pa.int64()),
        ("modification_time", pa.int64()),
        ("num_records", pa.int64()),
        ("deletion_vector", VECTOR),
    ]
    if partitions:
        fields.append(("partition", pa.struct(list(partitions.items()))))
    return pa.Table.from_pylist(list(files), schema=pa.schema(fields))


def scan(
    root: Path,
    schema: pa.Schema,
    files: Sequence[Mapping[str, object]],
    *,
    partitions: Mapping[str, pa.DataType] | None = None,
    **options: Any,
) -> DeltaScan:
    partitions = partitions or {}
    return DeltaScan(
        str(root), schema, hand_over(files, partitions), partition_columns=list(partitions), **options
    )


def engine_over(table: DeltaScan, target_partitions: int = 3, **settings: str) -> Engine:
    """Return an engine that knows the table as ``t`` and splits even small files."""
    engine = Engine(
        {
            "datafusion.execution.target_partitions": str(target_partitions),
            "datafusion.optimizer.repartition_file_min_size": "1",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
    )
    engine.register_delta("t", table)
    return engine


def rows_of(engine: Engine, query: str) -> list[dict[str, Any]]:
    return pa.table(engine.sql(query)).to_pylist()
