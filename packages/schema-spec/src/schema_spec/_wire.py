"""Contracts as TOML, JSON and msgpack: one set of plain values, three encodings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from schema_spec._frozen import EMPTY
from schema_spec._type_values import encode_type
from schema_spec.columns import ColumnSpec, ReadColumn, checked
from schema_spec.constraints import Constraint
from schema_spec.errors import SpecError, SpecFieldError, SpecFileError, SpecSyntaxError, closest, shown
from schema_spec.table import TableSpec
from schema_spec.types import SqlExpression

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

# What an unreadable document raises: msgspec's errors, the TOML reader's, invalid UTF-8 and absurd nesting.
_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_PLACE = re.compile(r"(?s)(.*) - at `(.*)`\Z")


def column_to_builtins(column: ColumnSpec) -> dict[str, object]:
    """Return a column as plain values, defaults left out."""
    values: dict[str, object] = {"name": column.name, "type": encode_type(column.type)}
    if not column.nullable:
        values["nullable"] = False
    if column.semantic is not None:
        values["semantic"] = column.semantic.name
    for field in ("default", "generated"):
        value = getattr(column, field)
        if value is not None:
            values[field] = {"sql": value.sql} if isinstance(value, SqlExpression) else value
    for field in ("comment", "field_id", "physical_name"):
        if getattr(column, field) is not None:
            values[field] = getattr(column, field)
    if column.metadata:
        values["metadata"] = column.metadata
    return values


def to_builtins(spec: TableSpec) -> dict[str, object]:
    """Return a contract as plain values, defaults left out."""
    values: dict[str, object] = {"name": spec.name}
    if spec.comment is not None:
        values["comment"] = spec.comment
    if spec.evolution != "additive":
        values["evolution"] = spec.evolution
    for field in ("primary_key", "partition_by"):
        if getattr(spec, field):
            values[field] = list(getattr(spec, field))
    if spec.properties:
        values["properties"] = spec.properties
    values["columns"] = [column_to_builtins(column) for column in spec.columns]
    if spec.constraints:
        values["constraints"] = [_drop_none(msgspec.to_builtins(each)) for each in spec.constraints]
    return values


def _drop_none(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A contract as a decoder leaves it; the fields are those of `TableSpec`."""

    name: str
    columns: tuple[ReadColumn, ...]
    primary_key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    constraints: tuple[Constraint | str, ...] | dict[str, str] = ()
    evolution: Any = "additive"
    comment: str | None = None
    properties: Any = EMPTY


_JSON = msgspec.json.Decoder(_Document)
_MSGPACK = msgspec.msgpack.Decoder(_Document)
_Read = tuple["Callable[[Any], _Document]", "Callable[[Any], object]"]
# How a document of each form is read as a contract, and as what it says otherwise.
_BUILTINS: Final[_Read] = (lambda values: msgspec.convert(values, _Document), lambda values: values)
_FORMS: Final[dict[str, _Read]] = {
    "JSON": (_JSON.decode, msgspec.json.decode),
    "msgpack": (_MSGPACK.decode, msgspec.msgpack.decode),
    "TOML": (lambda text: msgspec.toml.decode(text, type=_Document), msgspec.toml.decode),
}


def from_builtins(values: object) -> TableSpec:
    """Read a contract from plain values."""
    return _decode(values, "a contract", _BUILTINS)


def decode_constraints(values: object) -> list[Constraint]:
    """Read constraints from plain values."""
    try:
        return msgspec.convert(values, list[Constraint])
    except msgspec.ValidationError as error:
        raise located(error, values).at("constraints") from None


def from_json(text: str | bytes) -> TableSpec:
    """Read a contract from JSON text."""
    return _decode(text, "JSON", _FORMS["JSON"])


def from_msgpack(data: bytes) -> TableSpec:
    """Read a contract from msgpack."""
    return _decode(data, "msgpack", _FORMS["msgpack"])


def from_toml(text: str | bytes) -> TableSpec:
    """Read a contract from TOML text."""
    return _decode(text, "TOML", _FORMS["TOML"])


def _decode(document: object, form: str, read: _Read) -> TableSpec:
    as_contract, as_values = read
    try:
        found = as_contract(document)
    except msgspec.ValidationError as error:
        try:
            values = as_values(document)
        except _DECODE_ERRORS as other:  # the document is damaged further on
            raise _unreadable(other, document, form) from None
        raise located(error, values) from None
    except _DECODE_ERRORS as error:
        raise _unreadable(error, document, form) from None
    return TableSpec(
        found.name,
        cast("Any", checked(found.columns, "columns")),  # taken apart by TableSpec
        found.primary_key,
        found.partition_by,
        found.constraints,  # pyright: ignore[reportArgumentType] checked by TableSpec
        found.evolution,
        found.comment,
        found.properties,
    )


