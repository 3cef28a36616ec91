"""Rows against contracts: what `violations_sql` finds, in DuckDB."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from msgspec.structs import replace

from schema_spec import (
    AcceptedValues,
    ColumnSpec,
    Range,
    SpecError,
    StructType,
    TableSpec,
    violations_sql,
)

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


COUNTS = "map<string, long not null>"
HELD = TableSpec(
    "held",
    [
        ColumnSpec("id", "long"),
        ColumnSpec("tags", "array<string not null>"),
        ColumnSpec("lines", "array<struct<sku: string not null, sizes: array<long not null>>>"),
        ColumnSpec("by_day", "map<string, struct<n: long not null>>"),
        ColumnSpec("counts", COUNTS),
        ColumnSpec(
            "it", "struct<`a'b`: array<array<long not null>>, m: map<long, map<long, long not null>>>"
        ),
        ColumnSpec("_item", "long"),
    ],
)
IN_IT = ["it.a'b.element.element", "it.m.value.value"]
HELD_ROWS = [
    ({"tags": ["a", None, None]}, ["tags.element", "tags.element"]),
    ({"tags": ["a"], "lines": [None, {"sku": "x", "sizes": None}]}, []),
    ({"lines": [{"sku": None, "sizes": [1, None]}]}, ["lines.element.sizes.element", "lines.element.sku"]),
    ({"by_day": [("a", None), ("b", {"n": 1})]}, []),
    ({"by_day": [("a", {"n": None})]}, ["by_day.value.n"]),
    ({"counts": [("a", None)]}, ["counts.value"]),
    (
        {"it": {"a'b": [[1], None, [None]], "m": [(1, [(2, None)])]}},
        ["it.a'b.element.element", "it.m.value.value"],
    ),
    ({"it": {"a'b": None, "m": []}, "tags": [], "lines": [], "counts": []}, []),
]


@pytest.mark.parametrize(("row", "found"), HELD_ROWS, ids=range(len(HELD_ROWS)))
def test_nulls_inside_lists_and_maps(row, found):
    loose = pa.schema([pa.field(each.name, loosened(each.type)) for each in HELD.to_arrow()])
    table = pa.Table.from_pylist([dict.fromkeys(HELD.column_names), {"id": 1} | row], loose)
    with duckdb.connect() as connection:
        connection.register("held", table)
        rows = connection.execute(violations_sql(HELD)).fetchall()
    assert sorted(each[1] for each in rows) == found
    assert {each[:1] for each in rows} <= {("not-null",)}
    assert {each[2] for each in rows} <= {1}


def loosened(arrow: Any) -> pa.DataType:
    """Return a type in which everything may be null."""
    if pa.types.is_list(arrow):
        return pa.list_(loosened(arrow.value_type))
    if pa.types.is_map(arrow):
        return pa.map_(loosened(arrow.key_type), loosened(arrow.item_type))
    if pa.types.is_struct(arrow):
        return pa.struct([(each.name, loosened(each.type)) for each in arrow.fields])
    return arrow


MOMENT = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
QUOTES = ["it's", '"', "\\n", ""]
TYPED = [
    ("double", Range("r", "a", 0, 10), [0.0, 10.0, None], [float("nan"), -0.1, float("inf")]),
    ("double", Range("r", "a", minimum=0), [float("nan"), 0.0, -0.0], [-0.1, float("-inf")]),
    ("double", AcceptedValues("r", "a", ["NaN", 1.5]), [float("nan"), 1.5, None], [2.0]),
    ("string", Range("r", "a", "a'b", "a'd"), ["a'c", None], ["a'e", ""]),
    (
        "string",
        AcceptedValues("r", "a", ["it's", '"', "\\n", ""]),
        ["it's", '"', "\\n", "", None],
        ["its", "\n"],
    ),
    ("binary", AcceptedValues("r", "a", [b"\xff'", b""]), [b"\xff'", b"", None], [b"x"]),
    ("boolean", AcceptedValues("r", "a", [True]), [True, None], [False]),
    ("long", Range("r", "a", minimum=-(2**63), maximum=2**63 - 2), [-(2**63), None], [2**63 - 1]),
    ("decimal(38,2)", Range("r", "a", maximum="0.01"), [Decimal("0.01"), None], [Decimal("0.02")]),
    ("date", AcceptedValues("r", "a", ["2020-02-29"]), [dt.date(2020, 2, 29), None], [dt.date(2020, 3, 1)]),
    ("timestamp", Range("r", "a", "2020-01-01T00:00:00Z"), [MOMENT, None], [MOMENT - dt.timedelta(0, 0, 1)]),
    (
        "timestamp_ntz",
        AcceptedValues("r", "a", ["2020-01-01T00:00:00"]),
        [MOMENT.replace(tzinfo=None), None],
        [MOMENT.replace(tzinfo=None, hour=1)],
    ),
]


@pytest.mark.parametrize(("kind", "rule", "good", "bad"), TYPED, ids=range(len(TYPED)))
@pytest.mark.parametrize("place", ["a", "s.a"])
def test_rules_over_every_type(kind, rule, good, bad, place):
    inner = ColumnSpec("a", kind)
    column = inner if place == "a" else ColumnSpec("s", StructType((inner,)))
    spec = TableSpec("typed", [column], constraints=[replace(rule, column=place)])
    assert TableSpec.from_delta(spec.to_delta()) == spec
    for values, broken in ((good, 0), (bad, len(bad))):
        rows = [{"a": each} if place == "a" else {"s": {"a": each}} for each in values]
        with duckdb.connect() as connection:
            connection.register("typed", pa.Table.from_pylist(rows, spec.to_arrow()))
            found = connection.execute(f"SELECT count(*) FROM ({violations_sql(spec)})").fetchone()
        assert found == (broken,)


@pytest.mark.parametrize(
    "sql", ["a > 0) OR (1 = 1", "a > 0; DROP TABLE t", "(a > 0", "a = 'x", "a > 0 /* x", '"a > 0']
)
def test_a_check_is_one_expression(sql):
    with pytest.raises(SpecError, match="not one SQL expression"):
        violations_sql(TableSpec("t", [ColumnSpec("a", "long")], constraints=[sql]))


def test_checks_with_comments_and_quotes():
    checks = ["a > 0 -- :)", "a > -5 /* ( */", "'(;' <> ')'"]
    spec = TableSpec("t", [ColumnSpec("a", "long")], constraints=checks)
    with duckdb.connect() as connection:
        connection.register("t", pa.table({"a": [0, 1]}))
        assert [row[:2] for row in connection.execute(violations_sql(spec)).fetchall()] == [
            ("check", "check_1")
        ]


def test_keys_of_several_columns_with_nulls_and_zeros():
    spec = TableSpec("t", [ColumnSpec("a", "double"), ColumnSpec("b", "string")], primary_key=["b", "a"])
    rows = [(0.0, None), (-0.0, None), (0.0, "x"), (float("nan"), "x"), (float("nan"), "x"), (None, "y")]
    with duckdb.connect() as connection:
        connection.register("t", pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]}))
        found = connection.execute(violations_sql(spec)).fetchall()
    assert {row[:2] for row in found} == {("unique-key", "b, a")}
    assert len(found) == 4


def test_a_table_without_columns_has_no_violations():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (x INT)")
        assert connection.execute(violations_sql(TableSpec("t", []))).fetchall() == []


def test_audit_avoids_the_tables_own_names():
    spec = TableSpec("t", [ColumnSpec("_rule", "long", nullable=False)])
    assert '"__rule"' in violations_sql(spec)
