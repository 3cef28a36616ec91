"""Planning over a table of very many files: through a Freshlake session, and through deltalake's provider.

Run ``uv run python benchmarks/planning.py``. With ``--write docs/performance.md`` the table replaces the one
in that file. The table is its log alone: queries are planned, and only those that need no data file are run.
Each way runs in a process of its own, so that their memory can be told apart.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from _delta_log import add, write_log
from _report import markdown, replace_between, setting

DATA = Path(__file__).parent / ".data"
MARK = "planning"
WAYS = ("freshlake", "deltalake")
TITLES = {"freshlake": "Freshlake session", "deltalake": "deltalake provider"}
ROWS_PER_FILE = 1000
QUERIES = {
    "count(*)": "SELECT count(*) FROM t",
    "count(*) of one day": "SELECT count(*) FROM t WHERE day = DATE '2024-02-03'",
    "least and greatest key": "SELECT min(id), max(id) FROM t",
    "one key": "SELECT * FROM t WHERE id = {key}",
    "a range of keys": "SELECT sum(amount) FROM t WHERE id BETWEEN {key} AND {key} + 5000",
    "50 spread keys": "SELECT * FROM t WHERE id IN ({keys})",
    "a prefix of a text": "SELECT id FROM t WHERE name LIKE 'n0001%'",
}
Planner = Callable[[str], object]
Opener = Callable[[Path], Planner]
Figures = Mapping[str, Mapping[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the log, measure each way in its own process, and report."""
    options = parse_arguments(arguments)
    if options.way:
        print(json.dumps(measure(options.way, options.table, options.files, options.rounds)))
        return 0
    table = options.data / f"log-{options.files}"
    if not (table / "_delta_log").exists():
        kinds = {"id": "long", "amount": "double", "name": "string", "at": "timestamp", "day": "date"}
        write_log(table, kinds, map(described, range(options.files)), partition_by=["day"])
    figures = {way: run_apart(way, table, options) for way in options.ways}
    report = render(figures, options)
    print(report)
    if options.write:
        replace_between(options.write, MARK, report)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Planning over a table of very many files.")
    parser.add_argument("--files", type=int, default=100_000, help="files of the table (100,000)")
    parser.add_argument("--rounds", type=int, default=7, help="times each query is planned (7)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to compare (all)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the log between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose table to replace")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def described(number: int) -> dict[str, object]:
    """Describe one file: keys rise from file to file, and every day has the same number of files."""
    first = number * ROWS_PER_FILE
    day = f"2024-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}"
    bounds = [
        {"id": key, "amount": key / 4, "name": f"n{key:010}", "at": f"{day}T{hour:02}:00:00.000Z"}
        for key, hour in ((first, 0), (first + ROWS_PER_FILE - 1, 23))
    ]
    path = f"day={day}/part-{number:05}-c000.snappy.parquet"
    return add(path, size=40_000, rows=ROWS_PER_FILE, bounds=bounds, partition={"day": day})


def queries(files: int) -> dict[str, str]:
    """Return the queries with keys that the table has."""
    draw = random.Random(0)
    keys = [draw.randrange(files * ROWS_PER_FILE) for _ in range(50)]
    return {name: text.format(key=keys[0], keys=", ".join(map(str, keys))) for name, text in QUERIES.items()}


def run_apart(way: str, table: Path, options: argparse.Namespace) -> Mapping[str, float]:
    """Measure one way in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--table", str(table)]
    command += ["--files", str(options.files), "--rounds", str(options.rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(way: str, table: Path, files: int, rounds: int) -> dict[str, float]:
    """Return seconds by step (of queries the first, and the median of the others), and mebibytes."""
    opened = (freshlake if way == "freshlake" else deltalake)()
    before = peak_mebibytes()
    start = time.perf_counter()
    plan = opened(table)
    found = {"open": time.perf_counter() - start}
    for name, text in queries(files).items():
        seconds = [timed(plan, text) for _ in range(rounds + 1)]
        found[f"{name}, first"] = seconds[0]
        found[name] = statistics.median(seconds[1:])
    return {**found, "memory": peak_mebibytes() - before}


def timed(plan: Planner, text: str) -> float:
    """Return the seconds that planning takes."""
    start = time.perf_counter()
    plan(text)
    return time.perf_counter() - start


def peak_mebibytes() -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def freshlake() -> Opener:
    """Plan in a Freshlake session that follows the table."""
    from df_runtime import SessionFactory

    session = SessionFactory().open()

    def opened(table: Path) -> Planner:
        session.register("t", str(table))
        return lambda text: session.sql(text).plan()

    return opened


def deltalake() -> Opener:
    """Plan in the datafusion package over deltalake's provider."""
    import datafusion
    from deltalake import DeltaTable

    context = datafusion.SessionContext()

    def opened(table: Path) -> Planner:
        context.register_table("t", DeltaTable(str(table)))
        return lambda text: context.sql(text).execution_plan()

    return opened


def render(figures: Figures, options: argparse.Namespace) -> str:
    """Write the report in Markdown."""
    ways = list(figures)
    steps = [name for name in figures[ways[0]] if name != "memory" and not name.endswith(", first")]
    rows = [[step, *(shown(figures[way], step) for way in ways), *ratios(figures, step)] for step in steps]
    memory = [f"{figures[way]['memory']:,.0f} MiB" for way in ways]
    rows.append(["memory", *memory, *ratios(figures, "memory")])
    head = ["step", *(TITLES[way] for way in ways), *(f"{TITLES[ways[0]]} to {TITLES[w]}" for w in ways[1:])]
    return "\n\n".join(
        [
            setting(f"{options.files:,} files, {options.rounds} rounds"),
            "Milliseconds (first time in brackets); memory is the peak above what the process starts with:",
            "\n".join(markdown(head, rows)),
        ]
    )


def shown(figures: Mapping[str, float], step: str) -> str:
    """Write a time, with that of the first time where it was measured."""
    first = figures.get(f"{step}, first")
    return f"{figures[step] * 1e3:,.1f}" + ("" if first is None else f" ({first * 1e3:,.0f})")


def ratios(figures: Figures, step: str) -> list[str]:
    """Write the first way's figure as a multiple of each other's."""
    first, *others = figures.values()
    return [f"{first[step] / other[step]:.3f}" for other in others]


if __name__ == "__main__":
    sys.exit(main())
