"""What is told of runs, where, and what never is."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_io import Table
from df_runtime import (
    CancelledError,
    Observability,
    RunEnvelope,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
)
from df_runtime._sanitise import fingerprint, place, redacted
from schema_spec import TableSpec

SLOW = "SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"


def opened(**settings) -> Session:
    return SessionFactory(RuntimeProfile(observability=Observability(**settings))).open()


def test_a_result_tells_of_its_run(session: Session, tmp_path: Path):
    rows = pa.table({"id": range(300)})
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema))
    for start in (0, 100, 200):
        table.write(rows.slice(start, 100))
    session.register("t", table)

    result = session.sql("SELECT id FROM t WHERE id >= 150")

    planned = result.envelope
    assert (planned.outcome, planned.execution, planned.rows) == ("planned", 0, 0)
    assert planned.finished is None
    reader = result.to_reader()
    reader.read_next_batch()
    assert result.envelope.outcome == "running"
    reader.read_all()
    told = result.envelope
    assert (told.outcome, told.execution, told.rows, told.cache) == ("finished", 1, 150, "off")
    assert told.run_id == result.run_id
    assert told.session_id == session.session_id
    assert told.finished is not None
    assert told.started < told.finished
    assert 0 < told.timings.total < 60
    assert min(told.timings.gate, told.timings.plan, told.timings.execute) > 0
    assert told.bytes >= 1200
    assert told.bytes_scanned > 0
    assert (told.files_read, told.files_pruned) == (2, 1)
    (dataset,) = told.datasets
    assert (dataset.kind, dataset.version) == ("delta", 3)
    result.to_arrow()
    assert result.envelope.execution == 2


def test_a_kept_plan_tells_nothing_of_its_former_user():
    class Shelf:
        def __init__(self):
            self.kept: list[object] = []

        def take(self, inputs):
            return self.kept.pop() if self.kept else None

        def keep(self, inputs, plan, *, size_bytes):
            self.kept.append(plan)

    profile = RuntimeProfile(observability=Observability(keep_runs=9))
    with SessionFactory(profile, plan_cache=Shelf()).open() as session:
        first = session.sql("SELECT 1 AS a")
        first.to_arrow()
        first_id = first.run_id
        del first

        second = session.sql("SELECT 1 AS a")

        assert second.envelope.cache == "hit"
        assert second.envelope.outcome == "planned"
        assert second.metrics == {}
        second.to_arrow()
        told = session.artifacts.runs
    assert [(run.run_id, run.cache) for run in told] == [(first_id, "miss"), (second.run_id, "hit")]


def test_every_end_is_told():
    with opened(keep_runs=9) as session:
        session.register("words", pa.table({"word": ["x"]}))
        with pytest.raises(SqlError):
            session.sql("SELECT nosuch FROM words")
        with pytest.raises(SqlError):
            session.sql("SELEC 1")
        with pytest.raises(Exception, match="failed"):
            session.sql("SELECT CAST(word AS INT) FROM words").to_arrow()
        reader = session.sql("SELECT * FROM generate_series(1, 1000000)").to_reader()
        reader.read_next_batch()
        reader.close()
        del reader
        endless = session.sql(SLOW)
        threading.Timer(0.3, endless.cancel).start()
        with pytest.raises(CancelledError):
            endless.to_arrow()
        told = [(run.outcome, run.error_code) for run in session.artifacts.runs]

    assert told == [
        ("failed", "sql-column-unknown"),
        ("failed", "sql-syntax"),
        ("failed", "query-failed"),
        ("abandoned", None),
        ("cancelled", "query-cancelled"),
    ]


def test_the_lane_is_told(session: Session):
    session.register("t", pa.table({"x": [1]}))

    assert session.sql("SELECT x FROM t").envelope.lane == "sql"
    assert session.ibis(session.table("t").count()).envelope.lane == "ibis"


def test_only_the_latest_runs_are_kept():
    with opened(keep_runs=2) as session:
        results = [session.sql(f"SELECT {number}") for number in range(4)]
        for result in results:
            result.to_arrow()

        assert [run.run_id for run in session.artifacts.runs] == [each.run_id for each in results[2:]]


def read(path: Path) -> list[RunEnvelope]:
    return [msgspec.json.decode(line, type=RunEnvelope) for line in path.read_bytes().splitlines()]


def test_each_run_is_a_line_of_json(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    with opened(events=str(path)) as session:
        reader = session.sql("SELECT 1 AS a").to_reader()
        session.sql("SELECT 2 AS a").to_arrow()
    reader.read_all()  # after the session was closed

    told = read(path)
    assert [run.rows for run in told] == [1, 1]
    assert {run.session_id for run in told} == {session.session_id}
    assert json.loads(path.read_text().splitlines()[0])["query_text"] == "SELECT ? AS a"


WRITER = """
import sys, threading
from df_runtime import Observability, RuntimeProfile, SessionFactory
session = SessionFactory(RuntimeProfile(observability=Observability(events=sys.argv[1]))).open()
run = lambda: [session.sql("SELECT 1").to_arrow() for _ in range(50)]
threads = [threading.Thread(target=run) for _ in range(2)]
for each in threads: each.start()
for each in threads: each.join()
"""


def test_writers_do_not_mix_their_lines(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) for _ in range(3)]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    told = read(path)
    assert len(told) == len({run.run_id for run in told}) == 300


KILLED = """
import sys
from df_runtime import Observability, RuntimeProfile, SessionFactory
session = SessionFactory(RuntimeProfile(observability=Observability(events=sys.argv[1]))).open()
print("ready", flush=True)
while True:
    session.sql("SELECT 1").to_arrow()
