"""Tables that other writers leave behind and that deltalake's engine reads wrong, or not at all."""

from __future__ import annotations

import math
import os
import struct
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, roaring, vector
from test_delta_io_protocol import PLAIN, checkpoint_table, ids, stats, write

from delta_io import (
    ChangesUnavailableError,
    LogError,
    MaintenancePolicy,
    Table,
    UnsupportedError,
)
from delta_io.testing import bag


def mapped(name, kind, number, physical):
    names = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": physical}
    return {"name": name, "type": kind, "nullable": True, "metadata": names}


def test_columns_found_by_id_may_have_any_name_in_the_files(tmp_path):
    schema = pa.schema([pa.field("anything", pa.int64(), metadata={"PARQUET:field_id": "1"})])
    pq.write_table(pa.table([pa.array([1, 2])], schema=schema), tmp_path / "a.parquet")
    meta = metadata([mapped("id", "long", 1, "col-1")], {"delta.columnMapping.mode": "id"})
    commit(tmp_path, 0, protocol("columnMapping"), meta, add("a.parquet"))
    assert ids(Table(tmp_path)) == [1, 2]
    assert ids(Table(tmp_path), predicate="id > 1") == [2]
    assert "ids" in str(Table(tmp_path).snapshot().why_by_file())


def test_columns_spelled_in_another_case_are_the_same(tmp_path):
    write(tmp_path / "a.parquet", [1])
    pq.write_table(pa.table({"ID": [2], "N": [{"A": 3}], "p": ["x"]}), tmp_path / "b.parquet")
    nested = {"type": "struct", "fields": [field("a", "long")]}
    meta = metadata([*PLAIN, field("n", nested)])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet"), add("b.parquet", stats=stats(2, 2, column="ID")))
    table = Table(tmp_path)
    expected = [{"id": 1, "n": None}, {"id": 2, "n": {"a": 3}}]
    assert bag(table.snapshot().to_reader().read_all()) == bag(expected)
    assert bag(table.changes(-1).weighted().read_all().drop_columns("_weight")) == bag(expected)
    snapshot = table.snapshot()
    assert "'ID'" in str(snapshot.why_by_file(columns=["id"]))
    assert "'N'" in str(snapshot.why_by_file(columns=["n"]))


def test_fields_added_within_maps(tmp_path):
    old = pa.map_(pa.string(), pa.struct([("a", pa.int64())]))
    pq.write_table(pa.table({"m": pa.array([[("k", {"a": 1})], None], old)}), tmp_path / "a.parquet")
    value = {"type": "struct", "fields": [field("a", "long"), field("b", "string")]}
    kind = {"type": "map", "keyType": "string", "valueType": value, "valueContainsNull": True}
    commit(tmp_path, 0, protocol(), metadata([field("m", kind)]), add("a.parquet"))
    found = Table(tmp_path).snapshot().to_reader().read_all().to_pylist()
    assert found == [{"m": [("k", {"a": 1, "b": None})]}, {"m": None}]


def test_decimals_are_compared_as_decimals(tmp_path):
    values = [Decimal("123456.79"), Decimal("-99999999.99"), Decimal("1.10"), None]
    pq.write_table(pa.table({"x": pa.array(values, pa.decimal128(10, 2))}), tmp_path / "a.parquet")
    commit(tmp_path, 0, protocol(), metadata([field("x", "decimal(10,2)")]), add("a.parquet"))
    snapshot = Table(tmp_path).snapshot()
    assert snapshot.why_by_file(predicate="x = 123456.79") is None
    for value in values[:3]:
        for predicate in (f"x = {value}", f"x IN ({value})", f"x BETWEEN {value} AND {value}"):
            assert snapshot.to_reader(predicate=predicate).read_all().to_pylist() == [{"x": value}]
    assert snapshot.to_reader(predicate="x <> 123456.79").read_all().num_rows == 2
    assert snapshot.to_reader(predicate="x * 2 = 246913.58").read_all().to_pylist() == [{"x": values[0]}]


