"""Paths that other writers spell in their own way, sizes that they get wrong, files that do not fit."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove

from delta_io import (
    MaintenancePolicy,
    MergeClause,
    SchemaMismatchError,
    StorageError,
    Table,
    UnsupportedError,
    clone_table,
    export_snapshot,
)
from delta_io.testing import bag

ID = field("id", "long")
EVERY_ROW = bag([{"id": 1}, {"id": 2}])


def table_of(folder, *paths, size=None):
    folder.mkdir()
    adds = []
    for path in paths:
        file = folder / unquote(path)
        pq.write_table(pa.table({"id": [1, 2]}), file)
        named = add(path, stats={"numRecords": 2, "minValues": {"id": 1}, "maxValues": {"id": 2}})
        named["add"]["size"] = size or file.stat().st_size
        adds.append(named)
    commit(folder, 0, protocol(), metadata([ID]))
    with (folder / "_delta_log" / f"{0:020}.json").open("a") as log:
        log.writelines(f"\n{json.dumps(each)}" for each in adds)
    return Table(folder)


def content(table):
    return bag(Table(table.uri).snapshot().to_reader().read_all())


REWRITING = {
    "delete": lambda table: table.delete("id = 1"),
    "delete everything": lambda table: table.delete(),
    "update": lambda table: table.update({"id": "id + 1"}),
    "merge": lambda table: table.merge(
        pa.table({"id": [1]}), on="id", matched=[MergeClause(action="delete")]
    ),
    "overwrite": lambda table: table.write(pa.table({"id": [9]}), mode="overwrite"),
    "replace": lambda table: table.write(
        pa.table({"id": pa.array([], pa.int64())}), mode="overwrite", predicate="id = 1"
    ),
    "compact": lambda table: table.optimize(),
    "order": lambda table: table.optimize(z_order_by=["id"]),
}
FOREIGN = (
    "é.parquet",
    "a b.parquet",
    "a%3Db.parquet",
    "%c3%a9.parquet",
    "a*b.parquet",
    "a?b.parquet",
    "a#b.parquet",
)


@pytest.mark.parametrize("path", FOREIGN)
def test_files_that_deltalake_would_spell_otherwise_are_read_and_kept(tmp_path, path):
    """Its removals name them in its own way: other readers, and deltalake, would go on to show their rows."""
    table = table_of(tmp_path / "t", path)
    assert content(table) == EVERY_ROW
    assert bag(table.changes(-1).weighted().read_all().select(["id"])) == EVERY_ROW
    for name, rewrite in REWRITING.items():
        with pytest.raises(UnsupportedError, match="spells paths otherwise"):
            rewrite(table)
        assert content(table) == EVERY_ROW, name
    table.write(pa.table({"id": [3]}))
    assert table.delete("id = 3").rows == 1
    with pytest.raises(UnsupportedError):
        table.restore(0)
    assert content(table) == EVERY_ROW
    report = table.maintain(MaintenancePolicy(small_files=2, vacuum=False), dry_run=True)
    assert not report.steps[0].due
    copy = clone_table(table.snapshot(), tmp_path / "copy")
    copy.delete("id = 1")
    assert content(copy) == bag([{"id": 2}])


OWN = (
    "%C3%A9.parquet",
    "a%20b.parquet",
    "a=b+c,d.parquet",
    "a%25b.parquet",
    "a%2Ab'(&@!$;.parquet",
    "a%3Fb%23.parquet",
)


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize("rewrite", ["delete", "overwrite", "order"])
def test_files_that_it_spells_alike_are_rewritten(tmp_path, path, rewrite):
    table = table_of(tmp_path / "t", path)
    REWRITING[rewrite](table)
    expected = {"delete": bag([{"id": 2}]), "overwrite": bag([{"id": 9}]), "order": EVERY_ROW}[rewrite]
    assert content(table) == expected
    log = (tmp_path / "t" / "_delta_log" / f"{1:020}.json").read_text()
    assert [json.loads(line)["remove"]["path"] for line in log.splitlines() if '"remove"' in line] == [path]


def test_files_that_compaction_does_not_find_are_left_alone(tmp_path):
    table = table_of(tmp_path / "t", "a~b.parquet", "c~.parquet")
    with pytest.raises(UnsupportedError, match="tilde"):
        table.optimize()
    report = table.maintain(MaintenancePolicy(small_files=2, vacuum=False))
    assert not report.steps[0].due
    assert "tilde" in report.steps[0].reason
    table.delete("id = 1")
    assert content(table) == bag([{"id": 2}, {"id": 2}])


@pytest.mark.parametrize("rewrite", REWRITING)
def test_removals_spelled_otherwise_are_understood_and_nothing_is_rewritten(tmp_path, rewrite):
    table = table_of(tmp_path / "t", "a b.parquet", "c.parquet")
    commit(tmp_path / "t", 1, remove("a%20b.parquet"))
    table = Table(table.uri)
    assert content(table) == EVERY_ROW
    with pytest.raises(UnsupportedError, match="several ways"):
        REWRITING[rewrite](table)
    assert content(table) == EVERY_ROW


@pytest.mark.parametrize("unknown_files", [False, True])
def test_files_are_vacuumed_once_and_not_under_an_older_name(tmp_path, unknown_files):
    now = {"retention": timedelta(0), "allow_short_retention": True, "unknown_files": unknown_files}
    folder = tmp_path / "t"
    table = table_of(folder, "a b.parquet", "é.parquet")
    commit(folder, 1, remove("a b.parquet"), add("a%20b.parquet", stats={"numRecords": 2}, dataChange=False))
    assert Table(table.uri).vacuum(**now, dry_run=False).paths == ()
    assert content(table) == EVERY_ROW + EVERY_ROW
    commit(folder, 2, remove("a%20b.parquet"))
    removal = Table(table.uri).vacuum(**now, dry_run=False)
    assert (removal.paths, removal.bytes > 0) == (("a b.parquet",), True)
    assert content(table) == EVERY_ROW


@pytest.mark.parametrize("size", [0x10, 700, 10_000])
def test_sizes_that_are_wrong_are_faults_of_the_storage(tmp_path, size):
    table = table_of(tmp_path / "t", "a.parquet", size=size)
    for reach in (content, REWRITING["delete"], REWRITING["order"]):
        with pytest.raises(StorageError, match="another size") as caught:
            reach(table)
        assert not caught.value.retryable
    assert table.snapshot().version == 0


def required(name):
    return field(name, "long") | {"nullable": False}


@pytest.mark.parametrize("mode", ["none", "id"])
@pytest.mark.parametrize("data", [{"id": [1, None], "x": [1, 2]}, {"x": [1, 2]}], ids=["nulls", "absent"])
def test_columns_that_must_have_values_and_have_none_are_not_read(tmp_path, mode, data):
    folder = tmp_path / "t"
    folder.mkdir()
    ids = {name: {"PARQUET:field_id": str(number)} for number, name in enumerate(("id", "x"), 1)}
    schema = pa.schema([pa.field(name, pa.int64(), metadata=ids[name]) for name in data])
    pq.write_table(pa.table(data, schema=schema), folder / "a.parquet")
    fields, head, more = [required("id"), field("x", "long")], protocol(), {}
    if mode == "id":
        for number, each in enumerate(fields, 1):
            own = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": each["name"]}
            each["metadata"] = own
        head = protocol("columnMapping")
        more = {"delta.columnMapping.mode": "id", "delta.columnMapping.maxColumnId": "2"}
    commit(folder, 0, head, metadata(fields, more), add("a.parquet", stats={"numRecords": 2}))
    table = Table(folder)
    assert bag(table.snapshot().to_reader(["x"]).read_all()) == bag([{"x": 1}, {"x": 2}])
    for reach in (
        lambda: table.snapshot().to_reader().read_all(),
        lambda: table.snapshot().to_reader(["id"]).read_all(),
        lambda: export_snapshot(table.snapshot(), tmp_path / "out"),
        lambda: clone_table(table.snapshot(), tmp_path / "clone"),
        lambda: table.delete("x = 2"),
        lambda: table.update({"x": "x + 1"}),
    ):
        with pytest.raises((SchemaMismatchError, UnsupportedError)) as caught:
            reach()
        assert caught.value.code in ("delta-schema-mismatch", "delta-unsupported")
    assert table.snapshot().version == 0


def test_files_in_a_shape_that_deltalake_cannot_read_are_not_rewritten(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    data = pa.table({"id": [1, 2], "n": pa.array([{"z": 1}, None], pa.struct([("z", pa.int64())]))})
    pq.write_table(data, folder / "a.parquet")
    inner = {"type": "struct", "fields": [field("a", "long")]}
    commit(
        folder, 0, protocol(), metadata([ID, field("n", inner)]), add("a.parquet", stats={"numRecords": 2})
    )
    table = Table(folder)
    expected = bag([{"id": 1, "n": {"a": None}}, {"id": 2, "n": None}])
    assert content(table) == expected
    for rewrite in ("delete", "update", "merge", "order"):
        with pytest.raises(UnsupportedError, match="clone_table"):
            REWRITING[rewrite](table)
    assert content(table) == expected
