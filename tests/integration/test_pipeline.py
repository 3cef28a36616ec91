"""From a contract to a view that follows its sources, through public names alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import Session, SessionFactory
from incremental_cdf import View, Views
from schema_spec import ColumnSpec, TableSpec

ORDERS = TableSpec(
    "orders",
    [
        ColumnSpec("order_id", "long", nullable=False),
        ColumnSpec("day", "date"),
        ColumnSpec("customer", "string"),
        ColumnSpec("amount", "decimal(12,2)"),
    ],
    primary_key=["order_id"],
)
REVENUE = "SELECT day, count(*) AS orders, sum(amount) AS revenue FROM orders GROUP BY day"
LARGE = "SELECT order_id, customer FROM orders WHERE amount > 100"

FIRST, SECOND = dt.date(2026, 1, 5), dt.date(2026, 1, 6)
START = [
    (1, FIRST, "Ada", Decimal("19.90")),
    (2, FIRST, "Grace", Decimal("250.00")),
    (3, SECOND, None, Decimal("42.00")),
    (4, None, "Edsger", Decimal("99.99")),
    (5, SECOND, "Ada", None),
]


def rows(*orders: tuple[Any, ...]) -> pa.Table:
    columns = [pa.array(values) for values in zip(*orders, strict=True)]
    return pa.table(columns, names=list(ORDERS.column_names)).cast(ORDERS.to_arrow())


def bag(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


@pytest.fixture
def session() -> Iterator[Session]:
    with SessionFactory().open() as opened:
        yield opened


@pytest.fixture
def orders(tmp_path: Path, session: Session) -> Table:
    table = Table.create(str(tmp_path / "orders"), ORDERS)
    table.write(rows(*START))
    session.register("orders", table)
    return table


@pytest.fixture
def views(tmp_path: Path, session: Session, orders: Table) -> Views:
    return Views(
        [
            View("revenue", REVENUE, str(tmp_path / "revenue"), key=("day",)),
            View("large", LARGE, str(tmp_path / "large")),
        ],
        session,
    )


def stored(tmp_path: Path, view: str) -> list[str]:
    """Return a view's rows as any reader of its table sees them, without the columns for upkeep."""
    table = Table(str(tmp_path / view)).snapshot().to_reader().read_all()
    return bag(table.select([name for name in table.column_names if not name.startswith("_")]))


def recomputed(orders: Table, query: str) -> list[str]:
    """Return what an independent engine makes of the query over the table as it is."""
    with duckdb.connect() as connection:
        connection.register("orders", orders.snapshot().to_reader().read_all())
        # DuckDB sums into wider decimals; the values are the same.
        return bag(connection.sql(query).to_arrow_table())


def strategies(views: Views) -> dict[str, str]:
    return {step.name: step.strategy for step in views.plan().views}


def test_a_view_follows_appends_deletes_and_overwrites(tmp_path: Path, orders: Table, views: Views):
    changes = [
        lambda: None,
        lambda: orders.write(rows((6, SECOND, "Ada", Decimal("500.00")))),
        lambda: orders.write(rows((7, None, None, Decimal("1.00")), (8, None, None, Decimal("1.00")))),
        lambda: orders.delete("order_id = 2"),
        lambda: orders.delete("day is null"),
        lambda: orders.write(rows((9, FIRST, "Tony", Decimal("0.01"))), mode="overwrite"),
    ]
    for change in changes:
        change()

        views.refresh()

        assert stored(tmp_path, "revenue") == recomputed(orders, REVENUE)
        assert stored(tmp_path, "large") == recomputed(orders, LARGE)


def test_nothing_new_commits_nothing(tmp_path: Path, views: Views):
    views.refresh()
    before = [Table(str(tmp_path / name)).snapshot().version for name in ("revenue", "large")]

    assert set(strategies(views).values()) == {"none"}
    report = views.refresh()

    assert {step.strategy for step in report.views} == {"none"}
    assert [Table(str(tmp_path / name)).snapshot().version for name in ("revenue", "large")] == before


def test_a_plan_commits_nothing_and_says_what_a_refresh_then_does(
    tmp_path: Path, orders: Table, views: Views
):
    views.refresh()
    orders.write(rows((6, SECOND, "Ada", Decimal("500.00"))))
    before = Table(str(tmp_path / "revenue")).snapshot().version

    planned = strategies(views)

    assert Table(str(tmp_path / "revenue")).snapshot().version == before
    assert planned["revenue"] == "affected_keys"
    assert {step.name: step.strategy for step in views.refresh().views} == planned


def test_a_refresh_replaces_only_the_groups_that_changed(tmp_path: Path, orders: Table, views: Views):
    views.refresh()
    target = Table(str(tmp_path / "revenue"))
    before = target.snapshot().version
    orders.write(rows((6, SECOND, "Ada", Decimal("500.00"))))

    views.refresh()

    assert target.snapshot().version == before + 1
    changed = target.changes(before).to_reader().read_all()
    assert set(changed["day"].to_pylist()) == {SECOND}


def test_the_past_of_a_view_can_be_read(tmp_path: Path, session: Session, orders: Table, views: Views):
    views.refresh()
    version = Table(str(tmp_path / "revenue")).snapshot().version
    expected = recomputed(orders, REVENUE)
    orders.delete("true")
    views.refresh()

    session.register("before", str(tmp_path / "revenue"), version=version)
    session.register("after", str(tmp_path / "revenue"))

    assert bag(session.sql("SELECT day, orders, revenue FROM before").to_arrow()) == expected
    assert session.sql("SELECT * FROM after").to_arrow().num_rows == 0


def test_a_killed_refresh_is_taken_up_again(tmp_path: Path, session: Session, orders: Table, views: Views):
    views.refresh()
    orders.write(rows((6, SECOND, "Ada", Decimal("500.00"))))
    plan = views.plan()
    views.refresh(plan)

    again = Views([View("revenue", REVENUE, str(tmp_path / "revenue"), key=("day",))], session)

    assert strategies(again) == {"revenue": "none"}
    assert stored(tmp_path, "revenue") == recomputed(orders, REVENUE)
