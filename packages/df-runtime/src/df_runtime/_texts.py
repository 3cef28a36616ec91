"""Queries as trees of SQLGlot, written as the texts that the engine reads."""

from __future__ import annotations

from typing import TypeAlias

from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from df_runtime._arguments import expect
from df_runtime._dialect import ENGINE
from df_runtime._names import is_unicode
from df_runtime._reading import first_line
from df_runtime.errors import SqlLimitError, SqlSyntaxError, SqlUnsupportedError

QueryText: TypeAlias = "str | exp.Expr"
"""A query: its text, or a tree of SQLGlot."""


def text_of(query: QueryText) -> str:
    """Return a text as it is, and write a tree as one; the tree is left as it was."""
    if isinstance(query, str):
        text = query
    else:
        expect("query", query, exp.Expr, "the text of a query or an expression of SQLGlot")
        text = _written(query)
    if not is_unicode(text):
        raise SqlSyntaxError(
            "The text holds half a surrogate pair, which is no character. Decode it again.", query=text
        )
    return text


def _written(tree: exp.Expr) -> str:
    try:
        found = tree.copy()
        for division in found.find_all(exp.Div):
            # Where no dialect has said how to divide, the engine's way is meant.
            if "typed" not in division.args:
                division.set("typed", True)
        return found.sql(dialect=ENGINE, copy=False, comments=False, unsupported_level=ErrorLevel.RAISE)
    except RecursionError:
        message = "The tree is nested deeper than can be written as SQL. Name inner queries with WITH."
        raise SqlLimitError(message) from None
    except SqlglotError as error:
        raise SqlUnsupportedError(
            f"The tree cannot be written for the engine: {first_line(error)}. Write this part as the engine "
            "has it, parsed with `dialect=df_runtime.DataFusion`."
        ) from None
    except Exception as error:  # noqa: BLE001 - trees put together by hand break the printer in odd ways
        raise SqlSyntaxError(f"The tree makes no sense: {first_line(error)}.") from None
