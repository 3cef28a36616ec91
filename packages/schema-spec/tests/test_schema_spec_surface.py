"""Python types, audits, semantic types, Arrow's other types, and the shape of the package."""

from __future__ import annotations

import datetime as dt
import enum
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType

import duckdb
import msgspec
import pyarrow as pa
import pytest

import schema_spec
from schema_spec import (
    AcceptedValues,
    ColumnSpec,
    EdgeId,
    Field,
    NodeId,
    Range,
    SemanticError,
    SemanticType,
    SpecError,
    SpecTypeError,
    SqlExpression,
    TableSpec,
    arrow_type,
    compatible,
    semantic_of,
    violations_sql,
    with_semantic,
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


def test_unknown_fields_of_the_contract():
    with pytest.raises(SpecError, match="makes no contract"):
        TableSpec.from_type(Line, colour="red")


AUDITED = TableSpec(
    "people",
    [
        ColumnSpec("id", "long"),
        ColumnSpec("name", "string", nullable=False),
        ColumnSpec("age", "integer"),
        ColumnSpec("state", "string"),
        ColumnSpec("address", "struct<zip: string not null>"),
        ColumnSpec("price", "decimal(10,2)"),
        ColumnSpec("born", "date"),
    ],
    primary_key=["id"],
    constraints=[
        Range("age", "age", 0, 150),
        Range("price", "price", minimum="0.00"),
        Range("born", "born", maximum="2020-01-01"),
        AcceptedValues("state", "state", ["new", "it's done"]),
        "name <> '' OR name IS NULL",
        "age <> 77",
    ],
)


def audit(*rows: dict[str, Any], spec: TableSpec = AUDITED) -> list[tuple[str, str]]:
    whole = [dict.fromkeys(spec.column_names) | row for row in rows]
    fields = [pa.field(each.name, each.type) for each in AUDITED.to_arrow()]
    plain = [
        each.with_type(pa.struct([("zip", pa.string())])) if each.name == "address" else each
        for each in fields
    ]
    with duckdb.connect() as connection:
        connection.register("people", pa.Table.from_pylist(whole, pa.schema(plain)))
        return sorted(row[:2] for row in connection.execute(violations_sql(spec)).fetchall())


GOOD: dict[str, Any] = {"id": 1, "name": "a", "age": 5, "state": "it's done", "address": {"zip": "x"}}


def test_rows_that_keep_the_contract():
    assert audit(GOOD, {"id": 2, "name": "b", "age": 0}) == []
    assert audit() == []


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"name": None}, ("not-null", "name")),
        ({"address": {"zip": None}}, ("not-null", "address.zip")),
        ({"name": ""}, ("check", "check_5")),
        ({"age": 77}, ("check", "check_6")),
        ({"age": None}, ("check", "check_6")),
        ({"age": -1}, ("range", "age")),
        ({"age": 151}, ("range", "age")),
        ({"price": Decimal("-0.01")}, ("range", "price")),
        ({"born": dt.date(2020, 1, 2)}, ("range", "born")),
        ({"state": "old"}, ("accepted-values", "state")),
    ],
    ids=range(10),
)
def test_rows_that_break_one_rule(row, found):
    assert audit(GOOD | row) == [found]


def test_keys_that_occur_twice():
    assert audit(GOOD, GOOD, GOOD | {"id": 2}) == [("unique-key", "id")] * 2
    assert audit(GOOD | {"id": None}, GOOD | {"id": None}) == [("unique-key", "id")] * 2


def test_audit_avoids_the_tables_own_names():
    spec = TableSpec("t", [ColumnSpec("_rule", "long", nullable=False)])
    assert '"__rule"' in violations_sql(spec)


def test_semantic_types_in_arrow():
    plain = pa.field("id", pa.string(), nullable=False, metadata={"k": "v"})
    marked = with_semantic(plain, NodeId)
    assert semantic_of(plain) is None
    assert semantic_of(marked) == NodeId
    assert marked.type == arrow_type(NodeId)
    assert (marked.nullable, marked.metadata) == (False, {b"k": b"v"})
    assert semantic_of(with_semantic(marked, EdgeId)) == EdgeId
    assert with_semantic(marked, None).equals(plain, check_metadata=True)
    with pytest.raises(SemanticError):
        with_semantic(pa.field("id", pa.int64()), NodeId)


