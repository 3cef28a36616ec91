"""Texts that ask for more than there is: each ends in our error, and the process lives on."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
import threading

import pyarrow as pa
import pytest

from df_runtime import (
    FunctionPolicy,
    QueryTimeoutError,
    ResourceError,
    RuntimeProfile,
    SessionFactory,
    SqlLimitError,
    SqlPolicy,
)

MEMORY = 100_000_000
PROGRAM = """
    import json, resource, sys
    resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, 3_000_000_000))
    import pyarrow as pa
    from df_runtime import DfRuntimeError, RuntimeProfile, SessionFactory, SqlPolicy

    limited = RuntimeProfile(memory_limit_bytes=100_000_000, target_partitions=2)
    policy = SqlPolicy.read_only(max_rows=1_000_000)
    with SessionFactory(limited).open() as session:
        session.register("o", pa.table({"id": [1, 2, 3], "name": ["a", "b", None]}))
        for query in json.load(sys.stdin):
            try:
                session.sql(query, policy=policy).to_arrow()
                print("answered", flush=True)
            except DfRuntimeError as error:
                print(error.code, flush=True)
"""
LARGE = [
    "SELECT repeat('x', 2000000000) AS x",
    "SELECT repeat(name, 2000000000) AS x FROM o",
    "SELECT lpad('x', 2000000000) AS x",
    "SELECT rpad(name, 2000000000) AS x FROM o",
    "SELECT length(lpad(name, id * 500000000, 'ab')) AS x FROM o",
    "SELECT range(0, 10000000000) AS x",
    "SELECT range(0, id * 10000000000) AS x FROM o",
    "SELECT generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2200-01-01', INTERVAL '1 second') AS x",
    "SELECT array_repeat(1, 2000000000) AS x",
    "SELECT array_repeat(repeat('x', 1000000), 2000) AS x",
    "SELECT list_resize([id], 2000000000, 7) AS x FROM o",
    "SELECT replace(repeat('x', 1000000), 'x', repeat('y', 1000)) AS x",
    "SELECT regexp_replace(repeat('x', 1000000), 'x', repeat('y', 1000), 'g') AS x",
    "SELECT regexp_replace(repeat('x', 1000000), '(x+)', repeat('\\1', 1000)) AS x",
    "SELECT array_to_string(array_repeat('x', 20000), repeat('y', 20000)) AS x",
    "SELECT arrays_zip(range(0, 20000000), range(0, 20000000)) AS x",
    "SELECT make_array(" + ", ".join(["repeat(name, 1000000)"] * 200) + ") AS x FROM o",
    "SELECT " + ", ".join(f"repeat(name, {5_000_000 + n}) AS c{n}" for n in range(100)) + " FROM o",
    (
        "SELECT string_agg(name, ',') OVER (ORDER BY v) AS x "
        "FROM (SELECT 'abcdefgh' AS name, value AS v FROM generate_series(1, 20000))"
    ),
    "SELECT array_agg(value) OVER (ORDER BY value) AS x FROM generate_series(1, 20000)",
    "SELECT string_agg(repeat('x', 10000), ',') AS x FROM generate_series(1, 1000000)",
    "WITH RECURSIVE t AS (SELECT name AS n FROM o UNION ALL SELECT n || n FROM t) SELECT count(*) FROM t",
]


def doubled(call: str, first: str, times: int = 40) -> str:
    steps = ", ".join(f"t{n} AS (SELECT {call} AS x FROM t{n - 1})" for n in range(1, times))
    return (
        f"WITH t0 AS (SELECT {first} AS x FROM o), {steps} SELECT max(length(x::varchar)) FROM t{times - 1}"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a child process")
def test_large_values_are_refused_and_the_process_lives():
    queries = [*LARGE, doubled("x || x", "name"), doubled("concat(x, x)", "name")]
    queries.append(doubled("array_concat(x, x)", "[id]"))
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, check=False)

    outcomes = dict(zip(queries, done.stdout.split("\n"), strict=False))
    assert done.returncode == 0, (done.stdout.count("\n"), done.stderr[-1000:])
    assert {query: outcome for query, outcome in outcomes.items() if outcome != "query-resources"} == {}


def test_the_message_names_the_function_the_size_and_what_to_raise():
    with (
        SessionFactory(RuntimeProfile(memory_limit_bytes=MEMORY)).open() as session,
        pytest.raises(ResourceError, match=r"repeat.* 300000000 bytes.*memory_limit_bytes"),
    ):
        session.sql("SELECT repeat('abc', 100000000) AS x").to_arrow()


def test_values_within_the_memory_are_made_and_given_back():
    with SessionFactory(RuntimeProfile(memory_limit_bytes=MEMORY)).open() as session:
        for _ in range(5):
            query = "SELECT length(repeat(column1, 30000000)) AS n FROM (VALUES ('x'), ('y'))"
            assert session.sql(query).to_arrow()["n"].to_pylist() == [30_000_000] * 2
            made = session.sql("SELECT lpad('x', 5000000, 'yz') AS x").to_arrow()
            assert len(made["x"][0].as_py()) == 5_000_000


def test_functions_keep_their_names_documentation_and_results():
    with SessionFactory().open() as session:
        query = (
            "SELECT repeat('ab', 2) AS a, lpad('a', 3, 'xy') AS b, 'a' || NULL AS c, 'a' || 1 AS d, "
            "concat('a', NULL) AS e, [1] || [2] AS f, range(1, 3) AS g, list_repeat('x', 2) AS h"
        )
        assert session.sql(query).to_arrow().to_pylist() == [
            {
                "a": "abab",
                "b": "xya",
                "c": None,
                "d": "a1",
                "e": "a",
                "f": [1, 2],
                "g": [1, 2],
                "h": ["x", "x"],
            }
        ]
        described = session.sql(
            "SELECT DISTINCT description FROM information_schema.routines WHERE routine_name = 'repeat'"
        ).to_arrow()
        assert "repeated" in described["description"][0].as_py()
        assert session.sql("SELECT 'a' || column1 FROM (VALUES ('b'))").to_arrow().column_names[0].count("||")


def test_planning_ends_with_the_time():
    released = threading.Event()

    def waits(values: pa.Array) -> pa.Array:
        released.wait()
        return values

    profile = RuntimeProfile(timeout=dt.timedelta(milliseconds=300), functions=FunctionPolicy(python=True))
    with SessionFactory(profile).open() as session:
        column = {"arguments": {"value": pa.int64()}, "returns": pa.int64()}
        session.register_function("waits", waits, volatility="immutable", **column)
        # The constant is computed while the text is planned, and never before the event.
        text = "SELECT waits(1) AS x"
        try:
            for way in (lambda: session.sql(text).to_arrow(), lambda: session.explain(text)):
                with pytest.raises(QueryTimeoutError):
                    way()
            assert session.sql("SELECT 1 AS a").to_arrow()["a"].to_pylist() == [1]
        finally:
            released.set()


@pytest.fixture
def joined(session):
    session.register("t", pa.table({"a": [1]}))
    return session


def comma_joins(number: int) -> str:
    return "SELECT count(*) AS n FROM " + ", ".join(f"t AS t{n}" for n in range(number))


def test_joins_are_limited_by_the_policy(joined):
    assert joined.sql(comma_joins(100)).to_arrow()["n"].to_pylist() == [1]
    with pytest.raises(SqlLimitError, match=r"100 joins.*max_joins"):
        joined.sql(comma_joins(300))
    with pytest.raises(SqlLimitError):
        joined.sql(comma_joins(3), policy=SqlPolicy.read_only(max_joins=1))
    with pytest.raises(SqlLimitError):
        joined.prepare("p", comma_joins(3), policy=SqlPolicy.read_only(max_joins=1))
    with pytest.raises(SqlLimitError):
        joined.dataframe(joined.context.sql(comma_joins(3)), policy=SqlPolicy.read_only(max_joins=1))


@pytest.mark.parametrize("body", ["a.x FROM t{0} a, t{0} b", "x FROM t{0} UNION ALL SELECT x FROM t{0}"])
def test_queries_that_name_others_twice_are_counted_as_they_unfold(joined, body):
    steps = ", ".join(f"t{n} AS (SELECT {body.format(n - 1)})" for n in range(1, 60))
    with pytest.raises(SqlLimitError):
        joined.sql(f"WITH t0 AS (SELECT 1 AS x), {steps} SELECT * FROM t59")


def test_views_count_as_what_they_stand_for(joined):
    joined.register("v", comma_joins(60))
    with pytest.raises(SqlLimitError):
        joined.sql("SELECT * FROM v, v AS w")
