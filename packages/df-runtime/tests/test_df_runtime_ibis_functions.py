"""Functions of Ibis: of the engine by name, of Python behind the policy, and expressions."""

from __future__ import annotations

from typing import Any

import ibis as typed_ibis
import pyarrow as pa
import pyarrow.compute as typed_compute
import pytest

from delta_io import Table
from df_runtime import (
    ExecutionError,
    ExpressionError,
    FunctionError,
    FunctionPolicy,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
    SqlPolicy,
)
from schema_spec import TableSpec

pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # Ibis' use of pandas

ibis: Any = typed_ibis  # whose types say less than its values do
pc: Any = typed_compute

ORDERS = pa.table({"id": [1, 2, 3, None], "city": ["Ulm", None, "Bonn", "Kiel"]})


def opened(**policy: Any) -> Session:
    session = SessionFactory(RuntimeProfile(functions=FunctionPolicy(**policy))).open()
    session.register("orders", ORDERS)
    return session


@pytest.fixture
def free():
    with opened(python=True) as session:
        yield session


@ibis.udf.scalar.pyarrow
def twice(x: int) -> int:
    column: Any = x
    return pc.multiply(column.combine_chunks(), 2)


@ibis.udf.scalar.python
def shout(text: str, times: int) -> str:
    return text.upper() + "!" * times


@ibis.udf.scalar.pandas
def initial(text: str) -> str:
    series: Any = text
    return series.str[:1]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda t: twice(t.id), [2, 4, 6, None]),
        (lambda t: shout(t.city, t.id), ["ULM!", None, "BONN!!!", None]),
        (lambda t: initial(t.city), ["U", None, "B", "K"]),
    ],
)
def test_functions_of_python_run_where_the_policy_lets_them(free, build, expected):
    expr = free.table("orders").mutate(n=build)

    assert free.ibis(expr).to_arrow().column("n").to_pylist() == expected
    assert expr.to_pyarrow().column("n").to_pylist() == expected
    assert expr.n.to_pandas().dropna().tolist() == [each for each in expected if each is not None]


def test_they_are_in_the_catalog_with_their_tier(free):
    free.ibis(free.table("orders").mutate(n=twice(ibis._.id)))

    (name,) = (name for name in free.functions() if name.startswith("twice"))
    function = free.functions()[name]
    assert (function.tier, function.kinds, function.volatility) == ("ibis", ("scalar",), "volatile")
    assert function.signatures[0].arguments[0][1] == "Int64"
    told = free.sql(
        "SELECT tier FROM information_schema.routines WHERE routine_name = $n", params={"n": name}
    )
    assert told.to_arrow().to_pylist() == [{"tier": "ibis"}]


@pytest.mark.parametrize("function", [twice, initial])
def test_the_policy_refuses_functions_of_python_by_name(function):
    with opened() as session:
        orders = session.table("orders")
        expr = orders.mutate(n=function(orders.id if function is twice else orders.city))
        with pytest.raises(PolicyError, match=rf"{function.__name__}.*FunctionPolicy\(python=True\)"):
            session.ibis(expr)
        with pytest.raises(PolicyError, match="FunctionPolicy"):
            expr.execute()
        assert not any(each.tier == "ibis" for each in session.functions().values())


def test_another_function_of_the_same_name_is_another(free):
    def made(factor: int):
        @ibis.udf.scalar.python
        def Scaled(x: int) -> int:  # noqa: N802 - names of functions have any case
            return x * factor

        return Scaled

    orders = free.table("orders")
    both = orders.select(a=made(2)(orders.id), b=made(3)(orders.id)).limit(1)
    assert both.to_pyarrow().to_pylist() == [{"a": 2, "b": 3}]


def test_a_function_takes_columns_of_more_than_one_type(free):
    @ibis.udf.scalar.python
    def described(x) -> str:
        return repr(x)

    orders = free.table("orders").limit(1)
    rows = orders.select(a=described(orders.id), b=described(orders.city)).to_pyarrow()
    assert rows.to_pylist() == [{"a": "1", "b": "'Ulm'"}]


def test_nulls_reach_a_function_that_asks_for_them(free):
    @ibis.udf.scalar.python(null_handling="special", volatility="immutable")
    def or_zero(x: int) -> int:
        return x or 0

    orders = free.table("orders")
    assert orders.select(n=or_zero(orders.id)).to_pyarrow().column("n").to_pylist() == [1, 2, 3, 0]
    (told,) = (each for name, each in free.functions().items() if name.startswith("or_zero"))
    assert told.volatility == "immutable"


