"""Merges do what their clauses say, for rows that match, rows that do not, and null keys."""

from __future__ import annotations

import tempfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import (
    CdfPolicy,
    ConstraintError,
    MergeClause,
    OptionError,
    PredicateError,
    SchemaMismatchError,
    Table,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("n", "long"), ColumnSpec("v", "string")])
SOURCE = pa.schema([("id", pa.int64()), ("n", pa.int64()), ("v", pa.string()), ("op", pa.string())])
# Conditions, and what they say of a target row and a source row; None is unknown.
BOTH = {
    None: lambda t, s: True,
    "source.n > target.n": lambda t, s: None if None in (s["n"], t["n"]) else s["n"] > t["n"],
    "source.op = 'd'": lambda t, s: None if s["op"] is None else s["op"] == "d",
    "target.v IS NULL": lambda t, s: t["v"] is None,
}
OF_SOURCE = {
    None: lambda s: True,
    "source.op = 'i'": lambda s: None if s["op"] is None else s["op"] == "i",
    "source.n >= 1": lambda s: None if s["n"] is None else s["n"] >= 1,
}
OF_TARGET = {
    None: lambda t: True,
    "target.n < 2": lambda t: None if t["n"] is None else t["n"] < 2,
    "target.v = 'x'": lambda t: None if t["v"] is None else t["v"] == "x",
}
UPDATES = {
    "n": ("coalesce(target.n, 0) + 10", lambda t: (t["n"] or 0) + 10),
    "v": ("'gone'", lambda t: "gone"),
}


def clauses(conditions, actions):
    """Draw clauses as (action, condition); only the last one may be without a condition."""
    one = st.tuples(st.sampled_from(actions), st.sampled_from([each for each in conditions if each]))
    last = st.lists(st.tuples(st.sampled_from(actions), st.none()), max_size=1)
    return st.tuples(st.lists(one, max_size=2), last).map(lambda parts: [*parts[0], *parts[1]])


ROW = {
    "id": st.sampled_from([None, 0, 1, 2, 3]),
    "n": st.sampled_from([None, 0, 1, 2]),
    "v": st.sampled_from([None, "x"]),
}
TARGETS = st.lists(st.fixed_dictionaries(ROW), max_size=5)
SOURCES = st.lists(
    st.fixed_dictionaries({**ROW, "op": st.sampled_from([None, "d", "i"])}),
    max_size=4,
    unique_by=lambda row: row["id"],
)


def first(chosen, conditions, *rows):
    """Return the action of the first clause whose condition is true."""
    return next((action for action, condition in chosen if conditions[condition](*rows) is True), None)


def model(target, source, rules):
    by_key, left = {row["id"]: row for row in source}, []
    for row in target:
        match = by_key.get(row["id"])
        if match is None:
            action = first(rules["not_matched_by_source"], OF_TARGET, row)
            fresh = {name: value(row) for name, (_, value) in UPDATES.items()}
        else:
            action = first(rules["matched"], BOTH, row, match)
            fresh = {"n": match["n"], "v": match["v"]}
        if action != "delete":
            left.append(row if action is None else {**row, **fresh})
    keys = {row["id"] for row in target}
    new = [row for row in source if row["id"] not in keys and first(rules["not_matched"], OF_SOURCE, row)]
    return left + [{name: row[name] for name in ("id", "n", "v")} for row in new]


