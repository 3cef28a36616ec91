"""Predicates over columns: a small part of SQL, to prune files and filter rows without an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

import pyarrow as pa
from msgspec import Struct

from delta_io.errors import PredicateError

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<quoted>"(?:[^"]|"")+"|`[^`]+`)|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|==|[=<>(),-]))""",
    re.VERBOSE,
)
_SIGNS: Final = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_FLIPPED: Final = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED: Final = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_KEYWORDS: Final = frozenset(
    {"and", "or", "not", "in", "is", "null", "between", "true", "false", "like", "case", "cast"}
)

Value = bool | int | float | Decimal | str | date | datetime | bytes


class Compare(Struct, frozen=True):
    """A column compared with a value; a null value makes it unknown."""

    column: str
    sign: str
    value: Value | None


class IsNull(Struct, frozen=True):
    """A column is null, or is not."""

    column: str
    negated: bool


class Constant(Struct, frozen=True):
    """True, false or, for None, unknown."""

    value: bool | None


class All(Struct, frozen=True):
    """Every part holds."""

    parts: tuple[Node, ...]


class Some(Struct, frozen=True):
    """At least one part holds."""

    parts: tuple[Node, ...]


Node = Compare | IsNull | Constant | All | Some


def parse(text: str, schema: pa.Schema) -> Node:
    """Return the tree of a predicate: negations at the leaves, values of the columns' types."""
    return _Parser(text, schema).parse()


def negate(node: Node) -> Node:
    """Return the negation under three-valued logic."""
    match node:
        case Compare(column, sign, value):
            return Compare(column, _NEGATED[sign], value)
        case IsNull(column, negated):
            return IsNull(column, not negated)
        case Constant(value):
            return Constant(None if value is None else not value)
        case All(parts):
            return Some(tuple(negate(part) for part in parts))
        case Some(parts):
            return All(tuple(negate(part) for part in parts))


def columns_of(node: Node) -> frozenset[str]:
    """Return the columns that a predicate names."""
    match node:
        case Compare(column) | IsNull(column):
            return frozenset([column])
        case Constant():
            return frozenset()
        case All(parts) | Some(parts):
            return frozenset().union(*map(columns_of, parts))


