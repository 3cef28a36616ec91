"""Contracts as Arrow schemas and back."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa

from schema_spec import _metadata
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.errors import SpecError, SpecFieldError, SpecTypeError
from schema_spec.table import TableSpec
from schema_spec.types import (
    EXTENSION_METADATA,
    EXTENSION_NAME,
    EXTENSION_PREFIX,
    MAX_DEPTH,
    PREDEFINED,
    VARIANT_EXTENSIONS,
    VOID,
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    nesting,
    strip_semantic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = "schema_spec.table"
_PROPERTY: Final = "arrow.metadata."
_VARIANT: Final = "arrow.parquet.variant"
_KEPT_IN_VALUES: Final = {EXTENSION_NAME, EXTENSION_METADATA, _metadata.PARQUET_ID}
_VARIANT_STORAGE: Final = pa.struct(
    [pa.field("metadata", pa.binary(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)
_PRIMITIVES: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "variant": _VARIANT_STORAGE,
    VOID: pa.null(),
}
_ARROW_NAMES: Final[dict[pa.DataType, str]] = {
    **{arrow: name for name, arrow in _PRIMITIVES.items() if name not in ("variant", VOID)},
    pa.uint8(): "short",
    pa.uint16(): "integer",
    pa.uint32(): "long",
    pa.float16(): "float",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
    pa.date64(): "date",
}
_HINTS: Final = {
    "uint64": "Cast to decimal(20,0) or int64",
    "null": "Give the column a type",
    "time": "Store the time as a long or a string",
    "duration": "Store the duration as a long",
    "month_day_nano_interval": "Store the interval as a long",
}


class SemanticArrowType(pa.ExtensionType):  # pyright: ignore[reportUntypedBaseClass] pyarrow has no types
    """A semantic type in Arrow; each name has a subclass of its own."""

    semantic_name = ""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, EXTENSION_PREFIX + self.semantic_name)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> SemanticArrowType:
        return cls(storage_type)

    def __hash__(self) -> int:
        return hash((self.extension_name, self.storage_type))

    def __reduce__(self) -> tuple[Any, ...]:
        return (semantic_arrow_type, (self.semantic_name, self.storage_type))


@cache
def _semantic_class(name: str) -> type[SemanticArrowType]:
    return type(f"{name}ArrowType", (SemanticArrowType,), {"semantic_name": name})


def semantic_arrow_type(name: str, storage: pa.DataType) -> SemanticArrowType:
    """Return the Arrow extension type of a semantic type, registered."""
    kind = _semantic_class(name)(storage)
    with contextlib.suppress(pa.ArrowKeyError):  # registered before, with the same class
        pa.register_extension_type(kind)
    return kind


def storage_type(kind: DataType) -> pa.DataType:
    """Return the Arrow type that stores a type, nested semantic types as field metadata."""
    if isinstance(kind, PrimitiveType):
        return _PRIMITIVES[kind.name]
    if isinstance(kind, DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, ArrayType):
        return pa.list_(_value_field("element", kind.element, kind.contains_null))
    if isinstance(kind, MapType):
        return pa.map_(
            _value_field("key", kind.key, False), _value_field("value", kind.value, kind.value_contains_null)
        )
    if isinstance(kind, StructType):
        return pa.struct([_field(each) for each in kind.fields])
    return storage_type(cast("SemanticType", kind).storage)


def _value_field(name: str, kind: DataType, nullable: bool) -> pa.Field[Any]:
    return pa.field(name, storage_type(kind), nullable, _type_metadata(kind))


def _type_metadata(kind: DataType) -> dict[str, str]:
    if isinstance(kind, SemanticType):
        semantic_arrow_type(kind.name, storage_type(kind.storage))
        return {EXTENSION_NAME: kind.extension_name, EXTENSION_METADATA: ""}
    if kind.text == "variant":
        return {EXTENSION_NAME: _VARIANT, EXTENSION_METADATA: ""}
    return {}


def _field(column: ColumnSpec) -> pa.Field[Any]:
    metadata = _metadata.to_text(_metadata.field_metadata(column))
    if column.field_id is not None:
        metadata[_metadata.PARQUET_ID] = str(column.field_id)
    metadata |= _type_metadata(column.data_type)
    return pa.field(column.name, storage_type(column.type), column.nullable, metadata or None)


class _Exported:
    """A schema that is read anew, so that extension names become registered extension types."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()


def to_arrow(spec: TableSpec) -> pa.Schema:
    """Return the Arrow schema of a contract."""
    from schema_spec._wire import to_builtins

    values = to_builtins(spec)
    properties = cast("dict[str, str]", values.pop("properties", {}))
    own = {key: value for key, value in properties.items() if not key.startswith(_PROPERTY)}
    table = {key: value for key, value in values.items() if key not in ("name", "columns")}
    table |= {"properties": own} if own else {}
    metadata = {
        key.removeprefix(_PROPERTY): value for key, value in properties.items() if key.startswith(_PROPERTY)
    }
    metadata |= {_TABLE: msgspec.json.encode(table).decode()} if table else {}
    try:
        plain = pa.schema([_field(column) for column in spec.columns], metadata or None)
        return pa.schema(_Exported(plain))
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecTypeError(
            "the contract has no Arrow schema", str(error), "Check its extension types."
        ) from None


