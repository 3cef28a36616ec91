"""Pruning never drops a file that holds a row wanted, whatever its statistics leave out or get wrong."""

from __future__ import annotations

import json
import math
import operator
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import LogError, PredicateError, Table
from delta_io.testing import bag

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = [EPOCH + timedelta(microseconds=each) for each in (-1, 0, 1, 123_456, 999_999, 86_400_000_001)]
LONG = "a" * 31
AT = "2024-01-01T00:00:00.123"
MANY = 12345678901234567890123456789
VALUES = {
    "i": [-(2**31), -1, 0, 7, 2**31 - 1],
    "l": [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1],
    "x": [-1.5, -0.0, 0.0, 2.5, math.inf, -math.inf, math.nan],
    "s": ["", "a", "é", "\U0001f600", LONG + "a", LONG + "az", LONG + "é→"],
    "d": [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)],
    "t": MOMENTS,
    "u": [each.replace(tzinfo=None) for each in MOMENTS],
    "c": [Decimal("-1.25"), Decimal("0.00"), Decimal("12345678.90")],
    "w": [
        Decimal("-123456789012345678901234567.8912345678"),
        Decimal("123456789012345678901234567.8912345679"),
    ],
    "b": [True, False],
    "n.a": [-1, 0, 5],
}
TYPES = {
    "i": "integer",
    "l": "long",
    "x": "double",
    "s": "string",
    "d": "date",
    "t": "timestamp",
    "u": "timestamp_ntz",
    "c": "decimal(10,2)",
    "w": "decimal(38,10)",
    "b": "boolean",
    "n": {"type": "struct", "fields": [field("a", "long")]},
}
COMPARE = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
PARTITIONS = ["i", "s", "d", "c", "b"]


def sql(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def told(value, high):
    """Return a value as statistics tell it: cut, rounded, as JSON."""
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str):
        return value[:32]
    return value


def statistics_of(rows):
    low, high, nulls = {}, {}, {}
    for name in rows[0]:
        known = [row[name] for row in rows if row[name] is not None]
        nulls[name] = len(rows) - len(known)
        ordered = sorted(each for each in known if not (isinstance(each, float) and math.isnan(each)))
        if ordered and told(ordered[0], False) is not None:
            low[name], high[name] = told(ordered[0], False), told(ordered[-1], True)
    parts = {"minValues": low, "maxValues": high, "nullCount": nulls}
    for part in parts.values():
        if "n.a" in part:
            part["n"] = {"a": part.pop("n.a")}
    return {"numRecords": len(rows), **parts}


def sorts(value):
    """Return a number that sorts as SQL does: NaN above everything."""
    return (
        isinstance(value, float) and math.isnan(value),
        0 if isinstance(value, float) and math.isnan(value) else value,
    )


def truth(node, row):
    """Evaluate a predicate by three-valued logic."""
    kind, *rest = node
    if kind == "not":
        inner = truth(rest[0], row)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        return either([truth(each, row) for each in rest], decisive=kind == "or")
    name, *more = rest
    if kind == "null":
        return row[name] is None
    if kind == "in":
        return either([truth(("=", name, each), row) for each in more[0]], decisive=True)
    if row[name] is None or more[0] is None:
        return None
    return COMPARE[kind](sorts(row[name]), sorts(more[0]))


def either(parts, *, decisive):
    """Return the decisive value if a part has it, else unknown if a part is, else the other."""
    return decisive if decisive in parts else None if None in parts else not decisive


def text_of(node):
    kind, *rest = node
    if kind == "not":
        return f"NOT ({text_of(rest[0])})"
    if kind in ("and", "or"):
        return "(" + f" {kind.upper()} ".join(map(text_of, rest)) + ")"
    name, *more = rest
    if kind == "null":
        return f"{name} IS NULL"
    if kind == "in":
        return f"{name} IN ({', '.join('NULL' if each is None else sql(each) for each in more[0])})"
    return f"{name} {kind} {'NULL' if more[0] is None else sql(more[0])}"


def literals(name):
    plain = [each for each in VALUES[name] if not (isinstance(each, float) and not math.isfinite(each))]
    return st.sampled_from([*plain, None])


def leaves(name):
    signs = st.sampled_from(sorted(COMPARE))
    return st.one_of(
        st.tuples(signs, st.just(name), literals(name)),
        st.tuples(signs, st.just(name), literals(name)),
        st.tuples(st.just("null"), st.just(name)),
        st.tuples(st.just("in"), st.just(name), st.lists(literals(name), min_size=1, max_size=3)),
    )


def predicates(names):
    return st.recursive(
        st.one_of([leaves(name) for name in names]),
        lambda inner: st.one_of(
            st.tuples(st.just("not"), inner),
            st.tuples(st.sampled_from(["and", "or"]), inner, inner),
        ),
        max_leaves=3,
    )


def rows_of(names):
    return st.fixed_dictionaries({name: st.sampled_from([*VALUES[name], None]) for name in names})


