"""What one run may take: time in every way in, memory in every operator, and what an error says of it."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import ibis
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import (
    QueryLimitError,
    QueryTimeoutError,
    ResourceError,
    Result,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlPolicy,
)
from schema_spec import TableSpec

MOMENT = dt.timedelta(milliseconds=300)
ENDLESS = "SELECT a.id FROM t a, t b, t c WHERE a.id + b.id * c.id = -1"


# --- time


@pytest.fixture
def hurried(tmp_path):
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", pa.schema([("id", pa.int64())])))
    table.write(pa.table({"id": range(20_000)}))
    profile = RuntimeProfile(timeout=MOMENT, sql_policy="trusted")
    with SessionFactory(profile).open() as session:
        session.register("t", table)
        session.register("seen", "SELECT id FROM t")
        yield session


def endless_expression(session: Session) -> ibis.Table:
    t: Any = session.table("t")
    crossed = t.cross_join(t.view().rename(b="id"), t.view().rename(c="id"))
    return crossed.filter(crossed.id + crossed.b * crossed.c == -1).select("id")


WAYS: dict[str, Callable[[Session], object]] = {
    "sql": lambda session: session.sql(ENDLESS).to_arrow(),
    "view": lambda session: session.sql(ENDLESS.replace("t c", "seen c")).to_polars(),
    "prepared": lambda session: session.prepare("p", ENDLESS).execute().to_arrow(),
    "sql prepared": lambda session: (
        session.sql(f"PREPARE q AS {ENDLESS}"),
        session.sql("EXECUTE q").to_arrow(),
    ),
    "ibis": lambda session: session.ibis(endless_expression(session)).to_arrow(),
    "ibis backend": lambda session: endless_expression(session).to_pyarrow(),
    "substrait": lambda session: session.substrait(_substrait(session)).to_arrow(),
    "dataframe": lambda session: session.dataframe(session.context.sql(ENDLESS)).to_arrow(),
    "plan bytes": lambda session: session.from_plan_bytes(session.sql(ENDLESS).plan_bytes()).to_arrow(),
    "explain analyze": lambda session: session.explain(ENDLESS, analyze=True),
    "analyze in text": lambda session: session.sql(f"EXPLAIN ANALYZE {ENDLESS}").to_arrow(),
    "show": lambda session: session.sql(ENDLESS).show(),
    "insert": lambda session: session.sql(f"INSERT INTO t {ENDLESS}").to_arrow(),
    "overwrite": lambda session: session.sql(f"INSERT OVERWRITE t {ENDLESS}").to_arrow(),
    "recursion": lambda session: session.sql(
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    ).to_arrow(),
}


def _substrait(session: Session) -> bytes:
    plan = session.to_substrait(ENDLESS).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_time_ends_a_run_in_every_way_in(hurried: Session, way: Callable[[Session], object]):
    with pytest.raises(QueryTimeoutError, match=r"longer than the 0\.3 s.*timeout"):
        way(hurried)
    assert hurried.sql("SELECT count(*) AS n FROM t").to_arrow().to_pylist() == [{"n": 20_000}]


def test_time_ends_what_writes_a_result_into_a_table(hurried: Session, tmp_path):
    table = Table.create(tmp_path / "to", TableSpec.from_arrow("to", pa.schema([("id", pa.int64())])))
    for out in (hurried.sql(ENDLESS), hurried.sql(ENDLESS).to_reader()):
        with pytest.raises(Exception, match=r"longer than the 0\.3 s"):
            table.write(out)
    assert table.snapshot().version == 0


def test_a_function_is_ended_within_one_batch():
    query = "SELECT max(levenshtein(x, y)) AS x FROM words"
    words = pa.table({"x": ["ab" * 2_000 + str(n) for n in range(8_000)], "y": ["ba" * 2_000] * 8_000})
    with SessionFactory(RuntimeProfile(timeout=MOMENT, target_partitions=1)).open() as session:
        session.register("words", words)
        ended = threading.Event()

        def run() -> None:
            with pytest.raises(QueryTimeoutError):
                session.sql(query).to_arrow()
            ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
        # Whole batches would take minutes.
        assert ended.is_set()


def test_a_call_that_could_not_be_ended_is_refused():
    with SessionFactory().open() as session:
        session.register("o", pa.table({"name": ["a", "b"]}))
        query = "SELECT levenshtein(repeat(name, 100000), repeat(name, 99999)) AS x FROM o"
        with pytest.raises(QueryLimitError, match=r"levenshtein would take 9999900000 steps"):
            session.sql(query).to_arrow()


# --- memory

MEMORY = 64_000_000
PROGRAM = """
    import json, resource, sys
    resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, 3_000_000_000))
    import pyarrow as pa
    from df_runtime import DfRuntimeError, RuntimeProfile, SessionFactory

    with SessionFactory(RuntimeProfile(memory_limit_bytes=64_000_000, target_partitions=2)).open() as session:
        long = pa.table({"k": [1, 2], "x": ["a" * 2_000_000, "b" * 2_000_000]})
        session.register("long", long)
        session.register("large", long.cast(pa.schema([("k", pa.int64()), ("x", pa.large_string())])))
        session.register("lists", pa.table({"k": [1], "x": [list(range(1_000_000))]}))
        session.register("many", pa.table({"k": [1, 2] * 10_000, "n": range(20_000)}))
        for query in json.load(sys.stdin):
            try:
                for batch in session.sql(query).to_reader():
                    pass
                print("answered", flush=True)
            except DfRuntimeError as error:
                print(error.code, flush=True)
            except Exception as error:
                print("query-resources" if "query-resources" in str(error) else repr(error)[:300], flush=True)
