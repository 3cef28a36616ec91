"""Tables as other writers may leave them, feature by feature of the protocol: read right, or refused."""

from __future__ import annotations

import json
import math
import os
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector

from delta_io import LogError, SchemaMismatchError, Table, UnsupportedError, VersionNotFoundError
from delta_io.testing import bag

PLAIN = [field("id", "long")]
ENTRIES = pa.map_(pa.string(), pa.string())


def write(path, ids):
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path)


def ids(table, **options):
    return sorted(row["id"] for row in table.snapshot().to_reader(**options).read_all().to_pylist())


def stats(low, high, count=1, column="id"):
    return {
        "numRecords": count,
        "minValues": {column: low},
        "maxValues": {column: high},
        "nullCount": {column: 0},
    }


def checkpoint_table(actions, stats_type=None):
    """Lay out actions as the rows of a checkpoint."""
    vector_type = pa.struct(
        [
            ("storageType", pa.string()),
            ("pathOrInlineDv", pa.string()),
            ("offset", pa.int32()),
            ("sizeInBytes", pa.int32()),
            ("cardinality", pa.int64()),
        ]
    )
    parsed = [] if stats_type is None else [("stats_parsed", stats_type)]
    added = pa.struct(
        [
            ("path", pa.string()),
            ("partitionValues", ENTRIES),
            ("size", pa.int64()),
            ("modificationTime", pa.int64()),
            ("dataChange", pa.bool_()),
            ("stats", pa.string()),
            ("deletionVector", vector_type),
            *parsed,
        ]
    )
    meta = pa.struct(
        [
            ("id", pa.string()),
            ("schemaString", pa.string()),
            ("partitionColumns", pa.list_(pa.string())),
            ("configuration", ENTRIES),
        ]
    )
    features = pa.list_(pa.string())
    asked = pa.struct(
        [
            ("minReaderVersion", pa.int32()),
            ("minWriterVersion", pa.int32()),
            ("readerFeatures", features),
            ("writerFeatures", features),
        ]
    )
    transaction = pa.struct([("appId", pa.string()), ("version", pa.int64())])
    sidecar = pa.struct(
        [("path", pa.string()), ("sizeInBytes", pa.int64()), ("modificationTime", pa.int64())]
    )
    kinds = {"add": added, "metaData": meta, "protocol": asked, "txn": transaction, "sidecar": sidecar}
    columns = {}
    for name, kind in kinds.items():
        rows = [action.get(name) for action in actions]
        fit = [row if row is None else {f.name: row.get(f.name) for f in kind} for row in rows]
        for row in filter(None, fit):
            for key, value in row.items():
                if isinstance(value, dict) and kind.field(key).type == ENTRIES:
                    row[key] = list(value.items())
        columns[name] = pa.array(fit, kind)
    return pa.table(columns)


def drop_commits(folder, until):
    for version in range(until + 1):
        (folder / "_delta_log" / f"{version:020}.json").unlink(missing_ok=True)


@pytest.mark.parametrize("parts", [1, 3])
def test_classic_checkpoints_in_one_file_or_in_parts(tmp_path, parts):
    for index in range(4):
        write(tmp_path / f"{index}.parquet", [index])
    actions = [protocol(), metadata(PLAIN), {"txn": {"appId": "a", "version": 7}}]
    actions += [add(f"{index}.parquet", stats=stats(index, index)) for index in range(3)]
    log = tmp_path / "_delta_log"
    log.mkdir()
    for part in range(parts):
        rows = checkpoint_table(actions[part::parts])
        of = "" if parts == 1 else f".{part + 1:010}.{parts:010}"
        pq.write_table(rows, log / f"{5:020}.checkpoint{of}.parquet")
    pq.write_table(checkpoint_table(actions[:1]), log / f"{6:020}.checkpoint.{1:010}.{2:010}.parquet")
    commit(tmp_path, 6, remove("0.parquet"), add("3.parquet", stats=stats(3, 3)))
    table = Table(tmp_path)
    assert (table.snapshot().version, ids(table)) == (6, [1, 2, 3])
    assert table.snapshot().files("id >= 2").candidates == 2
    assert table.transaction_version("a") == 7
    assert ids(Table(tmp_path)) == [1, 2, 3]
    assert table.snapshot(5).files().total == 3
    with pytest.raises(VersionNotFoundError):
        table.snapshot(4)


