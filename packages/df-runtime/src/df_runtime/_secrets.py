"""Keys and passwords that stand in a statement, kept out of everything that is told of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from df_runtime._lexer import Token, is_opaque, tokens
from df_runtime._sanitise import place
from df_runtime.errors import DfRuntimeError, SqlError

# What their values say of a table is no secret, and errors quote it.
PUBLIC_OPTIONS: Final = frozenset(
    [
        "file_column",
        "files",
        "pushdown",
        "row_index_column",
        "schema",
        "schema_spec.contract",
        "timestamp",
        "version",
        "view_types",
        "wrap_partition_values",
    ]
)
_MASK: Final = "***"
_SHORTEST: Final = 4
_MAY_HOLD: Final = ("external", "options", "copy")


def masked(query: str) -> str:
    """Write a text with stars for the values of its options, every other character in its place."""
    shown = list(query)
    for token in _secrets(query):
        for at in range(token.start, token.start + len(token.text)):
            shown[at] = shown[at] if shown[at] in "\n'\"" else "*"
    return "".join(shown)


@contextmanager
def hiding(query: object) -> Generator[None]:
    """Keep the values of options in a text out of every error that is raised over it."""
    try:
        yield
    except DfRuntimeError as error:
        if isinstance(query, str) and any(word in query.lower() for word in _MAY_HOLD):
            _hide(error, query)
        raise


def _hide(error: DfRuntimeError, query: str) -> None:
    found = _secrets(query)
    values = {value for token in found for value in (token.text.strip("'\""), token.name, _unquoted(token))}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            error.message = error.message.replace(value, _MASK)
    if isinstance(error, SqlError):
        error.query = masked(error.query)
    if found:
        # What the engine said may quote the text.
        error.__cause__ = error.__context__ = None
        error.args = (error.message,)


def _unquoted(token: Token) -> str:
    return token.text[1:-1].replace("''", "'")


def _secrets(query: str) -> list[Token]:
    """Find the values in OPTIONS (…), and a place that holds more than a place."""
    words = tokens(query)
    if not words or words[0].text.upper() not in {"CREATE", "COPY", "EXPLAIN", "PREPARE"}:
        return []
    if is_opaque(query):
        return [word for word in words if word.kind in {"string", "quoted", "other"}]
    found: list[Token] = []
    for at, word in enumerate(words):
        if word.kind == "word" and word.text.upper() == "OPTIONS":
            found += _values(words, at + 1)
        elif word.kind == "string" and place(_unquoted(word)) != _unquoted(word):
            found.append(word)
    return found


def _values(words: Sequence[Token], at: int) -> list[Token]:
    """Return what follows the keys in a list of options."""
    found: list[Token] = []
    key: list[str] = []
    has_key = False
    for word in words[at:]:
        if word.text == ")":
            break
        if word.text in {"(", ","}:
            key, has_key = [], False
        elif not has_key and (not key or word.text == "." or key[-1] == "."):
            key.append(word.text.strip("'\""))
        elif "".join(key).lower() not in PUBLIC_OPTIONS:
            has_key = True
            found.append(word)
    return found
