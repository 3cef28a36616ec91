"""Required fields of structs that may be null: they are null where the struct is."""

from __future__ import annotations

import pyarrow as pa
import pytest

from delta_io import MergeClause, Table
from schema_spec import ColumnSpec, TableSpec

PLACE = pa.struct(
    [
        pa.field("x", pa.int64(), nullable=False),
        pa.field("deep", pa.struct([pa.field("y", pa.float64(), nullable=False)])),
    ]
)
ROWS = pa.table(
    {
        "id": [1, 2, 3, 4],
        "place": pa.array(
            [{"x": 1, "deep": {"y": 0.0}}, None, {"x": 0, "deep": None}, {"x": 5, "deep": {"y": 2.5}}], PLACE
        ),
    }
)


@pytest.fixture
def table(tmp_path):
    place = "struct<x: long not null, deep: struct<y: double not null>>"
    spec = TableSpec("places", [ColumnSpec("id", "long"), ColumnSpec("place", place)])
    made = Table.create(tmp_path / "t", spec)
    made.write(ROWS)
    return made


def ids(table):
    return sorted(table.snapshot().to_reader().read_all()["id"].to_pylist())


@pytest.mark.parametrize(
    ("predicate", "gone"),
    [
        ("place.x = 0", {3}),
        ("place.x < 3", {1, 3}),
        ("place.x IS NULL", {2}),
        ("place.x IS NOT NULL", {1, 3, 4}),
        ("NOT (place.x = 1)", {3, 4}),
        ("place.x + 1 = 1", {3}),
        ("coalesce(place.x, 7) = 7", {2}),
        ("place.deep.y = 0", {1}),
        ("place.deep.y IS NULL", {2, 3}),
        ("place['deep']['y'] * 2 < 1", {1}),
        ("abs(place.x) IN (0, 5)", {3, 4}),
    ],
)
def test_predicates_see_nulls(table, predicate, gone):
    table.delete(predicate)
    assert ids(table) == sorted({1, 2, 3, 4} - gone)


def test_reads_and_writes_by_predicate(table):
    found = table.changes(0, predicate="place.x = 0").to_reader().read_all()
    assert found["id"].to_pylist() == [3]
    table.write(ROWS.slice(2, 1), mode="overwrite", predicate="place.x = 0")
    assert ids(table) == [1, 2, 3, 4]


def test_values_of_updates_and_merges_are_null(table):
    table.update({"id": "place.x + 10"}, predicate="id = 2")
    assert table.snapshot().to_reader().read_all()["id"].null_count == 1
    table.restore(version=1)
    table.merge(
        pa.table({"id": [2, 4]}),
        on="id",
        matched=[MergeClause(action="update", values={"id": "target.place.x"})],
    )
    assert table.snapshot().to_reader().read_all()["id"].null_count == 1
    assert 5 in table.snapshot().to_reader().read_all()["id"].to_pylist()


def test_conditions_of_merges_see_nulls(table):
    table.merge(
        pa.table({"id": [2, 3]}),
        on="id",
        matched=[MergeClause(action="delete", condition="target.place.x = 0")],
    )
    assert ids(table) == [1, 2, 4]
