"""Contracts from dataclasses and msgspec structs."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Generic, Literal, NewType, TypeVar

import duckdb
import msgspec
import pyarrow as pa
import pytest
from msgspec.structs import replace

from schema_spec import (
    AcceptedValues,
    Field,
    NodeId,
    Range,
    SpecError,
    SpecTypeError,
    SqlExpression,
    TableSpec,
    violations_sql,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


OrderId = NewType("OrderId", int)


class Line(msgspec.Struct, rename="camel"):
    unit_price: Annotated[Decimal, "decimal(10,2)"]
    tags: str | None = None


@dataclass
class OrderLine:
    id: Annotated[OrderId, Field(primary_key=True, comment="Given by the shop.")]
    node: Annotated[str, NodeId]
    day: Annotated[dt.date, Field(partition=True)]
    amount: Annotated[int, msgspec.Meta(ge=0, lt=100, description="In cents.")]
    seen: dt.datetime | None
    local: Annotated[dt.datetime, msgspec.Meta(tz=False)]
    lines: list[Line]
    prices: dict[str, float | None]
    colour: Colour = Colour.RED
    state: Literal["new", "done"] | None = None
    token: uuid.UUID | None = None
    twice: Annotated[int, Field(generated="amount * 2")] = field(default_factory=int)


def test_from_type():
    spec = TableSpec.from_type(OrderLine, properties={"owner": "shop"})
    assert spec.name == "order_line"
    assert [
        f"{each.name}: {each.data_type.text}{'' if each.nullable else ' not null'}" for each in spec.columns
    ] == [
        "id: long not null",
        "node: string as NodeId not null",
        "day: date not null",
        "amount: long not null",
        "seen: timestamp",
        "local: timestamp_ntz not null",
        "lines: array<struct<unitPrice: decimal(10,2) not null, tags: string> not null> not null",
        "prices: map<string, double> not null",
        "colour: string not null",
        "state: string",
        "token: string",
        "twice: long not null",
    ]
    assert (spec.primary_key, spec.partition_by) == (("id",), ("day",))
    assert spec.column("colour").default == "red"
    assert spec.column("amount").comment == "In cents."
    assert spec.column("twice").generated == SqlExpression("amount * 2")
    assert Range("amount_range", "amount", minimum=0) in spec.constraints
    assert AcceptedValues("state_values", "state", ["done", "new"]) in spec.constraints
    assert spec.properties == {"owner": "shop"}


@dataclass
class Endless:
    inner: Endless


@dataclass
class Untyped:
    amount: Decimal


@dataclass
class Torn:
    value: int | str


@dataclass
class Unknown:
    value: Nowhere  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


@pytest.mark.parametrize("python_type", [Endless, Untyped, Torn, Unknown, int])
def test_types_without_a_place_in_a_table(python_type):
    with pytest.raises(SpecTypeError):
        TableSpec.from_type(python_type)


Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass
class Page(Generic[Item]):
    items: list[Item]
    first: Annotated[Item, Field(comment="The first.")] | None = None


class Pair(msgspec.Struct, Generic[Item, Other]):
    left: Item
    right: Other


class Named(Pair[int, Other], Generic[Other]):
    name: str = ""


@dataclass
class Generics:
    page: Page[int]
    pairs: list[Pair[str, Page[bytes]]]
    named: Named[bool]


PAGE_OF_BYTES = "struct<items: array<binary not null> not null, first: binary comment 'The first.'>"


def test_generic_classes():
    assert [each.type.text for each in TableSpec.from_type(Generics).columns] == [
        "struct<items: array<long not null> not null, first: long comment 'The first.'>",
        "array<struct<left: string not null, right: " + PAGE_OF_BYTES + " not null> not null>",
        "struct<left: long not null, right: boolean not null, name: string not null>",
    ]
    (named,) = TableSpec.from_type(Named[bool]).columns[1:2]
    assert (named.name, named.type.text) == ("right", "boolean")
    assert TableSpec.from_type(Page[str]).name == "page"
    with pytest.raises(SpecTypeError, match="~Item"):
        TableSpec.from_type(Page)


class Sized(msgspec.Struct, frozen=True):
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=3, pattern="^[A-Z'$]+$")]
    order: Annotated[int, msgspec.Meta(gt=0), msgspec.Meta(multiple_of=2)] | None = None
    score: Annotated[float, msgspec.Meta(ge=0), msgspec.Meta(le=1)] = 0.5


@dataclass
class Shipment:
    size: Sized
    maybe: Sized | None = None
    kind: Literal["a", "it's", None] = None  # noqa: PYI061 both ways are understood
    tags: tuple[str, ...] = ()
    seen: int | msgspec.UnsetType = msgspec.UNSET
    sized: Sized = Sized("A")  # noqa: RUF009 it does not change


def test_what_meta_says_of_columns_and_fields_of_structs():
    spec = TableSpec.from_type(Shipment)
    held = {each.name: each for each in spec.constraints}
    assert spec.column("kind").nullable
    assert spec.column("seen").nullable
    assert [each.default for each in spec.columns] == [None] * 6
    assert held["kind_values"] == AcceptedValues("kind_values", "kind", ["a", "it's"])
    assert held["maybe_score_range"] == Range("maybe_score_range", "maybe.score", 0.0, 1.0)
    good = {"code": "A'", "order": 2, "score": 1.0}
    rows = [
        {"size": good, "maybe": None, "kind": None},
        {"size": good | {"order": None}, "maybe": good, "kind": "it's"},
    ]
    bad = [
        ("size_code_longest", {"size": good | {"code": "ABCD"}}),
        ("size_code_shortest", {"size": good | {"code": ""}}),
        ("size_code_pattern", {"size": good | {"code": "a"}}),
        ("size_order_above", {"size": good | {"order": -2}}),
        ("size_order_multiple", {"size": good | {"order": 3}}),
        ("size_score_range", {"size": good | {"score": 1.5}}),
        ("maybe_order_above", {"size": good, "maybe": good | {"order": 0}}),
        ("kind_values", {"size": good, "kind": "b"}),
    ]
    checked = replace(spec, constraints=[each for each in spec.constraints if "pattern" not in each.name])
    schema = pa.schema([pa.field(each.name, each.type) for each in spec.to_arrow()])
    empty = {"tags": [], "seen": None, "sized": good}
    with duckdb.connect() as connection:
        for row in rows:
            table = pa.Table.from_pylist([dict.fromkeys(spec.column_names) | empty | row], schema)
            connection.register("shipment", table)
            assert connection.execute(violations_sql(checked)).fetchall() == []
        for name, row in bad:
            table = pa.Table.from_pylist([dict.fromkeys(spec.column_names) | empty | row], schema)
            connection.register("shipment", table)
            found = {subject for _, subject, *_ in connection.execute(violations_sql(checked)).fetchall()}
            assert (name in found) == ("pattern" not in name), name


def test_constraints_given_beside_a_class():
    assert TableSpec.from_type(Line, constraints={"cheap": "unit < 5"}).constraints[0].name == "cheap"
    for constraints in ("unit < 5", 3):
        with pytest.raises(SpecError, match="Give a list"):
            TableSpec.from_type(Line, constraints=constraints)
    with pytest.raises(SpecTypeError, match="has no fields"):
        TableSpec.from_type(Sized("A"))  # pyright: ignore[reportArgumentType] wrong on purpose


def test_unknown_fields_of_the_contract():
    with pytest.raises(SpecError, match="makes no contract"):
        TableSpec.from_type(Line, colour="red")
