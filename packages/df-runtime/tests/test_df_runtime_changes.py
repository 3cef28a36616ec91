"""Changes as a table, natively scanned, and the table functions over Delta tables."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table, VersionNotFoundError
from delta_io.testing import History, bag, histories
from df_runtime import DatasetSourceError, DatasetUnknownError, ParameterError, Session, SessionFactory
from schema_spec import ColumnSpec, TableSpec

_ROWS = pa.table({"id": pa.array(range(10), pa.int64()), "Name": ["a"] * 10, "day": ["x", "y"] * 5})


@pytest.fixture
def table(tmp_path: Path) -> Table:
    columns = [ColumnSpec("id", "long"), ColumnSpec("Name", "string"), ColumnSpec("day", "string")]
    made = Table.create(str(tmp_path / "orders"), TableSpec("orders", columns, partition_by=["day"]))
    made.write(_ROWS)
    made.delete("id = 3")
    made.update({"Name": "'z'"}, "id = 4")
    made.write(_ROWS.slice(0, 2))
    return made


@pytest.fixture
def session(table: Table) -> Session:
    opened = SessionFactory().open()
    opened.register("orders", table)
    return opened


@pytest.mark.parametrize("cdf", [True, False], ids=["feed", "files"])
@given(history=histories(), data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changes_are_those_that_delta_io_reads(cdf: bool, history: History, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, SessionFactory().open() as session:
        played = history.play(folder + "/t", cdf=cdf)
        since = data.draw(st.integers(-1, max(played.versions)), label="since")
        until = data.draw(st.integers(max(since, 0), max(played.versions)), label="until")
        changes = played.table.changes(since, until)
        expected = bag(changes.to_reader().read_all())
        session.register("t", played.table)
        session.register("changed", changes)
        assert bag(pa.table(session.context.table("changed"))) == expected
        assert session.resolution("changed").provider == "native"
        assert bag(session.sql("SELECT * FROM changed").to_arrow()) == expected
        assert bag(session.sql(f"SELECT * FROM changes('t', {since}, {until})").to_arrow()) == expected


def test_filters_choose_files_and_columns(session: Session) -> None:
    one = session.explain("SELECT id FROM changes('orders', 0) WHERE _commit_version = 4", analyze=True)
    assert one.physical.count(".parquet") == 2
    assert "_change_type" not in one.physical
    none = session.explain("SELECT id FROM changes('orders', 0, 1) WHERE _commit_version = 2")
    assert ".parquet" not in none.physical
    part = session.explain("SELECT id FROM changes('orders', 0, 1) WHERE day = 'x'")
    assert part.physical.count(".parquet") == 1


def test_wishes_of_the_change_set_hold(session: Session, table: Table) -> None:
    types = ["delete", "update_postimage"]
    wanted = table.changes(0, change_types=types, columns=["id"], predicate="Name = 'z'")
    session.register("wanted", wanted)
    assert session.sql("SELECT * FROM wanted").schema.names == wanted.schema.names
    assert bag(session.sql("SELECT * FROM wanted").to_arrow()) == bag(wanted.to_reader().read_all())
    session.register("nothing", table.changes(0, change_types=[]))
    assert session.sql("SELECT * FROM nothing").to_arrow().num_rows == 0


def test_changes_end_at_the_version_that_the_query_reads(session: Session, table: Table) -> None:
    session.register("old", table, version=2)
    query = "SELECT max(_commit_version) AS last FROM changes('{}', 0)"
    assert session.sql(query.format("old")).to_arrow().to_pylist() == [{"last": 2}]
    assert session.sql(query.format("orders")).to_arrow().to_pylist() == [{"last": 4}]
    table.write(_ROWS.slice(0, 1))
    assert session.sql(query.format("orders")).to_arrow().to_pylist() == [{"last": 5}]
    session.register("feed", "SELECT * FROM changes('orders', 0)")
    assert session.sql("SELECT max(_commit_version) AS last FROM feed").to_arrow().to_pylist() == [
        {"last": 5}
    ]
    table.write(_ROWS.slice(0, 1))
    assert session.sql("SELECT max(_commit_version) AS last FROM feed").to_arrow().to_pylist() == [
        {"last": 6}
    ]


def test_the_datafusion_context_sees_changes(session: Session, table: Table) -> None:
    session.register("changed", table.changes(0))
    expected = bag(table.changes(0).to_reader().read_all())
    assert bag(session.context.table("changed").to_arrow_table()) == expected


def test_files_and_history(session: Session, table: Table) -> None:
    files = session.sql("SELECT path, num_records FROM delta_files('orders')").to_arrow()
    assert sorted(files["path"].to_pylist()) == sorted(table.snapshot().add_actions()["path"].to_pylist())
    history = session.sql("SELECT version, operation FROM delta_history('orders')").to_arrow().to_pylist()
    assert [row["version"] for row in history] == [4, 3, 2, 1, 0]
    assert history[2]["operation"] == "DELETE"
    session.register("old", table, version=1)
    assert session.sql("SELECT version FROM delta_history('old', 1)").to_arrow().to_pylist() == [
        {"version": 1}
    ]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("changes('nowhere', 1)", DatasetUnknownError),
        ("changes('rows', 1)", DatasetSourceError),
        ("changes('orders', 99)", VersionNotFoundError),
        ("changes('orders')", ParameterError),
        ("changes('orders', 'one')", ParameterError),
        ("changes(1, 1)", ParameterError),
        ("delta_files()", ParameterError),
        ("delta_history('orders', -1)", ParameterError),
    ],
)
def test_wrong_calls_say_what_is_wrong(session: Session, call: str, error: type[Exception]) -> None:
    session.register("rows", _ROWS)
    with pytest.raises(error):
        session.sql(f"SELECT * FROM {call}")


def test_statistics_of_nested_columns_from_several_commits_reach_the_engine(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "p": ["a", "b", None],
            "v": pa.array(
                [{"x": 1, "y": "one"}, None, {"x": None, "y": None}],
                pa.struct([("x", pa.int32()), ("y", pa.string())]),
            ),
        }
    )
    columns = TableSpec.from_arrow("t", rows.schema).columns
    made = Table.create(str(tmp_path / "nested"), TableSpec("t", columns, partition_by=["p"]))
    made.write(rows)
    made.write(rows.slice(0, 2))
    with SessionFactory().open() as session:
        session.register("t", made)
        assert session.sql("SELECT v['x'] AS x FROM t WHERE p = 'a'").to_arrow()["x"].to_pylist() == [1, 1]
        assert session.sql("SELECT count(*) AS n FROM delta_files('t')").to_arrow().to_pylist() == [{"n": 5}]
