"""Queries that go out as Substrait plans and come back answer as their texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import harder
from _tpch_data import TABLES, Lake
from comparing import difference
from df_runtime import Session, SessionFactory
from small_tpch import QUERIES as TPCH

HARDER = {name: query.text for name, query in harder.queries().items()}

# Where the query as written has what the producer does not know, and the optimized plan has none of it.
OPTIMIZED = {
    "OuterReferenceColumn": {
        *("Q02", "Q04", "Q17", "Q20", "Q21", "Q22"),
        *("lateral", "correlated_exists", "correlated_scalar", "scalar_in_select"),
    },
    "using": {"window_over_groups", "rollup"},
    "Distinct": {"distinct_on"},
}
# What cannot be said at all: the text runs instead.
AS_TEXT = {
    "Unnest": {"unnest", "unnest_join"},
    "RecursiveQuery": {"recursive", "calendar"},
    "WindowFrame": {"range_frame"},
}


@pytest.fixture(scope="module")
def session(lake: Lake) -> Iterator[Session]:
    with SessionFactory().open() as opened:
        for name, rows in harder.tables().items():
            opened.register(name, rows)
        for name in TABLES:
            opened.register(name, lake.folder / "delta" / name)
        yield opened


def _gap(name: str, known: dict[str, set[str]]) -> str:
    return next((gap for gap, names in known.items() if name in names), "")


@pytest.mark.parametrize("name", [*TPCH, *HARDER])
def test_a_query_comes_back_as_it_went(session: Session, name: str):
    text = {**TPCH, **HARDER}[name]

    plan = session.to_substrait(text)
    result = session.substrait(plan)

    optimized, as_text = _gap(name, OPTIMIZED), _gap(name, AS_TEXT)
    assert plan.form == ("optimized" if optimized else "none" if as_text else "written")
    assert plan.unsupported == tuple(filter(None, [optimized or as_text]))
    assert result.lane.name == ("sql" if as_text else "substrait")
    assert difference(result.to_arrow(), session.sql(text).to_arrow()) == ""
