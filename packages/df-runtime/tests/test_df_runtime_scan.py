"""Options of a scan, and contracts at the scan, through sessions over real Delta tables."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from delta_io import ScanConfig, Table
from df_runtime import DatasetSourceError, DatasetUnsupportedError, ExecutionError, SessionFactory
from df_runtime.session import Session
from schema_spec import ColumnSpec, EvolutionPolicy, TableSpec

SPEC = TableSpec(
    "orders",
    [
        ColumnSpec("id", "long", nullable=False),
        ColumnSpec("city", "string"),
        ColumnSpec("day", "date"),
        ColumnSpec("raw", "binary"),
    ],
    partition_by=["city"],
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Table.create(tmp_path / "orders é x", SPEC)
    for start in (0, 10):
        ids = list(range(start, start + 10))
        made.write(
            pa.table(
                {
                    "id": ids,
                    "city": ["Oslo" if each % 2 else None for each in ids],
                    "day": [dt.date(2024, 1, 1) + dt.timedelta(days=each) for each in ids],
                    "raw": [str(each).encode() for each in ids],
                }
            )
        )
    return made


@pytest.fixture
def session() -> Session:
    return SessionFactory().open()


def rows(session: Session, query: str) -> list[dict[str, Any]]:
    return session.sql(query).to_arrow().to_pylist()


def paths(table: Table) -> list[str]:
    return table.snapshot().add_actions()["path"].to_pylist()


def test_a_column_with_the_file_of_each_row(table: Table, session: Session) -> None:
    session.register("t", table, scan=ScanConfig(file_column="_file"))
    found = session.sql("SELECT DISTINCT _file FROM t").to_arrow()
    assert found.schema.field("_file") == pa.field("_file", pa.string(), nullable=False)
    assert sorted(found["_file"].to_pylist()) == sorted(paths(table))
    one = paths(table)[0]
    query = "SELECT count(*) AS n FROM t WHERE _file = $file"
    only = session.sql(query, params={"file": one})
    assert only.to_arrow().to_pylist() == [{"n": 5}]
    assert one.rpartition("/")[2] not in session.sql(query, params={"file": "x"}).plan().physical
    assert session.sql("SELECT * FROM t").schema.names == ["id", "city", "day", "raw", "_file"]


def test_a_column_with_the_position_of_each_row(table: Table, session: Session) -> None:
    table.write(pa.table({"id": [100, 101, 102, 103], "city": ["Bergen"] * 4}))
    table.delete("id = 101")
    session.register("t", table, scan=ScanConfig(row_index_column="_row", file_column="_file"))
    every = session.sql("SELECT id, city, _file, _row FROM t").to_arrow()
    assert every.schema.field("_row") == pa.field("_row", pa.int64(), nullable=False)
    by_file: dict[str, list[int]] = {}
    for row in every.to_pylist():
        by_file.setdefault(row["_file"], []).append(row["_row"])
    assert all(sorted(found) == list(range(len(found))) for found in by_file.values())
    assert [row["id"] for row in rows(session, "SELECT id FROM t WHERE _row = 4 ORDER BY id")] == [
        8,
        9,
        18,
        19,
    ]
    assert rows(session, "SELECT max(_row) AS high, count(*) AS n FROM t WHERE id < 100") == [
        {"high": 4, "n": 20}
    ]
    joined = "SELECT count(*) AS n FROM t a JOIN t b ON a._file = b._file AND a._row = b._row"
    assert rows(session, joined) == [{"n": 23}]


@pytest.mark.parametrize("pushdown", [True, False])
def test_pushdown_is_chosen_per_table(table: Table, session: Session, pushdown: bool) -> None:
    session.register("t", table, scan=ScanConfig(pushdown=pushdown))
    query = session.sql("SELECT day FROM t WHERE id % 7 = 3 AND raw > $raw", params={"raw": b"1"})
    assert sorted(query.to_arrow()["day"].to_pylist()) == [
        dt.date(2024, 1, 4),
        dt.date(2024, 1, 11),
        dt.date(2024, 1, 18),
    ]
    assert ("FilterExec" in query.plan().physical) is not pushdown


@pytest.mark.parametrize("views", [None, True, False])
def test_texts_as_views_or_not(table: Table, session: Session, views: bool | None) -> None:
    session.register("t", table, scan=ScanConfig(view_types=views, file_column="_file"))
    found = session.sql("SELECT city, raw, _file, id FROM t WHERE id = 3").to_arrow()
    text, binary = (pa.string_view(), pa.binary_view()) if views else (pa.string(), pa.binary())
    assert found.schema.types == [text, binary, text, pa.int64()]
    assert not any(
        field.metadata for field in found.schema if field.metadata and b"keep" in str(field.metadata).encode()
    )
    assert found.select(["city", "raw"]).to_pylist() == [{"city": "Oslo", "raw": b"3"}]
    assert rows(session, "SELECT count(*) AS n FROM t WHERE city = 'Oslo' AND raw > X'31'") == [{"n": 9}]


def test_wrapped_partition_values(table: Table, session: Session) -> None:
    session.register("t", table, scan=ScanConfig(wrap_partition_values=True))
    found = session.sql("SELECT city, id FROM t ORDER BY id LIMIT 2").to_arrow()
    assert found.schema.field("city").type == pa.dictionary(pa.int32(), pa.string())
    assert found.to_pylist() == [{"city": None, "id": 0}, {"city": "Oslo", "id": 1}]
    for where, n in (
        ("city = 'Oslo'", 10),
        ("city IS NULL", 10),
        ("city LIKE 'O%' OR id = 0", 11),
        ("city IN ('a')", 0),
    ):
        assert rows(session, f"SELECT count(*) AS n FROM t WHERE {where}") == [{"n": n}], where
    assert "Oslo" not in session.sql("SELECT id FROM t WHERE city IS NULL").plan().physical
    grouped = rows(session, "SELECT city, count(*) AS n FROM t GROUP BY city ORDER BY city NULLS LAST")
    assert grouped == [{"city": "Oslo", "n": 10}, {"city": None, "n": 10}]
    assert rows(session, "SELECT min(city) AS low, max(city) AS high FROM t") == [
        {"low": "Oslo", "high": "Oslo"}
    ]


def test_chosen_files(table: Table, session: Session) -> None:
    chosen = paths(table)[:2]
    session.register("t", table, scan=ScanConfig(files=chosen, file_column="_file"))
    assert rows(session, "SELECT count(*) AS n FROM t") == [{"n": 10}]
    assert {row["_file"] for row in rows(session, "SELECT _file FROM t")} == set(chosen)
    assert session.resolution("t").files == 2
    with pytest.raises(DatasetSourceError, match="no file"):
        session.register("t", table, scan=ScanConfig(files=["x.parquet"]))


def test_versions_in_the_options(table: Table, session: Session) -> None:
    session.register("t", table, scan=ScanConfig(version=1))
    assert rows(session, "SELECT count(*) AS n FROM t") == [{"n": 10}]
    assert session.resolution("t").pinned
    at = table.snapshot(version=1).timestamp
    session.register("t", str(table.uri), scan=ScanConfig(timestamp=at))
    assert rows(session, "SELECT count(*) AS n FROM t") == [{"n": 10}]
    for options in ({"version": 1}, {"timestamp": at}):
        with pytest.raises(DatasetSourceError, match="more than once"):
            session.register("t", table, scan=ScanConfig(version=1), **options)
    with pytest.raises(DatasetSourceError, match="no versions"):
        session.register("t", table.snapshot(), scan=ScanConfig(version=1))


def test_what_has_no_files_takes_no_options(session: Session) -> None:
    for source in ("SELECT 1 AS x", pa.table({"x": [1]})):
        with pytest.raises(DatasetSourceError, match="`scan`"):
            session.register("t", source, scan=ScanConfig(pushdown=True))


def test_a_column_that_the_table_has_is_not_added(table: Table, session: Session) -> None:
    with pytest.raises(DatasetSourceError, match="id"):
        session.register("t", table, scan=ScanConfig(file_column="ID"))


def test_an_explicit_schema(table: Table, session: Session) -> None:
    schema = pa.schema(
        [
            ("day", pa.timestamp("us")),
            pa.field("id", pa.decimal128(22, 2), nullable=False, metadata={"unit": "pieces"}),
            ("later", pa.large_string()),
            ("city", pa.large_string()),
        ]
    )
    session.register("t", table, scan=ScanConfig(schema=schema, row_index_column="_row"))
    result = session.sql("SELECT * FROM t WHERE id = 3").to_arrow()
    assert result.schema.names == [*schema.names, "_row"]
    assert result.schema.types == [*schema.types, pa.int64()]
    assert result.schema.field("id").metadata[b"unit"] == b"pieces"
    assert result.drop_columns(["_row"]).to_pylist() == [
        {"day": dt.datetime(2024, 1, 4), "id": Decimal("3.00"), "later": None, "city": "Oslo"}
    ]
    adapted = {each.name: each.action for each in session.resolution("t").adapted}
    assert adapted == {"day": "cast", "id": "cast", "later": "null"}
    for schema in (
        pa.schema([("city", pa.float64())]),
        pa.schema([pa.field("later", pa.int64(), nullable=False)]),
    ):
        with pytest.raises(DatasetSourceError, match="schema of the scan"):
            session.register("t", table, scan=ScanConfig(schema=schema))


def test_options_are_part_of_the_identity(table: Table, session: Session) -> None:
    found = set()
    for config in (None, ScanConfig(file_column="f"), ScanConfig(schema=pa.schema([("id", pa.int64())]))):
        session.register("t", table, scan=config)
        found.add(session.sql("SELECT id FROM t").datasets[0].scan)
    assert len(found) == 3
    assert session.resolution("t").scan == config


def test_options_hold_for_newer_versions_and_in_the_neighbours_context(
    table: Table, session: Session
) -> None:
    schema = pa.schema([("id", pa.int64()), ("later", pa.string())])
    session.register("t", table, scan=ScanConfig(file_column="_file", schema=schema))
    table.write(pa.table({"id": [50], "city": ["Oslo"]}))
    assert rows(session, "SELECT id, later FROM t WHERE id >= 19 ORDER BY id") == [
        {"id": 19, "later": None},
        {"id": 50, "later": None},
    ]
    found = session.context.sql("SELECT * FROM t WHERE id = 50").to_arrow_table()
    assert found.schema.names == ["id", "later", "_file"]
    assert found.to_pylist()[0]["_file"] in paths(table)


CONTRACT = TableSpec(
    "orders",
    [
        ColumnSpec("id", "decimal(22, 0)", nullable=False),
        ColumnSpec("city", "string"),
        ColumnSpec("status", "string", nullable=False, default="new"),
        ColumnSpec("day", "timestamp_ntz"),
        ColumnSpec("note", "string"),
    ],
    partition_by=["city"],
    evolution="any",
)


def test_a_contract_is_applied_where_the_table_is_scanned(table: Table, session: Session) -> None:
    session.register("t", Table(table.uri, spec=CONTRACT))
    result = session.sql("SELECT * FROM t WHERE id = 3 AND status = 'new'")
    assert result.to_arrow().to_pylist() == [
        {"id": Decimal(3), "city": "Oslo", "status": "new", "day": dt.datetime(2024, 1, 4), "note": None}
    ]
    assert not result.schema.field("status").nullable
    adapted = {each.name: each.action for each in session.resolution("t").adapted}
    assert adapted == {"id": "cast", "status": "default", "day": "cast", "note": "null"}
    assert "CAST" in result.plan().logical
    plan = session.sql("SELECT id FROM t WHERE id = 3").plan()
    assert plan.physical.count(".parquet") == 2, "bounds are used through the cast"
    assert rows(session, "SELECT count(*) AS n FROM t WHERE status <> 'new'") == [{"n": 0}]
    assert "DataSourceExec" not in session.sql("SELECT count(*) AS n FROM t").plan().physical
    assert session.tables() == ("t",)
    assert session.sql("SELECT id FROM t").datasets[0].name.endswith('"t"')


def test_a_contract_follows_the_table_as_it_evolves(table: Table, session: Session) -> None:
    session.register("t", Table(table.uri, spec=CONTRACT))
    Table(
        table.uri,
        spec=TableSpec(
            "orders",
            [*SPEC.columns, ColumnSpec("note", "string")],
            partition_by=["city"],
            evolution="additive",
        ),
    ).write(pa.table({"id": [70], "city": ["Rome"], "note": ["written"]}))
    assert rows(session, "SELECT note FROM t WHERE id = 70") == [{"note": "written"}]
    assert "note" not in {each.name for each in session.resolution("t").adapted}


@pytest.mark.parametrize(
    ("policy", "columns"),
    [("additive", ["day", "status", "city", "id", "raw"]), ("any", ["day", "status", "city"])],
)
def test_columns_that_a_contract_lacks(
    table: Table, session: Session, policy: EvolutionPolicy, columns: list[str]
) -> None:
    shown = [
        ColumnSpec("day", "date"),
        ColumnSpec("status", "string", default="new"),
        ColumnSpec("city", "string"),
    ]
    contract = TableSpec("orders", shown, partition_by=["city"], evolution=policy)
    session.register("t", Table(table.uri, spec=contract))
    found = session.sql("SELECT * FROM t WHERE day = date '2024-01-04'").to_arrow()
    assert found.column_names == columns
    assert found["status"].to_pylist() == ["new"]


def test_a_contract_that_no_longer_fits_is_refused(table: Table, session: Session) -> None:
    strict = TableSpec("orders", SPEC.columns, partition_by=["city"], evolution="strict")
    session.register("t", Table(table.uri, spec=strict))
    assert session.resolution("t").adapted == ()
    wider = TableSpec(
        "orders", [*SPEC.columns, ColumnSpec("note", "string")], partition_by=["city"], evolution="additive"
    )
    Table(table.uri, spec=wider).write(pa.table({"id": [70], "note": ["written"]}))
    with pytest.raises(DatasetUnsupportedError, match="contract"):
        session.sql("SELECT * FROM t")


def test_a_null_where_the_contract_has_none_fails_the_query(table: Table, session: Session) -> None:
    columns = [ColumnSpec("id", "long"), ColumnSpec("city", "string", nullable=False)]
    contract = TableSpec("orders", columns, partition_by=["city"], evolution="any")
    session.register("t", Table(table.uri, spec=contract))
    with pytest.raises(ExecutionError, match="must have a value"):
        session.sql("SELECT city FROM t").to_arrow()
    assert rows(session, "SELECT count(id) AS n FROM t") == [{"n": 20}]


@pytest.mark.parametrize("writable", [True, False])
def test_what_the_log_knows_is_answered_before_files_are_planned(
    table: Table, session: Session, writable: bool
) -> None:
    session.register("counted", table if writable else table.snapshot())
    plans = session.explain("SELECT min(id), max(id), count(*) FROM counted")
    assert "TableScan" in plans.logical
    assert "TableScan" not in plans.optimized
