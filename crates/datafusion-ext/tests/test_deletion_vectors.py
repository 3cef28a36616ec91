"""Deleted rows stay out of every answer, wherever their vector is stored and however files are split."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import datafusion
import pyarrow as pa
import pytest
from delta_files import FORMS, data_file, engine_over, rows_of, scan, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from datafusion_ext import DeltaScan, Engine

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("x", pa.float64())])
QUERIES = [
    "SELECT * FROM t",
    "SELECT name FROM t WHERE id % 3 = 0",
    "SELECT * FROM t WHERE id BETWEEN 7 AND 19",
    "SELECT * FROM t WHERE id IN (1, 2, 25, 60)",
    "SELECT id FROM t WHERE name IS NULL",
    "SELECT id FROM t WHERE name >= 'n3' AND x < 20",
    "SELECT id FROM t WHERE x > 12.5 OR id = 2",
    "SELECT count(*) AS n, count(name) AS named, min(id) AS low, max(id) AS high, sum(x) AS s FROM t",
    "SELECT min(id) AS low, max(x) AS high FROM t WHERE id > 10",
    "SELECT id % 4 AS k, count(*) AS n FROM t GROUP BY id % 4",
    "SELECT a.id, b.name FROM t a JOIN t b ON a.id = b.id + 1",
    "SELECT count(*) AS n FROM t WHERE id IN (SELECT id + 5 FROM t WHERE id > 20)",
    "SELECT id FROM t ORDER BY id DESC NULLS LAST LIMIT 7",
    "SELECT id FROM t WHERE id > 4 ORDER BY x, id LIMIT 3 OFFSET 2",
]


def numbered(start: int, count: int) -> pa.Table:
    ids = range(start, start + count)
    columns = {
        "id": list(ids),
        "name": [None if each % 7 == 0 else f"n{each}" for each in ids],
        "x": [each / 2 for each in ids],
    }
    return pa.table(columns, SCHEMA)


def left_of(rows: pa.Table, deleted: set[int]) -> pa.Table:
    return rows.filter(pa.array([at not in deleted for at in range(rows.num_rows)], pa.bool_()))


def bag(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(map(repr, rows))


file_of_rows = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.one_of(st.none(), st.sets(st.integers(0, count - 1), min_size=1)),
        st.integers(1, 15),
        st.sampled_from(FORMS),
    )
)


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(file_of_rows, min_size=1, max_size=4),
    partitions=st.sampled_from([1, 2, 7]),
    pushdown=st.sampled_from(["true", "false"]),
)
def test_deleted_rows_are_in_no_answer(
    files: list[tuple[int, set[int] | None, int, str]], partitions: int, pushdown: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "t"
        root.mkdir()
        left, actions, start = [SCHEMA.empty_table()], [], 0
        for number, (count, deleted, group_rows, form) in enumerate(files):
            rows = numbered(start, count)
            start += count
            described = None if deleted is None else vector(root, deleted, form)
            actions.append(
                data_file(
                    root, f"{number}.parquet", rows, deletion_vector=described, row_group_size=group_rows
                )
            )
            left.append(left_of(rows, deleted or set()))
        model = Engine()
        model.register_batches("t", pa.concat_tables(left))
        engine = engine_over(
            scan(root, SCHEMA, actions),
            partitions,
            datafusion__execution__parquet__pushdown_filters=pushdown,
        )
        for query in QUERIES:
            assert bag(rows_of(engine, query)) == bag(rows_of(model, query)), query
        for limit in (1, 5, 1000):
            some = rows_of(engine, f"SELECT * FROM t LIMIT {limit}")
            everything = bag(rows_of(model, "SELECT * FROM t"))
            assert len(some) == min(limit, everything.total())
            assert bag(some) <= everything


@pytest.fixture
def half_deleted(tmp_path: Path) -> DeltaScan:
    """Return 2000 rows in 20 row groups, of which each even one is deleted."""
    rows = numbered(0, 2000)
    described = vector(tmp_path, range(0, 2000, 2))
    action = data_file(tmp_path, "0.parquet", rows, deletion_vector=described, row_group_size=100)
    return scan(tmp_path, SCHEMA, [action])


def test_one_file_with_a_vector_is_read_by_several_partitions_and_its_row_groups_are_pruned(
    half_deleted: DeltaScan,
) -> None:
    engine = engine_over(half_deleted, 4)
    query = engine.sql("SELECT id FROM t WHERE id >= 1850")
    assert "file_groups={4 groups" in query.explain()["physical"]
    assert sorted(row["id"] for row in pa.table(query).to_pylist()) == list(range(1851, 2000, 2))
    assert query.metrics()["row_groups_pruned_statistics_pruned"] == 18


def test_no_expression_sees_a_deleted_row(tmp_path: Path) -> None:
    rows = pa.table({"id": [1, 0, 2, 0, 4], "name": list("abcde"), "x": [1.0] * 5}, SCHEMA)
    described = vector(tmp_path, [1, 3])
    engine = engine_over(
        scan(tmp_path, SCHEMA, [data_file(tmp_path, "0.parquet", rows, deletion_vector=described)])
    )
    for query in ("SELECT 8 / id AS q FROM t", "SELECT 8 / id AS q FROM t WHERE 8 / id > 0"):
        assert rows_of(engine, query) == [{"q": 8}, {"q": 4}, {"q": 2}]
    assert rows_of(engine, "SELECT sum(8 / id) AS q FROM t") == [{"q": 14}]


@pytest.mark.parametrize("order", ["DESC", "ASC"])
def test_row_groups_that_can_not_be_among_the_first_are_left_out_while_the_query_runs(
    half_deleted: DeltaScan, order: str
) -> None:
    engine = engine_over(half_deleted, 1)
    query = engine.sql(f"SELECT id, name FROM t ORDER BY id {order} LIMIT 3")
    wanted = [1999, 1997, 1995] if order == "DESC" else [1, 3, 5]
    assert pa.table(query)["id"].to_pylist() == wanted
    assert "row_groups_pruned_dynamic_filter" in str(query.metrics()), query.metrics()


def test_the_log_tells_how_many_rows_are_left(half_deleted: DeltaScan) -> None:
    assert half_deleted.num_rows == 1000
    query = engine_over(half_deleted).sql("SELECT count(*) AS n FROM t")
    assert "DataSourceExec" not in query.explain()["physical"]
    assert pa.table(query).to_pylist() == [{"n": 1000}]


def test_a_context_of_the_datafusion_package_leaves_deleted_rows_out(half_deleted: DeltaScan) -> None:
    context = datafusion.SessionContext()
    context.register_table("t", half_deleted)
    assert context.sql("SELECT count(*), min(id), max(id), sum(id) FROM t").to_pydict() == {
        "count(*)": [1000],
        "min(t.id)": [1],
        "max(t.id)": [1999],
        "sum(t.id)": [sum(range(1, 2000, 2))],
    }
    assert context.sql("SELECT id FROM t WHERE id < 4 ORDER BY id").to_pydict() == {"id": [1, 3]}


@pytest.mark.parametrize(
    "damage",
    [
        {"cardinality": 3},
        {"size_in_bytes": 20},
        {"offset": 2},
        {"path_or_inline_dv": "ab" + "0" * 20},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_a_damaged_vector_is_an_error_and_not_other_rows(tmp_path: Path, damage: dict[str, object]) -> None:
    described = {**vector(tmp_path, [0, 4]), **damage}
    action = data_file(tmp_path, "0.parquet", numbered(0, 10), deletion_vector=described)
    query = engine_over(scan(tmp_path, SCHEMA, [action])).sql("SELECT id FROM t")
    with pytest.raises(pa.ArrowException):
        pa.table(query)
    assert query.last_error is not None
    assert query.last_error.code == "engine-storage"


def test_a_vector_beyond_its_file_is_an_error(tmp_path: Path) -> None:
    action = data_file(tmp_path, "0.parquet", numbered(0, 10), deletion_vector=vector(tmp_path, [10]))
    query = engine_over(scan(tmp_path, SCHEMA, [action])).sql("SELECT id FROM t")
    with pytest.raises(pa.ArrowException, match="deletes row 10"):
        pa.table(query)


KINDS = pa.schema(
    [
        ("id", pa.int64()),
        ("small", pa.int16()),
        ("name", pa.string()),
        ("raw", pa.binary()),
        ("yes", pa.bool_()),
        ("price", pa.decimal128(12, 2)),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("items", pa.list_(pa.int64())),
        ("parts", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
)


def of_every_kind(count: int) -> pa.Table:
    def row(at: int) -> dict[str, object]:
        return {
            "id": at,
            "small": None if at % 5 == 0 else at % 100,
            "name": None if at % 7 == 0 else f"a text that is stored apart {at % 13}",
            "raw": bytes([at % 256]) * 20,
            "yes": None if at % 11 == 0 else at % 3 == 0,
            "price": Decimal(at) / 100,
            "day": date(2020, 1, 1) + timedelta(days=at % 400),
            "at": datetime(2020, 1, 1) + timedelta(seconds=at),
            "items": None if at % 4 == 0 else [at, at + 1],
            "parts": None if at % 9 == 0 else {"a": at, "b": f"b{at}"},
        }

    return pa.Table.from_pylist([row(at) for at in range(count)], KINDS)


@pytest.mark.parametrize("per_cent", [1, 10, 45])
@pytest.mark.parametrize("batch_size", ["100", "8192"])
def test_columns_of_every_kind_lose_scattered_rows(tmp_path: Path, per_cent: int, batch_size: str) -> None:
    rows = of_every_kind(3000)
    deleted = set(random.Random(per_cent).sample(range(rows.num_rows), 30 * per_cent))
    described = vector(tmp_path, deleted)
    options: dict[str, Any] = {"row_group_size": 1300, "data_page_size": 256, "write_page_index": True}
    file = data_file(tmp_path, "0.parquet", rows, deletion_vector=described, **options)
    engine = engine_over(scan(tmp_path, KINDS, [file]), 2, datafusion__execution__batch_size=batch_size)
    model = Engine()
    model.register_batches("t", left_of(rows, deleted))
    for query in (
        "SELECT * FROM t",
        "SELECT id, parts, items FROM t WHERE yes",
        "SELECT * FROM t WHERE id BETWEEN 1200 AND 1400",
        "SELECT id, at FROM t ORDER BY id DESC LIMIT 40",
        "SELECT count(*) AS n, count(name) AS named, sum(price) AS s, max(raw) AS high FROM t",
    ):
        assert bag(rows_of(engine, query)) == bag(rows_of(model, query)), query
