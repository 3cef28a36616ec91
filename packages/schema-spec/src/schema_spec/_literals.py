"""Literals: default values in canonical form, and as SQL text and back."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal, InvalidOperation, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from schema_spec._text import is_text
from schema_spec.errors import DefaultError, shown
from schema_spec.types import DataType, DecimalType, PrimitiveType, SqlExpression

if TYPE_CHECKING:
    from collections.abc import Callable

Literal = bool | int | float | str

INTEGER_BITS: Final = {"byte": 8, "short": 16, "integer": 32, "long": 64}
_SPECIAL: Final = {
    "nan": "NaN",
    "infinity": "Infinity",
    "inf": "Infinity",
    "-infinity": "-Infinity",
    "-inf": "-Infinity",
}
_SQL_TYPED = re.compile(r"(DATE|TIMESTAMP|TIMESTAMPTZ|X)\s*'([^']*)'\Z", re.IGNORECASE)
_SQL_CAST = re.compile(r"CAST\('([^']*)' AS (DOUBLE|REAL|DECIMAL\(\d+,\d+\))\)\Z", re.IGNORECASE)
_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]")
_SQL_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z")


def canonical_default(column: str, kind: DataType, value: object) -> Literal | SqlExpression | None:
    """Return the default in the one form that a column of this type keeps it in; null is no default."""
    try:
        if type(value) is int or (type(value) is str and len(value) <= _REMEMBERED_LENGTH):
            return _remembered(kind, value)
        if isinstance(value, SqlExpression):
            return _spelled_out(kind, value)
        return canonical_literal(kind, value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise DefaultError(
            f"column {column!r} of type {kind.text} cannot default to {shown(value)}",
            str(error),
            'Give a value of that type, or SQL as { sql = "…" }.',
            path="default",
            value=value,
        ) from None


def _spelled_out(kind: DataType, value: SqlExpression) -> Literal | SqlExpression | None:
    """Return the literal that SQL text spells out, or the text where it computes."""
    if value.sql.strip().upper() == "NULL":
        return None
    literal = literal_from_sql(kind, value.sql)
    return value if literal is None else literal


def canonical_literal(kind: DataType, value: object) -> Literal:
    """Return a literal in canonical form; ValueError when the type cannot hold it."""
    if isinstance(kind, DecimalType):
        return _decimal(kind, value)
    if not isinstance(kind, PrimitiveType) or kind.name not in _CANONICAL:
        raise ValueError("no literal can be written for this type")
    return _CANONICAL[kind.name](value)


# A contract of many columns repeats few defaults; reading a decimal or a date costs more than finding it.
_remembered: Final = lru_cache(maxsize=1024, typed=True)(canonical_literal)
_REMEMBERED_LENGTH: Final = 40


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("it is neither true nor false")


def _whole(bits: int) -> Callable[[object], int]:
    limit = 1 << (bits - 1)

    def convert(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("it is not a whole number")
        if not -limit <= value < limit:
            raise ValueError(f"it is outside {-limit} to {limit - 1}")
        return value

    return convert


def _double(value: object) -> float | str:
    if isinstance(value, str):
        if value.lower() in _SPECIAL:
            return _SPECIAL[value.lower()]
        raise ValueError("it is not a number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is not a number")
    number = float(value)
    return _SPECIAL[str(number)] if math.isnan(number) or math.isinf(number) else number


def _single(value: object) -> float | str:
    import struct

    number = _double(value)
    return number if isinstance(number, str) else float(struct.unpack("<f", struct.pack("<f", number))[0])


def _decimal(kind: DecimalType, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal | float):
        raise ValueError("it is not a decimal")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("it is not a decimal") from None
    if not number.is_finite():
        raise ValueError("it is not finite")
    if number.adjusted() >= kind.precision - kind.scale and number != 0:
        raise ValueError("it has too many digits")
    with localcontext() as context:
        context.prec = 80
        exact = number.quantize(Decimal(1).scaleb(-kind.scale))
    if exact != number:
        raise ValueError(f"it has more than {kind.scale} digits after the point")
    return f"{abs(exact) if exact == 0 else exact:f}"


def _string(value: object) -> str:
    if isinstance(value, str) and is_text(value):
        return value
    raise ValueError("it is not text")


def _binary(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return bytes.fromhex(value).hex()
    raise ValueError("it is neither bytes nor hexadecimal text")


def _date(value: object) -> str:
    if isinstance(value, str):
        return dt.date.fromisoformat(value).isoformat()
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    raise ValueError("it is not a date")


def _moment(value: object) -> dt.datetime:
    if isinstance(value, str):
        if _TOO_FINE.search(value):
            raise ValueError("it has more than six digits after the second's point")
        return dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value
    raise ValueError("it is not a timestamp")


def _timestamp(value: object) -> str:
    moment = _moment(value)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone; add Z or an offset")
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"


def _timestamp_ntz(value: object) -> str:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise ValueError("it has a time zone, the type has none")
    return moment.isoformat()


_CANONICAL: Final[dict[str, Callable[[object], Literal]]] = {
    "boolean": _boolean,
    **{name: _whole(bits) for name, bits in INTEGER_BITS.items()},
    "float": _single,
    "double": _double,
    "string": _string,
    "binary": _binary,
    "date": _date,
    "timestamp": _timestamp,
    "timestamp_ntz": _timestamp_ntz,
}
_TYPED_PREFIX: Final = {
    "binary": "X",
    "date": "DATE ",
    "timestamp": "TIMESTAMPTZ ",
    "timestamp_ntz": "TIMESTAMP ",
}


def literal_to_sql(kind: DataType, value: Literal) -> str:
    """Write a canonical literal as SQL text."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(kind, DecimalType):
        return f"CAST('{value}' AS DECIMAL({kind.precision},{kind.scale}))"
    name = kind.text
    if name in ("float", "double"):
        return f"CAST('{value}' AS {'REAL' if name == 'float' else 'DOUBLE'})"
    if isinstance(value, str):
        return _TYPED_PREFIX.get(name, "") + "'" + value.replace("'", "''") + "'"
    return str(value)


def literal_from_sql(kind: DataType, sql: str) -> Literal | None:
    """Read a literal that SQL text spells out; None where it is a computation."""
    text = sql.strip()
    try:
        return canonical_literal(kind, _python_value(kind, text))
    except (ValueError, TypeError, ArithmeticError):
        return None


def _python_value(kind: DataType, text: str) -> object:
    if text.upper() in ("TRUE", "FALSE"):
        return text.upper() == "TRUE"
    if _SQL_NUMBER.match(text):
        return text if isinstance(kind, DecimalType) else float(text) if _is_real(kind, text) else int(text)
    if cast := _SQL_CAST.match(text):
        return cast[1] if isinstance(kind, DecimalType) or cast[1].lower() in _SPECIAL else float(cast[1])
    typed = _SQL_TYPED.match(text)
    if typed and typed[1].upper() == _TYPED_PREFIX.get(kind.text, "").strip():
        return typed[2]
    if kind.text in ("string", "date", "timestamp", "timestamp_ntz") and _is_quoted(text):
        return text[1:-1].replace("''", "'")
    raise ValueError("not a literal")


def _is_real(kind: DataType, text: str) -> bool:
    return kind.text in ("float", "double") or not text.lstrip("-").isdigit()


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "'" and "'" not in text[1:-1].replace("''", "")
