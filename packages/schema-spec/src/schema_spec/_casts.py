"""Which plain types turn into which, and at what risk."""

from __future__ import annotations

from typing import Final, Literal

from schema_spec._literals import INTEGER_BITS
from schema_spec.types import DataType, DecimalType, PrimitiveType

CastKind = Literal["same", "widened", "narrowed", "changed", "lossy"]

# Digits that a decimal needs for every value of the type, which itself holds all numbers of one digit less.
_DIGITS: Final = {"byte": 3, "short": 5, "integer": 10, "long": 19}
_EXACT: Final = {
    ("byte", "float"),
    ("short", "float"),
    ("byte", "double"),
    ("short", "double"),
    ("integer", "double"),
    ("float", "double"),
    ("date", "timestamp_ntz"),
}
# Casts that keep every value or fail; anything that would round or guess is left out.
_CHECKED: Final = {
    *((name, "string") for name in (*INTEGER_BITS, "date")),
    *(("string", name) for name in (*INTEGER_BITS, "date")),
    ("string", "binary"),
    ("binary", "string"),
}


def cast_kind(old: DataType, new: DataType) -> CastKind:
    """Classify the cast from one type to another; "lossy" where it may change values without failing."""
    if old == new:
        return "same"
    if isinstance(old, DecimalType) or isinstance(new, DecimalType):
        return _decimal(old, new)
    if not isinstance(old, PrimitiveType) or not isinstance(new, PrimitiveType):
        return "lossy"
    if old.name in INTEGER_BITS and new.name in INTEGER_BITS:
        return "widened" if INTEGER_BITS[old.name] < INTEGER_BITS[new.name] else "narrowed"
    if (old.name, new.name) in _EXACT:
        return "widened"
    return "changed" if (old.name, new.name) in _CHECKED else "lossy"


def _decimal(old: DataType, new: DataType) -> CastKind:
    """Compare digits before and after the point; an integer is a decimal of scale 0."""
    needed, held = _digits(old), _digits(new)
    if needed is None or held is None or held[1] < needed[1]:
        return "lossy"
    room = held[0] if isinstance(new, DecimalType) else held[0] - 1
    return "widened" if room >= needed[0] else "narrowed"


def _digits(kind: DataType) -> tuple[int, int] | None:
    if isinstance(kind, DecimalType):
        return (kind.precision - kind.scale, kind.scale)
    return (_DIGITS[kind.text], 0) if kind.text in _DIGITS else None
