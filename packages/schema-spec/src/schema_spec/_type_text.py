"""The text form of types: a small recursive-descent parser with a memo."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from schema_spec.columns import ColumnSpec, StructType
from schema_spec.errors import SpecError, SpecSyntaxError, SpecTypeError, closest, shown
from schema_spec.types import (
    MAX_DEPTH,
    PRIMITIVES,
    VOID,
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
)

_ALIASES: Final = {
    "bool": "boolean",
    "tinyint": "byte",
    "int8": "byte",
    "smallint": "short",
    "int16": "short",
    "int": "integer",
    "int32": "integer",
    "bigint": "long",
    "int64": "long",
    "real": "float",
    "float32": "float",
    "float64": "double",
    "utf8": "string",
    "text": "string",
    "varchar": "string",
    "bytea": "binary",
    "blob": "binary",
    "varbinary": "binary",
    "date32": "date",
    "timestamptz": "timestamp",
    "timestamp_ltz": "timestamp",
}
_NAMES: Final = {name: PrimitiveType(name) for name in (*PRIMITIVES, VOID)} | {
    alias: PrimitiveType(name) for alias, name in _ALIASES.items()
}
_NESTED: Final = ("array", "list", "map", "struct", "decimal", "numeric")
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w.]*)|(?P<quoted>`(?:[^`]|``)*`)|(?P<text>'(?:[^']|'')*')|(?P<number>[0-9]+)|(?P<mark>[<>(),:]))"
)


@lru_cache(maxsize=2048)
def parse_type(text: str) -> DataType:
    """Parse the text form of a type."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        position, end = 0, len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self._error(f"unexpected {self.text[position:].strip()[0]!r}")
            tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()
        return tokens

    def whole(self) -> DataType:
        parsed = self._semantic(self._type(0))
        if self.at != len(self.tokens):
            raise self._error(f"unexpected {self.tokens[self.at][1]!r} after the type")
        return parsed

    def _error(self, found: str) -> SpecError:
        return SpecSyntaxError(
            f"not a type: {shown(self.text)}",
            found,
            "Write something like long, decimal(10,2) or array<struct<a: long not null>>.",
            value=self.text,
        )

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "the end")

    def _accept(self, *words: str) -> bool:
        """Take the given words, in any case, or nothing."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if [value.lower() for _, value in ahead] != list(words):
            return False
        self.at += len(words)
        return True

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise self._error(f"expected {mark!r}, found {self._peek()[1]!r}")

    def _take(self, *kinds: str) -> str:
        kind, value = self._peek()
        if kind not in kinds:
            raise self._error(f"expected a {kinds[0]}, found {shown(value)}")
        self.at += 1
        return value[1:-1].replace("``", "`") if kind == "quoted" else value

    def _type(self, depth: int) -> DataType:
        if depth > MAX_DEPTH:
            raise SpecTypeError(f"a type nested deeper than {MAX_DEPTH}", fix="Flatten it.")
        name = self._take("name")
        lower = name.lower()
        if lower in ("array", "list"):
            return self._array(depth)
        if lower == "map":
            return self._map(depth)
        if lower == "struct":
            return self._struct(depth)
        if lower in ("decimal", "numeric"):
            return self._decimal()
        if lower not in _NAMES:
            raise SpecTypeError(f"no type {name!r}", fix=closest(lower, [*PRIMITIVES, *_NESTED]), value=name)
        return _NAMES[lower]

    def _semantic(self, storage: DataType) -> DataType:
        return SemanticType(self._take("name"), storage) if self._accept("as") else storage

    def _array(self, depth: int) -> DataType:
        self._expect("<")
        element = self._semantic(self._type(depth + 1))
        contains_null = not self._accept("not", "null")
        self._expect(">")
        return ArrayType(element, contains_null)

    def _map(self, depth: int) -> DataType:
        self._expect("<")
        key = self._semantic(self._type(depth + 1))
        self._accept("not", "null")
        self._expect(",")
        value = self._semantic(self._type(depth + 1))
        contains_null = not self._accept("not", "null")
        self._expect(">")
        return MapType(key, value, contains_null)

    def _struct(self, depth: int) -> DataType:
        self._expect("<")
        fields = [self._field(depth)]
        while self._accept(","):
            fields.append(self._field(depth))
        self._expect(">")
        return StructType(tuple(fields))

    def _field(self, depth: int) -> ColumnSpec:
        name = self._take("name", "quoted")
        self._accept(":")
        kind = self._semantic(self._type(depth + 1))
        nullable = not self._accept("not", "null")
        comment = self._take("text")[1:-1].replace("''", "'") if self._accept("comment") else None
        return ColumnSpec(name, kind, nullable=nullable, comment=comment)

    def _decimal(self) -> DataType:
        if not self._accept("("):
            return DecimalType(10, 0)
        precision = int(self._take("number")[:9])
        scale = int(self._take("number")[:9]) if self._accept(",") else 0
        self._expect(")")
        return DecimalType(precision, scale)
