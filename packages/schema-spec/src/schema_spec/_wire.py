"""Contracts as TOML, JSON and msgpack: one set of plain values, three encodings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from schema_spec._type_values import encode_type
from schema_spec.columns import ColumnSpec, SqlExpression
from schema_spec.constraints import Constraint
from schema_spec.errors import SpecError, SpecFieldError, SpecFileError, SpecSyntaxError
from schema_spec.table import TableSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

# What an unreadable document raises: msgspec's errors, the TOML reader's, invalid UTF-8 and absurd nesting.
_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
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


_JSON = msgspec.json.Decoder(TableSpec)
_MSGPACK = msgspec.msgpack.Decoder(TableSpec)


def from_builtins(values: object) -> TableSpec:
    """Read a contract from plain values."""
    return _decode(lambda: msgspec.convert(values, TableSpec), "a contract")


def decode_constraints(values: object) -> list[Constraint]:
    """Read constraints from plain values."""
    try:
        return msgspec.convert(values, list[Constraint])
    except msgspec.ValidationError as error:
        raise located(error).at("constraints") from None


def from_json(text: str | bytes) -> TableSpec:
    """Read a contract from JSON text."""
    return _decode(lambda: _JSON.decode(text), "JSON")


def from_msgpack(data: bytes) -> TableSpec:
    """Read a contract from msgpack."""
    return _decode(lambda: _MSGPACK.decode(data), "msgpack")


def from_toml(text: str | bytes) -> TableSpec:
    """Read a contract from TOML text."""
    return _decode(lambda: msgspec.toml.decode(text, type=TableSpec), "TOML")


def _decode(read: Callable[[], TableSpec], form: str) -> TableSpec:
    try:
        return read()
    except msgspec.ValidationError as error:
        raise located(error) from None
    except SpecError:
        raise
    except _DECODE_ERRORS as error:
        found = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SpecSyntaxError(f"the contract is not {form}", found, "Mend the text.") from None


def located(error: msgspec.ValidationError) -> SpecError:
    """Turn a validation error into ours, keeping the place it names."""
    match = _PLACE.match(str(error))
    message, place = (match[1], match[2]) if match else (str(error), "")
    path = place.removeprefix("$").removeprefix(".")
    cause = error.__cause__
    if isinstance(cause, SpecError):
        return cause.at(path)
    return SpecFieldError(message[:1].lower() + message[1:], fix=_FIX, path=path)


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
    return "".join(f"{_key(key)} = {_toml_value(value)}\n" for key, value in values.items())


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
        inner = ", ".join(f"{_key(key)} = {_toml_value(each)}" for key, each in entries.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(each) for each in cast("list[object]", value)) + "]"
    return repr(value)


def load(path: str | os.PathLike[str]) -> TableSpec:
    """Read a contract from a file, by its suffix."""
    file = Path(path)
    readers: dict[str, Callable[[str], TableSpec]] = {
        ".toml": from_toml,
        ".json": from_json,
        ".sql": TableSpec.from_ddl,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SpecFileError(f"{file} is no contract file", fix="Use .toml, .json or .sql.", value=str(file))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise SpecFileError(f"cannot read {file}", found, "Check the path.", value=str(file)) from None
    try:
        return reader(text)
    except SpecError as error:
        raise error.at(f"{file}:") from None
