"""Catalogs over folders of Delta tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import DatasetSourceError, Session, SessionFactory, UnknownTableError
from schema_spec import TableSpec

_ROWS = pa.table({"id": pa.array(range(10), pa.int64())})


def _table(folder: Path) -> Table:
    made = Table.create(str(folder), TableSpec.from_arrow("t", _ROWS.schema))
    made.write(_ROWS)
    return made


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for name in ("orders", "sales/items", "Upper"):
        _table(tmp_path / "lake" / name)
    (tmp_path / "lake" / "notes").mkdir()
    return tmp_path / "lake"


@pytest.fixture
def session(lake: Path) -> Session:
    opened = SessionFactory().open()
    opened.register_catalog("lake", lake)
    return opened


def _count(session: Session, table: str) -> int:
    return session.sql(f"SELECT count(*) AS n FROM {table}").to_arrow()["n"][0].as_py()


def test_tables_are_found_by_folder(session: Session) -> None:
    assert _count(session, "lake.public.orders") == 10
    assert _count(session, "lake.sales.items AS i JOIN lake.public.orders AS o ON i.id = o.id") == 10
    assert _count(session, 'lake.public."Upper"') == 10
    with pytest.raises(UnknownTableError):
        _count(session, "lake.public.notes")


def test_tables_are_opened_when_they_are_named(session: Session, lake: Path) -> None:
    log = lake / "sales" / "items" / "_delta_log"
    (log / "00000000000000000000.json").write_text("no log")
    (log / "00000000000000000001.json").unlink()
    assert _count(session, "lake.public.orders") == 10


def test_one_query_sees_one_version_under_every_name(session: Session, lake: Path) -> None:
    session.register("mine", lake / "orders")
    Table(str(lake / "orders")).write(_ROWS)
    both = "SELECT (SELECT count(*) FROM mine) AS a, (SELECT count(*) FROM lake.public.orders) AS b"
    result = session.sql(both)
    assert {identity.version for identity in result.datasets} == {2}
    Table(str(lake / "orders")).write(_ROWS)
    assert result.to_arrow().to_pylist() == [{"a": 20, "b": 20}]
    assert session.sql(both).to_arrow().to_pylist() == [{"a": 30, "b": 30}]


def test_folders_come_and_go(session: Session, lake: Path) -> None:
    _table(lake / "fresh")
    assert _count(session, "lake.public.fresh") == 10
    shutil.rmtree(lake / "fresh")
    with pytest.raises(UnknownTableError):
        _count(session, "lake.public.fresh")


def test_the_information_schema_lists_all(session: Session) -> None:
    query = (
        "SELECT table_catalog, table_schema, table_name FROM information_schema.tables "
        "WHERE table_catalog = 'lake' ORDER BY 2, 3"
    )
    rows = session.sql(query).to_arrow().to_pylist()
    found = [
        (row["table_schema"], row["table_name"])
        for row in rows
        if row["table_schema"] != "information_schema"
    ]
    assert found == [("public", "Upper"), ("public", "orders"), ("sales", "items")]
    assert session.tables() == ('lake.public."Upper"', "lake.public.orders", "lake.sales.items")
    assert session.schema("lake.sales.items").names == ["id"]


def test_tables_by_name(tmp_path: Path) -> None:
    orders = _table(tmp_path / "a")
    with SessionFactory().open() as session:
        session.register_catalog("shop", {"orders": orders, "old.orders": orders.snapshot(0)})
        assert _count(session, "shop.public.orders") == 10
        assert _count(session, "shop.old.orders") == 0
        assert _count(session, "changes('shop.public.orders', 0)") == 10


def test_tables_that_a_text_does_not_name_stay(session: Session) -> None:
    session.register("v", "SELECT id FROM lake.sales.items")
    # `items` is mentioned, and not the schema in which one lies.
    query = "SELECT count(*) AS n FROM v JOIN lake.public.orders AS items ON v.id = items.id"
    assert session.sql(query).to_arrow()["n"].to_pylist() == [10]
    assert _count(session, "v") == 10


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with SessionFactory().open() as session:
        for source in (tmp_path / "nowhere", f"file://{tmp_path}/nowhere", 7):
            with pytest.raises(DatasetSourceError):
                session.register_catalog("lake", source)
