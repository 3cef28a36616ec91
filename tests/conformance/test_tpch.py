"""TPC-H at a small scale: every way of the benchmark gives the same answers, and the benchmark reports."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import tpch
from _timing import disagreements
from _tpch_data import Lake, lookup_queries
from _ways import WAYS, Way
from small_tpch import QUERIES, SCALE


@pytest.fixture(scope="module")
def ways(lake: Lake) -> dict[str, Way]:
    return {name: make(lake) for name, make in WAYS.items()}


def test_there_are_22_queries():
    assert list(QUERIES) == [f"Q{number:02}" for number in range(1, 23)]


@pytest.mark.parametrize("name", QUERIES)
def test_all_ways_answer_alike(ways: dict[str, Way], name: str):
    assert disagreements(ways, {name: QUERIES[name]}) == []


def test_all_ways_look_up_alike(ways: dict[str, Way], lake: Lake):
    queries = lookup_queries(lake)

    assert disagreements(ways, queries) == []
    assert ways["freshlake"].run(queries["1,500 adjacent keys"]).num_rows == 1500
    assert ways["freshlake"].run(queries["point query"]).num_rows > 0


def test_a_wrong_answer_is_noticed():
    right = Way(title="right", run=lambda _: pa.table({"x": [1.0, 2.0]}))
    for rows in ([2.0, 1.1], [1.0], [1.0, 2.0, 2.0], [1.0, None]):
        wrong = Way(title="wrong", run=lambda _, rows=rows: pa.table({"x": rows}), exact=False)
        assert disagreements({"right": right, "wrong": wrong}, {"q": ""}) == [
            "q: wrong answers otherwise than right"
        ]


def test_the_benchmark_writes_its_report(
    tpch_data: Path, lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- tpch: begin -->\nold\n<!-- tpch: end -->\nafter\n", encoding="utf-8")
    arguments = ["--scale", str(SCALE), "--rounds", "1", "--data", str(tpch_data), "--write", str(page)]

    assert tpch.main(arguments) == 0

    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- tpch: begin -->\n")
    assert written.endswith("<!-- tpch: end -->\nafter\n")
    assert "old" not in written
    assert "| **22 queries** |" in written
    assert "| 1,500 adjacent keys |" in capsys.readouterr().out
