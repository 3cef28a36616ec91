"""The engine's refusals, retold with the line, a caret and the names that were close."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from datafusion_ext import Engine, EngineError
from delta_io import DeltaIoError
from df_runtime import errors
from df_runtime._lexer import Token, has_second_statement, offset_of, position, tokens
from df_runtime._names import TableName, quote_if_needed
from df_runtime._references import column_aliases, mentioned

_SQL_ERRORS: dict[str, type[errors.SqlError]] = {
    "engine-sql-syntax": errors.SqlSyntaxError,
    "engine-table-unknown": errors.UnknownTableError,
    "engine-column-unknown": errors.UnknownColumnError,
    "engine-column-ambiguous": errors.AmbiguousColumnError,
    "engine-function-unknown": errors.UnknownFunctionError,
    "engine-not-allowed": errors.PolicyError,
    "engine-type": errors.SqlTypeError,
    "engine-unsupported": errors.SqlUnsupportedError,
}
_EXECUTION_ERRORS: dict[str, type[errors.ExecutionError]] = {
    "engine-callback": errors.ExecutionError,
    "engine-execution": errors.ExecutionError,
    "engine-internal": errors.ExecutionError,
    "engine-plan-bytes": errors.ExecutionError,
    "engine-storage": errors.ExecutionError,
    "engine-forked": errors.ExecutionError,
    "engine-resources": errors.ResourceError,
    "engine-limit": errors.QueryLimitError,
    "engine-timeout": errors.QueryTimeoutError,
    "engine-stream-consumed": errors.StreamConsumedError,
    "engine-cancelled": errors.CancelledError,
}
_HINTS: dict[type[errors.ExecutionError], str] = {
    errors.QueryLimitError: " Add a LIMIT, or raise `max_rows` of the policy.",
    errors.QueryTimeoutError: " Ask for less, or raise `timeout` of the policy and of the profile.",
    errors.ResourceError: (
        " Raise `memory_limit_bytes` of the profile, or set `spill_directory` to a larger disk."
    ),
}
_TRUST = "Pass `policy=SqlPolicy.trusted()` if the text comes from a source that may do this."
_LONGEST_NAME = 128
_SHOWN_BEFORE, _SHOWN_AFTER = 80, 120
_MOST_SUGGESTIONS = 3
_MOST_LISTED = 12


class Names:
    """The names that a query can use."""

    def __init__(self, engine: Engine, tables: list[TableName], written: Callable[[TableName], str]) -> None:
        self._engine = engine
        self._tables = tables
        self._written = written

    def tables(self) -> list[str]:
        """Every table, as SQL needs it written."""
        return [self._written(name) for name in self._tables]

    def functions(self) -> list[str]:
        """Every function."""
        return self._engine.functions()

    def columns(self, query: str) -> list[str]:
        """Columns of the tables that the text mentions, and names that it gives to columns itself."""
        found: dict[str, None] = {}
        for table in sorted(mentioned(query, self._tables)):
            try:
                schema = pa.schema(self._engine.schema(table.quoted()))
            except EngineError:  # a view whose table is gone has no columns to suggest
                continue
            found.update(dict.fromkeys(schema.names))
        found.update(dict.fromkeys(column_aliases(query)))
        return list(found)


def diagnose(error: EngineError, query: str, names: Names) -> errors.DfRuntimeError:
    """Turn an error of the engine into one of ours, with everything that helps to repair the query."""
    raise_cause(error)
    if error.code in _EXECUTION_ERRORS:
        return execution_error(error.code, error.message)
    second = has_second_statement(query)
    if second is not None and error.code != "engine-not-allowed":
        return second_statement(query, second)
    if "RecursionLimitExceeded" in error.message:
        return too_deep(query)
    return _sql_error(error, query, names)


def too_deep(query: str) -> errors.SqlError:
    """Say that a text is nested deeper than the parsers go."""
    message = "The text is nested deeper than can be planned. Name inner queries with WITH."
    return errors.SqlLimitError(message, query=query)


def second_statement(query: str, second: Token) -> errors.SqlError:
    """Say where a second statement starts."""
    headline = f"A second statement starts with {second.text[:_LONGEST_NAME]!r}"
    finding = _Finding(headline, advice="Run one statement at a time.")
    return _located(errors.MultipleStatementsError, finding, query, second)


def refusal(query: str, what: str, name: str = "") -> errors.SqlError:
    """Say what a policy does not allow, and where the name in question stands."""
    written = {name.lower(), f"'{name.lower()}'"} if name else set[str]()
    token = next((word for word in tokens(query) if word.name.lower() in written), None)
    return _located(errors.PolicyError, _Finding(what, advice=_TRUST), query, token)


def raise_cause(error: EngineError) -> None:
    """Raise what a function of ours raised when the engine called it."""
    if isinstance(error.__cause__, (errors.DfRuntimeError, DeltaIoError)):
        raise error.__cause__


def execution_error(code: str, message: str) -> errors.ExecutionError:
    """Turn a failure while running into an error of ours."""
    kind = _EXECUTION_ERRORS.get(code, errors.ExecutionError)
    hint = _HINTS.get(kind, "")
    return kind(f"The query failed: {_sentence(message)}{hint}")


class _Finding(NamedTuple):
    headline: str
    suggestions: Sequence[str] = ()
    advice: str = ""

    def repair(self) -> str:
        closest = f"Did you mean {' or '.join(self.suggestions)}?" if self.suggestions else ""
        return " ".join(part for part in (self.advice, closest) if part)


def _sql_error(error: EngineError, query: str, names: Names) -> errors.SqlError:
    kind = _SQL_ERRORS.get(error.code, errors.SqlError)
    token = _culprit(error, query)
    if kind in _UNKNOWN:
        written = error.name or (token.name if token else "")
        finding = _UNKNOWN[kind](written, query, names)
        if kind is errors.UnknownFunctionError and written.lower() in names.functions():
            finding = _Finding(error.message.rstrip("."), advice="Cast the arguments.")
    elif kind is errors.PolicyError:
        finding = _Finding(error.message.rstrip("."), advice=_TRUST)
    elif kind is errors.SqlSyntaxError:
        finding = _Finding("Not SQL", _keywords(token), _sentence(error.message))
    else:
        finding = _Finding(error.message.rstrip("."))
    return _located(kind, finding, query, token)


def _unknown_table(written: str, query: str, names: Names) -> _Finding:
    del query
    tables = names.tables()
    close = _close_tables(_last_part(written), tables)
    return _Finding(f"Unknown table {written!r}", close, "" if close else _listed("Tables", tables))


def _unknown_column(written: str, query: str, names: Names) -> _Finding:
    name = _last_part(written)
    columns = names.columns(query)
    close = _close(name, columns)
    advice = "" if close else _listed("Columns in scope", [quote_if_needed(column) for column in columns])
    if any(column != name and column.lower() == name.lower() for column in close):
        advice = "Names without quotes are lower-cased, and the column's is not lower case."
    return _Finding(f"Unknown column {written!r}", [quote_if_needed(column) for column in close], advice)


def _unknown_function(written: str, query: str, names: Names) -> _Finding:
    del query
    close = _close(_last_part(written), names.functions())
    advice = "" if close else "`information_schema.routines` lists all functions."
    return _Finding(f"Unknown function {written!r}", close, advice)


_UNKNOWN: dict[type[errors.SqlError], Callable[[str, str, Names], _Finding]] = {
    errors.UnknownTableError: _unknown_table,
    errors.UnknownColumnError: _unknown_column,
    errors.UnknownFunctionError: _unknown_function,
}


def _located(
    kind: type[errors.SqlError], finding: _Finding, query: str, token: Token | None
) -> errors.SqlError:
    suggestions = tuple(finding.suggestions)
    if token is None:
        message = f"{_sentence(finding.headline)} {finding.repair()}"
        return kind(message.rstrip(), query=query, suggestions=suggestions)
    line, column = position(query, token.start)
    text, before = _excerpt(query.split("\n")[line - 1], column - 1)
    width = max(1, min(len(token.text.split("\n")[0]), len(text) - before))
    # Tabs are kept, so that the caret stands under its word at any tab width.
    indent = "".join(char if char == "\t" else " " for char in text[:before])
    place = f"at line {line}, column {column}:\n    {text}\n    {indent}{'^' * width}"
    message = f"{finding.headline}, {place}\n{finding.repair()}"
    return kind(message, query=query, line=line, column=column, suggestions=suggestions)


def _excerpt(line: str, at: int) -> tuple[str, int]:
    """Cut a long line down to what surrounds a place in it."""
    start, end = max(0, at - _SHOWN_BEFORE), at + _SHOWN_AFTER
    head, tail = "…" if start else "", "…" if end < len(line) else ""
    return f"{head}{line[start:end]}{tail}", at - start + len(head)


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_LISTED]) or "none"
    return f"{what}: {shown}{', …' if len(names) > _MOST_LISTED else ''}."


def _culprit(error: EngineError, query: str) -> Token | None:
    """Find the word that the error is about: at its position, else the first one of its name."""
    words = tokens(query)
    if error.line and error.column:
        offset = offset_of(query, error.line, error.column)
        at = next(
            (index for index, word in enumerate(words) if offset is not None and word.start >= offset), None
        )
        if at is not None:
            return _end_of_chain(words, at) if error.code in _NAMED else words[at]
        return Token("other", "", len(query.rstrip()))
    name = _last_part(error.name or "")
    return next((word for word in words if name and word.name.lower() == name.lower()), None)


_NAMED = frozenset({"engine-table-unknown", "engine-column-unknown"})


def _end_of_chain(words: list[Token], at: int) -> Token:
    """In `sales.orders.amout`, what is unknown is the last part."""
    while at + 2 < len(words) and words[at + 1].text == "." and words[at + 2].kind in {"word", "quoted"}:
        at += 2
    return words[at]


def _close(name: str, known: Iterable[str]) -> list[str]:
    """Names that differ from `name` by little, a difference in case alone first."""
    if len(name) > _LONGEST_NAME:  # comparing takes time that grows with the square of the length
        return []
    by_lower: dict[str, list[str]] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), []).append(candidate)
    close = difflib.get_close_matches(name.lower(), by_lower, n=_MOST_SUGGESTIONS, cutoff=0.6)
    return [candidate for lower in close for candidate in by_lower[lower]][:_MOST_SUGGESTIONS]


def _close_tables(name: str, tables: list[str]) -> list[str]:
    by_last: dict[str, list[str]] = {}
    for table in tables:
        by_last.setdefault(_last_part(table), []).append(table)
    return [table for last in _close(name, by_last) for table in by_last[last]][:_MOST_SUGGESTIONS]


def _last_part(name: str) -> str:
    words = [word for word in tokens(name) if word.text != "."]
    whole = "".join(word.text for word in words) if words and words[-1].kind not in {"word", "quoted"} else ""
    return whole or (words[-1].name if words else name)


def _keywords(token: Token | None) -> tuple[str, ...]:
    if token is None or token.kind != "word":
        return ()
    close = _close(token.text, _KEYWORDS)
    return tuple(close) if close and close[0].lower() != token.text.lower() else ()


_KEYWORDS = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "OUTER",
    "CROSS",
    "LATERAL",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "DISTINCT",
    "VALUES",
    "WITH",
    "RECURSIVE",
    "BETWEEN",
    "EXISTS",
    "INTERVAL",
    "PARTITION",
    "WINDOW",
    "UNNEST",
    "EXPLAIN",
]


def _sentence(message: str) -> str:
    text = message.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."