def test_semantic_types_of_ones_own():
    sku = SemanticType("shop.Sku", "decimal(10,0)")
    field = pa.field("sku", arrow_type(sku))
    assert semantic_of(field) == sku
    unregistered = pa.field(
        "sku", pa.decimal128(10, 0), metadata={"ARROW:extension:name": "schema_spec.shop.Sku"}
    )
    assert semantic_of(unregistered) == sku
    assert TableSpec.from_arrow("t", pa.schema([unregistered])).column("sku").semantic == sku


def test_semantic_types_that_go_together():
    assert compatible(NodeId, NodeId)
    assert compatible(None, NodeId)
    assert not compatible(EdgeId, NodeId)
    assert not compatible(SemanticType("A", "long"), SemanticType("A", "string"))


@pytest.mark.parametrize(
    ("arrow", "text"),
    [
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.large_binary(), "binary"),
        (pa.binary(4), "binary"),
        (pa.uint8(), "short"),
        (pa.uint16(), "integer"),
        (pa.uint32(), "long"),
        (pa.float16(), "float"),
        (pa.date64(), "date"),
        (pa.timestamp("ns", "Europe/Berlin"), "timestamp"),
        (pa.timestamp("s"), "timestamp_ntz"),
        (pa.decimal256(38, 2), "decimal(38,2)"),
        (pa.large_list(pa.int8()), "array<byte>"),
        (pa.list_(pa.int8(), 3), "array<byte>"),
        (
            pa.map_(pa.string(), pa.list_(pa.struct([("a", pa.int64())]))),
            "map<string, array<struct<a: long>>>",
        ),
    ],
    ids=str,
)
def test_other_arrow_types_become_the_ones_delta_has(arrow, text):
    spec = TableSpec.from_arrow("t", pa.schema([("a", arrow)]))
    assert spec.column("a").type.text == text
    assert TableSpec.from_arrow("t", spec.to_arrow()) == spec


def test_foreign_metadata_and_extension_types_survive():
    schema = pa.schema(
        [pa.field("a", pa.json_()), pa.field("b", pa.int64(), metadata={"unit": "s", "n": "1"})],
        metadata={"pandas": "{}", "owner": "shop"},
    )
    again = TableSpec.from_arrow("t", schema).to_arrow()
    assert again.equals(schema, check_metadata=True)


def test_constraints_from_delta_are_what_delta_says():
    spec = TableSpec("t", [ColumnSpec("a", "long")], constraints=[Range("r", "a", 0)])
    delta = spec.to_delta()
    assert delta.configuration["delta.constraints.r"] == "(`a` IS NULL OR `a` >= 0)"
    changed = dict(delta.configuration) | {"delta.constraints.r": "a >= 5"}
    (constraint,) = TableSpec.from_delta(delta, configuration=changed).constraints
    assert constraint == schema_spec.Check("r", "a >= 5")


def test_schemas_as_engines_return_them():
    """Views instead of strings, metadata as text, nested semantic types beside the field."""
    spec = TableSpec(
        "t",
        [
            ColumnSpec("id", NodeId, metadata={"n": 1}),
            ColumnSpec("m", "map<string as NodeId, array<string as EdgeId>>"),
        ],
    )
    fields = json.loads(spec.to_delta())["fields"]
    text = [
        {
            key: each if isinstance(each, str) else msgspec.json.encode(each).decode()
            for key, each in held.items()
        }
        for held in (field["metadata"] for field in fields)
    ]
    nested = pa.map_(pa.string_view(), pa.list_(pa.string_view()))
    schema = pa.schema(
        [
            pa.field("id", pa.string_view(), metadata=text[0]),
            pa.field("m", nested, metadata=text[1]),
        ]
    )
    assert TableSpec.from_arrow("t", schema) == spec


def test_contracts_do_not_change():
    spec = TableSpec("t", [ColumnSpec("a", "long", metadata={"k": 1})], properties={"x": "y"})
    for change in (
        lambda: spec.properties.update(x="z"),  # pyright: ignore[reportAttributeAccessIssue]
        lambda: spec.column("a").metadata.__setitem__("k", 2),  # pyright: ignore[reportAttributeAccessIssue]
    ):
        with pytest.raises(TypeError, match="does not change"):
            change()


def test_importing_is_cheap():
    script = "import schema_spec, sys; print(sorted({'pyarrow', 'sqlglot', 'hypothesis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names():
    assert schema_spec.__all__ == sorted(schema_spec.__all__)
    for name in schema_spec.__all__:
        public = getattr(schema_spec, name)
        assert not name.startswith("_")
        assert public.__doc__ or name in ("Constraint", "EvolutionPolicy", "Expression")
