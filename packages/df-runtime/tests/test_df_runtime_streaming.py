"""Results leave as streams: bounded in memory, ended when nobody reads them."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import textwrap
import threading
import time

import ibis
import pyarrow as pa
import pytest

from df_runtime import CancelledError, ResultSizeError, RuntimeProfile, SessionFactory

ENDLESS = (
    "SELECT a.value AS a, b.value AS b FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b"
)
BUSY = (
    "SELECT sum(a.value * b.value) AS s FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b"
)
SMALL = "SELECT value AS n, CAST(value AS VARCHAR) AS text FROM generate_series(1, 1000) ORDER BY n"


# --- collecting


@pytest.mark.parametrize("way", ["to_arrow", "to_polars", "to_pandas", "to_ibis"])
def test_collecting_refuses_what_is_larger_than_the_profile_allows(way):
    with SessionFactory(RuntimeProfile(max_result_bytes=1_000_000)).open() as session:
        with pytest.raises(ResultSizeError, match=r"1,000,000 bytes") as raised:
            getattr(session.sql(ENDLESS), way)()
        assert session.sql(SMALL).to_arrow().num_rows == 1000
    assert raised.value.bytes > 1_000_000
    assert raised.value.rows >= raised.value.batches > 0
    assert f"{raised.value.rows:,} rows" in str(raised.value)
    assert "max_bytes=" in str(raised.value)


def test_a_call_may_be_told_otherwise():
    with SessionFactory(RuntimeProfile(max_result_bytes=1000)).open() as session:
        result = session.sql(SMALL)
        with pytest.raises(ResultSizeError):
            result.to_arrow()
        assert result.to_arrow(max_bytes=None).num_rows == 1000
        assert result.to_polars(max_bytes=1_000_000).height == 1000
        with pytest.raises(ResultSizeError):
            session.sql(SMALL).to_arrow(max_bytes=1)


def test_there_is_a_limit_without_a_profile(session, monkeypatch):
    monkeypatch.setattr("df_runtime.result.MAX_RESULT_BYTES", 1000)
    with pytest.raises(ResultSizeError, match="1,000 bytes"):
        session.sql(SMALL).to_arrow()


def test_expressions_are_collected_under_the_same_limit():
    with SessionFactory(RuntimeProfile(max_result_bytes=1000)).open() as session:
        expr = session.backend.sql(SMALL)
        with pytest.raises(ResultSizeError):
            expr.to_pyarrow()
        with pytest.raises(ResultSizeError):
            expr.execute()
        assert expr.count().to_pyarrow().as_py() == 1000


# --- other libraries


def test_libraries_take_a_result_as_it_is(session):
    import duckdb
    import pandas as pd
    import polars as pl

    result = session.sql(SMALL)

    assert pl.DataFrame(result).equals(result.to_polars())
    assert duckdb.from_arrow(result).sum("n").fetchall() == [(500500,)]
    assert duckdb.execute("SELECT max(text) FROM result").fetchall() == [("999",)]
    assert pd.DataFrame.from_arrow(result)["n"].tolist() == list(range(1, 1001))


def test_pandas_can_share_the_memory_of_arrow(session):
    frame = session.sql(SMALL).to_pandas(arrow_types=True)

    assert str(frame.dtypes["n"]) == "int64[pyarrow]"
    assert frame["n"].sum() == 500500


@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # Ibis' use of pandas
def test_a_result_becomes_an_ibis_table(session):
    session.register("t", pa.table({"n": [1, 2]}))
    rows = session.sql("SELECT n, n * 10 AS tens FROM t").to_ibis()
    expr = session.table("t").join(rows, "n").order_by("n")

    assert session.ibis(expr).to_arrow().to_pydict() == {"n": [1, 2], "tens": [10, 20]}
    assert rows.schema() == ibis.schema({"n": "int64", "tens": "int64"})


# --- ending


def used_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def is_idle() -> bool:
    """Tell whether the engine rests, a second after it was told to."""
    time.sleep(1)
    before = used_cpu_seconds()
    time.sleep(0.5)
    return used_cpu_seconds() - before < 0.25


@pytest.mark.parametrize("end", ["close", "drop", "with"])
def test_a_reader_that_goes_ends_the_query(session, end):
    reader = session.sql(ENDLESS).to_reader()
    reader.read_next_batch()
    if end == "close":
        reader.close()
    elif end == "with":
        with reader:
            pass
    del reader
    gc.collect()
    assert is_idle()


@pytest.mark.parametrize("end", ["close", "cancel", "with"])
def test_a_result_that_is_closed_ends_its_query(session, end):
    result = session.sql(BUSY)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            result.to_arrow()
        except CancelledError as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    if end == "with":
        with result:
            pass
    else:
        getattr(result, end)()
    thread.join(timeout=10)

    assert not thread.is_alive()
    assert len(raised) == 1
    assert is_idle()


def test_a_closed_result_starts_nothing(session):
    with session.sql("SELECT 1 AS one") as result:
        assert result.to_arrow().to_pylist() == [{"one": 1}]
    for way in (result.to_arrow, result.to_reader, result.show, lambda: pa.table(result)):
        with pytest.raises(CancelledError, match="closed"):
            way()
    assert session.sql("SELECT 1 AS one").to_arrow().num_rows == 1


# --- memory, each in a process of its own

COMMON = """
    import ctypes, os, sys, threading, time
    from pathlib import Path
    import pyarrow as pa
    from delta_io import Table, WritePolicy
    from df_runtime import CancelledError, RuntimeProfile, SessionFactory
    from schema_spec import TableSpec

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak():
        # What `getrusage` tells begins with the process that started this one.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
