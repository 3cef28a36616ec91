from __future__ import annotations

import datetime as dt
import decimal
import math
import threading
import time

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import (
    DfRuntimeError,
    ParameterError,
    PolicyError,
    PreparedError,
    QueryLimitError,
    QueryTimeoutError,
    RuntimeProfile,
    SessionClosedError,
    SessionFactory,
    SqlPolicy,
    SqlSyntaxError,
    UnknownColumnError,
    UnknownTableError,
)
from df_runtime.testing import delta_table

ROWS = {"id": [1, 2, 3], "name": ["a", "b", None], "amount": [1.5, 2.5, 3.5]}
TRUSTED = SqlPolicy.trusted()


@pytest.fixture
def shop(session):
    session.register("orders", pa.table(ROWS))
    return session


def column(result, name="x"):
    return result.to_arrow()[name].to_pylist()


def test_a_statement_runs_with_many_values(shop):
    over = shop.prepare("over", "SELECT id AS x FROM orders WHERE amount > $least AND name = $name")

    assert over.parameters == {"least": pa.float64(), "name": pa.string()}
    assert column(over.execute({"least": 1, "name": "a"})) == [1]
    assert column(over.execute({"least": 2, "name": "b"})) == [2]
    assert column(over.execute({"least": 9.0, "name": "b"})) == []


def test_positions(shop):
    statement = shop.prepare("p", "SELECT $1 + id AS x FROM orders WHERE id < $2 ORDER BY id")

    assert column(statement.execute([10, 3])) == [11, 12]


def test_a_followed_table_is_read_at_its_newest_version(session, tmp_path):
    table = delta_table(tmp_path / "orders", pa.table(ROWS))
    session.register("orders", table)
    session.register("totals", "SELECT count(*) AS x FROM orders")
    direct = session.prepare("direct", "SELECT count(*) AS x FROM orders WHERE id > $least")
    through_view = session.prepare("view", "SELECT x FROM totals")
    assert (column(direct.execute({"least": 0})), column(through_view.execute())) == ([3], [3])

    table.write(pa.table(ROWS))
    assert (column(direct.execute({"least": 0})), column(through_view.execute())) == ([6], [6])

    Table(str(tmp_path / "orders")).delete("id = 1")
    assert column(direct.execute({"least": 0})) == [4]


def test_a_plan_is_kept_while_nothing_changes(shop):
    statement = shop.prepare("p", "SELECT id AS x FROM orders WHERE id = $id")
    kept = statement._kept
    statement.execute({"id": 1})
    assert statement._kept is kept

    shop.register("orders", pa.table({"id": [7]}))
    assert column(statement.execute({"id": 7})) == [7]
    assert statement._kept is not kept


def test_a_changed_schema_is_planned_anew_or_refused(shop):
    everything = shop.prepare("all", "SELECT * FROM orders")
    names = shop.prepare("names", "SELECT name AS x FROM orders")

    shop.register("orders", pa.table({"id": ["text"]}))

    assert everything.execute().to_arrow().to_pylist() == [{"id": "text"}]
    with pytest.raises(UnknownColumnError, match="name"):
        names.execute()
    shop.deregister("orders")
    with pytest.raises(UnknownTableError):
        everything.execute()


def test_now_is_the_moment_of_each_run(shop):
    statement = shop.prepare("p", "SELECT now() AS x")
    first = column(statement.execute())
    time.sleep(0.01)

    assert column(statement.execute()) > first


@pytest.mark.parametrize(
    "value",
    [
        'it\'s -- "quoted" $1 \\ ; DROP TABLE orders',
        True,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
        2**64,
        -(10**60),
        1.5,
        math.inf,
        -math.inf,
        b"\x00\xff'",
        decimal.Decimal("12345678901234567890.123456789"),
        dt.date(1, 1, 1),
        dt.datetime(2024, 2, 29, 12, 30, 15, 123456),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        dt.time(12, 30, 15),
        dt.timedelta(days=1, seconds=3),
        [1, None, 3],
        [["a"], []],
        {"a": 1, "b": "x"},
        None,
        "",
        "é中😀",
        pa.scalar(7, pa.int8()),
        pa.scalar(None, pa.decimal128(9, 2)),
        pa.scalar(18446744073709551615, pa.uint64()),
        pa.scalar(decimal.Decimal(2**70), pa.decimal256(40, 0)),
    ],
)
def test_a_value_comes_back_as_it_was(shop, value):
    expected = value.as_py() if isinstance(value, pa.Scalar) else value
    statement = shop.prepare("p", "SELECT $x AS x")

    assert column(statement.execute({"x": value})) == [expected]
    assert column(shop.sql("SELECT $1 AS x", params=[value])) == [expected]
    if isinstance(value, pa.Scalar):
        assert statement.execute({"x": value}).schema.field("x").type == value.type


