"""What a contract means, as canonical bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from msgspec import msgpack
from msgspec.structs import astuple

from schema_spec._frozen import EMPTY
from schema_spec.columns import EXTENSION_METADATA, EXTENSION_NAME, SqlExpression, StructType
from schema_spec.constraints import AcceptedValues, Check, Range
from schema_spec.types import ArrayType, DecimalType, MapType, PrimitiveType, SemanticType

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        (name, kind.name if type(kind) is PrimitiveType else _type(kind), nullable)
        if default is None and semantic is None and generated is None and metadata is EMPTY
        else _row(name, kind, nullable, default, semantic, generated, metadata)
        # Taking the fields all at once is much cheaper than reading them one by one.
        for name, kind, nullable, default, semantic, _, metadata, generated, _, _ in map(astuple, columns)
    ]


def _row(  # noqa: PLR0917 one call per unusual column, kept cheap
    name: str,
    kind: DataType,
    nullable: bool,
    default: object,
    semantic: SemanticType | None,
    generated: SqlExpression | None,
    metadata: Mapping[str, object],
) -> tuple[object, ...]:
    sql = generated and generated.sql
    extension = (
        _NO_EXTENSION
        if metadata is EMPTY
        else (metadata.get(EXTENSION_NAME), metadata.get(EXTENSION_METADATA))
    )
    more = (_value(default), semantic and semantic.name, sql, *extension)
    base = (name, _type(kind), nullable)
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
