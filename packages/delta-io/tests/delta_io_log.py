"""Logs written by hand: what other writers may leave behind."""

from __future__ import annotations

import base64
import json
import struct
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"


def metadata(fields, configuration=None, partition_by=(), table_id="3f2b6a1e-0000-4000-8000-000000000001"):
    schema = {"type": "struct", "fields": fields}
    return {
        "metaData": {
            "id": table_id,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps(schema),
            "partitionColumns": list(partition_by),
            "configuration": configuration or {},
            "createdTime": 0,
        }
    }


def field(name, kind, **more):
    return {"name": name, "type": kind, "nullable": True, "metadata": more}


def protocol(*features) -> dict[str, Any]:
    if not features:
        return {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    named = {"readerFeatures": list(features), "writerFeatures": list(features)}
    return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **named}}


def add(path, *, stats=None, **more):
    action = {
        "path": path,
        "partitionValues": {},
        "size": 1,
        "modificationTime": 0,
        "dataChange": True,
        **more,
    }
    if stats is not None:
        action["stats"] = stats if isinstance(stats, str) else json.dumps(stats)
    return {"add": action}


def remove(path, **more):
    return {
        "remove": {"path": path, "dataChange": True, "deletionTimestamp": 0, "partitionValues": {}, **more}
    }


def commit(folder, version, *actions):
    log = folder / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    lines = [{"commitInfo": {"timestamp": version, "operation": "TEST"}}, *actions]
    for line in lines:
        if "add" in line and (folder / unquote(line["add"]["path"])).exists():
            line["add"]["size"] = (folder / unquote(line["add"]["path"])).stat().st_size
    (log / f"{version:020}.json").write_text("\n".join(json.dumps(line) for line in lines))


def roaring(positions):
    """Serialise a 64-bit bitmap with one container of each kind, by its density."""
    containers = {}
    for position in positions:
        containers.setdefault(position >> 16, []).append(position & 0xFFFF)
    heads = b"".join(struct.pack("<HH", key, len(low) - 1) for key, low in sorted(containers.items()))
    bodies = []
    for _, low in sorted(containers.items()):
        if len(low) > 4096:
            bits = sum(1 << each for each in low)
            bodies.append(bits.to_bytes(8192, "little"))
        else:
            bodies.append(struct.pack(f"<{len(low)}H", *sorted(low)))
    start = 8 + len(heads) + 4 * len(bodies)
    offsets = b"".join(
        struct.pack("<I", start + sum(map(len, bodies[:index]))) for index in range(len(bodies))
    )
    bitmap = struct.pack("<II", 12346, len(containers)) + heads + offsets + b"".join(bodies)
    return struct.pack("<iqI", 1681511377, 1, 0) + bitmap


def vector(folder, positions, *, inline=False):
    data = roaring(positions)
    if inline:
        data += b"\0" * (-len(data) % 4)
        text = base64.b85encode(data).decode().translate(str.maketrans(B85, Z85))
        return {
            "storageType": "i",
            "pathOrInlineDv": text,
            "sizeInBytes": len(data),
            "cardinality": len(positions),
        }
    name = uuid.uuid4()
    stored = b"\x01" + struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    (folder / f"deletion_vector_{name}.bin").write_bytes(stored)
    text = base64.b85encode(name.bytes).decode().translate(str.maketrans(B85, Z85))
    return {
        "storageType": "u",
        "pathOrInlineDv": text,
        "offset": 1,
        "sizeInBytes": len(data),
        "cardinality": len(positions),
    }


def write_int96(path, micros):
    """Write INT96 timestamps as Spark does; Arrow's own fit nanoseconds, so the days are patched in."""
    days = [None if each is None else each // 86_400_000_000 for each in micros]
    stand_in = [None if day is None else 20_000 + index for index, day in enumerate(days)]
    rest = [None if each is None else each % 86_400_000_000 for each in micros]
    shown = [
        None if day is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day, microseconds=micro)
        for day, micro in zip(stand_in, rest, strict=True)
    ]
    table = pa.table({"ts": pa.array(shown, pa.timestamp("us", "UTC"))})
    pq.write_table(
        table,
        path,
        use_deprecated_int96_timestamps=True,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    data = path.read_bytes()
    for day, other, micro in zip(stand_in, days, rest, strict=True):
        if day is not None:
            old = struct.pack("<qi", micro * 1000, day + 2_440_588)
            assert data.count(old) == 1
            data = data.replace(old, struct.pack("<qi", micro * 1000, other + 2_440_588))
    path.write_bytes(data)
