"""What is committed without deltalake, alike on every store: features, statistics, clones, migrations."""

from __future__ import annotations

import datetime as dt
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector
from delta_io_s3 import running

from delta_io import (
    CdfPolicy,
    ConflictError,
    ConstraintError,
    SchemaMismatchError,
    StorageError,
    Table,
    TableExistsError,
    UnsupportedError,
    WritePolicy,
    clone_table,
    migrate_parquet,
)
from delta_io._objects import put_new
from delta_io.storage import Location
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec(
    "t",
    [ColumnSpec("id", "long"), ColumnSpec("p", "string")],
    partition_by=["p"],
    constraints={"c": "id > 0"},
)
DATA = pa.table({"id": [1, 2, 3], "p": ["a b", "é/%", "x[1]?#"]})
FEATURES = (
    "changeDataFeed",
    "appendOnly",
    "timestampNtz",
    "deletionVectors",
    "columnMapping",
    "v2Checkpoint",
)


@pytest.fixture(scope="module")
def server():
    with running() as started:
        yield started


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    """A root that tables can be at, and its options."""
    if request.param == "local":
        return str(tmp_path / "a lake"), {}
    server = request.getfixturevalue("server")
    server.fail()
    return f"s3://lake/of%3F/{tmp_path.name}", server.options


@pytest.fixture
def s3(server, tmp_path):
    server.fail()
    return f"s3://lake/{tmp_path.name}", server.options


def content(table):
    again = Table(table.uri, storage_options=table.snapshot().storage_options)
    assert again.snapshot().version == table.snapshot().version
    return bag(again.snapshot().to_reader().read_all())


def upload(folder, place):
    """Put a folder's files at a place."""
    location = Location(*place)
    if location.local:
        shutil.copytree(folder, location.uri)
        return
    for path in folder.rglob("*"):
        if path.is_file():
            assert put_new(location, path.relative_to(folder).as_posix(), path.read_bytes())


def plain(store):
    """Return the store's root without what URIs encode."""
    return store[0].replace("of%3F", "of"), store[1]


def made(store, name="t", **how):
    table = Table.create(f"{store[0]}/{name}", SPEC, storage_options=store[1], **how)
    table.write(DATA)
    return table


def test_features_and_nothing_besides(store):
    table = made(store, policy=WritePolicy(cdf=CdfPolicy(enabled=False)))
    had = table.snapshot().protocol.features_to_write
    for number, feature in enumerate(FEATURES):
        done = table.enable(feature, metadata={"why": feature})
        assert (done.version, done.operation, done.rebased) == (2 + number, "ENABLE FEATURE", 0)
        assert table.commit_info(done.version).metadata["why"] == feature
        assert table.enable(feature).operation == "NONE"
    named = table.snapshot().protocol.features_to_write
    assert named >= {*had, *FEATURES}
    assert "variantType" not in named
    table.write(pa.table({"id": [9], "p": ["new"]}))
    assert content(table) == bag(DATA) + bag([{"id": 9, "p": "new"}])
    assert table.changes(table.snapshot().version - 1).source == "feed"
    with pytest.raises(UnsupportedError, match=r"(?i)append"):
        table.delete()
    with pytest.raises(ConstraintError):
        table.write(pa.table({"id": [-1], "p": ["new"]}))


def test_statistics_columns_of_tables_that_name_their_features(store):
    table = made(store)
    table.enable("v2Checkpoint")
    assert table.keep_statistics(["id"], metadata={"why": "wide"}).operation == "SET TBLPROPERTIES"
    assert "variantType" not in table.snapshot().protocol.features_to_write
    assert table.snapshot().properties["delta.dataSkippingStatsColumns"] == "id"
    table.keep_statistics()
    assert "delta.dataSkippingStatsColumns" not in table.snapshot().properties
    with pytest.raises(SchemaMismatchError):
        table.keep_statistics(["z"])


