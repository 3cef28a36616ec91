"""The metadata of one field, as Delta keeps it: what schemas carry beyond name, type and nullability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from schema_spec._literals import Literal, literal_to_sql
from schema_spec.columns import ColumnSpec
from schema_spec.errors import SpecFieldError, shown
from schema_spec.types import (
    EXTENSION_METADATA,
    EXTENSION_NAME,
    EXTENSION_PREFIX,
    DataType,
    SemanticType,
    SqlExpression,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "CURRENT_DEFAULT"
GENERATED: Final = "delta.generationExpression"
FIELD_ID: Final = "delta.columnMapping.id"
PHYSICAL_NAME: Final = "delta.columnMapping.physicalName"
PARQUET_ID: Final = "PARQUET:field_id"
JSON_KEYS: Final = "schema_spec.json"
NESTED: Final = "schema_spec.nested"
_MANY_DIGITS: Final = 20
_READ_HERE: Final = (FIELD_ID, NESTED)


def field_metadata(column: ColumnSpec) -> dict[str, Any]:
    """Return what goes into the metadata of a column; semantic types of nested values excepted."""
    metadata: dict[str, Any] = {}
    if column.comment is not None:
        metadata["comment"] = column.comment
    if column.default is not None:
        metadata[DEFAULT] = default_sql(column)
    if column.generated is not None:
        metadata[GENERATED] = column.generated.sql
    if column.field_id is not None:
        metadata[FIELD_ID] = column.field_id
    if column.physical_name is not None:
        metadata[PHYSICAL_NAME] = column.physical_name
    if column.semantic is not None:
        metadata[EXTENSION_NAME] = column.semantic.extension_name
        metadata[EXTENSION_METADATA] = ""
    return metadata | dict(column.metadata)


def default_sql(column: ColumnSpec) -> str:
    """Return a column's default as SQL text."""
    default = column.default
    return (
        default.sql
        if isinstance(default, SqlExpression)
        else literal_to_sql(column.type, cast("Literal", default))
    )


def column_from_metadata(name: str, kind: DataType, nullable: bool, given: Mapping[str, Any]) -> ColumnSpec:
    """Make a column from its name, type, nullability and metadata."""
    metadata = dict(given)
    fields: dict[str, Any] = {"comment": metadata.pop("comment", None)}
    default = metadata.pop(DEFAULT, None)
    if default is not None:
        fields["default"] = {"sql": _text(DEFAULT, default)}
    if GENERATED in metadata:
        fields["generated"] = _text(GENERATED, metadata.pop(GENERATED))
    # Parquet numbers columns for purposes of its own; only Delta's id says that columns are mapped by it.
    metadata.pop(PARQUET_ID, None)
    field_id = metadata.pop(FIELD_ID, None)
    if field_id is not None:
        fields["field_id"] = _whole(field_id)
    fields["physical_name"] = metadata.pop(PHYSICAL_NAME, None)
    extension = metadata.get(EXTENSION_NAME)
    if isinstance(extension, str) and extension.startswith(EXTENSION_PREFIX):
        metadata.pop(EXTENSION_NAME)
        metadata.pop(EXTENSION_METADATA, None)
        fields["semantic"] = SemanticType(extension.removeprefix(EXTENSION_PREFIX), kind)
    return ColumnSpec(name, kind, nullable, metadata=metadata, **fields)


def _text(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise SpecFieldError(
        f"metadata {key} is not text", f"it is {shown(value)}", "Write SQL text.", path=key, value=value
    )


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < _MANY_DIGITS:
        return int(value)
    raise SpecFieldError(
        "a column-mapping id is not a number",
        f"it is {shown(value)}",
        "Write a whole number.",
        path=FIELD_ID,
        value=value,
    )


def nested_names(value: object) -> dict[str, str]:
    """Read the names of the semantic types of nested values, by path."""
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) else value
        return msgspec.convert(found, dict[str, str])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SpecFieldError(f"metadata {NESTED} is damaged", str(error), "Remove it.", path=NESTED) from None


def to_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata with every value as text, and a note of the values that were not."""
    texts = {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in metadata.items()
    }
    return texts | json_note(metadata)


def json_note(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the note of the values that are not text, which readers of Delta schemas turn into text."""
    others = sorted(
        key for key, value in metadata.items() if not isinstance(value, str) and key not in _READ_HERE
    )
    return {JSON_KEYS: msgspec.json.encode(others).decode()} if others else {}


def from_text(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return metadata as it was before `to_text`."""
    values: dict[str, Any] = dict(metadata)
    noted = values.pop(JSON_KEYS, None)
    if noted is None:
        return values
    try:
        for key in msgspec.json.decode(noted, type=list[str]):
            values[key] = msgspec.json.decode(values[key])
    except (msgspec.MsgspecError, KeyError, RecursionError) as error:
        raise SpecFieldError(
            "the metadata of a field is damaged",
            str(error),
            f"Remove {JSON_KEYS}.",
            path=JSON_KEYS,
            value=noted,
        ) from None
    return values
