from __future__ import annotations

import pyarrow as pa
import pytest

from df_runtime import DfRuntimeError, PolicyError, SqlPolicy

WRITES = [
    "INSERT INTO orders VALUES (3)",
    "INSERT INTO orders SELECT * FROM orders",
    "UPDATE orders SET id = 0",
    "DELETE FROM orders",
    "TRUNCATE TABLE orders",
    "COPY orders TO '{folder}/stolen.csv'",
    "COPY (SELECT 1) TO '{folder}/stolen.parquet' STORED AS PARQUET",
    "EXPLAIN ANALYZE COPY orders TO '{folder}/stolen.csv'",
    "EXPLAIN ANALYZE INSERT INTO orders VALUES (3)",
    "CREATE EXTERNAL TABLE stolen STORED AS CSV LOCATION '{secret}'",
    "CREATE TABLE stolen AS SELECT * FROM orders",
    "CREATE VIEW stolen AS SELECT * FROM orders",
    "CREATE SCHEMA stolen",
    "CREATE DATABASE stolen",
    "DROP TABLE orders",
    "DROP VIEW orders",
    "DROP SCHEMA public",
    "SET datafusion.execution.batch_size = 1",
    "RESET datafusion.execution.batch_size",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "BEGIN",
    "COMMIT",
]
TRICKS = [
    "SELECT 1; DROP TABLE orders",
    "SELECT 1; ; COPY orders TO '{folder}/stolen.csv'",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT pg_read_file('{secret}')",
    "WITH x AS (INSERT INTO orders VALUES (3)) SELECT * FROM x",
    "/* SELECT */ DROP TABLE orders",
    "-- SELECT\nDROP TABLE orders",
    "(DROP TABLE orders)",
]


@pytest.fixture
def guarded(session, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n", encoding="utf-8")
    session.register("orders", pa.table({"id": [1, 2]}))
    settings = session.sql("SELECT * FROM information_schema.df_settings ORDER BY name").to_arrow()
    yield session, {"folder": str(tmp_path), "secret": str(secret)}
    assert session.tables() == ("orders",)
    assert session.sql("SELECT * FROM orders").to_arrow().to_pylist() == [{"id": 1}, {"id": 2}]
    assert session.sql("SELECT * FROM information_schema.df_settings ORDER BY name").to_arrow() == settings
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize("query", WRITES)
def test_the_default_policy_refuses_what_is_no_query(guarded, query):
    session, places = guarded
    with pytest.raises(PolicyError) as caught:
        session.sql(query.format(**places))

    assert caught.value.code == "sql-not-allowed"


@pytest.mark.parametrize("query", [*WRITES, *TRICKS])
def test_no_trick_changes_or_reads_anything(guarded, query):
    session, places = guarded
    with pytest.raises(DfRuntimeError) as caught:
        session.sql(query.format(**places)).to_arrow()

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("query", [query for query in TRICKS if query.startswith(("SELECT", "WITH"))])
def test_a_view_is_no_way_around(guarded, query):
    session, places = guarded
    with pytest.raises(DfRuntimeError):
        session.register("stolen", query.format(**places))


@pytest.mark.parametrize("query", WRITES)
def test_an_explanation_is_no_way_around(guarded, query):
    session, places = guarded
    with pytest.raises(DfRuntimeError):
        session.explain(query.format(**places), analyze=True)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM orders",
        "WITH t AS (SELECT 1 AS a) SELECT a FROM t",
        "VALUES (1), (2)",
        "EXPLAIN SELECT id FROM orders",
        "SHOW TABLES",
        "DESCRIBE orders",
        "SHOW COLUMNS FROM orders",
        "SELECT table_name FROM information_schema.tables",
    ],
)
def test_queries_of_every_kind_are_allowed(session, query):
    session.register("orders", pa.table({"id": [1, 2]}))

    assert session.sql(query).to_arrow().num_rows > 0


def test_a_trusted_text_may_define_and_write(session, tmp_path):
    trusted = SqlPolicy.trusted()
    session.sql("CREATE TABLE t AS SELECT 1 AS a", policy=trusted)
    session.sql("INSERT INTO t VALUES (2)", policy=trusted).to_arrow()
    session.sql(f"COPY t TO '{tmp_path}/t.parquet' STORED AS PARQUET", policy=trusted).to_arrow()

    assert session.sql("SELECT sum(a) AS total FROM t").to_arrow().to_pylist() == [{"total": 3}]
    assert (tmp_path / "t.parquet").exists()


def test_a_policy_allows_just_what_it_says(session):
    session.register("orders", pa.table({"id": [1]}))
    definitions = SqlPolicy(ddl=True)

    session.sql("CREATE VIEW v AS SELECT id FROM orders", policy=definitions)
    with pytest.raises(PolicyError):
        session.sql("SET datafusion.execution.batch_size = 1", policy=definitions)
    with pytest.raises(PolicyError):
        session.sql("INSERT INTO orders VALUES (3)", policy=definitions)