def test_tables_have_deletion_vectors_from_the_start(store):
    spec = TableSpec("t", SPEC.columns, properties={"delta.enableDeletionVectors": "true"})
    table = Table.create(f"{store[0]}/t", spec, storage_options=store[1])
    assert "variantType" not in table.snapshot().protocol.features_to_write
    table.write(DATA)
    assert content(table) == bag(DATA)


def test_the_second_to_create_a_table_is_refused(store, monkeypatch):
    table = made(store)
    monkeypatch.setattr("delta_io._creation.table_exists", lambda location: False)
    with pytest.raises(TableExistsError):
        Table.create(table.uri, SPEC, storage_options=store[1])
    assert content(table) == bag(DATA)


@pytest.fixture
def before_the_next_commit(monkeypatch):
    """Let something happen between the reading of a table's metadata and the commit of a change to it."""
    from delta_io._creation import commit_version

    def arrange(*happening):
        left = list(happening)

        def committing(location, version, actions):
            if left:
                left.pop(0)()
            commit_version(location, version, actions)

        monkeypatch.setattr("delta_io._enabling.commit_version", committing)

    return arrange


def test_rows_that_come_first_are_no_conflict(store, before_the_next_commit):
    table = made(store)
    other = Table(table.uri, storage_options=store[1])
    before_the_next_commit(lambda: other.write(DATA), lambda: other.write(DATA))
    done = table.enable("deletionVectors")
    assert (done.version, done.rebased, done.retries) == (4, 2, ())
    assert "deletionVectors" in table.snapshot().protocol.features_to_write
    assert content(table).total() == 9
    before_the_next_commit(lambda: other.write(DATA))
    with pytest.raises(ConflictError, match="taken"):
        table.keep_statistics(["id"], expected_version=4)


def test_metadata_that_comes_first_is_kept(store, before_the_next_commit):
    table = made(store)
    other = Table(table.uri, storage_options=store[1])
    before_the_next_commit(lambda: other.keep_statistics(["id"]))
    done = table.enable("deletionVectors")
    assert [each.cause for each in done.retries] == ["conflict"]
    assert done.version == 3
    assert "deletionVectors" in table.snapshot().protocol.features_to_write
    assert table.snapshot().properties["delta.dataSkippingStatsColumns"] == "id"


def test_checkpoints_come_when_they_are_due(store):
    spec = TableSpec("t", SPEC.columns, properties={"delta.checkpointInterval": "3"})
    table = Table.create(f"{store[0]}/t", spec, storage_options=store[1])
    table.write(DATA)
    table.enable("deletionVectors")
    log = Location(table.uri, store[1]).filesystem
    assert log.get_file_info("_delta_log/00000000000000000002.checkpoint.parquet").is_file
    table.keep_statistics(["id"])
    assert not log.get_file_info("_delta_log/00000000000000000003.checkpoint.parquet").is_file
    assert content(table) == bag(DATA)


