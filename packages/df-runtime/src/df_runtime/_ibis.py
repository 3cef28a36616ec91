"""Ibis expressions as queries of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from df_runtime._names import TableName
from df_runtime.errors import DatasetUnsupportedError

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

_Test = Callable[[pa.DataType], bool]
_SIMPLE: tuple[tuple[tuple[_Test, ...], str], ...] = (
    ((pa.types.is_boolean,), "boolean"),
    ((pa.types.is_integer,), ""),
    ((pa.types.is_float16,), "float16"),
    ((pa.types.is_float32,), "float32"),
    ((pa.types.is_float64,), "float64"),
    ((pa.types.is_date,), "date"),
    ((pa.types.is_time,), "time"),
    ((pa.types.is_null,), "null"),
    ((pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view), "string"),
    ((pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view), "binary"),
    ((pa.types.is_fixed_size_binary,), "binary"),
)
_SCALES = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def unbound_table(name: TableName, schema: pa.Schema) -> ir.Table:
    """Make a table expression that compiles to the complete name."""
    import ibis  # half a second to import, and not every session needs it

    columns = ibis.schema({field.name: _type(field.type)(nullable=field.nullable) for field in schema})
    return ibis.table(columns, name=name.table, database=name.schema, catalog=name.catalog)


def compiled(expr: ir.Expr, params: Mapping[ir.Scalar, object] | None) -> str:
    """Write an expression in the engine's dialect."""
    import ibis

    return str(ibis.to_sql(expr, dialect="datafusion", params=params))


def _type(kind: pa.DataType) -> dt.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _type(kind.storage_type)
    if isinstance(kind, pa.DictionaryType):
        return _type(kind.value_type)
    return _parametric(kind) or _simple(kind)


def _parametric(kind: pa.DataType) -> Any:
    # Ibis' own conversion needs a package that Ibis does not depend on, and its constructors are annotated
    # for what they store instead of what they take.
    dt: Any = import_module("ibis.expr.datatypes")
    if isinstance(kind, pa.TimestampType):
        return dt.Timestamp(timezone=kind.tz, scale=_SCALES[kind.unit])
    if isinstance(kind, (pa.Decimal128Type, pa.Decimal256Type)):
        return dt.Decimal(kind.precision, kind.scale)
    if isinstance(kind, pa.StructType):
        return dt.Struct({field.name: _type(field.type) for field in kind})
    if isinstance(kind, pa.MapType):
        return dt.Map(_type(kind.key_type), _type(kind.item_type))
    if isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        return dt.Array(_type(kind.value_type))
    return None


def _simple(kind: pa.DataType) -> dt.DataType:
    import ibis.expr.datatypes as dt

    for tests, name in _SIMPLE:
        if any(test(kind) for test in tests):
            return dt.dtype(name or str(kind))
    raise DatasetUnsupportedError(f"Ibis has no type for Arrow's {kind}; use `Session.sql` for this dataset.")
