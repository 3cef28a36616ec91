"""Changes: net change of any range applied to the old rows gives the new rows, from both sources."""

from __future__ import annotations

import math
import os
import shutil
import struct
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import (
    CdfPolicy,
    ChangesUnavailableError,
    MergeClause,
    Table,
    VersionNotFoundError,
    WritePolicy,
)
from delta_io.testing import bag, histories
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "string")])


@pytest.mark.parametrize("cdf", [True, False], ids=["feed", "files"])
@given(history=histories(), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_snapshots_and_changes_equal_the_model(cdf, history, data):
    with tempfile.TemporaryDirectory() as folder:
        played = history.play(folder + "/t", cdf=cdf)
        table, versions = played.table, played.versions
        for version, rows in versions.items():
            assert bag(table.snapshot(version).to_reader().read_all()) == bag(rows), version
        since = data.draw(st.integers(-1, max(versions)), label="since")
        until = data.draw(st.integers(max(since, 0), max(versions)), label="until")
        changes = table.changes(since, until)
        assert changes.source == ("none" if since == until else "feed" if cdf else "files")
        net = bag(changes.weighted().read_all())
        expected = bag(versions[until])
        expected.subtract(bag(versions.get(since, [])))
        assert net == {row: count for row, count in expected.items() if count}
        read = changes.to_reader().read_all()
        assert read["_commit_version"].to_pylist() == sorted(read["_commit_version"].to_pylist())
        assert bag(signed(row) for row in read.to_pylist()) == net


def signed(row):
    weight = 1 if row["_change_type"] in ("insert", "update_postimage") else -1
    return {**{name: value for name, value in row.items() if not name.startswith("_")}, "_weight": weight}


def test_file_actions_hand_the_changes_to_an_engine(tmp_path):
    spec = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("p", "date")], partition_by=["p"])
    table = Table.create(tmp_path / "a", spec)
    day = date(2024, 2, 29)
    table.write(pa.table({"id": [1, 2, 3], "p": pa.array([day, day, None], pa.date32())}))
    table.delete("id = 1")
    changes = table.changes(0, predicate="id < 3", columns=["id"], change_types=["insert", "delete"])
    actions = changes.file_actions()
    feed = [row for row in actions.to_pylist() if row["change_type"] is None]
    added = [row for row in actions.to_pylist() if row["change_type"] == "insert"]
    assert [(row["weight"], row["version"], row["partition"]) for row in feed] == [(None, 2, {"p": day})]
    assert {(row["weight"], row["version"], row["partition"]["p"]) for row in added} == {
        (1, 1, day),
        (1, 1, None),
    }
    assert all((tmp_path / "a" / row["path"]).stat().st_size == row["size_bytes"] for row in feed + added)
    assert actions["timestamp"].to_pylist()[-1] == table.commit_info(2).timestamp
    assert (changes.predicate, changes.columns.names, changes.snapshot.version) == ("id < 3", ["id"], 2)
    assert table.changes(0, 1, change_types=["delete"]).file_actions().num_rows == 0


def test_file_actions_name_the_rows_that_a_vector_brought_or_took(tmp_path):
    pq.write_table(pa.table({"id": range(10)}), tmp_path / "a.parquet")
    one, two = vector(tmp_path, [1], inline=True), vector(tmp_path, [1, 4])
    meta = metadata([field("id", "long")])
    commit(tmp_path, 0, protocol("deletionVectors"), meta, add("a.parquet", deletionVector=one))
    commit(tmp_path, 1, remove("a.parquet", deletionVector=one), add("a.parquet", deletionVector=two))
    changes = Table(tmp_path).changes(0)
    deleted, inserted = changes.file_actions().to_pylist()
    assert (deleted["change_type"], deleted["weight"], deleted["rows_estimate"]) == ("delete", -1, 1)
    assert deleted["only"]["path_or_inline_dv"] == two["pathOrInlineDv"]
    assert deleted["exclude"]["storage_type"] == "i"
    assert (inserted["weight"], inserted["only"]) == (1, deleted["exclude"])
    assert inserted["exclude"] == deleted["only"]
    assert changes.to_reader().read_all()["id"].to_pylist() == [4]


def rows(*ids):
    return pa.table({"id": pa.array(ids, pa.int64()), "v": [f"v{each}" for each in ids]})


def net(changes):
    return {row["id"]: row["_weight"] for row in changes.weighted().read_all().to_pylist()}


