"""What an Ibis backend has to do beside answering: names, memory tables, writes, refusals."""

from __future__ import annotations

import datetime as dt
import gc
from decimal import Decimal
from typing import Any

import ibis as typed_ibis
import ibis.common.exceptions as com
import ibis.expr.operations as ops
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import (
    ExecutionError,
    ExpressionError,
    PolicyError,
    RuntimeProfile,
    SessionClosedError,
    SessionFactory,
)
from df_runtime.ibis_backend import Backend
from schema_spec import TableSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option"),  # Ibis' use of pandas
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),  # Ibis' use of DuckDB
]

ibis: Any = typed_ibis  # whose types say less than its values do

ORDERS = pa.table({"id": [1, 2, 3], "amount": [5, 7, 9]})


@pytest.fixture
def con(session) -> Backend:
    session.register("orders", ORDERS)
    return session.backend


@pytest.fixture
def trusted():
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as session:
        yield session.backend


# --- connecting


def test_ibis_finds_the_backend_by_its_name(session):
    session.register("orders", ORDERS)
    con = ibis.df_runtime.connect(session)

    assert con.list_tables() == ["orders"]
    assert con.name == "df_runtime"
    assert con.version.startswith("55.")


def test_a_backend_opens_a_session_of_its_own_and_closes_it():
    con = ibis.df_runtime.connect()
    session = con.session
    con.create_table("t", ORDERS)
    con.disconnect()

    with pytest.raises(SessionClosedError):
        session.tables()
    with pytest.raises(SessionClosedError):
        con.list_tables()


def test_disconnecting_leaves_the_users_session_open(session):
    ibis.df_runtime.connect(session).disconnect()

    assert session.tables() == ()


def test_one_backend_per_session(session):
    assert session.backend is session.backend
    assert session.backend.con is session


# --- what there is


def test_names_are_listed(con, session):
    session.register('sales."Big Table"', ORDERS)
    session.register("lake.raw.events", ORDERS)

    assert con.list_tables() == ["orders"]
    assert con.list_tables(like="ord.*") == ["orders"]
    assert con.list_tables(like="x") == []
    assert con.list_tables(database="sales") == ["Big Table"]
    assert con.list_tables(database=("lake", "raw")) == ["events"]
    assert set(con.list_databases()) == {"public", "sales"}
    assert con.list_databases(catalog="lake", like="raw") == ["raw"]
    assert {"datafusion", "lake"} <= set(con.list_catalogs())
    assert (con.current_catalog, con.current_database) == ("datafusion", "public")
    assert list(con.tables) == ["orders"]


def test_tables_have_schemas(con, session):
    session.register('sales."Big Table"', ORDERS)

    assert con.get_schema("orders") == ibis.schema({"id": "int64", "amount": "int64"})
    assert con.table("Big Table", database="sales").columns == ("id", "amount")
    assert con.tables.orders.count().execute() == 3
    assert "table_name" in con.table("tables", database="information_schema").columns
    with pytest.raises(com.TableNotFound):
        con.table("absent")


def test_a_contracts_types_and_nullability_are_those_of_the_table(session, tmp_path):
    spec = TableSpec.from_arrow(
        "orders",
        pa.schema(
            [
                pa.field("id", pa.int64(), nullable=False),
                pa.field("price", pa.decimal128(12, 2)),
                pa.field("at", pa.timestamp("us", "UTC")),
                pa.field("tags", pa.list_(pa.string())),
            ]
        ),
    )
    session.register("orders", Table.create(tmp_path / "orders", spec))
    schema = session.table("orders").schema()

    assert not schema["id"].nullable
    assert str(schema["price"]) == "decimal(12, 2)"
    assert str(schema["at"]) == "timestamp('UTC', 6)"
    assert str(schema["tags"]) == "array<string>"


def test_durations_are_intervals(session):
    session.register("t", pa.table({"d": pa.array([dt.timedelta(seconds=1)], pa.duration("us"))}))

    assert str(session.table("t").schema()["d"]) == "interval('us')"


