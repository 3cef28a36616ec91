"""`freshlake query`: answers, their exact JSON, and the past."""

from __future__ import annotations

import pytest


def test_query_prints_a_bounded_table(shop, command):
    code, out, err = command("query", "SELECT id, customer FROM orders ORDER BY id", "--limit", "2")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["id", "customer"]
    assert "1 more row;" in out
    assert "Ada" in out
    assert "NULL" not in out
    _, out, _ = command("query", "SELECT customer FROM orders WHERE id = 3")
    assert "NULL" in out


def test_query_shows_control_characters_as_escapes(shop, command):
    _, out, _ = command("query", "SELECT chr(27) || '[31m[bold]x' AS text")
    assert "\\x1b[31m[bold]x" in out
    assert "\x1b" not in out


def test_query_json_is_exact(shop, document):
    found = document(
        "query",
        "SELECT id, day, amount, customer, 9223372036854775807 AS big, CAST('NaN' AS DOUBLE) AS nan, "
        "arrow_cast('2026-01-02T03:04:05', 'Timestamp(Nanosecond, None)') AS at, x'00ff' AS raw, "
        "make_array(1, 2) AS list, named_struct('a', 1) AS struct FROM orders WHERE id = 3",
    )
    assert {column["name"]: column["type"] for column in found["columns"]}["amount"] == "decimal128(12, 2)"
    assert found["rows"] == [
        {
            "id": 3,
            "day": "2026-01-02",
            "amount": "9.99",
            "customer": None,
            "big": 2**63 - 1,
            "nan": "NaN",
            "at": "2026-01-02T03:04:05.000000000",
            "raw": "AP8=",
            "list": [1, 2],
            "struct": {"a": 1},
        }
    ]
    assert found.keys() == {"columns", "rows"}
    limited = document("query", "SELECT id FROM orders ORDER BY id", "--limit", "1")
    assert (limited["rows"], limited["more_rows"]) == ([{"id": 1}], 2)
    assert document("query", "SELECT id FROM orders WHERE false")["rows"] == []


def test_query_json_refuses_columns_of_one_name(shop, command, document):
    query = "SELECT a.id, b.id FROM orders a JOIN orders b ON a.id = b.id"
    assert document("query", query, code=2)["error"]["code"] == "query-columns-repeated"
    assert command("query", query)[0] == 0


def test_query_reads_the_past(shop, document, refused):
    document("run")
    shop.sell((4, 3, "500.00"))
    document("run")

    def count(table, *options):
        return document("query", f"SELECT count(*) AS n FROM {table}", *options)["rows"][0]["n"]

    assert (count("orders"), count("orders", "--as-of", 1), count("orders", "--as-of", 0)) == (4, 3, 0)
    assert (count("revenue"), count("revenue", "--as-of", "revenue=1")) == (3, 2)
    joined = "orders JOIN revenue USING (day)"
    assert count(joined, "--as-of", "orders=1") == 3
    assert count(joined, "--as-of", 1, "--as-of", "orders=2") == 3
    found = refused("query", "SELECT * FROM revenue", "--as-of", 7)
    assert found["code"] == "delta-version-unknown"
    assert found["message"] == '"revenue" has no version 7; it has versions 0 to 2.'
    # A name that is only a column's does not count as a table of the query.
    assert document("query", "SELECT revenue FROM revenue", "--as-of", 2)["rows"]
    assert document("query", "SELECT orders FROM revenue", "--as-of", "revenue=2")["rows"]
    for wrong in ("x", "-1", "revenu=1", "1.5"):
        assert refused("query", "SELECT 1", "--as-of", wrong)["text"]
    assert refused("query", "SELECT 1", "--as-of", "revenu=1")["suggestions"] == ["revenue"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELCT 1", ("sql-syntax", 1, "SELCT")),
        ("SELECT *\nFROM ordrs", ("sql-table-unknown", 2, 'Did you mean "orders"?')),
        ("SELECT amuont FROM orders", ("sql-column-unknown", 1, "amount")),
        ("SELECT * FROM revenue", ("view-not-refreshed", 1, "freshlake run")),
        ("DELETE FROM orders", ("sql-not-allowed", None, "")),
        ("CREATE TABLE x AS SELECT 1", ("sql-not-allowed", None, "")),
        ("COPY orders TO 'out.csv'", ("sql-not-allowed", None, "")),
        ("", ("sql-syntax", None, "")),
    ],
)
def test_wrong_queries(shop, refused, query, expected):
    code, line, says = expected
    found = refused("query", query)
    assert found["code"] == code
    assert line is None or found["line"] == line
    assert says in found["text"]