def test_times_stand_for_versions_at_both_ends(tmp_path):
    table = Table.create(tmp_path, SPEC)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for version in range(4):
        if version:
            table.write(rows(version))
        moment = (start + timedelta(hours=version)).timestamp()
        os.utime(tmp_path / "_delta_log" / f"{version:020}.json", (moment, moment))
    table = Table(tmp_path)
    half = timedelta(minutes=30)
    assert table.changes(start + half).versions == (0, 3)
    assert table.changes(start + half, start + timedelta(hours=2)).versions == (0, 2)
    assert table.changes("2024-01-01T01:59:59Z", "2024-01-01T02:00:00Z").versions == (1, 2)
    assert table.changes(start - half).versions == (-1, 3)
    assert net(table.changes(start - half, start + timedelta(hours=1))) == {1: 1}
    assert table.changes(start + timedelta(days=9)).source == "none"
    with pytest.raises(VersionNotFoundError):
        table.changes(0, start - half)


def test_a_table_made_anew_is_told_by_its_id(tmp_path):
    table = Table.create(tmp_path / "t", SPEC)
    table.write(rows(1))
    known = table.snapshot()
    shutil.rmtree(tmp_path / "t")
    other = Table.create(tmp_path / "t", SPEC)
    for each in range(3):
        other.write(rows(10 + each))
    assert table.snapshot().table_id == other.snapshot().table_id != known.table_id
    assert table.changes(1, table_id=table.snapshot().table_id).versions == (1, 3)
    with pytest.raises(ChangesUnavailableError, match="made anew"):
        table.changes(known.version, table_id=known.table_id)


@pytest.mark.parametrize("cdf", [True, False])
def test_a_restore_is_the_change_back(tmp_path, cdf):
    table = Table.create(tmp_path, SPEC, policy=WritePolicy(cdf=CdfPolicy(enabled=cdf)))
    table.write(rows(1, 2))
    table.delete("id = 1")
    table.write(rows(3))
    table.restore(1)
    assert net(table.changes(3)) == {1: 1, 3: -1}
    assert net(table.changes(1)) == {}
    assert net(table.changes(2)) == {1: 1}


def test_a_commit_with_change_files_and_data_files_is_told_by_the_first(tmp_path):
    for name, ids in (("a", [1, 2, 3]), ("b", [1, 20, 3])):
        pq.write_table(pa.table({"id": ids}), tmp_path / f"{name}.parquet")
    kinds = ["update_preimage", "update_postimage"]
    pq.write_table(pa.table({"id": [2, 20], "_change_type": kinds}), tmp_path / "c d.parquet")
    meta = metadata([field("id", "long")], {"delta.enableChangeDataFeed": "true"})
    commit(tmp_path, 0, protocol(), meta, add("a.parquet"))
    change = {"cdc": {"path": "c%20d.parquet", "partitionValues": {}, "size": 1, "dataChange": False}}
    commit(tmp_path, 1, remove("a.parquet"), add("b.parquet"), change)
    changes = Table(tmp_path).changes(0)
    assert (changes.source, net(changes)) == ("feed", {2: -1, 20: 1})
    assert changes.to_reader().read_all()["_change_type"].to_pylist() == kinds
    wanted = Table(tmp_path).changes(0, change_types=["update_postimage"], predicate="id > 1", columns=["id"])
    assert wanted.weighted().read_all().to_pylist() == [{"id": 20, "_weight": 1}]
    assert Table(tmp_path).changes(-1).to_reader().read_all()["_commit_version"].to_pylist() == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_rows_that_only_move_between_files_are_no_change(tmp_path):
    for name, ids in (("a", [1, 2]), ("b", [3]), ("ab", [1, 2, 3]), ("c", [1, 3])):
        pq.write_table(pa.table({"id": ids}), tmp_path / f"{name}.parquet")
    meta = metadata([field("id", "long")])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet"))
    commit(tmp_path, 1, add("b.parquet"))
    moved = [remove(f"{each}.parquet", dataChange=False) for each in "ab"]
    commit(tmp_path, 2, *moved, add("ab.parquet", dataChange=False))
    commit(tmp_path, 3, remove("ab.parquet"), add("c.parquet"))
    table = Table(tmp_path)
    assert net(table.changes(1, 2)) == {}
    assert table.changes(1, 2).files == ()
    assert net(table.changes(0)) == {2: -1, 3: 1}
    assert net(table.changes(1)) == {2: -1}
    for each in "ab":
        (tmp_path / f"{each}.parquet").unlink()
    assert net(table.changes(1)) == {2: -1}
    with pytest.raises(ChangesUnavailableError):
        table.changes(0)


