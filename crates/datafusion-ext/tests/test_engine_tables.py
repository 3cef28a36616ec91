"""Tables from Arrow data and views: names, catalogs, streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafusion_ext import DeltaScan, Engine, EngineError

SLOW = "SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"


def counting_reader(batches: int, seen: list[int]) -> pa.RecordBatchReader:
    schema = pa.schema([("x", pa.int64())])

    def produce() -> Iterator[pa.RecordBatch]:
        for number in range(batches):
            seen.append(number)
            yield pa.record_batch([pa.array([number] * 10_000)], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, produce())


def test_names_may_carry_a_schema_and_a_catalog() -> None:
    engine = Engine()
    engine.register_batches("lake.sales.orders", pa.table({"x": [1]}))
    engine.register_batches('lake."Odd Schema"."a.b"', pa.table({"x": [2]}))
    assert engine.tables() == ['lake."Odd Schema"."a.b"', "lake.sales.orders"]
    union = 'SELECT x FROM lake.sales.orders UNION ALL SELECT x FROM lake."Odd Schema"."a.b" ORDER BY x'
    assert pa.table(engine.sql(union)).column("x").to_pylist() == [1, 2]


def test_registering_again_replaces() -> None:
    engine = Engine()
    engine.register_batches("t", pa.table({"x": [1]}))
    planned = engine.sql("SELECT x FROM t")
    engine.register_batches("t", pa.table({"x": [2]}))
    assert pa.table(planned).column(0).to_pylist() == [1]
    assert pa.table(engine.sql("SELECT x FROM t")).column(0).to_pylist() == [2]


def test_deregistering_tells_whether_there_was_a_table() -> None:
    engine = Engine()
    engine.register_batches("t", pa.table({"x": [1]}))
    assert (engine.deregister("t"), engine.deregister("t")) == (True, False)


def test_a_view_is_a_query_with_a_name() -> None:
    engine = Engine()
    engine.register_batches("t", pa.table({"x": [1, 2]}))
    engine.register_view("v", "SELECT x * 10 AS y FROM t WHERE x > 1")
    assert pa.schema(engine.schema("v")) == pa.schema([("y", pa.int64())])
    assert pa.table(engine.sql("SELECT y FROM v")).to_pylist() == [{"y": 20}]


def test_a_view_must_be_a_query() -> None:
    with pytest.raises(EngineError) as caught:
        Engine().register_view("v", "DROP TABLE t")
    assert caught.value.code == "engine-not-allowed"


def test_field_metadata_does_not_get_in_the_way_of_set_operations() -> None:
    engine = Engine()
    plain = pa.field("path", pa.string())
    marked = plain.with_metadata({"ARROW:extension:name": "example.FileId", "comment": "a file"})
    engine.register_batches("a", pa.table({"path": ["x", "y"]}, schema=pa.schema([plain])))
    engine.register_batches("b", pa.table({"path": ["x"]}, schema=pa.schema([marked])))
    both = "SELECT path, count(*) AS n FROM (SELECT * FROM {} UNION ALL SELECT * FROM {}) GROUP BY path"
    for left, right in (("a", "b"), ("b", "a")):
        result = pa.table(engine.sql(f"{both.format(left, right)} ORDER BY path"))
        assert result.column("n").to_pylist() == [2, 1]
    assert pa.table(engine.sql("SELECT path FROM a EXCEPT SELECT path FROM b")).num_rows == 1


def test_a_stream_is_read_lazily_and_once() -> None:
    engine, seen = Engine(), []
    engine.register_stream("s", counting_reader(50, seen))
    assert seen == []
    assert pa.table(engine.sql("SELECT count(*) AS n FROM s")).to_pylist() == [{"n": 500_000}]
    again = engine.sql("SELECT count(*) AS n FROM s")
    with pytest.raises(pa.ArrowException, match="it has been read"):
        pa.table(again)
    assert again.last_error is not None
    assert again.last_error.code == "engine-stream-consumed"


def test_a_limit_stops_reading_a_stream() -> None:
    engine, seen = Engine(), []
    engine.register_stream("s", counting_reader(1_000, seen))
    assert pa.table(engine.sql("SELECT x FROM s LIMIT 5")).num_rows == 5
    assert len(seen) < 100


def test_an_error_inside_a_stream_reaches_the_reader() -> None:
    schema = pa.schema([("x", pa.int64())])

    def produce() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([1])], schema=schema)
        message = "source went away"
        raise OSError(message)

    engine = Engine()
    engine.register_stream("s", pa.RecordBatchReader.from_batches(schema, produce()))
    with pytest.raises(pa.ArrowException, match="source went away"):
        pa.table(engine.sql("SELECT x FROM s"))


def test_one_engine_feeds_another() -> None:
    source, target = Engine(), Engine()
    source.register_batches("t", pa.table({"x": list(range(1000))}))
    target.register_stream("s", source.sql("SELECT x FROM t"))
    assert pa.table(target.sql("SELECT sum(x) AS s FROM s")).to_pylist() == [{"s": 499_500}]


def test_other_threads_run_while_a_query_does() -> None:
    query = Engine().sql(SLOW)
    threading.Timer(0.3, query.cancel).start()
    with pytest.raises(pa.ArrowException, match="cancelled"):
        pa.table(query)


def test_closing_a_result_frees_the_engine() -> None:
    query = Engine().sql("SELECT a.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
    reader = pa.RecordBatchReader.from_stream(query)
    assert reader.read_next_batch().num_rows > 0
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 5


def test_queries_run_concurrently_on_one_engine() -> None:
    engine = Engine()
    engine.register_batches("t", pa.table({"x": list(range(10_000))}))
    query = engine.sql("SELECT sum(a.x) AS s FROM t a JOIN t b ON a.x = b.x")
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(pa.table(query).to_pylist())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[{"s": 49_995_000}]] * 8


def test_a_memory_limit_is_an_error_with_a_code() -> None:
    engine = Engine(memory_limit_bytes=1_000_000)
    query = engine.sql("SELECT array_agg(a.value) FROM generate_series(1, 5000000) a")
    with pytest.raises(pa.ArrowException):
        pa.table(query)
    assert query.last_error is not None
    assert query.last_error.code == "engine-resources"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a child process")
@pytest.mark.parametrize(
    ("call", "raised"),
    [
        ("pa.table(query)", {"engine-interrupted", "KeyboardInterrupt"}),
        ("query.explain(analyze=True)", {"KeyboardInterrupt"}),
    ],
)
def test_ctrl_c_stops_a_query(call: str, raised: set[str]) -> None:
    program = f"""
        import signal
        import pyarrow as pa
        from datafusion_ext import Engine
        # Ignored from birth where the tests run in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        query = Engine().sql({SLOW!r})
        print("started", flush=True)
        try:
            {call}
        except KeyboardInterrupt:
            print("KeyboardInterrupt", flush=True)
        except pa.ArrowException:
            print(query.last_error.code, flush=True)
        print(pa.table(Engine().sql("SELECT 1 AS one")).to_pylist(), flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        try:
            output, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    first, rest = output.split("\n", 1)
    assert first in raised, errors
    assert rest == "[{'one': 1}]\n", errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_to_spawn() -> None:
    program = """
        import os
        from datafusion_ext import Engine, EngineError
        Engine().sql("SELECT 1")
        if os.fork() == 0:
            try:
                Engine().sql("SELECT 1")
            except EngineError as error:
                print(error.code, flush=True)
            os._exit(0)
        os.wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "engine-forked\n"


def test_a_maximum_is_the_same_in_every_run() -> None:
    for setting in ("true", "false"):
        engine = Engine({"datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown": setting})
        for name in ("a", "b"):
            engine.register_batches(name, pa.table({"id": list(range(1000))}))
        query = engine.sql("SELECT max(a.id) AS highest FROM a JOIN b ON a.id = b.id")
        assert [pa.table(query).to_pylist() for _ in range(3)] == [[{"highest": 999}]] * 3


def test_a_stream_outlives_its_query() -> None:
    reader = pa.RecordBatchReader.from_stream(Engine().sql("SELECT value FROM generate_series(1, 100000)"))
    assert reader.read_all().num_rows == 100_000


def test_what_is_too_long_to_plan_is_refused() -> None:
    with pytest.raises(EngineError, match="longer than") as caught:
        Engine().sql(" UNION ALL ".join(["SELECT 1"] * 5_000))
    assert caught.value.code == "engine-unsupported"


def test_filters_of_joins_reach_the_column_they_are_about(tmp_path: Path) -> None:
    def delta(name: str, parts: list[list[dict[str, object]]], schema: pa.Schema) -> DeltaScan:
        files = []
        for number, rows in enumerate(parts):
            path = f"{name}{number}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / path)
            size = (tmp_path / path).stat().st_size
            files.append({"path": path, "size_bytes": size, "modification_time": 0, "num_records": len(rows)})
        return DeltaScan(str(tmp_path), schema, pa.Table.from_pylist(files))

    left = pa.schema([("k", pa.int64()), ("g", pa.string())])
    right = pa.schema([("k", pa.int64()), ("h", pa.string())])
    pairs = [(2, ""), (2, "a"), (1, ""), (2, "a")]
    lefts = [[{"k": k, "g": g}] for k, g in pairs]
    rights = [[{"k": 1, "h": None}], [{"k": 2, "h": "z"}], [{"k": 1, "h": "a"}]]
    joined = "l a JOIN l b ON a.k = b.k JOIN r ON r.k = a.k JOIN s ON s.x = b.g"
    query = f"SELECT a.g AS one, b.g AS two, r.h FROM {joined}"
    for partitions in ("1", "2"):
        engine = Engine({"datafusion.execution.target_partitions": partitions})
        engine.register_delta("l", delta("l", lefts, left))
        engine.register_delta("r", delta("r", rights, right))
        engine.register_batches("s", pa.table({"x": [""]}))
        planned = engine.sql(query)
        assert [pa.table(planned).num_rows for _ in range(5)] == [5] * 5


@pytest.mark.parametrize("wrap", ["plain", "list", "map"])
@pytest.mark.parametrize("door", ["batches", "stream"])
def test_slices_of_structs_within_structs_are_read_as_they_are(wrap: str, door: str) -> None:
    inner = pa.struct([("y", pa.struct([("z", pa.string())])), ("n", pa.int64())])
    places = [
        None if n % 7 == 0 else {"x": None if n % 5 == 0 else {"y": {"z": str(n)}, "n": n}} for n in range(60)
    ]
    struct = pa.struct([("x", inner)])
    values = {
        "plain": pa.array(places, struct),
        "list": pa.array([[place, None] for place in places], pa.list_(struct)),
        "map": pa.array([[("k", place)] for place in places], pa.map_(pa.string(), struct)),
    }[wrap]
    rows = pa.table({"id": range(60), "v": values}).slice(13, 31)
    engine = Engine()
    if door == "batches":
        engine.register_batches("t", rows)
    else:
        engine.register_stream("t", pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(7)))
    assert pa.table(engine.sql("SELECT * FROM t ORDER BY id")).to_pylist() == rows.to_pylist()


def test_a_sliced_child_of_a_list_is_read_as_it_is() -> None:
    places = pa.array([{"x": {"n": n}} for n in range(9)]).slice(3)
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 5]), places)
    engine = Engine()
    engine.register_batches("t", pa.table({"v": lists}))
    assert pa.table(engine.sql("SELECT v FROM t"))["v"].to_pylist() == lists.to_pylist()
