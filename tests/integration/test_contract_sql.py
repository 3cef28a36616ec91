"""The SQL that a contract writes does in our engine what the contract says."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from df_runtime import DfRuntimeError, Session, SessionFactory
from schema_spec import (
    AcceptedValues,
    Alignment,
    Check,
    ColumnSpec,
    Range,
    StructType,
    TableSpec,
    violations_sql,
)
from schema_spec.policies import POLICIES
from schema_spec.testing import apply_alignment, evolutions, specs, tables

examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
plain_specs = specs(variant=False, table_fields=False)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with SessionFactory().open() as opened:
        yield opened


def run(session: Session, table: pa.Table, sql: str) -> pa.Table:
    session.register("data", table)
    return session.sql(sql).to_arrow()


def plain(table: pa.Table) -> list[str]:
    return [repr(row) for row in table.to_pylist()]


@examples
@given(st.data(), st.sampled_from(POLICIES))
def test_select_sql_reads_what_the_alignment_means(session, data, policy):
    old = data.draw(plain_specs)
    new = data.draw(evolutions(old, policy))
    table = data.draw(tables(old))
    alignment = new.alignment(table.schema)
    try:
        expected = plain(apply_alignment(alignment, table, new))
    except (ValueError, OverflowError, ArithmeticError, TypeError):
        assert is_refused(session, table, alignment)
    else:
        assert plain(run(session, table, alignment.select_sql("data"))) == expected


def is_refused(session: Session, table: pa.Table, alignment: Alignment) -> bool:
    """Whether a check of the alignment finds a row, or the query itself fails."""
    broken = " OR ".join(f"NOT {check}" for check in alignment.checks) or "FALSE"
    try:
        found = run(session, table, f"SELECT 1 FROM data WHERE {broken}").num_rows
        run(session, table, alignment.select_sql("data"))
    except (DfRuntimeError, pa.ArrowInvalid):
        return True
    return found > 0


MAPS = TableSpec(
    "old",
    [
        ColumnSpec("m", "map<string, struct<a: integer, c: string>>"),
        ColumnSpec("s", "struct<m: map<integer, array<struct<a: integer>>>>"),
        ColumnSpec("t", "array<struct<a: integer, b: array<struct<c: float>>>>"),
    ],
)
GROWN = TableSpec(
    "new",
    [
        ColumnSpec("m", "map<string, struct<b: date, a: long>>"),
        ColumnSpec("s", "struct<m: map<long, array<struct<a: long, b: string>>>>"),
        ColumnSpec("t", "array<struct<z: string, b: array<struct<d: long, c: double>>, a: long>>"),
    ],
)


@examples
@given(st.data())
def test_fields_inside_lists_and_maps_are_added_dropped_and_widened(session, data):
    table = data.draw(tables(MAPS))
    alignment = GROWN.alignment(table.schema, policy="any")
    expected = plain(apply_alignment(alignment, table, GROWN))
    assert plain(run(session, table, alignment.select_sql("data"))) == expected


STORED_OTHERWISE = pa.schema(
    [
        ("u", pa.uint32()),
        ("s", pa.large_string()),
        ("v", pa.string_view()),
        ("d", pa.dictionary(pa.int8(), pa.string())),
        ("b", pa.binary(2)),
        ("t", pa.timestamp("ms", "Asia/Tokyo")),
        ("l", pa.large_list(pa.int8())),
        ("f", pa.list_(pa.int16(), 1)),
        ("x", pa.struct([("y", pa.large_string())])),
    ]
)


def test_data_stored_otherwise_becomes_what_the_contract_stores(session):
    row = {
        "u": 2**32 - 1,
        "s": "s",
        "v": "v",
        "d": "d",
        "b": b"ab",
        "t": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        "l": [1, None],
        "f": [3],
        "x": {"y": "z"},
    }
    table = pa.Table.from_pylist([row, dict.fromkeys(row)], STORED_OTHERWISE)
    spec = TableSpec.from_arrow("plain", STORED_OTHERWISE)
    found = run(session, table, spec.alignment(table.schema, policy="strict").select_sql("data"))
    assert found.schema.types == spec.to_arrow().types
    assert found.to_pylist() == [row, dict.fromkeys(row)]


def test_nanoseconds_are_counted(session):
    spec = TableSpec("t", [ColumnSpec("a", "timestamp")])
    for nanoseconds, refused in ((1000, False), (1001, True)):
        table = pa.table({"a": pa.array([None, nanoseconds], pa.timestamp("ns", "UTC"))})
        alignment = spec.alignment(table.schema, policy="any")
        assert is_refused(session, table, alignment) == refused


STRICT = TableSpec(
    "audited",
    [
        ColumnSpec("id", "long", nullable=False),
        ColumnSpec("part", "string"),
        ColumnSpec("amount", "decimal(9,2)"),
        ColumnSpec("day", "date"),
        ColumnSpec("it", "struct<x: long not null, y: struct<z: string not null>>"),
    ],
    primary_key=["id", "part"],
    constraints=[
        Check("odd", "id % 2 = 1"),
        Range("cheap", "amount", minimum="-1.50", maximum="10"),
        Range("recent", "day", minimum="2020-01-01"),
        AcceptedValues("parts", "part", ["a", "b", "o'c"]),
    ],
)
LOOSE = TableSpec.from_arrow(
    "audited",
    pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("part", pa.string()),
            pa.field("amount", pa.decimal128(9, 2)),
            pa.field("day", pa.date32()),
            pa.field("it", pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))])),
        ]
    ),
)
FEW = {
    "id": st.none() | st.integers(0, 3),
    "part": st.none() | st.sampled_from(["a", "b", "o'c", "d"]),
    "amount": st.none() | st.decimals("-2", "11", places=2),
    "day": st.none() | st.dates(dt.date(2019, 12, 30), dt.date(2020, 1, 3)),
    "it": st.none()
    | st.fixed_dictionaries(
        {
            "x": st.none() | st.just(1),
            "y": st.none() | st.fixed_dictionaries({"z": st.none() | st.just("z")}),
        }
    ),
}


def broken_rules(rows: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """Audit rows the slow way: rule, subject and row of each violation."""
    copies = Counter((row["id"], row["part"]) for row in rows)
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        inner = row["it"]
        middle = inner and inner["y"]
        rules = {
            ("not-null", "id"): row["id"] is None,
            ("not-null", "it.x"): inner is not None and inner["x"] is None,
            ("not-null", "it.y.z"): bool(middle) and middle["z"] is None,
            ("unique-key", "id, part"): copies[row["id"], row["part"]] > 1,
            ("check", "odd"): row["id"] is None or row["id"] % 2 != 1,
            ("range", "cheap"): row["amount"] is not None and not -1.5 <= row["amount"] <= 10,
            ("range", "recent"): row["day"] is not None and row["day"] < dt.date(2020, 1, 1),
            ("accepted-values", "parts"): row["part"] == "d",
        }
        found.update((*rule, repr(row)) for rule, broken in rules.items() if broken)
    return found


@examples
@given(st.lists(st.fixed_dictionaries(FEW), max_size=8))
def test_violations_sql_finds_each_broken_rule(session, rows):
    table = pa.Table.from_pylist(rows, LOOSE.to_arrow())
    audit = run(session, table, violations_sql(STRICT, "data")).to_pylist()
    found = Counter((row.pop("_rule"), row.pop("_subject"), repr(row)) for row in audit)
    assert found == broken_rules(table.to_pylist())


HELD = TableSpec(
    "held",
    [
        ColumnSpec("lines", "array<struct<sku: string not null, sizes: array<long not null>>>"),
        ColumnSpec("days", "map<string, struct<n: long not null>>"),
    ],
)
HELD_LOOSELY = TableSpec(
    "held",
    [
        ColumnSpec("lines", "array<struct<sku: string, sizes: array<long>>>"),
        ColumnSpec("days", "map<string, struct<n: long>>"),
    ],
)


def nulls_held(row: dict[str, Any]) -> Iterator[str]:
    """List what is null inside lists and maps and must not be, the slow way."""
    for line in row["lines"] or ():
        if line is not None:
            yield from ["lines.element.sku"] if line["sku"] is None else []
            yield from ("lines.element.sizes.element" for size in line["sizes"] or () if size is None)
    yield from ("days.value.n" for _, day in row["days"] or () if day is not None and day["n"] is None)


@examples
@given(st.data())
def test_violations_sql_looks_into_lists_and_maps(session, data):
    table = data.draw(tables(HELD_LOOSELY))
    audit = run(session, table, violations_sql(HELD, "data")).to_pylist()
    expected = Counter((path, repr(row)) for row in table.to_pylist() for path in nulls_held(row))
    names = HELD.column_names
    found = Counter((row["_subject"], repr({name: row[name] for name in names})) for row in audit)
    assert found == expected


NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("kind", "rule", "good", "bad"),
    [
        ("timestamp", Range("r", "s.a", NOON, "9999-12-31T00:00:00Z"), NOON, NOON - dt.timedelta(0, 0, 1)),
        ("timestamp", Range("r", "s.a", maximum=NOON), NOON.replace(year=1), NOON.replace(year=9999)),
        (
            "timestamp_ntz",
            AcceptedValues("r", "s.a", ["2020-01-01"]),
            NOON.replace(tzinfo=None, hour=0),
            NOON,
        ),
        ("double", Range("r", "s.a", 0, 1), 0.5, float("nan")),
        ("string", AcceptedValues("r", "s.a", ["it's", '"']), "it's", "its"),
        ("binary", Range("r", "s.a", b"\x10", b"\xff"), b"\x20'", b"\x01"),
        ("boolean", AcceptedValues("r", "s.a", [True]), True, False),
    ],
)
def test_rules_over_fields_of_structs(session, kind, rule, good, bad):
    spec = TableSpec("t", [ColumnSpec("s", StructType((ColumnSpec("a", kind),)))], constraints=[rule])
    rows = [{"s": {"a": good}}, {"s": None}, {"s": {"a": None}}, {"s": {"a": bad}}]
    table = pa.Table.from_pylist(rows, spec.to_arrow())
    found = run(session, table, violations_sql(spec, "data"))["s"]
    assert repr(found.to_pylist()) == repr([table["s"][3].as_py()])


@examples
@given(st.data())
def test_data_of_a_contract_breaks_no_rule_of_its_types(session, data):
    spec = data.draw(plain_specs)
    table = data.draw(tables(spec))
    bare = replace(spec, constraints=(), primary_key=())
    assert run(session, table, violations_sql(bare, "data")).num_rows == 0
