"""Tools: exports, migrations of Parquet folders, clones, history as rows."""

from __future__ import annotations

import datetime as dt
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector

from delta_io import (
    ConstraintError,
    OptionError,
    SchemaMismatchError,
    StorageError,
    Table,
    TableExistsError,
    Transaction,
    UnsupportedError,
    WritePolicy,
    clone_table,
    export_snapshot,
    history_table,
    migrate_parquet,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec(
    "t",
    [
        ColumnSpec("id", "long", nullable=False),
        ColumnSpec("name", "string"),
        ColumnSpec("amount", "decimal(10,2)"),
        ColumnSpec("at", "timestamp"),
        ColumnSpec("day", "date"),
    ],
    partition_by=["day"],
    constraints={"positive": "id > 0"},
)
NOW = {"retention": timedelta(0), "allow_short_retention": True, "unknown_files": True, "dry_run": False}


@pytest.fixture
def table(tmp_path):
    made = Table.create(tmp_path / "t", SPEC)
    rows = [
        {"id": each, "name": [None, "", 'a "b", c\n', "é"][each % 4], "amount": Decimal(each) / 4,
         "at": dt.datetime(2024, 1, 1, each % 24, tzinfo=dt.UTC), "day": dt.date(2024, 1, 1 + each % 2)}
        for each in range(1, 20)
    ]  # fmt: skip
    made.write(pa.Table.from_pylist(rows, SPEC.to_arrow()))
    made.delete("id > 15")
    return made


def content(source, **how):
    return bag((source.snapshot() if isinstance(source, Table) else source).to_reader(**how).read_all())


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_exports_hold_the_rows(table, tmp_path, form):
    done = export_snapshot(table.snapshot(), tmp_path / "out", format=form)
    assert (done.rows, done.version, done.bytes) == (15, 2, (tmp_path / "out").stat().st_size)
    found = pq.read_table(done.path) if form == "parquet" else pa_ipc.open_file(done.path).read_all()
    assert bag(found) == content(table)
    assert found.schema.names == [each.name for each in SPEC.columns]
    old = export_snapshot(
        table.snapshot(1), done.path, format=form, columns=["id"], predicate="id > 10", overwrite=True
    )
    assert old.rows == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t"]


def test_csv_tells_null_from_empty(table, tmp_path):
    export_snapshot(table.snapshot(), tmp_path / "t.csv", format="csv")
    types = dict(zip(SPEC.to_arrow().names, SPEC.to_arrow().types, strict=True))
    options = pa_csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    found = pa_csv.read_csv(tmp_path / "t.csv", convert_options=options, parse_options=parsing)
    assert bag(found) == content(table)


def test_exports_that_cannot_be(table, tmp_path):
    snapshot = table.snapshot()
    (tmp_path / "there").write_text("mine")
    with pytest.raises(OptionError, match="exists"):
        export_snapshot(snapshot, tmp_path / "there")
    with pytest.raises(OptionError, match="orc"):
        export_snapshot(snapshot, tmp_path / "x", format="orc")
    with pytest.raises(StorageError):
        export_snapshot(snapshot, tmp_path / "nowhere" / "x")
    assert (tmp_path / "there").read_text() == "mine"
    nested = Table.create(
        tmp_path / "n", TableSpec("n", [ColumnSpec("a", "array<long>"), ColumnSpec("b", "binary")])
    )
    for name in ("a", "b"):
        with pytest.raises(UnsupportedError, match=f"'{name}'"):
            export_snapshot(nested.snapshot(), tmp_path / "x", format="csv", columns=[name])
    assert not (tmp_path / "x").exists()


def parquet_folder(folder):
    """Write a partitioned folder as Spark does, with values that need escapes."""
    parts = {"p=a b/when=2024-01-01 12%3A00%3A00": [1, 2], "p=c%2Fd%25/when=2024-01-01 13%3A00%3A00": [3],
             "p=__HIVE_DEFAULT_PARTITION__/when=__HIVE_DEFAULT_PARTITION__": [4, 5, 6]}  # fmt: skip
    for number, (part, ids) in enumerate(parts.items()):
        (folder / part).mkdir(parents=True)
        days = [dt.date(2024, 1, each) for each in ids]
        pq.write_table(
            pa.table({"id": ids, "d": days, "f": [float("nan")] * len(ids)}),
            folder / part / f"x {number}.parquet",
        )
    (folder / "_SUCCESS").write_text("")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "half.parquet").write_bytes(b"PAR1")
    values = {
        1: ("a b", 12),
        2: ("a b", 12),
        3: ("c/d%", 13),
        4: (None, None),
        5: (None, None),
        6: (None, None),
    }
    moment = lambda hour: None if hour is None else dt.datetime(2024, 1, 1, hour)  # noqa: E731
    return [{"id": each, "p": p, "when": moment(hour)} for each, (p, hour) in values.items()]


