"""Tables: creating, opening, writing, deleting, reading back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import (
    ConflictError,
    ConstraintError,
    NotDeltaError,
    OptionError,
    SchemaMismatchError,
    Table,
    TableExistsError,
    TableNotFoundError,
    Transaction,
    TransactionAppliedError,
    VersionNotFoundError,
)
from schema_spec import ColumnSpec, NodeId, SqlExpression, TableSpec

SPEC = TableSpec(
    "orders",
    [
        ColumnSpec("id", "long", nullable=False),
        ColumnSpec("Day", "string"),
        ColumnSpec("tags", "array<string>"),
    ],
    partition_by=["Day"],
    constraints={"positive": "id > 0"},
)


def rows(*ids: int) -> pa.Table:
    days = ["a b" if each % 2 else "50% é/=" for each in ids]
    return pa.table({"id": pa.array(ids, pa.int64()), "Day": days, "tags": [["x", None] for _ in ids]})


def ids(table: Table, version: int | None = None) -> list[int]:
    return sorted(table.snapshot(version).to_reader(["id"]).read_all()["id"].to_pylist())


@pytest.fixture
def table(tmp_path):
    return Table.create(tmp_path / "or ders % é#?", SPEC)


def test_create_makes_version_zero_with_the_feed_on(table):
    snapshot = table.snapshot()
    assert snapshot.version == 0
    assert snapshot.properties["delta.enableChangeDataFeed"] == "true"
    assert snapshot.partition_by == ("Day",)
    assert snapshot.schema_identity_hash == SPEC.schema_identity_hash
    with pytest.raises(TableExistsError):
        Table.create(table.uri, SPEC)


def test_of_many_creators_at_once_exactly_one_creates_the_table(tmp_path):
    barrier = threading.Barrier(6)

    def create(place):
        barrier.wait()
        try:
            return Table.create(place, SPEC).snapshot().table_id
        except TableExistsError:
            return None

    with ThreadPoolExecutor(6) as pool:
        for round_ in range(15):
            place = tmp_path / str(round_)
            created = [made for made in pool.map(create, [place] * 6) if made is not None]
            snapshot = Table(place).snapshot()
            assert created == [snapshot.table_id]
            assert snapshot.version == 0


def test_the_first_commit_names_the_place_of_the_table(table):
    info = table.commit_info(0)
    assert info.operation == "CREATE TABLE"
    assert info.parameters["location"] == Path(table.uri).as_uri()
    assert [path.name for path in (Path(table.uri) / "_delta_log").iterdir()] == [f"{0:020}.json"]


def test_rows_written_are_read_back_with_partition_values_decoded(table):
    commit = table.write(rows(1, 2, 3))
    assert (commit.version, commit.rows, commit.files, commit.operation) == (1, 3, 2, "WRITE")
    assert commit.bytes == sum(table.snapshot().add_actions()["size_bytes"].to_pylist())
    got = table.snapshot().to_reader().read_all()
    assert sorted(got.to_pylist(), key=lambda row: row["id"]) == rows(1, 2, 3).to_pylist()


def test_add_actions_lead_to_the_files(table, tmp_path):
    table.write(rows(1, 2))
    actions = table.snapshot().add_actions()
    for path in actions["path"].to_pylist():
        assert (tmp_path / "or ders % é#?" / path).is_file()
    assert {row["Day"] for row in actions["partition"].to_pylist()} == {"a b", "50% é/="}
    assert (
        actions["min"].combine_chunks().field("id").to_pylist()
        == actions["max"].combine_chunks().field("id").to_pylist()
    )


def test_overwrite_where_replaces_only_those_rows_in_one_commit(table):
    table.write(rows(1, 2, 3))
    commit = table.write(rows(3), mode="overwrite", predicate="id >= 2")
    assert commit.version == 2
    assert ids(table) == [1, 3]
    assert ids(table, 1) == [1, 2, 3]
    table.write(rows().cast(rows(1).schema), mode="overwrite", predicate="\"Day\" = 'a b' AND id = 1")
    assert ids(table) == [3]


def test_delete_without_matches_commits_nothing(table):
    table.write(rows(1))
    commit = table.delete("id = 99")
    assert (commit.operation, commit.version, table.snapshot().version) == ("NONE", 1, 1)


def test_transaction_is_applied_once(table):
    table.write(rows(1), transaction=Transaction("job", 7))
    assert table.transaction_version("job") == 7
    assert table.transaction_version("other") is None
    with pytest.raises(TransactionAppliedError):
        table.write(rows(1), transaction=Transaction("job", 7))
    assert table.commit_info(1).transactions == {"job": 7}
    assert ids(table) == [1]


def test_expected_version_conflicts_instead_of_rebasing(table):
    other = Table(table.uri)
    other.write(rows(1))
    with pytest.raises(ConflictError, match="version 1"):
        table.write(rows(2), expected_version=0)
    assert table.write(rows(2), expected_version=1).version == 2


def test_metadata_is_recorded(table):
    table.write(rows(1), metadata={"freshlake.sources": '{"a": 1}'})
    info = table.commit_info(1)
    assert info.metadata["freshlake.sources"] == '{"a": 1}'
    assert [each.version for each in table.history()] == [1, 0]
    assert [each.version for each in table.history(limit=1)] == [1]
    with pytest.raises(VersionNotFoundError):
        table.commit_info(2)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (pa.table({"id": [-1]}), ConstraintError),
        (pa.table({"id": pa.array([None], pa.int64())}), ConstraintError),
        (pa.table({"id": [1], "Day": [""]}), ConstraintError),
        (pa.table({"id": ["1"]}), SchemaMismatchError),
        (pa.table({"id": [1.5]}), SchemaMismatchError),
        (pa.table({"id": pa.array([2**63], pa.uint64())}), SchemaMismatchError),
        (pa.table({"id": [1], "day": ["x"]}), SchemaMismatchError),
        (pa.table({"Day": ["x"]}), SchemaMismatchError),
    ],
)
def test_data_that_does_not_fit_is_refused_before_anything_is_written(table, data, error):
    with pytest.raises(error):
        table.write(data)
    assert table.snapshot().version == 0


def test_pinned_snapshot_does_not_move(table):
    table.write(rows(1))
    pinned = table.snapshot()
    reader = pinned.to_reader()
    table.write(rows(2))
    assert ids(table) == [1, 2]
    assert pinned.version == 1
    assert reader.read_all().num_rows == 1
    assert pinned.to_reader().read_all().num_rows == 1
    assert pinned.add_actions().num_rows == 1


def test_table_made_anew_at_the_same_place_is_noticed(table):
    import shutil

    table.write(rows(1))
    first = table.snapshot()
    shutil.rmtree(table.uri)
    Table.create(table.uri, SPEC).write(rows(5, 6))
    second = table.snapshot()
    assert second.table_id != first.table_id
    assert ids(table) == [5, 6]


def test_places_without_a_table_are_told_apart(tmp_path):
    with pytest.raises(TableNotFoundError):
        Table(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(NotDeltaError) as caught:
        Table(tmp_path)
    assert caught.value.code == "delta-not-a-table"
    assert not Table.exists(tmp_path)
    assert not Table.exists(tmp_path / "nothing")


def test_missing_columns_get_their_default_or_are_computed(tmp_path):
    spec = TableSpec(
        "t",
        [
            ColumnSpec("id", "long"),
            ColumnSpec("kind", "string", nullable=False, default="plain"),
            ColumnSpec("twice", "long", generated=SqlExpression("id * 2")),
            ColumnSpec("node", NodeId),
        ],
    )
    table = Table.create(tmp_path, spec)
    table.write(pa.table({"id": [1]}))
    table.write(pa.table({"id": [2], "kind": ["own"], "twice": [4], "node": ["n"]}))
    table.merge(pa.table({"id": [3], "twice": [6]}), on="id")
    got = sorted(table.snapshot().to_reader().read_all().to_pylist(), key=lambda row: row["id"])
    assert [tuple(row.values()) for row in got] == [
        (1, "plain", 2, None),
        (2, "own", 4, "n"),
        (3, "plain", 6, None),
    ]
    with pytest.raises(ConstraintError):
        table.write(pa.table({"id": [2], "twice": [5]}))
    typed = pa.table({"id": [9], "node": pa.array(["x"]).cast(spec.to_arrow().field("node").type)})
    table.write(typed)
    assert table.snapshot().spec.schema_identity_hash == spec.schema_identity_hash


def test_overwrite_can_replace_the_columns(tmp_path):
    table = Table.create(tmp_path, TableSpec("t", [ColumnSpec("id", "long")]))
    table.write(pa.table({"id": [1]}))
    node = TableSpec("t", [ColumnSpec("n", NodeId), ColumnSpec("d", "double")]).to_arrow()
    data = pa.table({"n": pa.array(["x"]).cast(node.field("n").type), "d": [0.5]})
    with pytest.raises(SchemaMismatchError):
        table.write(data, mode="overwrite")
    with pytest.raises(OptionError):
        table.write(data, replace_schema=True)
    with pytest.raises(SchemaMismatchError):
        table.write(pa.table({"t": pa.array([1], pa.time64("us"))}), mode="overwrite", replace_schema=True)
    assert table.snapshot().version == 1
    table.write(data, mode="overwrite", replace_schema=True)
    assert table.snapshot().spec.columns[0].semantic == NodeId
    assert table.snapshot().to_reader().read_all().to_pylist() == [{"n": "x", "d": 0.5}]
    assert table.snapshot(1).to_reader().read_all().to_pylist() == [{"id": 1}]