WRONG = st.sampled_from([None, "x", "NaN", 5, 1.5, True, [], {}, {"a": "x"}, 10**30])


@st.composite
def damaged(draw, statistics):
    """Leave something out of statistics, or write what is none; bounds that stay are right."""
    how = draw(st.sampled_from(["whole", "whole", "part", "column", "wrong", "cut", "nothing"]))
    if how == "nothing":
        return draw(st.sampled_from([None, "", "{}", "null", "[1]"]))
    if how == "cut":
        text = json.dumps(statistics)
        return text[: draw(st.integers(0, len(text)))]
    parts = sorted(part for part in statistics if part != "numRecords")
    if how == "part":
        del statistics[draw(st.sampled_from([*parts, "numRecords"]))]
    elif how in ("column", "wrong"):
        part = statistics[draw(st.sampled_from(parts))]
        name = draw(st.sampled_from(sorted(part) or ["i"]))
        if how == "column":
            part.pop(name, None)
        else:  # a value of a type that no writer would use for the column
            wrong = draw(WRONG)
            fits = isinstance(wrong, (int, float)) and not isinstance(wrong, bool)
            part[name] = "x" if fits or (name == "s" and isinstance(wrong, str)) else wrong
            if name == "s" and isinstance(part[name], str):
                part[name] = 5
    return json.dumps(statistics)


def make(folder, files, partition_by):
    """Write a log only: pruning opens no data file."""
    kinds = [field(name, kind) for name, kind in TYPES.items()]
    actions = [protocol("timestampNtz"), metadata(kinds, partition_by=partition_by)]
    for index, (rows, stats) in enumerate(files):
        values = {name: partition_text(rows[0][name]) for name in partition_by}
        actions.append(add(f"{index}.parquet", stats=stats, partitionValues=values))
    commit(folder, 0, *actions)


def partition_text(value):
    return (
        None
        if value is None or value == ""
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_no_file_with_a_row_wanted_is_dropped(data):
    names = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True))
    partition_by = [name for name in names if name in PARTITIONS and data.draw(st.booleans())]
    files = []
    for _ in range(data.draw(st.integers(1, 4))):
        rows = data.draw(st.lists(rows_of(names), min_size=1, max_size=3))
        for row in rows:
            row.update({name: None if rows[0][name] == "" else rows[0][name] for name in partition_by})
        files.append((rows, data.draw(damaged(statistics_of(rows)))))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), files, partition_by)
        snapshot = Table(folder).snapshot()
        for node in data.draw(st.lists(predicates(names), min_size=1, max_size=4)):
            index = snapshot.files(text_of(node))
            kept = set(index.to_arrow()["path"].to_pylist())
            for number, (rows, _) in enumerate(files):
                if any(truth(node, row) for row in rows):
                    assert f"{number}.parquet" in kept, (text_of(node), rows)
            assert index.candidates + sum(index.reasons.values()) == index.total == len(files)


def one_file(folder, kind, stats, **more):
    commit(
        folder,
        0,
        protocol("timestampNtz"),
        metadata([field("v", kind)]),
        add("a.parquet", stats=stats, **more),
    )
    return Table(folder).snapshot()


@pytest.mark.parametrize(
    ("kind", "bounds", "kept", "dropped"),
    [
        ("long", (5, 9), "v = 7", "v = 10"),
        ("long", (5, 9), "v <> 5", "v < 5"),
        ("integer", (5, 5), "v >= 5", "v <> 5"),
        ("double", (5.5, 9), "v > 100", "v < 5"),  # a NaN, which statistics leave out, is above 100
        ("double", (0.0, 1.0), "v < 0.5", "v <= -0.5"),
        ("string", ("b", "d"), "v = 'c'", "v > 'd'"),
        ("string", (LONG + "a", LONG + "b"), f"v = '{LONG}bzzz'", "v = 'b'"),
        ("date", ("2024-01-01", "2024-12-31"), "v = DATE '2024-06-01'", "v > DATE '2024-12-31'"),
        ("timestamp", (f"{AT}Z", f"{AT}Z"), f"v = TIMESTAMP '{AT}999Z'", f"v > TIMESTAMP '{AT[:-1]}4Z'"),
        ("timestamp_ntz", (AT, AT), f"v = TIMESTAMP '{AT}999'", f"v < TIMESTAMP '{AT}'"),
        ("decimal(10,2)", (1.25, 7.5), "v = 7.50", "v > 7.5"),
        ("decimal(38,0)", (MANY, MANY), f"v = {MANY}", f"v < {MANY - 10**15}"),
        ({"type": "struct", "fields": [field("a", "long")]}, ({"a": 1}, {"a": 3}), "v.a = 2", "v['a'] > 3"),
    ],
)
def test_bounds_of_every_type_keep_and_drop(tmp_path, kind, bounds, kept, dropped):
    low, high = bounds
    nulls = {"a": 0} if isinstance(low, dict) else 0
    stats = {"numRecords": 2, "minValues": {"v": low}, "maxValues": {"v": high}, "nullCount": {"v": nulls}}
    snapshot = one_file(tmp_path, kind, stats)
    assert snapshot.files(kept).candidates == 1
    assert dict(snapshot.files(dropped).reasons) == {"statistics": 1}