PARTITIONS = pa.schema([("p", pa.string()), ("when", pa.timestamp("us"))])


def test_a_folder_becomes_a_table_in_place(tmp_path):
    folder = tmp_path / "data lake"
    expected = bag(parquet_folder(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    table = migrate_parquet(folder, partition_by=PARTITIONS)
    assert table.snapshot().version == 0
    assert table.snapshot().partition_by == ("p", "when")
    assert content(table, columns=["id", "p", "when"]) == expected
    assert content(Table(folder), columns=["id", "p", "when"]) == expected
    assert content(table, columns=["id"], predicate="p = 'c/d%'") == bag([{"id": 3}])
    assert table.snapshot().files("id > 3").candidates == 1
    assert table.snapshot().files("d = DATE '2024-01-02'").candidates == 1
    assert bag(table.changes(-1).weighted().read_all().select(["id", "p", "when"])) == expected
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
    table.update({"id": "id + 10"}, "p = 'a b'")
    table.vacuum(retention=timedelta(days=7), unknown_files=True, dry_run=False)
    assert sorted(row["id"] for row in table.snapshot().to_reader().read_all().to_pylist()) == [
        3,
        4,
        5,
        6,
        11,
        12,
    ]
    with pytest.raises(TableExistsError):
        migrate_parquet(folder, partition_by=PARTITIONS)


def test_a_folder_is_copied_to_a_table(tmp_path):
    expected = bag(parquet_folder(tmp_path / "data"))
    table = migrate_parquet(tmp_path / "data", tmp_path / "copy", partition_by=PARTITIONS)
    assert content(table, columns=["id", "p", "when"]) == expected
    assert table.snapshot().partition_by == ("p", "when")
    assert table.commit_info(1).metadata["delta_io.migrated_from"] == str(tmp_path / "data")
    assert not (tmp_path / "data" / "_delta_log").exists()
    spec = TableSpec(
        "other", [ColumnSpec("id", "integer"), ColumnSpec("p", "string")], constraints={"c": "id < 5"}
    )
    with pytest.raises(ConstraintError):
        migrate_parquet(tmp_path / "data", tmp_path / "other", spec=spec, partition_by=PARTITIONS)


def test_files_that_gained_a_column(tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [2], "more": ["x"]}), tmp_path / "b.parquet")
    expected = bag([{"id": 1, "more": None}, {"id": 2, "more": "x"}])
    assert content(migrate_parquet(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")) == expected
    assert content(migrate_parquet(tmp_path)) == expected


def test_folders_that_cannot_become_tables(tmp_path):
    for name in ("empty", "types", "partitions"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.table({"id": [1]}), tmp_path / "types" / "a.parquet")
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "types" / "b.parquet")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "partitions" / "a.parquet")
    (tmp_path / "partitions" / "p=1").mkdir()
    pq.write_table(pa.table({"id": [1]}), tmp_path / "partitions" / "p=1" / "a.parquet")
    for name, error in (
        ("empty", OptionError),
        ("types", SchemaMismatchError),
        ("partitions", SchemaMismatchError),
    ):
        with pytest.raises(error):
            migrate_parquet(tmp_path / name)
        assert not Table.exists(tmp_path / name)


