"""Many processes that write one table: every commit lands once, on local files and on an object store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest
from delta_io_s3 import running

from delta_io import Table
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec(
    "t", [ColumnSpec("worker", "long"), ColumnSpec("number", "long"), ColumnSpec("tries", "long")]
)

APPENDING = """
import json, sys
import pyarrow as pa
from delta_io import Table

uri, options, worker, commits = json.loads(sys.argv[1])
table = Table(uri, storage_options=options)
for number in range(commits):
    data = pa.table({"worker": [worker], "number": [number], "tries": [0]})
    done = table.write(data.to_reader() if number % 2 else data, metadata={"by": f"{worker}.{number}"})
    print(json.dumps([done.version, number]))
"""
UPDATING = """
import json, sys
from delta_io import RetryPolicy, Table, WritePolicy

uri, options, worker, commits = json.loads(sys.argv[1])
table = Table(uri, storage_options=options, policy=WritePolicy(retry=RetryPolicy(attempts=200)))
for number in range(commits):
    done = table.update({"tries": "tries + 1"}, f"worker = {number % 2}")
    print(json.dumps([done.version, number]))
"""


@pytest.fixture(scope="module")
def server():
    with running() as started:
        yield started


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "t"), {}
    server = request.getfixturevalue("server")
    # The store repeats requests by itself, as it does for users.
    options = {name: text for name, text in server.options.items() if name != "max_retries"}
    return f"s3://lake/{tmp_path.name}", options


def run(program, place, workers, commits):
    """Run a program in many processes; return the version and number of each commit."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, json.dumps([*place, worker, commits])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for worker in range(workers)
    ]
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * workers, ended
    return [json.loads(line) for out, _ in ended for line in out.splitlines()]


SIZES = [pytest.param(4, 8, id="4x8"), pytest.param(8, 50, id="8x50", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("workers", "commits"), SIZES)
def test_every_append_lands_once(place, workers, commits):
    uri, options = place
    Table.create(uri, SPEC, storage_options=options)
    reports = run(APPENDING, place, workers, commits)
    count = workers * commits
    assert sorted(version for version, _ in reports) == list(range(1, count + 1))
    table = Table(uri, storage_options=options)
    rows = table.snapshot().to_reader(["worker", "number"]).read_all().to_pylist()
    expected = Counter((worker, number) for worker in range(workers) for number in range(commits))
    assert Counter((row["worker"], row["number"]) for row in rows) == expected
    said = Counter(str(each.metadata["by"]) for each in table.history() if "by" in each.metadata)
    assert said == Counter(f"{worker}.{number}" for worker, number in expected)
    changes = table.changes(0)
    assert changes.source == "feed"
    assert (
        Counter((row["worker"], row["number"]) for row in changes.to_reader().read_all().to_pylist())
        == expected
    )


def test_an_append_lands_on_top_of_what_came_while_its_rows_were_read(place):
    uri, options = place
    table = Table.create(uri, SPEC, storage_options=options)
    other = Table(uri, storage_options=options)

    def batches():
        for number in range(3):
            other.write(pa.table({"worker": [1], "number": [number], "tries": [0]}))
            yield pa.record_batch({"worker": [0], "number": [number], "tries": [0]})

    schema = pa.schema([(name, pa.int64()) for name in ("worker", "number", "tries")])
    done = table.write(pa.RecordBatchReader.from_batches(schema, batches()))
    assert (done.version, done.rebased) == (4, 3)
    rows = table.snapshot().to_reader(["worker", "number"]).read_all().to_pylist()
    assert Counter((row["worker"], row["number"]) for row in rows) == Counter(
        (worker, number) for worker in range(2) for number in range(3)
    )


def test_updates_that_conflict_all_happen(place):
    uri, options = place
    table = Table.create(uri, SPEC, storage_options=options)
    for worker in range(2):
        table.write(pa.table({"worker": [worker], "number": [0], "tries": [0]}))
    reports = run(UPDATING, place, 3, 4)
    assert len({version for version, _ in reports}) == 12
    found = table.snapshot().to_reader().read_all().sort_by("worker").to_pylist()
    assert [row["tries"] for row in found] == [6, 6]
