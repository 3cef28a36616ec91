from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from df_runtime import DfRuntimeError, ParameterError, SessionFactory


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        st.decimals(-(10**6), 10**6, places=3),
        st.dates(),
        st.datetimes(timezones=st.just(dt.UTC)),
    )
)
def test_a_value_comes_back_as_it_was(value):
    with SessionFactory().open() as session:
        (row,) = session.sql("SELECT $value AS value", params={"value": value}).to_arrow().to_pylist()

    assert row["value"] == value


def test_numbers_and_names(session):
    assert session.sql("SELECT $1 - $2 AS x", params=[5, 3]).to_arrow().to_pylist() == [{"x": 2}]
    assert session.sql("SELECT concat($a, $b) AS x", params={"a": "1", "$b": "2"}).to_arrow().to_pylist() == [
        {"x": "12"}
    ]


def test_a_value_is_never_text_of_the_query(session):
    session.register("t", pa.table({"name": ["x", "y"]}))
    attack = "x' OR '1' = '1"

    assert session.sql("SELECT * FROM t WHERE name = $name", params={"name": attack}).to_arrow().num_rows == 0


def test_null_and_typed_values(session):
    query = "SELECT arrow_typeof($value) AS type"
    scalar = pa.scalar(decimal.Decimal("1.50"), pa.decimal128(9, 2))

    assert session.sql("SELECT $value IS NULL AS x", params={"value": None}).to_arrow()["x"].to_pylist() == [
        True
    ]
    assert "9, 2" in session.sql(query, params={"value": scalar}).to_arrow()["type"][0].as_py()
    assert (
        session.sql(query, params={"value": pa.scalar(1, pa.int16())}).to_arrow()["type"][0].as_py()
        == "Int16"
    )


@pytest.mark.parametrize(
    ("query", "params", "finding"),
    [
        ("SELECT $a", None, r"\$a has no value"),
        ("SELECT $a + $b", {"a": 1}, r"\$b has no value; given: \$a"),
        ("SELECT $a", {"a": 1, "b": 2}, r"no parameter \$b; it has: \$a"),
        ("SELECT '$a'", {"a": 1}, "no parameter"),
        ("SELECT $1", [], "has no value"),
        ("SELECT $a", {"a": object()}, "no Arrow value"),
        ("SELECT $1", "text", "a sequence of values"),
    ],
)
def test_wrong_parameters_are_refused(session, query, params, finding):
    with pytest.raises(ParameterError, match=finding):
        session.sql(query, params=params)


@pytest.mark.parametrize(
    "query", ["SELECT '$a' AS x", 'SELECT 1 AS "$a"', "SELECT 1 -- $a", "SELECT $$a$$ AS x"]
)
def test_a_dollar_elsewhere_is_no_parameter(session, query):
    assert session.sql(query).to_arrow().num_rows == 1


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT sum(x) AS a,\n  sum($a) AS b FROM t", {"a": None}),
        ("SELECT x,\n  sum($a) FROM t WHERE x > CAST($b AS BIGINT) GROUP BY x", {"a": None, "b": None}),
        ("SELECT x,\n  unnest($a) FROM t", {"a": []}),
    ],
)
def test_a_value_without_a_type_is_told_with_its_place(session, query, params):
    session.register("t", pa.table({"x": [1]}))

    with pytest.raises(ParameterError, match="the type of \\$a, at line 2") as caught:
        session.sql(query, params=params)

    assert caught.value.line == 2
    assert "CAST($a AS BIGINT)" in str(caught.value)
    assert "pyarrow.scalar" in str(caught.value)


def test_a_parameter_without_a_type_is_told_when_a_statement_is_prepared(session):
    session.register("t", pa.table({"x": [1]}))

    with pytest.raises(ParameterError, match="the type of \\$1, at line 1, column 12"):
        session.prepare("p", "SELECT sum($1) FROM t WHERE x > CAST($2 AS BIGINT)")

    prepared = session.prepare("p", "SELECT sum(CAST($1 AS BIGINT)) AS s FROM t WHERE x < CAST($2 AS BIGINT)")
    assert prepared.execute([5, 2]).to_arrow().to_pylist() == [{"s": 5}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT sum($1)", "does not tell the type of \\$1, at"),
        ("SELECT day + $1 FROM days", "(?s)coerce.*does not tell the type of \\$1: .*CAST\\(\\$1 AS"),
        ("SELECT named_struct($name, $2)", "(?s)does not tell the type of \\$name, \\$2: "),
        ("SELECT * FROM range($1, 3)", "(?s)literals.*does not tell the type of \\$1: "),
    ],
)
def test_a_parameter_of_unknown_type_is_named_whatever_the_engine_says(query: str, message: str) -> None:
    with SessionFactory().open() as session:
        session.register("days", pa.table({"day": pa.array([1], pa.date32())}))
        with pytest.raises(DfRuntimeError, match=message):
            session.prepare("p", query)
        with pytest.raises(DfRuntimeError) as unknown:
            session.prepare("p", "SELECT $1 + x FROM days")
        assert "type of" not in str(unknown.value)
        with pytest.raises(DfRuntimeError) as typed:
            session.prepare("p", "SELECT day + CAST($1 AS DATE) FROM days")
        assert "type of $1" not in str(typed.value)


@pytest.mark.parametrize("text", ["substr($1,$2)", "$1||$2::text", "[$1,$2][1]", "$x$$1,$x$"])
def test_dollars_side_by_side_are_parameters_and_quotes_where_they_are_quotes(text: str) -> None:
    expected = {"substr($1,$2)": "bc", "$1||$2::text": "abc2", "[$1,$2][1]": "abc"}
    with SessionFactory().open() as session:
        if text.startswith("$x"):
            assert session.sql(f"SELECT {text} AS a").to_arrow()["a"].to_pylist() == ["$1,"]
            return
        second = 2 if "substr" in text else "2"
        result = session.sql(f"SELECT {text} AS a", params=["abc", second])
        assert result.gate.lane == "checked"
        assert result.to_arrow()["a"].to_pylist() == [expected[text]]
