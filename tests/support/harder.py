"""Queries that are harder than TPC-H, and the small tables that they read.

The tables are made from a fixed seed, with NULLs, duplicates and ties. A query with parameters can be written
with their values in the text (`Query.text`) or with `$name` in their place (`Query.template`).
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from string import Template
from typing import Any

import pyarrow as pa

from harder_queries import DUCKDB, PARAMS, TEXTS

DAY_ONE = dt.date(2024, 1, 1)
SHOPS = ("north", "south", "east", "west", "Île")


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query of the suite.

    Attributes
    ----------
    name : str
    template : str
        SQL of the engine, with `$name` for each parameter.
    params : Mapping[str, object]
    duckdb : str
        The same question in DuckDB's words, with values in the text.
    """

    name: str
    template: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    duckdb: str

    @property
    def text(self) -> str:
        """SQL of the engine with the values in the text."""
        return filled(self.template, self.params)


def filled(template: str, params: Mapping[str, Any]) -> str:
    """Write values in the place of parameters."""
    return Template(template).substitute({name: literal(value) for name, value in params.items()})


def literal(value: Any) -> str:
    """Write a value as SQL."""
    match value:
        case str():
            return "'" + value.replace("'", "''") + "'"
        case dt.datetime():
            return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'"
        case dt.date():
            return f"DATE '{value}'"
        case _:
            return str(value)


def queries() -> dict[str, Query]:
    """Return all queries by name."""
    return {
        name: Query(
            name=name,
            template=text,
            params=PARAMS.get(name, {}),
            duckdb=filled(DUCKDB.get(name, text), PARAMS.get(name, {})),
        )
        for name, text in TEXTS.items()
    }


@cache
def tables() -> Mapping[str, pa.Table]:
    """Make the tables: sales, products, staff, events and readings."""
    rng = random.Random(20240101)
    return {
        "sales": _sales(rng),
        "products": _products(rng),
        "staff": _staff(rng),
        "events": _events(rng),
        "readings": _readings(rng),
    }


def _maybe(rng: random.Random, value: Any, share: float = 0.1) -> Any:
    return None if rng.random() < share else value


def _sales(rng: random.Random) -> pa.Table:
    count = 400
    tags = ["new", "gift", "rush", "bulk"]
    return pa.table(
        {
            "id": pa.array(range(1, count + 1), pa.int64()),
            "day": [DAY_ONE + dt.timedelta(days=rng.randrange(90)) for _ in range(count)],
            "shop": [_maybe(rng, rng.choice(SHOPS)) for _ in range(count)],
            "product": pa.array([_maybe(rng, rng.randrange(1, 16), 0.05) for _ in range(count)], pa.int32()),
            "quantity": pa.array([rng.randrange(1, 9) for _ in range(count)], pa.int32()),
            "amount": pa.array(
                [_maybe(rng, Decimal(rng.randrange(100, 99_999)) / 100) for _ in range(count)],
                pa.decimal128(12, 2),
            ),
            "tags": pa.array(
                [_maybe(rng, rng.sample(tags, rng.randrange(3))) for _ in range(count)], pa.list_(pa.string())
            ),
        }
    )


def _products(rng: random.Random) -> pa.Table:
    names = [f"item {number:02}" for number in range(1, 19)]
    size = pa.struct([("width", pa.int32()), ("label", pa.string())])
    return pa.table(
        {
            "product": pa.array(range(1, 19), pa.int32()),
            "name": names,
            "category": [_maybe(rng, ("toys", "books", "food")[number % 3], 0.15) for number in range(18)],
            "price": pa.array([Decimal(rng.randrange(50, 5_000)) / 100 for _ in names], pa.decimal128(9, 2)),
            "size": pa.array(
                [_maybe(rng, {"width": rng.randrange(9), "label": rng.choice("SML")}) for _ in names], size
            ),
        }
    )


def _staff(rng: random.Random) -> pa.Table:
    people = range(1, 31)
    return pa.table(
        {
            "id": pa.array(people, pa.int64()),
            "manager": pa.array([None if who <= 2 else rng.randrange(1, who) for who in people], pa.int64()),
            "name": [f"person {who:02}" for who in people],
            "shop": [_maybe(rng, rng.choice(SHOPS[:4])) for _ in people],
            "salary": pa.array([_maybe(rng, rng.randrange(20, 60) * 100) for _ in people], pa.int64()),
        }
    )


def _events(rng: random.Random) -> pa.Table:
    count = 300
    start = dt.datetime(2024, 1, 1)
    moments = [start + dt.timedelta(minutes=rng.randrange(60 * 24 * 20)) for _ in range(count)]
    return pa.table(
        {
            "visitor": pa.array([rng.randrange(1, 12) for _ in range(count)], pa.int32()),
            "moment": pa.array(sorted(moments), pa.timestamp("us")),
            "kind": [rng.choice(["view", "view", "cart", "buy"]) for _ in range(count)],
        }
    )


def _readings(rng: random.Random) -> pa.Table:
    count = 200
    return pa.table(
        {
            "sensor": [rng.choice("abc") for _ in range(count)],
            "day": [DAY_ONE + dt.timedelta(days=number // 3) for number in range(count)],
            "value": pa.array(
                [_maybe(rng, round(rng.uniform(-5, 30), 3), 0.2) for _ in range(count)], pa.float64()
            ),
        }
    )