def test_a_table_that_moves_on_is_read_at_its_newest_version(session, tmp_path):
    orders = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", ORDERS.schema))
    session.register("orders", orders)
    total = session.table("orders").amount.sum()

    assert total.to_pyarrow().as_py() is None
    orders.write(ORDERS)
    assert total.to_pyarrow().as_py() == 21


# --- running


def test_expressions_run_by_their_own_methods(con):
    orders = con.table("orders")

    assert orders.amount.sum().execute() == 21
    assert orders.order_by("id").execute()["amount"].tolist() == [5, 7, 9]
    assert orders.order_by("id").amount.to_pandas().tolist() == [5, 7, 9]
    assert orders.order_by("id").to_polars()["amount"].to_list() == [5, 7, 9]
    assert orders.order_by("id").to_pyarrow().equals(ORDERS)
    assert orders.amount.max().to_pyarrow() == pa.scalar(9)
    assert orders.order_by("id").limit(1).to_pyarrow().num_rows == 1
    assert con.execute(orders.count()) == 3


def test_batches_are_as_small_as_asked_for(con, session):
    session.register("many", pa.table({"x": range(1000)}))
    batches = list(con.table("many").to_pyarrow_batches(chunk_size=300))

    assert sum(batch.num_rows for batch in batches) == 1000
    assert max(batch.num_rows for batch in batches) <= 300


def test_batches_come_as_they_are_asked_for(con):
    endless = con.sql("SELECT a.value FROM generate_series(1, 100000000) a, generate_series(1, 100000) b")
    with endless.to_pyarrow_batches() as reader:
        assert reader.read_next_batch().num_rows > 0


def test_values_reach_pandas_in_their_types(session):
    session.register(
        "t",
        pa.table(
            {
                "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
                "day": pa.array([dt.date(2026, 1, 2), None]),
                "at": pa.array([dt.datetime(9999, 12, 30), None], pa.timestamp("us")),
                "tags": [["a"], None],
                "n": pa.array([1, None], pa.int64()),
            }
        ),
    )
    frame = session.table("t").execute()

    assert frame["price"][0] == Decimal("1.50")
    assert frame["day"][0] == dt.datetime(2026, 1, 2)  # as with every backend of Ibis
    assert str(frame["at"][0]).startswith("9999-12-30")
    assert list(frame["tags"][0]) == ["a"]
    assert frame["n"][0] == 1


def test_decimals_keep_their_digits(session):
    session.register("t", pa.table({"p": pa.array([Decimal("1.50"), Decimal("1.51")], pa.decimal128(10, 2))}))

    assert session.table("t").p.mean().to_pyarrow().as_py() == Decimal("1.505")
    assert session.table("t").p.mean().execute() == Decimal("1.505")


def test_what_fails_while_it_runs_is_an_error_of_ours(con):
    numbers = con.table("orders").id.cast("string").concat("x").cast("int64")
    for run in (numbers.execute, numbers.to_pyarrow, numbers.to_polars):
        with pytest.raises(ExecutionError, match="query-failed"):
            run()


def test_parameters_are_bound(con):
    least = ibis.param("int64")
    orders = con.table("orders")

    assert orders.filter(orders.amount >= least).count().execute(params={least: 7}) == 2
    assert con.compile(orders.filter(orders.amount >= least), params={least: 7}).endswith(">= 7")


def test_text_values_are_quoted(con, session):
    session.register("t", pa.table({"s": ["it's", "' OR 1=1 --", "back\\slash", "ünï"]}))
    t = con.table("t")
    for text in ("it's", "' OR 1=1 --", "back\\slash", "ünï"):
        assert t.filter(t.s == text).count().execute() == 1


def test_unbound_tables_are_found_by_their_names(con, session):
    unbound = ibis.table({"id": "int64", "amount": "int64"}, name="orders")

    assert session.ibis(unbound.amount.sum()).to_arrow().to_pylist() == [{"Sum(amount)": 21}]
    assert con.execute(unbound.count()) == 3


