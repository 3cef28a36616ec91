"""Mutations take the rows that their predicates are true for, whatever statistics and engine make of them."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from test_delta_io_pruning import (
    LONG,
    PARTITIONS,
    TYPES,
    VALUES,
    damaged,
    partition_text,
    predicates,
    rows_of,
    statistics_of,
    text_of,
    truth,
)

from delta_io import ConstraintError, MergeClause, PredicateError, Table, UnsupportedError
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

NEGATIVE_NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
ARROW = {
    "i": pa.int32(),
    "l": pa.int64(),
    "x": pa.float64(),
    "s": pa.string(),
    "d": pa.date32(),
    "t": pa.timestamp("us", "UTC"),
    "u": pa.timestamp("us"),
    "c": pa.decimal128(10, 2),
    "w": pa.decimal128(38, 10),
    "b": pa.bool_(),
    "n": pa.struct([("a", pa.int64())]),
}


def stored(row):
    """Return a row of the model as the table holds it."""
    return {**{name: each for name, each in row.items() if name != "n.a"}, "n": {"a": row.get("n.a")}}


def lay(folder, files, partition_by=(), **more):
    """Lay a table down: data files by pyarrow, the log by hand, with statistics as given."""
    kinds = [field(name, kind) for name, kind in TYPES.items()]
    Path(folder).mkdir(exist_ok=True)
    actions = [protocol("timestampNtz"), metadata(kinds, partition_by=list(partition_by), **more)]
    for index, (rows, stats) in enumerate(files):
        schema = pa.schema([(name, kind) for name, kind in ARROW.items() if name not in partition_by])
        data = pa.Table.from_pylist([stored(row) for row in rows], schema)
        path = Path(folder, f"{index}.parquet")
        pq.write_table(data, path)
        values = {name: partition_text(rows[0].get(name)) for name in partition_by}
        actions.append(add(path.name, stats=stats, partitionValues=values, size=path.stat().st_size))
    commit(Path(folder), 0, *actions)
    return Table(folder)


def plain(rows):
    return bag([{**dict.fromkeys(ARROW), **stored(row)} for row in rows])


def found(table):
    return bag(table.snapshot().to_reader().read_all())


MUTATIONS: list[str] = ["delete", "update", "replace", "merge"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_mutations_take_just_the_rows_that_a_predicate_is_true_for(data):
    names = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True))
    partition_by = [name for name in names if name in PARTITIONS and data.draw(st.booleans())]
    files = []
    for _ in range(data.draw(st.integers(1, 3))):
        rows = data.draw(st.lists(rows_of(names), min_size=1, max_size=3))
        for row in rows:
            row.update({name: None if rows[0][name] == "" else rows[0][name] for name in partition_by})
        files.append((rows, data.draw(damaged(statistics_of(rows)))))
    how = data.draw(st.sampled_from(MUTATIONS))
    node = data.draw(predicates(names))
    with tempfile.TemporaryDirectory() as folder:
        table = lay(folder, files, partition_by)
        before = [row for rows, _ in files for row in rows]
        assert bag(table.snapshot().to_reader(predicate=text_of(node)).read_all()) == plain(
            [row for row in before if truth(node, row)]
        )
        try:
            mutate(table, how, text_of(of_target(node) if how == "merge" else node))
        except UnsupportedError:  # statistics, or partitions, that deltalake would take for something else
            node = ("or",)  # which is true for no row
        assert found(table) == plain(expected(how, before, node)), (how, text_of(node))


def of_target(node):
    """Return a predicate about the target of a merge."""
    kind, *rest = node
    if kind in ("not", "and", "or"):
        return (kind, *map(of_target, rest))
    return (kind, "target." + rest[0], *rest[1:])


def mutate(table, how, predicate):
    schema = table.snapshot().schema
    if how == "delete":
        table.delete(predicate)
    elif how == "update":
        table.update({"l": "7"}, predicate)
    elif how == "replace":
        table.write(schema.empty_table(), mode="overwrite", predicate=predicate)
    else:
        gone = [MergeClause(action="delete", condition=predicate)]
        source = pa.table({"l": pa.array([], pa.int64())})
        table.merge(source, on="l", not_matched="ignore", not_matched_by_source=gone)


def expected(how, rows, node):
    if how == "update":
        return [{**row, "l": 7} if truth(node, row) else row for row in rows]
    return [row for row in rows if not truth(node, row)]


def written(folder, values, kind, name="v", **more):
    """Return a table with one file per list of values, written by deltalake."""
    for each in values:
        write_deltalake(folder, pa.table({name: pa.array(each, kind)}), mode="append", **more)
    return Table(folder)


def values_of(table):
    return table.snapshot().to_reader().read_all()["v"].to_pylist()


FLOATS = [[0.0, -0.0], [1.0, math.nan], [1.0, NEGATIVE_NAN], [6.0], [math.inf, -math.inf], [None]]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
@pytest.mark.parametrize(
    ("predicate", "taken"),
    [
        ("v > 5", [math.nan, NEGATIVE_NAN, 6.0, math.inf]),
        ("v < 5", [0.0, -0.0, 1.0, 1.0, -math.inf]),
        ("NOT v < 5", [math.nan, NEGATIVE_NAN, 6.0, math.inf]),
        ("v = 0", [0.0, -0.0]),
        ("v < 0", [-math.inf]),
        ("v IN (0.0, 6, 7, 8)", [0.0, -0.0, 6.0]),
        ("abs(v) + 0 > 5", [math.nan, NEGATIVE_NAN, 6.0, math.inf, -math.inf]),
        ("v + 0 < 5", [0.0, -0.0, 1.0, 1.0, -math.inf]),
        ("isnan(v)", [math.nan, NEGATIVE_NAN]),
    ],
)
def test_nan_is_above_every_number_and_zero_has_no_sign(tmp_path, kind, predicate, taken):
    table = written(tmp_path, FLOATS, kind)
    left = bag([{"v": each} for values in FLOATS for each in values])
    left.subtract(bag([{"v": each} for each in taken]))
    commit = table.delete(predicate)
    assert bag([{"v": each} for each in values_of(table)]) == +left
    assert commit.rows == len(taken)
    assert commit.rewritten is not None
    recorded = table.commit_info(commit.version).metadata
    assert recorded["delta_io.predicate"] == predicate
    assert recorded["delta_io.rewritten"] == commit.rewritten


def test_a_predicate_that_the_engine_answers_right_is_left_as_it_is(tmp_path):
    table = written(tmp_path, [[1, 2], [3]], pa.int64())
    commit = table.delete("v = 2")
    assert commit.rewritten is None
    info = table.commit_info(commit.version)
    assert (info.parameters["predicate"], "delta_io.predicate" in info.metadata) == ("v = 2", False)


@pytest.mark.parametrize(
    ("predicate", "left"),
    [
        ("v < NULL", [0, 1, 2, None]),
        ("v IN (0) AND v NOT IN (1, NULL)", [0, 1, 2, None]),
        ("NOT (v IN (0) AND v IN (1))", [None]),
        ("v NOT IN (0, 1) OR v NOT IN (2, 3)", [None]),
        ("v IN (0, 1, 2, 3, NULL)", [None]),
        ("v NOT IN (5, 6, 7, 8, NULL)", [0, 1, 2, None]),
        ("abs(v) < NULL", [0, 1, 2, None]),
        ("v + 1 < 2", [1, 2, None]),
    ],
)
def test_null_is_neither_true_nor_false(tmp_path, predicate, left):
    table = written(tmp_path, [[0, 1, 2, None]], pa.int64())
    table.delete(predicate)
    assert values_of(table) == left


def test_lists_that_cannot_be_told_apart_are_refused(tmp_path):
    table = written(tmp_path, [[0, 1, 2, None]], pa.int64())
    for predicate in ("abs(v) IN (0) AND abs(v) NOT IN (1, NULL)", "NOT (abs(v) IN (0) AND abs(v) IN (1))"):
        with pytest.raises(PredicateError, match="lists"):
            table.delete(predicate)
    assert values_of(table) == [0, 1, 2, None]


def test_texts_are_compared_beyond_what_their_statistics_were_cut_to(tmp_path):
    rows = [[{"s": LONG + "aab"}, {"s": LONG + "aac"}], [{"s": "b"}]]
    for index, predicate in enumerate([f"s = '{LONG}aab'", f"s LIKE '{LONG}aab%'", f"s || '' = '{LONG}aab'"]):
        table = lay(tmp_path / str(index), [(each, json.dumps(statistics_of(each))) for each in rows])
        commit = table.update({"l": "1"}, predicate)
        assert (commit.rows, commit.rewritten is None) == (1, False)


@pytest.mark.parametrize("predicate", ["s IS NOT NULL AND l = 1", "s < 'b' AND l = 1", "s <> 'b' AND l = 1"])
def test_rows_that_stay_are_not_replaced_by_what_their_statistics_were_cut_to(tmp_path, predicate):
    stats = {"numRecords": 2, "nullCount": {"s": 0, "l": 0}}
    stats |= {"minValues": {"s": LONG + "a", "l": 1}, "maxValues": {"s": LONG + "a", "l": 2}}
    table = lay(tmp_path, [([{"s": LONG + "ab", "l": 1}, {"s": LONG + "az", "l": 2}], json.dumps(stats))])
    rows = table.snapshot().to_reader(["s"], predicate).read_all()["s"].to_pylist()
    assert rows == [LONG + "ab"]
    assert table.delete(predicate).rows == 1
    assert table.snapshot().to_reader(["s"]).read_all()["s"].to_pylist() == [LONG + "az"]


@pytest.mark.parametrize("key", ["x", "s"])
def test_a_merge_finds_keys_whatever_statistics_say_of_them(tmp_path, key):
    keys = {"x": [math.nan, NEGATIVE_NAN, -0.0, 1.0], "s": [LONG + "aab", LONG + "z", "a", "b"]}[key]
    rows = [[{key: keys[0]}, {key: keys[2]}], [{key: None}]]
    table = lay(tmp_path, [(each, json.dumps(statistics_of(each))) for each in rows])
    new = [keys[1] if key == "x" else keys[0], 0.0 if key == "x" else keys[2], keys[3], None]
    source = pa.table({key: pa.array(new, ARROW[key]), "l": [1, 2, 3, 4]})
    commit = table.merge(source, on=key)
    assert sorted(table.snapshot().to_reader(["l"]).read_all()["l"].to_pylist()) == [1, 2, 3, 4]
    assert (commit.rows, table.snapshot().to_reader().read_all().num_rows) == (4, 4)


def test_conditions_of_a_merge_take_the_rows_that_they_are_true_for(tmp_path):
    rows = [{"l": 1, "x": NEGATIVE_NAN}, {"l": 2, "x": -0.0}, {"l": 3, "x": 1.0}, {"l": 4, "x": None}]
    table = lay(tmp_path, [(rows, json.dumps(statistics_of(rows)).replace("NaN", "null"))])
    source = pa.table({"l": [1, 2, 3, 4], "x": [0.0, 0.0, 0.0, 0.0]})
    clauses = [
        MergeClause(action="delete", condition="target.x > 5"),
        MergeClause(action="delete", condition="target.x = source.x"),
    ]
    commit = table.merge(source, on="l", matched=clauses, not_matched="ignore")
    assert commit.rewritten is not None
    assert sorted(table.snapshot().to_reader(["l"]).read_all()["l"].to_pylist()) == [3, 4]


def test_negative_partitions_with_a_fraction_are_refused_before_anything_is_written(tmp_path):
    spec = TableSpec("t", [ColumnSpec("l", "long"), ColumnSpec("c", "decimal(10,2)")], partition_by=["c"])
    table = Table.create(tmp_path / "t", spec)
    table.write(pa.table({"l": [1], "c": pa.array([Decimal("1.25")], ARROW["c"])}))
    data = pa.table({"l": [2], "c": pa.array([Decimal("-1.25")], ARROW["c"])})
    for way in (lambda: table.write(data), lambda: table.merge(data, on="l")):
        with pytest.raises(ConstraintError, match="negative"):
            way()
    with pytest.raises(UnsupportedError, match="expression"):
        table.update({"c": "-c"})
    assert table.snapshot().version == 1
    other = lay(tmp_path / "other", [([{"c": Decimal("-1.25")}], None)], ["c"])
    for way in (lambda: other.delete("l = 1"), other.optimize):
        with pytest.raises(UnsupportedError, match="negative"):
            way()
    assert other.snapshot().to_reader(["c"]).read_all()["c"].to_pylist() == [Decimal("-1.25")]


def test_empty_texts_of_partitions_are_null(tmp_path):
    rows = [[{"s": "a", "l": 1}], [{"s": "", "l": 2}], [{"s": None, "l": 3}]]
    table = lay(tmp_path, [(each, None) for each in rows], ["s"])
    text = (tmp_path / "_delta_log" / f"{0:020}.json").read_text().split("\n")
    made = [line.replace('"s": null', '"s": ""') if '"1.parquet"' in line else line for line in text]
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("\n".join(made))
    table = Table(tmp_path)
    assert table.delete("s <> 'b'").files_removed == 1
    assert sorted(table.snapshot().to_reader(["l"]).read_all()["l"].to_pylist()) == [2, 3]
    assert table.delete("s IS NULL").files_removed == 2


def taken(table, predicate):
    """Return the ids of the rows that a predicate is true for, which every way has to agree on."""
    start = table.snapshot().version
    read = {row["id"] for row in table.snapshot().to_reader(predicate=predicate).read_all().to_pylist()}
    everything = {row["id"] for row in table.snapshot().to_reader(["id"]).read_all().to_pylist()}
    empty = table.snapshot().schema.empty_table()
    for change in (
        lambda: table.delete(predicate),
        lambda: table.write(empty, mode="overwrite", predicate=predicate),
        lambda: table.update({"id": "id + 100"}, predicate),
    ):
        change()
        left = {row["id"] for row in table.snapshot().to_reader(["id"]).read_all().to_pylist()}
        assert everything - left == read, predicate
        if table.snapshot().version > start:
            table.restore(start)
            start = table.snapshot().version
    return read


NARROW = {
    "f = 0.1": set(),
    "f > 0.1": {1, 2, 3, 4},
    "f = 0.5": {2},
    "f IN (0.1, 0.5)": {2},
    "f = CAST(0.1 AS FLOAT)": {1},
    "f = 0.1 AND abs(id) = 1": set(),
    "abs(f) = 0.1": set(),
    "f + 0 = 0.5": {2},
    "abs(f) > 0.4": {2, 3},
    "f = id - 1.5": {2},
}


@pytest.mark.parametrize("predicate", NARROW)
def test_numbers_of_four_bytes_are_compared_as_of_eight(tmp_path, predicate):
    table = Table.create(tmp_path / "t", TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("f", "float")]))
    values = pa.array([0.1, 0.5, float("nan"), 0.3], pa.float32())
    table.write(pa.table({"id": [1, 2, 3, 4], "f": values}))
    assert taken(table, predicate) == NARROW[predicate]


BIG = "1234567890123456789012345678.5"
DECIMALS = {
    "d > 0.00000000001": {1, 2, 3},
    "d <> 0.00000000001": {1, 2, 3},
    "d BETWEEN 0.00000000001 AND 1": {2, 3},
    f"d = {BIG}": {1},
    f"d = {BIG} AND abs(id) > 0": {1},
    "d = 1234567890123456789012345679.5 AND abs(id) > 0": set(),
    "d = 0.1 AND abs(id) > 0": {3},
    "abs(d) = 0.1": {3},
    "d + 0.4 = 0.5 AND id > 1": {3},
}


@pytest.mark.parametrize("predicate", DECIMALS)
def test_decimals_are_exact_in_every_predicate(tmp_path, predicate):
    spec = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("d", "decimal(38,10)")])
    table = Table.create(tmp_path / "t", spec)
    values = [Decimal(BIG), Decimal("0.5"), Decimal("0.1")]
    if predicate.startswith("d + "):
        values[0] = Decimal(7)
    table.write(pa.Table.from_pylist([{"id": n, "d": v} for n, v in enumerate(values, 1)], spec.to_arrow()))
    assert taken(table, predicate) == DECIMALS[predicate]


def test_decimals_that_would_not_fit_are_told_as_such(tmp_path):
    columns = [ColumnSpec("id", "long"), ColumnSpec("d", "decimal(38,10)"), ColumnSpec("f", "double")]
    spec = TableSpec("t", columns)
    table = Table.create(tmp_path / "t", spec)
    table.write(pa.Table.from_pylist([{"id": 1, "d": Decimal(BIG), "f": 0.5}], spec.to_arrow()))
    for predicate in ("d > 0.00000000001 AND abs(id) > 0", "abs(d) > f"):
        for reach in (
            lambda predicate=predicate: table.snapshot().to_reader(predicate=predicate).read_all(),
            lambda predicate=predicate: table.delete(predicate),
        ):
            with pytest.raises(PredicateError):
                reach()
    assert table.snapshot().version == 1
