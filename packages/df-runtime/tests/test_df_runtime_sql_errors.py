from __future__ import annotations

import contextlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from df_runtime import (
    AmbiguousColumnError,
    DfRuntimeError,
    MultipleStatementsError,
    SessionFactory,
    SqlError,
    SqlSyntaxError,
    UnknownColumnError,
    UnknownFunctionError,
    UnknownTableError,
)

ORDERS = pa.table({"id": [1], "amount": [2.5], "Customer": ["x"]})


@pytest.fixture
def shop(session):
    session.register("orders", ORDERS)
    session.register("sales.customers", pa.table({"id": [1], "name": ["x"]}))
    return session


def caught(session, query, kind):
    with pytest.raises(kind) as found:
        session.sql(query)
    assert type(found.value) is kind
    assert str(found.value).endswith(f"[{kind.code}]")
    assert found.value.query == query
    return found.value


def marked(error):
    """What the caret line underlines."""
    lines = str(error).split("\n")
    row = next(index for index, line in enumerate(lines) if set(line.strip()) == {"^"})
    start = lines[row].index("^")
    return lines[row - 1][start : start + lines[row].count("^")]


@pytest.mark.parametrize(
    ("query", "line", "column", "word", "suggestion"),
    [
        ("SELECT id FROM ordrs", 1, 16, "ordrs", "orders"),
        ("SELECT id\nFROM\n  Ordesr o", 3, 3, "Ordesr", "orders"),
        ("SELECT id FROM custmers", 1, 16, "custmers", "sales.customers"),
        ("SELECT * FROM orders JOIN sales.custs c USING (id)", 1, 33, "custs", None),
    ],
)
def test_an_unknown_table(shop, *, query, line, column, word, suggestion):
    error = caught(shop, query, UnknownTableError)

    assert (error.line, marked(error)) == (line, word)
    assert error.column == column
    assert suggestion is None or error.suggestions[0] == suggestion


@pytest.mark.parametrize(
    ("query", "line", "column", "word", "suggestion"),
    [
        ("SELECT amout FROM orders", 1, 8, "amout", "amount"),
        ("SELECT o.amout FROM orders o", 1, 10, "amout", "amount"),
        ("SELECT id,\n\t amout + 1\nFROM orders", 2, 3, "amout", "amount"),
        ("SELECT id FROM orders WHERE amnt > 1", 1, 29, "amnt", "amount"),
        ("SELECT customer FROM orders", 1, 8, "customer", '"Customer"'),
        (
            "WITH t AS (SELECT id AS order_key FROM orders) SELECT orderkey FROM t",
            1,
            55,
            "orderkey",
            "order_key",
        ),
    ],
)
def test_an_unknown_column(shop, *, query, line, column, word, suggestion):
    error = caught(shop, query, UnknownColumnError)

    assert (error.line, error.column, marked(error)) == (line, column, word)
    assert error.suggestions[0] == suggestion


def test_a_column_that_needs_quotes_says_so(shop):
    assert "lower-cased" in str(caught(shop, "SELECT Customer FROM orders", UnknownColumnError))


def test_an_unknown_function(shop):
    error = caught(shop, "SELECT id, suum(amount) FROM orders GROUP BY id", UnknownFunctionError)

    assert (error.line, error.column, marked(error)) == (1, 12, "suum")
    assert "sum" in error.suggestions


def test_a_column_of_two_tables(shop):
    caught(shop, "SELECT id FROM orders, sales.customers", AmbiguousColumnError)


@pytest.mark.parametrize(
    ("query", "line", "column"),
    [("SELEC id FROM orders", 1, 1), ("SELECT id\nFORM orders o", 2, 6), ("SELECT (id FROM orders", 1, 12)],
)
def test_text_that_is_not_sql(shop, query, line, column):
    error = caught(shop, query, SqlSyntaxError)

    assert (error.line, error.column) == (line, column)


def test_a_keyword_that_is_nearly_one(shop):
    assert caught(shop, "SELEC id FROM orders", SqlSyntaxError).suggestions == ("SELECT",)


@pytest.mark.parametrize("query", ["", "   ", "-- nothing", ";", "SELECT '\ud800'"])
def test_no_statement_at_all(shop, query):
    with pytest.raises(SqlError):
        shop.sql(query)


def test_a_second_statement(shop):
    error = caught(shop, "SELECT 1; SELECT 2", MultipleStatementsError)

    assert (error.line, error.column) == (1, 11)


@pytest.mark.parametrize("query", ["SELECT 1;", "SELECT ';' AS x", "SELECT 1 -- ; x", "SELECT /* ; */ 1"])
def test_a_semicolon_that_ends_or_hides(shop, query):
    assert shop.sql(query).to_arrow().num_rows == 1


def test_a_wrong_view_names_the_view_and_is_not_registered(shop):
    with pytest.raises(UnknownColumnError, match="View totals") as found:
        shop.register("totals", "SELECT sum(amout) FROM orders")

    assert found.value.suggestions == ("amount",)
    assert "totals" not in shop.tables()


def test_a_view_whose_table_is_gone_says_so_when_it_is_used(shop):
    shop.register("totals", "SELECT sum(amount) AS total FROM orders")
    shop.deregister("orders")

    with pytest.raises(UnknownTableError, match="View totals"):
        shop.sql("SELECT * FROM totals")

    shop.register("orders", pa.table({"amount": [1, 2]}))
    assert shop.sql("SELECT * FROM totals").to_arrow().to_pylist() == [{"total": 3}]