@pytest.mark.parametrize("top", ["parquet", "json"])
@pytest.mark.parametrize("sidecars", [True, False])
def test_checkpoints_of_version_2(tmp_path, top, sidecars):
    for index in range(4):
        write(tmp_path / f"{index}.parquet", [index, index + 10])
    gone = vector(tmp_path, [1])
    log = tmp_path / "_delta_log"
    (log / "_sidecars").mkdir(parents=True)
    head = [protocol("v2Checkpoint", "deletionVectors"), metadata(PLAIN, {"delta.checkpointPolicy": "v2"})]
    size = (tmp_path / "0.parquet").stat().st_size
    files = [add(f"{index}.parquet", size=size, stats=stats(index, index + 10, 2)) for index in range(3)]
    files[2]["add"]["deletionVector"] = gone
    if sidecars:
        for index, each in enumerate(files):
            pq.write_table(checkpoint_table([each]).select(["add"]), log / "_sidecars" / f"s{index}.parquet")
        entries = [{"path": f"s{i}.parquet", "sizeInBytes": 1, "modificationTime": 0} for i in range(3)]
        actions = head + [{"sidecar": each} for each in entries]
    else:
        actions = head + files
    name = f"{2:020}.checkpoint.{uuid.uuid4()}.{top}"
    if top == "parquet":
        pq.write_table(checkpoint_table(actions), log / name)
    else:
        lines = [{"checkpointMetadata": {"version": 2}}, *actions]
        (log / name).write_text("\n".join(json.dumps(line) for line in lines))
    commit(tmp_path, 3, remove("1.parquet"), add("3.parquet"))
    table = Table(tmp_path)
    assert ids(table) == [0, 2, 3, 10, 13]
    assert table.snapshot(2).files("id < 1").candidates == 1
    commit(tmp_path, 4, remove("2.parquet", deletionVector=gone))
    assert ids(table) == [0, 3, 10, 13]


def test_an_unreadable_checkpoint_gives_way_to_what_says_the_same(tmp_path):
    write(tmp_path / "a.parquet", [1])
    commit(tmp_path, 0, protocol(), metadata(PLAIN), add("a.parquet"))
    (tmp_path / "_delta_log" / f"{0:020}.checkpoint.parquet").write_bytes(b"PAR1 damaged")
    assert ids(Table(tmp_path)) == [1]
    drop_commits(tmp_path, 0)
    commit(tmp_path, 1, add("a.parquet"))
    with pytest.raises(LogError, match="checkpoint"):
        Table(tmp_path)