@pytest.mark.parametrize("mode", ["none", "name"])
def test_shallow_clones_go_their_own_way(store, tmp_path, mode):
    folder = tmp_path / "made"
    folder.mkdir()
    name = "id" if mode == "none" else "col-1"
    pq.write_table(pa.table({name: range(9)}), folder / "a b.parquet")
    mapped = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": name}
    mapping = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "1"}
    head = protocol("deletionVectors", *(["columnMapping"] if mode != "none" else []))
    configuration = {"delta.enableDeletionVectors": "true"} | (mapping if mode != "none" else {})
    file = {"stats": {"numRecords": 9}, "size": (folder / "a b.parquet").stat().st_size}
    described = metadata([field("id", "long", **mapped)], configuration)
    commit(folder, 0, head, described, add("a%20b.parquet", **file))
    without = add("a%20b.parquet", deletionVector=vector(folder, [0, 3]), **file)
    commit(folder, 1, remove("a%20b.parquet"), without)
    uri, options = f"{store[0]}/t", store[1]
    upload(folder, (uri, options))
    table = Table(uri, storage_options=options)
    assert content(table) == bag({"id": each} for each in (1, 2, 4, 5, 6, 7, 8))
    clone = clone_table(table.snapshot(), f"{store[0]}/clone 1", shallow=True)
    if store[1]:
        with pytest.raises(UnsupportedError, match="percent-encoded"):
            clone.delete("id = 1")
        clone = clone_table(table.snapshot(), f"{plain(store)[0]}/clone", shallow=True)
    left = bag({"id": each} for each in (1, 2, 4, 5, 6, 7, 8))
    assert content(clone) == left
    assert clone.snapshot().version == 0
    clone.write(pa.table({"id": [77]}))
    clone.delete("id = 1")
    assert content(clone) == left + bag([{"id": 77}]) - bag([{"id": 1}])
    now = {"retention": dt.timedelta(0), "allow_short_retention": True, "unknown_files": True}
    clone.vacuum(**now, dry_run=False)
    assert content(table) == left
    if not store[1]:
        table.delete()
    table.vacuum(**now, dry_run=False)
    assert content(clone) == left + bag([{"id": 77}]) - bag([{"id": 1}])
    with pytest.raises(TableExistsError):
        clone_table(table.snapshot(), clone.uri, shallow=True)


def test_shallow_clones_replace_no_file(store, tmp_path):
    table = made(store)
    name = table.snapshot().add_actions()["path"][0].as_py()
    foreign = tmp_path / "foreign" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    place = f"{store[0]}/clone"
    upload(tmp_path / "foreign", (place, store[1]))
    with pytest.raises(UnsupportedError, match="is there"):
        clone_table(table.snapshot(), place, shallow=True)
    assert Location(place, store[1]).filesystem.open_input_stream(name).read() == b"mine"
    assert not Table.exists(place, storage_options=store[1])


def test_shallow_clones_stay_in_their_store(s3, tmp_path):
    table = made(s3)
    for place in ("s3://other/clone", "gs://lake/clone", str(tmp_path / "clone")):
        with pytest.raises(UnsupportedError, match="deep clone"):
            clone_table(table.snapshot(), place, shallow=True)


PARTITIONS = pa.schema([("p", pa.string()), ("when", pa.timestamp("us"))])


def folder_of_spark(folder):
    parts = {"p=a b/when=2024-01-01 12%3A00%3A00": [1, 2], "p=c%2Fd%25/when=2024-01-01 13%3A00%3A00": [3],
             "p=__HIVE_DEFAULT_PARTITION__/when=__HIVE_DEFAULT_PARTITION__": [4, 5]}  # fmt: skip
    for number, (part, ids) in enumerate(parts.items()):
        (folder / part).mkdir(parents=True)
        pq.write_table(pa.table({"id": ids}), folder / part / f"x {number}.parquet")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "half.parquet").write_bytes(b"PAR1")
    noon, one = dt.datetime(2024, 1, 1, 12), dt.datetime(2024, 1, 1, 13)
    values = [(1, "a b", noon), (2, "a b", noon), (3, "c/d%", one), (4, None, None), (5, None, None)]
    return bag({"id": number, "p": p, "when": when} for number, p, when in values)


def test_folders_become_tables(store, tmp_path):
    expected = folder_of_spark(tmp_path / "made")
    uri, options = f"{store[0]}/data", store[1]
    upload(tmp_path / "made", (uri, options))
    how = {"partition_by": PARTITIONS, "storage_options": options}
    copied = migrate_parquet(uri, f"{store[0]}/copy", **how)
    assert content(copied) == expected
    assert copied.commit_info(1).metadata["delta_io.migrated_from"] == uri
    assert not Table.exists(uri, storage_options=options)
    table = migrate_parquet(uri, **how)
    assert table.snapshot().version == 0
    assert table.snapshot().partition_by == ("p", "when")
    assert content(table) == expected
    assert table.snapshot().files("p = 'c/d%'").candidates == 1
    assert table.snapshot().files("id > 3").candidates == 1
    assert all(each["modification_time"] for each in table.snapshot().add_actions().to_pylist())
    table.update({"id": "id + 10"}, "p = 'a b'")
    table.delete("id = 3")
    assert sorted(row["id"] for row in table.snapshot().to_reader().read_all().to_pylist()) == [4, 5, 11, 12]
    for target in (None, f"{store[0]}/again"):
        with pytest.raises(TableExistsError, match="already"):
            migrate_parquet(uri, target, **how)
    assert not Table.exists(f"{store[0]}/again", storage_options=options)