WORDS = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "BY",
        "orders",
        "id",
        "amount",
        "(",
        ")",
        ",",
        "*",
        ".",
        "'",
        '"',
        ";",
        "--",
        "/*",
        "*/",
        "$1",
        "$a",
        "1",
        "1e9",
        "AS",
        "JOIN",
        "ON",
        "é",
        "\x00",
        "\\",
        "::",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=40))
def test_any_text_is_answered_or_refused_in_our_words(text):
    with SessionFactory().open() as session:
        session.register("orders", ORDERS)
        with contextlib.suppress(DfRuntimeError):
            session.sql(text).to_arrow()


@pytest.mark.parametrize(
    ("query", "column", "word", "says"),
    [
        ("SELECT x.id FROM orders o", 8, "x", "Here are: o."),
        ("SELECT order.id FROM orders", 8, "order", "Did you mean orders?"),
        ("SELECT 1 + x.id FROM orders, sales.customers c", 12, "x", "Here are: orders, c."),
    ],
)
def test_an_unknown_alias(shop, query, column, word, says):
    error = caught(shop, query, UnknownColumnError)

    assert f"Unknown table or alias {word!r}" in str(error)
    assert (error.column, marked(error)) == (column, word)
    assert says in str(error)


def test_columns_are_those_of_the_place_and_the_name_itself_is_no_suggestion(shop):
    error = caught(
        shop, "WITH t AS (SELECT id AS order_key FROM orders) SELECT id FROM t", UnknownColumnError
    )
    assert error.suggestions == ()
    assert "Columns in scope: order_key." in str(error)
    error = caught(shop, "SELECT o.name FROM orders o, sales.customers c", UnknownColumnError)
    assert "name" not in error.suggestions


def test_an_alias_of_an_outer_query_is_known(shop):
    query = "SELECT 1 AS n FROM orders o WHERE EXISTS (SELECT 1 FROM sales.customers c WHERE c.id = o.amout)"
    error = caught(shop, query, UnknownColumnError)
    assert (marked(error), error.suggestions[0]) == ("amout", "amount")


@pytest.mark.parametrize("query", ["SELECT place.cty FROM towns", "SELECT place['cty'] FROM towns"])
def test_an_unknown_field_of_a_struct(shop, query):
    shop.register("towns", pa.table({"place": [{"city": "Rom", "zip": 1}]}))
    error = caught(shop, query, UnknownColumnError)
    assert (error.line, marked(error).strip("'"), error.suggestions) == (1, "cty", ("city",))


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT id,\n\tcast('x' AS int) AS n\tFROM orders", "'x'"),
        ("SELECT 'ü' AS a, sum('y') AS b FROM orders", "sum"),
        ("SELECT cast(id AS uint7) FROM orders", "uint7"),
        ("SELECT count(*) OVER w FROM orders", "w"),
        ("SELECT rank() FROM orders", "rank"),
    ],
)
def test_what_a_message_quotes_is_pointed_at(shop, query, word):
    with pytest.raises(SqlError) as found:
        shop.sql(query).to_arrow()
    assert marked(found.value) == word
    assert "Candidate functions" not in str(found.value)


@pytest.mark.parametrize("query", ["SELECT id FROM orders WHERE", "SELECT id,\n (amount\n\n"])
def test_a_text_that_ends_too_early_is_marked_at_its_end(shop, query):
    error = caught(shop, query, SqlSyntaxError)
    lines = query.rstrip().split("\n")
    assert (error.line, error.column) == (len(lines), len(lines[-1]) + 1)


def test_a_keyword_that_was_taken_for_an_alias(shop):
    assert caught(shop, "SELECT id FORM orders", SqlSyntaxError).suggestions == ("FROM",)
    assert caught(shop, "SELECT id FROM orders GROUP id", SqlSyntaxError).suggestions == ()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT substr(id) FROM orders",
        "SELECT id, id IN (SELECT id FROM sales.customers) AS found FROM orders",
        "SELECT * FROM orders PIVOT (sum(amount) FOR id IN (1))",
    ],
)
def test_structures_of_the_engine_are_not_shown(shop, query):
    with pytest.raises(SqlError) as found:
        shop.sql(query).to_arrow()
    assert not any(dump in str(found.value) for dump in ("Span(", "Ident", "Column {", "Some("))


def test_a_message_that_only_mentions_a_subquery_is_kept_whole(shop):
    with pytest.raises(SqlError, match="Consider aliasing"):
        shop.sql("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM sales.customers)").to_arrow()


def test_tables_of_information_schema_are_suggested(shop):
    error = caught(shop, "SELECT * FROM information_schema.tabels", UnknownTableError)
    assert error.suggestions[0] == "information_schema.tables"


def test_ambiguity_says_what_to_do(shop):
    error = caught(shop, "SELECT id FROM orders, sales.customers", AmbiguousColumnError)
    assert "alias" in str(error)
    assert marked(error) == "id"


@pytest.mark.parametrize(
    "text", ["EXPLAIN SELECT nothing, 'hunter2' FROM t", "KILL 'hunter2'", "SELECT 'hunter2"]
)
def test_texts_that_are_refused_are_logged_nowhere(session, caplog, text):
    session.register("t", pa.table({"a": [1]}))
    with caplog.at_level("DEBUG"), pytest.raises(SqlError):
        session.sql(text)
    assert "hunter2" not in caplog.text