@pytest.mark.parametrize("shallow", [False, True])
def test_clones_go_their_own_way(table, tmp_path, shallow):
    expected, old = content(table), content(table.snapshot(1))
    clone = clone_table(table.snapshot(), tmp_path / "clone", shallow=shallow)
    earlier = clone_table(table.snapshot(1), tmp_path / "earlier", shallow=shallow)
    assert (content(clone), content(earlier)) == (expected, old)
    assert clone.snapshot().table_id != table.snapshot().table_id
    assert clone.snapshot().schema_identity_hash == table.snapshot().schema_identity_hash
    assert clone.snapshot().partition_by == ("day",)
    origin = clone.commit_info(clone.snapshot().version).metadata["delta_io.cloned_from"]
    assert origin == f"{table.uri}@2"
    with pytest.raises(ConstraintError):
        clone.write(pa.table({"id": [-1]}))
    table.write(SPEC.to_arrow().empty_table(), mode="overwrite")
    table.vacuum(**NOW)
    assert content(Table(clone.uri)) == expected
    clone.delete("id < 8")
    clone.merge(pa.table({"id": [9, 99], "name": ["m", "m"], "day": [dt.date(2024, 1, 2)] * 2}), on="id")
    clone.optimize()
    clone.vacuum(**NOW)
    assert sorted(row["id"] for row in clone.snapshot().to_reader().read_all().to_pylist()) == [
        *range(8, 16),
        99,
    ]
    assert content(Table(earlier.uri)) == old
    assert bag(clone.changes(-1).weighted().read_all()) == content(clone)
    with pytest.raises(TableExistsError):
        clone_table(table.snapshot(), tmp_path / "clone", shallow=shallow)


@pytest.mark.parametrize("mode", ["none", "name", "id"])
@pytest.mark.parametrize("shallow", [False, True])
def test_clones_of_tables_with_vectors_and_mapping(tmp_path, shallow, mode):
    folder = tmp_path / "t"
    folder.mkdir()
    name = "id" if mode == "none" else "col-1"
    schema = pa.schema([pa.field(name, pa.int64(), metadata={"PARQUET:field_id": "1"})])
    pq.write_table(pa.table({name: range(9)}, schema=schema), folder / "a b.parquet")
    mapped = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": name}
    mapping = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "1"}
    head = protocol("deletionVectors", *(["columnMapping"] if mode != "none" else []))
    configuration = {"delta.enableDeletionVectors": "true"} | (mapping if mode != "none" else {})
    file = {"stats": {"numRecords": 9}, "size": (folder / "a b.parquet").stat().st_size}
    described = metadata([field("id", "long", **mapped)], configuration)
    commit(folder, 0, head, described, add("a%20b.parquet", **file))
    without = add("a%20b.parquet", deletionVector=vector(folder, [0, 3]), **file)
    commit(folder, 1, remove("a%20b.parquet"), without)
    clone = clone_table(Table(folder).snapshot(), tmp_path / "clone", shallow=shallow)
    left = bag({"id": each} for each in (1, 2, 4, 5, 6, 7, 8))
    assert content(clone) == left
    clone.write(pa.table({"id": [77]}))
    clone.delete("id = 1")
    assert content(Table(clone.uri)) == left + bag([{"id": 77}]) - bag([{"id": 1}])
    assert content(Table(folder)) == left


def test_a_shallow_clone_needs_one_file_system(table, tmp_path):
    with pytest.raises(UnsupportedError, match="local"):
        clone_table(table.snapshot(), "s3://somewhere/clone", shallow=True)
    other = Path("/dev/shm")
    if not other.exists() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    target = other / tmp_path.name / "clone"
    with pytest.raises(UnsupportedError, match="deep clone"):
        clone_table(table.snapshot(), target, shallow=True)
    assert not Table.exists(target)


def test_history_as_rows(table):
    table.write(pa.table({"id": [50]}), transaction=Transaction("a", 3), metadata={"why": "test"})
    found = history_table(table, limit=2).to_pylist()
    assert [(row["version"], row["operation"]) for row in found] == [(3, "WRITE"), (2, "DELETE")]
    assert json.loads(found[0]["transactions"]) == {"a": 3}
    assert json.loads(found[0]["metadata"])["why"] == "test"
    assert found[0]["timestamp"].tzinfo is not None
    assert history_table(table).num_rows == 4
    assert history_table(Table(table.uri, policy=WritePolicy()), limit=0).num_rows == 0