def test_statistics_of_numbers_of_4_bytes_bound_those_of_8(tmp_path):
    narrow = pa.array([0.1, 0.7, -0.1], pa.float32())
    pq.write_table(pa.table({"x": narrow}), tmp_path / "a.parquet")
    bounds = {"numRecords": 3, "minValues": {"x": -0.1}, "maxValues": {"x": 0.7}, "nullCount": {"x": 0}}
    changed = {"delta.typeChanges": [{"toType": "double", "fromType": "float", "tableVersion": 1}]}
    wide = {"name": "x", "type": "double", "nullable": True, "metadata": changed}
    commit(tmp_path, 0, protocol("typeWidening"), metadata([wide]), add("a.parquet", stats=bounds))
    snapshot = Table(tmp_path).snapshot()
    lowest = narrow.cast(pa.float64())[2].as_py()
    for predicate in (f"x = {Decimal(lowest)}", f"x <= {Decimal(lowest)}", "x < -0.1"):
        assert snapshot.files(predicate).candidates == 1
        assert snapshot.to_reader(predicate=predicate).read_all().to_pylist() == [{"x": lowest}]
    assert snapshot.files("x < -0.2").candidates == 0


def test_partitions_that_a_checkpoint_holds_typed_only(tmp_path):
    days = [date(2024, 2, 29), None, date(1, 1, 1)]
    actions = [
        protocol(),
        metadata([*PLAIN, field("day", "date"), field("at", "timestamp")], None, ["day", "at"]),
    ]
    for index in range(3):
        write(tmp_path / f"{index}.parquet", [index])
        size = (tmp_path / f"{index}.parquet").stat().st_size
        actions.append(add(f"{index}.parquet", size=size))
    rows = checkpoint_table(actions)
    kept = [each for each in rows["add"].type if each.name != "partitionValues"]
    typed = pa.struct(
        [
            *kept,
            ("partitionValues_parsed", pa.struct([("day", pa.date32()), ("at", pa.timestamp("us", "UTC"))])),
        ]
    )
    at = datetime(1969, 12, 31, 23, 59, 59, 999_500, UTC)
    adds = [
        row and {**row, "partitionValues_parsed": {"day": days[int(row["path"][0])], "at": at}}
        for row in rows["add"].to_pylist()
    ]
    rows = rows.set_column(rows.column_names.index("add"), "add", pa.array(adds, typed))
    (tmp_path / "_delta_log").mkdir()
    pq.write_table(rows, tmp_path / "_delta_log" / f"{3:020}.checkpoint.parquet")
    found = Table(tmp_path).snapshot().to_reader().read_all()
    assert bag(found) == bag([{"id": index, "day": day, "at": at} for index, day in enumerate(days)])
    pq.write_table(
        rows.set_column(rows.column_names.index("add"), "add", pa.array(adds, pa.struct(kept))),
        tmp_path / "_delta_log" / f"{3:020}.checkpoint.parquet",
    )
    with pytest.raises(LogError, match="partitions"):
        Table(tmp_path)


def stored(folder, data, rows, *, checksum=None, size=None):
    """Store a vector as given, and say of it what is given."""
    described = vector(folder, [0])
    path = max(folder.glob("deletion_vector_*.bin"), key=lambda each: each.stat().st_mtime_ns)
    checksum = zlib.crc32(data) if checksum is None else checksum
    path.write_bytes(b"\x01" + struct.pack(">i", len(data)) + data + struct.pack(">I", checksum))
    return {**described, "sizeInBytes": size or len(data), "cardinality": rows}


FAR = struct.pack("<iqI", 1681511377, 1, 5) + roaring([1])[16:]
DAMAGED = {
    "it has 2 rows": (roaring([1, 2]), 3, {}),
    "row 9 of": (roaring([1, 9]), 2, {}),
    f"row {(5 << 32) + 1} of": (FAR, 1, {}),
    "checksum": (roaring([1]), 1, {"checksum": 1}),
    "the log says 7": (roaring([1]), 1, {"size": 7}),
    "format is 1": (struct.pack("<iq", 1, 0), 0, {}),
    "cut short": (roaring([1, 2])[:-6], 2, {}),
}


@pytest.mark.parametrize("found", DAMAGED)
def test_damaged_deletion_vectors_are_told(tmp_path, found):
    write(tmp_path / "a.parquet", [0, 1, 2])
    data, rows, more = DAMAGED[found]
    gone = stored(tmp_path, data, rows, **more)
    known = add("a.parquet", stats=stats(0, 2, 3), deletionVector=gone)
    commit(tmp_path, 0, protocol("deletionVectors"), metadata(PLAIN), known)
    table = Table(tmp_path)
    with pytest.raises(LogError, match=found):
        table.snapshot().to_reader().read_all()
    with pytest.raises(LogError, match=found):
        table.changes(-1).to_reader().read_all()
    assert table.snapshot().to_reader(predicate="id > 5").read_all().num_rows == 0  # not read at all


