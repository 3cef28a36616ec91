"""INSERT INTO Delta tables goes through delta-io's write path."""

from __future__ import annotations

import datetime as dt
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import ConstraintError, SchemaMismatchError, Table
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


def _filled(tmp_path: Path, session: Session) -> Table:
    """Register a table whose columns are filled in all the ways there are."""
    spec = TableSpec(
        "filled",
        [
            ColumnSpec("id", "long", nullable=False),
            ColumnSpec("status", "string", nullable=False, default="new"),
            ColumnSpec("tries", "integer", default=3),
            ColumnSpec("note", "string"),
            ColumnSpec("day", "date", generated="CAST(at AS DATE)"),
            ColumnSpec("at", "timestamp"),
        ],
    )
    table = Table.create(str(tmp_path / "filled"), spec)
    session.register("filled", table)
    return table


@pytest.mark.parametrize(
    "rows",
    [
        "VALUES (1, '2026-03-04T05:06:07Z')",
        "SELECT id + 1, TIMESTAMP '2026-03-04T05:06:07Z' FROM t ORDER BY id LIMIT 1",
        "SELECT 1, '2026-03-04T05:06:07Z' UNION SELECT 1, '2026-03-04T05:06:07Z'",
    ],
)
def test_columns_left_out_are_filled(session: Session, tmp_path: Path, rows: str) -> None:
    table = _filled(tmp_path, session)
    session.sql(f"INSERT INTO filled (id, at) {rows}", policy=TRUSTED).to_arrow()
    found = table.snapshot().to_reader().read_all().to_pylist()
    at = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    expected = {"id": 1, "status": "new", "tries": 3, "note": None, "day": at.date(), "at": at}
    assert found == [expected]


def test_a_null_that_is_given_is_no_default(session: Session, tmp_path: Path) -> None:
    _filled(tmp_path, session)
    session.sql("INSERT INTO filled (id, tries) VALUES (1, NULL)", policy=TRUSTED).to_arrow()
    found = session.sql("SELECT status, tries FROM filled").to_arrow().to_pylist()
    assert found == [{"status": "new", "tries": None}]
    with pytest.raises(ConstraintError, match="'status' may not be null"):
        session.sql("INSERT INTO filled (id, status) SELECT 1, NULL", policy=TRUSTED).to_arrow()


def test_a_required_column_that_is_left_out_is_named(session: Session, tmp_path: Path) -> None:
    table = _filled(tmp_path, session)
    with pytest.raises(SchemaMismatchError, match="no column 'id'"):
        session.sql("INSERT INTO filled (note) VALUES ('x')", policy=TRUSTED).to_arrow()
    assert table.snapshot().version == 0


def test_defaults_that_are_computed_are_computed(session: Session, tmp_path: Path) -> None:
    columns = [
        ColumnSpec("id", "long"),
        ColumnSpec("day", "date", nullable=False, default={"sql": "current_date()"}),
    ]
    table = Table.create(str(tmp_path / "dated"), TableSpec("dated", columns))
    session.register("dated", table)
    before = dt.datetime.now(dt.UTC).date()
    session.sql("INSERT INTO dated (id) VALUES (1), (2)", policy=TRUSTED).to_arrow()
    after = dt.datetime.now(dt.UTC).date()
    days = table.snapshot().to_reader().read_all()["day"].to_pylist()
    assert len(days) == 2
    assert {before, after}.issuperset(days)


def test_prepared_inserts_fill_too(session: Session, tmp_path: Path) -> None:
    table = _filled(tmp_path, session)
    insert = session.prepare("put", "INSERT INTO filled (id) SELECT $id", policy=TRUSTED)
    insert.execute({"id": 5}).to_arrow()
    found = table.snapshot().to_reader().read_all().select(["id", "status", "tries", "day"]).to_pylist()
    assert found == [{"id": 5, "status": "new", "tries": 3, "day": None}]


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
    ("rows", "error", "said"),
    [
        ("VALUES (2000000, 'b')", ConstraintError, "2000000"),
        ("SELECT NULL, 'b'", ConstraintError, "column 'id' may not be null"),
        ("VALUES (NULL, 'b')", ConstraintError, "column 'id' may not be null"),
        ("VALUES (1, 'a'), (NULL, 'b')", ConstraintError, "column 'id' may not be null"),
        ("(name, id) VALUES ('b', NULL)", ConstraintError, "column 'id' may not be null"),
    ],
)
def test_violations_keep_their_error(
    session: Session, table: Table, rows: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        session.sql(f"INSERT INTO t {rows}", policy=TRUSTED).to_arrow()
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