"""


def test_a_killed_writer_leaves_whole_lines(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.2)
            os.kill(writer.pid, signal.SIGKILL)

    assert len(read(path)) > 10


def test_what_a_crash_left_of_a_line_ends_there(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'{"run_id": "ab')
    with opened(events=str(path)) as session:
        session.sql("SELECT 1").to_arrow()

    broken, line = path.read_bytes().splitlines()
    assert broken == b'{"run_id": "ab'
    assert msgspec.json.decode(line, type=RunEnvelope).outcome == "finished"


def test_a_file_that_cannot_be_written_is_told_and_fails_no_query(tmp_path: Path, caplog):
    with opened(events=str(tmp_path / "absent" / "runs.jsonl")) as session:
        assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1

    assert "Cannot append run" in caplog.text


def test_runs_are_logged_when_somebody_listens(session: Session, caplog):
    session.sql("SELECT 1").to_arrow()
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, logger="df_runtime")

    session.sql("SELECT 'hidden'").to_arrow()
    with pytest.raises(SqlError):
        session.sql("SELECT nosuch('hidden')")

    finished, failed = caplog.records
    assert (finished.name, finished.levelname) == ("df_runtime.run", "DEBUG")
    assert finished.df_runtime.rows == 1
    assert failed.levelname == "INFO"
    assert "sql-function-unknown" in failed.getMessage()
    assert "hidden" not in caplog.text


def test_nobody_is_watched_when_nobody_listens(session: Session, monkeypatch):
    def told(*_):
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr("df_runtime._observer.Observer.tell", told)

    assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1


SECRET = "s3cr3t-m4rker"


def test_values_and_secrets_are_told_nowhere(tmp_path: Path, caplog):
    caplog.set_level(logging.DEBUG, logger="df_runtime")
    events = tmp_path / "runs.jsonl"
    with opened(events=str(events), keep_runs=99) as session:
        session.register("t", pa.table({"word": [SECRET]}))
        session.sql("SELECT * FROM t WHERE word = $1", params=[SECRET]).to_arrow()
        session.sql("SELECT * FROM t WHERE word = $w", params={"w": SECRET}).to_arrow()
        session.sql(f"SELECT * FROM t WHERE word LIKE '{SECRET}%' -- {SECRET}").to_arrow()
        session.sql(f"SELECT E'{SECRET}' AS a, $${SECRET}$$ AS b").to_arrow()
        for query in (f"SELECT CAST('{SECRET}' AS INT)", f"SELECT * FROM t WHERE '{SECRET}"):
            with pytest.raises(Exception, match=r"."):
                session.sql(query).to_arrow()
        runs = session.artifacts.runs

    assert len(runs) == 6
    for told in (events.read_text(), caplog.text, repr(runs)):
        assert SECRET not in told


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("/data/a b?c", "/data/a b?c"),
        ("s3://key:word@bucket/t?sig=1#x", "s3://bucket/t"),
        ("https://host:9000/t?sig=1", "https://host:9000/t"),
        ("s3://[broken/t?sig=1", "s3://"),
    ],
)
def test_places_are_told_without_keys(uri: str, told: str):
    assert place(uri) == told


@given(st.text(max_size=60))
def test_any_text_can_be_redacted(text: str):
    assert len(fingerprint(text)) == 64
    told = redacted(f"SELECT '{text.replace(chr(39), '')}zq9zq' AS a")
    assert told is None or "zq9zq" not in told


def test_texts_of_one_shape_have_one_fingerprint():
    assert fingerprint("SELECT a FROM t WHERE b = 1") == fingerprint("SELECT a  FROM t WHERE b = 27 -- x")
    assert fingerprint("SELECT a FROM t") != fingerprint("SELECT b FROM t")
