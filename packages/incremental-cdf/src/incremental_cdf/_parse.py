"""Reading the text of a view: its syntax tree, its tokens, the tables that it names, and its identity."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.tokenizer_core import Token, TokenType

from incremental_cdf._names import canonical, lower, stored
from incremental_cdf.errors import ViewSyntaxError

DIALECT = "postgres"

_TOKEN = re.compile(r"but got <Token.*", re.DOTALL)
_WORDS = re.compile(r"[^\W\d][\w$]*(?:\s+[^\W\d][\w$]*)*")


class ParsedQuery(NamedTuple):
    """A query as written and as understood."""

    text: str
    """The text without what follows its last token and without a final semicolon."""
    tokens: tuple[Token, ...]
    statement: exp.Query
    tables: tuple[str, ...]
    """Names of the tables that it reads, written canonically, in alphabetical order."""

    @property
    def digest(self) -> str:
        """Hash of the meaning of the text: white space, comments and the case of bare words do not count."""
        words = [_canonical_word(self.text[token.start : token.end + 1]) for token in self.tokens]
        return hashlib.sha256(json.dumps(words, ensure_ascii=True).encode()).hexdigest()


def parse(view: str, query: str) -> ParsedQuery:
    """Parse the query of a view.

    Raises
    ------
    ViewSyntaxError
        The text is not exactly one query.
    """
    try:
        tokens = _without_semicolons(Dialect.get_or_raise(DIALECT).tokenize(query))
        statements = sqlglot.parse(query, dialect=DIALECT)
    except (SqlglotError, RecursionError) as error:
        raise _syntax_error(view, error) from error
    found = [statement for statement in statements if statement is not None and not _is_blank(statement)]
    if len(found) != 1 or not isinstance(found[0], exp.Query) or not tokens:
        what = (
            "nothing" if not found else f"{len(found)} statements" if len(found) > 1 else found[0].key.upper()
        )
        raise ViewSyntaxError(f"View {view} must be one SELECT statement; its text holds {what}.", view=view)
    text = query[: tokens[-1].end + 1]
    return ParsedQuery(text, tuple(tokens), found[0], _tables(view, found[0]))


def _without_semicolons(tokens: Sequence[Token]) -> list[Token]:
    kept = list(tokens)
    while kept and kept[-1].token_type == TokenType.SEMICOLON:
        kept.pop()
    return kept


def _is_blank(statement: exp.Expr) -> bool:
    return isinstance(statement, exp.Semicolon)


def _syntax_error(view: str, error: Exception) -> ViewSyntaxError:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    line, column = details.get("line"), details.get("col")
    finding = str(details.get("description") or error).split("\n", 1)[0].strip().rstrip(".")
    finding = _TOKEN.sub("but found something else", finding)
    near = str(details.get("highlight") or "").strip()
    where = f" at line {line}" + (f", near `{near}`" if near else "") if line else ""
    message = f"The query of view {view} is not SQL{where}: {finding}. Correct the query."
    return ViewSyntaxError(message, view=view, line=line, column=column)


def _tables(view: str, statement: exp.Query) -> tuple[str, ...]:
    try:
        scopes = traverse_scope(statement)
    except (SqlglotError, RecursionError) as error:
        raise _syntax_error(view, error) from error
    names = {
        table_name(source)
        for scope in scopes
        for source in scope.sources.values()
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)
    }
    return tuple(sorted(names))


def table_name(table: exp.Table) -> str:
    """Write the canonical name of a table in a query."""
    return canonical(tuple(stored(part) for part in table.parts))


def _canonical_word(text: str) -> str:
    return lower(" ".join(text.split())) if _WORDS.fullmatch(text) else text
