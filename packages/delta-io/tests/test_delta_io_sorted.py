"""Files written in order are known to be sorted, and no others are."""

from __future__ import annotations

import datetime as dt
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import MaintenancePolicy, OptionError, Table, WritePolicy
from schema_spec import ColumnSpec, Range, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("part", "string"), ColumnSpec("x", "double")])
BY_ID = WritePolicy(sort_by=("id",))


def made(place: Path, policy: WritePolicy = BY_ID, spec: TableSpec = SPEC) -> Table:
    return Table.create(place / "t", spec, policy=policy)


def rows(count: int, seed: int = 0, batch: int | None = None) -> pa.Table:
    ids: list[int | None] = [None, *range(count - 1)]
    random.Random(seed).shuffle(ids)
    parts = [None if each is None or each % 4 == 3 else f"p{each % 4}" for each in ids]
    data = pa.table({"id": ids, "part": parts, "x": [float(count - index) for index in range(count)]})
    return pa.Table.from_batches(data.to_batches(max_chunksize=batch)) if batch else data


def sorted_by(table: Table) -> dict[str, list[str] | None]:
    actions = table.snapshot().add_actions()
    if "sorted_by" not in actions.column_names:
        return dict.fromkeys(actions["path"].to_pylist())
    return dict(zip(actions["path"].to_pylist(), actions["sorted_by"].to_pylist(), strict=True))


def is_in_order(table: Table, path: str, column: str = "id") -> bool:
    values = pq.ParquetFile(Path(table.uri, path)).read()[column].to_pylist()
    return values == sorted(values, key=lambda value: (value is None, value))


def test_every_file_of_a_sorted_write_is_in_order_and_says_so(tmp_path):
    policy = WritePolicy(sort_by=("id",), target_file_bytes=200_000)
    table = made(tmp_path, policy)
    commit = table.write(rows(120_000, batch=1000))  # more batches than a thread of the writer takes
    assert commit.sorted_by == ("id",)
    found = sorted_by(table)
    assert len(found) == commit.files > 2
    for path, columns in found.items():
        assert columns == ["id"]
        assert is_in_order(table, path)


def test_partitions_are_in_order_each(tmp_path):
    spec = TableSpec("t", SPEC.columns, partition_by=("part",))
    table = made(tmp_path, WritePolicy(sort_by=("part", "id")), spec)
    assert table.write(rows(60_000, batch=1000)).sorted_by == ("id",)
    found = sorted_by(table)
    assert len(found) == 4
    assert all(columns == ["id"] and is_in_order(table, path) for path, columns in found.items())


