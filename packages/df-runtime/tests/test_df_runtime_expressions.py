"""Expressions over NULL and odd values, held against DuckDB; also where files are left out by them."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from schema_spec import TableSpec

ROWS = pa.table(
    {
        "k": pa.array(range(8), pa.int64()),
        "i": pa.array([0, 1, 2, None, -1, 3, None, 2], pa.int64()),
        "j": pa.array([None, 1, 0, None, 2, 5, 7, 2], pa.int64()),
        "x": pa.array([0.0, -0.0, 1.5, None, -2.5, 1e300, 0.5, None], pa.float64()),
        "d": pa.array(
            [
                Decimal(v) if v else None
                for v in ("0.00", "1.50", None, "99999999.99", "-0.01", "2.00", "1.5", "")
            ],
            pa.decimal128(10, 2),
        ),
        "s": pa.array(["", "a", None, "ä", "b", "A", "aa", "%"], pa.string()),
        "b": pa.array([True, False, None, True, None, False, True, None], pa.bool_()),
        "t": pa.array(
            [dt.date(2024, 2, 29), None, dt.date(1970, 1, 1), dt.date(1, 1, 1), dt.date(2024, 3, 1)]
            + [None] * 3,
            pa.date32(),
        ),
    }
)
COLUMNS = {"i": "int", "j": "int", "x": "float", "d": "decimal", "s": "text", "t": "date"}
VALUES = {
    "int": ["0", "1", "2", "3", "5", "-1", "NULL"],
    "float": ["0.0", "-0.0", "1.5", "1e300", "NULL"],
    "decimal": [f"CAST('{v}' AS DECIMAL(10, 2))" for v in ("0", "1.50", "99999999.99", "-0.01")] + ["NULL"],
    "text": ["''", "'a'", "'ä'", "'A'", "'%'", "NULL"],
    "date": ["DATE '2024-02-29'", "DATE '1970-01-01'", "DATE '0001-01-01'", "NULL"],
}
EQUALITY = ["=", "<>"]
ORDER = [*EQUALITY, "<", "<=", ">", ">="]


@st.composite
def values(draw: st.DrawFn, kind: str, depth: int = 0) -> str:
    column = st.sampled_from([name for name, of in COLUMNS.items() if of == kind])
    simple = st.one_of(column, st.sampled_from(VALUES[kind]))
    if depth > 1 or draw(st.integers(0, 3)):
        return draw(simple)
    one, other = draw(values(kind, depth + 1)), draw(values(kind, depth + 1))
    condition = draw(conditions(depth + 1))
    return draw(
        st.sampled_from(
            [
                f"coalesce({draw(column)}, {one}, {other})",
                f"nullif({draw(column)}, {other})",
                f"CASE WHEN {condition} THEN {draw(column)} ELSE {other} END",
                f"CASE {draw(column)} WHEN {one} THEN {other} WHEN {other} THEN {draw(column)} END",
            ]
        )
    )


@st.composite
def comparisons(draw: st.DrawFn, depth: int) -> str:
    kind = draw(st.sampled_from(sorted(VALUES)))
    column = draw(st.sampled_from([name for name, of in COLUMNS.items() if of == kind]))
    # Most conditions are over one column, where the engine merges them.
    left = column if draw(st.integers(0, 2)) else draw(values(kind, depth + 1))
    literal = st.sampled_from(VALUES[kind])
    listed = ", ".join(draw(st.lists(literal, min_size=1, max_size=5)))
    low, high, one = draw(literal), draw(literal), draw(values(kind, depth + 1))
    not_ = draw(st.sampled_from(["", "NOT "]))
    operator = draw(st.sampled_from(ORDER))
    forms = [
        f"{left} {operator} {one}",
        f"{one} {operator} {left}",
        f"{left} {not_}IN ({listed})",
        f"{left} {not_}IN ({listed}, {column})",
        f"{left} {not_}IN ({listed}, {one})",
        f"{left} {not_}BETWEEN {low} AND {high}",
        f"{left} IS {not_}NULL",
        f"{left} IS {not_}DISTINCT FROM {one}",
    ]
    if kind == "text":
        forms += [
            f"{left} {not_}LIKE {draw(st.sampled_from(['%', 'a%', '%a', '', '_', 'a', 'NULL']).map(_quoted))}"
        ]
    return draw(st.sampled_from(forms))


def _quoted(pattern: str) -> str:
    return pattern if pattern == "NULL" else f"'{pattern}'"


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> str:
    choice = draw(st.integers(0, 9))
    if depth > 2 or choice < 4:
        return (
            f"({draw(comparisons(depth))})"
            if choice
            else draw(st.sampled_from(["b", "TRUE", "FALSE", "(NULL = 1)"]))
        )
    one, other = draw(conditions(depth + 1)), draw(conditions(depth + 1))
    if choice < 8:
        return f"({one} {draw(st.sampled_from(['AND', 'OR']))} {other})"
    return draw(
        st.sampled_from(
            [
                f"(NOT {one})",
                f"({one} IS TRUE)",
                f"({one} IS NOT FALSE)",
                f"({one} IS UNKNOWN)",
                f"({one} = {other})",
                f"({one} IS DISTINCT FROM {other})",
                f"CASE WHEN {one} THEN {other} ELSE b END",
                f"coalesce({one}, {other})",
            ]
        )
    )


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    from df_runtime import SessionFactory

    spec = TableSpec.from_arrow("t1", ROWS.schema)
    files = Table.create(
        tmp_path_factory.mktemp("files") / "t1", msgspec.structs.replace(spec, partition_by=("j", "t"))
    )
    for start in range(0, ROWS.num_rows, 3):
        files.write(ROWS.slice(start, 3))
    with SessionFactory().open() as session, duckdb.connect() as peer:
        session.register("t0", ROWS)
        session.register("t1", files)
        peer.register("t0", ROWS)
        yield session, peer


def rows(table: pa.Table) -> list[dict[str, object]]:
    return table.to_pylist()


FUZZED = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@FUZZED
@given(condition=conditions())
def test_conditions_hold_as_in_another_engine(peers, condition):
    session, peer = peers
    for query in (
        f"SELECT k, {condition} AS c FROM t0 ORDER BY k",
        f"SELECT k FROM t0 WHERE {condition} ORDER BY k",
        f"SELECT k FROM t0 WHERE NOT {condition} ORDER BY k",
    ):
        expected = rows(peer.sql(query).to_arrow_table())
        assert rows(session.sql(query).to_arrow()) == expected, query
        pruned = query.replace("FROM t0", "FROM t1")
        assert rows(session.sql(pruned).to_arrow()) == expected, pruned


@FUZZED
@given(data=st.data(), kind=st.sampled_from(sorted(VALUES)))
def test_values_come_out_as_in_another_engine(peers, data, kind):
    session, peer = peers
    value = data.draw(values(kind))
    query = f"SELECT k, {value} AS v FROM t0 ORDER BY k"
    ours, theirs = (
        session.sql(query).to_arrow()["v"].to_pylist(),
        peer.sql(query).to_arrow_table()["v"].to_pylist(),
    )
    assert [_plain(each) for each in ours] == [_plain(each) for each in theirs], query


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) and math.isfinite(value) else value


@pytest.mark.parametrize(
    "condition",
    [
        "i IN (0) AND i NOT IN (1, NULL)",
        "i IN (0, 1, 2, 3, 4) AND i NOT IN (5, 6, 7, 8, NULL)",
        "i IN (0, 1, 2, 3) AND i IN (4, 5, 6, 7)",
        "i NOT IN (0, 1, 2, 3) OR i NOT IN (4, 5, 6, 7)",
        "i IN (0, 1, 2, 3) AND i NOT IN (0, 1, 2, 3)",
        "i + 1 IN (1, 2) AND i + 1 NOT IN (3, 4, nullif(1, 1))",
        "i IN (1) OR i IN (2, NULL)",
        "i IN (CASE i WHEN 2 THEN i END, -1)",
        "i NOT IN (5, coalesce(j, i), CASE j WHEN 0 THEN 2 WHEN 2 THEN j END)",
    ],
)
def test_lists_over_one_expression_keep_their_nulls(peers, condition):
    session, peer = peers
    query = f"SELECT k, {condition} AS c FROM t0 ORDER BY k"
    assert rows(session.sql(query).to_arrow()) == rows(peer.sql(query).to_arrow_table())


@pytest.mark.parametrize(
    "value",
    [
        "x IN (0.0, 1.5, 3, 4, 5)",
        "x NOT IN (-0.0, 1.5, 3, 4, 5)",
        "CASE x WHEN 0.0 THEN 'zero' WHEN -2.5 THEN 'less' ELSE 'more' END",
        "nullif(x, 0.0)",
        "0.0 IN (-0.0)",
    ],
)
def test_zeros_are_one_value(peers, value):
    session, peer = peers
    query = f"SELECT k, {value} AS v FROM t0 ORDER BY k"
    assert rows(session.sql(query).to_arrow()) == rows(peer.sql(query).to_arrow_table())


@pytest.mark.parametrize(
    "condition",
    [
        "j NOT IN (NULL, 1, 2)",
        "j <> 1 AND j <> NULL",
        "j NOT IN (NULL, 1) AND i IS NOT DISTINCT FROM i",
        "j IN (1, 2) AND j IN (5, 7)",
        "j = 1 AND j = 1 + NULL",
        "j NOT IN (1, NULL) OR t = DATE '1970-01-01'",
    ],
)
def test_conditions_on_partition_columns_that_become_constant(peers, condition):
    session, peer = peers
    query = f"SELECT count(*) AS n, count(i) AS i FROM t1 WHERE {condition}"
    expected = rows(peer.sql(query.replace("t1", "t0")).to_arrow_table())
    assert rows(session.sql(query).to_arrow()) == expected


INFINITE = [-math.inf, math.inf, math.nan, 0.0, 1.5, None, -2.0]
NUMBERS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(INFINITE)), min_size=1, max_size=60)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=NUMBERS, partitions=st.sampled_from([1, 3]), single=st.booleans())
def test_extremes_of_groups_are_those_of_sorting(data, partitions, single):
    from df_runtime import RuntimeProfile, SessionFactory

    kind = pa.float32() if single else pa.float64()
    keys, numbers = zip(*data, strict=True)
    numbers_in = pa.table({"k": pa.array(keys, pa.int64()), "x": pa.array(numbers, kind)})
    with SessionFactory(RuntimeProfile(target_partitions=partitions, batch_size=8)).open() as session:
        session.register("n", numbers_in)
        found = session.sql("SELECT k, min(x) AS low, max(x) AS high FROM n GROUP BY k").to_arrow()
        best = session.sql(
            "SELECT k, max(x) AS high FROM n GROUP BY k ORDER BY high DESC NULLS LAST LIMIT 3"
        ).to_arrow()
    by_key = {key: [each for k, each in data if k == key and each is not None] for key in keys}
    expected = {key: (_least(each), _least(each, -1)) for key, each in by_key.items()}

    got = {row["k"]: (_told(row["low"]), _told(row["high"])) for row in found.to_pylist()}
    assert got == expected
    order = sorted((high for _, high in expected.values()), key=_rank, reverse=True)
    assert [_told(each) for each in best["high"].to_pylist()] == order[:3]


def _rank(value: object) -> tuple[int, float]:
    return (1, 0.0) if value == "nan" else (-1, 0.0) if value is None else (0, float(str(value)))


def _told(value: object) -> object:
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _least(numbers: list[float], at: int = 0) -> object:
    told = sorted((_told(each) for each in numbers), key=_rank)
    return told[at] if told else None


MIXED = pa.table(
    {
        "k": pa.array([0, 1, 2], pa.int64()),
        "d": pa.array([Decimal("1.25"), Decimal("0.10"), None], pa.decimal128(10, 2)),
        "e": pa.array(
            [Decimal("12345678901234567890123456.5"), Decimal(1), Decimal("99999999999999999.99")],
            pa.decimal128(38, 10),
        ),
        "f": pa.array([1.25, 1e300, math.nan], pa.float64()),
    }
)


@pytest.mark.parametrize(
    "value",
    [
        "d = f",
        "e < f",
        "d < 1e300",
        "d BETWEEN f AND f",
        "d IN (f, 2)",
        "d IS DISTINCT FROM f",
        "coalesce(d, f)",
        "CASE WHEN k = 1 THEN d ELSE f END",
        "CASE f WHEN d THEN 'same' ELSE 'other' END",
        "e = 12345678901234567890123456.5",
        "e IN (12345678901234567890123456.5, 99999999999999999.99)",
        "e > 99999999999999999.98",
        "e - 99999999999999999.99 = 0",
        "d * 0.1 = 0.125",
    ],
)
def test_decimals_meet_doubles_and_long_numbers(value):
    from df_runtime import SessionFactory

    query = f"SELECT k, {value} AS v FROM mixed ORDER BY k"
    with SessionFactory().open() as session, duckdb.connect() as peer:
        session.register("mixed", MIXED)
        peer.register("mixed", MIXED)
        ours, theirs = (
            session.sql(query).to_arrow()["v"].to_pylist(),
            peer.sql(query).to_arrow_table()["v"].to_pylist(),
        )
    assert [_told(_plain(each)) for each in ours] == [_told(_plain(each)) for each in theirs]
