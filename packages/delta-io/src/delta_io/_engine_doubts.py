"""What deltalake's engine is known to read wrong, found before it reads: by the log, and by the footers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa

from delta_io import _dv
from delta_io._compute import pc
from delta_io._log import DeletionVector
from delta_io._map_errors import mapped
from delta_io._rows import match_field, open_parquet
from delta_io._schema import physical_name
from delta_io._threads import in_threads

if TYPE_CHECKING:
    from delta_io.storage import Location

_FIRST_NANOSECOND: Final = datetime(1677, 9, 22, tzinfo=UTC)
_LAST_NANOSECOND: Final = datetime(2262, 4, 11, tzinfo=UTC)
_READERS: Final = 16
_SHAPE: Final = "in another shape than the table, which deltalake's engine may not know to read"
_WIDE: Final = "a file holds INT96 timestamps, which deltalake's engine reads wrong beyond nanoseconds"

# URIs that are the same, encoded.
_UNENCODED: Final = re.compile(r"[!$&'()+,\-./:;=@\w]*", re.ASCII)

# Paths as deltalake spells them when it removes a file, and those that it takes for URIs.
_AS_WRITTEN: Final = (
    r"^(?:[A-Za-z0-9/=+,~'()&@:!$;_.-]"
    r"|%(?:[01][0-9A-F]|2[0235A]|3[CEF]|5[B-E]|60|7[B-DF]|[89A-F][0-9A-F]))*$"
)
LIKE_URIS: Final = "^[A-Za-z][A-Za-z0-9+.-]*:[^/]"

# What is odd of the columns of a file, by name.
Oddities = Mapping[str, str]


def check_vectors(location: Location, actions: pa.Table) -> None:
    """Refuse damaged deletion vectors, of which deltalake's engine takes what it can."""
    if "deletion_vector" not in actions.column_names:
        return
    some = actions.filter(actions["deletion_vector"].is_valid()).select(["deletion_vector", "num_records"])
    known = [row for row in some.to_pylist() if row["num_records"] is not None]

    def check(row: dict[str, Any]) -> None:
        _dv.verify(location, DeletionVector(**row["deletion_vector"]), row["num_records"])

    with mapped(location, "reading the deletion vectors of"):
        _each(location, check, known)


def lost_vectors(location: Location, actions: pa.Table) -> str | None:
    """Return why the engine does not find the deletion vectors of some files, or None."""
    if location.local or _UNENCODED.fullmatch(location.uri) or "deletion_vector" not in actions.column_names:
        return None
    kinds = pc.struct_field(actions["deletion_vector"].combine_chunks(), "storage_type")
    stored = pc.any(pc.fill_null(pc.not_equal(kinds, "i"), False)).as_py()
    return "deltalake looks for deletion vectors elsewhere where a URI is percent-encoded" if stored else None


def renamed(paths: pa.ChunkedArray[Any]) -> str | None:
    """Return why commits of deltalake would not remove files that the log names by some paths, or None."""
    spelled_alike = pc.all(pc.match_substring_regex(paths, _AS_WRITTEN)).as_py()
    if spelled_alike is not False and not pc.any(pc.match_substring_regex(paths, LIKE_URIS)).as_py():
        return None
    return (
        "the log spells paths otherwise than deltalake, whose removals would miss the files for its readers"
    )


def odd_columns(
    location: Location, actions: pa.Table, columns: pa.Schema, mode: str, seen: dict[str, Oddities]
) -> Oddities:
    """Return what the engine reads wrong of some columns, by column; `seen` keeps what footers said."""
    paths = cast("list[str]", actions["path"].to_pylist())
    new = [path for path in paths if path not in seen]
    with mapped(location, "looking at the files of"):
        found = _each(location, lambda path: _oddities(location, path, columns, mode), new)
    seen.update(zip(new, found, strict=True))
    odd: dict[str, str] = {}
    for column in sorted({name for path in paths for name in seen[path]}):
        texts = pa.array([seen[path].get(column) for path in paths], pa.string())
        narrow = pc.and_(pc.equal(texts, _WIDE), _surely_narrow(actions, columns.field(column)))
        reasons = texts.filter(pc.and_(texts.is_valid(), pc.invert(pc.fill_null(narrow, False))))
        if len(reasons):
            odd[column] = reasons[0].as_py()
    return odd