def test_a_table_that_takes_up_column_mapping_keeps_its_changes(tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [2]}), tmp_path / "b.parquet")
    commit(tmp_path, 0, protocol(), metadata([field("id", "long")]), add("a.parquet"))
    names = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "id"}
    renamed = metadata([field("number", "long", **names)], {"delta.columnMapping.mode": "name"})
    commit(tmp_path, 1, protocol("columnMapping"), renamed, remove("a.parquet"), add("b.parquet"))
    found = Table(tmp_path).changes(0).weighted().read_all().to_pylist()
    assert sorted(found, key=str) == [{"number": 1, "_weight": -1}, {"number": 2, "_weight": 1}]


def test_zeros_are_added_up_as_the_engine_groups_them(tmp_path):
    zeros = {"x": pa.array([0.0, -0.0, math.nan, math.nan]), "y": pa.array([-0.0, 0.0, 1, 1], pa.float32())}
    pq.write_table(pa.table(zeros), tmp_path / "a.parquet")
    commit(tmp_path, 0, protocol(), metadata([field("x", "double"), field("y", "float")]), add("a.parquet"))
    found = Table(tmp_path).changes(-1).weighted().read_all().to_pylist()
    assert sorted((repr(row["x"]), row["y"], row["_weight"]) for row in found) == [
        ("0.0", 0.0, 2),
        ("nan", 1.0, 2),
    ]


def test_values_that_are_equal_are_added_up_and_those_that_are_not_stay(tmp_path):
    nans = [struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in (0x7FF8 << 48, (0x7FF8 << 48) + 1)]
    inner = pa.struct([("x", pa.float64())])
    values = [*nans, 0.0, -0.0, None]
    data = {
        "x": pa.array(values),
        "l": pa.array([[each] for each in values]),
        "b": [b"", b"", b"\x00", b"\x00", None],
        "s": pa.array([{"x": each} for each in values], inner),
        "d": pa.array([Decimal("1.10")] * 5, pa.decimal128(38, 2)),
    }
    pq.write_table(pa.table(data), tmp_path / "a.parquet")
    listed = {"type": "array", "elementType": "double", "containsNull": True}
    fields = [
        field("x", "double"),
        field("l", listed),
        field("b", "binary"),
        field("d", "decimal(38,2)"),
        field("s", {"type": "struct", "fields": [field("x", "double")]}),
    ]
    commit(tmp_path, 0, protocol(), metadata(fields), add("a.parquet"))
    found = Table(tmp_path).changes(-1).weighted().read_all().to_pylist()
    assert sorted((repr(row["x"]), row["_weight"]) for row in found) == [
        ("-0.0", 1),
        ("0.0", 1),
        ("None", 1),
        ("nan", 1),
        ("nan", 1),
    ]
    assert all(
        repr(row["l"]) == repr([row["x"]]) and repr(row["s"]) == repr({"x": row["x"]}) for row in found
    )


@pytest.mark.parametrize("way", ["update", "merge", "another writer"])
def test_changed_rows_that_become_equal_to_others_are_not_lost(tmp_path, way):
    schema = pa.schema([("k", pa.int64()), ("h", pa.string())])
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", schema))
    table.write(pa.Table.from_pylist([{"k": 1, "h": None}, {"k": 1, "h": "a"}, {"k": 4, "h": "b"}], schema))
    table.write(pa.Table.from_pylist([{"k": None, "h": "a"}, {"k": None, "h": None}], schema))
    before = table.snapshot()
    if way == "update":
        table.update({"k": "1"}, predicate="h = 'a'")
    elif way == "merge":
        clause = MergeClause(action="update", condition="target.h = 'a'", values={"k": "1"})
        table.merge(pa.table({"k": pa.array([9], pa.int64())}), on="k", not_matched_by_source=[clause])
    else:
        DeltaTable(str(tmp_path / "t")).update(updates={"k": "1"}, predicate="h = 'a'")
    after = bag(table.snapshot().to_reader().read_all())
    after.subtract(bag(before.to_reader().read_all()))
    changes = table.changes(before.version)

    if way != "merge":  # whose change data keeps them
        assert changes.source == "files"
        assert "became equal" in changes.reason
    assert bag(changes.weighted().read_all()) == {row: count for row, count in after.items() if count}
    last = table.snapshot().version
    table.update({"k": "2"}, predicate="k = 4")
    assert table.changes(last).source == "feed"
