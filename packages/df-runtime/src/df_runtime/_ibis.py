"""Arrow types in Ibis' terms."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from df_runtime.errors import DatasetUnsupportedError

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.schema as sch

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


def ibis_schema(schema: pa.Schema) -> sch.Schema:
    """Describe columns in Ibis' types, with their nullability."""
    import ibis  # half a second to import, and not every session needs it

    return ibis.schema({field.name: _type(field.type)(nullable=field.nullable) for field in schema})


def ibis_type(kind: pa.DataType) -> dt.DataType:
    """Say a type in Ibis' terms."""
    return _type(kind)


def exact_schema(wanted: sch.Schema, found: pa.Schema) -> pa.Schema:
    """Take the types of an expression, but the engine's where both are decimals."""
    pairs = zip(wanted.to_pyarrow(), found, strict=True)
    return pa.schema(
        [(want.name, got.type if _decimals(want.type, got.type) else want.type) for want, got in pairs]
    )


def _decimals(*kinds: pa.DataType) -> bool:
    return all(pa.types.is_decimal(kind) for kind in kinds)


def _type(kind: pa.DataType) -> dt.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _type(kind.storage_type)
    if isinstance(kind, pa.DictionaryType):
        return _type(kind.value_type)
    return _parametric(kind) or _simple(kind)


def _parametric(kind: pa.DataType) -> Any:
    # Ibis' own conversion refuses some types, and its constructors are annotated for what they store instead
    # of what they take.
    dt: Any = import_module("ibis.expr.datatypes")
    if isinstance(kind, pa.TimestampType):
        return dt.Timestamp(timezone=kind.tz, scale=_SCALES[kind.unit])
    if isinstance(kind, (pa.Decimal128Type, pa.Decimal256Type)):
        return dt.Decimal(kind.precision, kind.scale)
    if isinstance(kind, pa.DurationType):
        return dt.Interval(kind.unit)
    return _nested(dt, kind)


def _nested(dt: Any, kind: pa.DataType) -> Any:
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