"""
WRITES = """
    query = '''
        SELECT value AS id,
            concat(md5(CAST(value AS VARCHAR)), md5(CAST(-value AS VARCHAR)), repeat('x', 200)) AS text
        FROM generate_series(1, 3000000)
    '''
    with SessionFactory(RuntimeProfile(target_partitions=2)).open() as session:
        result = session.sql(query)
        policy = WritePolicy(row_group_rows=100_000)
        table = Table.create(sys.argv[1], TableSpec.from_arrow("t", result.schema), policy=policy)
        table.write(session.sql(query + " LIMIT 1000"))
        before = resident()
        table.write(result)
        grown = peak() - before
        session.register("t", table)
        print(session.sql("SELECT count(*) AS n FROM t").to_arrow()["n"][0], grown)
"""
CANCELS = """
    millions = "generate_series(1, 4000000)"
    query = f'''
        SELECT count(*) AS n FROM
        (SELECT value AS k, repeat('x', 100) || value AS s FROM {millions}) a
        JOIN (SELECT value AS k, repeat('y', 100) || value AS s FROM {millions}) b ON a.k <= b.k AND a.s < b.s
    '''
    with SessionFactory(RuntimeProfile(target_partitions=2)).open() as session:
        session.sql("SELECT 1").to_arrow()
        before = resident()
        result = session.sql(query)
        def swallow():
            try:
                result.to_arrow()
            except CancelledError:
                pass
        thread = threading.Thread(target=swallow)
        thread.start()
        deadline = time.monotonic() + 60
        while resident() - before < 300_000_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        held = resident() - before
        result.close()
        thread.join()
        time.sleep(1)
        # What the engine has let go, the allocator may still hold.
        ctypes.CDLL(None).malloc_trim(0)
        print(held, resident() - before)
"""


def run(program: str, *arguments: str) -> list[int]:
    text = textwrap.dedent(COMMON) + textwrap.dedent(program)
    command = [sys.executable, "-c", text, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [int(each) for each in done.stdout.split()]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and asks the C library to trim")


@on_linux
def test_a_result_is_written_to_a_table_as_it_comes(tmp_path):
    rows, grown = run(WRITES, str(tmp_path / "t"))

    assert rows == 3_001_000
    assert grown < rows * 264 / 3


@on_linux
def test_a_cancelled_join_gives_its_memory_back():
    held, left = run(CANCELS)

    assert held >= 300_000_000
    assert left < held / 4
