"""Types as plain values: text where it says everything, else one object per level."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from schema_spec._column_checks import check_texts
from schema_spec.columns import ReadColumn, StructType, checked
from schema_spec.errors import SpecError, SpecFieldError, shown
from schema_spec.types import ArrayType, DataType, MapType, SemanticType


def decode_type(value: object) -> DataType:
    """Read a type from its text or object form, or return it as it is."""
    if isinstance(value, DataType):
        return value
    if isinstance(value, str):
        return DataType.parse(value)
    if isinstance(value, dict):
        return _decode_object(cast("dict[str, object]", value))
    raise SpecFieldError(
        f"{shown(value)} is not a type", fix='Use a DataType or text such as "decimal(10,2)".', value=value
    )


def _decode_object(value: dict[str, object]) -> DataType:
    kind = value.get("kind")
    allowed = _OBJECT_FIELDS.get(kind) if isinstance(kind, str) else None
    if allowed is None:
        raise SpecFieldError(
            f"no kind of type is {shown(kind)}",
            fix="Use array, map, struct or semantic.",
            path="kind",
            value=kind,
        )
    if unknown := [each for each in value if each not in allowed and each != "kind"]:
        raise SpecFieldError(
            f"a {kind} has no {shown(unknown[0])}",
            fix=f"It has {', '.join(allowed)}.",
            path=str(unknown[0]) if type(unknown[0]) is str else "",
            value=value[unknown[0]],
        )
    if missing := [each for each in allowed if each not in value and not each.endswith("contains_null")]:
        raise SpecFieldError(
            f"a {kind} needs {missing[0]!r}",
            fix=f"It has {', '.join(allowed)}.",
            path=missing[0],
            value=value,
        )
    contains_null = value.get(allowed[-1], True) if allowed[-1].endswith("contains_null") else True
    if not isinstance(contains_null, bool):
        raise SpecFieldError(
            f"{allowed[-1]} is not valid", fix="Give true or false.", path=allowed[-1], value=contains_null
        )
    if kind == "struct":
        return _decode_struct(value["fields"])
    if kind == "semantic":
        return SemanticType(cast("str", value["name"]), _decode_part(value, "storage"))
    if kind == "array":
        return ArrayType(_decode_part(value, "element"), contains_null)
    return MapType(_decode_part(value, "key"), _decode_part(value, "value"), contains_null)


def _decode_part(value: dict[str, object], key: str) -> DataType:
    try:
        return decode_type(value[key])
    except SpecError as error:
        raise error.at(key) from None


def _decode_struct(fields: object) -> StructType:
    try:
        read = msgspec.convert(fields, tuple[ReadColumn, ...])
    except msgspec.ValidationError as error:
        from schema_spec._wire import located

        raise located(error, fields).at("fields") from None
    for index, each in enumerate(read):
        try:
            check_texts(each)
        except SpecError as error:
            raise error.at(f"fields[{index}]") from None
    return StructType(checked(read, "fields").columns)


_OBJECT_FIELDS: Final = {
    "array": ("element", "contains_null"),
    "map": ("key", "value", "value_contains_null"),
    "struct": ("fields",),
    "semantic": ("name", "storage"),
}


def encode_type(kind: DataType) -> object:
    """Return the text of a type, or its object form where the text would lose something."""
    if _is_textual(kind):
        return kind.text
    if isinstance(kind, ArrayType):
        return {"kind": "array", "element": encode_type(kind.element), "contains_null": kind.contains_null}
    if isinstance(kind, MapType):
        return {
            "kind": "map",
            "key": encode_type(kind.key),
            "value": encode_type(kind.value),
            "value_contains_null": kind.value_contains_null,
        }
    if isinstance(kind, SemanticType):
        return {"kind": "semantic", "name": kind.name, "storage": encode_type(kind.storage)}
    from schema_spec._wire import column_to_builtins

    return {
        "kind": "struct",
        "fields": [column_to_builtins(each) for each in cast("StructType", kind).fields],
    }


def _is_textual(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        return _is_textual(kind.element)
    if isinstance(kind, MapType):
        return _is_textual(kind.key) and _is_textual(kind.value)
    if isinstance(kind, SemanticType):
        return _is_textual(kind.storage)
    return not isinstance(kind, StructType) or all(
        _is_textual(field.type)
        and field.default is None
        and field.generated is None
        and field.field_id is None
        and field.physical_name is None
        and not field.metadata
        for field in kind.fields
    )
