"""TPC-H at a small scale: every way of the benchmark gives the same answers, and the benchmark reports."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

import tpch
from _apart import apart
from _timing import disagreements, measure
from _tpch_data import Lake, lookup_queries
from _ways import WAYS, Way
from small_tpch import QUERIES, SCALE

MEMORY_BYTES = 1 << 30


@pytest.fixture(scope="module")
def ways(lake: Lake) -> dict[str, Way]:
    return {name: make(lake, MEMORY_BYTES) for name, make in WAYS.items()}


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


def test_a_process_that_keeps_too_much_is_replaced_and_answers_alike(ways: dict[str, Way], lake: Lake):
    with apart(["freshlake"], lake, 64 << 20) as others:
        answers = [others["freshlake"].answer(QUERIES["Q05"]).rows for _ in range(2)]

    assert answers == [ways["freshlake"].run(QUERIES["Q05"])] * 2


def test_a_query_that_memory_does_not_suffice_for_is_told_apart(
    lake: Lake,
):
    queries = {"small": "SELECT count(*) FROM region", "large": QUERIES["Q18"]}

    with apart(["freshlake", "listing"], lake, 1 << 20) as ways:
        assert disagreements(ways, queries) == []
        timings = measure(ways, queries, rounds=1, seed=0)

    assert {pair for pair, timing in timings.items() if timing.median == math.inf} == {
        ("freshlake", "large"),
        ("listing", "large"),
    }


def test_a_query_that_is_wrong_ends_the_measurement(lake: Lake):
    with apart(["duckdb"], lake, MEMORY_BYTES) as ways, pytest.raises(RuntimeError, match="no_such_table"):
        ways["duckdb"].answer("SELECT * FROM no_such_table")


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