@given(
    target=TARGETS,
    source=SOURCES,
    cdf=st.booleans(),
    halves=st.booleans(),
    matched=clauses(BOTH, ["update", "delete"]),
    not_matched=clauses(OF_SOURCE, ["insert"]),
    not_matched_by_source=clauses(OF_TARGET, ["update", "delete"]),
)
@settings(max_examples=60, deadline=None)
def test_merges_equal_the_model(**case):
    target, source = case["target"], case["source"]
    rules = {name: case[name] for name in ("matched", "not_matched", "not_matched_by_source")}
    given_clauses = {
        name: [
            MergeClause(
                action=action,
                condition=condition,
                values={key: sql for key, (sql, _) in UPDATES.items()}
                if name == "not_matched_by_source" and action == "update"
                else {"n": "source.n", "v": "source.v"}
                if action == "update"
                else None,
            )
            for action, condition in chosen
        ]
        for name, chosen in rules.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        table = Table.create(folder + "/t", SPEC, policy=WritePolicy(cdf=CdfPolicy(enabled=case["cdf"])))
        middle = len(target) // 2 if case["halves"] else 0
        for part in (target[:middle], target[middle:]):
            table.write(pa.Table.from_pylist(part, SPEC.to_arrow()))
        before = table.snapshot().version
        table.merge(
            pa.Table.from_pylist(source, SOURCE),
            on="id",
            condition="source.op IS NULL OR true",
            **given_clauses,
        )
        expected = bag(model(target, source, rules))
        assert bag(table.snapshot().to_reader().read_all()) == expected
        expected.subtract(bag(target))
        net = {row: count for row, count in expected.items() if count}
        assert bag(table.changes(before).weighted().read_all()) == net


def rows(*ids, v="new"):
    return pa.table({"id": pa.array(ids, pa.int64()), "v": [v] * len(ids)})


def test_slowly_changing_dimensions_keep_their_history(tmp_path):
    spec = TableSpec(
        "d",
        [
            ColumnSpec("id", "long"),
            ColumnSpec("city", "string"),
            ColumnSpec("since", "long"),
            ColumnSpec("until", "long"),
            ColumnSpec("current", "boolean", default=True),
        ],
    )
    table = Table.create(tmp_path, spec)
    table.write(pa.table({"id": [1, 2, 3], "city": ["a", "b", "c"], "since": [0, 0, 0]}))
    news = pa.table({"id": [1, 2, 4], "city": ["a", "z", "n"], "at": [7, 7, 7]})
    close = MergeClause(
        action="update",
        condition="source.city <> target.city",
        values={"until": "source.at", "current": "false"},
    )
    table.merge(news, on="id", condition="target.current", matched=[close], not_matched="ignore")
    fresh = MergeClause(
        action="insert", values={"id": "source.id", "city": "source.city", "since": "source.at"}
    )
    table.merge(news, on="id", condition="target.current", matched="ignore", not_matched=[fresh])
    found = sorted(tuple(row.values()) for row in table.snapshot().to_reader().read_all().to_pylist())
    assert found == sorted(
        [
            (1, "a", 0, None, True),
            (2, "b", 0, 7, False),
            (2, "z", 7, None, True),
            (3, "c", 0, None, True),
            (4, "n", 7, None, True),
        ],
        key=str,
    )


def test_keys_of_several_columns(tmp_path):
    spec = TableSpec("t", [ColumnSpec("a", "boolean"), ColumnSpec("b", "boolean"), ColumnSpec("v", "long")])
    table = Table.create(tmp_path, spec)
    every = [(a, b) for a in (None, False, True) for b in (None, False, True)]
    table.write(pa.table({"a": [a for a, _ in every], "b": [b for _, b in every], "v": range(9)}))
    table.merge(pa.table({"a": [None, True], "b": [True, False], "v": [20, 70]}), on=["a", "b"])
    found = {(row["a"], row["b"]): row["v"] for row in table.snapshot().to_reader().read_all().to_pylist()}
    assert found == dict(zip(every, range(9), strict=True)) | {(None, True): 20, (True, False): 70}


def test_rows_that_nothing_matches_are_updated(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, 3, v="old"))
    stale = MergeClause(action="update", condition="target.id > 2", values={"v": "'stale'"})
    table.merge(rows(1), on="id", not_matched_by_source=[stale])
    assert bag(table.snapshot().to_reader(columns=["id", "v"]).read_all()) == bag(
        [{"id": 1, "v": "new"}, {"id": 2, "v": "old"}, {"id": 3, "v": "stale"}]
    )


@pytest.mark.parametrize("matched", ["update", [MergeClause(action="update", condition="source.v = 'new'")]])
def test_several_source_rows_for_one_row_are_refused(tmp_path, matched):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, None, v="old"))
    for ids in ((1, 1), (None, None)):
        with pytest.raises(ConstraintError, match="keys of the source distinct"):
            table.merge(rows(*ids), on="id", matched=matched)
    assert table.snapshot().version == 1
    table.merge(rows(5, 5), on="id")  # both are new
    assert table.snapshot().to_reader(predicate="id = 5").read_all().num_rows == 2


def test_columns_that_only_the_contract_has_are_added(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, v="old"))
    wider = TableSpec("t", [*SPEC.columns, ColumnSpec("extra", "double")])
    source = pa.table({"id": [2, 3], "extra": [0.5, 1.5]})
    Table(tmp_path, spec=wider).merge(source, on="id")
    assert bag(Table(tmp_path).snapshot().to_reader().read_all()) == bag(
        [
            {"id": 1, "n": None, "v": "old", "extra": None},
            {"id": 2, "n": None, "v": "old", "extra": 0.5},
            {"id": 3, "n": None, "v": None, "extra": 1.5},
        ]
    )
    with pytest.raises(SchemaMismatchError, match="'other'"):
        Table(tmp_path, spec=wider).merge(pa.table({"id": [2], "other": [1]}), on="id")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"matched": [MergeClause(action="insert")]}, OptionError),
        ({"not_matched": [MergeClause(action="delete")]}, OptionError),
        ({"not_matched_by_source": [MergeClause(action="update")]}, OptionError),
        ({"not_matched_by_source": "update"}, OptionError),
        ({"matched": [MergeClause(action="update", values={"nope": "1"})]}, SchemaMismatchError),
        ({"matched": [MergeClause(action="update", condition="source.nope = 1")]}, PredicateError),
        ({"matched": [MergeClause(action="update", condition="source.v = (")]}, PredicateError),
        ({"condition": "target.nope"}, PredicateError),
        ({"on": []}, OptionError),
    ],
)
def test_clauses_that_make_no_sense_are_refused(tmp_path, arguments, error):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, v="old"))
    with pytest.raises(error):
        table.merge(rows(1), **{"on": "id", **arguments})
    assert table.snapshot().version == 1


def test_a_clause_says_what_it_cannot_do():
    for values in ({}, {"v": "1"}):
        with pytest.raises(OptionError, match="values that it cannot use"):
            MergeClause(action="delete", values=values)
    with pytest.raises(OptionError, match="unknown action"):
        MergeClause(action="upsert")  # type: ignore[arg-type]
