"""The context of the datafusion package beside a session: same tables, same policy."""

from __future__ import annotations

import pyarrow as pa
import pytest
from datafusion import SessionContext, SQLOptions, col

from delta_io import Table
from df_runtime import FunctionPolicy, PolicyError, RuntimeProfile, SessionClosedError, SessionFactory
from schema_spec import TableSpec

ORDERS = pa.table({"id": [1, 2, 3], "amount": [5, 7, 9]})
FORBIDDEN = [
    "CREATE TABLE x AS SELECT 1 AS one",
    "CREATE VIEW v AS SELECT 1 AS one",
    "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'",
    "DROP TABLE orders",
    "INSERT INTO orders VALUES (4, 1)",
    "EXPLAIN ANALYZE INSERT INTO orders VALUES (4, 1)",
    "COPY orders TO '/nowhere/x.parquet'",
    "SET datafusion.execution.batch_size = 1",
    "SELECT * FROM '/etc/passwd'",
]


@pytest.fixture
def shop(session):
    session.register("orders", ORDERS)
    return session


def rows(df):
    return pa.table(df).to_pylist()


def test_it_is_a_context_over_the_same_tables(shop):
    context = shop.context

    assert isinstance(context, SessionContext)
    assert context is shop.context
    assert rows(context.sql("SELECT sum(amount) AS total FROM orders")) == [{"total": 21}]
    assert context.table("orders").filter(col("id") > 1).count() == 2
    assert shop.dataframe(context.table("orders")).to_arrow().num_rows == 3


def test_each_text_finds_the_newest_versions(session, tmp_path):
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", ORDERS.schema))
    session.register("orders", table)
    session.register("big", "SELECT * FROM orders WHERE amount > 5")
    context = session.context

    assert rows(context.sql("SELECT count(*) AS n FROM orders")) == [{"n": 0}]
    table.write(ORDERS)
    assert rows(context.sql("SELECT count(*) AS n FROM orders")) == [{"n": 3}]
    assert context.table("big").count() == 2
    session.register("later", pa.table({"x": [1]}))
    assert rows(context.sql("SELECT x FROM later")) == [{"x": 1}]
    session.deregister("later")
    with pytest.raises(Exception, match="later"):
        context.sql("SELECT x FROM later")


@pytest.mark.parametrize("text", FORBIDDEN)
def test_texts_are_under_the_policy_of_the_session(shop, text):
    context = shop.context
    handles = [context, context.with_python_udf_inlining(enabled=False), context.with_extensions()]
    for handle in handles:
        with pytest.raises(PolicyError):
            handle.sql(text)
        with pytest.raises(PolicyError):
            handle.sql(text, options=SQLOptions())
        with pytest.raises(PolicyError):
            handle.sql_with_options(text, SQLOptions().with_allow_ddl(True).with_allow_dml(True))
    assert shop.tables() == ("orders",)
    assert rows(context.sql("SELECT count(*) AS n FROM orders")) == [{"n": 3}]


def test_what_is_put_into_a_text_is_under_the_policy_too(shop):
    with pytest.raises(Exception, match="DDL not supported"):
        shop.context.sql("$text", text="CREATE TABLE x AS SELECT 1 AS one")
    assert rows(shop.context.sql("SELECT count(*) AS n FROM $t", t=shop.context.table("orders"))) == [
        {"n": 3}
    ]
    assert rows(shop.context.sql("SELECT $n + 1 AS n", param_values={"n": 1})) == [{"n": 2}]


def test_plans_that_write_are_refused(shop, tmp_path):
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as trusted:
        trusted.register("orders", ORDERS)
        copies = trusted.context.sql(f"COPY orders TO '{tmp_path}/x.parquet'").logical_plan()
        reads = trusted.context.table("orders").logical_plan()
        with pytest.raises(PolicyError, match="CopyTo"):
            shop.context.execute_logical_plan(copies)
        assert shop.context.execute_logical_plan(reads).count() == 3
    assert list(tmp_path.iterdir()) == []


def test_files_do_not_become_tables(shop):
    with pytest.raises(PolicyError, match="register the file"):
        shop.context.enable_url_table()


def test_a_trusted_context_may_define_and_set():
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as session:
        session.register("orders", ORDERS)
        context = session.context
        context.sql("CREATE TABLE x AS SELECT 1 AS one")
        assert rows(context.sql("SELECT one FROM x")) == [{"one": 1}]
        assert session.tables() == ("orders",)


def test_functions_that_the_profile_takes_away_are_gone():
    profile = RuntimeProfile(functions=FunctionPolicy(without=frozenset({"upper", "sum", "row_number"})))
    with SessionFactory(profile).open() as session:
        for call in ("upper('a')", "sum(1)", "row_number() OVER ()"):
            with pytest.raises(Exception, match=r"(?i)function"):
                session.context.sql(f"SELECT {call} AS x")
        assert rows(session.context.sql("SELECT lower('A') AS x")) == [{"x": "a"}]


def test_a_context_ends_with_its_session(shop):
    context = shop.context
    df = context.table("orders")
    shop.close()

    assert df.count() == 3
    with pytest.raises(SessionClosedError):
        context.sql("SELECT 1")
    with pytest.raises(SessionClosedError):
        print(shop.context)