def test_not_a_number_comes_back(shop):
    assert math.isnan(column(shop.prepare("p", "SELECT $x AS x").execute({"x": math.nan}))[0])


def test_an_integer_that_no_type_holds_is_refused(shop):
    with pytest.raises(ParameterError, match=r"\$x"):
        shop.sql("SELECT $x", params={"x": 10**80})


@pytest.mark.parametrize(
    ("params", "finding"),
    [
        (None, "has no value"),
        ({"id": 1, "more": 2}, r"no parameter \$more"),
        ([1], r"no parameter \$1"),
        ({"id": "seven"}, r"\$id is used as int64, found seven of type string"),
        ({"id": [1]}, r"\$id is used as int64, found \[1\]|found \[1"),
        ({"id": b"x"}, r"\$id is used as int64"),
        ({"id": object()}, "no Arrow value"),
    ],
)
def test_wrong_values_are_refused_and_say_so(shop, params, finding):
    statement = shop.prepare("p", "SELECT name FROM orders WHERE id = $id")

    with pytest.raises(ParameterError, match=finding):
        statement.execute(params)


def test_values_that_convert_are_taken(shop):
    statement = shop.prepare("p", "SELECT id AS x FROM orders WHERE id = $id")

    assert column(statement.execute({"id": "2"})) == [2]
    assert column(statement.execute({"id": 2.0})) == [2]
    assert column(statement.execute({"id": None})) == []
    dated = shop.prepare("d", "SELECT DATE '2024-01-02' > $day AS x")
    assert column(dated.execute({"day": "2024-01-01"})) == [True]


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT nothing FROM orders WHERE id = $id", UnknownColumnError),
        ("SELEC 1", SqlSyntaxError),
        ("INSERT INTO orders VALUES ($1)", PolicyError),
        ("CREATE TABLE t AS SELECT 1", PolicyError),
        ("SELECT * FROM 'x.parquet'", PolicyError),
    ],
)
def test_what_is_wrong_is_said_when_it_is_prepared(shop, query, kind):
    with pytest.raises(kind):
        shop.prepare("p", query)


def test_a_closed_session_runs_nothing(shop):
    statement = shop.prepare("p", "SELECT 1")
    shop.close()

    with pytest.raises(SessionClosedError):
        statement.execute()


def test_a_statement_that_writes_needs_a_policy(shop):
    shop.sql("CREATE TABLE t AS SELECT 1 AS a", policy=TRUSTED)
    insert = shop.prepare("insert", "INSERT INTO t VALUES ($1)", policy=TRUSTED)
    insert.execute([2]).to_arrow()

    with pytest.raises(PolicyError):
        insert.execute([3], policy=SqlPolicy.read_only())
    assert column(shop.sql("SELECT sum(a) AS x FROM t")) == [3]


STATEMENTS = SqlPolicy(statements=True)


def test_prepared_statements_in_sql(shop):
    def run(text):
        return shop.sql(text, policy=STATEMENTS)

    assert (
        run("PREPARE over(DOUBLE, TEXT) AS SELECT id AS x FROM orders WHERE amount > $1 AND name = $2;")
        .to_arrow()
        .num_rows
        == 0
    )
    assert column(run("EXECUTE over(1, 'a')")) == [1]
    assert column(run("/* again */ execute OVER(0.5 + 1.0, lower('B'));")) == [2]
    with pytest.raises(PreparedError, match="already"):
        run("PREPARE over AS SELECT 1")
    with pytest.raises(ParameterError, match="takes 2 values, found 1"):
        run("EXECUTE over(1)")
    with pytest.raises(DfRuntimeError, match="Cannot cast"):
        run("EXECUTE over('x', 'a')").to_arrow()
    run("DEALLOCATE over")
    with pytest.raises(PreparedError, match="there are: none"):
        run("EXECUTE over(1, 'a')")


