"""Where the time of TPC-H goes: the operators of each query, by their own share of its compute time.

Run ``uv run python benchmarks/tpch_operators.py``. With ``--write docs/performance.md`` the table
replaces the one in that file.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from _report import markdown, replace_between, setting
from _tpch_data import TABLES, prepare, tpch_queries
from df_runtime import Session, SessionFactory
from tpch import DATA

MARK = "tpch-operators"
KINDS = {
    "DataSourceExec": "scan",
    "HashJoinExec": "join",
    "NestedLoopJoinExec": "join",
    "AggregateExec": "aggregate",
    "FilterExec": "filter",
    "RepartitionExec": "exchange",
    "SortExec": "sort",
    "SortPreservingMergeExec": "sort",
    "ProjectionExec": "projection",
}
COLUMNS = ("scan", "join", "aggregate", "filter", "exchange", "sort", "projection", "other")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each query watched, and report."""
    options = parse_arguments(arguments)
    lake = prepare(options.data / f"tpch-sf{options.scale}", options.scale)
    with SessionFactory().open() as session:
        for table in TABLES:
            session.register(table, lake.snapshot(table))
        rows = [
            [name, *shares(session, text, options.rounds)]
            for name, text in tpch_queries(options.scale).items()
        ]
    head = ["query", "compute, ms", *COLUMNS]
    said = [
        setting(f"Scale factor {options.scale}, {options.rounds} runs"),
        "",
        "Per cent of the compute time:",
        "",
    ]
    report = "\n".join([*said, *markdown(head, rows)])
    print(report)
    if options.write:
        replace_between(options.write, MARK, report)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Where the time of TPC-H goes.")
    parser.add_argument("--scale", type=Decimal, default=Decimal(1), help="scale factor (1)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each query (5)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the data between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose table to replace")
    return parser.parse_args(arguments)


def shares(session: Session, text: str, rounds: int) -> list[str]:
    """Return the compute time of a run, and per kind of operator its share of it."""
    times: Counter[str] = Counter()
    for _ in range(rounds):
        for node in session.explain(text, analyze=True).physical_tree.nodes:
            times[KINDS.get(node.operator, "other")] += node.nanoseconds
    total = times.total()
    milliseconds = total / rounds / 1e6
    return [f"{milliseconds:,.0f}", *(f"{100 * times[kind] / total:.0f}" for kind in COLUMNS)]


if __name__ == "__main__":
    sys.exit(main())
