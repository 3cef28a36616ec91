"""Deletion vectors: stored bitmaps of the positions of a file's deleted rows."""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from array import array
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from delta_io._places import open_file, placed
from delta_io.errors import LogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from delta_io._log import DeletionVector
    from delta_io.storage import Location

_MAGIC: Final = 1681511377
_WITH_RUNS: Final = 12347
_WITHOUT_RUNS: Final = 12346
_NO_OFFSETS_BELOW: Final = 4
_CONTAINER: Final = 1 << 16
_ARRAY_LIMIT: Final = 4096
_WORD: Final = 5
_Z85: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_B85: Final = bytes.maketrans(_Z85, _B85)


def load_mask(location: Location, vector: DeletionVector, rows: int) -> pa.BooleanArray:
    """Return, for each row of a file, whether the vector deletes it."""
    bits = bytearray(-(-rows // 8))
    for start, container in _checked(location, vector, rows):
        _set_bits(bits, start, container)
    buffer = pa.py_buffer(bytes(bits))
    return pa.BooleanArray.from_buffers(pa.bool_(), rows, [None, buffer])


def verify(location: Location, vector: DeletionVector, rows: int) -> None:
    """Refuse a vector that is not what the log says, or that deletes rows which its file has not."""
    for _ in _checked(location, vector, rows):
        pass


def _checked(
    location: Location, vector: DeletionVector, rows: int
) -> Iterator[tuple[int, bytes | range | array[int]]]:
    count = 0
    try:
        for start, container in _containers(_payload(location, vector)):
            size, last = _extent(container)
            if size and start + last >= rows:
                raise _damaged(
                    f"it deletes row {start + last} of a data file that has {rows}, counted from 0"
                )
            count += size
            yield start, container
    except struct.error as error:
        raise _damaged(f"its data is cut short ({error})") from None
    if count != vector.cardinality:
        raise _damaged(f"it has {count} rows, the log says {vector.cardinality}")


def _extent(container: bytes | range | array[int]) -> tuple[int, int]:
    """Return the number of rows of a container, and the last one."""
    if isinstance(container, bytes):
        bits = int.from_bytes(container, "little")
        return bits.bit_count(), bits.bit_length() - 1
    return len(container), container[-1] if container else -1


def _damaged(found: str) -> LogError:
    return LogError("a deletion vector is damaged", found, "Restore its file.")


def vector_path(location: Location, vector: DeletionVector) -> str:
    """Return the path of the file that holds a vector, below the table's folder or a URI of its own."""
    if vector.storage_type == "p":
        return placed(location, vector.path_or_inline_dv)
    if vector.storage_type != "u":
        raise _damaged(f"its kind of storage is {vector.storage_type!r}")
    text = vector.path_or_inline_dv
    prefix, name = text[:-20], uuid.UUID(bytes=_decode(text[-20:]))
    return f"{prefix}/deletion_vector_{name}.bin" if prefix else f"deletion_vector_{name}.bin"


def _decode(text: str) -> bytes:
    """Decode Z85; as the crate `z85` pads, as many `#` may start the last word as it lacks bytes."""
    whole, word = text[:-_WORD], text[-_WORD:]
    missing = len(word) - len(word.lstrip("#"))
    try:
        data = _b85(whole + word.replace("#", "0", missing))
    except ValueError as error:
        raise LogError("a deletion vector's text cannot be decoded", str(error)) from None
    if data[-4 : len(data) - 4 + missing].strip(b"\0"):
        raise LogError("a deletion vector's text cannot be decoded", f"it ends with {word!r}")
    return data[:-4] + data[len(data) - 4 + missing :]


def _b85(text: str) -> bytes:
    return base64.b85decode(text.encode("ascii").translate(_TO_B85))


def _payload(location: Location, vector: DeletionVector) -> bytes:
    if vector.storage_type == "i":
        return _decode(vector.path_or_inline_dv)[: vector.size_in_bytes]
    with open_file(location, vector_path(location, vector)) as file:
        file.seek(vector.offset or 0)
        (size,) = struct.unpack(">i", file.read(4))
        if size != vector.size_in_bytes:
            raise _damaged(f"it has {size} bytes, the log says {vector.size_in_bytes}")
        data, checksum = file.read(size), file.read(4)
    if struct.pack(">I", zlib.crc32(data)) != checksum:
        raise _damaged("its checksum is wrong")
    return data


def _containers(data: bytes) -> Iterator[tuple[int, bytes | range | array[int]]]:
    """Yield (position of the first row, rows) for each container of a serialised 64-bit bitmap."""
    magic, count = struct.unpack_from("<iq", data)
    if magic != _MAGIC:
        raise _damaged(f"its format is {magic}")
    at = 12
    for _ in range(count):
        (high,) = struct.unpack_from("<I", data, at)
        at += 4
        for low, container, end in _bitmap(data, at):
            at = end
            yield (high << 32) + low, container


def _bitmap(data: bytes, at: int) -> Iterator[tuple[int, bytes | range | array[int], int]]:
    """Yield (position, rows, end of the bitmap so far) for each container of a 32-bit bitmap."""
    (cookie,) = struct.unpack_from("<I", data, at)
    at += 4
    runs = b""
    if cookie & 0xFFFF == _WITH_RUNS:
        size = (cookie >> 16) + 1
        runs = data[at : at + (size + 7) // 8]
        at += len(runs)
    elif cookie == _WITHOUT_RUNS:
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
    else:
        raise _damaged(f"a bitmap starts with {cookie}")
    heads = struct.unpack_from(f"<{2 * size}H", data, at)
    at += 4 * size
    if not runs or size >= _NO_OFFSETS_BELOW:
        at += 4 * size
    if not size:
        yield 0, range(0), at
    for index in range(size):
        key, cardinality = heads[2 * index], heads[2 * index + 1] + 1
        if runs and runs[index // 8] >> (index % 8) & 1:
            (count,) = struct.unpack_from("<H", data, at)
            pairs = struct.unpack_from(f"<{2 * count}H", data, at + 2)
            at += 2 + 4 * count
            for first, length in zip(pairs[::2], pairs[1::2], strict=True):
                yield key * _CONTAINER, range(first, first + length + 1), at
        elif cardinality > _ARRAY_LIMIT:
            at += _CONTAINER // 8
            yield key * _CONTAINER, data[at - _CONTAINER // 8 : at], at
        else:
            values = array("H", struct.unpack_from(f"<{cardinality}H", data, at))
            at += 2 * cardinality
            yield key * _CONTAINER, values, at


def _set_bits(bits: bytearray, start: int, rows: bytes | range | array[int]) -> None:
    if isinstance(rows, bytes):
        first = start // 8
        end = min(len(bits), first + len(rows))
        merged = int.from_bytes(bits[first:end], "little") | int.from_bytes(rows[: end - first], "little")
        bits[first:end] = merged.to_bytes(end - first, "little")
        return
    limit = len(bits) * 8 - start
    for row in rows:
        if row < limit:
            bits[(start + row) // 8] |= 1 << ((start + row) % 8)
