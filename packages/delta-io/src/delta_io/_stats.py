"""The live files of a snapshot as one Arrow table: the hand-over to an engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from delta_io._compute import pc
from delta_io._places import placed
from delta_io._replay import live_vectors
from delta_io._schema import to_logical

if TYPE_CHECKING:
    from delta_io._log import DeletionVector
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

VECTOR_TYPE: Final = pa.struct(
    [
        pa.field("storage_type", pa.string()),
        pa.field("path_or_inline_dv", pa.string()),
        pa.field("offset", pa.int32()),
        pa.field("size_in_bytes", pa.int32()),
        pa.field("cardinality", pa.int64()),
    ]
)
_PLAIN: Final = ("path", "size_bytes", "modification_time", "num_records")
_MILLISECOND_REST: Final = 999


def add_actions(location: Location, handle: DeltaTable, snapshot: Snapshot) -> pa.Table:
    """Return the live files: decoded paths, logical column names, bounds that hold, deletion vectors."""
    given = pa.table(handle.get_add_actions())
    raw = cast("pa.StringArray", given["path"].combine_chunks())
    columns: dict[str, Any] = {name: given[name] for name in _PLAIN}
    columns["path"] = decode_paths(location, raw)
    fields = list(snapshot.schema)
    for name in ("partition", "null_count", "min", "max"):
        if name in given.column_names and (name != "partition" or snapshot.partition_by):
            column = cast("pa.StructArray", given[name].combine_chunks())
            columns[name] = column if name == "partition" else to_logical(column, fields)
    if "max" in columns:
        columns["max"] = _widen_timestamps(columns["max"])
    if "deletionVectors" in snapshot.protocol.reader_features:
        vectors = live_vectors(location, snapshot.version)
        if vectors:
            columns["deletion_vector"] = _vector_column(raw, vectors)
    return pa.table(columns)


def decode_paths(location: Location, paths: pa.StringArray) -> pa.StringArray:
    """Return the paths of the log as they are looked up: decoded, or absolute URIs."""
    special = pc.match_substring_regex(paths, "%|^/|^[A-Za-z][A-Za-z0-9+.-]*:/")
    if not pc.any(special).as_py():
        return paths
    decoded = pa.array([placed(location, path) for path in paths.filter(special).to_pylist()], pa.string())
    return pc.replace_with_mask(paths, special, decoded)


def _widen_timestamps(array: pa.StructArray) -> pa.StructArray:
    """Raise upper bounds of timestamps to the end of their millisecond: writers may cut the rest off."""
    kind = cast("pa.StructType", array.type)
    children = [_widen(array.field(index)) for index in range(kind.num_fields)]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _widen(array: pa.Array[Any]) -> pa.Array[Any]:
    if pa.types.is_struct(array.type):
        return _widen_timestamps(cast("pa.StructArray", array))
    if not pa.types.is_timestamp(array.type):
        return array
    micros = array.cast(pa.int64())
    whole = pc.equal(pc.multiply(pc.divide(micros, 1000), 1000), micros)
    return pc.if_else(whole, pc.add(micros, _MILLISECOND_REST), micros).cast(array.type)


def vector_array(vectors: Iterable[DeletionVector | None]) -> pa.StructArray:
    """Return deletion vectors as structs."""
    rows = [None if each is None else msgspec.structs.asdict(each) for each in vectors]
    return cast("pa.StructArray", pa.array(rows, VECTOR_TYPE))


def _vector_column(raw: pa.StringArray, vectors: dict[str, DeletionVector]) -> pa.Array[Any]:
    places = pc.index_in(raw, value_set=pa.array(list(vectors), pa.string()))
    return vector_array(vectors.values()).take(places)