def test_statistics_that_only_a_checkpoint_holds_prune(tmp_path):
    kinds = {"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "d": pa.date32(), "s": pa.string()}
    bounds = pa.struct(list(kinds.items()))
    counts = pa.struct([(name, pa.int64()) for name in kinds])
    kind = pa.struct(
        [("numRecords", pa.int64()), ("minValues", bounds), ("maxValues", bounds), ("nullCount", counts)]
    )
    actions = [
        protocol(),
        metadata(
            [field(*each) for each in [("id", "long"), ("at", "timestamp"), ("d", "date"), ("s", "string")]]
        ),
    ]
    for index in range(3):
        value = {
            "id": index,
            "at": datetime(2024, 1, index + 1, tzinfo=UTC),
            "d": date(2024, 1, index + 1),
            "s": "abc"[index],
        }
        entry = add(f"{index}.parquet")
        entry["add"]["stats_parsed"] = {
            "numRecords": 1,
            "minValues": value,
            "maxValues": value,
            "nullCount": dict.fromkeys(kinds, 0),
        }
        actions.append(entry)
    (tmp_path / "_delta_log").mkdir()
    pq.write_table(checkpoint_table(actions, kind), tmp_path / "_delta_log" / f"{0:020}.checkpoint.parquet")
    commit(tmp_path, 1, add("3.parquet", stats=stats(3, 3)))
    snapshot = Table(tmp_path).snapshot()
    for predicate, kept in {
        "id = 1": 1,
        "at > TIMESTAMP '2024-01-02T12:00:00Z'": 2,
        "d < DATE '2024-01-02'": 2,
        "s = 'c'": 2,
        "id > 2": 1,
    }.items():
        assert snapshot.files(predicate).candidates == kept, predicate
    assert snapshot.add_actions()["num_records"].to_pylist() == [1, 1, 1, 1]


def test_other_files_in_the_log_are_left_alone(tmp_path):
    write(tmp_path / "a.parquet", [1])
    commit(tmp_path, 0, protocol(), metadata(PLAIN), add("a.parquet"))
    log = tmp_path / "_delta_log"
    for name in (
        "00000000000000000000.crc",
        "_last_checkpoint",
        "00000000000000000001.json.tmp",
        ".00000000000000000001.json.crc",
        "00000000000000000000.00000000000000000004.compacted.json",
        "00000000000000000001.checkpoint.parquet.tmp",
        "_commits",
        "1.json",
        "00000000000000000007.4a3cb6ac-7c0a-4b5c-9ea7-3f2b1c6a7d11.json",
    ):
        (log / name).write_text("{")
    assert ids(Table(tmp_path)) == [1]


def test_files_that_come_go_and_come_again(tmp_path):
    write(tmp_path / "a b.parquet", [1])
    write(tmp_path / "c.parquet", [2])
    commit(tmp_path, 0, protocol(), metadata(PLAIN), add("a%20b.parquet"), add("c.parquet"))
    commit(tmp_path, 1, remove("a b.parquet"))
    commit(tmp_path, 2, remove("c.parquet"))
    commit(tmp_path, 3, add("a b.parquet"))
    table = Table(tmp_path)
    found = [ids_at(table, version) for version in range(4)]
    assert found == [[1, 2], [2], [], [1]]
    assert table.changes(0).weighted().read_all().to_pylist() == [{"id": 2, "_weight": -1}]
    assert table.changes(0, 1).weighted().read_all().to_pylist() == [{"id": 1, "_weight": -1}]


def ids_at(table, version):
    return sorted(table.snapshot(version).to_reader().read_all()["id"].to_pylist())


def test_commits_written_with_blanks_and_unknown_actions(tmp_path):
    write(tmp_path / "a.parquet", [1])
    lines = [
        protocol(),
        metadata(PLAIN),
        add("a.parquet", size=(tmp_path / "a.parquet").stat().st_size),
        {"domainMetadata": {"domain": "x", "removed": False}},
    ]
    log = tmp_path / "_delta_log"
    log.mkdir()
    text = "\n\n  ".join(json.dumps(line, indent=None, separators=(" , ", " : ")) for line in lines)
    (log / f"{0:020}.json").write_text("\n" + text + "\n\n")
    assert ids(Table(tmp_path)) == [1]


NO_COMMITS = [
    "null",
    "[1]",
    '{"add": 5}',
    '{"add": {"path"',
    "5",
    '{"metaData": {}}',
    '{"add": {}}',
    '{"remove": {}}',
]


@pytest.mark.parametrize("text", NO_COMMITS)
def test_damaged_commits_are_told(tmp_path, text):
    commit(tmp_path, 0, protocol(), metadata(PLAIN))
    (tmp_path / "_delta_log" / f"{1:020}.json").write_text(text)
    with pytest.raises(LogError):
        Table(tmp_path)
    assert Table.exists(tmp_path)


def test_a_gap_in_the_log_is_told(tmp_path):
    commit(tmp_path, 0, protocol(), metadata(PLAIN))
    commit(tmp_path, 2, add("a.parquet"))
    with pytest.raises(LogError, match="commit 1 is missing"):
        Table(tmp_path)


def set_time(folder, version, at):
    os.utime(folder / "_delta_log" / f"{version:020}.json", ns=(at * 1_000_000, at * 1_000_000))


def test_times_of_files_that_do_not_rise(tmp_path):
    commit(tmp_path, 0, protocol(), metadata(PLAIN))
    times = [10_000, 50_000, 20_000, 20_000, 60_000]
    for version in range(1, 5):
        commit(tmp_path, version)
    for version, at in enumerate(times):
        set_time(tmp_path, version, at)
    table = Table(tmp_path)
    rising = [10_000, 50_000, 50_001, 50_002, 60_000]
    found = [table.snapshot(version).timestamp for version in range(5)]
    assert [round(each.timestamp() * 1000) for each in found] == rising
    assert [table.snapshot(timestamp=each).version for each in found] == list(range(5))
    assert [each.timestamp for each in reversed(table.history())] == found
    assert [table.commit_info(version).timestamp for version in range(5)] == found
    assert table.snapshot(timestamp=datetime.fromtimestamp(45, UTC)).version == 0


def test_times_in_commits_from_a_version_on(tmp_path):
    enabled = {
        "delta.enableInCommitTimestamps": "true",
        "delta.inCommitTimestampEnablementVersion": "2",
        "delta.inCommitTimestampEnablementTimestamp": "30000",
    }
    commit(tmp_path, 0, protocol(), metadata(PLAIN))
    commit(tmp_path, 1)
    log = tmp_path / "_delta_log"
    meta = metadata(PLAIN, enabled)
    head = {
        "protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["inCommitTimestamp"]}
    }
    for version, at in ((2, 30_000), (3, 40_000), (4, 41_000)):
        lines = [{"commitInfo": {"inCommitTimestamp": at, "timestamp": 1, "operation": "TEST"}}]
        lines += [head, meta] if version == 2 else []
        (log / f"{version:020}.json").write_text("\n".join(map(json.dumps, lines)))
    for version, at in enumerate([10_000, 20_000, 99_000, 98_000, 97_000]):
        set_time(tmp_path, version, at)
    table = Table(tmp_path)
    moments = {5_000: None, 10_000: 0, 29_999: 1, 30_000: 2, 39_999: 2, 40_500: 3, 41_000: 4, 10**9: 4}
    for at, version in moments.items():
        moment = datetime.fromtimestamp(at / 1000, UTC)
        if version is None:
            with pytest.raises(VersionNotFoundError):
                table.snapshot(timestamp=moment)
        else:
            assert table.snapshot(timestamp=moment).version == version, at
    assert [round(table.snapshot(v).timestamp.timestamp()) for v in range(5)] == [10, 20, 30, 40, 41]


@pytest.mark.parametrize(
    "feature",
    [
        "appendOnly",
        "invariants",
        "checkConstraints",
        "generatedColumns",
        "identityColumns",
        "allowColumnDefaults",
        "domainMetadata",
        "rowTracking",
        "icebergCompatV1",
        "icebergCompatV2",
        "clustering",
        "inCommitTimestamp",
        "changeDataFeed",
        "checkpointProtection",
        "collations-preview",
        "materializePartitionColumns",
        "notYetThoughtOf",
    ],
)
def test_features_of_writers_do_not_keep_readers_away(tmp_path, feature):
    write(tmp_path / "a.parquet", [1])
    head = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature]}}
    commit(tmp_path, 0, head, metadata(PLAIN), add("a.parquet"))
    assert ids(Table(tmp_path)) == [1]
    assert Table(tmp_path).changes(-1).weighted().read_all().num_rows == 1


