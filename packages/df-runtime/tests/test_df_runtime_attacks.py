"""Text from elsewhere: whatever it is, it is answered or refused in our words, and nothing is harmed."""

from __future__ import annotations

import contextlib
import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from df_runtime import DfRuntimeError, SessionFactory, SqlPolicy
from df_runtime.testing import delta_table

ROWS = pa.table(
    {"id": [1, 2, 3], "amount": [1.5, None, 3.5], "name": ["a", "b", None], "tags": [[1], [], None]}
)
QUICK = SqlPolicy.read_only(timeout=dt.timedelta(seconds=5), max_rows=10_000)
IDS = st.sampled_from(["id", "amount", "name", "tags", "o.id", '"id"', "orders", "nothing", "Ä", "*"])
LITERALS = st.sampled_from(
    [
        "0",
        "-1",
        "9223372036854775808",
        "1e400",
        "NULL",
        "''",
        "'it''s'",
        "E'\\x00'",
        "X'ff'",
        "X'f'",
        "$$x$$",
        "TRUE",
        "DATE '2024-02-30'",
        "TIMESTAMP '2024-01-01' AT TIME ZONE 'Nowhere'",
        "INTERVAL '1 fortnight'",
        "INTERVAL '999999999 years'",
        "[1, 'a']",
        "{a: 1}",
        "MAP {'a': 1}",
        "ARRAY[]",
        "$1",
        "$name",
        "CAST('x' AS DECIMAL(99, 98))",
    ]
)
FUNCTIONS = st.sampled_from(
    ["abs", "sum", "count", "coalesce", "concat", "now", "array_agg", "unnest", "date_trunc", "regexp_like"]
)
OPERATORS = st.sampled_from(
    ["+", "-", "/", "%", "||", "=", "<>", "AND", "OR", "LIKE", "IS DISTINCT FROM", "^", "@>"]
)


def expressions() -> st.SearchStrategy[str]:
    return st.recursive(
        IDS | LITERALS,
        lambda inner: st.one_of(
            st.tuples(inner, OPERATORS, inner).map(" ".join),
            st.tuples(FUNCTIONS, inner).map(lambda each: f"{each[0]}({each[1]})"),
            inner.map(lambda each: f"({each})"),
            inner.map(lambda each: f"CASE WHEN {each} THEN 1 ELSE {each} END"),
            inner.map(lambda each: f"CAST({each} AS INT)"),
            inner.map(lambda each: f"({each})::VARCHAR"),
            inner.map(lambda each: f"(SELECT {each} FROM orders LIMIT 1)"),
            inner.map(lambda each: f"sum({each}) OVER (PARTITION BY {each} ORDER BY id)"),
            inner.map(lambda each: f"{each}[1]"),
            st.tuples(inner, inner).map(lambda each: f"{each[0]} IN ({each[1]}, NULL)"),
        ),
        max_leaves=6,
    )


def sources() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(
            [
                "orders",
                "orders o",
                "nothing",
                "'orders'",
                "generate_series(1, 3)",
                "unnest([1, 2])",
                "(VALUES (1))",
            ]
        ),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda each: f"{each[0]} JOIN {each[1]} USING (id)"),
            st.tuples(inner, inner).map(", LATERAL ".join),
            inner.map(lambda each: f"(SELECT * FROM {each}) AS t"),
        ),
        max_leaves=4,
    )