def test_a_stream_of_several_runs_claims_nothing(tmp_path):
    data = rows(10_000, batch=500)
    table = made(tmp_path, WritePolicy(sort_by=("id",), sort_run_bytes=data.nbytes // 4))
    assert table.write(data).sorted_by == ()
    assert set(sorted_by(table).values()) == {None}
    assert table.snapshot().to_reader(["id"]).read_all().num_rows == 10_000


@pytest.mark.parametrize("policy", [WritePolicy(), WritePolicy(z_order_by=("id", "part"))])
def test_other_orders_claim_nothing(tmp_path, policy):
    table = made(tmp_path, policy)
    assert table.write(rows(50)).sorted_by == ()
    assert set(sorted_by(table).values()) == {None}


def test_columns_that_engines_order_differently_end_the_claim(tmp_path):
    table = made(tmp_path, WritePolicy(sort_by=("id", "x", "part")))
    assert table.write(rows(50)).sorted_by == ("id",)
    other = made(tmp_path / "other", WritePolicy(sort_by=("x", "id")))
    assert other.write(rows(50)).sorted_by == ()


def test_a_partition_of_floats_claims_nothing(tmp_path):
    spec = TableSpec("t", SPEC.columns, partition_by=("x",))
    assert made(tmp_path, spec=spec).write(pa.table({"id": [2, 1], "x": [0.0, -0.0]})).sorted_by == ()


def test_rewrites_do_not_inherit_the_claim(tmp_path):
    table = made(tmp_path)
    for seed in range(3):
        table.write(rows(100, seed))
    assert set(map(str, sorted_by(table).values())) == {"['id']"}
    table.optimize()
    assert set(sorted_by(table).values()) == {None}
    table.write(rows(100, 7))
    assert sorted(map(str, sorted_by(table).values())) == ["None", "['id']"]
    table.update({"x": "x + 1"}, "id = 5")
    assert set(sorted_by(table).values()) == {None}
    table.write(rows(100), mode="overwrite")
    assert list(sorted_by(table).values()) == [["id"]]
    table.write(rows(100).slice(0, 1), mode="overwrite", predicate="id >= 0 or id is null")
    assert set(sorted_by(table).values()) == {None}


def test_the_rows_of_a_file_read_with_its_schema_are_no_claim(tmp_path):
    table = made(tmp_path)
    table.write(rows(100))
    (path,) = sorted_by(table)
    copied = pq.read_table(Path(table.uri, path))
    write_deltalake(table.uri, copied.take(list(range(99, -1, -1))), mode="append")
    assert set(sorted_by(table).values()) == {None}
    (copy,) = sorted_by(table).keys() - {path}
    table.write(rows(10))
    assert sorted_by(table)[copy] is None
    assert sorted(map(str, sorted_by(Table(table.uri)).values())) == ["None", "None", "['id']"]


def test_restored_files_keep_the_claim(tmp_path):
    table = made(tmp_path)
    table.write(rows(100))
    table.write(rows(10), mode="overwrite")
    table.restore(1)
    assert list(sorted_by(Table(table.uri)).values()) == [["id"]]


def test_claims_outlive_checkpoints_and_not_their_commits(tmp_path):
    table = made(tmp_path)
    for seed in range(4):
        table.write(rows(100, seed))
    table.checkpoint()
    fresh = Table(table.uri)
    assert list(sorted_by(fresh).values()) == [["id"]] * 4
    for version in range(3):
        Path(table.uri, "_delta_log", f"{version:020}.json").unlink()
    assert sorted(map(str, sorted_by(Table(table.uri)).values())) == ["None", "None", "['id']", "['id']"]
    assert list(sorted_by(fresh).values()) == [["id"]] * 4


def test_a_damaged_commit_below_a_checkpoint_only_ends_the_claims(tmp_path):
    table = made(tmp_path)
    for seed in range(2):
        table.write(rows(100, seed))
    table.checkpoint()
    Path(table.uri, "_delta_log", f"{1:020}.json").write_text("{")
    assert sorted(map(str, sorted_by(Table(table.uri)).values())) == ["None", "['id']"]


def test_a_claim_that_cannot_be_read_is_none(tmp_path):
    table = made(tmp_path)
    for text in ("id", "{}", "[1]", "null"):
        noted = CommitProperties(custom_metadata={"delta_io.sorted_by": text})
        write_deltalake(table.uri, rows(5), mode="append", commit_properties=noted)
        assert set(sorted_by(Table(table.uri)).values()) == {None}


def test_callers_cannot_make_the_claim(tmp_path):
    with pytest.raises(OptionError, match=r"delta_io\.sorted_by"):
        made(tmp_path).write(rows(5), metadata={"delta_io.sorted_by": '["id"]'})


def test_renamed_columns_are_known_by_their_names(tmp_path):
    spec = TableSpec("t", SPEC.columns, properties={"delta.columnMapping.mode": "name"})
    table = made(tmp_path, WritePolicy(sort_by=("id", "part")), spec)
    assert table.write(rows(100)).sorted_by == ("id", "part")
    assert list(sorted_by(table).values()) == [["id", "part"]]
    _change_schema(table, lambda fields: fields[0].update(name="key"))
    assert list(sorted_by(Table(table.uri)).values()) == [["key", "part"]]
    _change_schema(table, lambda fields: fields.pop(1))
    assert list(sorted_by(Table(table.uri)).values()) == [["key"]]


def _change_schema(table: Table, change: Any) -> None:
    """Commit another schema, as engines do that rename and drop columns."""
    version = DeltaTable(table.uri).version()
    log = Path(table.uri, "_delta_log")
    commits = [log / f"{past:020}.json" for past in range(version + 1)]
    lines = [json.loads(line) for commit in commits for line in commit.read_text().splitlines()]
    metadata = [line["metaData"] for line in lines if "metaData" in line][-1]
    schema = json.loads(metadata["schemaString"])
    change(schema["fields"])
    metadata["schemaString"] = json.dumps(schema)
    (log / f"{version + 1:020}.json").write_text(json.dumps({"metaData": metadata}) + "\n")


def test_changed_feeds_constraints_and_added_columns_keep_the_order(tmp_path):
    spec = TableSpec(
        "t", SPEC.columns, constraints=[Range("low", "id", minimum=-1)],
        properties={"delta.enableChangeDataFeed": "true"},
    )  # fmt: skip
    table = made(tmp_path, spec=spec)
    table.enforce_constraints()
    for mode in ("append", "overwrite"):
        assert table.write(rows(60_000, batch=1000), mode=mode).sorted_by == ("id",)
        for path, columns in sorted_by(table).items():
            assert columns == ["id"]
            assert is_in_order(table, path)
    wider = TableSpec("t", [*spec.columns, ColumnSpec("note", "string")], constraints=spec.constraints)
    table = Table(table.uri, spec=wider, policy=BY_ID)
    data = rows(60_000, batch=1000)
    commit = table.write(data.append_column("note", pa.nulls(data.num_rows, pa.string())))
    assert commit.sorted_by == ("id",)
    assert all(is_in_order(table, path) for path in sorted_by(table))


def test_upkeep_keeps_what_rows_are_read(tmp_path):
    table = made(tmp_path)
    for seed in range(12):
        table.write(rows(50, seed))
    table.maintain(MaintenancePolicy(small_files=2))
    assert table.snapshot().to_reader(["id"]).read_all().num_rows == 600


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "long": st.integers(-3, 3),
    "string": st.text("ab\u00e9\U0001f600", max_size=2),
    "date": st.dates(dt.date(1969, 12, 30), dt.date(1970, 1, 2)),
    "timestamp_ntz": st.datetimes(dt.datetime(1969, 12, 31), dt.datetime(1970, 1, 2)),
    "boolean": st.booleans(),
    "decimal(5,2)": st.integers(-300, 300).map(lambda cents: Decimal(cents) / 100),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(VALUES)), partitioned=st.booleans())
def test_any_type_that_is_claimed_is_in_order(tmp_path_factory, data, kind, partitioned):
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=30))
    columns = [ColumnSpec("k", kind), ColumnSpec("p", "integer")]
    spec = TableSpec("t", columns, partition_by=("p",) if partitioned else ())
    table = made(tmp_path_factory.mktemp("t"), WritePolicy(sort_by=("k",)), spec)
    schema = table.snapshot().schema
    given_rows = [{"k": value, "p": index % 2 or None} for index, value in enumerate(values)]
    batches = pa.Table.from_pylist(given_rows, schema).to_batches(max_chunksize=3)
    assert table.write(batches).sorted_by == ("k",)
    for path, claimed in sorted_by(table).items():
        assert claimed == ["k"]
        assert is_in_order(table, path, "k")
    assert table.snapshot().to_reader().read_all().num_rows == len(values)
