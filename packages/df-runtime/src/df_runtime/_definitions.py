"""Statements that define or drop what a session follows: Delta tables and views."""

from __future__ import annotations

from typing import Literal, NamedTuple

from df_runtime._lexer import Token, tokens

What = Literal["external", "view", "made", "drop table", "drop view"]


class Definition(NamedTuple):
    """What a statement defines or drops.

    Attributes
    ----------
    query : str
        The statement.
    what : str
        An `external` table, a `view`, a table `made` in memory, or what is dropped.
    name : str
        The name, as it is written.
    replace : bool
        Whether it takes the place of what has the name.
    lenient : bool
        Whether IF EXISTS or IF NOT EXISTS stands there.
    has_columns : bool
        Whether a list of columns follows the name.
    rest : str
        What follows the name, without comments for views.
    """

    query: str
    what: What
    name: str
    replace: bool
    lenient: bool
    has_columns: bool
    rest: str


def read_definition(query: str) -> Definition | None:
    """Read the head of a statement; None for what the engine keeps to itself."""
    # Other texts, which are nearly all, pay no look at their words.
    if not query.lstrip()[:6].upper().startswith(("CREATE", "DROP", "--", "/*")):
        return None
    words = _Words(query)
    if words.accept("DROP"):
        what = _dropped(words)
        return (
            None if what is None else _named(words, what, replace=False, lenient=words.accept("IF", "EXISTS"))
        )
    if not words.accept("CREATE"):
        return None
    replace = words.accept("OR", "REPLACE")
    what = _created(words)
    if what is None:
        return None
    return _named(words, what, replace=replace, lenient=words.accept("IF", "NOT", "EXISTS"))


def is_definition(text: str) -> bool:
    """Tell a statement that defines a table from a path, which could start with the same word."""
    words = tokens(text)[:2] if text.lstrip()[:6].upper() == "CREATE" else []
    return len(words) == 2 and words[1].text.upper() in {"EXTERNAL", "OR", "TABLE", "UNBOUNDED", "VIEW"}


def view_query(definition: Definition) -> str | None:
    """Return the query of a view, with the names that the statement gives to its columns."""
    words = _Words(definition.rest)
    columns = words.parenthesis()
    if not words.accept("AS"):
        return None
    query = words.text_from_here()
    if columns is None:
        return query
    return f"SELECT * FROM (\n{query}\n) AS view_columns {columns}"


def _dropped(words: _Words) -> What | None:
    if words.accept("TABLE"):
        return "drop table"
    return "drop view" if words.accept("VIEW") else None


def _created(words: _Words) -> What | None:
    if words.accept("EXTERNAL", "TABLE"):
        return "external" if words.has("STORED", "AS", "DELTATABLE") else None
    if words.accept("VIEW"):
        return "view"
    return "made" if words.accept("TABLE") else None


def _named(words: _Words, what: What, *, replace: bool, lenient: bool) -> Definition | None:
    name = words.name()
    if name is None:
        return None
    rest = words.text_from_here()
    if what in {"drop table", "drop view"} and rest:
        return None
    return Definition(words.query, what, name, replace, lenient, rest.startswith("("), rest)


class _Words:
    """The words of a statement, read from left to right."""

    def __init__(self, query: str) -> None:
        self.query = query
        self._words = tokens(query)
        while self._words and self._words[-1].text == ";":
            self._words.pop()
        self._at = 0

    def accept(self, *expected: str) -> bool:
        if not self._stands(self._at, expected):
            return False
        self._at += len(expected)
        return True

    def has(self, *expected: str) -> bool:
        return any(self._stands(at, expected) for at in range(self._at, len(self._words)))

    def name(self) -> str | None:
        """Take a name with its parts."""
        start = self._at
        while self._peek().kind in {"word", "quoted"}:
            self._at += 1
            if self._peek().text != ".":
                return self._between(start, self._at)
            self._at += 1
        return None

    def parenthesis(self) -> str | None:
        """Take what stands in parentheses."""
        if self._peek().text != "(":
            return None
        start, depth = self._at, 0
        while self._at < len(self._words):
            depth += {"(": 1, ")": -1}.get(self._peek().text, 0)
            self._at += 1
            if depth == 0:
                break
        return self._between(start, self._at)

    def text_from_here(self) -> str:
        return self._between(self._at, len(self._words))

    def _between(self, start: int, end: int) -> str:
        if start >= end:
            return ""
        last = self._words[end - 1]
        return self.query[self._words[start].start : last.start + len(last.text)]

    def _peek(self) -> Token:
        return self._words[self._at] if self._at < len(self._words) else _END

    def _stands(self, at: int, expected: tuple[str, ...]) -> bool:
        found = self._words[at : at + len(expected)]
        return [word.text.upper() for word in found if word.kind == "word"] == list(expected)


_END = Token("other", "", -1)
