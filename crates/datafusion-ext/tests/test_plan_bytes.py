"""Physical plans as bytes: what survives, and what is refused."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datafusion_ext import DeltaScan, Engine, EngineError


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    rows = pa.table({"id": pa.array(range(100), pa.int64()), "name": [f"n{i % 7}" for i in range(100)]})
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=10)
    return engine_over(tmp_path)


def engine_over(folder: Path) -> Engine:
    path = folder / "a.parquet"
    files = pa.table(
        {
            "path": [path.name],
            "size_bytes": [path.stat().st_size],
            "modification_time": [0],
            "num_records": [100],
            "min": [{"id": 0}],
            "max": [{"id": 99}],
        }
    )
    metadata = {f"key {number}": f"value {number}" for number in range(6)}
    schema = pa.schema([field.with_metadata(metadata) for field in pq.read_schema(path)], metadata)
    made = Engine({"datafusion.execution.target_partitions": "2"})
    made.register_delta("t", DeltaScan(str(folder), schema, files))
    return made


def test_a_decoded_query_is_a_query(engine: Engine) -> None:
    query = engine.sql("SELECT name, count(*) AS n FROM t WHERE id > 49 GROUP BY name ORDER BY name")
    decoded = Engine().query_from_bytes(query.to_bytes())
    assert pa.schema(decoded.schema).names == ["name", "n"]
    assert decoded.tables() == query.tables()
    assert pa.table(decoded) == pa.table(query) == pa.table(decoded)
    assert decoded.metrics()["row_groups_pruned_statistics_pruned"] == 5
    plans = decoded.explain()
    assert plans["logical"] == query.explain()["logical"]
    assert "DataSourceExec" in plans["physical"]
    assert decoded.to_bytes() == query.to_bytes()


OTHER_PROCESS = f"""
import sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from datafusion_ext import DeltaScan, Engine
{inspect.getsource(engine_over)}
sys.stdout.buffer.write(engine_over(Path(sys.argv[1])).sql(sys.argv[2]).to_bytes())
"""
SHARED_STATE = """
    SELECT a.name, count(*) AS n FROM t AS a JOIN (SELECT id FROM t WHERE id > 90) AS b ON a.id = b.id
    GROUP BY a.name ORDER BY n DESC, a.name LIMIT 3
"""


def test_equal_plans_have_equal_bytes_also_in_another_process(engine: Engine, tmp_path: Path) -> None:
    query = engine.sql(SHARED_STATE)
    assert "DynamicFilter" in query.explain()["physical"]
    written = query.to_bytes()
    assert query.to_bytes() == engine.sql(SHARED_STATE).to_bytes() == written
    assert engine.sql(SHARED_STATE.replace("90", "91")).to_bytes() != written
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path), SHARED_STATE], check=True, capture_output=True
    )
    assert done.stdout == written


def test_memory_and_functions_travel_and_streams_do_not(engine: Engine) -> None:
    engine.register_batches("m", pa.table({"id": [1, 2, 3]}))
    query = engine.sql("SELECT t.id, upper(name) AS u FROM t JOIN m ON t.id = m.id ORDER BY 1")
    assert pa.table(Engine().query_from_bytes(query.to_bytes())) == pa.table(query)
    engine.register_stream("s", pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), []))
    with pytest.raises(EngineError, match="engine-plan-bytes"):
        engine.sql("SELECT * FROM s").to_bytes()


def test_limits_beyond_32_bits_survive(engine: Engine) -> None:
    query = engine.sql(f"SELECT id FROM t LIMIT {2**33}")
    assert pa.table(Engine().query_from_bytes(query.to_bytes())).num_rows == 100


def test_writes_need_to_be_allowed(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    data = engine.sql(f"COPY (SELECT 1 AS x) TO '{path}'", allow_dml=True).to_bytes()
    with pytest.raises(EngineError, match="engine-not-allowed"):
        Engine().query_from_bytes(data)
    assert not path.exists()
    assert pa.table(Engine().query_from_bytes(data, allow_dml=True)).to_pylist() == [{"count": 1}]


def test_no_secrets_are_in_plans() -> None:
    options = {"aws_region": "eu-west-1", "aws_access_key_id": "someone", "aws_secret_access_key": "hunter2"}
    files = pa.table(
        {"path": ["a.parquet"], "size_bytes": [10], "modification_time": [0], "num_records": [None]},
        schema=pa.schema(
            [
                ("path", pa.string()),
                ("size_bytes", pa.int64()),
                ("modification_time", pa.int64()),
                ("num_records", pa.int64()),
            ]
        ),
    )
    schema = pa.schema([("id", pa.int64())])
    engine = Engine()
    engine.register_delta("t", DeltaScan("s3://bucket/t", schema, files, storage_options=options))
    query = engine.sql("SELECT * FROM t WHERE id > 1")
    data = query.to_bytes()
    assert b"hunter2" not in data
    assert b"someone" not in data
    assert "hunter2" not in repr(query.explain())
    other = Engine()
    with pytest.raises(EngineError, match="does not know") as refused:
        other.query_from_bytes(data)
    assert refused.value.code == "engine-plan-bytes"
    other.register_store("s3://bucket", {**options, "aws_secret_access_key": "another"})
    assert other.query_from_bytes(data).tables() == query.tables()


@given(data=st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(EngineError, match="engine-plan-bytes"):
        Engine().query_from_bytes(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_plans_are_refused(engine: Engine, data: st.DataObject) -> None:
    plan = engine.sql("SELECT name FROM t WHERE id > 49").to_bytes()
    at = data.draw(st.integers(0, len(plan) - 1))
    other = data.draw(st.binary(max_size=8))
    damaged = plan[:at] + other + plan[at + len(other) :]
    if damaged == plan:
        return
    with pytest.raises(EngineError, match="engine-plan-bytes"):
        Engine().query_from_bytes(damaged)


@given(data=st.binary(max_size=200))
def test_garbage_is_no_logical_plan_either(data: bytes) -> None:
    from datafusion_ext import TableHandles

    engine = Engine()
    code = None
    try:
        engine.plan(data, TableHandles(engine))
    except EngineError as error:
        code = error.code
    assert code in {None, "engine-plan-bytes", "engine-not-allowed"}
