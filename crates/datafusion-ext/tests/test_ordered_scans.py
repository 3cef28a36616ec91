"""Sorted files are read in order where that saves a sort, and the rows are right either way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from delta_files import VECTOR, data_file, engine_over, rows_of, vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datafusion_ext import DeltaScan, Engine

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("x", pa.float64())])
Rows = Sequence[tuple[int | None, str | None]]


def of_rows(rows: Rows) -> pa.Table:
    columns = {"id": [a for a, _ in rows], "name": [b for _, b in rows], "x": [0.5] * len(rows)}
    return pa.table(columns, schema=SCHEMA)


def in_order(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (row[0] is None, row[0] or 0, row[1] is None, row[1] or ""))


def logged(
    root: Path,
    files: Sequence[Rows],
    sorted_by: Sequence[list[str] | None],
    *,
    partitions: Sequence[Any] = (),
    deleted: Sequence[Sequence[int]] = (),
    statistics: bool = True,
    row_group_rows: int = 100,
    schema: pa.Schema = SCHEMA,
    columns: Sequence[str] = ("id", "name"),
) -> DeltaScan:
    """Write files and hand them over as a log would describe them."""
    actions: list[dict[str, Any]] = []
    for index, (rows, order) in enumerate(zip(files, sorted_by, strict=True)):
        table = of_rows(rows)
        action: dict[str, Any] = data_file(root, f"{index}.parquet", table, row_group_size=row_group_rows)
        values = {name: [value for value in table[name].to_pylist() if value is not None] for name in columns}
        if deleted and deleted[index]:
            action["deletion_vector"] = vector(root, deleted[index])
        for bound, pick in (("min", min), ("max", max)):
            bounds = {name: pick(some, default=None) for name, some in values.items()}
            action[bound] = bounds if statistics else None
        counts = {name: table[name].null_count for name in columns}
        action["null_count"] = counts if statistics else None
        action["sorted_by"] = order
        action["partition"] = {"part": partitions[index]} if partitions else None
        actions.append(action)
    types = {"id": pa.int64(), "name": pa.string()}
    fields = [
        ("path", pa.string()), ("size_bytes", pa.int64()), ("modification_time", pa.int64()),
        ("num_records", pa.int64()), ("min", pa.struct({name: types[name] for name in columns})),
        ("max", pa.struct({name: types[name] for name in columns})),
        ("null_count", pa.struct(dict.fromkeys(columns, pa.int64()))),
        ("deletion_vector", VECTOR), ("sorted_by", pa.list_(pa.string())),
    ]  # fmt: skip
    if partitions:
        fields.append(("partition", pa.struct([("part", pa.string())])))
        schema = schema.append(pa.field("part", pa.string()))
    listed = pa.Table.from_pylist(actions, schema=pa.schema(fields))
    return DeltaScan(str(root), schema, listed, partition_columns=["part"] if partitions else [])


def sorts(engine: Engine, query: str) -> bool:
    return "SortExec" in engine.sql(query).explain()["physical"]


def keys(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows_of(engine, query)]


def spans(*starts: int, length: int = 300) -> list[Rows]:
    return [in_order([(start + index, f"n{index % 7}") for index in range(length)]) for start in starts]


@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("starts", [(0, 300, 600, 900), (600, 0, 900, 300), (0, 100, 200, 250)])
def test_order_by_the_key_needs_no_sort(tmp_path, partitions, starts):
    files = spans(*starts)
    engine = engine_over(logged(tmp_path, files, [["id"]] * 4), partitions)
    expected = sorted(row[0] for rows in files for row in rows)
    for query in ("SELECT id FROM t ORDER BY id", "SELECT id, name FROM t WHERE x > 0 ORDER BY id"):
        assert not sorts(engine, query)
        assert [key[0] for key in keys(engine, query)] == expected
    for limit in (1, 5, 350):
        query = f"SELECT id FROM t ORDER BY id LIMIT {limit}"
        assert not sorts(engine, query)
        assert [key[0] for key in keys(engine, query)] == expected[:limit]
    query = "SELECT id FROM t ORDER BY id LIMIT 7 OFFSET 301"
    assert [key[0] for key in keys(engine, query)] == expected[301:308]
    backwards = "SELECT id FROM t ORDER BY id DESC LIMIT 20"
    assert [key[0] for key in keys(engine, backwards)] == expected[::-1][:20]
    numbered = keys(engine, "SELECT id, row_number() OVER (ORDER BY id) AS n FROM t")
    assert sorted(n for _, n in numbered) == list(range(1, 1201))
    assert [key for key, _ in sorted(numbered, key=lambda row: row[1])] == expected


def test_queries_that_want_no_order_are_planned_as_ever(tmp_path):
    files = spans(0, 300, 600, 900)
    ordered = engine_over(logged(tmp_path / "a", files, [["id"]] * 4), 2)
    plain = engine_over(logged(tmp_path / "b", files, [None] * 4), 2)
    for query in (
        "SELECT * FROM t",
        "SELECT sum(id) FROM t WHERE name > 'n3'",
        "SELECT name FROM t ORDER BY name",
    ):
        plans = [each.sql(query).explain()["physical"] for each in (ordered, plain)]
        assert plans[0].replace("/a/", "/b/") == plans[1]


def test_one_file_in_no_known_order_and_nothing_is_declared(tmp_path):
    files = spans(0, 300, 600)
    shuffled = list(files[1])
    random.Random(1).shuffle(shuffled)
    engine = engine_over(logged(tmp_path, [files[0], shuffled, files[2]], [["id"], None, ["id"]]), 2)
    query = "SELECT id FROM t ORDER BY id"
    assert sorts(engine, query)
    assert [key[0] for key in keys(engine, query)] == list(range(900))
    selected = "SELECT id FROM t WHERE id >= 600 ORDER BY id"
    assert not sorts(engine, selected)
    assert [key[0] for key in keys(engine, selected)] == list(range(600, 900))


def test_nulls_end_a_file_and_let_none_follow(tmp_path):
    files: list[Rows] = [
        [(1, "a"), (2, "a"), (None, "a")],
        [(3, "a"), (4, None)],
        [(5, "a"), (None, None)],
        [(None, "z"), (None, None)],
    ]
    for partitions in (1, 2, 7):
        engine = engine_over(logged(tmp_path, files, [["id", "name"]] * 4), partitions)
        for query in ("SELECT id, name FROM t ORDER BY id, name", "SELECT id FROM t ORDER BY id"):
            assert not sorts(engine, query)
            expected = in_order([row for rows in files for row in rows])
            width = 2 if "id, name" in query else 1
            assert keys(engine, query) == [row[:width] for row in expected]
        first = "SELECT id FROM t ORDER BY id NULLS FIRST"
        assert sorts(engine, first)
        assert [key[0] for key in keys(engine, first)][:5] == [None] * 4 + [1]


def test_equal_ends_with_nulls_in_the_next_column_keep_their_order(tmp_path):
    files: list[Rows] = [[(1, "a"), (5, "b"), (5, None)], [(5, "c"), (6, "a")], [(6, "b"), (7, "a")]]
    for partitions in (1, 2):
        engine = engine_over(logged(tmp_path, files, [["id", "name"]] * 3), partitions)
        query = "SELECT id, name FROM t ORDER BY id, name"
        assert keys(engine, query) == in_order([row for rows in files for row in rows])


def test_deleted_rows_leave_the_others_in_order(tmp_path):
    files = spans(0, 300, 150, length=300)
    deleted = [list(range(0, 300, 2)), [], [0, 299, *range(100, 200)]]
    for partitions in (1, 2, 7):
        engine = engine_over(logged(tmp_path, files, [["id"]] * 3, deleted=deleted), partitions)
        query = "SELECT id FROM t ORDER BY id"
        assert not sorts(engine, query)
        rows = zip(files, deleted, strict=True)
        left = [row[0] for some, gone in rows for at, row in enumerate(some) if at not in gone]
        assert [key[0] for key in keys(engine, query)] == sorted(left)


def test_partition_columns_come_before_the_order_of_the_rows(tmp_path):
    files = spans(0, 300, 600, 900)
    table = logged(tmp_path, files, [["id"]] * 4, partitions=["b", "a", "b", None])
    for partitions in (1, 2, 7):
        engine = engine_over(table, partitions)
        parts = dict.fromkeys(range(300), "b") | dict.fromkeys(range(300, 600), "a")
        parts |= dict.fromkeys(range(600, 900), "b") | dict.fromkeys(range(900, 1200))
        pairs = [(parts[key], key) for key in range(1200)]
        expected = sorted(pairs, key=lambda pair: (pair[0] is None, pair[0] or "", pair[1]))
        query = "SELECT part, id FROM t ORDER BY part, id"
        assert not sorts(engine, query)
        assert keys(engine, query) == expected
        query = "SELECT part, id FROM t ORDER BY part DESC, id"
        assert not sorts(engine, query)
        assert keys(engine, query) == [*expected[900:], *expected[300:900], *expected[:300]]
        one = "SELECT id FROM t WHERE part = 'b' ORDER BY id"
        assert not sorts(engine, one)
        assert [key[0] for key in keys(engine, one)] == [*range(300), *range(600, 900)]


def test_partitions_alone_are_an_order(tmp_path):
    files = spans(0, 300, 600)
    engine = engine_over(logged(tmp_path, files, [None] * 3, partitions=["c", "a", "b"]), 2)
    assert not sorts(engine, "SELECT part FROM t ORDER BY part")
    found = [key[0] for key in keys(engine, "SELECT part FROM t ORDER BY part")]
    assert found == ["a"] * 300 + ["b"] * 300 + ["c"] * 300
    assert [key[0] for key in keys(engine, "SELECT part, id FROM t ORDER BY part LIMIT 2")] == ["a", "a"]
    assert sorts(engine, "SELECT part, id FROM t ORDER BY part, id")


def test_files_of_which_nothing_is_known_are_merged_if_they_are_few(tmp_path):
    few = engine_over(logged(tmp_path / "few", spans(0, 100, 50), [["id"]] * 3, statistics=False), 2)
    query = "SELECT id FROM t ORDER BY id"
    assert not sorts(few, query)
    expected = sorted([*range(300), *range(100, 400), *range(50, 350)])
    assert [key[0] for key in keys(few, query)] == expected
    many = engine_over(logged(tmp_path / "many", spans(*[0] * 12, length=5), [["id"]] * 12), 2)
    assert sorts(many, query)
    assert [key[0] for key in keys(many, query)] == sorted([*range(5)] * 12)


def test_floats_and_columns_that_are_gone_end_the_order(tmp_path):
    files = spans(0, 300)
    engine = engine_over(logged(tmp_path, files, [["x", "id"]] * 2), 2)
    assert sorts(engine, "SELECT x FROM t ORDER BY x")
    gone = engine_over(logged(tmp_path, files, [["gone", "id"]] * 2), 2)
    assert sorts(gone, "SELECT id FROM t ORDER BY id")
    shorter = engine_over(logged(tmp_path, files, [["id", "gone"], ["id", "name"]]), 2)
    assert not sorts(shorter, "SELECT id FROM t ORDER BY id")
    assert sorts(shorter, "SELECT id, name FROM t ORDER BY id, name")


def test_plan_bytes_keep_the_order(tmp_path):
    files = spans(0, 200, 600)
    deleted = [[1, 2], [], []]
    engine = engine_over(logged(tmp_path, files, [["id"]] * 3, deleted=deleted), 2)
    query = engine.sql("SELECT id FROM t ORDER BY id")
    again = engine.query_from_bytes(query.to_bytes())
    assert "SortExec" not in again.explain()["physical"]
    assert pa.table(again)["id"].to_pylist() == pa.table(query)["id"].to_pylist()
    assert pa.table(again)["id"].to_pylist() == sorted(
        row[0] for rows in files for row in rows if row[0] not in (1, 2)
    )


def test_a_wider_type_keeps_the_order(tmp_path):
    narrow = [pa.table({"id": pa.array(range(start, start + 50), pa.int32())}) for start in (0, 50)]
    actions = [data_file(tmp_path, f"{index}.parquet", rows) for index, rows in enumerate(narrow)]
    listed = pa.Table.from_pylist([{**action, "sorted_by": ["id"]} for action in actions])
    listed = listed.drop_columns(["deletion_vector", "partition"])
    engine = engine_over(DeltaScan(str(tmp_path), pa.schema([("id", pa.int64())]), listed), 2)
    assert not sorts(engine, "SELECT id FROM t ORDER BY id")
    assert [key[0] for key in keys(engine, "SELECT id FROM t ORDER BY id")] == list(range(100))


VALUES = st.tuples(st.none() | st.integers(0, 6), st.none() | st.sampled_from(["", "a", "b", "\u00e9"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_files_are_read_as_if_they_were_sorted_here(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("t")
    files, orders, deleted, parts = [], [], [], []
    for _ in range(data.draw(st.integers(1, 6))):
        rows = data.draw(st.lists(VALUES, min_size=1, max_size=12))
        order = data.draw(st.sampled_from([["id"], ["id", "name"], ["id", "name"], ["id", "name"], None]))
        files.append(rows if order is None else in_order(rows))
        orders.append(order)
        deleted.append(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=3)))
        parts.append(data.draw(st.none() | st.sampled_from(["p", "q"])))
    gone = [set(each) if data.draw(st.booleans()) else set() for each in deleted]
    partitions = parts if data.draw(st.booleans()) else ()
    table = logged(
        root, files, orders, partitions=partitions, deleted=[sorted(each) for each in gone],
        statistics=data.draw(st.integers(0, 5)) > 0, row_group_rows=data.draw(st.integers(1, 6)),
    )  # fmt: skip
    engine = engine_over(table, data.draw(st.sampled_from([1, 2, 7])))
    left = [
        {"part": part, "id": row[0], "name": row[1]}
        for rows, without, part in zip(files, gone, parts, strict=True)
        for at, row in enumerate(rows)
        if at not in without
    ]
    names = ["id", "name", *(["part"] if partitions else [])]
    ordered = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    terms = [(name, data.draw(st.booleans()), data.draw(st.booleans())) for name in ordered]
    terms = [(name, descending and name != "id", first and name != "id") for name, descending, first in terms]
    clause = ", ".join(
        f"{name} {'DESC' if descending else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"
        for name, descending, first in terms
    )
    limit = data.draw(st.none() | st.integers(1, 20))
    query = (
        f"SELECT {', '.join(ordered)} FROM t ORDER BY {clause}{'' if limit is None else f' LIMIT {limit}'}"
    )
    expected = left
    for name, descending, first in reversed(terms):
        some = sorted((row for row in expected if row[name] is not None), key=lambda row: row[name],
                      reverse=descending)  # fmt: skip
        none = [row for row in expected if row[name] is None]
        expected = [*none, *some] if first else [*some, *none]
    wanted = [tuple(row[name] for name in ordered) for row in expected][:limit]
    assert keys(engine, query) == wanted, engine.sql(query).explain()["physical"]
