from __future__ import annotations

import time

import pyarrow as pa
import pytest

from datafusion_ext import Engine, EngineError

ORDERS = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})


@pytest.fixture
def engine():
    engine = Engine()
    engine.register_batches("orders", ORDERS)
    return engine


def test_a_plan_is_bound_many_times(engine):
    prepared = engine.prepare("SELECT id FROM orders WHERE name = $name AND id > $least")

    assert pa.schema(prepared.parameters) == pa.schema([("least", pa.int64()), ("name", pa.string())])
    for name, least, ids in [("a", 0, [1]), ("c", 2, [3]), ("c", 3, [])]:
        query = prepared.bind(pa.table({"name": [name], "least": [least]}))
        assert pa.table(query)["id"].to_pylist() == ids


def test_only_rows_can_be_prepared(engine):
    for query, code in [
        ("CREATE TABLE t AS SELECT 1", "engine-not-allowed"),
        ("INSERT INTO orders VALUES (4, $1)", "engine-not-allowed"),
        ("SELECT nothing FROM orders", "engine-column-unknown"),
    ]:
        with pytest.raises(EngineError) as caught:
            engine.prepare(query)
        assert caught.value.code == code


def test_what_was_prepared_under_one_policy_does_not_write_under_another(engine):
    engine.sql("PREPARE p AS INSERT INTO orders VALUES (4, 'd')", allow_dml=True, allow_statements=True)

    with pytest.raises(EngineError) as caught:
        engine.sql("EXECUTE p", allow_statements=True)

    assert caught.value.code == "engine-not-allowed"
    assert pa.table(engine.sql("SELECT count(*) AS n FROM orders"))["n"].to_pylist() == [3]


def test_a_run_has_a_time(engine):
    query = engine.sql("SELECT count(*) FROM generate_series(1, 1000000000000)")
    query.limit(timeout_seconds=0.3)
    started = time.perf_counter()

    with pytest.raises(Exception, match="longer than"):
        pa.table(query)

    assert query.last_error is not None
    assert query.last_error.code == "engine-timeout"
    assert time.perf_counter() - started < 5


def test_a_run_has_a_number_of_rows(engine):
    query = engine.sql("SELECT * FROM generate_series(1, 1000000000000)")
    query.limit(max_rows=10_000)

    with pytest.raises(Exception, match="more than the 10000 rows"):
        pa.table(query)

    query.limit()
    small = engine.sql("SELECT id FROM orders")
    small.limit(max_rows=3, timeout_seconds=60)
    assert pa.table(small).num_rows == 3


@pytest.mark.parametrize("way", ["SELECT {}", "EXPLAIN SELECT {}", "SELECT * FROM orders WHERE id = {}"])
@pytest.mark.parametrize("link", [" + 1", "::int", " || 'a'", " = 1"])
def test_chains_are_bounded(engine, way, link):
    with pytest.raises(EngineError, match="deeper than the 2000 levels") as caught:
        engine.sql(way.format("1" + link * 50_000))

    assert caught.value.code == "engine-unsupported"
