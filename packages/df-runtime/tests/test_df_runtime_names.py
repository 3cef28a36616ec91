from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from df_runtime import DatasetNameError, RuntimeProfile, SessionFactory, UnknownTableError
from df_runtime.testing import identifiers

DATA = pa.table({"a": [1]})


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("written", ["Orders", "orders", "ORDERS", '"orders"'])
def test_a_name_without_quotes_is_lower_case(session, written):
    session.register("Orders", DATA)

    assert session.tables() == ("orders",)
    assert session.sql(f"SELECT a FROM {written}").to_arrow().num_rows == 1


def test_a_name_in_quotes_keeps_its_case(session):
    session.register('"Orders"', DATA)

    assert session.sql('SELECT a FROM "Orders"').to_arrow().num_rows == 1
    with pytest.raises(UnknownTableError) as caught:
        session.sql("SELECT a FROM Orders")
    assert caught.value.suggestions == ('"Orders"',)


def test_the_two_are_different_tables(session):
    session.register("orders", pa.table({"a": [1]}))
    session.register('"Orders"', pa.table({"a": [2]}))

    query = 'SELECT (SELECT a FROM orders) AS lower, (SELECT a FROM "Orders") AS upper'
    assert session.sql(query).to_arrow().to_pylist() == [{"lower": 1, "upper": 2}]


def test_a_profile_can_keep_case():
    with SessionFactory(RuntimeProfile(normalize_identifiers=False)).open() as session:
        session.register("Orders", DATA)

        assert session.sql("SELECT a FROM Orders").to_arrow().num_rows == 1
        with pytest.raises(UnknownTableError):
            session.sql("SELECT a FROM orders")


@pytest.mark.parametrize(
    ("registered", "written"),
    [
        ("my-table", '"my-table"'),
        ("2026 orders", '"2026 orders"'),
        ("it's", '"it\'s"'),
        ('say "hi"', '"say ""hi"""'),
        ("😀", '"😀"'),
        ('"a.b"', '"a.b"'),
        ("sales.orders", "sales.orders"),
        ('Sales."Order Items"', 'sales."Order Items"'),
        ("lake.sales.orders", "lake.sales.orders"),
        ("datafusion.public.orders", "orders"),
        ("select", '"select"'),
    ],
)
def test_what_a_name_means(session, registered, written):
    session.register(registered, DATA)

    assert session.tables() == (written,)
    assert session.sql(f"SELECT a FROM {written}").to_arrow().num_rows == 1
    assert session.source(registered) is DATA
    assert session.deregister(registered)
    assert session.tables() == ()


@given(st.lists(identifiers(), min_size=1, max_size=3), identifiers())
def test_any_name_can_be_used(parts, column):
    data = pa.table({column: [7]})
    with SessionFactory().open() as session:
        session.register(".".join(map(quoted, parts)), data)
        (written,) = session.tables()

        assert session.sql(f"SELECT {quoted(column)} FROM {written}").to_arrow().equals(data)
        assert session.source(written) is data
        assert session.sql("SELECT * FROM " + ".".join(map(quoted, parts))).to_arrow().equals(data)


@pytest.mark.parametrize("name", ["", "  ", "information_schema.tables", "a\0b", "\ud800"])
def test_a_name_that_cannot_be_used_is_refused(session, name):
    with pytest.raises(DatasetNameError, match=r"\[dataset-name-invalid\]"):
        session.register(name, DATA)
