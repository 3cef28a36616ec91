"""Errors, sessions and results between threads and processes, and results of odd shapes."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import pyarrow as pa
import pytest

import df_runtime
from df_runtime import (
    DfRuntimeError,
    ExecutionError,
    ResultSizeError,
    RuntimeProfile,
    Session,
)

ROWS = pa.table({"a": [1, 2, 3]})


@pytest.fixture
def filled(session: Session):
    session.register("t", ROWS)
    return session


@pytest.mark.parametrize(
    "query",
    ["SELECT b FROM t", "SELEC", "DROP TABLE t", "SELECT * FROM u", "SELECT sqr(a) FROM t", "SELECT 1 / 0"],
)
def test_errors_travel_between_processes(filled: Session, query: str):
    with pytest.raises(DfRuntimeError) as caught:
        filled.sql(query).to_arrow()
    found = pickle.loads(pickle.dumps(caught.value))

    assert (type(found), str(found), found.args) == (type(caught.value), str(caught.value), caught.value.args)
    assert vars(found) == vars(caught.value)


def test_every_error_of_the_tree_can_travel():
    for name in df_runtime.__all__:
        kind = getattr(df_runtime, name)
        if isinstance(kind, type) and issubclass(kind, DfRuntimeError):
            sizes = {"rows": 1, "batches": 2, "bytes_": 3} if kind is ResultSizeError else {}
            found = pickle.loads(pickle.dumps(kind("why", **sizes)))
            assert (type(found), found.message, found.code) == (kind, "why", kind.code)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_sessions_and_results_say_that_they_stay(filled: Session, take):
    with pytest.raises(TypeError, match="SessionFactory"):
        take(filled)
    with pytest.raises(TypeError, match="plan_bytes"):
        take(filled.sql("SELECT 1"))
    profile = RuntimeProfile.named("service")
    assert pickle.loads(pickle.dumps(profile)) == profile


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_why_it_cannot_query(filled: Session):
    assert filled.sql("SELECT a FROM t").to_arrow().num_rows == 3
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            filled.sql("SELECT a FROM t").to_arrow()
            os.write(writing, b"answered")
        except BaseException as error:  # noqa: BLE001 - the child must not go on with the tests
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 10_000).decode()
    os.close(reading)
    os.close(writing)
    assert "forked" in told
    assert "spawn" in told


def test_a_session_is_closed_while_its_queries_run(filled: Session):
    started = threading.Barrier(5)
    reader = filled.sql("SELECT x.value FROM generate_series(1, 300000) x, t").to_reader()
    first = reader.read_next_batch()
    outcomes: list[object] = []

    def run() -> None:
        started.wait()
        for _ in range(20):
            try:
                outcomes.append(filled.sql("SELECT count(*) AS n FROM t").to_arrow()["n"].to_pylist())
            except DfRuntimeError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    filled.close()
    for thread in threads:
        thread.join()

    assert first.num_rows + sum(batch.num_rows for batch in reader) == 900_000
    # Some look for the table while it goes.
    known = ([3], "session-closed", "sql-table-unknown")
    assert [each for each in outcomes if each not in known] == []
    assert outcomes[-1] == "session-closed"


def test_results_are_read_in_other_threads(filled: Session):
    result = filled.sql("SELECT x.value FROM generate_series(1, 100000) x, t")
    readers = [result.to_reader() for _ in range(4)]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda reader=reader: found.append(reader.read_all().num_rows))
        for reader in readers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [300_000] * 4


@pytest.mark.parametrize("way", ["to_polars", "to_ibis"])
def test_columns_of_one_name_are_told_to_those_who_take_no_two(filled: Session, way: str):
    result = filled.sql("SELECT * FROM t x JOIN t y ON x.a = y.a")
    assert result.to_arrow().column_names == ["a", "a"]
    assert result.to_pandas().shape == (3, 2)
    with pytest.raises(ExecutionError, match=r"2 of 'a'.*AS"):
        getattr(result, way)()


def test_rows_without_columns_are_counted(filled: Session, capsys):
    filled.register("z", ROWS.select([]))
    result = filled.sql("SELECT * FROM z")
    assert result.to_arrow().shape == (3, 0)
    assert result.to_polars().shape[1] == 0
    result.show(2)
    assert "(first 2 rows)" in capsys.readouterr().out
    result.show()
    assert "(3 rows)" in capsys.readouterr().out
