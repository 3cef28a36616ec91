"""Contracts as the metadata of Delta tables and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, cast

import msgspec

from schema_spec import _metadata
from schema_spec._column_checks import as_mapping
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import AcceptedValues, Check, Range, constraint_sql, find_subject
from schema_spec.errors import SpecError, SpecFieldError, SpecSyntaxError, SpecTypeError, shown
from schema_spec.table import TableSpec
from schema_spec.types import (
    MAX_DEPTH,
    PRIMITIVES,
    VOID,
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    strip_semantic,
)

if TYPE_CHECKING:
    from schema_spec.constraints import Constraint

_CONSTRAINT: Final = "delta.constraints."
_CONTRACT: Final = "schema_spec.contract"
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,9})\s*,\s*(-?\d{1,9})\s*\)\Z")


class DeltaSchema(str):
    """The schema JSON of a Delta table, with the rest of what its metadata holds.

    Parameters
    ----------
    schema : str
        Schema JSON.
    name : str, optional
        Name of the table.
    description : str, optional
        Comment of the table.
    partition_columns : Sequence[str], default ()
        Columns that the files are partitioned by.
    configuration : Mapping[str, str], default {}
        Table properties, check constraints among them.

    Examples
    --------
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> schema = TableSpec("t", [ColumnSpec("a", "long")], constraints={"positive": "a > 0"}).to_delta()
    >>> print(schema)
    {"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{}}]}
    >>> schema.configuration
    {'delta.constraints.positive': 'a > 0'}
    """

    __slots__ = ("configuration", "description", "name", "partition_columns")

    name: str | None
    description: str | None
    partition_columns: tuple[str, ...]
    configuration: dict[str, str]

    def __new__(
        cls,
        schema: str,
        *,
        name: str | None = None,
        description: str | None = None,
        partition_columns: Sequence[str] = (),
        configuration: Mapping[str, str] = {},
    ) -> Self:
        self = super().__new__(cls, schema)
        self.name = name
        self.description = description
        self.partition_columns = tuple(partition_columns)
        self.configuration = dict(configuration)
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        fields = {field: getattr(self, field) for field in DeltaSchema.__slots__}
        return (str(self),), fields


def to_delta(spec: TableSpec) -> DeltaSchema:
    """Return the Delta schema of a contract."""
    schema = {"type": "struct", "fields": [_field(column) for column in spec.columns]}
    columns = {column.name: column for column in spec.columns}
    constraints = spec.constraints
    configuration = dict(spec.properties) | {
        _CONSTRAINT + each.name: constraint_sql(each, columns) for each in constraints
    }
    rest = _contract(spec)
    if rest:
        configuration[_CONTRACT] = msgspec.json.encode(rest).decode()
    return DeltaSchema(
        msgspec.json.encode(schema).decode(),
        name=spec.name,
        description=spec.comment,
        partition_columns=spec.partition_by,
        configuration=configuration,
    )


def _contract(spec: TableSpec) -> dict[str, object]:
    """Return what a contract says and Delta has no place for."""
    from schema_spec._wire import to_builtins

    values = to_builtins(spec)
    rest = {key: values[key] for key in ("evolution", "primary_key") if key in values}
    own = [
        each
        for each in cast("list[dict[str, object]]", values.get("constraints", []))
        if each["kind"] != "check"
    ]
    return rest | ({"constraints": own} if own else {})


def _field(column: ColumnSpec) -> dict[str, object]:
    metadata = _metadata.field_metadata(column)
    nested = dict(_nested_semantics(column.type, ""))
    if nested:
        metadata[_metadata.NESTED] = nested
    metadata |= _metadata.json_note(metadata)
    return {
        "name": column.name,
        "type": _type(column.type),
        "nullable": column.nullable,
        "metadata": metadata,
    }


def _nested_semantics(kind: DataType, path: str) -> list[tuple[str, str]]:
    """Return the semantic types of elements, keys and values below a field, by path."""
    if isinstance(kind, ArrayType):
        children = [("element", kind.element)]
    elif isinstance(kind, MapType):
        children = [("key", kind.key), ("value", kind.value)]
    else:
        return []
    found: list[tuple[str, str]] = []
    for step, child in children:
        here = f"{path}.{step}" if path else step
        if isinstance(child, SemanticType):
            found.append((here, child.name))
        found += _nested_semantics(strip_semantic(child), here)
    return found


def _type(kind: DataType) -> object:
    if isinstance(kind, ArrayType):
        return {"type": "array", "elementType": _type(kind.element), "containsNull": kind.contains_null}
    if isinstance(kind, MapType):
        return {
            "type": "map",
            "keyType": _type(kind.key),
            "valueType": _type(kind.value),
            "valueContainsNull": kind.value_contains_null,
        }
    if isinstance(kind, StructType):
        return {"type": "struct", "fields": [_field(each) for each in kind.fields]}
    return _type(kind.storage) if isinstance(kind, SemanticType) else kind.text


def from_delta(
    schema: str | bytes | Mapping[str, object],
    *,
    name: str | None,
    description: str | None,
    partition_columns: Sequence[str] | None,
    configuration: Mapping[str, str] | None,
) -> TableSpec:
    """Make a contract from a Delta schema and the rest of a table's metadata."""
    given = schema if isinstance(schema, DeltaSchema) else DeltaSchema("")
    values = _decode(schema)
    _require(values.get("type") == "struct", "a Delta schema is not a struct", values.get("type"), "type")
    columns = [_read_field(each, f"fields[{index}]", 0) for index, each in enumerate(_list(values, "fields"))]
    config = _properties(given.configuration if configuration is None else configuration)
    rest = _rest(config.pop(_CONTRACT, "{}"))
    checks = {key: config.pop(key) for key in list(config) if key.startswith(_CONSTRAINT)}
    return TableSpec(
        name or given.name or "table",
        columns,
        primary_key=_names(rest, "primary_key"),
        partition_by=given.partition_columns if partition_columns is None else partition_columns,
        constraints=_constraints(checks, rest, {column.name: column for column in columns}),
        evolution=rest.get("evolution", "additive"),
        comment=given.description if description is None else description,
        properties=config,
    )


def _properties(given: object) -> dict[str, str]:
    return dict(cast("Mapping[str, str]", as_mapping(given, "configuration", "table properties")))


def _decode(schema: str | bytes | Mapping[str, object]) -> Mapping[str, Any]:
    if isinstance(schema, Mapping):
        return schema
    try:
        values: object = msgspec.json.decode(str(schema) if isinstance(schema, str) else schema)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        found = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SpecSyntaxError(
            "the Delta schema is not JSON", found, "Give the table's schemaString.", value=schema
        ) from None
    if not isinstance(values, dict):
        raise SpecSyntaxError(
            "the Delta schema is not a JSON object", fix="Give the schemaString of the table."
        )
    return cast("dict[str, Any]", values)


def _rest(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise SpecFieldError(
            f"table property {_CONTRACT} is damaged",
            str(error),
            "Remove or rewrite it.",
            path=_CONTRACT,
            value=text,
        ) from None


def _names(rest: dict[str, Any], key: str) -> tuple[str, ...]:
    names = rest.get(key, [])
    _require(isinstance(names, list), f"{key} is not a list", names, key)
    return tuple(names)


def _constraints(
    checks: dict[str, str], rest: dict[str, Any], columns: dict[str, ColumnSpec]
) -> list[Constraint]:
    """Return structured constraints where Delta's conditions agree with them, and the other conditions."""
    from schema_spec._wire import decode_constraints

    remaining = {key.removeprefix(_CONSTRAINT): sql for key, sql in checks.items()}
    found: list[Constraint] = []
    for constraint in decode_constraints(rest.get("constraints", [])):
        known = isinstance(constraint, Range | AcceptedValues) and find_subject(constraint.column, columns)
        if known and remaining.get(constraint.name) == constraint_sql(constraint, columns):
            remaining.pop(constraint.name)
            found.append(constraint)
    return found + [Check(name, sql) for name, sql in remaining.items()]


def _read_field(value: object, path: str, depth: int) -> ColumnSpec:
    _require(isinstance(value, dict), "a field is not an object", value, path)
    field = cast("dict[str, Any]", value)
    name, nullable, metadata = field.get("name"), field.get("nullable", True), field.get("metadata") or {}
    _require(isinstance(name, str), "a field has no name", name, path)
    _require(isinstance(nullable, bool), "nullable is not a boolean", nullable, path)
    _require(isinstance(metadata, dict), "metadata is not an object", metadata, path)
    metadata = dict(metadata)
    metadata.pop(_metadata.JSON_KEYS, None)
    try:
        nested = _metadata.nested_names(metadata.pop(_metadata.NESTED, {}))
        kind = _read_type(field.get("type"), depth, nested, "")
        return _metadata.column_from_metadata(cast("str", name), kind, nullable, metadata)
    except SpecError as error:
        raise error.at(path) from None


def _read_type(value: object, depth: int, nested: dict[str, str], path: str) -> DataType:
    if depth > MAX_DEPTH:
        raise SpecTypeError(f"a type nested deeper than {MAX_DEPTH}", fix="Flatten it.")
    kind = (
        _read_object(cast("dict[str, Any]", value), depth, nested, path) if isinstance(value, dict) else None
    )
    if kind is None:
        kind = _read_name(value)
    return SemanticType(nested[path], kind) if path in nested else kind


def _read_name(value: object) -> DataType:
    if isinstance(value, str):
        if value in (*PRIMITIVES, VOID):
            return PrimitiveType(value)
        if match := _DECIMAL.match(value):
            return DecimalType(int(match[1]), int(match[2]))
        if value == "decimal":  # what Spark calls decimal(10,0), its default
            return DecimalType(10, 0)
    raise SpecTypeError(
        f"no Delta type {shown(value)}",
        fix=f"Use {', '.join(PRIMITIVES)}, decimal, array, map or struct.",
        path="type",
        value=value,
    )


def _read_object(value: dict[str, Any], depth: int, nested: dict[str, str], path: str) -> DataType | None:
    def child(key: str, step: str) -> DataType:
        return _read_type(value.get(key), depth + 1, nested, f"{path}.{step}" if path else step)

    def flag(key: str) -> bool:
        given = value.get(key, True)
        _require(isinstance(given, bool), f"{key} is not a boolean", given, path)
        return given

    if value.get("type") == "struct":
        fields = _list(value, "fields")
        return StructType(
            tuple(_read_field(each, f"fields[{n}]", depth + 1) for n, each in enumerate(fields))
        )
    if value.get("type") == "array":
        return ArrayType(child("elementType", "element"), flag("containsNull"))
    if value.get("type") == "map":
        return MapType(child("keyType", "key"), child("valueType", "value"), flag("valueContainsNull"))
    return None


def _list(values: Mapping[str, Any], key: str) -> list[object]:
    found = values.get(key)
    _require(isinstance(found, list), f"{key} is not a list", found, key)
    return cast("list[object]", found)


def _require(holds: bool, what: str, value: object, path: str) -> None:
    if not holds:
        raise SpecFieldError(
            what, f"it is {shown(value)}", "Write what the Delta protocol says.", path=path, value=value
        )
