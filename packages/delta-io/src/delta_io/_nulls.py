"""Rows with a null where the table has none, at any level of nesting, and how offending rows are shown."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io.storage import MASK

_SHOWN_ROWS: Final = 3
_SHOWN_TEXT: Final = 80


def null_places(array: pa.Array[Any], field: pa.Field[Any]) -> dict[str, pa.Array[Any]]:
    """Return which rows break the nullability of a field, by the path of what may not be null."""
    own = [("", array.is_null())] if not field.nullable and array.null_count else []
    places = [*own, *_inner(array, field.type)]
    return {field.name + name: rows for name, rows in places if pc.any(rows).as_py()}


def _inner(array: pa.Array[Any], kind: pa.DataType) -> list[tuple[str, pa.Array[Any]]]:
    if not _has_required(kind):
        return []
    if pa.types.is_struct(kind):
        struct = cast("pa.StructArray", array)
        fields = list(cast("pa.StructType", kind))
        return [
            (f".{path}", pc.and_(array.is_valid(), rows))
            for index, each in enumerate(fields)
            for path, rows in null_places(struct.field(index), each).items()
        ]
    if pa.types.is_map(kind):
        map_type = cast("pa.MapType[Any, Any]", kind)
        entry = pa.struct([map_type.key_field, map_type.item_field])
        lists = pc.cast(array, pa.list_(pa.field("entries", entry)))
        # The entries themselves are never null; the path names the value.
        found = _of_items(lists, pa.field("entries", entry))
        return [(path.removeprefix(".entries"), rows) for path, rows in found]
    return _of_items(array, cast("pa.ListType[Any]", kind).value_field)


def _of_items(lists: pa.Array[Any], item: pa.Field[Any]) -> list[tuple[str, pa.Array[Any]]]:
    items = cast("pa.ListArray[Any]", lists).flatten()
    parents = pc.list_parent_indices(lists)
    positions = pa.array(range(len(lists)), parents.type)
    return [
        (f".{path}", pc.is_in(positions, value_set=pc.filter(parents, rows)))
        for path, rows in null_places(items, item).items()
    ]


def _has_required(kind: pa.DataType) -> bool:
    """Tell whether something below a type may not be null; the keys of a map never are."""
    fields = [kind.field(index) for index in range(kind.num_fields)]
    if pa.types.is_map(kind):
        fields = [cast("pa.MapType[Any, Any]", kind).item_field]
    return any(not each.nullable or _has_required(each.type) for each in fields)


def shown_rows(batch: pa.RecordBatch, rows: pa.Array[Any], masked: Collection[str]) -> str:
    """Return a few of the rows that a mask chooses, for people; values of masked columns are hidden."""
    chosen = batch.filter(rows).slice(0, _SHOWN_ROWS)
    names = [field.name for field in batch.schema]
    lines = [[MASK if name in masked else _text(row[name]) for name in names] for row in chosen.to_pylist()]
    return "; ".join(" | ".join(line) for line in [names, *lines])


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"
