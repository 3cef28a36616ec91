"""Random changes: after each refresh every view is bag-equal to an independent engine's answer."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incremental_cdf.testing import views

LEFT = {"k": pa.int64(), "g": pa.string(), "x": pa.decimal128(8, 2)}
RIGHT = {"k": pa.int64(), "h": pa.string()}

keys = st.sampled_from([None, 1, 2, 3])
texts = st.sampled_from([None, "", "a", "b'c"])
prices = st.sampled_from([None, Decimal("0.10"), Decimal("-2.50"), Decimal("7.00")])
rows = {
    "l": st.fixed_dictionaries({"k": keys, "g": texts, "x": prices}),
    "r": st.fixed_dictionaries({"k": keys, "h": texts}),
}
conditions = {
    "l": st.sampled_from(["k = 1", "k IS NULL", "g = 'a'", "x > 0", "x IS NULL", "k >= 2"]),
    "r": st.sampled_from(["k = 1", "k IS NULL", "h = 'a'", "k >= 2"]),
}
assignments = {
    "l": st.tuples(st.sampled_from([{"k": "3"}, {"g": "'a'"}, {"x": "NULL"}]), conditions["l"]),
    "r": st.tuples(st.sampled_from([{"k": "1"}, {"h": "NULL"}]), conditions["r"]),
}

SHAPES = [
    ("by_group", "SELECT g, sum(x) AS s, count(*) AS n, min(k) AS lo FROM l GROUP BY g", None),
    (
        "by_two",
        "SELECT k, upper(g) AS u, count(x) AS n FROM l WHERE x > 0 OR x IS NULL GROUP BY k, upper(g)",
        None,
    ),
    ("joined", "SELECT r.h, sum(l.x) AS s FROM l JOIN r ON l.k = r.k GROUP BY r.h HAVING count(*) > 1", None),
    ("wide", "SELECT l.k, l.g, r.h FROM l LEFT JOIN r ON l.k = r.k AND r.h <> ''", ("k", "g")),
    (
        "unmatched",
        "SELECT l.g, count(*) AS n FROM l LEFT JOIN r ON l.k = r.k WHERE r.k IS NULL GROUP BY l.g",
        None,
    ),
    (
        "twice",
        "SELECT a.g AS one, b.g AS two, r.h FROM l a JOIN l b ON a.k = b.k JOIN r ON r.k = a.k",
        ("two",),
    ),
    ("above", "SELECT u, sum(n) AS n FROM by_two WHERE k IS NOT NULL GROUP BY u", None),
    ("distinct", "SELECT DISTINCT h, k FROM r WHERE h IS NOT NULL", ("h",)),
    ("total", "SELECT count(*) AS n, sum(x) AS s FROM l", None),
]

tables = st.sampled_from(["l", "r"])
few = {name: st.lists(one, min_size=1, max_size=4) for name, one in rows.items()}
by_key = {name: st.lists(one, max_size=3, unique_by=lambda row: row["k"]) for name, one in rows.items()}
changes = {"insert": few, "delete": conditions, "update": assignments, "merge": by_key, "overwrite": few}


def of(operation):
    return tables.flatmap(lambda name: st.tuples(st.just(operation), st.just(name), changes[operation][name]))


operations = st.one_of(
    *(of(operation) for operation in changes),
    st.tuples(st.sampled_from(["optimize", "restore", "empty"]), tables, st.none()),
)
rounds = st.lists(st.lists(operations, min_size=1, max_size=3), min_size=1, max_size=3)


def change(lake, operation, name, what):
    table = lake.tables[name]
    schema = pa.schema([field.with_nullable(True) for field in table.snapshot().schema])
    if operation == "insert":
        lake.insert(name, what)
    elif operation == "delete":
        table.delete(what)
    elif operation == "update":
        table.update(*what)
    elif operation == "merge":
        table.merge(pa.Table.from_pylist(what, schema=schema), on="k")
    elif operation == "overwrite":
        table.write(pa.Table.from_pylist(what, schema=schema), mode="overwrite")
    elif operation == "empty":
        table.delete()
    elif operation == "optimize":
        lake.optimize(name)
    else:
        table.restore(version=table.snapshot().version // 2)


def keep_current(new_lake, left, right, rounds, shapes):
    with tempfile.TemporaryDirectory() as folder, new_lake(Path(folder)) as lake:
        lake.table("l", LEFT, left)
        lake.table("r", RIGHT, right)
        lake.define(*(lake.view(name, query, key=key, refresh="incremental") for name, query, key in shapes))
        lake.refresh()
        lake.check()
        for operations in rounds:
            for operation in operations:
                change(lake, *operation)
            report = lake.refresh()
            lake.check()
            by_keys = [view for view in report.views if view.name != "total" and view.strategy != "none"]
            assert {view.strategy for view in by_keys} <= {"affected_keys"}
            assert {view.strategy for view in lake.refresh().views} == {"none"}
        assert all(lake.views.verify(name).ok for name in lake.views.names)


def several(shapes):
    """Several shapes, with the one below if one above it is among them."""
    needs_parent = any(name == "above" for name, _, _ in shapes) and SHAPES[1] not in shapes
    return [SHAPES[1], *shapes] if needs_parent else shapes


histories = {
    "left": st.lists(rows["l"], max_size=5),
    "right": st.lists(rows["r"], max_size=3),
    "rounds": rounds,
    "shapes": st.lists(st.sampled_from(SHAPES), min_size=2, max_size=4, unique=True).map(several),
}
quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=5, deadline=None, suppress_health_check=quiet)
@given(**histories)
def test_views_equal_recomputation_after_every_change(new_lake, left, right, rounds, shapes):
    keep_current(new_lake, left, right, rounds, shapes)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=quiet)
@given(**histories)
def test_views_equal_recomputation_after_many_changes(new_lake, left, right, rounds, shapes):
    keep_current(new_lake, left, right, rounds, shapes)


@settings(max_examples=4, deadline=None, suppress_health_check=quiet)
@given(data=st.data(), **{name: histories[name] for name in ("left", "right", "rounds")})
def test_drawn_views_equal_recomputation(new_lake, left, right, rounds, data):
    tables = {"l": pa.schema(list(LEFT.items())), "r": pa.schema(list(RIGHT.items()))}
    drawn = [data.draw(views(tables, "unused", name=f"v{number}")) for number in range(3)]
    keep_current(new_lake, left, right, rounds, [(view.name, view.query, view.key) for view in drawn])
