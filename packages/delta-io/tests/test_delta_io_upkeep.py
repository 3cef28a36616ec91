"""Maintenance against tables and moments that are hard on it: nothing that anybody needs may go."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector
from deltalake import DeltaTable, QueryBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from delta_io import (
    CdfPolicy,
    Consumer,
    MaintenancePolicy,
    Table,
    Transaction,
    UnsupportedError,
    VersionNotFoundError,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

EVERYTHING = {
    "retention": timedelta(0),
    "allow_short_retention": True,
    "unknown_files": True,
    "dry_run": False,
}
SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("p", "string")])


def rows(table: Table, version: int | None = None) -> Counter[str]:
    return bag(table.snapshot(version).to_reader().read_all())


def by_another_engine(table: Table) -> Counter[str]:
    engine = QueryBuilder().register("t", DeltaTable(table.uri))
    return bag(pa.table(engine.execute("SELECT * FROM t").read_all()))


def aged(folder: Path, days: float) -> None:
    moment = time.time() - days * 86_400
    for path in sorted(folder.rglob("*")):
        os.utime(path, (moment, moment))


def with_vectors(folder: Path, mode: str) -> Table:
    """Make a table of two versions of deletion vectors, with column mapping or without."""
    names = {"none": "id"}.get(mode, "col-1")
    schema = pa.schema([pa.field(names, pa.int64(), metadata={"PARQUET:field_id": "1"})])
    folder.mkdir()
    pq.write_table(pa.table({names: range(10)}, schema=schema), folder / "a.parquet")
    mapped = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": names}
    configuration = {"delta.enableDeletionVectors": "true"}
    if mode != "none":
        configuration |= {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "1"}
    head = protocol("deletionVectors", *(() if mode == "none" else ("columnMapping",)))
    stats = {"numRecords": 10}
    first, second = vector(folder, [1, 2]), vector(folder, [1, 2, 3])
    now = {"deletionTimestamp": int(time.time() * 1000)}
    described = metadata([field("id", "long", **mapped)], configuration)
    added = lambda **more: add("a.parquet", stats=stats, **more)  # noqa: E731
    commit(folder, 0, head, described, added())
    commit(folder, 1, remove("a.parquet", **now), added(deletionVector=first))
    commit(folder, 2, remove("a.parquet", deletionVector=first, **now), added(deletionVector=second))
    return Table(folder)


@pytest.mark.parametrize("mode", ["none", "name", "id"])
def test_deletion_vectors_in_use_are_kept(tmp_path, mode):
    table = with_vectors(tmp_path / "t", mode)
    expected = rows(table)
    vectors = lambda: len(list((tmp_path / "t").glob("*.bin")))  # noqa: E731
    aged(tmp_path / "t", 8)
    for version in range(3):
        os.utime(tmp_path / "t" / "_delta_log" / f"{version:020}.json")
    assert table.vacuum(unknown_files=True, dry_run=False).paths == ()  # both are younger than the retention
    kept = table.vacuum(consumers=[Consumer(name="view", version=1)], **EVERYTHING)
    assert (kept.paths, kept.kept) == ((), 1)
    assert table.changes(1).weighted().read_all().to_pylist() == [{"id": 3, "_weight": -1}]
    (gone,) = table.vacuum(**EVERYTHING).paths
    assert gone.endswith(".bin")
    assert vectors() == 1
    assert rows(table) == expected == rows(Table(table.uri))


@pytest.mark.parametrize("mode", ["none", "name", "id"])
def test_checkpoints_hold_everything_that_the_log_did(tmp_path, mode):
    table = with_vectors(tmp_path / "t", mode)
    table.write(pa.table({"id": [77]}), transaction=Transaction("loader", 5))
    expected, protocol_before = rows(table), table.snapshot().protocol
    actions = table.snapshot().add_actions()
    assert table.checkpoint() == 3
    aged(tmp_path / "t", 40)
    assert len(table.clean_log(dry_run=False).paths) == 3
    again = Table(table.uri)
    assert rows(again) == expected == by_another_engine(again)
    assert again.snapshot().protocol == protocol_before
    assert again.transaction_version("loader") == 5
    for name in ("path", "num_records", "deletion_vector"):
        assert sorted(map(str, again.snapshot().add_actions()[name].to_pylist())) == sorted(
            map(str, actions[name].to_pylist())
        )
    with pytest.raises(VersionNotFoundError):
        again.snapshot(2)
    again.delete("id = 77")
    assert rows(again) + bag([{"id": 77}]) == expected


def test_a_mapped_table_is_maintained_as_far_as_possible(tmp_path):
    table = with_vectors(tmp_path / "t", "name")
    for number in range(12):
        table.write(pa.table({"id": [number + 100]}))
    expected = rows(table)
    report = table.maintain(MaintenancePolicy(small_files=2, checkpoint_interval=5))
    assert [each.due for each in report.steps] == [False, True, False, False]
    assert "column mapping" in report.steps[0].reason
    assert rows(Table(table.uri)) == expected


def test_tables_with_unknown_features_are_left_alone(tmp_path):
    head = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["icebergCompatV2"]}}
    commit(tmp_path / "t", 0, head, metadata([field("id", "long")]))
    (tmp_path / "t" / "metadata").mkdir()
    (tmp_path / "t" / "metadata" / "v1.metadata.json").write_text("{}")
    table = Table(tmp_path / "t")
    for way in (table.maintain, table.checkpoint, table.optimize, lambda: table.vacuum(**EVERYTHING)):
        with pytest.raises(UnsupportedError, match="icebergCompatV2"):
            way()
    assert (tmp_path / "t" / "metadata" / "v1.metadata.json").exists()


def filled(folder: Path, commits: int) -> Table:
    table = Table.create(folder, SPEC, policy=WritePolicy(checkpoints=False))
    for number in range(commits):
        table.write(pa.table({"id": [number], "p": ["x"]}))
    return table


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_commits_are_kept_when_the_checkpoint_is_damaged(tmp_path, damage):
    table = filled(tmp_path / "t", 6)
    table.checkpoint()
    (stored,) = (tmp_path / "t" / "_delta_log").glob("*.checkpoint.parquet")
    data = stored.read_bytes()
    stored.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "garbage": b"PAR1" + b"x" * 99}[damage])
    (tmp_path / "t" / "_delta_log" / "_last_checkpoint").unlink()
    aged(tmp_path / "t", 40)
    assert Table(table.uri).clean_log(dry_run=False).paths == ()
    assert rows(Table(table.uri)).total() == 6


def test_an_older_checkpoint_serves_when_the_newest_is_damaged(tmp_path):
    table = filled(tmp_path / "t", 3)
    table.checkpoint()
    table.write(pa.table({"id": [99], "p": ["x"]}))
    table.checkpoint()
    newest = tmp_path / "t" / "_delta_log" / f"{4:020}.checkpoint.parquet"
    newest.write_bytes(newest.read_bytes()[:100])
    aged(tmp_path / "t", 40)
    gone = Table(table.uri).clean_log(dry_run=False).paths
    assert sorted(gone) == [f"_delta_log/{version:020}.json" for version in range(3)]
    assert rows(Table(table.uri)).total() == 4


def test_a_checkpoint_with_a_lost_sidecar_covers_nothing(tmp_path):
    table = filled(tmp_path / "t", 3)
    named = "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
    head = (tmp_path / "t" / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    kept = [line for line in head if '"protocol"' in line or '"metaData"' in line]
    sidecar = '{"sidecar":{"path":"lost.parquet","sizeInBytes":9,"modificationTime":0}}'
    version = '{"checkpointMetadata":{"version":3}}'
    (tmp_path / "t" / "_delta_log" / named).write_text("\n".join([version, *kept, sidecar]))
    aged(tmp_path / "t", 40)
    assert Table(table.uri).clean_log(dry_run=False).paths == ()
    assert rows(Table(table.uri)).total() == 3


def test_a_consumer_behind_the_retained_log(tmp_path):
    table = filled(tmp_path / "t", 6)
    table.checkpoint()
    table.write(pa.table({"id": [7], "p": ["x"]}))
    aged(tmp_path / "t", 40)
    table.clean_log(dry_run=False)
    lost, behind = Consumer(name="lost", version=2), Consumer(name="new", version=-1)
    for consumer in (lost, behind):
        assert table.vacuum(consumers=[consumer], **EVERYTHING).paths == ()
        assert table.clean_log(consumers=[consumer], dry_run=False).paths == ()
    assert rows(Table(table.uri)).total() == 7


@pytest.mark.parametrize("cleanup", [None, "true", "false"])
def test_compaction_does_not_clean_the_log_on_the_side(tmp_path, cleanup):
    properties = {} if cleanup is None else {"delta.enableExpiredLogCleanup": cleanup}
    spec = TableSpec("t", SPEC.columns, properties=properties)
    table = Table.create(tmp_path / "t", spec, policy=WritePolicy(checkpoints=False))
    for number in range(4):
        table.write(pa.table({"id": [number], "p": ["x"]}))
    table.checkpoint()
    table.write(pa.table({"id": [9], "p": ["x"]}))
    aged(tmp_path / "t", 40)
    table = Table(table.uri)
    policy = MaintenancePolicy(small_files=2, consumers=(Consumer(name="view", version=1),))
    step = table.maintain(policy).steps[0]
    assert step.done == (cleanup != "true")
    assert step.done or "are needed" in step.reason
    assert table.snapshot(1).to_reader().read_all().num_rows == 1
    assert table.changes(1, 5).weighted().read_all().num_rows == 4
    if cleanup != "true":
        table.optimize(z_order_by=["id"])
        table.restore(4)
        assert table.snapshot(1).to_reader().read_all().num_rows == 1


STEPS = st.lists(
    st.sampled_from(["append", "delete", "update", "overwrite", "compact", "maintain", "consume"]),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, feed=st.booleans())
def test_a_consumer_never_misses_a_change(tmp_path_factory, steps, feed):
    folder = tmp_path_factory.mktemp("kept") / "t"
    policy = WritePolicy(cdf=CdfPolicy(enabled=feed))
    table = Table.create(folder, SPEC, policy=policy)
    upkeep = MaintenancePolicy(small_files=2, checkpoint_interval=1, file_retention=timedelta(hours=1))
    known, cursor = Counter(), 0
    for number, step in enumerate(steps):
        match step:
            case "append":
                table.write(pa.table({"id": [number, number + 1], "p": ["x", "y"]}))
            case "delete":
                table.delete(f"id % 3 = {number % 3}")
            case "update":
                table.update({"id": "id + 100"}, f"id % 2 = {number % 2}")
            case "overwrite":
                table.write(pa.table({"id": [number], "p": ["o"]}), mode="overwrite")
            case "compact":
                table.optimize()
            case "maintain":
                aged(folder, 99)
                table = Table(folder, policy=policy)
                consumer = Consumer(name="view", version=cursor)
                table.maintain(replace(upkeep, consumers=(consumer,)))
            case _:
                for row in table.changes(cursor).weighted().read_all().to_pylist():
                    weight = row.pop("_weight")
                    known.update(dict.fromkeys(bag([row]), weight))
                cursor = table.snapshot().version
    for row in table.changes(cursor).weighted().read_all().to_pylist():
        weight = row.pop("_weight")
        known.update(dict.fromkeys(bag([row]), weight))
    assert {row: count for row, count in known.items() if count} == dict(rows(Table(folder)))