def partitioned(tmp_path, configuration=None):
    write(tmp_path / "a.parquet", [1])
    write(tmp_path / "b.parquet", [2])
    meta = metadata([*PLAIN, field("day", "date")], configuration, ["day"])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet", partitionValues={"day": "2024-02-29"}))
    commit(tmp_path, 1, add("b.parquet", partitionValues={"day": None}))
    commit(tmp_path, 2, {"remove": {"path": "a.parquet", "dataChange": True, "deletionTimestamp": 1}})
    return Table(tmp_path)


@pytest.mark.parametrize("feed", ["true", "false"])
def test_removes_that_say_nothing_of_their_partition(tmp_path, feed):
    table = partitioned(tmp_path, {"delta.enableChangeDataFeed": feed})
    for since in (0, 1):
        changes = table.changes(since)
        gone = {"id": 1, "day": date(2024, 2, 29), "_weight": -1}
        came = [{"id": 2, "day": None, "_weight": 1}] if since == 0 else []
        assert bag(changes.weighted().read_all()) == bag([gone, *came])
        assert all(size > 0 for size in changes.file_actions()["size_bytes"].to_pylist())


def test_removes_of_a_partition_that_nobody_knows(tmp_path):
    partitioned(tmp_path, {"delta.enableChangeDataFeed": "true"})
    commit(tmp_path, 3, {"remove": {"path": "lost.parquet", "dataChange": True, "deletionTimestamp": 1}})
    with pytest.raises(ChangesUnavailableError, match="partition"):
        Table(tmp_path).changes(2)


def test_removes_without_a_size(tmp_path):
    write(tmp_path / "a.parquet", [1])
    commit(tmp_path, 0, protocol(), metadata(PLAIN), add("a.parquet"))
    commit(tmp_path, 1, remove("a.parquet"))
    changes = Table(tmp_path).changes(0)
    assert changes.file_actions()["size_bytes"].to_pylist() == [(tmp_path / "a.parquet").stat().st_size]


def test_columns_of_no_type_are_nulls(tmp_path):
    pq.write_table(pa.table({"id": pa.array([1], pa.int64()), "s": [{"a": 4}]}), tmp_path / "a.parquet")
    inner = {"type": "struct", "fields": [field("a", "long"), field("none", "void")]}
    listed = {"type": "array", "elementType": "void", "containsNull": True}
    meta = metadata([*PLAIN, field("v", "void"), field("s", inner), field("l", listed)])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet", stats=stats(1, 1)))
    table = Table(tmp_path)
    expected = [{"id": 1, "v": None, "s": {"a": 4, "none": None}, "l": None}]
    assert table.snapshot().to_reader().read_all().to_pylist() == expected
    assert table.snapshot().to_reader(predicate="v IS NULL AND id = 1").read_all().to_pylist() == expected
    assert bag(table.changes(-1).weighted().read_all()) == bag([{**expected[0], "_weight": 1}])
    assert table.snapshot().files("v IS NOT NULL").total == 1
    with pytest.raises(UnsupportedError, match="void"):
        table.write(pa.table({"id": [2]}))