class _Parser:
    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text = text
        self._fields = {field.name: field for field in schema}
        self._tokens = list(self._lex())
        self._at = 0

    def parse(self) -> Node:
        node = self._either()
        if self._at < len(self._tokens):
            self._fail(f"there is {self._tokens[self._at][1]!r} after its end")
        return node

    def _fail(self, found: str) -> NoReturn:
        raise PredicateError(
            f"predicate {self._text!r} cannot be used here",
            found,
            "Compare columns with values; combine with AND, OR, NOT, IN, BETWEEN and IS NULL.",
        )

    def _lex(self) -> Iterator[tuple[str, str]]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                self._fail(f"{self._text[at : at + 12]!r} is not understood")
            at = match.end()
            yield str(match.lastgroup), match[str(match.lastgroup)]

    def _peek(self) -> str:
        if self._at == len(self._tokens):
            return ""
        kind, text = self._tokens[self._at]
        return text.lower() if kind in ("word", "sign") else ""

    def _take(self, *words: str) -> bool:
        found = self._peek() in words
        self._at += found
        return found

    def _expect(self, word: str) -> None:
        if not self._take(word):
            self._fail(f"{word.upper()!r} is missing")

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self) -> Node:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self) -> Node:
        if self._take("not"):
            return negate(self._one())
        if self._take("("):
            node = self._either()
            self._expect(")")
            return node
        return self._leaf()

    def _leaf(self) -> Node:
        field = self._column()
        if field is None:
            return self._value_first()
        if self._take("is"):
            negated = self._take("not")
            self._expect("null")
            return IsNull(field.name, negated)
        negated = self._take("not")
        node = self._listed(field)
        if node is not None:
            return negate(node) if negated else node
        return self._fail("NOT stands in a wrong place") if negated else self._compared(field)

    def _listed(self, field: pa.Field[Any]) -> Node | None:
        if self._take("between"):
            low = self._value(field)
            self._expect("and")
            return All((Compare(field.name, ">=", low), Compare(field.name, "<=", self._value(field))))
        if not self._take("in"):
            return None
        self._expect("(")
        parts: list[Node] = [Compare(field.name, "=", self._value(field))]
        while self._take(","):
            parts.append(Compare(field.name, "=", self._value(field)))
        self._expect(")")
        return Some(tuple(parts))

    def _compared(self, field: pa.Field[Any]) -> Node:
        if self._peek() in _SIGNS:
            self._at += 1
            sign = _SIGNS[self._tokens[self._at - 1][1]]
            return Compare(field.name, sign, self._value(field))
        if pa.types.is_boolean(field.type):
            return Compare(field.name, "=", True)
        return self._fail(f"{field.name!r} is not compared with a value")

    def _value_first(self) -> Node:
        literal = self._literal()
        if self._peek() in _SIGNS:
            self._at += 1
            sign = _FLIPPED[_SIGNS[self._tokens[self._at - 1][1]]]
            field = self._column()
            if field is None:
                self._fail("neither side of a comparison is a column")
            return Compare(field.name, sign, self._typed(literal, field))
        if literal is None or isinstance(literal, bool):
            return Constant(literal)
        return self._fail("a value stands where a condition should")

    def _column(self) -> pa.Field[Any] | None:
        if self._at == len(self._tokens):
            self._fail("it ends too early")
        kind, text = self._tokens[self._at]
        if kind == "quoted":
            name = text[1:-1].replace('""', '"')
        elif kind == "word" and text.lower() not in _KEYWORDS and not self._is_typed_literal():
            name = text
        else:
            return None
        if name not in self._fields:
            self._fail(f"there is no column {name!r}; it has {', '.join(list(self._fields)[:8])}")
        self._at += 1
        return self._fields[name]

    def _is_typed_literal(self) -> bool:
        after = self._tokens[self._at + 1][0] if self._at + 1 < len(self._tokens) else ""
        return self._peek() in ("date", "timestamp") and after == "string"

    def _value(self, field: pa.Field[Any]) -> Value | None:
        return self._typed(self._literal(), field)

    def _literal(self) -> Value | None:
        if self._at == len(self._tokens):
            self._fail("it ends too early")
        if self._take("-"):
            value = self._literal()
            return -value if isinstance(value, (int, Decimal)) else self._fail("only numbers can be negative")
        if self._is_typed_literal():
            self._at += 1
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return int(text) if text.isdigit() else Decimal(text)
        words: dict[str, bool | None] = {"null": None, "true": True, "false": False}
        if kind == "word" and text.lower() in words:
            return words[text.lower()]
        return self._fail(f"{text!r} is not a value")

    def _typed(self, value: Value | None, field: pa.Field[Any]) -> Value | None:
        try:
            return None if value is None else typed_value(value, field.type)
        except (ValueError, ArithmeticError):
            self._fail(f"{value!r} cannot be compared with {field.name!r} of type {field.type}")


def typed_value(value: Value, kind: pa.DataType) -> Value:
    """Return a value as one that compares with a type, or raise ValueError."""
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        if number:
            return value
    elif pa.types.is_floating(kind):
        if number:
            return float(value)  # type: ignore[arg-type]
    elif pa.types.is_boolean(kind):
        if isinstance(value, bool):
            return value
    elif isinstance(value, str):
        return _typed_text(value, kind)
    raise ValueError(value)


def _typed_text(value: str, kind: pa.DataType) -> Value:
    if pa.types.is_string(kind):
        return value
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if pa.types.is_timestamp(kind):
        parsed = datetime.fromisoformat(value)
        zone = UTC if kind.tz else None
        return parsed.astimezone(zone) if parsed.tzinfo and zone else parsed.replace(tzinfo=zone)
    raise ValueError(value)
