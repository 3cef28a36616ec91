"""INSERT INTO Delta tables goes through delta-io's write path."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import ConstraintError, Table
from df_runtime import (
    CancelledError,
    ExecutionError,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlPolicy,
    SqlUnsupportedError,
)
from schema_spec import ColumnSpec, TableSpec

TRUSTED = SqlPolicy.trusted()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    spec = TableSpec(
        "t",
        [ColumnSpec("id", "long", nullable=False), ColumnSpec("name", "string")],
        constraints=["id < 1000000"],
    )
    made = Table.create(str(tmp_path / "t"), spec)
    made.write(pa.table({"id": pa.array(range(100), pa.int64()), "name": ["a"] * 100}))
    return made


@pytest.fixture
def session(table: Table) -> Session:
    opened = SessionFactory(RuntimeProfile(target_partitions=2)).open()
    opened.register("t", table)
    return opened


def _count(session: Session) -> int:
    return session.sql("SELECT count(*) AS n FROM t").to_arrow()["n"][0].as_py()


def test_rows_are_appended_in_one_commit(session: Session, table: Table) -> None:
    result = session.sql("INSERT INTO t SELECT id + 100, name FROM t WHERE id >= 40", policy=TRUSTED)
    assert (_count(session), table.snapshot().version) == (100, 1)
    assert result.to_arrow().to_pylist() == [{"count": 60}]
    assert (_count(session), table.snapshot().version) == (160, 2)
    assert table.history(1)[0].operation == "WRITE"


def test_columns_left_out_are_null_and_values_are_cast(session: Session) -> None:
    session.sql("INSERT INTO t (id) VALUES ('7000'), (7001)", policy=TRUSTED).to_arrow()
    rows = session.sql("SELECT * FROM t WHERE id >= 7000 ORDER BY id").to_arrow().to_pylist()
    assert rows == [{"id": 7000, "name": None}, {"id": 7001, "name": None}]


def test_overwrite_replaces_all_rows(session: Session) -> None:
    overwrite = "INSERT OVERWRITE t SELECT value, 'n' FROM generate_series(1, 50000) AS g(value)"
    assert session.sql(overwrite, policy=TRUSTED).to_arrow().to_pylist() == [{"count": 50000}]
    assert _count(session) == 50000


def test_the_policy_must_allow_it(session: Session, table: Table) -> None:
    with pytest.raises(PolicyError):
        session.sql("INSERT INTO t VALUES (1, 'b')")
    assert table.snapshot().version == 1


def test_pinned_versions_are_refused(session: Session, table: Table) -> None:
    session.register("old", table, version=1)
    session.register("snapshot", table.snapshot())
    for name in ("old", "snapshot"):
        with pytest.raises(SqlUnsupportedError, match="pinned"):
            session.sql(f"INSERT INTO {name} VALUES (1, 'b')", policy=TRUSTED).to_arrow()


@pytest.mark.parametrize(
    ("values", "error"), [("(2000000, 'b')", ConstraintError), ("(NULL, 'b')", ExecutionError)]
)
def test_violations_keep_their_error(
    session: Session, table: Table, values: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        session.sql(f"INSERT INTO t VALUES {values}", policy=TRUSTED).to_arrow()
    assert table.snapshot().version == 1


def test_a_failing_query_commits_nothing(session: Session, table: Table) -> None:
    with pytest.raises(ExecutionError, match="Divide by zero"):
        session.sql("INSERT INTO t SELECT 1 / (id - 99), name FROM t", policy=TRUSTED).to_arrow()
    assert table.snapshot().version == 1


def test_a_cancelled_query_commits_nothing(session: Session, table: Table) -> None:
    query = "INSERT INTO t SELECT a.id, a.name FROM t a, t b, t c, t d"
    result = session.sql(query, policy=TRUSTED)
    threading.Timer(0.5, result.cancel).start()
    with pytest.raises(CancelledError):
        result.to_arrow()
    time.sleep(0.5)
    assert table.snapshot().version == 1
