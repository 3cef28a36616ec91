"""What a contract means, as canonical bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from msgspec import msgpack

from schema_spec._frozen import EMPTY
from schema_spec.columns import StructType
from schema_spec.constraints import AcceptedValues, Check, Range
from schema_spec.types import (
    EXTENSION_METADATA,
    EXTENSION_NAME,
    ArrayType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    SqlExpression,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema_spec.columns import ColumnSpec
    from schema_spec.table import TableSpec
    from schema_spec.types import DataType

# Where a contract read from a document keeps those of its columns that are not ordinary.
SPECIAL = "_special"
_FORMAT = "schema_spec/2"
_NOTHING_MORE = (None,) * 5
_Known = dict[int, object]  # by the identity of the type object, which the contract keeps alive


def identity_hash(spec: TableSpec) -> str:
    """Return the hexadecimal SHA-256 of the contract's canonical msgpack."""
    constraints = [_constraint(each) for each in spec.constraints]
    special: list[ColumnSpec] | None = spec.__dict__.get(SPECIAL)
    if special is None:
        special = _special(spec.columns)
    columns = _columns(spec.columns, spec.column_names, special, {})
    payload = (_FORMAT, columns, sorted(spec.primary_key), spec.partition_by, constraints)
    return hashlib.sha256(msgpack.encode(payload)).hexdigest()


def _special(columns: Sequence[ColumnSpec]) -> list[ColumnSpec]:
    return [column for column in columns if column.metadata is not EMPTY]


def _columns(
    columns: Sequence[ColumnSpec], names: Sequence[str], special: Sequence[ColumnSpec], known: _Known
) -> tuple[object, ...]:
    """Return names, types and nullability, and what only few columns have besides, by name."""
    kinds = [column.type for column in columns]
    types = [kind.name if type(kind) is PrimitiveType else _type(kind, known) for kind in kinds]
    more = [(column.name, *each) for column in special if (each := _more(column)) != _NOTHING_MORE]
    return (names, types, [column.nullable for column in columns], more)


def _more(column: ColumnSpec) -> tuple[object, ...]:
    semantic, generated, metadata = column.semantic, column.generated, column.metadata
    default: object = column.default
    extension = (metadata.get(EXTENSION_NAME), metadata.get(EXTENSION_METADATA)) if metadata else (None, None)
    return (
        ("sql", default.sql) if isinstance(default, SqlExpression) else default,
        semantic and semantic.name,
        generated and generated.sql,
        *extension,
    )


def _type(kind: DataType, known: _Known) -> object:
    """Return what a type means; `known` has the types met before, which columns of a table tend to share."""
    found = known.get(id(kind))
    if found is None:
        found = known[id(kind)] = _meaning(kind, known)
    return found


def _meaning(kind: DataType, known: _Known) -> object:
    if isinstance(kind, DecimalType):
        return (kind.precision, kind.scale)
    if isinstance(kind, ArrayType):
        return ("array", _type(kind.element, known), kind.contains_null)
    if isinstance(kind, MapType):
        return ("map", _type(kind.key, known), _type(kind.value, known), kind.value_contains_null)
    if isinstance(kind, StructType):
        names = [field.name for field in kind.fields]
        return ("struct", _columns(kind.fields, names, _special(kind.fields), known))
    if isinstance(kind, SemanticType):
        return ("semantic", kind.name, _type(kind.storage, known))
    return kind.text


def _constraint(constraint: object) -> tuple[object, ...]:
    if isinstance(constraint, Range):
        return ("range", constraint.name, constraint.column, constraint.minimum, constraint.maximum)
    if isinstance(constraint, AcceptedValues):
        return ("values", constraint.name, constraint.column, constraint.values)
    check = cast("Check", constraint)
    return ("check", check.name, check.sql)
