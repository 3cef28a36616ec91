"""Functions of Ibis: of the engine by name, of Python behind the policy, and expressions."""

from __future__ import annotations

from typing import Any

import ibis as typed_ibis
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from df_runtime import (
    ExecutionError,
    FunctionError,
    FunctionPolicy,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
    SqlPolicy,
)

pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # Ibis' use of pandas

ibis: Any = typed_ibis  # whose types say less than its values do

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
    return pc.multiply(x.combine_chunks(), 2)


@ibis.udf.scalar.python
def shout(text: str, times: int) -> str:
    return text.upper() + "!" * times


@ibis.udf.scalar.pandas
def initial(text: str) -> str:
    return text.str[:1]


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
    assert ["n" if x != x else x for x in expr.n.to_pandas()] == ["n" if e is None else e for e in expected]


def test_they_are_in_the_catalog_with_their_tier(free):
    free.ibis(free.table("orders").mutate(n=twice(ibis._.id)))

    (name,) = (name for name in free.functions() if name.startswith("twice"))
    function = free.functions()[name]
    assert (function.tier, function.kinds, function.volatility) == ("ibis", ("scalar",), "volatile")
    assert function.signatures[0].arguments[0][1] == "Int64"
    told = free.sql("SELECT tier FROM information_schema.routines WHERE routine_name = $n", params={"n": name})
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
        orders = session.table("orders")
        assert session.ibis(gcd(orders.id, 2).max()).to_arrow().column(0).to_pylist() == [2]
        assert orders.agg(n=distance(orders.city, "Ulm").max()).to_pyarrow().to_pylist() == [{"n": 4}]
        assert orders.agg(b=bool_and(orders.id > 1)).to_pyarrow().to_pylist() == [{"b": False}]
        with pytest.raises(SqlError, match=r"gcdd.*gcd"):
            session.ibis(gcdd(orders.id, 2))
        with pytest.raises(PolicyError, match="gcd"):
            session.ibis(gcd(orders.id, 2), policy=SqlPolicy.read_only(denied_functions=("gcd",)))
