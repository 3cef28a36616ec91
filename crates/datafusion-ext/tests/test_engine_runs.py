"""What the engine tells of plans, runs and caches."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafusion_ext import DeltaScan, Engine, EngineError, Query


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine({"datafusion.execution.target_partitions": "2"})
    rows = pa.table({"id": range(100), "name": ["a", "b"] * 50})
    files: list[dict[str, object]] = []
    for number in range(4):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(rows.slice(25 * number, 25), path)
        files.append(
            {
                "path": path.name,
                "size_bytes": path.stat().st_size,
                "modification_time": 0,
                "num_records": 25,
                "min": {"id": 25 * number},
                "max": {"id": 25 * number + 24},
                "null_count": {"id": 0},
            }
        )
    engine.register_delta("t", DeltaScan(str(tmp_path), rows.schema, pa.Table.from_pylist(files)))
    return engine


def operators(nodes: list) -> list[str]:
    return [node["operator"] for node in nodes]


def test_trees_list_parents_before_their_children(engine: Engine):
    plans = engine.sql("SELECT name, count(*) FROM t WHERE id > 60 GROUP BY name").explain()

    for tree in (plans["logical_tree"], plans["optimized_tree"], plans["physical_tree"]):
        assert tree[0]["parent"] is None
        assert all(node["parent"] < position for position, node in enumerate(tree) if position)
    assert operators(plans["logical_tree"]) == ["Projection", "Aggregate", "Filter", "TableScan"]
    scan = plans["physical_tree"][-1]
    assert scan["operator"] == "DataSourceExec"
    assert scan["metrics"]["files_planned"] == 2
    assert scan["metrics"]["files_total"] == 4
    assert "output_rows" not in scan["metrics"]


def test_subqueries_are_part_of_the_tree(engine: Engine):
    plans = engine.sql("SELECT id FROM t WHERE id = (SELECT max(id) FROM t)").explain()

    tree = plans["logical_tree"]
    (subquery,) = [position for position, node in enumerate(tree) if node["operator"] == "Subquery"]
    assert tree[tree[subquery]["parent"]]["operator"] == "Filter"


def test_analyzing_gives_each_operator_its_figures(engine: Engine):
    plans = engine.sql("SELECT name, count(*) FROM t WHERE id > 60 GROUP BY name").explain(analyze=True)

    root, scan = plans["physical_tree"][0], plans["physical_tree"][-1]
    assert root["metrics"]["output_rows"] == 2
    assert scan["metrics"]["bytes_scanned"] > 0
    assert scan["metrics"]["time_elapsed_opening"] > 0


def test_a_deep_plan_is_a_list_like_any(engine: Engine):
    engine.register_view("v0", "SELECT id FROM t")
    for number in range(100):
        engine.register_view(
            f"v{number + 1}", f"SELECT id FROM (SELECT id FROM v{number} LIMIT {1000 - number})"
        )

    tree = engine.sql("SELECT * FROM v100").explain()["logical_tree"]
    assert sum(node["operator"] == "Limit" for node in tree) == 100


def test_figures_are_those_of_one_run(engine: Engine):
    query = engine.sql("SELECT sum(id) FROM t")
    pa.table(query)
    first = query.metrics()["bytes_scanned"]
    for _ in range(3):
        pa.table(query)

    assert query.metrics()["bytes_scanned"] == first
    tree = query.explain()["physical_tree"]
    assert sum(node["metrics"].get("bytes_scanned", 0) for node in tree) == first


def test_a_kept_plan_does_not_grow(engine: Engine):
    query = engine.sql("SELECT sum(id) FROM t")
    plans = {pa.table(query).to_pylist()[0]["sum(t.id)"] for _ in range(150)}

    assert plans == {4950}
    assert query.last_run is not None
    # The plan was made anew in between, and the runs in between did not plan.
    assert query.metrics()["output_rows"] == 1


def latest(query: Query) -> dict[str, Any]:
    assert query.last_run is not None
    return dict(query.last_run)


def test_a_run_tells_how_it_went(engine: Engine):
    query = engine.sql("SELECT * FROM t")
    assert query.last_run is None
    reader = pa.RecordBatchReader.from_stream(query)

    reader.read_next_batch()
    assert latest(query)["outcome"] == "running"
    assert latest(query)["finished"] is None
    reader.read_all()

    run = latest(query)
    assert run["outcome"] == "finished"
    assert run["rows"] == 100
    assert run["bytes"] > 800
    assert run["started"] < run["finished"]
    assert 0 < run["waiting"] <= run["finished"] - run["started"]
    assert run["planning"] > 0
    pa.table(query)
    assert latest(query)["planning"] == 0


def test_each_end_of_a_run_is_reported_once(engine: Engine):
    ended: list[tuple[str, str | None]] = []
    engine.register_batches("texts", pa.table({"s": ["x"] * 10}))

    def watched(query: str):
        planned = engine.sql(query)
        planned.watch(lambda run: ended.append((run["outcome"], run["error_code"])))
        return planned

    pa.table(watched("SELECT * FROM t"))
    assert ended.pop() == ("finished", None)

    reader = pa.RecordBatchReader.from_stream(watched("SELECT * FROM t"))
    reader.read_next_batch()
    del reader
    assert ended.pop() == ("abandoned", None)

    with pytest.raises(pa.ArrowException):
        pa.table(watched("SELECT CAST(s AS INT) FROM texts"))
    assert ended.pop() == ("failed", "engine-type")

    cancelled = watched("SELECT * FROM t")
    reader = pa.RecordBatchReader.from_stream(cancelled)
    cancelled.cancel()
    with pytest.raises(pa.ArrowException):
        reader.read_all()
    assert ended.pop() == ("failed", "engine-cancelled")
    assert ended == []


def test_a_run_may_end_in_any_thread(engine: Engine):
    threads: list[int] = []
    query = engine.sql("SELECT * FROM t")
    query.watch(lambda _run: threads.append(threading.get_ident()))
    thread = threading.Thread(target=lambda: pa.table(query))
    thread.start()
    thread.join()

    assert threads == [thread.ident]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_watcher_raises_does_not_reach_the_stream(engine: Engine):
    def broken(run):
        raise RuntimeError("on purpose")

    query = engine.sql("SELECT * FROM t")
    query.watch(broken)

    assert pa.table(query).num_rows == 100


def test_caches_fill_and_can_be_switched_off(engine: Engine):
    assert engine.caches()["file_metadata"]["entries"] == 0

    pa.table(engine.sql("SELECT sum(id) FROM t"))
    pa.table(engine.sql("SELECT sum(id) FROM t"))

    full = engine.caches()["file_metadata"]
    assert full["entries"] == 4
    assert 0 < full["bytes"] <= full["limit_bytes"]
    assert full["hits"] >= 4
    off = Engine(cache_limits_bytes={"file_metadata": 0, "file_statistics": 0, "list_files": 0})
    assert {name: cache["limit_bytes"] for name, cache in off.caches().items()} == {
        "file_metadata": 0,
        "file_statistics": 0,
        "list_files": 0,
    }
    with pytest.raises(EngineError, match="No cache colours"):
        Engine(cache_limits_bytes={"colours": 1})


def test_removed_functions_cannot_be_called_or_seen(engine: Engine):
    engine.remove_functions(["upper", "range"])

    with pytest.raises(EngineError) as caught:
        engine.sql("SELECT upper('a')")
    assert caught.value.code == "engine-function-unknown"
    assert not {"upper", "range"} & set(engine.functions())
    names = "SELECT DISTINCT routine_name FROM information_schema.routines"
    assert "upper" not in pa.table(engine.sql(names))["routine_name"].to_pylist()
    with pytest.raises(EngineError, match="No function nosuch"):
        engine.remove_functions(["nosuch"])


def test_information_schema_takes_tables(engine: Engine):
    engine.register_batches("information_schema.keys", pa.table({"table_name": ["t"]}))

    joined = (
        "SELECT k.table_name FROM information_schema.keys k JOIN information_schema.tables USING (table_name)"
    )
    assert pa.table(engine.sql(joined)).to_pylist() == [{"table_name": "t"}]
    assert pa.schema(engine.schema("information_schema.keys")).names == ["table_name"]
    assert "routine_name" in pa.schema(engine.schema("information_schema.routines")).names
    assert engine.tables() == ["datafusion.public.t"]
    engine.deregister("information_schema.keys")
    with pytest.raises(EngineError):
        engine.sql("SELECT * FROM information_schema.keys")


def test_show_statements_read_it(engine: Engine):
    assert "t" in pa.table(engine.sql("SHOW TABLES"))["table_name"].to_pylist()
    assert pa.table(engine.sql("SHOW COLUMNS FROM t")).num_rows == 2
    shown = pa.table(engine.sql("SHOW datafusion.catalog.information_schema")).to_pylist()
    assert [row["value"] for row in shown] == ["true"]


def test_it_is_part_of_every_catalog_and_absent_when_off(engine: Engine):
    engine.register_batches("lake.raw.u", pa.table({"x": [1]}))
    names = pa.table(engine.sql("SELECT table_name FROM lake.information_schema.tables"))

    assert "u" in names["table_name"].to_pylist()
    off = Engine({"datafusion.catalog.information_schema": "false"})
    with pytest.raises(EngineError):
        off.sql("SELECT * FROM information_schema.tables")
    with pytest.raises(EngineError):
        off.sql("SHOW TABLES")


def test_spilling_beyond_its_limit_fails():
    engine = Engine(memory_limit_bytes=4 * 1024 * 1024, spill_limit_bytes=1024)
    query = "SELECT value FROM generate_series(1, 2000000) ORDER BY value DESC"

    with pytest.raises(pa.ArrowException):
        pa.table(engine.sql(query))
