"""One column of statistics as values of the column's type: bounds that hold, null where that is not sure."""

from __future__ import annotations

from typing import Any, Final, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io._schema import TYPE_CHANGES

_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
_TIME: Final = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?"
_ZONE: Final = r"(Z|[+-]\d{2}:?\d{2})$"
_MILLISECOND_REST: Final = 999
_EXACT_DIGITS: Final = 15
_SHORTENED: Final = 32
LAST_CHARACTER: Final = "\U0010ffff"


def json_type(kind: pa.DataType) -> pa.DataType:
    """Return the type as which JSON holds a bound."""
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    return kind if pa.types.is_boolean(kind) else pa.string()


def whole_numbers(given: pa.Array[Any]) -> pa.Array[Any]:
    """Return counts; what is none is null."""
    if not pa.types.is_integer(given.type):
        return pa.nulls(len(given), pa.int64())
    counts = given.cast(pa.int64(), safe=False)
    return pc.if_else(pc.greater_equal(counts, 0), counts, pa.scalar(None, pa.int64()))


def bound(given: pa.Array[Any], field: pa.Field[Any], *, high: bool) -> pa.Array[Any]:
    """Return a lower or upper bound as the type of its column."""
    kind = field.type
    try:
        found = _bound(given, kind, high=high)
    except pa.ArrowException:
        return pa.nulls(len(given), kind)
    if pa.types.is_float64(kind) and TYPE_CHANGES in (field.metadata or {}):
        return _around_narrow(found, high=high)
    return found


def _around_narrow(values: pa.Array[Any], *, high: bool) -> pa.Array[Any]:
    """Return bounds around numbers written as of 4 bytes: in 8 bytes these are not what their text says."""
    narrow = values.cast(pa.float32(), safe=False).cast(pa.float64())
    return (pc.max_element_wise if high else pc.min_element_wise)(values, narrow, skip_nulls=False)


def _bound(given: pa.Array[Any], kind: pa.DataType, *, high: bool) -> pa.Array[Any]:
    if pa.types.is_integer(kind):
        found = _integer(given, kind)
    elif pa.types.is_floating(kind):
        found = _floating(given, kind)
    elif pa.types.is_decimal(kind):
        found = _decimal(given, kind, high=high)
    elif pa.types.is_string(kind):
        found = _text(given, high=high)
    elif pa.types.is_date(kind):
        found = _parsed(given, kind, _DATE)
    elif pa.types.is_timestamp(kind):
        found = _timestamp(given, cast("pa.TimestampType[Any, Any]", kind), high=high)
    else:
        found = given.cast(kind)
    return found


def _floating(given: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    values = given.cast(pa.float64())
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values).cast(kind, safe=False)


def _integer(given: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    if not pa.types.is_integer(given.type):
        return pa.nulls(len(given), kind)
    limit = 2 ** (kind.bit_width - 1)
    wide = given.cast(pa.int64(), safe=False)
    within = pc.and_(pc.greater_equal(wide, -limit), pc.less_equal(wide, limit - 1))
    return pc.if_else(within, wide, pa.scalar(None, pa.int64())).cast(kind)


def _decimal(given: pa.Array[Any], kind: pa.DataType, *, high: bool) -> pa.Array[Any]:
    """Return decimals; those with more digits than a double holds may have been rounded on the way."""
    if pa.types.is_decimal(given.type):
        return given.cast(kind)
    precision, scale = kind.precision, kind.scale  # type: ignore[attr-defined] -- of decimals
    values = given.cast(pa.float64())
    if precision > _EXACT_DIGITS:
        slack = pc.max_element_wise(pc.multiply(pc.abs(values), 2.0**-50), 10.0**-scale)
        values = pc.add(values, slack) if high else pc.subtract(values, slack)
    within = pc.less(pc.abs(values), 0.99 * 10.0 ** (precision - scale))
    return pc.if_else(within, values, pa.scalar(None, pa.float64())).cast(kind, safe=False)


def _text(given: pa.Array[Any], *, high: bool) -> pa.Array[Any]:
    """Return texts; long upper bounds may have been cut, so every text that goes on from them is included."""
    texts = given.cast(pa.string())
    if not high:
        return texts
    cut = pc.greater_equal(pc.utf8_length(texts), _SHORTENED)
    if not pc.any(cut).as_py():
        return texts
    return pc.if_else(cut, pc.binary_join_element_wise(texts, LAST_CHARACTER, ""), texts)


def _parsed(given: pa.Array[Any], kind: pa.DataType, pattern: str) -> pa.Array[Any]:
    """Return texts that look like values of a type as such, the others as null."""
    if not pa.types.is_string(given.type):
        return given.cast(kind)
    fits = pc.match_substring_regex(given, pattern)
    return pc.if_else(fits, given, pa.scalar(None, pa.string())).cast(kind)


def _timestamp(given: pa.Array[Any], kind: pa.TimestampType[Any, Any], *, high: bool) -> pa.Array[Any]:
    """Return timestamps, upper bounds at the end of their millisecond: writers may cut the rest off."""
    zoned, plain = pa.timestamp("us", "UTC"), pa.timestamp("us")
    if pa.types.is_timestamp(given.type):
        micros = given.cast(plain if given.type.tz is None else zoned).cast(pa.int64())
    elif kind.tz is None:
        without = pc.replace_substring_regex(given.cast(pa.string()), _ZONE, "")
        micros = _parsed(_micros_at_most(without), plain, _TIME + "$").cast(pa.int64())
    else:
        texts = _micros_at_most(given.cast(pa.string()))
        with_zone = _parsed(texts, zoned, _TIME + _ZONE).cast(pa.int64())
        micros = pc.coalesce(with_zone, _parsed(texts, plain, _TIME + "$").cast(pa.int64()))
    if high:
        whole = pc.equal(pc.multiply(pc.divide(micros, 1000), 1000), micros)
        micros = pc.if_else(whole, pc.add(micros, _MILLISECOND_REST), micros)
    return micros.cast(kind)


def _micros_at_most(texts: pa.Array[Any]) -> pa.Array[Any]:
    return pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