@st.composite
def statements(draw: st.DrawFn) -> str:
    columns = ", ".join(draw(st.lists(expressions(), min_size=1, max_size=3)))
    distinct = draw(st.sampled_from(["", "DISTINCT ", "DISTINCT ON (id) "]))
    text = f"SELECT {distinct}{columns} FROM {draw(sources())}"
    for clause in ("WHERE", "GROUP BY", "HAVING", "QUALIFY", "ORDER BY", "LIMIT", "OFFSET"):
        if draw(st.integers(0, 4)) == 0:
            text += f" {clause} {draw(expressions())}"
    if draw(st.integers(0, 5)) == 0:
        text = f"{text} {draw(st.sampled_from(['UNION', 'EXCEPT ALL', 'INTERSECT']))} {text}"
    return draw(
        st.sampled_from(["{}", "WITH t AS ({}) SELECT * FROM t", "EXPLAIN {}", "({})", "{};", "{} -- x"])
    ).format(text)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A statement with characters put in, taken out or doubled."""
    text = draw(statements())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        new = draw(
            st.sampled_from(["", "'", '"', "(", ")", ";", "--", "/*", "\x00", "$", "\\", "`", "\u202e", "é"])
        )
        text = text[:at] + new + text[at + draw(st.integers(0, 2)) :]
    return text


@pytest.fixture(scope="module")
def open_session():
    with SessionFactory().open() as session:
        session.register("orders", ROWS)
        yield session


def answered(session, text):
    with contextlib.suppress(DfRuntimeError):
        session.sql(text, policy=QUICK).to_arrow()
    assert session.tables() == ("orders",)


FUZZED = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZED
@given(text=statements() | damaged())
def test_generated_statements_are_answered_or_refused_in_our_words(open_session, text):
    answered(open_session, text)


@FUZZED
@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_random_texts_are_answered_or_refused_in_our_words(open_session, text):
    answered(open_session, text)


@FUZZED
@given(text=statements() | damaged() | st.text(max_size=60))
def test_every_other_way_in_answers_in_our_words_too(open_session, text):
    for way in (open_session.gate, lambda query: open_session.prepare("p", query), open_session.explain):
        with contextlib.suppress(DfRuntimeError):
            way(text)


@FUZZED
@given(text=statements() | damaged() | st.text(max_size=60))
def test_statements_about_statements_answer_in_our_words_too(open_session, text):
    policy = SqlPolicy(statements=True, timeout=dt.timedelta(seconds=5), max_rows=10_000)
    for query in (f"PREPARE p AS {text}", f"EXECUTE p({text})", f"DEALLOCATE {text}", "DEALLOCATE p"):
        with contextlib.suppress(DfRuntimeError):
            open_session.sql(query, policy=policy)


HUGE = [
    "SELECT 1" + " + 1" * 100_000,
    "SELECT true" + " AND true" * 50_000,
    "SELECT id FROM orders WHERE id IN (" + ", ".join(map(str, range(100_000))) + ")",
    "SELECT " + ", ".join(f"{number} AS c{number}" for number in range(5_000)),
    "SELECT 1" + " UNION ALL SELECT 1" * 20_000,
    "SELECT '" + "x" * 900_000 + "'",
    "SELECT " + "-" * 100_000 + "1",
    "SELECT " + "- " * 100_000 + "1",
    "SELECT " + '"' * 100_001,
    "SELECT /*" + "/*" * 100_000,
    "SELECT id" + "::int" * 50_000 + " FROM orders",
    "SELECT id FROM orders " + "WHERE id = 1 " * 20_000,
    "WITH " + ", ".join(f"t{n} AS (SELECT 1 AS x)" for n in range(2_000)) + " SELECT * FROM t1",
    "SELECT * FROM " + ", ".join(f"(SELECT 1 AS c{n}) AS t{n}" for n in range(60)),
    "\u202eSELECT 1" * 1_000,
    "SELECT regexp_like('" + "a" * 1_000 + "', '(((a{1000}){1000}){1000})')",
    "SELECT regexp_replace(repeat('a', 10000), '(a*)*b', 'x')",
    "SELECT repeat('x', 20000000000)",
    "SELECT generate_series(1, 1000000000000)",
    "SELECT count(*) FROM generate_series(1, 1000000000000)",
    "SELECT * FROM generate_series(1, 1000000000000)",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
    "SELECT array_agg(x) FROM generate_series(1, 100000000) AS t(x)",
    "SELECT a.value FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b ORDER BY b.value",
]


@pytest.mark.parametrize("text", HUGE, ids=lambda text: text[:40])
def test_huge_texts_and_results_leave_the_process_alive(open_session, text):
    limited = SessionFactory(open_session.profile.__class__(memory_limit_bytes=100_000_000))
    with limited.open() as session:
        session.register("orders", ROWS)
        answered(session, text)


def test_nothing_shows_the_secrets_of_a_table(session, tmp_path):
    delta_table(tmp_path / "t", {"a": [1]})
    session.register("t", Table(str(tmp_path / "t"), storage_options={"aws_secret_access_key": "hunter2"}))
    session.register("v", "SELECT a FROM t")
    shown = [
        "SHOW ALL",
        "SHOW TABLES",
        "SHOW COLUMNS FROM t",
        "SHOW CREATE TABLE t",
        "DESCRIBE t",
        "EXPLAIN VERBOSE SELECT * FROM v",
        "EXPLAIN ANALYZE SELECT * FROM v",
        *(
            f"SELECT * FROM information_schema.{name}"
            for name in ("tables", "columns", "views", "df_settings")
        ),
    ]

    for text in shown:
        try:
            found = str(session.sql(text).to_arrow().to_pylist())
        except DfRuntimeError as error:
            found = str(error)
        assert "hunter2" not in found
        assert "hunter2" not in session.gate(text).to_json()
