"""What a policy admits can be read, exactly; what it does not is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schema_spec import (
    ArrayType,
    ColumnSpec,
    EvolutionError,
    MapType,
    NodeId,
    SpecError,
    SqlExpression,
    StructType,
    TableSpec,
)
from schema_spec.expressions import Cast, Column
from schema_spec.policies import POLICIES
from schema_spec.testing import apply_alignment, evolutions, specs, table_from_rows, tables

examples = settings(max_examples=40, deadline=None)
plain_specs = specs(variant=False, table_fields=False)


@examples
@given(specs())
def test_a_contract_is_identical_to_itself(spec):
    diff = spec.diff(spec)
    assert (diff.kind, diff.entries, diff.report()) == ("identical", (), "identical")
    assert spec.alignment(spec.to_arrow(), policy="strict").is_identity


@examples
@given(st.data(), st.sampled_from(POLICIES))
def test_admitted_evolutions_are_read_exactly(data, policy):
    old = data.draw(plain_specs)
    new = data.draw(evolutions(old, policy))
    assert old.diff(new, policy=policy).kind != "breaking"
    table = data.draw(tables(old))
    alignment = new.alignment(table.schema)
    assert tuple(each.name for each in alignment.columns) == new.column_names
    try:
        aligned = apply_alignment(alignment, table, new)
    except (ValueError, OverflowError, ArithmeticError, TypeError):
        assert any(each.action in ("checked", "nested") for each in alignment.columns)
        return
    assert aligned.schema.equals(new.to_arrow(), check_metadata=True)
    assert aligned.num_rows == table.num_rows
    for each in alignment.columns:
        if each.action in ("as_is", "renamed"):
            assert isinstance(each.expression, Column)
            assert repr(aligned[each.name].to_pylist()) == repr(table[each.expression.name].to_pylist())


@examples
@given(st.data(), st.sampled_from(POLICIES))
def test_alignment_refuses_what_diff_calls_breaking(data, policy):
    old = data.draw(plain_specs)
    new = data.draw(evolutions(old, "any"))
    seen = [each for each in old.diff(new, policy=policy).breaking if each.kind not in UNSEEN]
    if seen:
        with pytest.raises(EvolutionError, match=r"\[spec-evolution-refused\]"):
            new.alignment(old.to_arrow(), policy=policy)
    else:
        new.alignment(old.to_arrow(), policy=policy)


UNSEEN = ("default-changed", "generated-changed", "metadata-changed")
OPPOSITES = {
    "column-added": "column-dropped",
    "column-added-required": "column-dropped",
    "column-dropped": ("column-added", "column-added-required"),
    "column-renamed": "column-renamed",
    "type-widened": ("type-narrowed", "type-incompatible"),
    "nullability-relaxed": "nullability-tightened",
    "nullability-tightened": "nullability-relaxed",
    "semantic-added": "semantic-dropped",
    "semantic-changed": "semantic-changed",
    "column-moved": "column-moved",
    "default-changed": "default-changed",
}


@examples
@given(st.data())
def test_diff_is_symmetric(data):
    old = data.draw(plain_specs)
    new = data.draw(evolutions(old))
    there, back = old.diff(new).entries, new.diff(old).entries
    assert bool(there) == bool(back) == (old != new)
    kinds = {each.kind for each in back}
    for each in there:
        opposite = OPPOSITES.get(each.kind)
        if opposite and "." not in each.path:
            assert kinds & ({opposite} if isinstance(opposite, str) else set(opposite)), each


def table(*columns: ColumnSpec, **fields) -> TableSpec:
    return TableSpec("t", columns, **fields)


A = ColumnSpec("a", "integer")
CASES = [
    (table(A), table(A, ColumnSpec("b", "long")), "column-added", "additive"),
    (table(A), table(A, ColumnSpec("b", "long", nullable=False, default=0)), "column-added", "additive"),
    (table(A), table(A, ColumnSpec("b", "long", nullable=False)), "column-added-required", None),
    (table(A, ColumnSpec("b", "long")), table(A), "column-dropped", "any"),
    (
        table(ColumnSpec("a", "long", field_id=1)),
        table(ColumnSpec("z", "long", field_id=1)),
        "column-renamed",
        "any",
    ),
    (table(A, ColumnSpec("b", "long")), table(ColumnSpec("b", "long"), A), "column-moved", "additive"),
    (table(A), table(ColumnSpec("a", "long")), "type-widened", "widening"),
    (table(ColumnSpec("a", "float")), table(ColumnSpec("a", "double")), "type-widened", "widening"),
    (table(ColumnSpec("a", "date")), table(ColumnSpec("a", "timestamp_ntz")), "type-widened", "widening"),
    (
        table(ColumnSpec("a", "decimal(9,2)")),
        table(ColumnSpec("a", "decimal(11,4)")),
        "type-widened",
        "widening",
    ),
    (table(A), table(ColumnSpec("a", "decimal(12,2)")), "type-widened", "widening"),
    (table(A), table(ColumnSpec("a", "decimal(11,2)")), "type-narrowed", "any"),
    (table(A), table(ColumnSpec("a", "short")), "type-narrowed", "any"),
    (table(ColumnSpec("a", "decimal(19,0)")), table(ColumnSpec("a", "long")), "type-narrowed", "any"),
    (table(ColumnSpec("a", "decimal(18,0)")), table(ColumnSpec("a", "long")), "type-widened", "widening"),
    (table(A), table(ColumnSpec("a", "string")), "type-changed", "any"),
    (table(ColumnSpec("a", "double")), table(ColumnSpec("a", "float")), "type-incompatible", None),
    (
        table(ColumnSpec("a", "decimal(9,2)")),
        table(ColumnSpec("a", "decimal(9,1)")),
        "type-incompatible",
        None,
    ),
    (table(ColumnSpec("a", "timestamp")), table(ColumnSpec("a", "timestamp_ntz")), "type-incompatible", None),
    (table(ColumnSpec("a", "struct<x: long>")), table(ColumnSpec("a", "long")), "type-incompatible", None),
    (
        table(ColumnSpec("a", "long", nullable=False)),
        table(ColumnSpec("a", "long")),
        "nullability-relaxed",
        "widening",
    ),
    (
        table(ColumnSpec("a", "long")),
        table(ColumnSpec("a", "long", nullable=False)),
        "nullability-tightened",
        "any",
    ),
    (table(ColumnSpec("a", "string")), table(ColumnSpec("a", NodeId)), "semantic-added", "strict"),
    (table(ColumnSpec("a", NodeId)), table(ColumnSpec("a", "string")), "semantic-dropped", "widening"),
    (table(ColumnSpec("a", NodeId)), table(ColumnSpec("a", "string as EdgeId")), "semantic-changed", "any"),
    (table(A), table(ColumnSpec("a", "integer", default=1)), "default-changed", "widening"),
    (table(A), table(ColumnSpec("a", "integer", generated="1 + 1")), "generated-changed", "any"),
    (
        table(A, ColumnSpec("b", "long")),
        table(A, ColumnSpec("b", "long"), partition_by=["a"]),
        "partitioning-changed",
        "any",
    ),
    (table(A), table(A, primary_key=["a"]), "key-changed", "any"),
    (table(A), table(A, constraints=["a > 0"]), "constraint-added", "any"),
    (table(A, constraints=["a > 0"]), table(A), "constraint-dropped", "widening"),
    (table(A, constraints=["a > 0"]), table(A, constraints=["a > 1"]), "constraint-changed", "any"),
    (table(A), table(A, comment="new"), "metadata-changed", "strict"),
    (table(A), table(ColumnSpec("a", "integer", metadata={"pii": True})), "metadata-changed", "strict"),
    (table(A), table(A, properties={"x": "y"}), "metadata-changed", "strict"),
]


@pytest.mark.parametrize(("old", "new", "kind", "policy"), CASES)
def test_every_kind_of_difference(old, new, kind, policy):
    (entry,) = old.diff(new).entries
    assert (entry.kind, entry.policy) == (kind, policy)
    for index, each in enumerate(POLICIES):
        admitted = policy is not None and index >= POLICIES.index(policy)
        assert (old.diff(new, policy=each).kind == "compatible") == admitted
        assert ("refused" in old.diff(new, policy=each).report()) == (not admitted)


def test_nested_fields_one_by_one():
    old = table(
        ColumnSpec("s", "struct<a: integer, b: string>"), ColumnSpec("l", "array<struct<q: integer>>")
    )
    new = table(
        ColumnSpec("s", StructType((ColumnSpec("a", "long"), ColumnSpec("c", "date", default="2020-01-01")))),
        ColumnSpec("l", "array<struct<q: long, r: string>>"),
    )
    found = {(each.path, each.kind) for each in old.diff(new).entries}
    assert found == {
        ("s.a", "type-widened"),
        ("s.c", "column-added"),
        ("s.b", "column-dropped"),
        ("l.element.q", "type-widened"),
        ("l.element.r", "column-added"),
    }
    alignment = new.alignment(old, policy="any")
    assert [each.action for each in alignment.columns] == ["nested", "cast"]


def test_values_of_maps_one_by_one():
    old = table(ColumnSpec("m", "map<string, struct<a: integer, c: string>>"))
    new = table(ColumnSpec("m", "map<string, struct<b: date, a: long>>"))
    found = {(each.path, each.kind) for each in old.diff(new).entries}
    assert found == {
        ("m.value.a", "type-widened"),
        ("m.value.b", "column-added"),
        ("m.value.c", "column-dropped"),
    }
    rows = [{"m": [("k", {"a": 1, "c": "x"}), ("l", None)]}, {"m": None}, {"m": []}]
    aligned = apply_alignment(new.alignment(old, policy="any"), table_from_rows(rows, old), new)
    assert aligned.to_pylist() == [{"m": [("k", {"b": None, "a": 1}), ("l", None)]}, {"m": None}, {"m": []}]


@pytest.mark.parametrize("held", [ArrayType, lambda kind: MapType("string", kind)])
def test_fields_inside_lists_and_maps_keep_their_names(held):
    fields = (ColumnSpec("a", "integer", field_id=1), ColumnSpec("b", "long", field_id=2))
    old = table(ColumnSpec("m", held(StructType(fields))))
    new = table(ColumnSpec("m", held(StructType((replace(fields[0], name="z"), fields[1])))))
    assert [each.kind for each in old.diff(new).entries] == ["type-incompatible"]
    with pytest.raises(EvolutionError, match="keep their names"):
        new.alignment(old, policy="any")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("array<map<string, struct<a: long>>>", "array<map<string, struct<a: long, b: long>>>"),
        ("map<string, map<string, array<long>>>", "map<string, map<string, array<string>>>"),
        ("map<struct<a: long>, long>", "map<struct<a: long, b: long>, long>"),
        ("map<string, long>", "map<long, long>"),
    ],
)
def test_maps_that_cannot_be_put_together_anew(old, new):
    with pytest.raises(EvolutionError, match="type-incompatible"):
        table(ColumnSpec("m", new)).alignment(table(ColumnSpec("m", old)), policy="any")


STORED_OTHERWISE = [
    (pa.large_string(), "string", ["a", None]),
    (pa.string_view(), "string", ["a", None]),
    (pa.dictionary(pa.int8(), pa.string()), "string", ["a", None]),
    (pa.binary(2), "binary", [b"ab", None]),
    (pa.uint32(), "long", [2**32 - 1, None]),
    (pa.float16(), "float", [1.5, None]),
    (pa.date64(), "date", [dt.date(2020, 1, 1), None]),
    (pa.timestamp("s"), "timestamp_ntz", [dt.datetime(2020, 1, 1), None]),
    (pa.timestamp("us", "Asia/Tokyo"), "timestamp", [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None]),
    (pa.decimal256(38, 2), "decimal(38,2)", [Decimal("1.25"), None]),
    (pa.list_(pa.int8(), 2), "array<byte>", [[1, None], None]),
    (pa.large_list(pa.string_view()), "array<string>", [["a", None], None]),
    (pa.struct([("x", pa.large_string())]), "struct<x: string>", [{"x": "a"}, None]),
    (pa.map_(pa.string(), pa.uint8()), "map<string, short>", [[("a", 255)], None]),
]


@pytest.mark.parametrize(
    ("arrow", "kind", "values"), STORED_OTHERWISE, ids=[str(each[0]) for each in STORED_OTHERWISE]
)
def test_data_stored_otherwise_is_cast(arrow, kind, values):
    spec = table(ColumnSpec("a", kind), evolution="strict")
    data = pa.table({"a": pa.array(values, arrow)})
    alignment = spec.alignment(data.schema)
    assert [each.action for each in alignment.columns] == ["cast"]
    assert not alignment.is_identity
    aligned = apply_alignment(alignment, data, spec)
    assert aligned.schema == spec.to_arrow()
    assert aligned["a"].to_pylist() == values


def test_nanoseconds_are_not_cut():
    spec = table(ColumnSpec("a", "timestamp"))
    fine = pa.schema([("a", pa.timestamp("ns", "UTC"))])
    with pytest.raises(EvolutionError, match="needs policy"):
        spec.alignment(fine)
    alignment = spec.alignment(fine, policy="any")
    assert (alignment.columns[0].action, len(alignment.checks)) == ("checked", 1)
    for nested in (pa.list_(pa.timestamp("ns", "UTC")), pa.struct([("x", pa.timestamp("ns"))])):
        schema = pa.schema([("a", nested)])
        with pytest.raises(EvolutionError, match="would be cut"):
            TableSpec.from_arrow("t", schema).alignment(schema, policy="any")


def test_a_default_that_is_computed_may_be_null():
    old = table(A)
    new = table(A, ColumnSpec("b", "long", nullable=False, default=SqlExpression("nullif(1, 1)")))
    assert new.alignment(old).checks == ("CAST((nullif(1, 1)) AS BIGINT) IS NOT NULL",)
    assert ColumnSpec("b", "long", default=SqlExpression("null")).default is None


def test_a_column_recreated_under_its_name_is_another_column():
    old = table(ColumnSpec("a", "long", field_id=1))
    new = table(ColumnSpec("a", "long", field_id=2))
    assert {each.kind for each in old.diff(new).entries} == {"column-dropped", "column-added"}
    alignment = new.alignment(old, policy="any")
    assert (alignment.columns[0].action, alignment.extra) == ("null", ("a",))


def test_swapped_names_follow_their_ids():
    old = table(ColumnSpec("a", "long", field_id=1), ColumnSpec("b", "long", field_id=2))
    new = table(ColumnSpec("b", "long", field_id=1), ColumnSpec("a", "long", field_id=2))
    expressions = [each.expression for each in new.alignment(old, policy="any").columns]
    assert expressions == [Column("a"), Column("b")]


def test_checks_name_what_may_be_null():
    old = table(ColumnSpec("a", "long"), ColumnSpec("s", "struct<x: long>"))
    new = table(ColumnSpec("a", "long", nullable=False), ColumnSpec("s", "struct<x: long not null>"))
    alignment = new.alignment(old, policy="any")
    assert alignment.checks == ('"a" IS NOT NULL', '("s" IS NULL OR "s"[\'x\'] IS NOT NULL)')


def test_semantic_storage_decides_the_cast():
    old, new = table(ColumnSpec("a", "integer")), table(ColumnSpec("a", "long as OrderId"))
    expression = new.alignment(old, policy="widening").columns[0].expression
    assert expression == Cast(Column("a"), new.column("a").type)


def test_refusal_says_what_to_do():
    with pytest.raises(SpecError) as caught:
        table(A).alignment(table(ColumnSpec("a", "string"), ColumnSpec("b", "long")))
    message = str(caught.value)
    assert "string -> integer" in message
    assert 'needs policy "any"' in message
    assert caught.value.code == "spec-evolution-refused"
