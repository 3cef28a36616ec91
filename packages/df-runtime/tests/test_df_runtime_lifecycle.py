"""Sessions are cheap, serve many threads, and leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import Observability, RuntimeProfile, SessionClosedError, SessionFactory
from schema_spec import TableSpec


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    rows = pa.table({"id": range(20_000), "name": [f"n{number % 7}" for number in range(20_000)]})
    table = Table.create(tmp_path / "numbers", TableSpec.from_arrow("numbers", rows.schema))
    for start in range(0, 20_000, 5_000):
        table.write(rows.slice(start, 5_000))
    return tmp_path / "numbers"


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def handles() -> set[str]:
    found: set[str] = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them is gone by then
            found.add(str(each.readlink()))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts through /proc, which Linux has")
def test_a_closed_session_leaves_no_threads_files_or_spills(numbers: Path, tmp_path: Path):
    spills = tmp_path / "spills"
    spills.mkdir()
    profile = RuntimeProfile(
        target_partitions=2, memory_limit_bytes=30_000_000, spill_directory=str(spills), batch_size=1024
    )

    def use() -> None:
        with SessionFactory(profile).open() as session:
            session.register("numbers", numbers)
            ordered = "SELECT value FROM generate_series(1, 8000000) ORDER BY value DESC"
            reader = session.sql(ordered).to_reader()
            assert reader.read_next_batch().num_rows > 0
            reader.close()
            assert session.sql("SELECT count(*) AS n FROM numbers").to_arrow()["n"].to_pylist() == [20_000]

    use()  # the engine's threads belong to the process; those that block come and go, a few at a time
    before, open_before = threads(), handles()
    for _ in range(4):
        use()
    gc.collect()

    assert threads() <= before + 16
    assert {path for path in handles() - open_before if path.startswith(str(tmp_path))} == set()
    assert [path for path in spills.rglob("*") if path.is_file()] == []


def test_a_closed_session_lets_go_of_its_data():
    rows = pa.table({"x": range(1000)})
    watched = weakref.ref(rows)
    session = SessionFactory().open()
    session.register("t", rows)
    session.constraints()
    result = session.sql("SELECT x FROM t")
    result.to_arrow()
    session.close()
    del rows, result
    gc.collect()

    assert watched() is None
    with pytest.raises(SessionClosedError):
        session.sql("SELECT 1")


def test_a_session_that_is_not_closed_is_freed_as_well():
    session = SessionFactory(RuntimeProfile(observability=Observability(keep_runs=3))).open()
    rows = pa.table({"x": [1]})
    session.register("t", rows)
    session.sql("SELECT * FROM information_schema.columns").to_arrow()
    watched, engine_holds = weakref.ref(session), weakref.ref(rows)
    del session, rows
    gc.collect()

    assert watched() is None
    assert engine_holds() is None


def test_results_that_are_read_outlive_their_session(numbers: Path):
    with SessionFactory(RuntimeProfile(batch_size=1024)).open() as session:
        session.register("numbers", numbers)
        reader = session.sql("SELECT id FROM numbers ORDER BY id").to_reader()
        first = reader.read_next_batch()
    rest = reader.read_all()

    assert first.num_rows + rest.num_rows == 20_000
    assert rest["id"].to_pylist()[-1] == 19_999


MEMORY = """
import resource, sys
import pyarrow as pa
from df_runtime import SessionFactory
factory = SessionFactory()
def use():
    with factory.open() as session:
        session.register("t", pa.table({"x": range(1000)}))
        for _ in range(10):
            session.sql("SELECT sum(x) FROM t").to_arrow()
        session.constraints()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
for _ in range(30):
    use()
before = resident()
for _ in range(150):
    use()
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures through /proc, which Linux has")
def test_opening_and_closing_does_not_grow():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 20_000_000


def test_many_threads_share_a_session(numbers: Path):
    profile = RuntimeProfile(target_partitions=2, observability=Observability(keep_runs=10_000))
    with SessionFactory(profile).open() as session:
        session.register("numbers", numbers)
        session.register("evens", "SELECT id FROM numbers WHERE id % 2 = 0")
        barrier = threading.Barrier(16)

        def work(thread: int) -> None:
            barrier.wait()
            for number in range(20):
                least = thread * 100 + number
                query = "SELECT count(*) AS n FROM evens WHERE id >= $least"
                (row,) = session.sql(query, params={"least": least}).to_arrow().to_pylist()
                assert row["n"] == 10_000 - (least + 1) // 2
                if number % 5 == 0:
                    session.register(f"own_{thread}", pa.table({"x": [thread]}))
                    own = session.sql(f"SELECT x FROM own_{thread}").to_arrow()
                    assert own.to_pylist() == [{"x": thread}]

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        runs = session.artifacts.runs

    assert len(runs) == len({run.run_id for run in runs}) == 16 * 24
    assert {run.outcome for run in runs} == {"finished"}
