"""Rows of single data files, for changes that are described file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from delta_io import _dv
from delta_io._compute import pc
from delta_io._map_errors import NOT_FILLED
from delta_io._places import open_file
from delta_io._schema import field_id, physical_name
from delta_io.errors import SchemaMismatchError

if TYPE_CHECKING:
    from delta_io._log import DeletionVector
    from delta_io.storage import Location

_BATCH_ROWS = 65_536
_FILE = "a data file"


class Layout(Struct, frozen=True, kw_only=True):
    """What is needed to read a file of a table: columns wanted, partition columns, column mapping."""

    fields: tuple[Any, ...]
    partition_by: frozenset[str]
    mode: str


class Repeated:
    """A value for the rows of many batches, which share its memory."""

    def __init__(self, value: pa.Scalar[Any]) -> None:
        self._value = value
        self._array: pa.Array[Any] = pa.repeat(value, 0)

    def take(self, count: int) -> pa.Array[Any]:
        """Return the value that many times."""
        if len(self._array) < count:
            self._array = pa.repeat(self._value, count)
        return self._array.slice(0, count)


def open_parquet(location: Location, path: str) -> pq.ParquetFile:
    """Open a data file so that INT96 timestamps keep their whole range."""
    file = open_file(location, path)
    return pq.ParquetFile(file, coerce_int96_timestamp_unit="us", pre_buffer=False)


def read_rows(
    location: Location,
    path: str,
    layout: Layout,
    partition: Mapping[str, str | None],
    *,
    only: DeletionVector | None = None,
    exclude: DeletionVector | None = None,
    extra: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a file: those that `only` deletes (all when None), not those that `exclude` deletes."""
    with open_parquet(location, path) as file:
        keep = _keep(location, file.metadata.num_rows, only, exclude)
        sources = [_source(field, layout, file.schema_arrow) for field in layout.fields]
        wanted = [source.name for source in sources if source is not None] + list(extra)

        def shape(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _shape(batch, layout, sources, partition, extra)

        start = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            kept = None if keep is None else keep.slice(start, size)
            start += size
            if kept is None or kept.true_count:
                yield from _group_rows(file, group, kept, wanted, shape)


def check_filled(batch: pa.RecordBatch, fields: Sequence[pa.Field[Any]]) -> None:
    """Raise when a column has nulls that must have a value in each row."""
    for field in fields:
        if not field.nullable and batch.column(field.name).null_count:
            found = f"column {field.name!r} is declared to have a value in each row, and has nulls"
            raise SchemaMismatchError("a data file does not fit the table", found, NOT_FILLED)


def _group_rows(
    file: pq.ParquetFile,
    group: int,
    keep: pa.BooleanArray | None,
    columns: Sequence[str],
    shape: Callable[[pa.RecordBatch], pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group that a mask keeps."""
    start = 0
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=list(columns)):
        size = batch.num_rows
        shaped = shape(batch)
        if keep is not None:
            shaped = shaped.filter(keep.slice(start, size))
        start += size
        if shaped.num_rows:
            yield shaped


def _keep(
    location: Location, rows: int, only: DeletionVector | None, exclude: DeletionVector | None
) -> pa.BooleanArray | None:
    chosen = None if only is None else _dv.load_mask(location, only, rows)
    if exclude is None:
        return chosen
    kept = pc.invert(_dv.load_mask(location, exclude, rows))
    return kept if chosen is None else pc.and_(chosen, kept)


def _source(field: pa.Field[Any], layout: Layout, schema: pa.Schema) -> pa.Field[Any] | None:
    if field.name in layout.partition_by:
        return None
    return match_field(field, list(schema), layout.mode)


def match_field(field: pa.Field[Any], candidates: Sequence[pa.Field[Any]], mode: str) -> pa.Field[Any] | None:
    """Return the field of a file that holds a field of the table, or None."""
    wanted_id = field_id(field)
    if mode == "id" and wanted_id is not None:
        return next((each for each in candidates if field_id(each, parquet=True) == wanted_id), None)
    name = physical_name(field, mode)
    exact = next((each for each in candidates if each.name == name), None)
    folded = name.casefold()
    return exact or next((each for each in candidates if each.name.casefold() == folded), None)


def _shape(
    batch: pa.RecordBatch,
    layout: Layout,
    sources: Sequence[pa.Field[Any] | None],
    partition: Mapping[str, str | None],
    extra: Sequence[str],
) -> pa.RecordBatch:
    arrays: list[pa.Array[Any]] = []
    for field, source in zip(layout.fields, sources, strict=True):
        if source is not None:
            arrays.append(adapt(batch.column(source.name), field, layout.mode))
        elif field.name in layout.partition_by:
            raw = partition.get(physical_name(field, layout.mode), partition.get(field.name))
            arrays.append(pa.repeat(partition_scalar(raw, field.type), batch.num_rows))
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    fields = [pa.field(each.name, each.type, metadata=each.metadata) for each in layout.fields]
    for name in extra:
        arrays.append(pc.cast(batch.column(name), pa.string()))
        fields.append(pa.field(name, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def adapt(array: pa.Array[Any], field: pa.Field[Any], mode: str, *, of: str = _FILE) -> pa.Array[Any]:
    """Return an array of a file, or of other data, as the type that the table gives the column."""
    array = plain(array)
    kind = field.type
    if array.type.equals(kind):
        return array
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type):
        return _adapt_struct(cast("pa.StructArray", array), kind, mode, of)
    if pa.types.is_list(kind) and (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        lists = _with_short_offsets(array)
        values = adapt(lists.values, kind.value_field, mode, of=of)
        return pa.ListArray.from_buffers(
            kind, len(lists), lists.buffers()[:2], lists.null_count, lists.offset, [values]
        )
    if pa.types.is_map(kind) and pa.types.is_map(array.type):
        return _adapt_map(cast("pa.MapArray[Any, Any]", array), kind, mode, of)
    try:
        return array.cast(kind, safe=True)
    except pa.ArrowException as error:
        raise SchemaMismatchError(
            f"column {field.name!r} of {of} does not fit {kind}",
            str(error),
            "The file may be damaged." if of == _FILE else "Cast it.",
        ) from None


def _with_short_offsets(array: pa.Array[Any]) -> pa.ListArray[Any]:
    if pa.types.is_list(array.type):
        return cast("pa.ListArray[Any]", array)
    long = cast("pa.LargeListArray[Any]", array)  # pyarrow's own cast refuses nulls above required fields
    return pa.ListArray.from_arrays(pc.cast(long.offsets, pa.int32()), long.values, mask=long.is_null())


def plain(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return an array without an extension type, a dictionary, runs, or a view of lists around its values."""
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)  # pyarrow casts an extension of a view type as if it were the plain type
    if isinstance(array, pa.DictionaryArray):
        # No kernel takes from an array of views.
        values = pc.cast(array.dictionary, _without_views(array.dictionary.type))
        return plain(pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode())
    if isinstance(array, pa.RunEndEncodedArray):
        return plain(pc.run_end_decode(array))
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        views = cast("pa.ListViewArray[Any]", array)
        # pyarrow's own cast leaves out offsets of trailing nulls.
        ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(views), 0))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cast(ends, pa.int32())])
        return pa.ListArray.from_arrays(offsets, views.flatten(), mask=views.is_null())
    return array


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def _adapt_struct(array: pa.StructArray, kind: pa.DataType, mode: str, of: str) -> pa.Array[Any]:
    candidates = list(cast("pa.StructType", array.type))
    fields = list(cast("pa.StructType", kind))
    children: list[pa.Array[Any]] = []
    for field in fields:
        source = match_field(field, candidates, mode)
        if source is None:
            children.append(pa.nulls(len(array), field.type))
        else:
            index = next(i for i, each in enumerate(candidates) if each is source)
            children.append(adapt(array.field(index), field, mode, of=of))
    return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())