def test_commits_whose_answer_is_lost_happen_once(server, s3):
    lost = {"method": "PUT", "path": r"_delta_log/\d+\.json", "status": 500, "count": 1, "landed": True}
    server.fail(lost)
    table = Table.create(f"{s3[0]}/t", SPEC, storage_options=s3[1])
    assert server.failed() == 1
    table.write(DATA)
    server.fail(lost)
    done = table.enable("deletionVectors")
    assert (done.version, done.operation, server.failed()) == (2, "ENABLE FEATURE", 1)
    server.fail(lost)
    clone = clone_table(table.snapshot(), f"{s3[0]}/clone", shallow=True)
    assert content(clone) == bag(DATA)
    server.fail()


def test_faults_that_pass_are_tried_again(server, s3):
    table = made(s3)
    server.fail({"method": "PUT", "path": r"_delta_log/\d+\.json", "status": 503, "count": 2})
    done = table.enable("deletionVectors")
    assert (done.version, [each.cause for each in done.retries]) == (2, ["storage", "storage"])
    server.fail({"method": "PUT", "path": r"_delta_log/\d+\.json", "status": 403, "count": 9})
    with pytest.raises(StorageError) as caught:
        table.enable("v2Checkpoint")
    assert not caught.value.retryable
    server.fail()
    assert table.snapshot().version == 2


def test_stores_without_conditional_puts_are_refused(server, s3, monkeypatch):
    table = made(s3)
    server.fail({"method": "PUT", "path": r"_delta_log/\d+\.json", "status": 501, "count": 9})
    with pytest.raises(UnsupportedError, match="conditional"):
        table.enable("deletionVectors")
    server.fail()
    for name, value in (("AWS_CONDITIONAL_PUT", "disabled"), ("AWS_S3_LOCKING_PROVIDER", "dynamodb")):
        monkeypatch.setenv(name, value)
        for change in (
            lambda: table.enable("deletionVectors"),
            lambda: table.keep_statistics(["id"]),
            lambda: clone_table(table.snapshot(), f"{s3[0]}/clone", shallow=True),
        ):
            with pytest.raises(UnsupportedError, match="conditional puts"):
                change()
        monkeypatch.delenv(name)
    assert table.snapshot().version == 1


def test_options_left_out_come_from_the_environment(s3, monkeypatch):
    for name, value in s3[1].items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    table = made((s3[0], {"connect_timeout": "3s", "retry_timeout": "1m 5s", "max_retries": "1"}))
    assert table.enable("deletionVectors").version == 2
    assert content(clone_table(table.snapshot(), f"{s3[0]}/clone", shallow=True)) == bag(DATA)


@pytest.mark.parametrize(
    "more",
    [
        {"region": "us-east-1", "access_key_id": "someone", "secret_access_key": "secret"},
        {"aws_bucket": "other", "bucket_name": "another"},
        {"of_another_tool": "x", "AWS_S3_ALLOW_UNSAFE_RENAME": "true", "backoff_config.base": "2"},
    ],
)
def test_options_that_are_given_twice_or_mean_nothing_here(s3, more):
    table = made((s3[0], s3[1] | more))
    assert table.enable("deletionVectors").version == 2
    assert content(Table(table.uri, storage_options=s3[1])) == bag(DATA)