"""
COPIES = {
    "SELECT count(*) AS n FROM long JOIN many USING (k) WHERE length(x) > n": "answered",
    "SELECT x FROM long CROSS JOIN many WHERE n < 500": "answered",
    "SELECT x, unnest(range(0, 500)) AS y FROM long": "answered",
    "SELECT max(length(x || n::varchar)) AS y FROM long JOIN many USING (k)": "query-resources",
    "SELECT count(*) AS n FROM large JOIN many USING (k) WHERE length(x) > n": "query-resources",
    "SELECT count(*) AS n FROM lists CROSS JOIN many WHERE array_length(x) > n": "query-resources",
    "SELECT max(length(x)) AS n FROM (SELECT x, unnest(range(0, 10000)) AS y FROM large) GROUP BY y": (
        "query-resources"
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a child process")
def test_copies_of_long_values_are_views_or_refused():
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    queries = json.dumps(list(COPIES))
    done = subprocess.run(command, input=queries, capture_output=True, text=True, check=False)

    outcomes = dict(zip(COPIES, done.stdout.splitlines(), strict=False))
    assert done.returncode == 0, (done.stdout, done.stderr[-1000:])
    assert outcomes == COPIES


def test_long_texts_leave_in_small_batches():
    with SessionFactory().open() as session:
        session.register("long", pa.table({"x": ["a" * 10_000_000], "b": [b"b" * 10_000_000]}))
        reader = session.sql("SELECT x, b, value FROM long, generate_series(1, 20)").to_reader()
        sizes = [(batch.num_rows, batch.nbytes) for batch in reader]
    assert sum(rows for rows, _ in sizes) == 20
    assert max(size for _, size in sizes) <= 64_000_000


ROWS = "(SELECT value AS a, CAST((value * 7919) % 1000003 AS VARCHAR) || repeat('x', 30) AS b FROM {})"
SORTS = {
    "beside": (
        "SELECT max(r) AS n FROM (SELECT row_number() OVER (ORDER BY b) AS r FROM t "
        "UNION ALL SELECT row_number() OVER (ORDER BY b DESC) AS r FROM t)"
    ),
    "after an aggregate": (
        "SELECT max(r) AS n FROM (SELECT row_number() OVER (ORDER BY b) AS r FROM "
        "(SELECT b, count(*) AS c FROM t GROUP BY b))"
    ),
    "one": "SELECT max(r) AS n FROM (SELECT row_number() OVER (ORDER BY b) AS r FROM t)",
}


@pytest.mark.parametrize("query", SORTS.values(), ids=SORTS.keys())
def test_sorts_beside_each_other_spill_and_finish(tmp_path, query: str):
    profile = RuntimeProfile(
        memory_limit_bytes=32_000_000, target_partitions=1, spill_directory=str(tmp_path)
    )
    with SessionFactory(profile).open() as session:
        session.register("t", "SELECT * FROM " + ROWS.format("generate_series(1, 400000)"))
        result = session.sql(query)
        assert result.to_arrow().to_pylist() == [{"n": 400_000}]
        assert result.metrics["spill_count"] > 0


def test_what_does_not_fit_names_the_operator_and_what_to_raise():
    with SessionFactory(RuntimeProfile(memory_limit_bytes=8_000_000)).open() as session:
        session.register("t", "SELECT * FROM " + ROWS.format("generate_series(1, 400000)"))
        query = "SELECT count(*) AS n FROM t x JOIN t y ON x.b = y.b"
        with pytest.raises(ResourceError, match=r"(?s)HashJoin.*8000000 bytes.*memory_limit_bytes"):
            session.sql(query).to_arrow()
        with pytest.raises(pa.ArrowException, match=r"(?s)HashJoin.*memory_limit_bytes.*query-resources"):
            session.sql(query).to_reader().read_all()


def test_readers_of_streams_are_told_what_to_do():
    policy = SqlPolicy.read_only(timeout=MOMENT, max_rows=10)
    with SessionFactory().open() as session:
        series = "SELECT value FROM generate_series(1, 100000000000)"
        with pytest.raises(pa.ArrowException, match=r"max_rows.*\[query-limit\]"):
            session.sql(series, policy=policy).to_reader().read_all()
        with pytest.raises(pa.ArrowException, match=r"timeout.*\[query-timeout\]"):
            pa.table(session.sql(series.replace("value", "count(*) AS n"), policy=policy))


def test_the_neighbour_has_the_memory_and_the_settings_of_the_session(tmp_path):
    profile = RuntimeProfile(
        memory_limit_bytes=8_000_000,
        spill_directory=str(tmp_path),
        target_partitions=3,
        batch_size=1_000,
        settings={"datafusion.execution.time_zone": "+02:00"},
    )
    with SessionFactory(profile).open() as session:
        context = session.context
        session.register("t", "SELECT * FROM " + ROWS.format("generate_series(1, 400000)"))
        with pytest.raises(Exception, match=r"(?i)resources exhausted|memory"):
            context.sql("SELECT count(*) FROM t x JOIN t y ON x.b = y.b").collect()
        settings = (
            "SELECT name, value FROM information_schema.df_settings WHERE name LIKE 'datafusion.execution.%'"
        )
        batches = context.sql(settings).collect()
        found = {row["name"]: row["value"] for batch in batches for row in batch.to_pylist()}
        assert found["datafusion.execution.target_partitions"] == "3"
        assert found["datafusion.execution.batch_size"] == "1000"
        assert found["datafusion.execution.time_zone"] == "+02:00"


def test_what_a_run_held_is_given_back_however_it_ends(tmp_path):
    profile = RuntimeProfile(memory_limit_bytes=32_000_000, target_partitions=1)
    with SessionFactory(profile).open() as session:
        session.register("t", "SELECT * FROM " + ROWS.format("generate_series(1, 200000)"))
        query = "SELECT a, b FROM t ORDER BY b"
        ended: list[Callable[[Result], object]] = [
            lambda result: result.to_reader().read_next_batch(),
            lambda result: result.to_reader().close(),
            lambda result: result.close(),
            lambda result: result.show(1),
        ]
        for _ in range(5):
            for end in ended:
                end(session.sql(query))
        assert session.sql(query).to_arrow().num_rows == 200_000