def test_what_such_a_function_raises_reaches_the_caller(free):
    @ibis.udf.scalar.python
    def broken(x: int) -> int:
        raise LookupError("no such thing")

    with pytest.raises(ExecutionError, match="no such thing"):
        free.ibis(broken(free.table("orders").id)).to_arrow()


def test_options_that_mean_nothing_here_are_refused(free):
    @ibis.udf.scalar.python(side_effects=True)
    def f(x: int) -> int:
        return x

    with pytest.raises(FunctionError, match="side_effects"):
        free.ibis(f(free.table("orders").id))


def test_functions_of_the_engine_go_by_their_names():
    @ibis.udf.scalar.builtin
    def gcd(a: int, b: int) -> int: ...

    @ibis.udf.scalar.builtin(name="levenshtein")
    def distance(a: str, b: str) -> int: ...

    @ibis.udf.agg.builtin
    def bool_and(a: bool) -> bool: ...

    @ibis.udf.scalar.builtin
    def gcdd(a: int, b: int) -> int: ...

    with opened() as session:
        orders: Any = session.table("orders")
        assert session.ibis(gcd(orders.id, 2).max()).to_arrow().column(0).to_pylist() == [2]
        assert orders.agg(n=distance(orders.city, "Ulm").max()).to_pyarrow().to_pylist() == [{"n": 4}]
        assert orders.agg(b=bool_and(orders.id > 1)).to_pyarrow().to_pylist() == [{"b": False}]
        with pytest.raises(SqlError, match=r"gcdd.*gcd"):
            session.ibis(gcdd(orders.id, 2))
        with pytest.raises(PolicyError, match="gcd"):
            session.ibis(gcd(orders.id, 2), policy=SqlPolicy.read_only(denied_functions=("gcd",)))


# --- expressions over arguments

LONG, TEXT, REAL = pa.int64(), pa.string(), pa.float64()


@pytest.fixture
def plain():
    with opened() as session:
        yield session


def rows(session: Session, query: str) -> list[tuple]:
    return [tuple(row.values()) for row in session.sql(query).to_arrow().to_pylist()]


def test_an_expression_is_planned_in_the_place_of_its_calls(plain):
    plain.register_expression("known", lambda city: city.fill_null("?").upper(), arguments={"city": TEXT})

    found = rows(plain, "SELECT id, known(city) FROM orders WHERE known(city) <> 'ULM' ORDER BY id")
    assert found == [(2, "?"), (3, "BONN"), (None, "KIEL")]
    assert plain.sql("SELECT known(city) FROM orders").schema.names == ["known(orders.city)"]
    optimized = plain.explain("SELECT known(city) AS k FROM orders").optimized
    assert "known" not in optimized
    assert "upper" in optimized


def test_expressions_choose_files(plain, tmp_path):
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", pa.schema([("id", LONG)])))
    for start in (0, 10, 20):
        table.write(pa.table({"id": range(start, start + 10)}))
    plain.register("t", table)
    plain.register_expression("is_early", lambda n: n < 5, arguments={"n": LONG})

    result = plain.sql("SELECT count(*) AS n FROM t WHERE is_early(id)")
    assert result.to_arrow().to_pylist() == [{"n": 5}]
    assert (result.metrics["files_planned"], result.metrics["files_total"]) == (1, 3)


def test_an_expression_that_aggregates_is_an_aggregate(plain):
    plain.register_expression(
        "weighted", lambda x, w: (x * w).sum() / w.sum(), arguments={"x": REAL, "w": REAL}
    )

    values = "(VALUES ('a', 1.0, 1.0), ('a', 4.0, 2.0), ('b', 7.0, 1.0)) AS v(k, x, w)"
    assert rows(plain, f"SELECT k, weighted(x, w) FROM {values} GROUP BY k ORDER BY k") == [
        ("a", 3.0),
        ("b", 7.0),
    ]
    assert rows(plain, f"SELECT weighted(x, w) FILTER (WHERE k = 'a') FROM {values}") == [(3.0,)]
    over = f"SELECT weighted(x, w) OVER (PARTITION BY k ORDER BY x) FROM {values} ORDER BY k, x"
    assert rows(plain, over) == [(1.0,), (3.0,), (7.0,)]
    framed = f"SELECT weighted(x, w) OVER (ORDER BY x ROWS 1 PRECEDING) FROM {values} ORDER BY x"
    assert rows(plain, framed) == [(1.0,), (3.0,), (5.0,)]
    assert rows(plain, f"SELECT weighted(x, w) FROM {values} WHERE k = 'z'") == [(None,)]
    assert plain.functions()["weighted"].kinds == ("aggregate",)


