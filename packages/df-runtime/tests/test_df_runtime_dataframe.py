"""DataFrames of the `datafusion` package, planned and run by the session's engine."""

from __future__ import annotations

import datetime as dt
import gc
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from datafusion import SessionContext, col, column, lit, udf
from datafusion import functions as f
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from df_runtime import DfRuntimeError, PolicyError, RuntimeProfile, Session, SessionFactory, SqlPolicy
from schema_spec import TableSpec

_ROWS = pa.table(
    {
        "id": pa.array(range(100), pa.int64()),
        "day": pa.array([dt.date(2026, 1, 1 + i % 5) for i in range(100)]),
        "name": pa.array([None if i % 7 == 0 else f"n{i % 10}" for i in range(100)]),
    }
)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    spec = TableSpec.from_arrow("orders", _ROWS.schema)
    Table.create(str(tmp_path / "orders"), spec).write(_ROWS)
    opened = SessionFactory(RuntimeProfile(target_partitions=2)).open()
    opened.register("orders", tmp_path / "orders")
    return opened


def _sorted(table: pa.Table) -> list[dict[str, object]]:
    return sorted(table.to_pylist(), key=repr)


def test_delta_tables_are_scanned_natively(session: Session) -> None:
    df = session.context.table("orders").filter(col("id") >= lit(90)).select(col("id"), col("name"))
    result = session.dataframe(df)
    assert result.lane.name == "dataframe"
    assert result.lane.reason == ""
    assert [identity.version for identity in result.datasets] == [1]
    assert "DataSourceExec" in result.plan().physical
    assert "ForeignExecutionPlan" not in result.plan().physical
    assert _sorted(result.to_arrow()) == _sorted(_ROWS.slice(90).select(["id", "name"]))
    assert _sorted(result.to_arrow()) == _sorted(df.to_arrow_table())


def test_dynamic_filters_reach_the_scan(session: Session) -> None:
    orders = session.context.table("orders")
    keys = orders.filter(col("id") < lit(3)).select(col("id").alias("key"))
    joined = orders.join(keys, left_on="id", right_on="key").aggregate([], [f.count(lit(1)).alias("n")])
    result = session.dataframe(joined)
    assert "DynamicFilter" in result.plan().physical
    assert result.to_arrow().to_pylist() == [{"n": 3}]


def test_a_dataframe_reads_the_version_it_was_made_over(session: Session, tmp_path: Path) -> None:
    df = session.context.table("orders")
    Table(str(tmp_path / "orders")).write(_ROWS)
    assert session.sql("SELECT count(*) AS n FROM orders").to_arrow().to_pylist() == [{"n": 200}]
    assert session.dataframe(df).to_arrow().num_rows == 100
    assert session.dataframe(session.context.table("orders")).to_arrow().num_rows == 200


def test_tables_of_another_context_travel_by_handle(session: Session, tmp_path: Path) -> None:
    other = SessionContext()
    other.from_pydict({"id": [1, 2, 3]}, name="orders")
    pq.write_table(_ROWS, tmp_path / "rows.parquet")
    other.register_parquet("rows", str(tmp_path / "rows.parquet"))
    other.register_dataset("again", ds.dataset(tmp_path / "rows.parquet"))
    df = other.sql(
        "SELECT r.name, count(*) AS n FROM rows r JOIN orders o ON r.id = o.id "
        "JOIN again a ON a.id = r.id JOIN generate_series(1, 2) AS s(value) ON s.value = r.id GROUP BY r.name"
    )
    result = session.dataframe(df)
    assert result.lane.name == "dataframe"
    assert result.datasets == ()
    assert _sorted(result.to_arrow()) == [{"name": "n1", "n": 1}, {"name": "n2", "n": 1}]
    assert _sorted(result.to_arrow()) == _sorted(result.to_arrow())


def test_results_outlive_the_other_context(session: Session) -> None:
    def planned() -> object:
        other = SessionContext()
        df = other.from_pydict({"x": [1, 2, 3]}, name="t").filter(col("x") > lit(1))
        return session.dataframe(df)

    result = planned()
    gc.collect()
    session.close()
    assert pa.table(result).num_rows == 2


def test_python_functions_run_where_they_are(session: Session) -> None:
    double = udf(lambda x: pa.array([2 * v for v in x.to_pylist()]), [pa.int64()], pa.int64(), "immutable")
    df = session.context.table("orders").select(double(col("id")).alias("twice"))
    result = session.dataframe(df)
    assert result.lane.name == "neighbour"
    assert "only its own context can run" in result.lane.reason
    assert sum(result.to_arrow()["twice"].to_pylist()) == 9900
    assert sum(result.to_arrow()["twice"].to_pylist()) == 9900


def test_a_python_function_is_not_mistaken_for_a_built_in_one(session: Session) -> None:
    context = SessionContext()
    context.from_pydict({"s": ["a"]}, name="t")
    context.register_udf(
        udf(lambda s: pa.array(["mine"] * len(s)), [pa.string()], pa.string(), "immutable", name="upper")
    )
    result = session.dataframe(context.sql("SELECT upper(arrow_cast(s, 'Utf8')) AS u FROM t"))
    assert result.lane.name == "neighbour"
    assert result.to_arrow().to_pylist() == [{"u": "mine"}]


