"""PREPARE, EXECUTE and DEALLOCATE: the prepared statements of a session, in SQL.

The engine keeps statements of its own, which would stay bound to the versions that tables had when they
were prepared. These follow the tables, and the engine computes their values from the expressions in EXECUTE.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from df_runtime._dialect import tokenized
from df_runtime._names import ascii_lower
from df_runtime._observer import of_our_own
from df_runtime.errors import ParameterError, PreparedError, SqlSyntaxError
from df_runtime.policy import SqlPolicy
from df_runtime.prepared import Prepared
from df_runtime.result import Result

_VERBS = frozenset({"PREPARE", "EXECUTE", "DEALLOCATE"})
_READING = SqlPolicy.read_only()


class _Entry(NamedTuple):
    prepared: Prepared
    types: tuple[str, ...]


class Statements:
    """The prepared statements of one session, by name."""

    def __init__(
        self,
        prepare: Callable[[str, str, SqlPolicy], Prepared],
        sql: Callable[[str, SqlPolicy], Result],
    ) -> None:
        self._prepare = prepare
        self._sql = sql
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def put(self, prepared: Prepared) -> None:
        """Make a statement known under its name, in place of what had the name before."""
        with self._lock:
            self._entries[prepared.name] = _Entry(prepared, ())

    def handled(self, query: str, policy: SqlPolicy) -> Result | None:
        """Run a text if it is about prepared statements."""
        if not _may_be_ours(query):
            return None
        words = _words(query)
        verb = words[0].text.upper() if words else ""
        if verb not in _VERBS:
            return None
        if verb == "PREPARE":
            return self._run_prepare(query, words, policy)
        if verb == "EXECUTE":
            return self._run_execute(query, words, policy)
        return self._run_deallocate(query, words)

    def _run_prepare(self, query: str, words: Sequence[Token], policy: SqlPolicy) -> Result:
        name, at = _name(query, words, 1)
        types: tuple[str, ...] = ()
        if at < len(words) and words[at].text == "(":
            types, at = _listed(query, words, at)
        if at + 1 >= len(words) or words[at].text.upper() != "AS":
            raise SqlSyntaxError("PREPARE is written PREPARE name (types) AS statement.", query=query)
        with self._lock:
            if name in self._entries:
                raise PreparedError(f"A statement {name!r} is prepared already. DEALLOCATE it first.")
        prepared = self._prepare(name, query[words[at + 1].start :], policy)
        with self._lock:
            self._entries[name] = _Entry(prepared, types)
        return self._nothing()

    def _run_execute(self, query: str, words: Sequence[Token], policy: SqlPolicy) -> Result:
        name, at = _name(query, words, 1)
        values: tuple[str, ...] = ()
        if at < len(words) and words[at].text == "(":
            values, at = _listed(query, words, at)
        if at < len(words):
            raise SqlSyntaxError("EXECUTE is written EXECUTE name (values).", query=query)
        entry = self._entry(name)
        if entry.types and len(entry.types) != len(values):
            raise ParameterError(
                f"Statement {name!r} takes {len(entry.types)} values, found {len(values)}.", query=query
            )
        return entry.prepared.execute_row(self._row(entry, values), policy)

    def _run_deallocate(self, query: str, words: Sequence[Token]) -> Result:
        start = 2 if len(words) > 2 and words[1].text.upper() == "PREPARE" else 1
        name, at = _name(query, words, start)
        if at < len(words):
            raise SqlSyntaxError("DEALLOCATE is written DEALLOCATE name.", query=query)
        self._entry(name)
        with self._lock:
            self._entries.pop(name, None)
        return self._nothing()

    def _row(self, entry: _Entry, values: Sequence[str]) -> pa.RecordBatch | None:
        """Let the engine compute the values."""
        written = set(entry.prepared.parameters)
        given = {str(number) for number in range(1, len(values) + 1)}
        if written != given:
            raise ParameterError(
                f"Statement {entry.prepared.name!r} has the parameters {_dollars(written)}; "
                f"EXECUTE gives {_dollars(given)}.",
                query=entry.prepared.query,
            )
        if not values:
            return None
        typed = (
            f"CAST((\n{value}\n) AS {entry.types[index]})" if entry.types else f"(\n{value}\n)"
            for index, value in enumerate(values)
        )
        columns = (f'{text} AS "{number}"' for number, text in enumerate(typed, start=1))
        with of_our_own():
            table = self._sql(f"SELECT {', '.join(columns)}", _READING).to_arrow()
        return table.combine_chunks().to_batches()[0]

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            entry = self._entries.get(name)
            known = ", ".join(sorted(self._entries)) or "none"
        if entry is None:
            raise PreparedError(f"No statement {name!r} is prepared; there are: {known}.")
        return entry

    def _nothing(self) -> Result:
        with of_our_own():
            return self._sql("FROM (SELECT 1) LIMIT 0", _READING)


def _may_be_ours(query: str) -> bool:
    """Look at the first word of a text, past white space; comments in front take the long way."""
    start = query.lstrip()[:10].upper()
    return start.startswith(("PREPARE", "EXECUTE", "DEALLOCATE", "--", "/*"))


def _words(query: str) -> list[Token]:
    try:
        found = tokenized(query)
    except SqlglotError:
        return []
    while found and found[-1].token_type == TokenType.SEMICOLON:
        found.pop()
    return found


def _name(query: str, words: Sequence[Token], at: int) -> tuple[str, int]:
    if at >= len(words) or not (
        words[at].text.isidentifier() or words[at].token_type == TokenType.IDENTIFIER
    ):
        raise SqlSyntaxError("The name of the prepared statement is missing.", query=query)
    quoted = words[at].token_type == TokenType.IDENTIFIER
    return words[at].text if quoted else ascii_lower(words[at].text), at + 1


def _listed(query: str, words: Sequence[Token], at: int) -> tuple[tuple[str, ...], int]:
    """Split what stands in parentheses at its own commas."""
    found: list[str] = []
    depth, start = 0, words[at].end + 1
    for index in range(at, len(words)):
        word = words[index]
        if word.token_type in _OPENING:
            depth += 1
        elif word.token_type in _CLOSING:
            depth -= 1
        if depth == 0 or (depth == 1 and word.token_type == TokenType.COMMA):
            found.append(query[start : word.start].strip())
            start = word.end + 1
        if depth == 0:
            return (() if found == [""] else tuple(found)), index + 1
    raise SqlSyntaxError("A parenthesis is not closed.", query=query)


_OPENING = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE})
_CLOSING = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE})


def _dollars(names: set[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names)) or "none"
