"""Maintenance does what is due, says why, and takes nothing that a consumer still has to read."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import (
    ChangesUnavailableError,
    Consumer,
    MaintenancePolicy,
    OptionError,
    SchemaMismatchError,
    Table,
    TableNotFoundError,
    Transaction,
    VersionNotFoundError,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("p", "string")], partition_by=["p"])
NOW = timedelta(0)


def filled(path: Path, commits: int, **policy) -> Table:
    table = Table.create(str(path / "t"), SPEC, policy=WritePolicy(checkpoints=False, **policy))
    for number in range(commits):
        table.write(pa.table({"id": [number], "p": ["a b" if number % 2 else "é%"]}))
    return table


def aged(table: Table, days: float) -> None:
    """Make every file of a table that old."""
    moment = time.time() - days * 86_400
    for path in sorted(Path(table.uri).rglob("*")):
        os.utime(path, (moment, moment))


def data_files(table: Table) -> set[str]:
    return {
        str(path.relative_to(table.uri))
        for path in Path(table.uri).rglob("*.parquet")
        if "_delta_log" not in path.parts
    }


def rows(table: Table) -> Counter[str]:
    return bag(table.snapshot().to_reader().read_all())


def test_small_files_are_put_together(tmp_path):
    table = filled(tmp_path, 10)
    before = rows(table)
    report = table.maintain(MaintenancePolicy(small_files=5))
    step = report.steps[0]
    assert (step.action, step.due, step.done, step.files) == ("compact", True, True, 10)
    assert "5 files are smaller" in step.reason
    assert step.commit is not None
    assert step.commit.operation == "OPTIMIZE"
    assert rows(table) == before
    assert table.snapshot().files().total == 2
    assert table.changes(report.version).to_reader().read_all().num_rows == 0
    again = table.maintain(MaintenancePolicy(small_files=5))
    assert not any(each.due for each in again.steps if each.action != "checkpoint")


def test_a_dry_run_does_nothing(tmp_path):
    table = filled(tmp_path, 12)
    report = table.maintain(MaintenancePolicy(small_files=2, file_retention=timedelta(hours=2)), dry_run=True)
    assert [(each.action, each.due, each.done) for each in report.steps] == [
        ("compact", True, False),
        ("checkpoint", True, False),
        ("vacuum", False, False),
        ("clean-log", False, False),
    ]
    assert table.snapshot().version == 12
    assert not list((Path(table.uri) / "_delta_log").glob("*.checkpoint*"))
    assert "compact     due" in str(report)


def test_z_order_when_enough_is_new(tmp_path):
    spec = TableSpec("t", SPEC.columns)
    table = Table.create(str(tmp_path / "t"), spec)
    policy = MaintenancePolicy(z_order_by=("id", "p"), z_order_share=0.5)
    assert table.maintain(policy).steps[0].reason == "the table is empty"
    for number in range(4):
        table.write(pa.table({"id": [number, 9 - number], "p": ["a", "b"]}))
    before = rows(table)
    assert table.maintain(policy).steps[0].done
    assert rows(table) == before
    assert not table.maintain(policy).steps[0].due
    for number in range(4):
        table.write(pa.table({"id": [number, 9 - number], "p": ["a", "b"]}))
    assert "came after the last ordering" in table.maintain(policy).steps[0].reason
    assert not table.maintain(policy).steps[0].due
    with pytest.raises(SchemaMismatchError, match="nope"):
        table.optimize(z_order_by=["nope"])


def test_checkpoints(tmp_path):
    table = filled(tmp_path, 5)
    policy = MaintenancePolicy(checkpoint_interval=5, compact=False)
    assert table.maintain(policy).steps[1].done
    assert list((Path(table.uri) / "_delta_log").glob(f"{5:020}.checkpoint*"))
    assert not table.maintain(policy).steps[1].due
    assert not filled(tmp_path / "other", 3).maintain(MaintenancePolicy(checkpoint_interval=0)).steps[1].due


def test_vacuum_lists_first_and_deletes_only_what_left(tmp_path):
    table = filled(tmp_path, 6)
    table.optimize()
    live = set(table.snapshot().add_actions()["path"].to_pylist())
    old = data_files(table) - live
    assert len(old) == 6
    listed = table.vacuum(retention=NOW, allow_short_retention=True)
    assert (set(listed.paths), listed.dry_run) == (old, True)
    assert listed.bytes == sum((Path(table.uri) / path).stat().st_size for path in old)
    assert old <= data_files(table)
    assert set(table.vacuum(retention=NOW, allow_short_retention=True, dry_run=False).paths) == old
    assert data_files(table) == live
    assert rows(table).total() == 6


def test_a_short_retention_has_to_be_asked_for(tmp_path):
    table = filled(tmp_path, 1)
    with pytest.raises(OptionError, match="retention is too short"):
        table.vacuum(retention=timedelta(minutes=30))
    assert table.vacuum().paths == ()


def test_files_that_the_log_does_not_know(tmp_path):
    table = filled(tmp_path, 2)
    stray = Path(table.uri) / "p=a%20b" / "part-stray.parquet"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    fresh = table.vacuum(retention=timedelta(days=7), unknown_files=True)
    assert fresh.paths == ()
    aged(table, 8)
    assert table.vacuum(retention=timedelta(days=7)).paths == ()
    old = table.vacuum(retention=timedelta(days=7), unknown_files=True, dry_run=False)
    assert old.paths == ("p=a%20b/part-stray.parquet",)
    assert rows(table).total() == 2


@pytest.mark.parametrize("feed", [True, False])
def test_what_a_consumer_still_reads_is_kept(tmp_path, feed):
    from delta_io import CdfPolicy

    table = filled(tmp_path, 2, cdf=CdfPolicy(enabled=feed))
    table.delete("id = 0")
    table.write(pa.table({"id": [7], "p": ["a b"]}))
    table.update({"id": "id + 100"}, "id = 7")
    expected = [bag(table.changes(since).weighted().read_all()) for since in range(6)]
    behind = Consumer(name="view", version=2)
    everything = {"retention": NOW, "allow_short_retention": True, "unknown_files": True, "dry_run": False}
    kept = table.vacuum(consumers=[behind, Consumer(name="fast", version=5)], **everything)
    assert kept.kept > 0
    for since in (2, 3, 4, 5):
        assert bag(table.changes(since).weighted().read_all()) == expected[since]
    table.vacuum(**everything)
    with pytest.raises(ChangesUnavailableError):
        table.changes(2).weighted().read_all()


def test_a_consumer_that_keeps_its_cursor_in_its_own_table(tmp_path):
    table = filled(tmp_path, 3)
    view = Table.create(str(tmp_path / "view"), TableSpec("view", [ColumnSpec("n", "long")]))
    consumer = Consumer(name="view", uri=view.uri, app_id="reader")
    table.delete("id = 1")
    asked = {"retention": NOW, "allow_short_retention": True, "unknown_files": True}
    assert table.vacuum(consumers=[consumer], **asked).paths == ()  # it has read nothing yet
    view.write(pa.table({"n": [1]}), transaction=Transaction("reader", 4))
    assert len(table.vacuum(consumers=[consumer], **asked).paths) == 2  # the file, and its change file
    with pytest.raises(TableNotFoundError):
        table.vacuum(consumers=[Consumer(name="gone", uri=str(tmp_path / "gone"), app_id="x")], **asked)


@pytest.mark.parametrize(
    "options", [{}, {"version": 1, "uri": "x", "app_id": "y"}, {"uri": "x"}, {"app_id": "y"}]
)
def test_a_consumer_says_one_thing(options):
    with pytest.raises(OptionError, match="how far"):
        Consumer(name="x", **options)


def test_secrets_of_a_consumer_do_not_show():
    consumer = Consumer(
        name="x", uri="s3://user:hunter2@b/t", app_id="y", storage_options={"secret": "hunter2"}
    )
    assert "hunter2" not in repr(MaintenancePolicy(consumers=(consumer,)))


def test_old_commits_go_when_a_checkpoint_covers_them(tmp_path):
    table = filled(tmp_path, 6)
    table.checkpoint()
    for number in range(6, 9):
        table.write(pa.table({"id": [number], "p": ["a b"]}))
    aged(table, 40)
    assert table.clean_log(consumers=[Consumer(name="slow", version=3)]).paths == ()
    assert table.clean_log(consumers=[Consumer(name="slow", version=3)]).kept == 6
    listed = table.clean_log()
    assert len(listed.paths) == 6
    assert table.clean_log(dry_run=False).paths == listed.paths
    again = Table(table.uri)
    assert rows(again).total() == 9
    assert len(again.snapshot(version=6).to_reader().read_all()) == 6
    with pytest.raises(VersionNotFoundError):
        again.snapshot(version=5)
    again.write(pa.table({"id": [99], "p": ["a b"]}))
    assert again.snapshot().version == 10


def test_commits_are_kept_without_a_whole_checkpoint(tmp_path):
    table = filled(tmp_path, 4)
    part = Path(table.uri) / "_delta_log" / f"{4:020}.checkpoint.{1:010}.{2:010}.parquet"
    part.write_bytes(b"")
    aged(table, 40)
    assert table.clean_log().paths == ()


def test_retentions_come_from_the_table(tmp_path):
    spec = TableSpec(
        "t",
        SPEC.columns,
        properties={
            "delta.deletedFileRetentionDuration": "interval 2 hours",
            "delta.logRetentionDuration": "interval 3 days",
        },
    )
    table = Table.create(str(tmp_path / "t"), spec)
    table.write(pa.table({"id": [1], "p": ["x"]}))
    report = str(table.maintain(dry_run=True))
    assert "2 hours ago" in report
    assert "older than 3 days" in report


def test_limits_that_make_no_sense():
    for options in ({"small_files": 1}, {"checkpoint_interval": -1}, {"z_order_share": 0}):
        with pytest.raises(OptionError):
            MaintenancePolicy(**options)
