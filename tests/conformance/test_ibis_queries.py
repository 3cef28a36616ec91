"""Harder queries and queries of TPC-H, written as Ibis expressions, answer as their texts do in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pytest

import harder
from _tpch_data import TABLES, Lake
from comparing import difference
from df_runtime import Session, SessionFactory
from harder_ibis import HARDER, TPCH
from small_tpch import QUERIES as TEXTS

QUERIES = harder.queries()


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with SessionFactory().open() as opened:
        for name, rows in harder.tables().items():
            opened.register(name, rows)
        yield opened


@pytest.fixture(scope="module")
def warehouse(lake: Lake) -> Iterator[Session]:
    with SessionFactory().open() as opened:
        for name in TABLES:
            opened.register(name, lake.folder / "delta" / name)
        yield opened


def _tables(session: Session) -> SimpleNamespace:
    return SimpleNamespace(**{name: session.table(name) for name in session.tables()})


@pytest.mark.parametrize("name", HARDER)
def test_a_harder_query(session: Session, name: str):
    with duckdb.connect() as connection:
        for table, rows in harder.tables().items():
            connection.register(table, rows)
        expected = connection.sql(QUERIES[name].duckdb).to_arrow_table()

    expr = HARDER[name](_tables(session))

    assert difference(session.ibis(expr).to_arrow(), expected) == ""
    assert difference(expr.to_pyarrow(), expected) == ""


@pytest.mark.parametrize("name", TPCH)
def test_a_query_of_tpch(warehouse: Session, tpch_duck: duckdb.DuckDBPyConnection, name: str):
    expected: pa.Table = tpch_duck.sql(TEXTS[name]).to_arrow_table()

    assert difference(warehouse.ibis(TPCH[name](_tables(warehouse))).to_arrow(), expected) == ""


def test_enough_of_the_harder_queries_are_there():
    assert len(HARDER) >= 15
    assert set(HARDER) <= set(QUERIES)
