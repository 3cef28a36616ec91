"""The canonical text of a query asks the same in other engines: in DuckDB, and in SQLGlot's own executor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.executor import execute

import harder
from comparing import difference
from df_runtime import Session, SessionFactory
from small_tpch import QUERIES as TPCH

HARDER = harder.queries()
# Words that DuckDB has not, or reads otherwise.
ONLY_HERE = {
    "array_functions": "array_to_string with NULL",
    "structs": "fields of a struct by its name in brackets, from 1",
    "time_buckets": "date_bin",
}
# SQLGlot's executor knows plain joins, filters and aggregates.
SMALL: Mapping[str, list[dict[str, Any]]] = {
    "orders": [
        {"id": 1, "customer": 1, "amount": 10, "kind": "a"},
        {"id": 2, "customer": 1, "amount": 25, "kind": "b"},
        {"id": 3, "customer": 2, "amount": 7, "kind": "a"},
        {"id": 4, "customer": 3, "amount": 7, "kind": None},
    ],
    "customers": [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}, {"id": 4, "name": "Edsger"}],
}
SIMPLE = [
    "SELECT id, amount * 2 AS twice FROM orders WHERE amount > 7 AND kind <> 'b'",
    "SELECT Kind, sum(Amount) AS total, count(*) AS n FROM orders GROUP BY kind",
    "SELECT name, amount FROM orders JOIN customers c ON customer = c.id WHERE amount BETWEEN 7 AND 9",
    "SELECT name, count(o.id) AS n FROM customers c LEFT JOIN orders o ON customer = c.id GROUP BY 1",
    "WITH l AS (SELECT * FROM orders WHERE amount > 7) SELECT kind, max(amount) AS m FROM l GROUP BY kind",
    "SELECT CASE WHEN amount > 8 THEN 'much' ELSE 'little' END AS size, count(*) AS n FROM orders GROUP BY 1",
    "SELECT customer FROM orders UNION SELECT id FROM customers",
    "SELECT id FROM orders ORDER BY amount DESC, id LIMIT 2",
    "SELECT customer, sum(amount) AS total FROM orders GROUP BY customer HAVING sum(amount) >= 7",
    "SELECT id FROM orders WHERE kind IN ('a', 'c') OR NOT amount < 20",
]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with SessionFactory().open() as opened:
        for name, rows in harder.tables().items():
            opened.register(name, rows)
        for name, rows in SMALL.items():
            opened.register(name, pa.Table.from_pylist(rows))
        yield opened


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for name, rows in harder.tables().items():
            connection.register(name, rows)
        yield connection


def elsewhere(canonical: str | None, dialect: str) -> str:
    """Write a canonical text for another engine, which knows its tables by their last names."""
    assert canonical is not None
    tree = sqlglot.parse_one(canonical, dialect="postgres")
    for table in tree.find_all(exp.Table):
        table.set("db", None)
        table.set("catalog", None)
    return tree.sql(dialect=dialect)


@pytest.mark.parametrize("name", TPCH)
def test_tpch_in_duckdb_and_here(tpch_session: Session, tpch_duck: duckdb.DuckDBPyConnection, name: str):
    report = tpch_session.gate(TPCH[name])
    before = tpch_duck.sql(TPCH[name]).to_arrow_table()

    assert (report.lane, report.notes) == ("checked", ())
    assert difference(tpch_duck.sql(elsewhere(report.canonical, "duckdb")).to_arrow_table(), before) == ""
    assert report.canonical is not None
    text, canonical = (tpch_session.sql(query).to_arrow() for query in (TPCH[name], report.canonical))
    assert difference(canonical, text) == ""


@pytest.mark.parametrize("name", [name for name in HARDER if name not in ONLY_HERE])
def test_harder_queries_in_duckdb(session: Session, duck: duckdb.DuckDBPyConnection, name: str):
    query = HARDER[name]
    canonical = session.gate(query.text).canonical

    after = duck.sql(elsewhere(canonical, "duckdb")).to_arrow_table()
    assert difference(after, duck.sql(query.duckdb).to_arrow_table()) == ""


@pytest.mark.parametrize("query", SIMPLE)
def test_simple_queries_in_sqlglots_executor(session: Session, query: str):
    tables = {name: list(rows) for name, rows in SMALL.items()}
    canonical = session.gate(query).canonical

    before, after = (
        execute(text, dialect="duckdb", tables=tables) for text in (query, elsewhere(canonical, "duckdb"))
    )

    assert [list(row) for row in after.rows] == [list(row) for row in before.rows]
    engine = session.sql(query).to_arrow()
    assert len(before.rows) == engine.num_rows
