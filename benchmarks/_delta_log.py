"""Delta logs written by hand: what measurements need and the writers here do not produce."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from base64 import b85encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
VECTOR_MAGIC, BITMAP_MAGIC = 1681511377, 12346


def write_log(
    table: Path,
    columns: Mapping[str, str],
    files: Iterable[Mapping[str, object]],
    *,
    partition_by: Sequence[str] = (),
    features: Sequence[str] = (),
) -> None:
    """Write a log of one commit."""
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in columns.items()
    ]
    metadata = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, table.name)),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partition_by),
        "configuration": {},
        "createdTime": 0,
    }
    protocol: dict[str, Any] = {"minReaderVersion": 1, "minWriterVersion": 2}
    if features:
        named = {"readerFeatures": list(features), "writerFeatures": list(features)}
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, **named}
    log = table / "_delta_log"
    log.mkdir(parents=True)
    with (log / f"{0:020}.json").open("w", encoding="utf-8") as out:
        for action in ({"protocol": protocol}, {"metaData": metadata}, *({"add": each} for each in files)):
            out.write(json.dumps(action) + "\n")


def add(
    path: str,
    *,
    size: int,
    rows: int,
    bounds: Sequence[Mapping[str, object]],
    partition: Mapping[str, str] | None = None,
    vector: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Describe a file without NULLs by the least and the greatest values of its columns."""
    stats = {
        "numRecords": rows,
        "minValues": bounds[0],
        "maxValues": bounds[1],
        "nullCount": dict.fromkeys(bounds[0], 0),
        "tightBounds": vector is None,
    }
    action: dict[str, object] = {
        "path": path,
        "partitionValues": dict(partition or {}),
        "size": size,
        "modificationTime": 1_700_000_000_000,
        "dataChange": True,
        "stats": json.dumps(stats),
    }
    return action if vector is None else {**action, "deletionVector": dict(vector)}


def write_vector(table: Path, rows: Iterable[int]) -> dict[str, object]:
    """Write a file with the deletion vector of some rows below 2**32, and describe it as the log does."""
    deleted = sorted(rows)
    data = struct.pack("<iqI", VECTOR_MAGIC, 1, 0) + _bitmap(deleted)
    name = uuid.uuid4()
    framed = b"\x01" + struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    (table / f"deletion_vector_{name}.bin").write_bytes(framed)
    return {
        "storageType": "u",
        "pathOrInlineDv": b85encode(name.bytes).decode().translate(str.maketrans(B85, Z85)),
        "offset": 1,
        "sizeInBytes": len(data),
        "cardinality": len(deleted),
    }


def _bitmap(rows: Sequence[int]) -> bytes:
    """Serialise rows as a roaring bitmap."""
    containers: dict[int, list[int]] = {}
    for row in rows:
        containers.setdefault(row >> 16, []).append(row & 0xFFFF)
    heads = b"".join(struct.pack("<HH", high, len(low) - 1) for high, low in containers.items())
    bodies = [_container(low) for low in containers.values()]
    first = 8 + len(heads) + 4 * len(bodies)
    places = [first + sum(map(len, bodies[:index])) for index in range(len(bodies))]
    offsets = struct.pack(f"<{len(places)}I", *places)
    return struct.pack("<II", BITMAP_MAGIC, len(bodies)) + heads + offsets + b"".join(bodies)


def _container(low: Sequence[int]) -> bytes:
    if len(low) <= 4096:
        return struct.pack(f"<{len(low)}H", *low)
    bits = bytearray(8192)
    for each in low:
        bits[each >> 3] |= 1 << (each & 7)
    return bytes(bits)
