"""Commits: conflicts, retries, concurrent writers, merges, secrets."""

from __future__ import annotations

import json
import threading

import pyarrow as pa
import pytest
from delta_io_log import add, field, metadata, protocol
from delta_io_log import commit as commit_by_hand

from delta_io import (
    ConflictError,
    ConstraintError,
    DeltaIoError,
    OptionError,
    PredicateError,
    RetryPolicy,
    SchemaMismatchError,
    StorageOptions,
    Table,
    UnsupportedError,
    VersionNotFoundError,
    WritePolicy,
    errors,
)
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "string")])


def rows(*ids, v="v"):
    return pa.table({"id": pa.array(ids, pa.int64()), "v": [f"{v}{each}" for each in ids]})


def content(table):
    found = table.snapshot().to_reader().read_all().to_pylist()
    return sorted(((row["id"], row["v"]) for row in found), key=str)


@pytest.fixture
def table(tmp_path):
    return Table.create(tmp_path / "t", SPEC)


def test_concurrent_appends_all_land(table):
    def append(worker):
        mine = Table(table.uri)
        commits.extend(mine.write(rows(worker * 100 + each)) for each in range(5))

    commits = []
    threads = [threading.Thread(target=append, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(commit.version for commit in commits) == list(range(1, 21))
    assert len(content(table)) == 20


def test_one_table_is_shared_by_threads(table):
    threads = [threading.Thread(target=lambda each=each: table.write(rows(each))) for each in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(content(table)) == 6
    assert table.snapshot().version == 6


class Interrupting:
    """Arrow data during whose reading another writer commits."""

    def __init__(self, data, other):
        self._data, self._other, self._times = data, other, 0

    def __len__(self):
        return len(self._data)

    def __arrow_c_stream__(self, requested_schema=None):
        def batches():
            self._times += 1
            if self._times == 1:
                self._other()
            yield from self._data.to_batches()

        return pa.RecordBatchReader.from_batches(self._data.schema, batches()).__arrow_c_stream__()


def test_rerun_after_a_conflict_is_recorded(table):
    table.write(rows(1, 2))
    data = Interrupting(rows(2, v="new"), lambda: Table(table.uri).delete("id = 1"))
    commit = table.write(data, mode="overwrite", predicate="id = 2")
    assert [bool(retry.reason) for retry in commit.retries] == [True]
    assert commit.version == 3
    assert content(table) == [(2, "new2")]


def test_stream_that_is_used_up_is_not_rerun(table):
    table.write(rows(1, 2))
    data = Interrupting(rows(2, v="new"), lambda: Table(table.uri).delete("id = 1"))
    with pytest.raises(ConflictError, match="used up"):
        table.write(pa.RecordBatchReader.from_stream(data), mode="overwrite", predicate="id = 2")
    assert content(table) == [(2, "v2")]


def test_expected_version_holds_until_the_commit(table):
    table.write(rows(1))
    data = Interrupting(rows(2), lambda: Table(table.uri).write(rows(3)))
    with pytest.raises(ConflictError):
        table.write(data, expected_version=1)
    assert content(table) == [(1, "v1"), (3, "v3")]


def test_policy_without_attempts_gives_up(table):
    strict = Table(table.uri, policy=WritePolicy(retry=RetryPolicy(attempts=1)))
    table.write(rows(1, 2))
    data = Interrupting(rows(2, v="new"), lambda: Table(table.uri).delete("id = 1"))
    with pytest.raises(ConflictError):
        strict.write(data, mode="overwrite", predicate="id = 2")


def test_merge_treats_null_keys_as_equal(table):
    table.write(rows(1, 2, None))
    commit = table.merge(rows(None, 2, 7, v="m"), on=["id"])
    assert commit.rows == 3
    assert content(table) == [(1, "v1"), (2, "m2"), (7, "m7"), (None, "mNone")]


def test_merge_keeps_columns_that_the_source_lacks(table):
    table.write(rows(1))
    table.merge(pa.table({"id": [1, 2]}), on="id")
    assert content(table) == [(1, "v1"), (2, None)]


def test_merge_deletes_and_mirrors(table):
    table.write(rows(1, 2, 3))
    source = rows(2, 3, 4)
    table.merge(source, on="id", delete_when="source.id = 3", not_matched="ignore")
    assert content(table) == [(1, "v1"), (2, "v2")]
    table.merge(rows(2, 9), on="id", matched="ignore", not_matched_by_source="delete")
    assert content(table) == [(2, "v2"), (9, "v9")]
    table.merge(rows(9), on="id", matched="delete", not_matched="ignore")
    assert content(table) == [(2, "v2")]


def test_merge_refuses_what_is_ambiguous(table):
    table.write(rows(1))
    with pytest.raises(ConstraintError, match="keys of the source"):
        table.merge(rows(1, 1, v="x"), on="id")
    with pytest.raises(SchemaMismatchError):
        table.merge(rows(1), on="key")
    with pytest.raises(OptionError):
        table.merge(rows(1), on="id", matched="replace")
    assert content(table) == [(1, "v1")]


def test_update_and_restore(table):
    table.write(rows(1, 2))
    assert table.update({"v": "upper(v)"}, "id = 2").rows == 1
    assert content(table) == [(1, "v1"), (2, "V2")]
    assert table.restore(1).operation == "RESTORE"
    assert content(table) == [(1, "v1"), (2, "v2")]
    assert table.restore(3).operation == "NONE"
    with pytest.raises(VersionNotFoundError):
        table.restore(9)
    with pytest.raises(PredicateError):
        table.update({"v": "nope"})
    with pytest.raises(SchemaMismatchError):
        table.update({"nope": "1"})


def test_stream_is_written_as_it_comes(table):
    seen = []

    def batches():
        for each in range(50):
            seen.append(each)
            yield from rows(*range(each * 100, each * 100 + 100)).to_batches()

    reader = pa.RecordBatchReader.from_batches(rows(1).schema, batches())
    assert table.write(reader).rows == 5000
    assert len(seen) == 50


def test_rows_and_changes_of_a_table_are_written_to_another(table, tmp_path):
    table.write(rows(1, 2))
    copy = Table.create(tmp_path / "copy", SPEC)
    copy.write(table.snapshot().to_reader())
    copy.write(table.changes(0, columns=["id", "v"]).weighted().read_all().drop_columns("_weight"))
    copy.write(table.snapshot())
    copy.merge(table.snapshot().to_reader(), on="id")
    assert len(content(copy)) == 6


def test_error_of_a_stream_is_the_one_raised(table):
    def batches():
        yield from rows(1).to_batches()
        raise ZeroDivisionError("from the stream")

    with pytest.raises(ZeroDivisionError, match="from the stream"):
        table.write(pa.RecordBatchReader.from_batches(rows(1).schema, batches()))
    assert table.snapshot().version == 0


def test_errors_have_distinct_codes_and_say_what_to_do():
    classes = [getattr(errors, name) for name in errors.__all__]
    codes = [each.code for each in classes]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("delta-") and code == code.lower() for code in codes)
    assert all(issubclass(each, DeltaIoError) for each in classes)


def test_secrets_never_show(tmp_path):
    marker = "MARKER-5ecret"
    options = {
        "AWS_ACCESS_KEY_ID": marker,
        "AWS_SECRET_ACCESS_KEY": marker,
        "AWS_SESSION_TOKEN": marker,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu-west-1",
        "max_retries": "0",
        "retry_timeout": "1s",
    }
    with pytest.raises(DeltaIoError) as caught:
        Table(f"s3://user:{marker}@bucket/t?sig={marker}", storage_options=options)
    shown = f"{caught.value}{caught.value!r}{caught.value.__cause__!r}{StorageOptions(options)!r}"
    assert marker not in shown
    with pytest.raises(DeltaIoError) as caught:
        Table.create("s3://bucket/t", SPEC, storage_options=options)
    assert marker not in str(caught.value)
    table = Table.create(tmp_path / "t", SPEC, storage_options={"token": marker})
    for each in (table, table.snapshot(), table.snapshot().storage_options, table.changes(-1)):
        assert marker not in repr(each)
    assert table.snapshot().storage_options["token"] == marker


def test_path_that_deltalake_would_decode_twice_is_refused_untouched(tmp_path):
    with pytest.raises(UnsupportedError):
        Table.create(tmp_path / "a%20b", SPEC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("predicate", [None, "p = 'a'"])
def test_rows_deleted_with_their_files_are_counted(tmp_path, predicate):
    spec = TableSpec("t", [ColumnSpec("p", "string"), ColumnSpec("id", "long")], partition_by=["p"])
    table = Table.create(tmp_path / "t", spec)
    table.write(pa.table({"p": ["a", "a", "b"], "id": [1, 2, 3]}))
    log = tmp_path / "t" / "_delta_log" / f"{1:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for each in actions:
        each.get("add", {}).pop("stats", None)
    log.write_text("\n".join(map(json.dumps, actions)))
    table = Table(table.uri)
    commit = table.delete(predicate)
    assert commit.rows == (3 if predicate is None else 2)
    assert not commit.warnings
    assert table.snapshot().to_reader().read_all().num_rows == 3 - commit.rows


def test_rows_that_cannot_be_counted_are_a_warning(tmp_path):
    folder = tmp_path / "t"
    commit_by_hand(folder, 0, protocol(), metadata([field("id", "long")]), add("gone.parquet"))
    commit = Table(folder).delete()
    assert commit.rows == 0
    assert commit.files_removed == 1
    assert "not known" in commit.warnings[0]
