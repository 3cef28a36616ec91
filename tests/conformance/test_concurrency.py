"""Many threads on one session, and queries that need more memory than there is."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import harder
from comparing import difference
from delta_io import Table
from df_runtime import ResourceError, RuntimeProfile, Session, SessionFactory
from df_runtime.testing import delta_table

THREADS = 16
QUERIES_EACH = 200
# Quick ones: what is tested is the session, not the operators.
NAMES = ["running_total", "rollup", "correlated_exists", "unnest", "arrays", "recursive", "pivot", "strings"]
LIMIT = 24_000_000


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with SessionFactory(RuntimeProfile(target_partitions=2)).open() as opened:
        for name, rows in harder.tables().items():
            opened.register(name, rows)
        opened.register("growing", delta_table(tmp_path / "growing", {"n": [1]}))
        opened.register("counted", "SELECT count(*) AS n, sum(n) AS total FROM growing")
        yield opened


def resident_bytes() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


class Crew:
    """Threads that run queries of every kind and compare the answers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.queries = harder.queries()
        self.expected = {name: session.sql(self.queries[name].text).to_arrow() for name in NAMES}
        self.prepared = {name: session.prepare(name, self.queries[name].template) for name in NAMES}
        self.wrong: list[str] = []

    def work(self, number: int, count: int) -> None:
        rng = random.Random(number)
        kinds: list[Callable[[str], pa.Table]] = [self.text, self.params, self.execute, self.canonical]
        for turn in range(count):
            if turn % 20 == 0:
                self.growing()
                continue
            name = rng.choice(NAMES)
            if found := difference(rng.choice(kinds)(name), self.expected[name]):
                self.wrong.append(f"{name}: {found}")

    def text(self, name: str) -> pa.Table:
        return self.session.sql(self.queries[name].text).to_arrow()

    def params(self, name: str) -> pa.Table:
        return self.session.sql(self.queries[name].template, params=self.queries[name].params).to_arrow()

    def execute(self, name: str) -> pa.Table:
        return self.prepared[name].execute(self.queries[name].params).to_arrow()

    def canonical(self, name: str) -> pa.Table:
        return self.session.sql(self.session.gate(self.queries[name].text).canonical or "").to_arrow()

    def growing(self) -> None:
        """Each row holds one more than the one before: a torn view of the table would not add up."""
        row: dict[str, Any] = self.session.sql("SELECT * FROM counted").to_arrow().to_pylist()[0]
        if row["total"] != row["n"] * (row["n"] + 1) // 2:
            self.wrong.append(f"growing: {row}")


def test_many_threads_and_queries(session: Session, tmp_path: Path):
    crew = Crew(session)
    stop = threading.Event()

    def grow() -> None:
        table = Table(str(tmp_path / "growing"))
        number = 2
        while not stop.wait(0.2):
            table.write(pa.table({"n": [number]}))
            number += 1

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda number: crew.work(number, QUERIES_EACH // 4), range(THREADS)))
            before = resident_bytes()
            list(pool.map(lambda number: crew.work(number + 100, QUERIES_EACH), range(THREADS)))
            after = resident_bytes()
    finally:
        stop.set()
        writer.join()

    assert crew.wrong == []
    assert after - before < 64_000_000


def test_a_sort_beyond_the_memory_limit_spills_and_finishes(tmp_path: Path):
    # Sorters that run beside each other may take what the merge of another needs: the query then fails.
    profile = RuntimeProfile(memory_limit_bytes=2 * LIMIT, spill_directory=str(tmp_path), target_partitions=1)
    with SessionFactory(profile).open() as session:
        query = "SELECT value, value % 1000 AS k, repeat('x', 40) AS text FROM generate_series(1, 1000000)"
        result = session.sql(f"SELECT k, value, text FROM ({query}) ORDER BY k, value DESC")
        rows = 0
        with result.to_reader() as reader:
            for batch in reader:
                rows += batch.num_rows
        spills = result.metrics["spill_count"]

    assert rows == 1_000_000
    assert spills > 0


def test_what_cannot_spill_says_which_operator_and_what_to_raise():
    with SessionFactory(RuntimeProfile(memory_limit_bytes=LIMIT)).open() as session:
        many = "SELECT value AS a, repeat('x', 100) AS text FROM generate_series(1, 1000000)"
        result = session.sql(f"SELECT array_agg(text || a) AS everything FROM ({many})")

        with pytest.raises(ResourceError, match=r"Aggregate.*memory_limit_bytes"):
            result.to_arrow()
        assert session.sql("SELECT 1 AS one").to_arrow().to_pylist() == [{"one": 1}]