def _adapt_map(array: pa.MapArray[Any, Any], kind: pa.DataType, mode: str, of: str) -> pa.Array[Any]:
    map_type = cast("pa.MapType[Any, Any]", kind)
    entries = pa.StructArray.from_arrays(
        [
            adapt(array.keys, map_type.key_field, mode, of=of),
            adapt(array.items, map_type.item_field, mode, of=of),
        ],
        fields=[map_type.key_field, map_type.item_field],
    )
    return pa.MapArray.from_buffers(
        kind, len(array), array.buffers()[:2], array.null_count, array.offset, [entries]
    )


def whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Copy structs of structs that are slices of longer ones.

    Rust's import of Arrow data applies the offset of such a struct twice, and ends the process.
    """
    if not any(_is_cut(column) for column in batch.columns):
        return batch
    columns = [
        pa.concat_arrays([column, column.slice(0, 0)]) if _is_cut(column) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _is_cut(array: pa.Array[Any]) -> bool:
    if isinstance(array, pa.ExtensionArray):
        return _is_cut(array.storage)
    if isinstance(array, (pa.ListArray, pa.MapArray)):
        return _is_cut(array.values)
    if not isinstance(array, pa.StructArray):
        return False
    fields = [array.field(index) for index in range(array.type.num_fields)]
    nests = any(pa.types.is_struct(each.type) for each in fields)
    return (array.offset > 0 and nests) or any(_is_cut(each) for each in fields)


def partition_scalar(raw: str | None, kind: pa.DataType) -> pa.Scalar[Any]:
    """Return a partition value from its text in the log; the empty text is null."""
    if raw is None or raw == "":
        return pa.scalar(None, kind)
    if pa.types.is_string(kind):
        return pa.scalar(raw, kind)
    if pa.types.is_binary(kind):
        return pa.scalar(raw.encode("utf-8"), kind)
    try:
        if pa.types.is_timestamp(kind):
            return _timestamp(raw, cast("pa.TimestampType[Any, Any]", kind))
        return pa.scalar(raw).cast(kind)
    except pa.ArrowException as error:
        raise SchemaMismatchError(f"partition value {raw!r} cannot be read as {kind}", str(error)) from None


def _timestamp(raw: str, kind: pa.TimestampType[Any, Any]) -> pa.Scalar[Any]:
    zoned = raw.endswith("Z") or "+" in raw[10:] or "-" in raw[10:]
    naive = pa.timestamp(kind.unit)
    value = pa.scalar(raw).cast(pa.timestamp(kind.unit, "UTC") if zoned else naive)
    return value.cast(kind)
