"""Queries harder than TPC-H answer as in DuckDB: as text, with parameters, and in canonical form."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import duckdb
import pyarrow as pa
import pytest

import harder
from comparing import difference
from df_runtime import Session, SessionFactory

QUERIES = harder.queries()
WITH_PARAMETERS = [name for name, query in QUERIES.items() if query.params]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with SessionFactory().open() as opened:
        for name, rows in harder.tables().items():
            opened.register(name, rows)
        yield opened


@cache
def _expected(name: str) -> pa.Table:
    with duckdb.connect() as connection:
        for table, rows in harder.tables().items():
            connection.register(table, rows)
        return connection.sql(QUERIES[name].duckdb).to_arrow_table()


def test_there_are_at_least_forty_queries_that_return_rows():
    assert len(QUERIES) >= 40
    # NOT IN over a list with NULL is never true.
    assert [name for name in QUERIES if _expected(name).num_rows == 0] == ["not_in_with_null"]


@pytest.mark.parametrize("name", QUERIES)
def test_as_text(session: Session, name: str):
    assert difference(session.sql(QUERIES[name].text).to_arrow(), _expected(name)) == ""


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_with_parameters(session: Session, name: str):
    query = QUERIES[name]

    assert difference(session.sql(query.template, params=query.params).to_arrow(), _expected(name)) == ""


@pytest.mark.parametrize("name", QUERIES)
def test_the_canonical_text_asks_the_same(session: Session, name: str):
    report = session.gate(QUERIES[name].text)

    assert (report.lane, report.notes) == ("checked", ())
    assert report.canonical is not None
    assert difference(session.sql(report.canonical).to_arrow(), _expected(name)) == ""


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_prepared(session: Session, name: str):
    query = QUERIES[name]
    prepared = session.prepare(name, query.template)

    assert set(prepared.parameters) == set(query.params)
    for _ in range(2):
        assert difference(prepared.execute(query.params).to_arrow(), _expected(name)) == ""
