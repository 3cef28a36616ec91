"""Ctrl-C while a query runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from schema_spec import TableSpec

PROGRAM = """
    import signal, sys
    from df_runtime import SessionFactory, SqlPolicy

    # Ignored from birth where the tests run in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place, query = sys.argv[1:]
    with SessionFactory().open() as session:
        session.register("t", place)
        result = session.sql(query, policy=SqlPolicy.trusted())
        print("started", flush=True)
        try:
            result.to_arrow()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(session.sql("SELECT count(*) AS n FROM t").to_arrow().to_pylist(), flush=True)
        session.sql("INSERT INTO t VALUES (-1)", policy=SqlPolicy.trusted()).to_arrow()
"""
# Each takes longer than anybody waits.
QUERIES = {
    "join": "SELECT sum(a.value * b.value) AS s FROM generate_series(1, 1000000) a, "
    "generate_series(1, 1000000) b",
    "scan": "SELECT count(*) AS n FROM t a, t b, t c WHERE a.id % 7 + b.id % 5 > c.id % 3",
    "sort": "SELECT a.id FROM t a, t b, t c ORDER BY a.id * b.id LIMIT 1",
    "insert": "INSERT INTO t SELECT a.id FROM t a, t b, t c",
    "overwrite": "INSERT OVERWRITE t SELECT a.id FROM t a, t b, t c ORDER BY a.id + b.id",
}


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a child process")
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_ctrl_c_raises_commits_nothing_and_leaves_the_session_usable(tmp_path: Path, query: str) -> None:
    rows = pa.table({"id": pa.array(range(20_000), pa.int64())})
    table = Table.create(str(tmp_path / "t"), TableSpec.from_arrow("t", rows.schema))
    table.write(rows)
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), table.uri, query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        try:
            output, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    assert output == "interrupted\n[{'n': 20000}]\n", errors
    commits = [(each.version, each.operation) for each in table.history()]
    assert commits == [(2, "WRITE"), (1, "WRITE"), (0, "CREATE TABLE")]
