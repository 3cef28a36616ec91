"""Predicates over columns: a small part of SQL, to prune files and filter rows without an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn, cast

import pyarrow as pa
from msgspec import Struct

from delta_io._arguments import check_text
from delta_io.errors import PredicateError

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<quoted>"(?:[^"]|"")+"|`[^`]+`)|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|==|[]=<>(),.[-]))""",
    re.VERBOSE,
)
_SIGNS: Final = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_FLIPPED: Final = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED: Final = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_MOST_DIGITS: Final = 38
_KEYWORDS: Final = frozenset(
    {"and", "or", "not", "in", "is", "null", "between", "true", "false", "like", "case", "cast"}
)

_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_LIST: Final = re.compile(r"\bIN\s*\(([^()]*)\)", re.IGNORECASE)
_NULL: Final = re.compile(r"\bNULL\b", re.IGNORECASE)

Value = bool | int | float | Decimal | str | date | datetime | bytes


Path = tuple[str, ...]


class Compare(Struct, frozen=True):
    """A column, or a field within one, compared with a value; a null value makes it unknown."""

    column: Path
    sign: str
    value: Value | None


class IsNull(Struct, frozen=True):
    """A column, or a field within one, is null, or is not."""

    column: Path
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
    check_text(text, "a predicate")
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
            return frozenset(column[:1])
        case Constant():
            return frozenset()
        case All(parts) | Some(parts):
            return frozenset().union(*map(columns_of, parts))


def leaves(node: Node) -> Iterator[Compare | IsNull]:
    """Yield the conditions of a predicate on single columns."""
    match node:
        case Compare() | IsNull():
            yield node
        case All(parts) | Some(parts):
            for part in parts:
                yield from leaves(part)
        case _:
            return


def kind_of(schema: pa.Schema, path: Path) -> pa.DataType:
    """Return the type of a column, or of a field within one; raise `KeyError` when there is none."""
    kind = pa.struct(list(schema))
    for name in path:
        index = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
        if index < 0:
            raise KeyError(name)
        kind = cast("Any", kind.field(index).type)
    return kind


class _Column(Struct, frozen=True, kw_only=True):
    path: Path
    kind: Any

    @property
    def shown(self) -> str:
        return ".".join(self.path)


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
        column = self._column()
        if column is None:
            return self._value_first()
        if self._take("is"):
            negated = self._take("not")
            self._expect("null")
            return IsNull(column.path, negated)
        negated = self._take("not")
        node = self._listed(column)
        if node is not None:
            return negate(node) if negated else node
        return self._fail("NOT stands in a wrong place") if negated else self._compared(column)

    def _listed(self, field: _Column) -> Node | None:
        if self._take("between"):
            low = self._value(field)
            self._expect("and")
            return All((Compare(field.path, ">=", low), Compare(field.path, "<=", self._value(field))))
        if not self._take("in"):
            return None
        self._expect("(")
        parts: list[Node] = [Compare(field.path, "=", self._value(field))]
        while self._take(","):
            parts.append(Compare(field.path, "=", self._value(field)))
        self._expect(")")
        return Some(tuple(parts))

    def _compared(self, field: _Column) -> Node:
        if self._peek() in _SIGNS:
            self._at += 1
            sign = _SIGNS[self._tokens[self._at - 1][1]]
            return Compare(field.path, sign, self._value(field))
        if pa.types.is_boolean(field.kind):
            return Compare(field.path, "=", True)
        return self._fail(f"{field.shown!r} is not compared with a value")

    def _value_first(self) -> Node:
        literal = self._literal()
        if self._peek() in _SIGNS:
            self._at += 1
            sign = _FLIPPED[_SIGNS[self._tokens[self._at - 1][1]]]
            field = self._column()
            if field is None:
                self._fail("neither side of a comparison is a column")
            return Compare(field.path, sign, self._typed(literal, field))
        if literal is None or isinstance(literal, bool):
            return Constant(literal)
        return self._fail("a value stands where a condition should")

    def _column(self) -> _Column | None:
        field = self._top_column()
        if field is None:
            return None
        column = _Column(path=(field.name,), kind=field.type)
        while self._peek() in (".", "["):
            column = self._within(column)
        return column

    def _within(self, column: _Column) -> _Column:
        """Return the field of a struct that comes next: after a point, or as a text in brackets."""
        bracket = self._take("[")
        if not bracket:
            self._expect(".")
        if self._at == len(self._tokens):
            self._fail("it ends too early")
        kind, text = self._tokens[self._at]
        name = text if kind == "word" else text[1:-1].replace("''", "'").replace('""', '"')
        self._at += 1
        if bracket:
            self._expect("]")
        index = column.kind.get_field_index(name) if pa.types.is_struct(column.kind) else -1  # type: ignore[attr-defined] -- of structs
        if index < 0:
            self._fail(f"{column.shown!r} has no field {name!r}")
        return _Column(path=(*column.path, name), kind=column.kind.field(index).type)

    def _top_column(self) -> pa.Field[Any] | None:
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

    def _value(self, field: _Column) -> Value | None:
        return self._typed(self._literal(), field)

    def _literal(self) -> Value | None:
        if self._at == len(self._tokens):
            self._fail("it ends too early")
        if self._take("-"):
            value = self._literal()
            if isinstance(value, Decimal):
                return value.copy_negate()  # the operator rounds
            return -value if isinstance(value, int) else self._fail("only numbers can be negative")
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

    def _typed(self, value: Value | None, field: _Column) -> Value | None:
        try:
            return None if value is None else typed_value(value, field.kind)
        except (ValueError, ArithmeticError):
            self._fail(f"{value!r} cannot be compared with {field.shown!r} of type {field.kind}")


def typed_value(value: Value, kind: pa.DataType) -> Value:
    """Return a value as one that compares with a type, or raise ValueError."""
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        if number and _is_moderate(Decimal(cast("int | Decimal", value))):
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


def _is_moderate(value: Decimal) -> bool:
    """Tell whether a number has so few digits, on both sides of the point, that decimals hold it."""
    digits, exponent = len(value.as_tuple().digits), value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_MOST_DIGITS and digits + exponent <= _MOST_DIGITS


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


def texts_in(text: str) -> list[str]:
    """Return the texts that stand in a predicate."""
    return [each[1:-1].replace("''", "'") for each in _TEXT.findall(text)]


def joins_lists(text: str) -> bool:
    """Tell whether there are several lists: engines join them, and may take an empty one for false."""
    return len(_LIST.findall(_TEXT.sub("''", text))) > 1


def joins_null(text: str) -> bool:
    """Tell whether a list with NULL stands beside another list: engines join them, and drop the NULL."""
    lists = _LIST.findall(_TEXT.sub("''", text))
    return len(lists) > 1 and any(_NULL.search(each) for each in lists)
