"""What Ibis expressions answer here, DuckDB answers too."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa
import pytest
from ibis_cases import RELATIONS, TABLES, VALUES

from df_runtime import SessionFactory

pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),  # Ibis' use of DuckDB
    pytest.mark.filterwarnings("ignore:The 'future.infer_string' option"),  # Ibis' use of pandas
]


@pytest.fixture(scope="module")
def ours():
    with SessionFactory().open() as session:
        for name, rows in TABLES.items():
            session.register(name, rows)
        yield session


@pytest.fixture(scope="module")
def theirs():
    connection: Any = ibis.duckdb.connect()
    for name, rows in TABLES.items():
        connection.con.register(name, rows)
    yield connection
    connection.disconnect()


def same_rows(left: Any, right: Any) -> bool:
    return _bag(left.to_pylist()) == _bag(right.to_pylist())


def _bag(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(_plain(row)) for row in rows)


def _plain(value: Any) -> Any:
    """Round what engines compute in another order or with other digits; 0.0 stands for -0.0 too."""
    match value:
        case float() | Decimal():
            return round(float(value), 6) + 0.0
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _kinds(schema: pa.Schema) -> list[str]:
    # Decimals keep the digits that the engine computes.
    return ["decimal" if pa.types.is_decimal(each) else str(each) for each in schema.types]


@pytest.mark.parametrize("name", [*RELATIONS, *VALUES])
def test_an_expression_answers_as_in_duckdb(ours, theirs, name):
    case = {**RELATIONS, **VALUES}[name]
    expected = case(**{each: theirs.table(each) for each in TABLES}).to_pyarrow()
    expr = case(**{each: ours.table(each) for each in TABLES})

    answer = expr.to_pyarrow()

    assert same_rows(answer, expected)
    assert _kinds(answer.schema) == _kinds(expr.schema().to_pyarrow())
    assert same_rows(ours.ibis(expr).to_arrow(), expected)


def test_the_comparison_notices_a_difference(ours, theirs):
    assert not same_rows(
        ours.table("orders").select("id").to_pyarrow(),
        theirs.table("orders").select("id").head(3).to_pyarrow(),
    )
