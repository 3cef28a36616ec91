"""Semantic types, Arrow's other types, and the shape of the package."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pyarrow as pa
import pytest

import schema_spec
from schema_spec import (
    ColumnSpec,
    EdgeId,
    NodeId,
    Range,
    SemanticError,
    SemanticType,
    SpecError,
    SpecTypeError,
    TableSpec,
    arrow_type,
    compatible,
    semantic_of,
    with_semantic,
)


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


def test_metadata_inside_lists_is_not_lost_silently():
    numbered = pa.field("element", pa.int64(), metadata={"PARQUET:field_id": "3"})
    assert (
        TableSpec.from_arrow("t", pa.schema([("a", pa.list_(numbered))])).columns[0].type.text
        == "array<long>"
    )
    for nested in (
        pa.list_(pa.field("element", pa.int64(), metadata={"unit": "s"})),
        pa.map_(pa.string(), pa.field("value", pa.int64(), metadata={"unit": "s"})),
    ):
        with pytest.raises(SpecTypeError, match="metadata inside a list or map: unit"):
            TableSpec.from_arrow("t", pa.schema([("a", nested)]))


VARIANT = {"ARROW:extension:name": "arrow.parquet.variant"}


def test_only_whole_variants_are_variants():
    views = pa.struct([("metadata", pa.binary_view()), ("value", pa.large_binary())])
    assert (
        TableSpec.from_arrow("t", pa.schema([pa.field("a", views, metadata=VARIANT)])).columns[0].type.text
        == "variant"
    )
    shredded = pa.struct([("metadata", pa.binary()), ("value", pa.binary()), ("typed_value", pa.int64())])
    for other in (pa.string(), shredded, pa.struct([("metadata", pa.binary()), ("value", pa.string())])):
        with pytest.raises(SpecTypeError, match=r"arrow\.parquet\.variant"):
            TableSpec.from_arrow("t", pa.schema([pa.field("a", other, metadata=VARIANT)]))


def test_nulls_in_metadata_survive_every_form():
    spec = TableSpec("t", [ColumnSpec("a", "long", metadata={"k": None, "l": [None, {"m": None}], "n": "x"})])
    assert TableSpec.from_toml(spec.to_toml()) == spec
    assert TableSpec.from_json(spec.to_json()) == spec
    assert TableSpec.from_arrow("t", spec.to_arrow()) == spec
    assert TableSpec.from_delta(spec.to_delta()) == spec
    assert ColumnSpec("a", "long", metadata='{"k": null}').metadata == {"k": None}


def test_deep_and_damaged_arrow_schemas_are_refused():
    deep = pa.int64()
    for _ in range(300):
        deep = pa.list_(deep)
    fields = [
        pa.field("a", deep),
        pa.field("a", pa.int8(), metadata={"schema_spec.json": '["k"]', "k": "[" * 100_000}),
        pa.field("a", pa.int8(), metadata={"schema_spec.nested": "[" * 100_000}),
        pa.field("a", pa.int8(), metadata={"delta.columnMapping.id": "9" * 30}),
    ]
    schemas = [pa.schema([field]) for field in fields]
    table = ['{"a":' + "[" * 100_000, '{"properties": []}', '{"constraints": 3}']
    schemas += [
        pa.schema([("a", pa.int8())], metadata={"k": "v", "schema_spec.table": each}) for each in table
    ]
    for schema in schemas:
        with pytest.raises(SpecError, match=r"\[spec-[a-z-]+\]$"):
            TableSpec.from_arrow("t", schema)


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
