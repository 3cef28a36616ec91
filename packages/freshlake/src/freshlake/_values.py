"""Arrow values as JSON values, exactly.

==================================  =====================================================================
Arrow                               JSON
==================================  =====================================================================
null                                null
boolean                             true, false
integers of any width and sign      a number without a fraction
float16, float32, float64           a number; "NaN", "Infinity" and "-Infinity" as strings
decimals                            a string with every digit of the scale: "12.50"
strings                             a string
binary of any kind                  a string, base64 (RFC 4648, padded)
date                                "YYYY-MM-DD"
time                                "HH:MM:SS" and as many digits as the unit has: "09:30:00.000000"
timestamp                           "YYYY-MM-DDTHH:MM:SS" and as many digits as the unit has
timestamp with a time zone          the same in UTC, with "Z" at the end
duration                            ISO 8601 in seconds: "PT1.500S", "-PT90S"
interval                            ISO 8601: "P1M2DT3.000000004S"
list of any kind                    an array
struct                              an object
map                                 an array of {"key": …, "value": …}
dictionary, run-end, extension      as the values that are stored
==================================  =====================================================================

Years beyond 9999 or before 0 are written with a sign and six digits, as ECMAScript does.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import pyarrow as pa

JsonValue: TypeAlias = Any
Encoder: TypeAlias = Callable[[Any], JsonValue]

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_SECONDS_PER_DAY = 86_400


def repeated_names(kind: pa.DataType | pa.Schema) -> tuple[str, ...]:
    """Find names that occur twice in a schema or in a struct within it: no JSON object can hold them."""
    if isinstance(kind, pa.Schema):
        counts = Counter(kind.names)
        fields = list(kind)
    elif pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        counts = Counter(field.name for field in fields)
    else:
        fields = [kind.field(index) for index in range(kind.num_fields)] if pa.types.is_nested(kind) else []
        counts = Counter[str]()
    repeated = [name for name, count in counts.items() if count > 1]
    return tuple(repeated) + tuple(name for field in fields for name in repeated_names(field.type))


def encoder(kind: pa.DataType) -> Encoder:
    """Make a function from a scalar of the type to its JSON value."""
    inner = _encoder(kind)
    return lambda scalar: inner(scalar) if scalar.is_valid else None


def rows(batch: pa.RecordBatch, encoders: Iterable[Encoder]) -> Iterator[tuple[JsonValue, ...]]:
    """Iterate over the rows of a batch as tuples of JSON values."""
    columns = (
        map(encode, column) if _form(column.type) else column.to_pylist()
        for encode, column in zip(encoders, batch.columns, strict=True)
    )
    return zip(*columns, strict=True)


def _encoder(kind: pa.DataType) -> Encoder:
    make = _form(kind)
    return make(kind) if make is not None else lambda scalar: scalar.as_py()


def _form(kind: pa.DataType) -> Callable[[Any], Encoder] | None:
    """Find what makes the encoder of a type whose Python values are no JSON values."""
    return next((make for is_kind, make in _ENCODERS if is_kind(kind)), None)


def _float(_: pa.DataType) -> Encoder:
    def encode(scalar: Any) -> JsonValue:
        value = float(scalar.as_py())
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

    return encode


def _decimal(_: pa.DataType) -> Encoder:
    return lambda scalar: format(scalar.as_py(), "f")


def _binary(_: pa.DataType) -> Encoder:
    return lambda scalar: base64.b64encode(scalar.as_py()).decode("ascii")


def _date32(_: pa.DataType) -> Encoder:
    return lambda scalar: _date(scalar.value)


def _date64(_: pa.DataType) -> Encoder:
    return lambda scalar: _date(scalar.value // (_SECONDS_PER_DAY * 1000))


def _time(kind: Any) -> Encoder:
    digits = _DIGITS[kind.unit]
    return lambda scalar: _clock(scalar.value, digits)


def _timestamp(kind: Any) -> Encoder:
    digits = _DIGITS[kind.unit]
    zone = "" if kind.tz is None else "Z"
    per_day = _SECONDS_PER_DAY * 10**digits

    def encode(scalar: Any) -> JsonValue:
        days, rest = divmod(scalar.value, per_day)
        return f"{_date(days)}T{_clock(rest, digits)}{zone}"

    return encode


def _duration(kind: Any) -> Encoder:
    digits = _DIGITS[kind.unit]
    return lambda scalar: f"{'-' if scalar.value < 0 else ''}PT{_fixed(abs(scalar.value), digits)}S"


def _interval(_: pa.DataType) -> Encoder:
    def encode(scalar: Any) -> JsonValue:
        months, days, nanoseconds = scalar.as_py()
        sign = "-" if nanoseconds < 0 else ""
        return f"P{months}M{days}DT{sign}{_fixed(abs(nanoseconds), 9)}S"

    return encode


def _list(kind: Any) -> Encoder:
    item = encoder(kind.value_type)
    return lambda scalar: [item(value) for value in scalar.values]


def _struct(kind: Any) -> Encoder:
    fields = [kind.field(index) for index in range(kind.num_fields)]
    encoders = [(field.name, encoder(field.type)) for field in fields]
    return lambda scalar: {name: encode(scalar[index]) for index, (name, encode) in enumerate(encoders)}


def _map(kind: Any) -> Encoder:
    key, item = encoder(kind.key_type), encoder(kind.item_type)
    return lambda scalar: [{"key": key(each[0]), "value": item(each[1])} for each in scalar.values]


def _stored(kind: Any) -> Encoder:
    inner = encoder(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type)
    return lambda scalar: inner(scalar.value)


def _date(days: int) -> str:
    """Write the proleptic Gregorian date `days` after 1970-01-01, for any year."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}"
    return f"{shown}-{month:02d}-{day:02d}"


def _clock(value: int, digits: int) -> str:
    seconds, fraction = divmod(value, 10**digits)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    tail = f".{fraction:0{digits}d}" if digits else ""
    return f"{hour:02d}:{minute:02d}:{second:02d}{tail}"


def _fixed(value: int, digits: int) -> str:
    whole, fraction = divmod(value, 10**digits)
    return f"{whole}.{fraction:0{digits}d}" if digits else str(whole)


def _is_stored(kind: pa.DataType) -> bool:
    encoded = pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)
    return encoded or isinstance(kind, pa.BaseExtensionType)


def _is_binary(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    )
    return any(check(kind) for check in checks)


def _is_list(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(check(kind) for check in checks)


_ENCODERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Encoder]], ...] = (
    (_is_stored, _stored),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (_is_binary, _binary),
    (pa.types.is_date32, _date32),
    (pa.types.is_date64, _date64),
    (pa.types.is_time, _time),
    (pa.types.is_timestamp, _timestamp),
    (pa.types.is_duration, _duration),
    (pa.types.is_interval, _interval),
    (pa.types.is_map, _map),
    (_is_list, _list),
    (pa.types.is_struct, _struct),
)
