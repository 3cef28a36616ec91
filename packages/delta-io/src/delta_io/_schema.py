"""Delta schemas as Arrow schemas, and the names columns have in the files."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import msgspec
import pyarrow as pa

from delta_io.errors import LogError, UnsupportedError

PHYSICAL_NAME: Final = b"delta.columnMapping.physicalName"
FIELD_ID: Final = b"delta.columnMapping.id"
TYPE_CHANGES: Final = b"delta.typeChanges"
_PARQUET_ID: Final = b"PARQUET:field_id"
_DECIMAL: Final = re.compile(r"^decimal\((\d+),\s*(-?\d+)\)$")
# As its two parts, which files hold unless they are shredded.
_VARIANT: Final = pa.struct(
    [pa.field("metadata", pa.binary(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)
_TYPES: Final[dict[str, pa.DataType]] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "variant": _VARIANT,
    "void": pa.null(),
}
Json = Mapping[str, Any]


def arrow_schema(text: str) -> pa.Schema:
    """Return the Arrow schema of a Delta schema; fields keep their metadata and storage types."""
    with _understood():
        return pa.schema([_field(each) for each in msgspec.json.decode(text)["fields"]])


def has_variants(schema: pa.Schema) -> bool:
    """Tell whether a column, or something within one, is a variant."""
    kinds = list(schema.types)
    while kinds:
        kind = kinds.pop()
        if kind == _VARIANT:
            return True
        kinds += [kind.field(index).type for index in range(kind.num_fields)]
    return False


def known_fields(text: str) -> list[pa.Field[Any]]:
    """Return the fields of a Delta schema whose types are known."""
    found: list[pa.Field[Any]] = []
    with _understood():
        for each in msgspec.json.decode(text)["fields"]:
            with suppress(UnsupportedError):
                found.append(_field(each))
    return found


@contextmanager
def _understood() -> Generator[None]:
    try:
        yield
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise LogError(
            "the schema in the log cannot be read", str(error), "The log may be damaged."
        ) from None


def _field(field: Json) -> pa.Field[Any]:
    given: Json = field.get("metadata") or {}
    metadata = {key: _text(value) for key, value in given.items()}
    return pa.field(field["name"], _type(field["type"]), field.get("nullable", True), metadata or None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _type(kind: str | Json) -> pa.DataType:
    if isinstance(kind, str):
        return _primitive(kind)
    match kind["type"]:
        case "struct":
            return pa.struct([_field(each) for each in kind["fields"]])
        case "array":
            return pa.list_(pa.field("element", _type(kind["elementType"]), kind.get("containsNull", True)))
        case "map":
            value = pa.field("value", _type(kind["valueType"]), kind.get("valueContainsNull", True))
            return pa.map_(pa.field("key", _type(kind["keyType"]), nullable=False), value)
        case other:
            raise UnsupportedError(f"type {other!r} cannot be read")


def _primitive(name: str) -> pa.DataType:
    found = _TYPES.get(name)
    if found is not None:
        return found
    decimal = _DECIMAL.match(name)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    raise UnsupportedError(
        f"type {name!r} cannot be read", fix="Read the columns of other types from another table."
    )


def physical_name(field: pa.Field[Any], mode: str) -> str:
    """Return the name a field has in the files."""
    if mode == "none":
        return field.name
    return (field.metadata or {}).get(PHYSICAL_NAME, field.name.encode()).decode()


def field_id(field: pa.Field[Any], *, parquet: bool = False) -> int | None:
    """Return the id of a field of the table, or of a file."""
    found = (field.metadata or {}).get(_PARQUET_ID if parquet else FIELD_ID)
    return None if found is None else int(found)


def to_logical(array: pa.Array[Any], fields: Sequence[pa.Field[Any]]) -> pa.Array[Any]:
    """Rename the children of a struct of statistics from physical to logical names, at every level."""
    names = {physical_name(field, "name"): field for field in fields}
    kind = cast("pa.StructType", array.type)
    arrays: list[pa.Array[Any]] = []
    out: list[pa.Field[Any]] = []
    for index in range(kind.num_fields):
        field = names.get(kind.field(index).name)
        if field is None:
            continue
        child = cast("pa.StructArray", array).field(index)
        if pa.types.is_struct(child.type) and pa.types.is_struct(field.type):
            child = to_logical(child, list(cast("pa.StructType", field.type)))
        arrays.append(child)
        out.append(pa.field(field.name, child.type))
    return pa.StructArray.from_arrays(arrays, fields=out, mask=array.is_null())


def mappable(since: pa.Schema, until: pa.Schema, modes: tuple[str, str]) -> str | None:
    """Return why rows of an older schema cannot be shown in a newer one, or None when they can."""
    newer = {physical_name(field, modes[1]): field for field in until}
    for field in since:
        found = newer.get(physical_name(field, modes[0]))
        if found is None:
            return f"column {field.name!r} is gone"
        if _loses(field.type, found.type, modes):
            return f"column {field.name!r} changed from {field.type} to {found.type}"
    return None


def _loses(old: pa.DataType, new: pa.DataType, modes: tuple[str, str]) -> bool:
    """Tell whether values of an old type may be lost, or change their meaning, in a new one."""
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        one, other = (pa.schema(list(cast("pa.StructType", kind))) for kind in (old, new))
        return mappable(one, other, modes) is not None
    if pa.types.is_list(old) and pa.types.is_list(new):
        return _loses(old.value_type, new.value_type, modes)
    if pa.types.is_map(old) and pa.types.is_map(new):
        return _loses(old.key_type, new.key_type, modes) or _loses(old.item_type, new.item_type, modes)
    return not lossless(old, new)


def lossless(old: pa.DataType, new: pa.DataType) -> bool:
    """Tell whether every value of one primitive type has one equal value of another."""
    if old.equals(new):
        return True
    integer, decimal = pa.types.is_integer(old), pa.types.is_decimal(new)
    if (integer and pa.types.is_integer(new)) or (pa.types.is_floating(old) and pa.types.is_floating(new)):
        return old.bit_width < new.bit_width
    if decimal and pa.types.is_decimal(old):
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    if integer and decimal:
        return new.precision - new.scale >= len(str(2 ** (old.bit_width - 1)))
    if pa.types.is_date(old) and pa.types.is_timestamp(new):
        return new.tz is None
    return integer and pa.types.is_float64(new) and old.bit_width <= 32
