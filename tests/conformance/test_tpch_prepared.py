"""TPC-H through prepared statements: every constant that can be a parameter is one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pytest
from sqlglot.dialects.postgres import Postgres
from sqlglot.tokenizer_core import Token, TokenType

from comparing import difference
from df_runtime import Session
from small_tpch import QUERIES

# After these words the grammar wants a constant, or nothing tells the type of a parameter.
CONSTANT_AFTER = frozenset({"INTERVAL", "LIMIT", "FROM", "FOR", "BY", "THEN", "ELSE"})


def parametrised(query: str) -> tuple[str, dict[str, Any]]:
    """Put parameters in the place of constants, and return their values."""
    text, at = "", 0
    values: dict[str, Any] = {}
    tokens = Postgres().tokenize(query)
    for before, token in zip([None, *tokens], tokens, strict=False):
        word = before.text.upper() if before is not None else ""
        if token.token_type not in {TokenType.STRING, TokenType.NUMBER} or word in CONSTANT_AFTER:
            continue
        is_date = before is not None and word == "DATE"
        name = f"p{len(values)}"
        values[name] = dt.date.fromisoformat(token.text) if is_date else value_of(token)
        start = before.start if before is not None and is_date else token.start
        text += f"{query[at:start]}${name}"
        at = token.end + 1
    return text + query[at:], values


def value_of(token: Token) -> Any:
    if token.token_type == TokenType.STRING:
        return token.text
    return float(token.text) if "." in token.text else int(token.text)


@pytest.mark.parametrize("name", QUERIES)
def test_prepared_with_parameters(tpch_session: Session, tpch_duck: duckdb.DuckDBPyConnection, name: str):
    template, values = parametrised(QUERIES[name])
    prepared = tpch_session.prepare(name, template)
    expected = tpch_duck.sql(QUERIES[name]).to_arrow_table()

    assert set(prepared.parameters) == set(values)
    for _ in range(2):
        assert difference(prepared.execute(values).to_arrow(), expected, digits=5) == ""


def test_most_queries_have_several_parameters():
    assert sum(len(parametrised(query)[1]) for query in QUERIES.values()) > 60