def from_arrow(name: str, schema: pa.Schema) -> TableSpec:
    """Make a contract from an Arrow schema."""
    from schema_spec._wire import column_to_builtins, from_builtins

    arrow = as_schema(schema)
    columns = [_column(arrow.field(index), f"columns[{index}]") for index in range(len(arrow))]
    metadata = _decoded(arrow.metadata, "the schema")
    table: dict[str, Any] = _table_fields(metadata.pop(_TABLE, "{}"))
    properties = table.get("properties", {})
    if metadata and isinstance(properties, dict):
        foreign = {_PROPERTY + key: value for key, value in metadata.items()}
        table["properties"] = cast("dict[str, Any]", properties) | foreign
    if not table:
        return TableSpec(name, columns)
    return from_builtins({"name": name, "columns": [column_to_builtins(each) for each in columns], **table})


def as_schema(schema: object) -> pa.Schema:
    """Return an Arrow schema, of whatever library."""
    if isinstance(schema, pa.Schema):
        return schema
    if not hasattr(schema, "__arrow_c_schema__"):
        raise SpecFieldError(
            "not an Arrow schema",
            f"it is a {type(schema).__name__}",
            "Give a pyarrow.Schema or the like.",
            value=schema,
        )
    return pa.schema(cast("Any", schema))


def is_stored_as(arrow: pa.DataType, kind: DataType) -> bool:
    """Tell whether an Arrow type is what a contract stores a type in, whatever extension is over it."""
    plain: Any = arrow.storage_type if isinstance(arrow, pa.BaseExtensionType) else arrow
    kind = strip_semantic(kind)
    if isinstance(kind, ArrayType):
        return pa.types.is_list(plain) and is_stored_as(plain.value_type, kind.element)
    if isinstance(kind, MapType):
        keys = pa.types.is_map(plain) and is_stored_as(plain.key_type, kind.key)
        return keys and is_stored_as(plain.item_type, kind.value)
    if isinstance(kind, StructType):
        return all(is_stored_as(plain.field(n).type, each.type) for n, each in enumerate(kind.fields))
    return plain == storage_type(kind)


def counts_nanoseconds(arrow: Any) -> bool:
    """Tell whether a type has timestamps of nanoseconds in it."""
    if isinstance(arrow, pa.BaseExtensionType):
        return counts_nanoseconds(arrow.storage_type)
    if pa.types.is_timestamp(arrow):
        return arrow.unit == "ns"
    if pa.types.is_dictionary(arrow):
        return counts_nanoseconds(arrow.value_type)
    return any(counts_nanoseconds(arrow.field(n).type) for n in range(arrow.num_fields))


