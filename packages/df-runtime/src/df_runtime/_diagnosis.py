"""The engine's refusals, retold with the line, a caret and the names that were close."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from datafusion_ext import Engine, EngineError
from delta_io import DeltaIoError
from df_runtime import errors
from df_runtime._engine_words import headline_and_advice, quoted_in
from df_runtime._information_schema import table_names
from df_runtime._lexer import Token, has_second_statement, offset_of, tokens
from df_runtime._names import TableName, quote_if_needed
from df_runtime._pointing import Finding, located, sentence
from df_runtime._references import column_aliases, mentioned

_SQL_ERRORS: dict[str, type[errors.SqlError]] = {
    "engine-sql-syntax": errors.SqlSyntaxError,
    "engine-table-unknown": errors.UnknownTableError,
    "engine-column-unknown": errors.UnknownColumnError,
    "engine-column-ambiguous": errors.AmbiguousColumnError,
    "engine-function-unknown": errors.UnknownFunctionError,
    "engine-not-allowed": errors.PolicyError,
    "engine-plan-size": errors.SqlLimitError,
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
# What whoever reads a stream is told of an error, which has no more than a text there.
ADVICE: Final = {
    code: f"-> {_HINTS[kind].strip()} [{kind.code}]"
    for code, kind in _EXECUTION_ERRORS.items()
    if kind in _HINTS
}
_TRUST = "Pass `policy=SqlPolicy.trusted()` if the text comes from a source that may do this."
_SIZE = "Register what is needed twice as a table, or raise `max_joins` of the policy."
_LONGEST_NAME = 128
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
        found = dict.fromkeys(name for schema in self._schemas(query) for name in schema.names)
        found.update(dict.fromkeys(column_aliases(query)))
        return list(found)

    def fields(self, query: str) -> list[str]:
        """Fields of structs, at any depth, in the tables that the text mentions."""
        pending: list[pa.DataType] = [field.type for schema in self._schemas(query) for field in schema]
        found: dict[str, None] = {}
        while pending:
            kind = pending.pop()
            inner = [kind.field(index) for index in range(kind.num_fields)]
            if pa.types.is_struct(kind):
                found.update(dict.fromkeys(field.name for field in inner))
            pending.extend(field.type for field in inner)
        return list(found)

    def _schemas(self, query: str) -> Iterator[pa.Schema]:
        for table in sorted(mentioned(query, self._tables)):
            try:
                yield pa.schema(self._engine.schema(table.quoted()))
            except EngineError:  # a view whose table is gone has no columns to suggest
                continue


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
    finding = Finding(headline, advice="Run one statement at a time.")
    return located(errors.MultipleStatementsError, finding, query, second)


def refusal(query: str, what: str, name: str = "") -> errors.SqlError:
    """Say what a policy does not allow, and where the name in question stands."""
    written = {name.lower(), f"'{name.lower()}'"} if name else set[str]()
    words = tokens(query)
    token = next((word for word in words if word.name.lower() in written), None if name else words[0])
    return located(errors.PolicyError, Finding(what, advice=_TRUST), query, token)


def unknown_table(query: str, written: str, names: Names) -> errors.SqlError:
    """Say that there is no table of a name, and what is close."""
    found = _unknown_table(written, names)
    return located(errors.UnknownTableError, found, query, _word(tokens(query), _last_part(written)))


def raise_cause(error: EngineError) -> None:
    """Raise what a function of ours raised when the engine called it."""
    if isinstance(error.__cause__, (errors.DfRuntimeError, DeltaIoError)):
        raise error.__cause__


def execution_error(code: str, message: str) -> errors.ExecutionError:
    """Turn a failure while running into an error of ours."""
    kind = _EXECUTION_ERRORS.get(code, errors.ExecutionError)
    hint = _HINTS.get(kind, "")
    return kind(f"The query failed: {sentence(message)}{hint}")


def _sql_error(error: EngineError, query: str, names: Names) -> errors.SqlError:
    kind = _SQL_ERRORS.get(error.code, errors.SqlError)
    place = _culprit(error, query)
    token = place.token
    written = error.name or (token.name if token else "")
    message, advice = headline_and_advice(error.message)
    if field := _NO_FIELD.fullmatch(message):
        kind, finding = errors.UnknownColumnError, _unknown_field(field.group(1), query, names)
        token = _word(tokens(query), field.group(1))
    elif kind is errors.UnknownTableError:
        finding = _unknown_table(written, names)
    elif kind is errors.UnknownColumnError:
        finding = _unknown_column(written, place, error.scope, names.columns(query))
    elif kind is errors.UnknownFunctionError:
        finding = _unknown_function(written, message, names)
    elif kind is errors.SqlSyntaxError:
        finding = Finding("Not SQL", _keywords(query, token), sentence(message))
    else:
        finding = _refused(kind, message, advice, names)
    return located(kind, finding, query, place.qualifier if finding.about_table else token)


_NO_FIELD = re.compile(r"Field (\S+) not found in struct")
_NO_FUNCTION = re.compile(r"Invalid function '(\w+)'.*", re.DOTALL)


def _refused(kind: type[errors.SqlError], message: str, advice: str, names: Names) -> Finding:
    if kind is errors.PolicyError:
        return Finding(message, advice=_TRUST)
    if kind is errors.SqlLimitError:
        return Finding(message, advice=_SIZE)
    if kind is errors.AmbiguousColumnError:
        advice = "Several tables have it: put the name or alias of one of them before it, such as `t.name`."
    called = _NO_FUNCTION.fullmatch(message)
    if called and called.group(1).lower() in names.functions():
        return Finding(f"The window function {called.group(1)} stands alone", advice="Add `OVER (…)`.")
    return Finding(message, advice=advice)


def _unknown_table(written: str, names: Names) -> Finding:
    tables = names.tables()
    if written.lower().startswith("information_schema."):
        tables = [f"information_schema.{name}" for name in table_names()]
    close = _close_tables(_last_part(written), tables)
    return Finding(f"Unknown table {written!r}", close, "" if close else _listed("Tables", tables))


def _unknown_column(
    written: str, place: _Place, scope: Sequence[tuple[str | None, str]], mentioned: Sequence[str]
) -> Finding:
    """Say which columns stand where one is unknown, as the engine tells, else those of the tables named."""
    name = _last_part(written)
    tables = dict.fromkeys(table for table, _ in scope if table)
    qualifier = place.qualifier.name if place.qualifier else ""
    here = [column for table, column in scope if table and table.lower() == qualifier.lower()]
    if qualifier and tables and not here and not place.stands_alone:
        close = [quote_if_needed(table) for table in _close(qualifier, tables)]
        advice = "" if close else _listed("Here are", [quote_if_needed(table) for table in tables])
        return Finding(f"Unknown table or alias {qualifier!r}", close, advice, about_table=True)
    if not qualifier:
        here = [column for _, column in scope]
    columns = list(dict.fromkeys(here or mentioned))
    close = [column for column in _close(name, columns) if column != name]
    advice = "" if close else _listed("Columns in scope", [quote_if_needed(each) for each in columns])
    if any(column.lower() == name.lower() for column in close):
        advice = "Names without quotes are lower-cased, and the column's is not lower case."
    elif name in columns:
        advice = "A table of that column is named in the text, but not where the column stands."
    return Finding(f"Unknown column {written!r}", [quote_if_needed(each) for each in close], advice)


def _unknown_field(written: str, query: str, names: Names) -> Finding:
    return Finding(f"Unknown field {written!r}", _close(written, names.fields(query)))


def _unknown_function(written: str, message: str, names: Names) -> Finding:
    known = names.functions()
    if written.lower() in known:
        return Finding(message, advice="Cast the arguments.")
    close = _close(_last_part(written), known)
    advice = "" if close else "`information_schema.routines` lists all functions."
    return Finding(f"Unknown function {written!r}", close, advice)


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_LISTED]) or "none"
    return f"{what}: {shown}{', …' if len(names) > _MOST_LISTED else ''}."


class _Place(NamedTuple):
    """A word, what stands before its dot, and whether that stands elsewhere by itself, as aliases do."""

    token: Token | None = None
    qualifier: Token | None = None
    stands_alone: bool = False


def _culprit(error: EngineError, query: str) -> _Place:
    """Find the word that an error is about: at its position, by its name, else by what the message quotes."""
    words = tokens(query)
    end = _Place(Token("other", "", len(query.rstrip())))
    if error.line and error.column:
        offset = offset_of(query, error.line, error.column)
        at = next(
            (index for index, word in enumerate(words) if offset is not None and word.start >= offset), None
        )
        if at is None:
            return end
        return _in_chain(words, at, error.name or "") if error.code in _NAMED else _Place(words[at])
    if error.code == "engine-sql-syntax" and words and error.message.endswith("found: EOF"):
        return end
    named = _word(words, _last_part(error.name or "")) if error.name else None
    return _Place(
        named or next(filter(None, (_quoted(words, each) for each in quoted_in(error.message))), None)
    )


_NAMED = frozenset({"engine-table-unknown", "engine-column-unknown"})


def _word(words: list[Token], name: str) -> Token | None:
    return next((word for word in words if word.name.strip("'").lower() == name.lower()), None)


def _quoted(words: list[Token], text: str) -> Token | None:
    """Find a literal, or the name before the parenthesis of a call."""
    literal = next((word for word in words if word.kind == "string" and word.text == f"'{text}'"), None)
    return literal or _word([word for word in words if word.kind == "word"], text.partition("(")[0])


def _in_chain(words: list[Token], at: int, name: str) -> _Place:
    """In `sales.orders.amout` find the part that is unknown, which is the last one if none has its name."""
    chain = [words[at]]
    while at + 2 < len(words) and words[at + 1].text == "." and words[at + 2].kind in {"word", "quoted"}:
        at += 2
        chain.append(words[at])
    last = _last_part(name).lower()
    index = max((i for i, word in enumerate(chain) if word.name.lower() == last), default=len(chain) - 1)
    if not index:
        return _Place(chain[0])
    qualifier = chain[index - 1]
    ends = [*words[1:], None]
    alone = any(
        word.name.lower() == qualifier.name.lower() and (after is None or after.text != ".")
        for word, after in zip(words, ends, strict=True)
    )
    return _Place(chain[index], qualifier, alone)


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


def _keywords(query: str, token: Token | None) -> tuple[str, ...]:
    """Keywords close to the word before, which the parser took for an alias, or to the one it stopped at."""
    if token is None or token.kind != "word" or token.text.upper() in _KEYWORDS:
        return ()
    before = [word for word in tokens(query) if word.start < token.start][-1:]
    for word in (*before, token):
        close = _close(word.text, _KEYWORDS) if word.kind == "word" else []
        if close and word.text.upper() not in _KEYWORDS:
            return tuple(close)
    return ()


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