def spelled(tmp_path):
    """Make a table of files whose columns deltalake's engine takes for others."""
    both = [field("id", "long"), field("v", "string")]
    pq.write_table(pa.table({"ID": [1, 2], "v": ["a", "b"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [3], "v": ["c"]}), tmp_path / "b.parquet")
    known = add("a.parquet", stats=stats(1, 2, 2)), add("b.parquet", stats=stats(3, 3))
    commit(tmp_path, 0, protocol(), metadata(both), *known)


def numbered(tmp_path):
    parts = [("x", pa.int64(), "1"), ("y", pa.string(), "2")]
    schema = pa.schema([pa.field(name, kind, metadata={"PARQUET:field_id": at}) for name, kind, at in parts])
    pq.write_table(
        pa.table([pa.array([1, 2, 3]), pa.array(["a", "b", "c"])], schema=schema), tmp_path / "a.parquet"
    )
    columns = [mapped("id", "long", 1, "col-1"), mapped("v", "string", 2, "col-2")]
    meta = metadata(columns, {"delta.columnMapping.mode": "id"})
    legacy = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    commit(tmp_path, 0, legacy, meta, add("a.parquet"))


NEWS = pa.table({"id": [2], "v": ["z"]})


@pytest.mark.parametrize("made", [spelled, numbered])
def test_files_are_not_rewritten_by_an_engine_that_loses_their_values(tmp_path, made):
    made(tmp_path)
    table = Table(tmp_path)
    before = bag(table.snapshot().to_reader().read_all())
    rewriting = [
        lambda: table.delete("id = 2"),
        lambda: table.update({"v": "'z'"}, "id = 2"),
        lambda: table.merge(NEWS, on="id"),
        lambda: table.write(NEWS, mode="overwrite", predicate="id = 2"),
        table.optimize,
    ]
    for each in rewriting:
        with pytest.raises(UnsupportedError):
            each()
    step = table.maintain(MaintenancePolicy(small_files=2)).steps[0]
    assert (step.action, step.due) == ("compact", False)
    assert (table.snapshot().version, bag(table.snapshot().to_reader().read_all())) == (0, before)
    table.write(pa.table({"id": [4], "v": ["d"]}))
    assert ids(table) == [1, 2, 3, 4]
    if made is spelled:
        assert table.delete("id = 3").version == 2  # whose file is none of these
        assert ids(table) == [1, 2, 4]
    table.delete()
    assert ids(table) == []


LONG = Decimal("12345678901234567890.12")
CHOSEN = {
    "x > 2.5 AND id < 9": [1],
    "y > 5": [2],
    "y >= 1": [1, 2],
    "NOT (y <= 5)": [2],
    "y <> 1": [2, 3],
    "y = 0": [3],
    "x < 2.5": [2],
}


@pytest.mark.parametrize("predicate", CHOSEN)
def test_rows_to_rewrite_are_not_missed_for_what_statistics_leave_out(tmp_path, predicate):
    data = {"id": [1, 2, 3], "x": pa.array([LONG, Decimal("1.5"), None], pa.decimal128(38, 2))}
    pq.write_table(pa.table({**data, "y": [1.0, math.nan, -0.0]}), tmp_path / "a.parquet")
    known = {
        "numRecords": 3,
        "minValues": {"x": 1.5, "y": 0.0},
        "maxValues": {"x": 1.2345678901234567e19, "y": 1.0},
    }
    meta = metadata([*PLAIN, field("x", "decimal(38,2)"), field("y", "double")])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet", stats=known))
    table = Table(tmp_path)
    assert ids(table, predicate=predicate) == CHOSEN[predicate]
    table.update({"id": "id + 10"}, predicate)
    assert ids(table) == sorted(each + 10 * (each in CHOSEN[predicate]) for each in (1, 2, 3))
    table.restore(0)
    table.delete(predicate)
    assert ids(table) == [each for each in (1, 2, 3) if each not in CHOSEN[predicate]]
    table.restore(0)
    table.write(table.snapshot(0).to_reader(predicate=predicate), mode="overwrite", predicate=predicate)
    assert ids(table) == [1, 2, 3]
    assert table.delete(f"x = {LONG}").rows == 1


def test_paths_that_look_like_uris(tmp_path):
    write(tmp_path / "a:b.parquet", [1])
    commit(tmp_path, 0, protocol(), metadata(PLAIN), add("a:b.parquet", stats=stats(1, 1)))
    assert ids(Table(tmp_path)) == ids(Table(tmp_path), predicate="id = 1") == [1]
    assert Table(tmp_path).changes(-1).weighted().read_all().num_rows == 1


def test_a_checkpoint_written_late_does_not_move_later_commits(tmp_path):
    write(tmp_path / "a.parquet", [1])
    actions = [protocol(), metadata(PLAIN), add("a.parquet", size=(tmp_path / "a.parquet").stat().st_size)]
    log = tmp_path / "_delta_log"
    log.mkdir()
    pq.write_table(checkpoint_table(actions), log / f"{5:020}.checkpoint.parquet")
    os.utime(log / f"{5:020}.checkpoint.parquet", (900, 900))
    for version in (6, 7):
        commit(tmp_path, version, {"txn": {"appId": "a", "version": version}})
        os.utime(log / f"{version:020}.json", (100 * version, 100 * version))
    table = Table(tmp_path)
    assert [table.snapshot(version).timestamp.timestamp() for version in (6, 7)] == [600, 700]
    assert table.snapshot(timestamp=datetime.fromtimestamp(650, UTC)).version == 6
    assert table.snapshot(timestamp=datetime.fromtimestamp(599.9995, UTC)).version == 5