def test_null_counts_keep_and_drop(tmp_path):
    snapshot = one_file(tmp_path, "long", {"numRecords": 3, "nullCount": {"v": 3}})
    assert [
        snapshot.files(each).candidates for each in ("v IS NULL", "v IS NOT NULL", "v = 1", "NOT v = 1")
    ] == [1, 0, 0, 0]


def test_predicates_over_fields_of_structs_read_and_prune(tmp_path):
    inner = pa.struct([("a", pa.int64()), ("b", pa.struct([("c", pa.string())]))])
    rows = [{"n": {"a": 1, "b": {"c": "x"}}}, {"n": {"a": 2, "b": None}}, {"n": None}]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("n", inner)])), tmp_path / "a.parquet")
    deep = {"type": "struct", "fields": [field("c", "string")]}
    kind = {"type": "struct", "fields": [field("a", "long"), field("b", deep)]}
    commit(tmp_path, 0, protocol(), metadata([field("n", kind)]), add("a.parquet"))
    table = Table(tmp_path)
    for predicate, found in {
        "n.a >= 2": rows[1:2],
        "n['b']['c'] = 'x'": rows[:1],
        "n.b.c IS NULL": rows[1:],
    }.items():
        assert table.snapshot().files(predicate).candidates == 1
        assert bag(table.changes(-1, predicate=predicate).weighted().read_all()) == bag(found)
        assert bag(table.snapshot().to_reader(predicate=predicate).read_all()) == bag(found)
    with pytest.raises(PredicateError, match="no field"):
        table.snapshot().files("n.z = 1")


@pytest.mark.parametrize(
    "text", ["v = 1e60", "v = 1e-60", "v = 123456789012345678901234567890123456789", "v = 'x'"]
)
def test_values_beyond_a_column_are_refused_as_predicates(tmp_path, text):
    with pytest.raises(PredicateError):
        one_file(tmp_path, "decimal(38,10)", None).files(text)


def test_a_second_predicate_costs_no_second_look_and_says_the_same(tmp_path):
    snapshot = one_file(tmp_path, "long", {"numRecords": 1, "minValues": {"v": 1}, "maxValues": {"v": 1}})
    first = snapshot.files("v = 2").candidates
    actions = snapshot.add_actions()
    assert (first, snapshot.files("v = 2").candidates, snapshot.files("v = 1").to_arrow()) == (0, 0, actions)


def test_logs_and_statistics_read_in_many_pieces_say_the_same(tmp_path):
    """A commit of some megabytes, many small ones, and statistics of which a few are damaged."""
    files, small = 9_000, 300
    damaged = {5: "{", 4_100: "[]", 8_999: "null"}

    def added(number):
        bounds = {"id": number * 10, "name": "n" * 100}
        stats = {
            "numRecords": 10,
            "minValues": bounds,
            "maxValues": {**bounds, "id": number * 10 + 9},
            "nullCount": {"id": 0},
        }
        return add(f"{number}.parquet", stats=damaged.get(number, stats))

    commit(tmp_path, 0, protocol(), metadata([field("id", "long"), field("name", "string")]))
    commit(tmp_path, 1, *map(added, range(files)))
    for each in range(small):
        commit(tmp_path, 2 + each, remove(f"{each}.parquet"), added(files + each))
    late = 2 + small
    commit(tmp_path, late, metadata([field("id", "long"), field("name", "string"), field("more", "long")]))
    snapshot = Table(tmp_path).snapshot()
    assert snapshot.schema.names == ["id", "name", "more"]
    live = [f"{each}.parquet" for each in range(small, files + small)]
    assert snapshot.add_actions()["path"].to_pylist() == live
    unknown = [f"{each}.parquet" for each in damaged if each >= small]
    found = snapshot.files("id = 50000").to_arrow()
    records = {each["path"]: each["num_records"] for each in found.to_pylist()}
    assert records == {"5000.parquet": 10, **dict.fromkeys(unknown)}


def test_a_line_that_is_no_object_in_a_long_commit_is_refused(tmp_path):
    """Arrow's reader of JSON would end the process."""
    commit(tmp_path, 0, protocol(), metadata([field("id", "long")]))
    commit(tmp_path, 1, *(add(f"{each}.parquet") for each in range(9_000)))
    path = tmp_path / "_delta_log" / f"{1:020}.json"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:8_000], "[1]", *lines[8_000:]]))
    with pytest.raises(LogError, match="no JSON object"):
        Table(tmp_path)
    path.write_text("\n".join([*lines[:8_000], "", "", *lines[8_000:]]) + "\n\n")
    assert Table(tmp_path).snapshot().files().total == 9_000