def loses_rows(reason: str) -> bool:
    """Tell whether the engine takes other values for those of the file, rather than stop."""
    return not reason.endswith(_SHAPE)


def _each(location: Location, work: Any, items: list[Any]) -> list[Any]:
    """Return what some work gives for each item; where the storage is far away, several at a time."""
    return [work(item) for item in items] if location.local else in_threads(work, items, _READERS)


def _oddities(location: Location, path: str, fields: pa.Schema, mode: str) -> Oddities:
    with open_parquet(location, path) as file:
        theirs, columns = list(file.schema_arrow), file.schema
        old = {
            columns.column(index).path.split(".")[0]
            for index in range(len(columns))
            if columns.column(index).physical_type == "INT96"
        }
    found: dict[str, str] = {}
    named = {each.name: each for each in theirs} if mode != "id" else {}
    for field in fields:
        source = named.get(physical_name(field, mode)) or match_field(field, theirs, mode)
        if source is None:
            continue
        if source.name != physical_name(field, mode):
            found[field.name] = (
                f"a file spells column {field.name!r} as {source.name!r}, "
                "which deltalake's engine takes for another"
            )
        elif source.name in old:
            found[field.name] = _WIDE
        elif pa.types.is_nested(field.type) and not _alike(source.type, field.type, mode):
            found[field.name] = f"a file holds column {field.name!r} {_SHAPE}"
    return found


def _alike(theirs: pa.DataType, ours: pa.DataType, mode: str) -> bool:
    """Tell whether types have the same parts, whatever a writer calls the elements of lists and maps."""
    if pa.types.is_struct(ours) and pa.types.is_struct(theirs):
        parts = {field.name: field.type for field in cast("pa.StructType", theirs)}
        wanted = {physical_name(field, mode): field.type for field in cast("pa.StructType", ours)}
        return parts.keys() == wanted.keys() and all(
            _alike(parts[name], kind, mode) for name, kind in wanted.items()
        )
    if pa.types.is_list(ours) and (pa.types.is_list(theirs) or pa.types.is_large_list(theirs)):
        return _alike(theirs.value_type, ours.value_type, mode)
    if pa.types.is_map(ours) and pa.types.is_map(theirs):
        return _alike(theirs.key_type, ours.key_type, mode) and _alike(theirs.item_type, ours.item_type, mode)
    return theirs.equals(ours)


def _surely_narrow(actions: pa.Table, field: pa.Field[Any]) -> pa.Array[Any]:
    """Tell for each file whether statistics put every value of a column within the range of nanoseconds."""
    never = pa.repeat(False, actions.num_rows)
    if not pa.types.is_timestamp(field.type):
        return never
    bounds: dict[str, Any] = {}
    for name in ("min", "max", "null_count"):
        struct = actions[name].combine_chunks() if name in actions.column_names else None
        if struct is None or struct.type.get_field_index(field.name) < 0:
            return never
        bounds[name] = pc.struct_field(struct, [field.name])
    first, last = (
        pa.scalar(each if field.type.tz else each.replace(tzinfo=None), field.type)
        for each in (_FIRST_NANOSECOND, _LAST_NANOSECOND)
    )
    within = pc.and_(pc.greater(bounds["min"], first), pc.less(bounds["max"], last))
    empty = pc.equal(bounds["null_count"], actions["num_records"].combine_chunks())
    return pc.or_(pc.fill_null(within, False), pc.fill_null(empty, False))
