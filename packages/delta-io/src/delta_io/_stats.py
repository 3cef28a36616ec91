"""Statistics of data files as typed columns, for predicates and engines. What is doubtful is null."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa
from msgspec import Struct

from delta_io import _bounds
from delta_io._compute import pc
from delta_io._json_stats import read_statistics
from delta_io._places import decode_paths
from delta_io._rows import partition_scalar
from delta_io._schema import physical_name

if TYPE_CHECKING:
    from delta_io._log import DeletionVector
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
_VECTOR_NAMES: Final = ("storageType", "pathOrInlineDv", "offset", "sizeInBytes", "cardinality")
Fields = Sequence[Any]


class StatsLayout(Struct, frozen=True, kw_only=True):
    """Columns that may have statistics, and how their names are mapped."""

    fields: tuple[Any, ...]
    mode: str

    @property
    def struct_type(self) -> pa.StructType:
        """Type of typed statistics, by logical name; parts that no column has are left out."""
        parts = {"num_records": pa.int64(), "tight_bounds": pa.bool_()}
        parts["null_count"] = _counts(self.fields)
        parts |= {"min": _bounded(self.fields), "max": _bounded(self.fields)}
        return pa.struct([pa.field(name, kind) for name, kind in parts.items() if _is_something(kind)])

    @property
    def json_type(self) -> pa.StructType:
        """Type of the statistics that the log holds as JSON, by physical name."""
        bounds = _json_bounds(self.fields, self.mode)
        parts = {"numRecords": pa.int64(), "tightBounds": pa.bool_()}
        parts |= {"minValues": bounds, "maxValues": bounds}
        parts["nullCount"] = _json_counts(self.fields, self.mode)
        return pa.struct([pa.field(name, kind) for name, kind in parts.items() if _is_something(kind)])

    def from_struct(self, given: pa.StructArray) -> pa.StructArray:
        """Return statistics of a checkpoint, or read from JSON, as `struct_type`."""
        columns = {"num_records": _bounds.whole_numbers(_pick(given, "numRecords", pa.int64()))}
        tight = _pick(given, "tightBounds", pa.bool_())
        columns["tight_bounds"] = (
            tight if pa.types.is_boolean(tight.type) else pa.nulls(len(given), pa.bool_())
        )
        if self.fields:
            columns["null_count"] = self._counts(_pick(given, "nullCount", pa.null()), self.fields)
        if _with_bounds(self.fields):
            for part, name in (("min", "minValues"), ("max", "maxValues")):
                high = part == "max"
                columns[part] = self._bounds(_pick(given, name, pa.null()), self.fields, high=high)
        return pa.StructArray.from_arrays(list(columns.values()), fields=list(self.struct_type))

    def _counts(self, given: pa.Array[Any], fields: Fields) -> pa.StructArray:
        arrays: list[pa.Array[Any]] = []
        for field in fields:
            child = _pick(given, physical_name(field, self.mode), pa.null())
            if _is_nested(field.type):
                arrays.append(self._counts(child, list(cast("pa.StructType", field.type))))
            else:
                arrays.append(_bounds.whole_numbers(child))
        return pa.StructArray.from_arrays(arrays, fields=list(_counts(fields)))

    def _bounds(self, given: pa.Array[Any], fields: Fields, *, high: bool) -> pa.StructArray:
        arrays: list[pa.Array[Any]] = []
        for field in _with_bounds(fields):
            child = _pick(given, physical_name(field, self.mode), pa.null())
            if pa.types.is_struct(field.type):
                arrays.append(self._bounds(child, list(cast("pa.StructType", field.type)), high=high))
            else:
                arrays.append(_bounds.bound(child, field, high=high))
        return pa.StructArray.from_arrays(arrays, fields=list(_bounded(fields)))


def _pick(array: pa.Array[Any], name: str, fallback: pa.DataType) -> pa.Array[Any]:
    """Return a child, null where its parent is, or nulls when there is none."""
    kind = array.type
    if not pa.types.is_struct(kind) or cast("pa.StructType", kind).get_field_index(name) < 0:
        return pa.nulls(len(array), fallback)
    return pc.struct_field(array, [name])


def _is_nested(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and bool(kind.num_fields)


def _is_something(kind: pa.DataType) -> bool:
    return not pa.types.is_struct(kind) or bool(kind.num_fields)


def _has_bounds(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_bounds(field.type) for field in cast("pa.StructType", kind))
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_null(kind))


def _with_bounds(fields: Fields) -> Fields:
    return [field for field in fields if _has_bounds(field.type)]


def _bounded(fields: Fields) -> pa.StructType:
    return pa.struct([pa.field(each.name, _bounded_type(each.type)) for each in _with_bounds(fields)])


def _bounded_type(kind: pa.DataType) -> pa.DataType:
    return _bounded(list(cast("pa.StructType", kind))) if pa.types.is_struct(kind) else kind


def _counts(fields: Fields) -> pa.StructType:
    def kind(field: pa.Field[Any]) -> pa.DataType:
        if not _is_nested(field.type):
            return pa.int64()
        return _counts(list(cast("pa.StructType", field.type)))

    return pa.struct([pa.field(field.name, kind(field)) for field in fields])


def _json_bounds(fields: Fields, mode: str) -> pa.StructType:
    def kind(field: pa.Field[Any]) -> pa.DataType:
        if pa.types.is_struct(field.type):
            return _json_bounds(list(cast("pa.StructType", field.type)), mode)
        return _bounds.json_type(field.type)

    return pa.struct([pa.field(physical_name(each, mode), kind(each)) for each in _with_bounds(fields)])


def _json_counts(fields: Fields, mode: str) -> pa.StructType:
    children: list[pa.Field[Any]] = []
    for field in fields:
        kind: pa.DataType = pa.int64()
        if _is_nested(field.type):
            kind = _json_counts(list(cast("pa.StructType", field.type)), mode)
        children.append(pa.field(physical_name(field, mode), kind))
    return pa.struct(children)


def read_json(files: pa.Table, layout: StatsLayout) -> pa.StructArray:
    """Return the statistics that the log holds as JSON, by physical name."""
    return read_statistics(files["stats"], layout.json_type)


def typed_statistics(files: pa.Table, given: pa.StructArray, layout: StatsLayout) -> pa.StructArray:
    """Return the statistics of files, from what `read_json` returned, as `StatsLayout.struct_type`."""
    written = layout.from_struct(given)
    if "parsed" not in files.column_names:
        return written
    parsed = cast("pa.StructArray", files["parsed"].combine_chunks())
    has_text = files["stats"].combine_chunks().is_valid()
    return cast("pa.StructArray", _prefer(has_text, written, parsed))


def _prefer(mask: pa.Array[Any], one: pa.Array[Any], other: pa.Array[Any]) -> pa.Array[Any]:
    """Return `one` where the mask says so, else `other`, of which it may have fewer children."""
    if not pa.types.is_struct(one.type):
        return pc.if_else(mask, one, other)
    fields = list(cast("pa.StructType", one.type))
    children = [
        _prefer(mask, pc.struct_field(one, [field.name]), pc.struct_field(other, [field.name]))
        for field in fields
    ]
    return pa.StructArray.from_arrays(children, fields=fields)


def add_actions(location: Location, files: pa.Table, known: pa.Table) -> pa.Table:
    """Return the live files, from what `known_of` returned: decoded paths, sizes, times, deletion vectors."""
    columns: dict[str, Any] = {
        "path": decode_paths(location, files["path"]),
        "size_bytes": files["size_bytes"],
        "modification_time": files["modification_time"],
    }
    columns |= dict(zip(known.column_names, known.columns, strict=True))
    if files["deletion_vector"].null_count < files.num_rows:
        columns["deletion_vector"] = files["deletion_vector"]
    return pa.table(columns)


def known_of(files: pa.Table, statistics: pa.StructArray, partition_by: Fields, mode: str) -> pa.Table:
    """Return what is known of the rows of files: logical column names, bounds that hold."""
    columns: dict[str, Any] = {"num_records": pc.struct_field(statistics, ["num_records"])}
    if partition_by:
        texts = files["partition"].combine_chunks()
        columns["partition"] = partition_values(texts, partition_by, mode)
    for index, field in enumerate(cast("pa.StructType", statistics.type)):
        if field.name not in ("num_records", "tight_bounds"):
            columns[field.name] = pc.struct_field(statistics, [index])
    tight = pc.struct_field(statistics, ["tight_bounds"])
    if pc.any(pc.invert(tight)).as_py():
        columns["tight_bounds"] = tight
    return pa.table(columns)


def partition_values(texts: pa.Array[Any], partition_by: Fields, mode: str) -> pa.StructArray:
    """Return partition values, which the log holds as texts by physical name, typed."""
    arrays: list[pa.Array[Any]] = []
    for field in partition_by:
        coded = pc.struct_field(texts, [physical_name(field, mode)]).dictionary_encode()
        values = [partition_scalar(text, field.type) for text in coded.dictionary.to_pylist()]
        arrays.append(pa.array(values, field.type).take(coded.indices))
    return pa.StructArray.from_arrays(
        arrays, fields=[pa.field(each.name, each.type) for each in partition_by]
    )


def vector_array(vectors: Iterable[DeletionVector | None]) -> pa.StructArray:
    """Return deletion vectors as structs."""
    rows = [None if each is None else msgspec.structs.asdict(each) for each in vectors]
    return cast("pa.StructArray", pa.array(rows, VECTOR_TYPE))


def vector_fields(given: pa.Array[Any]) -> pa.StructArray:
    """Return deletion vectors as the log names their fields as structs of `VECTOR_TYPE`."""
    if pa.types.is_null(given.type):
        return cast("pa.StructArray", pa.nulls(len(given), VECTOR_TYPE))
    children = [
        pc.cast(_pick(given, name, pa.null()), field.type)
        for name, field in zip(_VECTOR_NAMES, VECTOR_TYPE, strict=True)
    ]
    return pa.StructArray.from_arrays(children, fields=list(VECTOR_TYPE), mask=given.is_null())
