"""Parameters whose type a query leaves open, where the engine needs one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from datafusion_ext import EngineError
from df_runtime._lexer import Token, is_opaque, tokens
from df_runtime._pointing import pointed_at
from df_runtime.errors import ParameterError, SqlError

_OF_NULLS = re.compile(r"\bnull\b", re.IGNORECASE)
_PLANNING = frozenset({"engine-execution", "engine-plan", "engine-type", "engine-unsupported"})


def untyped(error: EngineError, query: str, row: pa.RecordBatch | None) -> SqlError | None:
    """Say which parameter has no type, if that is what an error is about.

    The engine takes a parameter of unknown type, and a value of None, for the type of NULL, and says that it
    has no function for it.
    """
    if error.code not in _PLANNING or not _OF_NULLS.search(error.message):
        return None
    found = _without_type(query, row)
    if not found:
        return None
    names = _names(found)
    first = found[0].text
    given = "" if row is None else ', or give a value that has a type, as `pyarrow.scalar(None, "int64")` has'
    return pointed_at(
        ParameterError,
        f"The query does not tell the type of {names}",
        f"Write it as CAST({first} AS BIGINT), with the type that it has{given}. "
        f"The engine says: {error.message}.",
        query,
        found[0],
    )


def hint(error: EngineError, query: str) -> str:
    """Point to parameters whose type a query leaves open: the engine guesses it before it sees values."""
    found = _without_type(query, None) if error.code in _PLANNING else []
    if not found:
        return ""
    return (
        f"The query does not tell the type of {_names(found)}: if that is the reason, write "
        f"CAST({found[0].text} AS BIGINT), with the type that it has."
    )


def _names(found: Sequence[Token]) -> str:
    return ", ".join(dict.fromkeys(token.text for token in found))


def _without_type(query: str, row: pa.RecordBatch | None) -> list[Token]:
    if "$" not in query or is_opaque(query):
        return []
    return [token for token in _open(tokens(query)) if row is None or _is_open(row, token.text[1:])]


def _open(words: Sequence[Token]) -> Iterator[Token]:
    """Find the parameters that are not cast where they stand."""
    for at, word in enumerate(words):
        before = [each.text.upper() for each in words[max(at - 2, 0) : at]]
        is_cast = before in (["CAST", "("], ["TRY_CAST", "("]) or _texts(words[at + 1 : at + 3]) == "::"
        if word.kind == "parameter" and not is_cast:
            yield word


def _texts(words: Sequence[Token]) -> str:
    return "".join(word.text for word in words)


def _is_open(row: pa.RecordBatch, name: str) -> bool:
    return name in row.schema.names and _holds_null(row.schema.field(name).type)


def _holds_null(kind: pa.DataType) -> bool:
    if isinstance(kind, (pa.ListType, pa.LargeListType)):
        return _holds_null(kind.value_type)
    return pa.types.is_null(kind)