def _table_fields(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SpecFieldError(
            f"schema metadata {_TABLE} is damaged",
            str(error),
            "Remove it or write the schema anew.",
            path=_TABLE,
            value=text,
        ) from None


def _decoded(metadata: Mapping[bytes, bytes] | None, where: str) -> dict[str, str]:
    try:
        return {key.decode(): value.decode() for key, value in (metadata or {}).items()}
    except UnicodeDecodeError:
        raise SpecTypeError(
            f"the metadata of {where} is not text", fix="Remove it with schema.with_metadata."
        ) from None


def _column(field: pa.Field[Any], path: str) -> ColumnSpec:
    try:
        metadata = _metadata.from_text(_decoded(field.metadata, f"field {field.name!r}"))
        nested = _metadata.nested_names(metadata.pop(_metadata.NESTED, {}))
        kind = _named(_from_type(field.type, metadata), nested, "")
        if nesting(kind, MAX_DEPTH) > MAX_DEPTH:
            raise _too_deep(field)
        return _metadata.column_from_metadata(field.name, kind, field.nullable, metadata)
    except SpecError as error:
        raise error.at(path) from None
    except RecursionError:
        raise _too_deep(field).at(path) from None


def _too_deep(field: pa.Field[Any]) -> SpecTypeError:
    return SpecTypeError(
        f"field {field.name!r} is nested deeper than {MAX_DEPTH}",
        fix="Flatten it.",
        path="type",
        value=field.name,
    )


def _from_type(arrow: pa.DataType, metadata: dict[str, Any]) -> DataType:
    """Return the type of a field; an extension it finds in the type is added to the metadata."""
    if isinstance(arrow, pa.BaseExtensionType):
        metadata[EXTENSION_NAME] = arrow.extension_name
        if not isinstance(arrow, SemanticArrowType):
            metadata[EXTENSION_METADATA] = _serialized(arrow)
        arrow = arrow.storage_type
    extension = metadata.get(EXTENSION_NAME)
    if extension in VARIANT_EXTENSIONS and _is_variant(arrow):
        metadata.pop(EXTENSION_NAME)
        metadata.pop(EXTENSION_METADATA, None)
        return PrimitiveType("variant")
    kind = from_storage(arrow)
    foreign = extension is not None and not str(extension).startswith(EXTENSION_PREFIX)
    if extension in VARIANT_EXTENSIONS or (foreign and storage_type(kind) != arrow):
        raise SpecTypeError(
            f"no Delta type holds {extension} over {arrow}",
            f"it would be stored as {storage_type(kind)}",
            "Cast the column to a plain type first.",
            value=str(arrow),
        )
    return kind


def _is_variant(arrow: pa.DataType) -> bool:
    """Tell whether a type stores variants whole; shredded ones, in more fields, have no place in Delta."""
    if not pa.types.is_struct(arrow) or arrow.num_fields != _VARIANT_STORAGE.num_fields:
        return False
    fields = {each.name: from_storage(each.type).text for each in cast("pa.StructType", arrow).fields}
    return fields == {"metadata": "binary", "value": "binary"}


def _named(kind: DataType, nested: Mapping[str, str], path: str) -> DataType:
    """Return a type with the semantic types that a Delta schema keeps beside the field, by path."""
    if not nested:
        return kind

    def inner(step: str, child: DataType) -> DataType:
        here = f"{path}.{step}" if path else step
        named = _named(strip_semantic(child), nested, here)
        if here in nested:
            return SemanticType(nested[here], named)
        return SemanticType(child.name, named) if isinstance(child, SemanticType) else named

    if isinstance(kind, ArrayType):
        return ArrayType(inner("element", kind.element), kind.contains_null)
    if isinstance(kind, MapType):
        return MapType(inner("key", kind.key), inner("value", kind.value), kind.value_contains_null)
    return kind


def _serialized(arrow: pa.BaseExtensionType) -> str:
    serialize = getattr(arrow, "__arrow_ext_serialize__", None)
    try:
        return serialize().decode() if serialize else ""
    except UnicodeDecodeError:
        raise SpecTypeError(f"the parameters of {arrow} are not text", fix="Cast the column first.") from None


def from_storage(arrow: pa.DataType) -> DataType:
    """Return the type that an Arrow type without extensions stands for."""
    if pa.types.is_dictionary(arrow):
        return from_storage(cast("pa.DictionaryType[Any, Any, Any]", arrow).value_type)
    if pa.types.is_timestamp(arrow):
        return PrimitiveType("timestamp_ntz" if cast("Any", arrow).tz is None else "timestamp")
    if pa.types.is_decimal(arrow):
        return DecimalType(cast("Any", arrow).precision, cast("Any", arrow).scale)
    if pa.types.is_fixed_size_binary(arrow):
        return PrimitiveType("binary")
    nested = _from_nested(arrow)
    if nested is not None:
        return nested
    if arrow in _ARROW_NAMES:
        return PrimitiveType(_ARROW_NAMES[arrow])
    text = str(arrow)
    hint = next((hint for start, hint in _HINTS.items() if text.startswith(start)), "Cast the column first")
    raise SpecTypeError(f"no Delta type holds Arrow's {text}", fix=f"{hint}.", value=text)


def _from_nested(arrow: Any) -> DataType | None:
    if pa.types.is_struct(arrow):
        return StructType(tuple(_column(arrow.field(index), "") for index in range(arrow.num_fields)))
    if pa.types.is_map(arrow):
        value = arrow.item_field
        return MapType(_from_value(arrow.key_field), _from_value(value), value.nullable)
    if _is_list(arrow):
        return ArrayType(_from_value(arrow.value_field), arrow.value_field.nullable)
    return None


def _is_list(arrow: pa.DataType) -> bool:
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(arrow) for test in tests)


def _from_value(field: pa.Field[Any]) -> DataType:
    """Return the type of list elements, map keys or values, which keep no metadata but extensions."""
    metadata = _metadata.from_text(_decoded(field.metadata, f"field {field.name!r}"))
    kind = _from_type(field.type, metadata)
    if lost := sorted(metadata.keys() - _KEPT_IN_VALUES):
        raise SpecTypeError(
            f"metadata inside a list or map: {', '.join(lost)}",
            fix="Remove it with field.with_metadata, or put it on the column.",
            value=lost[0],
        )
    extension = metadata.get(EXTENSION_NAME)
    if extension is None:
        return kind
    if extension.startswith(EXTENSION_PREFIX):
        return SemanticType(extension.removeprefix(EXTENSION_PREFIX), kind)
    raise SpecTypeError(
        f"{extension} inside a list or map", fix="Cast the values to their storage type.", value=extension
    )


for _name, _semantic in PREDEFINED.items():
    semantic_arrow_type(_name, storage_type(_semantic.storage))