def test_a_query_text_is_a_table(con):
    orders = con.sql("SELECT id, amount * 2 AS double FROM orders")

    assert orders.double.max().execute() == 18
    assert con.table("orders").sql("SELECT count(*) AS n FROM orders").to_pyarrow().to_pylist() == [{"n": 3}]


def test_raw_sql_is_under_the_policy_of_the_session(con):
    assert con.raw_sql("SELECT 1 AS one").to_arrow().to_pylist() == [{"one": 1}]
    with pytest.raises(PolicyError):
        con.raw_sql("CREATE TABLE t AS SELECT 1")
    with pytest.raises(PolicyError):
        con.raw_sql("COPY (SELECT 1) TO '/nowhere/x.parquet'")


def test_caching_keeps_rows_for_as_long_as_they_are_held(con):
    cached = con.table("orders").mutate(double=ibis._.amount * 2).cache()
    assert cached.double.sum().execute() == 42
    before = len(con.list_tables())
    del cached
    gc.collect()
    assert len(con.list_tables()) == before - 1


# --- rows that an expression brings along


def test_memory_tables_go_with_their_expressions(con, session):
    rows = ibis.memtable({"id": [1, 2], "factor": [10, 20]})
    joined = con.table("orders").join(rows, "id").mutate(n=ibis._.amount * ibis._.factor)

    assert sorted(joined.n.to_pyarrow().to_pylist()) == [50, 140]
    assert len(session.tables()) == 2
    del rows, joined
    gc.collect()
    con.table("orders").count().execute()
    assert session.tables() == ("orders",)


def test_memory_tables_of_one_name_do_not_mix(con):
    first = _named("rows", [1])
    second = _named("rows", [2])

    assert con.execute(first).x.tolist() == [1]
    assert con.execute(second).x.tolist() == [2]
    assert con.execute(first).x.tolist() == [1]
    with pytest.raises(com.IbisError, match="Duplicate"):
        con.execute(first.union(second))


def _named(name, values):
    table = ibis.memtable({"x": values})
    operation = table.op()
    return ops.InMemoryTable(name=name, schema=operation.schema, data=operation.data).to_expr()


def test_a_memory_table_does_not_hide_a_dataset(con):
    assert con.execute(_named("orders", [7])).x.tolist() == [7]
    assert con.table("orders").count().execute() == 3


# --- making and dropping names


def test_views_follow_what_they_read(session, tmp_path):
    orders = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", ORDERS.schema))
    session.register("orders", orders)
    con = session.backend
    big = con.create_view("big", session.table("orders").filter(ibis._.amount > 5))

    assert big.count().execute() == 0
    orders.write(ORDERS)
    assert big.count().execute() == 2
    assert session.sql("SELECT count(*) AS n FROM big").to_arrow().to_pylist() == [{"n": 2}]
    with pytest.raises(com.IbisInputError, match="overwrite=True"):
        con.create_view("big", session.table("orders"))
    con.create_view("big", session.table("orders"), overwrite=True)
    assert session.table("big").count().execute() == 3
    with pytest.raises(com.IbisInputError, match="drop_view"):
        con.drop_table("big")
    con.drop_view("big")
    con.drop_view("big", force=True)
    with pytest.raises(com.TableNotFound):
        con.drop_view("big")


def test_a_view_over_a_memory_table_keeps_its_rows(con):
    con.create_view("v", ibis.memtable({"x": [1, 2]}))
    gc.collect()

    assert con.table("v").x.sum().execute() == 3