def test_views_and_the_neighbours_own_schema_stay_there(session: Session) -> None:
    context = SessionContext()
    context.from_pydict({"a": [1, 2]}, name="t")
    context.register_table("v", context.sql("SELECT a + 1 AS b FROM t").into_view(temporary=True))
    result = session.dataframe(context.sql("SELECT b FROM v WHERE b > 2"))
    assert (result.lane.name, result.to_arrow().to_pylist()) == ("neighbour", [{"b": 3}])


def test_files_in_unknown_stores_stay_there(session: Session, tmp_path: Path) -> None:
    from datafusion.object_store import LocalFileSystem

    pq.write_table(_ROWS, tmp_path / "rows.parquet")
    context = SessionContext()
    context.register_object_store("test://", LocalFileSystem(str(tmp_path)), "host")
    context.register_parquet("rows", "test://host/rows.parquet")
    result = session.dataframe(context.table("rows"))
    assert result.lane.name == "neighbour"
    assert "test://host" in result.lane.reason
    assert result.to_arrow().num_rows == 100


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t VALUES (3)",
        "COPY t TO '{path}'",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (3)",
        "EXPLAIN INSERT INTO t VALUES (3)",
    ],
)
def test_the_policy_holds_in_every_lane(session: Session, tmp_path: Path, query: str) -> None:
    context = SessionContext()
    context.from_pydict({"a": [1, 2]}, name="t")
    df = context.sql(query.format(path=tmp_path / "copy.parquet"))
    with pytest.raises(PolicyError):
        session.dataframe(df)
    assert context.table("t").count() == 2
    assert not (tmp_path / "copy.parquet").exists()


def test_a_trusted_dataframe_writes(session: Session, tmp_path: Path) -> None:
    context = SessionContext()
    context.from_pydict({"a": [1, 2]}, name="t")
    insert = session.dataframe(context.sql("INSERT INTO t VALUES (3)"), policy=SqlPolicy.trusted())
    assert insert.lane.name == "neighbour"
    assert insert.to_arrow().to_pylist() == [{"count": 1}]
    assert context.table("t").count() == 3
    copy = context.sql(f"COPY t TO '{tmp_path / 'copy.parquet'}'")
    result = session.dataframe(copy, policy=SqlPolicy.trusted())
    assert result.to_arrow().to_pylist() == [{"count": 3}]
    assert pq.read_table(tmp_path / "copy.parquet").num_rows == 3


def test_substrait_plans_take_the_same_road(session: Session) -> None:
    from datafusion import substrait

    query = "SELECT name, count(*) AS n FROM orders WHERE id > 49 GROUP BY name ORDER BY name LIMIT 3"
    plan = substrait.Serde.serialize_bytes(query, session.context)
    logical = substrait.Consumer.from_substrait_plan(session.context, substrait.Serde.deserialize_bytes(plan))
    df = session.context.create_dataframe_from_logical_plan(logical)
    result = session.dataframe(df)
    assert result.lane.name == "dataframe"
    assert result.to_arrow().to_pylist() == session.sql(query).to_arrow().to_pylist()


_CONDITIONS = st.sampled_from(
    [
        column("id") > lit(42),
        column("name").is_null(),
        column("name") == lit("n3"),
        column("day") < lit(dt.date(2026, 1, 3)),
        f.upper(column("name")) == lit("N4"),
    ]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conditions=st.lists(_CONDITIONS, max_size=3), limit=st.none() | st.integers(1, 20), grouped=st.booleans()
)
def test_answers_are_those_of_the_package(
    session: Session, conditions: list[object], limit: int | None, *, grouped: bool
) -> None:
    df = session.context.table("orders")
    for condition in conditions:
        df = df.filter(condition)
    if grouped:
        df = df.aggregate([column("day")], [f.count(lit(1)).alias("n"), f.min(column("name")).alias("m")])
    df = df.sort(*(column(name).sort() for name in df.schema().names))
    if limit is not None:
        df = df.limit(limit)
    result = session.dataframe(df)
    # A plan that is known to have no rows would lose its columns on the way.
    assert result.lane.name == ("neighbour" if limit == 0 else "dataframe")
    assert result.to_arrow().to_pylist() == df.to_arrow_table().to_pylist()


@pytest.mark.parametrize("query", ["SELECT * FROM t WHERE 1 = 0", "SELECT a, b FROM t LIMIT 0"])
def test_a_frame_without_rows_keeps_its_columns(session, query):
    session.register("t", pa.table({"a": [1], "b": ["x"]}))
    result = session.dataframe(session.context.sql(query))
    assert result.schema.names == ["a", "b"]
    assert result.to_arrow().to_pydict() == {"a": [], "b": []}


def test_a_frame_that_cannot_be_planned_is_an_error_of_ours(session):
    session.register("t", pa.table({"a": [1], "b": [2]}))
    with pytest.raises(DfRuntimeError):
        session.dataframe(
            session.context.sql("SELECT (SELECT a FROM t AS u WHERE u.b = t.b) AS x FROM t")
        ).to_arrow()
