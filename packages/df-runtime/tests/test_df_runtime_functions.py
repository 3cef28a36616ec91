"""Functions of Python in SQL, and what the catalog says of all functions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import (
    ExecutionError,
    FunctionError,
    FunctionPolicy,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
)
from schema_spec import TableSpec

ROWS = pa.table({"id": range(100), "city": ["Ulm", "Bonn", None, "Kiel"] * 25})
LONG, TEXT = pa.int64(), pa.string()


@pytest.fixture
def open_session(tmp_path: Path):
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", ROWS.schema))
    for start in (0, 40):
        table.write(ROWS.slice(start, 40 if start == 0 else 60))
    profile = RuntimeProfile(functions=FunctionPolicy(python=True), target_partitions=3)
    with SessionFactory(profile).open() as session:
        session.register("t", table)
        yield session


def rows(session: Session, query: str) -> list[tuple]:
    return [tuple(row.values()) for row in session.sql(query).to_arrow().to_pylist()]


def test_a_scalar_function_gets_arrays(open_session: Session):
    def shout(names: pa.Array, times: pa.Array) -> list[str | None]:
        pairs = zip(names.to_pylist(), times.to_pylist(), strict=True)
        return [None if name is None else name.upper() * times for name, times in pairs]

    open_session.register_function("shout", shout, arguments={"name": TEXT, "times": LONG}, returns=TEXT)

    found = rows(open_session, "SELECT id, shout(city, id) FROM t WHERE id < 3 ORDER BY id")
    assert found == [(0, ""), (1, "BONN"), (2, None)]
    assert rows(open_session, "SELECT id FROM t WHERE shout(city, 1) = 'KIEL' AND id < 8 ORDER BY id") == [
        (3,),
        (7,),
    ]


def test_an_aggregate_function_gets_each_group_whole(open_session: Session):
    def median_low(numbers: pa.Array) -> int | None:
        ordered = sorted(numbers.drop_null().to_pylist())
        return ordered[(len(ordered) - 1) // 2] if ordered else None

    open_session.register_function(
        "median_low", median_low, kind="aggregate", arguments={"x": LONG}, returns=LONG
    )

    query = "SELECT city, median_low(id), count(*) FROM t GROUP BY city ORDER BY city"
    assert rows(open_session, query) == [("Bonn", 49, 25), ("Kiel", 51, 25), ("Ulm", 48, 25), (None, 50, 25)]
    assert rows(open_session, "SELECT median_low(id) FROM t") == [(49,)]
    assert rows(open_session, "SELECT median_low(id) FROM t WHERE id < 0") == [(None,)]


def test_a_window_function_gets_each_partition_in_order(open_session: Session):
    def gap(numbers: pa.Array) -> list[int | None]:
        values = numbers.to_pylist()
        return [None, *(after - before for before, after in pairwise(values))]

    open_session.register_function("gap", gap, kind="window", arguments={"x": LONG}, returns=LONG)

    query = "SELECT id, gap(id) OVER (PARTITION BY city ORDER BY id DESC) FROM t WHERE id < 8 ORDER BY id"
    assert rows(open_session, query) == [(n, -4) for n in range(4)] + [(n, None) for n in range(4, 8)]


def test_a_table_function_gets_constants(open_session: Session):
    open_session.register_function("letters", lambda text: pa.table({"letter": list(text)}), kind="table")

    found = rows(open_session, "SELECT letter, count(*) FROM letters('noon') GROUP BY 1 ORDER BY 1")
    assert found == [("n", 2), ("o", 2)]


def test_the_profile_must_allow_them(session: Session):
    with pytest.raises(PolicyError, match="FunctionPolicy"):
        session.register_function("f", lambda x: x, arguments={"x": LONG}, returns=LONG)
    assert "f" not in session.functions()


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("sum", {"arguments": {"x": LONG}, "returns": LONG}),
        ("changes", {"arguments": {"x": LONG}, "returns": LONG}),
        ("Mixed", {"arguments": {"x": LONG}, "returns": LONG}),
        ("f", {"returns": LONG}),
        ("f", {"arguments": {"x": LONG}}),
    ],
)
def test_what_is_no_function_is_refused(open_session: Session, name: str, types: dict):
    with pytest.raises(FunctionError):
        open_session.register_function(name, lambda x: x, **types)


def test_what_a_function_raises_reaches_the_caller(open_session: Session):
    def broken(numbers: pa.Array) -> pa.Array:
        raise LookupError("no such thing")

    open_session.register_function("broken", broken, arguments={"x": LONG}, returns=LONG)
    open_session.register_function("short", lambda x: [1], arguments={"x": LONG}, returns=LONG)

    with pytest.raises(ExecutionError, match="no such thing"):
        open_session.sql("SELECT broken(id) FROM t").to_arrow()
    with pytest.raises(ExecutionError, match="short returned 1 values"):
        open_session.sql("SELECT short(id) FROM t").to_arrow()
    with pytest.raises(SqlError):
        open_session.sql("SELECT broken('x', 2) FROM t")


def test_plans_with_them_are_not_shared():
    kept: list[object] = []

    class Shelf:
        def take(self, inputs):
            return kept.pop() if kept else None

        def keep(self, inputs, plan, *, size_bytes):
            kept.append(plan)

    factory = SessionFactory(RuntimeProfile(functions=FunctionPolicy(python=True)), plan_cache=Shelf())
    for number in (1, 2):
        with factory.open() as session:
            session.register_function(
                "f", lambda x, n=number: [n] * len(x), arguments={"x": LONG}, returns=LONG
            )
            assert rows(session, "SELECT f(0)") == [(number,)]
    assert kept == []


def test_the_catalog_tells_tier_and_volatility(open_session: Session):
    open_session.register_function(
        "twice", lambda x: x, arguments={"x": LONG}, returns=LONG, volatility="stable"
    )

    functions = open_session.functions()

    told = {name: (functions[name].tier, functions[name].volatility) for name in ("abs", "random", "now")}
    assert told["abs"] == ("built-in", "immutable")
    assert told["random"] == ("built-in", "volatile")
    assert told["now"] == ("built-in", "stable")
    assert (functions["twice"].tier, functions["twice"].volatility) == ("python", "stable")
    (signature,) = functions["twice"].signatures
    assert ([kind for _, kind in signature.arguments], signature.returns) == (["Int64"], "Int64")
    assert (functions["changes"].tier, functions["changes"].volatility) == ("python", None)
    query = "SELECT tier, volatility FROM information_schema.routines WHERE routine_name = 'twice'"
    assert rows(open_session, query) == [("python", "stable")]
    listed = rows(open_session, "SELECT DISTINCT routine_name FROM information_schema.routines")
    assert {name for (name,) in listed} == set(functions)


def test_every_function_has_a_tier(session: Session):
    query = "SELECT count(*) FROM information_schema.routines WHERE tier IS NULL"
    assert rows(session, query) == [(0,)]
    query = """
        SELECT count(*) FROM information_schema.routines
        WHERE volatility IS NULL AND function_type <> 'TABLE'
    """
    assert rows(session, query) == [(0,)]
