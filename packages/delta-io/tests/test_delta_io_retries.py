"""What happens when the storage fails for a while, at any request of a commit, and when it stays that way."""

from __future__ import annotations

import re
from datetime import timedelta

import pyarrow as pa
import pytest
from delta_io_s3 import running

from delta_io import OptionError, RetryPolicy, StorageError, Table, Transaction, WritePolicy
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "string")])
QUICK = RetryPolicy(initial_backoff=timedelta(milliseconds=5))
PASSING = {"method": "PUT", "status": 503, "count": 1}


@pytest.fixture(scope="module")
def server():
    with running() as started:
        yield started


@pytest.fixture
def table(server, request):
    server.fail()
    uri = "s3://lake/" + re.sub(r"\W", "_", request.node.name)
    made = Table.create(uri, SPEC, storage_options=server.options, policy=WritePolicy(retry=QUICK))
    made.write(rows(1, 2))
    return made


def rows(*ids, v="v"):
    return pa.table({"id": pa.array(ids, pa.int64()), "v": [f"{v}{each}" for each in ids]})


def content(table):
    found = Table(table.uri, storage_options=table.snapshot().storage_options).snapshot()
    return sorted((row["id"], row["v"]) for row in found.to_reader().read_all().to_pylist())


MUTATIONS = {
    "write": (lambda table: table.write(rows(3)), [(1, "v1"), (2, "v2"), (3, "v3")]),
    "overwrite": (lambda table: table.write(rows(3), mode="overwrite"), [(3, "v3")]),
    "replace": (
        lambda table: table.write(rows(2, v="w"), mode="overwrite", predicate="id = 2"),
        [(1, "v1"), (2, "w2")],
    ),
    "merge": (lambda table: table.merge(rows(2, 3, v="m"), on="id"), [(1, "v1"), (2, "m2"), (3, "m3")]),
    "update": (lambda table: table.update({"v": "'u'"}, "id = 2"), [(1, "v1"), (2, "u")]),
    "delete": (lambda table: table.delete("id = 2"), [(1, "v1")]),
    "restore": (lambda table: table.restore(0), []),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("where", ["data", "log", "landed"])
def test_passing_faults(server, table, mutation, where):
    change, expected = MUTATIONS[mutation]
    if where == "data" and mutation == "restore":
        pytest.skip("a restore writes no data")
    version = table.snapshot().version
    fault = PASSING | {"path": r"\.parquet$" if where == "data" else r"_delta_log/0+2\.json$"}
    server.fail(fault | {"landed": where == "landed"})
    commit = change(table)
    assert server.failed() == 1
    assert commit.version == version + 1
    assert content(table) == expected
    if where == "landed":
        assert commit.retries == ()
        assert "503" in commit.warnings[0]
    else:
        (retry,) = commit.retries
        assert (retry.cause, commit.warnings) == ("storage", ())
        assert "503" in retry.reason
        assert 0 < retry.pause_seconds < 0.006
    assert commit.seconds >= sum(each.pause_seconds for each in commit.retries)


def test_a_fault_while_the_log_is_looked_at_afterwards(server, table):
    log = r"_delta_log/0+2\.json$"
    server.fail(
        PASSING | {"path": log, "landed": True},
        {"method": "HEAD", "path": log, "status": 503, "count": 2, "after": 1},
    )
    assert table.write(rows(3)).version == 2
    assert len(content(table)) == 3
    server.fail(
        PASSING | {"path": r"_delta_log/0+3\.json$"},
        {"path": r"0+3\.json$", "status": 503, "count": 99, "after": 1},
    )
    with pytest.raises(StorageError, match="look for a commit with txnId") as caught:
        table.write(rows(4))
    assert not caught.value.retryable
    server.fail()
    assert len(content(table)) == 3


def test_a_storage_that_stays_away(server, table):
    server.fail({"method": "PUT", "path": "", "status": 503, "count": 999})
    with pytest.raises(StorageError, match="tried 5 times") as caught:
        table.write(rows(3))
    assert caught.value.retryable
    assert server.failed() == 5
    server.fail()
    assert table.write(rows(3)).retries == ()


def test_a_refusal_is_not_tried_again(server, table):
    server.fail({"method": "PUT", "path": r"\.parquet$", "status": 403, "count": 999})
    with pytest.raises(StorageError, match="permissions") as caught:
        table.write(rows(3))
    assert not caught.value.retryable
    assert server.failed() == 1


def test_the_deadline_ends_the_attempts(server, table):
    retry = RetryPolicy(initial_backoff=timedelta(seconds=9), deadline=timedelta(seconds=1))
    hasty = Table(table.uri, storage_options=server.options, policy=WritePolicy(retry=retry))
    server.fail(PASSING | {"path": r"\.parquet$"})
    with pytest.raises(StorageError):
        hasty.write(rows(3))


def test_a_stream_is_not_written_twice(server, table):
    server.fail(PASSING | {"path": r"\.parquet$"})
    with pytest.raises(StorageError, match="stream is used up"):
        table.write(rows(3).to_reader())
    assert len(content(table)) == 2


def test_a_checkpoint_that_fails_does_not_fail_its_commit(server, request):
    server.fail()
    uri = "s3://lake/" + re.sub(r"\W", "_", request.node.name)
    spec = TableSpec("t", SPEC.columns, properties={"delta.checkpointInterval": "1"})
    table = Table.create(uri, spec, storage_options=server.options, policy=WritePolicy(retry=QUICK))
    server.fail({"method": "PUT", "path": "_delta_log/.*checkpoint", "status": 403, "count": 9})
    commit = table.write(rows(1))
    assert (commit.version, commit.operation, commit.retries) == (1, "WRITE", ())
    assert server.failed() == 0 or "403" in commit.warnings[0]
    assert content(table) == [(1, "v1")]


@pytest.mark.parametrize("transaction", [None, Transaction("loader", 1)])
def test_a_request_repeated_by_the_store_itself_writes_once(server, request, transaction):
    server.fail()
    options = server.options | {"max_retries": "3"}
    uri = "s3://lake/" + re.sub(r"\W", "_", request.node.name)
    table = Table.create(uri, SPEC, storage_options=options, policy=WritePolicy(retry=QUICK))
    server.fail(PASSING | {"path": r"_delta_log/0+1\.json$", "status": 500, "landed": True})
    commit = table.write(rows(1), transaction=transaction)
    assert server.failed() == 1
    assert content(table) == [(1, "v1")]
    table.write(rows(2))
    for version in range(commit.version + 1):
        changes = table.changes(-1, version).weighted().read_all()
        assert bag(changes) == bag(table.snapshot(version).to_reader().read_all())
    assert bag(table.changes(commit.version).weighted().read_all()).total() == 1


@pytest.mark.parametrize(
    "times", [{"deadline": timedelta(-1)}, {"attempts": 0}, {"initial_backoff": timedelta(-1)}]
)
def test_policies_that_make_no_sense(times):
    with pytest.raises(OptionError):
        RetryPolicy(**times)