@pytest.mark.parametrize("feature", ["catalogManaged", "catalogOwned-preview", "notYetThoughtOf"])
def test_features_of_readers_that_are_unknown_are_refused(tmp_path, feature):
    commit(tmp_path, 0, protocol(feature), metadata(PLAIN))
    with pytest.raises(UnsupportedError, match=feature):
        Table(tmp_path)
    commit(
        tmp_path / "version", 0, {"protocol": {"minReaderVersion": 4, "minWriterVersion": 8}}, metadata(PLAIN)
    )
    with pytest.raises(UnsupportedError, match="reader version 4"):
        Table(tmp_path / "version")


VARIANT = pa.struct(
    [pa.field("metadata", pa.binary(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)


def test_variants_are_read_as_their_two_parts(tmp_path):
    parts = {"metadata": b"\x01\x00\x00", "value": b"\x0c\x01"}
    rows = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "v": pa.array([parts, None], VARIANT),
            "l": pa.array([[None, parts], []], pa.list_(VARIANT)),
        }
    )
    pq.write_table(rows, tmp_path / "a.parquet")
    element = {"type": "array", "elementType": "variant", "containsNull": True}
    fields = [*PLAIN, field("v", "variant"), field("l", element)]
    known = {"numRecords": 2, "minValues": {"id": 1}, "maxValues": {"id": 2}, "nullCount": {"id": 0, "v": 1}}
    commit(tmp_path, 0, protocol("variantType"), metadata(fields), add("a.parquet", stats=known))
    table = Table(tmp_path)
    assert bag(table.snapshot().to_reader().read_all()) == bag(rows)
    assert bag(table.changes(-1).weighted().read_all().drop_columns("_weight")) == bag(rows)
    assert table.snapshot().files("id = 3").candidates == 0


def test_tables_whose_variants_may_be_shredded_are_refused(tmp_path):
    named = protocol("variantType", "variantShredding-preview")
    commit(tmp_path, 0, named, metadata([*PLAIN, field("v", "variant")]), add("a.parquet"))
    snapshot = Table(tmp_path).snapshot()
    assert snapshot.files().total == 1
    with pytest.raises(UnsupportedError, match="variantShredding"):
        snapshot.to_reader()


def test_types_that_are_not_known_are_refused(tmp_path):
    commit(tmp_path, 0, protocol(), metadata([*PLAIN, field("v", "interval")]), add("a.parquet"))
    snapshot = Table(tmp_path).snapshot()
    assert snapshot.files().total == 1
    with pytest.raises(UnsupportedError, match="interval"):
        snapshot.to_reader()


WIDENED = [
    ("byte", "short", pa.array([1, -128, None], pa.int8())),
    ("byte", "long", pa.array([1, -128, None], pa.int8())),
    ("short", "integer", pa.array([1, -32768, None], pa.int16())),
    ("integer", "long", pa.array([1, -(2**31), None], pa.int32())),
    ("integer", "double", pa.array([1, 2**31 - 1, None], pa.int32())),
    ("byte", "decimal(10,0)", pa.array([1, -128, None], pa.int8())),
    ("integer", "decimal(12,2)", pa.array([1, -(2**31), None], pa.int32())),
    ("long", "decimal(20,0)", pa.array([1, -(2**63), None], pa.int64())),
    ("long", "decimal(22,2)", pa.array([1, 2**63 - 1, None], pa.int64())),
    ("float", "double", pa.array([0.5, -1.5, None], pa.float32())),
    (
        "decimal(5,2)",
        "decimal(10,4)",
        pa.array([Decimal("1.25"), Decimal("-999.99"), None], pa.decimal128(5, 2)),
    ),
    ("date", "timestamp_ntz", pa.array([date(2024, 2, 29), date(1, 1, 1), None], pa.date32())),
]


@pytest.mark.parametrize("feature", ["typeWidening", "typeWidening-preview"])
@pytest.mark.parametrize(("old", "new", "values"), WIDENED)
def test_widened_types(tmp_path, feature, old, new, values):
    pq.write_table(pa.table({"x": values}), tmp_path / "a.parquet")
    names = [feature, *(["timestampNtz"] if new == "timestamp_ntz" else [])]
    commit(tmp_path, 0, protocol(*names), metadata([field("x", old)]), add("a.parquet"))
    change = {"delta.typeChanges": [{"toType": new, "fromType": old, "tableVersion": 1}]}
    wide = metadata([{"name": "x", "type": new, "nullable": True, "metadata": change}])
    commit(tmp_path, 1, wide)
    table = Table(tmp_path)
    kind = table.snapshot().schema.field("x").type
    old_kind = table.snapshot(0).schema.field("x").type
    pq.write_table(pa.table({"x": values[:1].cast(old_kind).cast(kind)}), tmp_path / "b.parquet")
    commit(tmp_path, 2, add("b.parquet"))
    found = table.snapshot().to_reader().read_all()
    assert found.schema.field("x").type == kind
    plain = values.cast(old_kind).cast(kind).to_pylist()
    assert bag(found) == bag([{"x": each} for each in [*plain, plain[0]]])
    assert bag(table.snapshot(1).to_reader(predicate="x IS NULL").read_all()) == bag([{"x": None}])
    changes = table.changes(0)
    assert bag(changes.weighted().read_all()) == bag([{"x": plain[0]}])
    assert bag(table.changes(-1).weighted().read_all()) == bag(found)


def test_types_that_were_narrowed_are_an_error_and_no_other_value(tmp_path):
    pq.write_table(pa.table({"x": pa.array([1, 2**40])}), tmp_path / "a.parquet")
    commit(tmp_path, 0, protocol("typeWidening"), metadata([field("x", "integer")]), add("a.parquet"))
    with pytest.raises(SchemaMismatchError, match="fit int32"):
        Table(tmp_path).snapshot().to_reader().read_all()


def test_partition_columns_that_are_in_the_files_too(tmp_path):
    rows = pa.table({"id": pa.array([1], pa.int64()), "p": ["of the file"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    meta = metadata([*PLAIN, field("p", "string")], partition_by=["p"])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet", partitionValues={"p": "of the log"}))
    table = Table(tmp_path)
    expected = [{"id": 1, "p": "of the log"}]
    assert table.snapshot().to_reader().read_all().to_pylist() == expected
    assert [row["p"] for row in table.changes(-1).to_reader().read_all().to_pylist()] == ["of the log"]
    assert table.snapshot().to_reader(columns=["p"]).read_all().to_pylist() == [{"p": "of the log"}]
    assert table.changes(-1, columns=["p"]).weighted().read_all().to_pylist() == [
        {"p": "of the log", "_weight": 1}
    ]


def test_columns_that_files_lack_or_have_too_many(tmp_path):
    write(tmp_path / "a.parquet", [1])
    nested = pa.struct([("a", pa.int32()), ("gone", pa.string())])
    pq.write_table(
        pa.table(
            {"more": ["x"], "n": pa.array([{"a": 1, "gone": "x"}], nested), "id": pa.array([2], pa.int64())}
        ),
        tmp_path / "b.parquet",
    )
    inner = {"type": "struct", "fields": [field("b", "string"), field("a", "integer")]}
    commit(tmp_path, 0, protocol(), metadata([field("n", inner), *PLAIN]), add("a.parquet"), add("b.parquet"))
    table = Table(tmp_path)
    expected = [{"id": 1, "n": None}, {"id": 2, "n": {"a": 1, "b": None}}]
    assert bag(table.snapshot().to_reader().read_all()) == bag(expected)
    assert bag(table.changes(-1).weighted().read_all()) == bag(expected)


@pytest.mark.parametrize("mode", ["name", "id"])
def test_nested_columns_by_mapping(tmp_path, mode):
    inner = pa.struct([pa.field("p2", pa.int64(), metadata={"PARQUET:field_id": "2"})])
    listed = pa.list_(
        pa.field("element", pa.struct([pa.field("p4", pa.string(), metadata={"PARQUET:field_id": "4"})]))
    )
    schema = pa.schema(
        [
            pa.field("p1", inner, metadata={"PARQUET:field_id": "1"}),
            pa.field("p3", listed, metadata={"PARQUET:field_id": "3"}),
        ]
    )
    rows = pa.table({"p1": [{"p2": 5}, None], "p3": [[{"p4": "x"}, None], []]}, schema=schema)
    pq.write_table(rows, tmp_path / "a.parquet")

    def mapped(name, kind, number):
        ids = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"p{number}"}
        return field(name, kind, **ids)

    fields = [
        mapped("s", {"type": "struct", "fields": [mapped("x.y", "long", 2)]}, 1),
        mapped(
            "l",
            {
                "type": "array",
                "containsNull": True,
                "elementType": {"type": "struct", "fields": [mapped("t", "string", 4)]},
            },
            3,
        ),
    ]
    known = {
        "numRecords": 2,
        "minValues": {"p1": {"p2": 5}},
        "maxValues": {"p1": {"p2": 5}},
        "nullCount": {"p1": {"p2": 1}, "p3": 0},
    }
    commit(
        tmp_path,
        0,
        protocol("columnMapping"),
        metadata(fields, {"delta.columnMapping.mode": mode}),
        add("a.parquet", stats=known),
    )
    table = Table(tmp_path)
    expected = [{"s": {"x.y": 5}, "l": [{"t": "x"}, None]}, {"s": None, "l": []}]
    assert bag(table.snapshot().to_reader().read_all()) == bag(expected)
    assert bag(table.changes(-1).weighted().read_all()) == bag(expected)
    assert table.snapshot().add_actions()["max"].to_pylist() == [{"s": {"x.y": 5}}]


@pytest.mark.parametrize("kind", ["inline", "padded", "relative", "prefix", "absolute"])
def test_deletion_vectors_wherever_they_are_stored(tmp_path, kind):
    folder = tmp_path / "table"
    folder.mkdir()
    write(folder / "a.parquet", range(10))
    stored = folder
    if kind == "prefix":
        stored = folder / "ab"
    elif kind == "absolute":
        stored = tmp_path / "else where"
    stored.mkdir(exist_ok=True)
    gone = vector(stored, [0, 9], inline=kind in ("inline", "padded"))
    if kind == "padded":
        # As the crate `z85` writes it: bytes that are missing in the last word are told by as many "#".
        gone = {
            "storageType": "i",
            "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000005c8Xg##093",
            "sizeInBytes": 34,
            "cardinality": 1,
        }
    if kind == "prefix":
        gone["pathOrInlineDv"] = f"ab{gone['pathOrInlineDv']}"
    elif kind == "absolute":
        (path,) = stored.iterdir()
        gone |= {"storageType": "p", "pathOrInlineDv": path.as_uri()}
    commit(folder, 0, protocol("deletionVectors"), metadata(PLAIN), add("a.parquet", deletionVector=gone))
    table = Table(folder)
    left = [0, 1, 2, *range(4, 10)] if kind == "padded" else list(range(1, 9))
    assert ids(table) == left
    assert table.changes(-1).weighted().read_all().num_rows == len(left)
    commit(folder, 1, remove("a.parquet", deletionVector=gone))
    assert ids(table) == []
    assert {row["_weight"] for row in table.changes(0).weighted().read_all().to_pylist()} == {-1}


def test_parquet_types_that_stand_for_others(tmp_path):
    files = {
        "i": pa.array([1, -1], pa.int32()),
        "b": pa.array([1, -1], pa.int32()),
        "s": pa.array(["a", "é"], pa.large_string()),
        "d": pa.array([Decimal("1.25"), Decimal("-0.01")], pa.decimal128(6, 2)),
        "x": pa.array([b"\x00", b""], pa.large_binary()),
        "t": pa.array([datetime(1850, 1, 1), datetime(9999, 12, 31)], pa.timestamp("ms")),
        "u": pa.array(["a", "a"]).dictionary_encode(),
    }
    pq.write_table(pa.table(files), tmp_path / "a.parquet", store_decimal_as_integer=True)
    kinds = {
        "i": "integer",
        "b": "byte",
        "s": "string",
        "d": "decimal(6,2)",
        "x": "binary",
        "t": "timestamp_ntz",
        "u": "string",
    }
    commit(
        tmp_path,
        0,
        protocol("timestampNtz"),
        metadata([field(*each) for each in kinds.items()]),
        add("a.parquet"),
    )
    table = Table(tmp_path)
    found = table.snapshot().to_reader().read_all()
    assert found["b"].type == pa.int8()
    assert found["t"].to_pylist() == [datetime(1850, 1, 1), datetime(9999, 12, 31)]
    assert found["d"].to_pylist() == [Decimal("1.25"), Decimal("-0.01")]
    assert bag(table.changes(-1).weighted().read_all()) == bag(found)


def test_zero_is_zero_whatever_its_sign(tmp_path):
    values = [-0.0, 0.0, -1.5, math.nan, None]
    pq.write_table(pa.table({"x": values}), tmp_path / "a.parquet")
    known = {"numRecords": 5, "minValues": {"x": -1.5}, "maxValues": {"x": 0.0}, "nullCount": {"x": 1}}
    commit(tmp_path, 0, protocol(), metadata([field("x", "double")]), add("a.parquet", stats=known))
    snapshot = Table(tmp_path).snapshot()
    found = {
        "x = 0": 2,
        "x < 0": 1,
        "x >= 0.0": 3,
        "x > 0": 1,
        "NOT x = 0": 2,
        "x IN (0, 1)": 2,
        "x <= -0.0": 3,
    }
    for predicate, count in found.items():
        assert snapshot.to_reader(predicate=predicate).read_all().num_rows == count, predicate
        assert Table(tmp_path).changes(-1, predicate=predicate).to_reader().read_all().num_rows == count
    assert "0" in (snapshot.why_by_file(predicate="x = 0") or "")
    assert snapshot.why_by_file(predicate="x IS NULL") is None


def test_rows_wanted_are_found_whatever_statistics_leave_out(tmp_path):
    long = "a" * 40
    many = Decimal("123456789012345678901234567.8912345679")
    data = {
        "x": [1.0, math.nan],
        "s": [long, long + "z"],
        "c": pa.array([many, many], pa.decimal128(38, 10)),
    }
    pq.write_table(pa.table(data), tmp_path / "a.parquet")
    bounds = {"x": 1.0, "s": long[:32], "c": float(many)}
    known = {"numRecords": 2, "minValues": bounds, "maxValues": bounds, "nullCount": {"x": 0, "s": 0, "c": 0}}
    fields = [field("x", "double"), field("s", "string"), field("c", "decimal(38,10)")]
    commit(tmp_path, 0, protocol(), metadata(fields), add("a.parquet", stats=known))
    snapshot = Table(tmp_path).snapshot()
    found = {
        "x > 5": 1,
        "x <> 1.0": 1,
        "NOT (x <= 5)": 1,
        f"s = '{long}z'": 1,
        f"s > '{long}'": 1,
        f"c = {many}": 2,
        f"c > {int(many)}": 2,
        "x > 5 AND s IS NOT NULL": 1,
        "abs(x) > 5": 1,
        f"concat(s, '') = '{long}z'": 1,
        f"s = '{long}z' AND length(s) > 1": 1,
        "x > 5 AND length(s) > 1": 1,
    }
    for predicate, count in found.items():
        assert snapshot.to_reader(predicate=predicate).read_all().num_rows == count, predicate


def test_rows_come_alike_from_engine_and_files(tmp_path):
    stamp = datetime(1582, 10, 4, 12, tzinfo=UTC)
    times = pa.array([stamp, None], pa.timestamp("us", "UTC"))
    data = {"id": pa.array([1, 2], pa.int64()), "t": times, "s": ["a", None]}
    pq.write_table(pa.table(data), tmp_path / "a.parquet")
    fields = [field("id", "long"), field("t", "timestamp"), field("s", "string"), field("p", "date")]
    common = {"partitionValues": {"p": "2024-02-29"}}
    for folder, features in (("engine", []), ("files", ["typeWidening"])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
        meta = metadata(fields, partition_by=["p"])
        commit(tmp_path / folder, 0, protocol(*features), meta, add("a.parquet", **common))
    engine, files = (Table(tmp_path / each).snapshot() for each in ("engine", "files"))
    assert (engine.why_by_file(), "typeWidening" in (files.why_by_file() or "")) == (None, True)
    early = {"predicate": "t < TIMESTAMP '1600-01-01 00:00:00'"}
    for options in ({}, {"columns": ["p"]}, {"columns": ["s", "id"]}, early):
        one, other = (each.to_reader(**options).read_all() for each in (engine, files))
        assert one.schema == other.schema
        assert bag(one) == bag(other), options
