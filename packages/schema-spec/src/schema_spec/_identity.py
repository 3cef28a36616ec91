"""What a contract means, as canonical bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from msgspec import msgpack

from schema_spec._frozen import EMPTY
from schema_spec.columns import EXTENSION_METADATA, EXTENSION_NAME, SqlExpression, StructType
from schema_spec.constraints import AcceptedValues, Check, Range
from schema_spec.types import ArrayType, DecimalType, MapType, PrimitiveType, SemanticType

if TYPE_CHECKING:
    from schema_spec.columns import ColumnSpec
    from schema_spec.table import TableSpec
    from schema_spec.types import DataType

_FORMAT = "schema_spec/1"
_NO_EXTENSION = (None, None)
_NOTHING_MORE = (None, None, None, *_NO_EXTENSION)


def identity_hash(spec: TableSpec) -> str:
    """Return the hexadecimal SHA-256 of the contract's canonical msgpack."""
    constraints = [_constraint(each) for each in spec.constraints]
    payload = (_FORMAT, _columns(spec.columns), sorted(spec.primary_key), spec.partition_by, constraints)
    return hashlib.sha256(msgpack.encode(payload)).hexdigest()


def _columns(columns: tuple[ColumnSpec, ...]) -> list[tuple[object, ...]]:
    """Return one row per column: name, type, nullability, and what only few columns have besides."""
    return [
        (
            column.name,
            kind.name if type(kind := column.type) is PrimitiveType else _type(kind),
            column.nullable,
        )
        if column.default is None
        and column.semantic is None
        and column.generated is None
        and column.metadata is EMPTY
        else _row(column)
        for column in columns
    ]


def _row(column: ColumnSpec) -> tuple[object, ...]:
    semantic, generated, metadata = column.semantic, column.generated, column.metadata
    extension = (
        _NO_EXTENSION
        if metadata is EMPTY
        else (metadata.get(EXTENSION_NAME), metadata.get(EXTENSION_METADATA))
    )
    more = (_value(column.default), semantic and semantic.name, generated and generated.sql, *extension)
    base = (column.name, _type(column.type), column.nullable)
    return base if more == _NOTHING_MORE else (*base, *more)


def _value(value: object) -> object:
    return ("sql", value.sql) if isinstance(value, SqlExpression) else value


def _type(kind: DataType) -> object:
    if isinstance(kind, DecimalType):
        return (kind.precision, kind.scale)
    if isinstance(kind, ArrayType):
        return ("array", _type(kind.element), kind.contains_null)
    if isinstance(kind, MapType):
        return ("map", _type(kind.key), _type(kind.value), kind.value_contains_null)
    if isinstance(kind, StructType):
        return ("struct", _columns(kind.fields))
    if isinstance(kind, SemanticType):
        return ("semantic", kind.name, _type(kind.storage))
    return kind.text


def _constraint(constraint: object) -> tuple[object, ...]:
    if isinstance(constraint, Range):
        return ("range", constraint.name, constraint.column, constraint.minimum, constraint.maximum)
    if isinstance(constraint, AcceptedValues):
        return ("values", constraint.name, constraint.column, constraint.values)
    check = cast("Check", constraint)
    return ("check", check.name, check.sql)
