"""Substrait plans in and out, and what is refused of those that come from elsewhere."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import suppress
from typing import Any

import ibis
import pyarrow as pa
import pytest
from datafusion import substrait
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from df_runtime import (
    DfRuntimeError,
    ExpressionError,
    FunctionPolicy,
    PolicyError,
    RuntimeProfile,
    SessionFactory,
    SubstraitError,
    UnknownTableError,
)
from schema_spec import TableSpec

ORDERS = pa.table({"id": [1, 2, 3], "amount": [5, 7, 9], "name": ["x", "y", None]})
QUERY = "SELECT name, sum(amount) AS total FROM orders WHERE id > 1 GROUP BY name"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with SessionFactory().open() as session:
        table = Table.create(tmp_path_factory.mktemp("lake") / "t", TableSpec.from_arrow("t", ORDERS.schema))
        table.write(ORDERS)
        session.register("orders", table)
        session.register("memory", ORDERS)
        session.register("big", "SELECT * FROM orders WHERE amount > 5")
        yield session


def rows(result) -> list[Any]:
    return sorted(result.to_arrow().to_pylist(), key=repr)


def changed(plan: bytes, change) -> bytes:
    """Write a plan with something else in the place of what it reads."""
    message = json.loads(substrait.Serde.deserialize_bytes(plan).to_json())
    pending = [message]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            if "read" in found:
                change(found)
            pending.extend(found.values())
        elif isinstance(found, list):
            pending.extend(found)
    return substrait.Plan.from_json(json.dumps(message)).encode()


# --- there and back


@pytest.mark.parametrize(
    "query",
    [
        QUERY,
        "SELECT * FROM memory",
        "SELECT count(*) AS n FROM big",
        "SELECT o.id, m.name FROM orders o LEFT JOIN memory m ON o.id = m.amount - 4 ORDER BY id LIMIT 2",
        "SELECT id, rank() OVER (ORDER BY amount DESC) AS place FROM orders",
        "SELECT id FROM orders EXCEPT SELECT 2",
        "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v (n, s)",
        "SELECT name, count(*) AS n FROM orders GROUP BY ROLLUP (name)",
        "SELECT CASE WHEN id = 1 THEN INTERVAL '1 day' END AS i, CAST(id AS DECIMAL(10, 2)) AS d FROM orders",
    ],
)
def test_a_plan_answers_as_its_text(shop, query):
    plan = shop.to_substrait(query)
    result = shop.substrait(plan.plan)

    assert (plan.form, plan.unsupported, plan.reason) == ("written", (), "")
    assert (result.lane.name, result.lane.reason) == ("substrait", "")
    assert rows(result) == rows(shop.sql(query))


def test_a_plan_scans_natively_at_the_newest_version(tmp_path):
    with SessionFactory().open() as session:
        table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", ORDERS.schema))
        session.register("orders", table)
        plan = session.to_substrait("SELECT count(*) AS n FROM orders").plan
        assert rows(session.substrait(plan)) == [{"n": 0}]
        table.write(ORDERS)
        result = session.substrait(plan)
        assert rows(result) == [{"n": 3}]
        assert [dataset.version for dataset in result.datasets] == [1]


def test_what_cannot_be_said_as_written_is_said_as_optimized(shop):
    query = "SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM memory m WHERE m.amount > o.amount)"
    plan = shop.to_substrait(query)

    assert plan.form == "optimized"
    assert plan.unsupported == ("OuterReferenceColumn",)
    assert "OuterReferenceColumn" in plan.reason
    assert rows(shop.substrait(plan)) == rows(shop.sql(query)) == [{"id": 1}, {"id": 2}]


def test_what_cannot_be_said_at_all_runs_as_text(shop):
    query = "SELECT unnest([id, 10]) AS n FROM orders UNION ALL SELECT unnest([1]) AS n"
    plan = shop.to_substrait(query)
    result = shop.substrait(plan)

    assert plan.plan is None
    assert plan.unsupported == ("Unnest",)
    assert (result.lane.name, result.lane.unsupported) == ("sql", ("Unnest",))
    assert "Unnest" in result.lane.reason
    assert rows(result) == rows(shop.sql(query))


def test_several_gaps_are_named(shop):
    query = (
        "SELECT n FROM (SELECT unnest([1, 2]) AS n) UNION ALL "
        "SELECT n FROM (WITH RECURSIVE r AS "
        "(SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r)"
    )
    assert set(shop.to_substrait(query).unsupported) == {"Unnest", "RecursiveQuery"}


@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # Ibis' use of pandas
def test_an_expression_is_written_too(shop):
    orders = shop.table("orders")
    expr = orders.filter(orders.id > 1).amount.sum()

    assert rows(shop.substrait(shop.to_substrait(expr))) == [{"Sum(amount)": 16}]
    brought = ibis.memtable({"x": [1, 2]}).count()
    assert rows(shop.substrait(shop.to_substrait(brought)))[0].popitem()[1] == 2
    with pytest.raises(ExpressionError, match="Mode"):
        shop.to_substrait(orders.agg(m=orders.id.mode()))


def test_only_queries_are_written(shop):
    for text in ("CREATE TABLE t AS SELECT 1", "SET datafusion.execution.batch_size = 1", "EXPLAIN SELECT 1"):
        with pytest.raises(PolicyError):
            shop.to_substrait(text)
    with pytest.raises(UnknownTableError):
        shop.to_substrait("SELECT * FROM absent")


def test_a_trusted_session_writes_queries_only_as_well():
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as session:
        with pytest.raises(PolicyError):
            session.to_substrait("CREATE TABLE t AS SELECT 1 AS x")
        assert session.tables() == ()


# --- from elsewhere


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"\x00" * 40, b"\x0a\xff\xff\xff\xff\x0f", bytes(range(256))]
)
def test_what_is_no_plan_is_refused(shop, data):
    with pytest.raises(SubstraitError, match=r"\[substrait-invalid\]"):
        shop.substrait(data)


def test_a_plan_cut_short_is_refused(shop):
    plan = shop.to_substrait(QUERY).plan
    for end in range(0, len(plan), 7):
        with suppress(DfRuntimeError):
            shop.substrait(plan[:end]).to_arrow()


def test_an_unknown_table_is_refused(shop):
    plan = changed(
        shop.to_substrait(QUERY).plan, lambda rel: rel["read"]["namedTable"].update(names=["absent"])
    )
    with pytest.raises(SubstraitError, match="absent"):
        shop.substrait(plan)


@pytest.mark.parametrize(
    "source",
    [
        {"localFiles": {"items": [{"uriFile": "file:///etc/passwd", "parquet": {}}]}},
        {"localFiles": {"items": [{"uriFile": "orders", "parquet": {}}]}},
        {"icebergTable": {"direct": {"metadataUri": "file:///etc/passwd"}}},
        {"extensionTable": {}},
    ],
)
@pytest.mark.parametrize("policy", ["read_only", "trusted"])
def test_files_are_not_read(source, policy):
    with SessionFactory(RuntimeProfile(sql_policy=policy)).open() as session:
        session.register("orders", ORDERS)

        def change(rel):
            del rel["read"]["namedTable"]
            rel["read"].update(source)

        plan = changed(session.to_substrait(QUERY).plan, change)
        with pytest.raises(PolicyError, match=r"this one reads .*\[sql-not-allowed\]"):
            session.substrait(plan)


@pytest.mark.parametrize("policy", ["read_only", "trusted"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("write", {"namedTable": {"names": ["orders"]}, "op": "WRITE_OP_DELETE", "input": {}}),
        ("ddl", {"namedObject": {"names": ["orders"]}, "object": "DDL_OBJECT_TABLE", "op": "DDL_OP_DROP"}),
        ("update", {"namedTable": {"names": ["orders"]}}),
    ],
)
def test_plans_write_and_define_nothing(policy, kind, body):
    with SessionFactory(RuntimeProfile(sql_policy=policy)).open() as session:
        session.register("orders", ORDERS)
        plan = substrait.Plan.from_json(
            json.dumps({"relations": [{"root": {"input": {kind: body}}}]})
        ).encode()
        with pytest.raises(PolicyError, match=kind):
            session.substrait(plan)
        assert session.sql("SELECT count(*) AS n FROM orders").to_arrow().to_pylist() == [{"n": 3}]


def test_frames_that_would_be_read_wrongly_are_refused(shop):
    text = (
        "SELECT id, sum(amount) OVER (ORDER BY id RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM orders"
    )
    optimized = shop.context.sql(text).optimized_logical_plan()
    plan = substrait.Producer.to_substrait_plan(optimized, shop.context).encode()

    with pytest.raises(SubstraitError, match="WindowFrame"):
        shop.substrait(plan)
    assert shop.to_substrait(text).unsupported == ("WindowFrame",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("SELECT last_value(name) IGNORE NULLS OVER (ORDER BY id) AS n FROM orders", "IgnoreNulls"),
        (
            "SELECT count(*) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) AS n FROM orders",
            "Groups",
        ),
        ("SELECT name FROM orders WHERE name SIMILAR TO 'x'", "SimilarTo"),
        ("SELECT value FROM generate_series(1, 2)", "generate_series()"),
    ],
)
def test_what_the_producer_would_lose_is_not_written(shop, text, named):
    plan = shop.to_substrait(text)

    assert (plan.plan, plan.unsupported) == (None, (named,))
    assert rows(shop.substrait(plan)) == rows(shop.sql(text))


@pytest.mark.parametrize("kind", ["extensionLeaf", "extensionSingle", "extensionMulti"])
def test_relations_of_others_are_refused(shop, kind):
    plan = substrait.Plan.from_json(json.dumps({"relations": [{"root": {"input": {kind: {}}}}]})).encode()
    with pytest.raises(SubstraitError, match=kind):
        shop.substrait(plan)


def test_functions_that_the_profile_takes_away_are_gone(shop):
    plan = shop.to_substrait("SELECT upper(name) AS n FROM orders").plan
    profile = RuntimeProfile(functions=FunctionPolicy(without=frozenset({"upper"})))
    with SessionFactory(profile).open() as session:
        session.register("orders", ORDERS)
        with pytest.raises(DfRuntimeError, match="upper"):
            session.substrait(plan)


def test_a_closed_session_runs_no_plans(shop):
    plan = shop.to_substrait(QUERY).plan
    with SessionFactory().open() as session:
        session.register("orders", ORDERS)
    with pytest.raises(DfRuntimeError, match="closed"):
        session.substrait(plan)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_no_bytes_escape_our_errors(shop, data):
    with suppress(DfRuntimeError):
        shop.substrait(data).to_arrow()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damaged_plan_escapes_our_errors(shop, flips):
    plan = bytearray(shop.to_substrait(QUERY).plan)
    for place, value in flips:
        plan[place % len(plan)] = value
    with suppress(DfRuntimeError):
        shop.substrait(bytes(plan)).to_arrow(max_bytes=10_000_000)


@pytest.mark.parametrize(
    ("select", "missing"),
    [
        ("lag(v) IGNORE NULLS OVER (ORDER BY id)", "IgnoreNulls"),
        ("last_value(v) IGNORE NULLS OVER (ORDER BY id)", "IgnoreNulls"),
        ("count(v) FILTER (WHERE id > 2) OVER (ORDER BY id)", "WindowFilter"),
        ("count(DISTINCT v) OVER (PARTITION BY id % 2)", "WindowDistinct"),
        ("at AT TIME ZONE 'America/New_York'", "TimeZone"),
    ],
)
def test_what_the_producer_leaves_out_without_a_word_is_run_as_text(session, select, missing):
    moment = dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC)
    rows = {
        "id": [1, 2, 3, 4],
        "v": [None, 5, None, 5],
        "at": pa.array([moment] * 4, pa.timestamp("us", "UTC")),
    }
    session.register("rows", pa.table(rows))
    query = f"SELECT id, {select} AS x FROM rows ORDER BY id"
    plan = session.to_substrait(query)
    assert (plan.plan, plan.unsupported) == (None, (missing,))
    assert session.substrait(plan).to_arrow() == session.sql(query).to_arrow()


def test_ignored_nulls_of_an_aggregate_are_not_lost(session):
    session.register("rows", pa.table({"v": pa.array([None, 7, 8], pa.int64())}))
    query = "SELECT first_value(v ORDER BY v NULLS FIRST) IGNORE NULLS AS x FROM rows"
    assert session.substrait(session.to_substrait(query)).to_arrow().to_pylist() == [{"x": 7}]


def test_a_plan_that_the_optimizer_takes_for_wrong_goes_out_in_another_form(session):
    session.register("rows", pa.table({"g": ["a", "a", "b"], "v": [1, 2, 3]}))
    query = "SELECT g, sum(v) AS s, rank() OVER (ORDER BY grouping(g), g) AS r FROM rows GROUP BY ROLLUP (g)"
    plan = session.to_substrait(query)
    found = session.substrait(plan).to_arrow().sort_by("r").to_pylist()
    assert [(row["g"], row["s"], row["r"]) for row in found] == [("a", 3, 1), ("b", 3, 2), (None, 6, 3)]


@pytest.mark.parametrize("query", ["SELECT * FROM rows WHERE 1 = 0", "SELECT id, v FROM rows LIMIT 0"])
def test_an_empty_result_keeps_its_columns(session, query):
    session.register("rows", pa.table({"id": [1], "v": ["x"]}))
    assert session.substrait(session.to_substrait(query)).to_arrow().schema.names == ["id", "v"]