def test_values_in_execute_are_expressions_and_nothing_more(shop):
    shop.sql("PREPARE p AS SELECT $1 AS x", policy=STATEMENTS)

    assert column(shop.sql("EXECUTE p('a, b) -- c')", policy=STATEMENTS)) == ["a, b) -- c"]
    assert column(shop.sql("EXECUTE p([1, 2])", policy=STATEMENTS)) == [[1, 2]]
    assert column(shop.sql("EXECUTE p((SELECT max(id) FROM orders))", policy=STATEMENTS)) == [3]
    for text in [
        "EXECUTE p(1) FROM orders",
        "EXECUTE p(1",
        "EXECUTE",
        "EXECUTE p(1), (2)",
        "PREPARE q SELECT 1",
    ]:
        with pytest.raises(DfRuntimeError):
            shop.sql(text, policy=STATEMENTS)


def test_sql_statements_and_prepare_share_their_names(shop, tmp_path):
    table = delta_table(tmp_path / "t", {"a": [1]})
    shop.register("t", table)
    shop.prepare("counted", "SELECT count(*) AS x FROM t WHERE a >= $1")
    table.write(pa.table({"a": [5]}))

    assert column(shop.sql("EXECUTE counted(1)", policy=STATEMENTS)) == [2]
    with pytest.raises(PolicyError):
        shop.sql("EXECUTE counted(1)")


def test_prepare_hides_nothing_from_the_policy(shop):
    shop.sql("CREATE TABLE t AS SELECT 1 AS a", policy=TRUSTED)
    with pytest.raises(PolicyError):
        shop.sql("PREPARE p AS INSERT INTO t VALUES (2)", policy=STATEMENTS)
    shop.sql("PREPARE p AS INSERT INTO t VALUES (2)", policy=TRUSTED)
    with pytest.raises(PolicyError):
        shop.sql("EXECUTE p", policy=STATEMENTS)

    assert column(shop.sql("SELECT count(*) AS x FROM t")) == [1]


def test_many_threads_run_one_statement(shop):
    statement = shop.prepare("p", "SELECT $x + max(id) AS x FROM orders")
    found = []

    def run(number):
        found.extend(column(statement.execute({"x": number * 100 + turn}))[0] - 3 for turn in range(20))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted(number * 100 + turn for number in range(8) for turn in range(20))


ENDLESS = "SELECT count(*) AS x FROM generate_series(1, 1000000000000)"


@pytest.mark.parametrize("out", ["to_arrow", "to_polars", "show"])
def test_time_is_limited_by_the_policy(shop, out):
    result = shop.sql(ENDLESS, policy=SqlPolicy.read_only(timeout=dt.timedelta(milliseconds=300)))
    started = time.perf_counter()

    with pytest.raises(QueryTimeoutError, match=r"longer than the 0\.3 s"):
        getattr(result, out)()

    assert time.perf_counter() - started < 10


def test_time_is_limited_by_the_profile_for_every_front_end():
    profile = RuntimeProfile(timeout=dt.timedelta(milliseconds=300))
    with SessionFactory(profile).open() as session:
        with pytest.raises(QueryTimeoutError):
            session.sql(ENDLESS).to_arrow()
        with pytest.raises(QueryTimeoutError):
            session.prepare("p", ENDLESS).execute().to_arrow()
        with pytest.raises(QueryTimeoutError):
            session.explain(ENDLESS, analyze=True)


def test_an_endless_recursion_ends_with_its_time(shop):
    text = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"

    with pytest.raises(QueryTimeoutError):
        shop.sql(text, policy=SqlPolicy.read_only(timeout=dt.timedelta(milliseconds=300))).to_arrow()


def test_rows_are_limited_by_the_policy(shop):
    policy = SqlPolicy.read_only(max_rows=1000)

    with pytest.raises(QueryLimitError, match="1000 rows"):
        shop.sql("SELECT * FROM generate_series(1, 1000000000000)", policy=policy).to_arrow()
    assert shop.sql("SELECT * FROM generate_series(1, 1000)", policy=policy).to_arrow().num_rows == 1000


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_characters": 0}, {"timeout": dt.timedelta(0)}])
def test_limits_are_limits(limits):
    with pytest.raises(ValueError, match=r"at least 1|longer than"):
        SqlPolicy(**limits)
