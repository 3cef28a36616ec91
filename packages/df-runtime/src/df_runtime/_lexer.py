"""Just enough of SQL's words to point at them, and to tell two texts apart that mean the same."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from df_runtime._names import ascii_lower

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<line_comment>--[^\n]*)
      | (?P<block_comment>/\*)
      | (?P<string>'(?:[^']|'')*(?:'|\Z))
      | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
      | (?P<parameter>\$\w+)
      | (?P<word>[^\W\d][\w$@\#]*)
      | (?P<number>\d[\w.]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")
_QUERY_WORDS = frozenset({"select", "with", "values", "from", "table"})


class Token(NamedTuple):
    """One word of a query; `start` counts characters from 0."""

    kind: str
    text: str
    start: int

    @property
    def name(self) -> str:
        """The identifier that the token stands for, quotes resolved, case kept."""
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text


def tokens(query: str) -> list[Token]:
    """Split a query into words; white space and comments are left out."""
    return [token for token in _scan(query) if token.kind not in {"space", "comment"}]


def canonical(query: str, *, normalize: bool) -> str:
    """Write texts that differ in white space and in the case of words alike.

    A text with comments, or with strings whose escapes are not modelled, is returned as it is: two texts
    must never become the same that the engine reads differently.
    """
    found = _scan(query)
    if _has_unmodelled(found) or any(token.kind == "comment" for token in found):
        return query
    return " ".join(
        ascii_lower(token.text) if normalize and token.kind == "word" else token.text
        for token in found
        if token.kind != "space"
    ).rstrip("; ")


def is_opaque(query: str) -> bool:
    """Whether the text may hold strings whose escapes are not modelled here."""
    return _has_unmodelled(_scan(query))


def _has_unmodelled(found: list[Token]) -> bool:
    """Look for prefixed strings (E'…', U&"…"), dollar quotes and back quotes."""
    if any(token.kind == "other" and token.text in {"$", "`"} for token in found):
        return True
    return any(
        token.kind in {"string", "quoted"} and (before.kind == "word" or before.text == "&")
        for before, token in pairwise(found)
    )


def has_second_statement(query: str) -> Token | None:
    """Find the first word after a semicolon."""
    ended = False
    for token in tokens(query):
        if ended and token.text != ";":
            return token
        ended = ended or token.text == ";"
    return None


def starts_query(text: str) -> bool:
    """Tell the text of a query from a path or URI, which could start with the same word."""
    words = [token for token in tokens(text) if token.text != "("][:2]
    if len(words) < 2 or words[0].text.lower() not in _QUERY_WORDS:
        return False
    first, second = words
    return second.start > first.start + len(first.text) or second.text[0] in "(\"'*"


def position(query: str, offset: int) -> tuple[int, int]:
    """Line and column, counted from 1, of a character offset."""
    before = query[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def offset_of(query: str, line: int, column: int) -> int | None:
    """Character offset of a line and column counted from 1, or None outside the text."""
    lines = query.split("\n")
    if not 1 <= line <= len(lines) or not 1 <= column <= len(lines[line - 1]) + 1:
        return None
    return sum(len(text) + 1 for text in lines[: line - 1]) + column - 1


def _scan(query: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None or match.lastgroup is None:  # every character matches one of the groups
            break
        kind, end = match.lastgroup, match.end()
        if kind == "block_comment":
            end = _end_of_block(query, at)
        found.append(Token("comment" if kind.endswith("comment") else kind, query[at:end], at))
        at = end
    return found


def _end_of_block(query: str, start: int) -> int:
    depth = 0
    for match in _BLOCK.finditer(query, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(query)
