from __future__ import annotations

import datetime as dt
import decimal

import ibis
import pyarrow as pa
import pytest

from df_runtime import DatasetUnsupportedError, SqlError


@pytest.fixture
def shop(session):
    session.register(
        "orders",
        pa.table(
            {"id": [1, 2, 3], "Amount": [5.0, 7.0, 9.0], "day": [dt.date(2026, 1, i) for i in (1, 1, 2)]}
        ),
    )
    session.register('sales."Customers"', pa.table({"id": [1, 2], "name": ["x", "y"]}))
    return session


def test_an_expression_over_one_table(shop):
    orders = shop.table("orders")
    expr = orders.filter(orders.Amount > 5).group_by("day").agg(total=orders.Amount.sum()).order_by("day")

    assert shop.ibis(expr).to_arrow().to_pylist() == [
        {"day": dt.date(2026, 1, 1), "total": 7.0},
        {"day": dt.date(2026, 1, 2), "total": 9.0},
    ]


def test_a_join_over_schemas(shop):
    joined = shop.table("orders").join(shop.table('sales."Customers"'), "id").select("name", "Amount")

    assert shop.ibis(joined.order_by("name")).to_arrow().to_pylist() == [
        {"name": "x", "Amount": 5.0},
        {"name": "y", "Amount": 7.0},
    ]


def test_a_scalar_and_a_parameter(shop):
    least = ibis.param("float64")
    orders = shop.table("orders")
    expr = orders.filter(orders.Amount >= least).count()

    assert shop.ibis(expr, params={least: 7.0}).to_arrow().to_pydict().popitem()[1] == [2]


def test_types_are_those_of_the_data(session):
    data = pa.table(
        {
            "money": pa.array([decimal.Decimal("1.50")], pa.decimal128(12, 2)),
            "at": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
            "tags": pa.array([["a"]], pa.list_(pa.string())),
            "place": pa.array([{"x": 1}], pa.struct([("x", pa.int32())])),
            "raw": pa.array([b"a"], pa.large_binary()),
        }
    )
    session.register("t", data)
    schema = session.table("t").schema()

    assert [str(schema[name]) for name in ("money", "at", "tags", "place", "raw")] == [
        "decimal(12, 2)",
        "timestamp('UTC', 6)",
        "array<string>",
        "struct<x: int32>",
        "binary",
    ]


def test_a_type_without_counterpart_is_refused(session):
    session.register("t", pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}))

    with pytest.raises(DatasetUnsupportedError, match="Ibis has no type"):
        session.table("t")


def test_an_expression_over_a_table_that_is_not_there(session):
    absent = ibis.table({"a": "int64"}, name="absent")

    with pytest.raises(SqlError, match="absent"):
        session.ibis(absent.select("a"))