def test_tables_are_made_in_memory(con):
    made = con.create_table("made", ORDERS)
    assert made.count().execute() == 3
    assert con.create_table("from_expr", made.filter(made.id > 1)).count().execute() == 2
    assert con.create_table(
        "cast", ORDERS, schema={"id": "int32", "amount": "float64"}
    ).schema() == ibis.schema({"id": "int32", "amount": "float64"})
    assert con.create_table("empty", schema={"x": "string"}).count().execute() == 0
    assert con.create_table("Elsewhere", ORDERS, database="scratch").count().execute() == 3
    with pytest.raises(com.IbisInputError):
        con.create_table("nothing")
    with pytest.raises(com.IbisInputError):
        con.create_table("made", ORDERS)
    assert con.create_table("made", ORDERS.slice(0, 1), overwrite=True).count().execute() == 1
    with pytest.raises(com.IbisInputError, match="drop_table"):
        con.drop_view("made")
    con.drop_table("made")
    with pytest.raises(com.TableNotFound):
        con.drop_table("made")


# --- Delta tables


def test_delta_tables_are_written_and_read(con, tmp_path):
    path = tmp_path / "out"
    con.table("orders").filter(ibis._.id > 1).to_delta(path)
    con.to_delta(con.table("orders").filter(ibis._.id == 1), path, mode="append")

    assert con.read_delta(path, table_name="out").amount.sum().execute() == 21
    assert con.read_delta(path, version=1).count().execute() == 2
    assert Table(path).snapshot().version == 2


def test_rows_are_inserted_merged_and_deleted_under_a_policy_that_writes(trusted, tmp_path):
    orders = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", ORDERS.schema))
    trusted.session.register("orders", orders)
    table = trusted.table("orders")

    trusted.insert("orders", ORDERS)
    assert table.amount.sum().execute() == 21
    trusted.insert("orders", table.filter(table.id == 1), overwrite=True)
    assert table.amount.sum().execute() == 5
    trusted.upsert("orders", pa.table({"id": [1, 2], "amount": [6, 1]}), on="id")
    assert table.order_by("id").amount.to_pyarrow().to_pylist() == [6, 1]
    trusted.truncate_table("orders")
    assert table.count().execute() == 0


def test_rows_in_memory_are_inserted_too(trusted):
    table = trusted.create_table("t", ORDERS)
    trusted.insert("t", pa.table({"amount": [1], "id": [4]}))
    assert table.amount.sum().execute() == 22
    trusted.insert("t", ORDERS, overwrite=True)
    assert table.amount.sum().execute() == 21
    trusted.truncate_table("t")
    assert table.count().execute() == 0
    with pytest.raises(com.UnsupportedOperationError):
        trusted.upsert("t", ORDERS, on="id")


def test_a_read_only_session_writes_nothing(con, session, tmp_path):
    session.register("delta", Table.create(tmp_path / "d", TableSpec.from_arrow("d", ORDERS.schema)))
    for write in (
        lambda: con.insert("delta", ORDERS),
        lambda: con.upsert("delta", ORDERS, on="id"),
        lambda: con.truncate_table("delta"),
    ):
        with pytest.raises(PolicyError, match="sql_policy"):
            write()
    assert Table(tmp_path / "d").snapshot().version == 0


def test_what_is_pinned_is_not_written(trusted, tmp_path):
    orders = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", ORDERS.schema))
    trusted.session.register("before", orders, version=0)

    with pytest.raises(com.UnsupportedOperationError, match="pinned"):
        trusted.insert("before", ORDERS)
    with pytest.raises(com.TableNotFound):
        trusted.insert("absent", ORDERS)


# --- what it refuses


def test_tables_of_another_backend_are_refused(session):
    theirs = ibis.duckdb.connect()
    theirs.con.register("orders", ORDERS)
    stranger = theirs.table("orders")

    with pytest.raises(com.IbisInputError, match="duckdb"):
        session.backend.execute(stranger)
    with pytest.raises(ExpressionError, match=r"duckdb.*\[ibis-expression\]"):
        session.ibis(stranger)
    theirs.disconnect()