def test_an_aggregate_of_some_rows_counts_these(plain):
    plain.register_expression(
        "share_of_even", lambda n: n.count(where=n % 2 == 0) / n.count(), arguments={"n": LONG}
    )
    query = "SELECT share_of_even(n) FROM (SELECT unnest(range(0, 1000)) AS n UNION ALL SELECT 1)"
    assert rows(plain, query) == [(500 / 1001,)]


def test_expressions_have_the_tier_of_ibis_and_named_arguments(plain):
    plain.register_expression(
        "gross", lambda net, rate: net * (1 + rate), arguments={"net": LONG, "rate": REAL}, returns=REAL
    )
    gross = plain.functions()["gross"]
    assert (gross.tier, gross.volatility, gross.kinds) == ("ibis", "immutable", ("scalar",))
    assert [kind for _, kind in gross.signatures[0].arguments] == ["Int64", "Float64"]
    assert rows(plain, "SELECT gross(rate => 0.5, net => 2), gross(NULL, 1)") == [(3.0, None)]


def test_arguments_that_are_another_at_each_look_are_looked_at_once(plain):
    plain.register_expression("square", lambda x: x * x - x.pow(2), arguments={"x": REAL})
    assert rows(plain, "SELECT max(square(random())) < 1e-9 AS b FROM range(1000)") == [(True,)]


def test_expressions_can_be_built_of_others_and_of_constants(plain):
    plain.register_expression("two", lambda x: 2, arguments={"x": LONG})
    plain.register_expression("day", lambda x: x.truncate("D"), arguments={"x": pa.timestamp("ns")})
    assert rows(plain, "SELECT two(1), CAST(day(TIMESTAMP '2026-05-06 07:08:09') AS VARCHAR)") == [
        (2, "2026-05-06T00:00:00")
    ]


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x.lag(),
        lambda x: x.sum().over(order_by=x),
        lambda x: ibis.memtable({"a": [1]}).a.max() + x,
        lambda x: x.isin(ibis.memtable({"a": [1]}).a),
        twice,
    ],
    ids=["lag", "window", "subquery", "in", "python"],
)
def test_what_is_no_expression_of_the_arguments_is_refused(plain, expression):
    with pytest.raises(FunctionError, match="odd"):
        plain.register_expression("odd", expression, arguments={"x": LONG})
    assert "odd" not in plain.functions()


def test_expressions_without_counterpart_are_refused(plain):
    with pytest.raises(ExpressionError, match="Mode"):
        plain.register_expression("odd", lambda x: x.mode(), arguments={"x": LONG})
    with pytest.raises(FunctionError):
        plain.register_expression("sum", lambda x: x, arguments={"x": LONG})
    with pytest.raises(FunctionError):
        plain.register_expression("odd", lambda: 1, arguments={})


def test_expressions_need_no_python_in_plans_that_travel(plain):
    plain.register_expression("plus_one", lambda x: x + 1, arguments={"x": LONG})
    data = plain.sql("SELECT plus_one(n) AS m FROM range(3) AS r(n)").plan_bytes()
    with SessionFactory().open() as other:
        found = other.from_plan_bytes(data, policy=SqlPolicy(files=True)).to_arrow().to_pylist()
    assert sorted(row["m"] for row in found) == [1, 2, 3]


def test_expressions_work_in_views_prepared_statements_and_ibis(plain):
    plain.register_expression("plus", lambda x, y: x + y, arguments={"x": LONG, "y": LONG})
    plain.register("v", "SELECT plus(id, 1) AS n FROM orders")
    assert rows(plain, "SELECT sum(n) FROM v") == [(9,)]
    prepared = plain.prepare("p", "SELECT sum(plus(id, $k)) AS n FROM orders")
    assert prepared.execute({"k": 10}).to_arrow().to_pylist() == [{"n": 36}]

    @ibis.udf.scalar.builtin
    def plus(x: int, y: int) -> int: ...

    assert plain.table("orders").agg(n=plus(ibis._.id, 2).sum()).to_pyarrow().to_pylist() == [{"n": 12}]
