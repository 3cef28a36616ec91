"""Tables that are written in order answer ORDER BY without sorting, whatever else happens to them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datafusion
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from delta_io import Table, WritePolicy
from df_runtime import RuntimeProfile, Session, SessionFactory
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("name", "string"), ColumnSpec("part", "string")])
POLICY = WritePolicy(sort_by=("id", "name"))
ORDER_BY = "SELECT id, name FROM t ORDER BY id, name"
PARTITIONS = [1, 2, 7]


def opened(table: Table, partitions: int, version: int | None = None) -> Session:
    splitting = {"datafusion.optimizer.repartition_file_min_size": "1"}
    session = SessionFactory(RuntimeProfile(target_partitions=partitions, settings=splitting)).open()
    session.register("t", table, version=version)
    return session


def sorts(session: Session, query: str = ORDER_BY) -> bool:
    return "SortExec" in str(session.explain(query).physical)


def rows(ids: Sequence[int | None], part: str | None = "p") -> pa.Table:
    names = [None if key is None or key % 5 == 0 else f"n{key % 3}" for key in ids]
    return pa.table(
        {"id": pa.array(ids, pa.int64()), "name": names, "part": [part] * len(ids)}, SPEC.to_arrow()
    )


def check(table: Table, partitions: int, expected: Sequence[int | None], *, sorted_by_engine: bool) -> None:
    with opened(table, partitions) as session:
        assert sorts(session) is sorted_by_engine
        wanted = sorted(expected, key=lambda key: (key is None, key or 0))
        assert session.sql(ORDER_BY).to_arrow()["id"].to_pylist() == wanted
        first = session.sql(f"{ORDER_BY} LIMIT 5").to_arrow()["id"].to_pylist()
        assert first == wanted[:5]
        last = session.sql("SELECT id FROM t ORDER BY id DESC LIMIT 5").to_arrow()["id"].to_pylist()
        assert last == wanted[::-1][:5]


def appended(place: Path, spec: TableSpec = SPEC) -> tuple[Table, list[int | None]]:
    """Return a table of files that overlap, with nulls in the middle."""
    table = Table.create(place / "t", spec, policy=POLICY)
    ids: list[int | None] = []
    for start in (400, 0, 200):
        some = [*range(start + 299, start, -1), *([None] if start == 0 else [])]
        assert table.write(rows(some)).sorted_by == ("id", "name")
        ids += some
    return table, ids


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_appends_are_merged_and_not_sorted(tmp_path: Path, partitions: int) -> None:
    table, ids = appended(tmp_path)
    check(table, partitions, ids, sorted_by_engine=False)


def test_a_limit_above_a_filter_leaves_files_to_their_partitions(tmp_path: Path) -> None:
    table = Table.create(tmp_path / "t", SPEC, policy=POLICY)
    for start in range(8):
        table.write(rows(range(start, 160, 8)))
    with opened(table, 2) as session:
        for _ in range(30):
            found = session.sql("SELECT id FROM t WHERE id % 2 = 1 ORDER BY id LIMIT 7").to_arrow()
            assert found["id"].to_pylist() == [1, 3, 5, 7, 9, 11, 13]


def test_checkpoints_old_versions_and_restores(tmp_path: Path) -> None:
    table, ids = appended(tmp_path)
    table.checkpoint()
    check(Table(table.uri), 2, ids, sorted_by_engine=False)
    table.write(rows([7]), mode="overwrite")
    with opened(table, 2, version=3) as session:
        assert not sorts(session)
        assert session.sql(ORDER_BY).to_arrow().num_rows == len(ids)
    table.restore(3)
    check(Table(table.uri), 2, ids, sorted_by_engine=False)


CHANGES: dict[str, Callable[[Table], object]] = {
    "a foreign append": lambda table: write_deltalake(table.uri, rows([5, 3, 9]), mode="append"),
    "a delete": lambda table: table.delete("id = 250"),
    "an update": lambda table: table.update({"name": "'z'"}, "id = 250"),
    "a merge": lambda table: table.merge(rows([250, 1000]), on="id"),
    "compaction": lambda table: table.optimize(),
    "a Z-order": lambda table: table.optimize(z_order_by=["id", "name"]),
    "a partial overwrite": lambda table: table.write(
        rows([100]), mode="overwrite", predicate="id BETWEEN 50 AND 150"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_written_otherwise_in_the_middle(tmp_path: Path, change: str) -> None:
    table, _ = appended(tmp_path)
    CHANGES[change](table)
    more = Table(table.uri, policy=POLICY)
    more.write(rows([3000, 2000, 1000]))
    ids = more.snapshot().to_reader(["id"]).read_all()["id"].to_pylist()
    check(more, 2, ids, sorted_by_engine=True)


def test_columns_added_later(tmp_path: Path) -> None:
    table, ids = appended(tmp_path)
    wider = TableSpec("t", [*SPEC.columns, ColumnSpec("note", "string", default="none")])
    table = Table(table.uri, spec=wider, policy=POLICY)
    some = rows([350, 10])
    table.write(some.append_column("note", pa.array(["x", "y"])))
    check(table, 2, [*ids, 350, 10], sorted_by_engine=False)


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_partitioned_and_mapped(tmp_path: Path, partitions: int) -> None:
    mapped = {"delta.columnMapping.mode": "name"}
    spec = TableSpec("t", SPEC.columns, partition_by=("part",), properties=mapped)
    table = Table.create(tmp_path / "t", spec, policy=POLICY)
    for part in ("b", "a", None):
        table.write(pa.concat_tables([rows([9, 1, 5], part), rows([4, 2], "c")]))
    ids = [9, 1, 5, 4, 2] * 3
    check(table, partitions, ids, sorted_by_engine=False)
    with opened(table, partitions) as session:
        query = "SELECT part, id FROM t ORDER BY part, id"
        assert not sorts(session, query)
        found = [tuple(row.values()) for row in session.sql(query).to_arrow().to_pylist()]
        some = [("a", 1), ("a", 5), ("a", 9), ("b", 1), ("b", 5), ("b", 9)]
        assert found == [*some, *[("c", 2)] * 3, *[("c", 4)] * 3, (None, 1), (None, 5), (None, 9)]


def test_foreign_contexts_get_the_right_rows(tmp_path: Path) -> None:
    table, ids = appended(tmp_path)
    with opened(table, 2) as session:
        context = session.context
        assert isinstance(context, datafusion.SessionContext)
        found = pa.table(context.sql("SELECT id FROM t ORDER BY id"))["id"].to_pylist()
    assert found == sorted(ids, key=lambda key: (key is None, key or 0))


class Histories(RuleBasedStateMachine):
    """Sorted and unsorted appends, rewrites and upkeep: the rows come in order after each."""

    @initialize(partitioned=st.booleans())
    def create(self, partitioned: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        spec = TableSpec("t", SPEC.columns, partition_by=("part",) if partitioned else ())
        self.table = Table.create(Path(self.folder.name) / "t", spec, policy=POLICY)
        self.rows: list[dict[str, Any]] = []

    @rule(ids=st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=20), sort=st.booleans())
    def append(self, ids: list[int | None], sort: bool) -> None:
        data = rows(ids, f"p{(ids[0] or 0) % 2}")
        if sort:
            self.table.write(data)
        else:
            write_deltalake(self.table.uri, data, mode="append")
        self.rows += data.to_pylist()

    @rule(ids=st.lists(st.integers(0, 30), min_size=1, max_size=20))
    def overwrite(self, ids: list[int | None]) -> None:
        data = rows(ids)
        self.table.write(data, mode="overwrite")
        self.rows = data.to_pylist()

    @rule(key=st.integers(0, 30))
    def delete(self, key: int) -> None:
        self.table.delete(f"id = {key}")
        self.rows = [row for row in self.rows if row["id"] != key]

    @rule(compact=st.booleans())
    def tidy(self, compact: bool) -> None:
        if compact:
            self.table.optimize()
        else:
            self.table.checkpoint()

    @rule()
    def reopen(self) -> None:
        self.table = Table(self.table.uri, policy=POLICY)

    @invariant()
    def rows_come_in_order(self) -> None:
        def rank(row: dict[str, Any]) -> tuple[object, ...]:
            return row["id"] is None, row["id"] or 0, row["name"] is None, row["name"] or ""

        with opened(self.table, 2) as session:
            found = session.sql(ORDER_BY).to_arrow().to_pylist()
        expected = [{"id": row["id"], "name": row["name"]} for row in sorted(self.rows, key=rank)]
        assert found == expected

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