def test_functions_of_the_engine_have_names(con):
    @ibis.udf.scalar.builtin
    def gcd(a: int, b: int) -> int: ...

    @ibis.udf.agg.builtin
    def bool_and(a: bool) -> bool: ...

    orders = con.table("orders")
    assert gcd(orders.amount + 1, 4).max().execute() == 4
    assert orders.agg(b=bool_and(orders.id > 0)).to_pyarrow().to_pylist() == [{"b": True}]


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda t: t.agg(m=t.id.mode()), "Mode"),
        (lambda t: t.agg(m=t.id.kurtosis()), "Kurtosis"),
        (lambda t: t.mutate(m=ibis.array([t.id]).map(lambda x: x + 1)), "ArrayMap"),
        (lambda t: t.asof_join(t.view(), "id"), "asof"),
        (lambda t: t.any_left_join(t.view(), "id"), "any left"),
        (lambda t: t.mutate(m=t.id.cast("string").hexdigest("sha1")), "SHA-1"),
    ],
)
def test_an_operation_without_counterpart_is_refused_by_name(con, session, build, named):
    expr = build(con.table("orders"))

    with pytest.raises(ExpressionError, match=f"(?s){named}.*\\[ibis-expression\\]"):
        session.ibis(expr)
    with pytest.raises((com.IbisError, NotImplementedError, ValueError), match=named):
        expr.to_pyarrow()


def test_has_operation_tells_what_is_supported(con):
    assert con.has_operation(ops.Sum)
    assert con.has_operation(ops.ArraySlice)
    assert not con.has_operation(ops.Mode)


def test_urls_are_taken_apart(con):
    url = ibis.literal("https://u:p@example.org:80/a/b?k=v&l=w#f")
    parts = {
        "protocol": url.protocol(),
        "authority": url.authority(),
        "host": url.host(),
        "userinfo": url.userinfo(),
        "path": url.path(),
        "query": url.query(),
        "value": url.query("l"),
        "fragment": url.fragment(),
    }
    [found] = con.table("orders").limit(1).select(**parts).to_pyarrow().to_pylist()

    assert found == {
        "protocol": "https",
        "authority": "u:p@example.org:80",
        "host": "example.org",
        "userinfo": "u:p",
        "path": "/a/b",
        "query": "k=v&l=w",
        "value": "w",
        "fragment": "f",
    }


def test_integers_are_divided_as_in_python(session):
    session.register("t", pa.table({"a": [7, -7, 7, -7], "b": [2, 2, -2, -2]}))
    t = session.table("t")

    assert (t.a // t.b).to_pyarrow().to_pylist() == [7 // 2, -7 // 2, 7 // -2, -7 // -2]
    assert (t.a / t.b).to_pyarrow().to_pylist() == [3.5, -3.5, -3.5, 3.5]
    assert (t.a ^ t.b).to_pyarrow().to_pylist() == [7 ^ 2, -7 ^ 2, 7 ^ -2, -7 ^ -2]


def test_lists_are_cut_as_in_python(session):
    session.register("t", pa.table({"l": [[1, 2, 3, 4, 5], [], None]}))
    column = session.table("t").l
    for start, stop in [(0, 2), (1, None), (-2, None), (0, -1), (-4, -2), (3, 2), (9, 12), (-9, 2)]:
        found = column[start:stop].to_pyarrow().to_pylist()
        assert found == [[1, 2, 3, 4, 5][start:stop], [], None], (start, stop)


def test_elements_become_rows(session):
    session.register("t", pa.table({"id": [1, 2, 3], "l": [["a", "b"], [], None]}))
    t = session.table("t")

    assert t.unnest("l", offset="at").order_by("id", "at").to_pyarrow().to_pylist() == [
        {"id": 1, "l": "a", "at": 0},
        {"id": 1, "l": "b", "at": 1},
    ]
    kept = t.unnest("l", keep_empty=True).order_by("id", "l").to_pyarrow().to_pylist()
    assert kept == [{"id": 1, "l": "a"}, {"id": 1, "l": "b"}, {"id": 2, "l": None}, {"id": 3, "l": None}]
