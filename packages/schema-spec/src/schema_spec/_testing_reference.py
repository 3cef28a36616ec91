"""Alignment the slow way: row by row, in Python, independent of any engine."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from schema_spec._arrow import storage_type
from schema_spec.columns import StructType
from schema_spec.expressions import (
    Cast,
    Column,
    Computed,
    Constant,
    Exact,
    Expression,
    Member,
    NotNull,
    Rebuild,
)
from schema_spec.types import ArrayType, DataType, DecimalType, MapType, strip_semantic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema_spec.alignment import Alignment
    from schema_spec.table import TableSpec


def table_from_rows(rows: Sequence[dict[str, Any]], spec: TableSpec) -> pa.Table:
    """Make an Arrow table of rows.

    Parameters
    ----------
    rows : Sequence[dict[str, object]]
        Rows by column name.
    spec : TableSpec
        The contract.

    Returns
    -------
    pyarrow.Table
        A table with the contract's Arrow schema.
    """
    arrays = [pa.array([row[each.name] for row in rows], storage_type(each.type)) for each in spec.columns]
    schema = spec.to_arrow()
    plain = pa.schema(
        [
            pa.field(each.name, array.type, each.nullable)
            for each, array in zip(spec.columns, arrays, strict=True)
        ]
    )
    return pa.Table.from_arrays(arrays, schema=plain).cast(schema)


def apply_alignment(alignment: Alignment, table: pa.Table, spec: TableSpec) -> pa.Table:
    """Turn data into rows of a contract, the slow way.

    Parameters
    ----------
    alignment : Alignment
        What ``spec.alignment(table.schema)`` returned.
    table : pyarrow.Table
        The data.
    spec : TableSpec
        The contract.

    Returns
    -------
    pyarrow.Table
        A table with the contract's Arrow schema.

    Raises
    ------
    ValueError
        When a value does not fit, or is null where it must not be.
    NotImplementedError
        When a column is computed by SQL.
    """
    rows = [
        {each.name: _evaluate(each.expression, row) for each in alignment.columns}
        for row in table.to_pylist()
    ]
    return table_from_rows(rows, spec)


def _evaluate(expression: Expression, row: dict[str, Any]) -> Any:
    match expression:
        case Column(name):
            value = row[name]
        case Member(base, name):
            held = _evaluate(base, row)
            value = None if held is None else held[name]
        case Constant(kind, literal):
            value = None if literal is None else _literal(kind, literal)
        case Cast(base, kind):
            value = _convert(_evaluate(base, row), kind)
        case Exact(base):
            value = _whole_microseconds(_evaluate(base, row))
        case NotNull(base, within):
            value = _evaluate(base, row)
            if value is None and (within is None or _evaluate(within, row) is not None):
                raise ValueError("a value is null and must not be")
        case Rebuild(base, fields):
            absent = _evaluate(base, row) is None
            value = None if absent else {name: _evaluate(each, row) for name, each in fields}
        case Computed(sql):
            raise NotImplementedError(sql)
    return value


def _whole_microseconds(value: Any) -> Any:
    """Return a timestamp, which is pandas' own where Python's has no place for its digits."""
    if getattr(value, "nanosecond", 0):
        raise ValueError("a timestamp has more than six digits after the second's point")
    return value


def _literal(kind: DataType, literal: Any) -> Any:
    if isinstance(kind, DecimalType):
        return Decimal(literal)
    readers: dict[str, Any] = {
        "binary": bytes.fromhex,
        "date": dt.date.fromisoformat,
        "timestamp": dt.datetime.fromisoformat,
        "timestamp_ntz": dt.datetime.fromisoformat,
        "float": float,
        "double": float,
    }
    return readers.get(kind.text, lambda value: value)(literal)


def _convert(value: Any, kind: DataType) -> Any:
    """Return a value as another type holds it."""
    kind = strip_semantic(kind)
    if value is None:
        return None
    if isinstance(kind, StructType):
        return {each.name: _convert(value.get(each.name), each.type) for each in kind.fields}
    if isinstance(kind, ArrayType):
        return [_convert(each, kind.element) for each in value]
    if isinstance(kind, MapType):
        return [(_convert(key, kind.key), _convert(each, kind.value)) for key, each in value]
    if isinstance(kind, DecimalType):
        with localcontext() as context:
            context.prec = 80
            return Decimal(value).quantize(Decimal(1).scaleb(-kind.scale))
    return _convert_plain(value, kind.text)


def _convert_plain(value: Any, name: str) -> Any:
    if name == "timestamp" or (name == "timestamp_ntz" and isinstance(value, dt.datetime)):
        return value
    if name == "string":
        return value.decode() if isinstance(value, bytes) else str(value)
    if name == "binary":
        return value.encode() if isinstance(value, str) else value
    if name == "timestamp_ntz":
        return dt.datetime.combine(value, dt.time())
    if name == "date":
        return dt.date.fromisoformat(value) if isinstance(value, str) else value
    return float(value) if name in ("float", "double") else int(value)