def _unreadable(error: Exception, document: object, form: str) -> SpecSyntaxError:
    found = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return SpecSyntaxError(f"the contract is not {form}", found, "Mend the text.", value=document)


def located(error: msgspec.ValidationError, document: object) -> SpecError:
    """Turn a validation error into ours, with the place it names and what the document has there."""
    match = _PLACE.match(str(error))
    message, place = (match[1], match[2]) if match else (str(error), "")
    path = place.removeprefix("$").removeprefix(".")
    cause = error.__cause__
    if isinstance(cause, SpecError):
        return cause.at(path)
    value, fix = _at(document, place), _FIX
    field = _FIELD.search(message)
    if field is not None and isinstance(value, dict):
        name = field["name"]
        if field["what"] == "unknown":
            value, fix = cast("dict[str, object]", value).get(name), closest(name, _fields_at(path))
        path = f"{path}.{name}" if path else name
    return SpecFieldError(message[:1].lower() + message[1:], "", fix, path=path, value=value)


def _at(document: object, place: str) -> object:
    """Return what a document has at a place as msgspec names it, such as ``$.columns[0].name``."""
    here: Any = document
    for name, index in _STEP.findall(place):
        if index.isdigit() and isinstance(here, list | tuple):
            here = cast("Any", here)[int(index)]
        elif name and isinstance(here, dict):
            here = cast("Any", here).get(name)
        else:
            return cast("object", here)
    return here


def _fields_at(path: str) -> tuple[str, ...]:
    """Return the fields that an object at a path may have."""
    if path.startswith("constraints"):
        return ("kind", "name", "sql", "column", "minimum", "maximum", "values")
    return ReadColumn.__struct_fields__ if "[" in path else _Document.__struct_fields__


_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"(?P<what>unknown|missing required) field `(?P<name>.*)`")
_FIX: Final = "See the documentation of TableSpec and ColumnSpec for the fields and their values."


def to_json(spec: TableSpec) -> str:
    """Return a contract as JSON text."""
    return msgspec.json.format(msgspec.json.encode(to_builtins(spec)), indent=2).decode()


def to_msgpack(spec: TableSpec) -> bytes:
    """Return a contract as msgpack."""
    return msgspec.msgpack.encode(to_builtins(spec))


def to_toml(spec: TableSpec) -> str:
    """Return a contract as TOML text: plain fields first, then one table per column and constraint."""
    values = to_builtins(spec)
    parts = [
        "".join(
            f"{_key(key)} = {_toml_value(value)}\n"
            for key, value in values.items()
            if key not in ("columns", "constraints", "properties")
        )
    ]
    if spec.properties:
        parts.append("[properties]\n" + _entries(spec.properties))
    for section in ("columns", "constraints"):
        parts.extend(
            f"[[{section}]]\n" + _entries(each) for each in cast("list[Any]", values.get(section, []))
        )
    if not spec.columns:
        parts[0] += "columns = []\n"
    return "\n".join(parts)


def _entries(values: Mapping[str, Any]) -> str:
    return "".join(f"{_entry(key, value)}\n" for key, value in values.items())


def _entry(key: str, value: object) -> str:
    """Return a key and its value; metadata is JSON text where it has nulls, which TOML has no word for."""
    if key == "metadata" and _has_null(value):
        value = msgspec.json.encode(value).decode()
    return f"{_key(key)} = {_toml_value(value)}"


def _has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, cast("dict[str, object]", value).values()))
    return any(map(_has_null, cast("list[object]", value))) if isinstance(value, list) else value is None


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    quoted = msgspec.json.encode(text).decode()
    return quoted.replace("\x7f", "\\u007f")


def _toml_value(value: object) -> str:
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        inner = ", ".join(_entry(key, each) for key, each in entries.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(each) for each in cast("list[object]", value)) + "]"
    return repr(value)


def load(path: str | os.PathLike[str]) -> TableSpec:
    """Read a contract from a file, by its suffix."""
    try:
        file = Path(path)
    except TypeError:
        raise SpecFileError(f"{shown(path)} is no path", fix="Give text or a Path.", value=path) from None
    readers: dict[str, Callable[[str], TableSpec]] = {
        ".toml": from_toml,
        ".json": from_json,
        ".sql": TableSpec.from_ddl,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SpecFileError(f"{file} is no contract file", fix="Use .toml, .json or .sql.", value=str(file))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # a NUL in the path, or bytes that are not UTF-8
        not_text = isinstance(error, UnicodeDecodeError)
        found = "it is not UTF-8" if not_text else getattr(error, "strerror", None) or str(error)
        raise SpecFileError(f"cannot read {file}", found, "Check the path.", value=str(file)) from None
    try:
        return reader(text)
    except SpecError as error:
        raise error.at(f"{file}:") from None
