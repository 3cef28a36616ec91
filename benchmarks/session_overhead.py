"""What a session adds to the engine under it: to TPC-H, per text that is new or known, and when it opens.

Run ``uv run python benchmarks/session_overhead.py``. With ``--write docs/performance.md`` the table replaces
the one in that file. No plan is kept between queries on either side.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from _report import markdown, setting
from _tpch_data import TABLES, Lake, prepare, tpch_queries
from datafusion_ext import DeltaScan, Engine
from df_runtime import Observability, RuntimeProfile, Session, SessionFactory
from tpch import DATA

BEGIN, END = "<!-- session-overhead: begin -->", "<!-- session-overhead: end -->"
Times = dict[str, list[float]]
_OFF = Observability()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data, measure, and report."""
    options = parse_arguments(arguments)
    lake = prepare(options.data / f"tpch-sf{options.scale}", options.scale)
    queries = tpch_queries(options.scale)
    engine, session = bare(lake), governed(lake)
    warm_up(engine, session, queries)
    with tempfile.TemporaryDirectory() as folder:
        told = governed(lake, Observability(events=f"{folder}/runs.jsonl", keep_runs=100))
        ways: dict[str, Callable[[str], object]] = {
            "engine": lambda query: pa.table(engine.sql(query)),
            "session": lambda query: session.sql(query).to_arrow(),
            "session, runs told": lambda query: told.sql(query).to_arrow(),
        }
        totals = totals_of(ways, queries, rounds=options.rounds, seed=options.seed)
    texts = planning_of(engine, lake, queries, rounds=options.rounds)
    openings = openings_of(rounds=options.rounds * len(queries))
    report = render(totals, texts, openings, options)
    print(report)
    if options.write:
        replace_report(options.write, report)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What Session.sql adds to the bare engine.")
    parser.add_argument("--scale", type=Decimal, default=Decimal(1), help="scale factor (1)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the orders within the rounds (0)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the data between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose table to replace")
    return parser.parse_args(arguments)


def bare(lake: Lake) -> Engine:
    """Open the engine with the settings and the tables of a session, and nothing around it."""
    engine = Engine(SessionFactory().profile.engine_settings())
    for table in TABLES:
        snapshot = lake.snapshot(table)
        scan = DeltaScan(
            snapshot.uri,
            snapshot.schema,
            snapshot.add_actions(),
            partition_columns=snapshot.partition_by,
            version=snapshot.version,
        )
        engine.register_delta(table, scan)
    return engine


def governed(lake: Lake, observability: Observability = _OFF) -> Session:
    """Open a session over the same snapshots."""
    session = SessionFactory(RuntimeProfile(observability=observability)).open()
    for table in TABLES:
        session.register(table, lake.snapshot(table))
    return session


def warm_up(engine: Engine, session: Session, queries: Mapping[str, str]) -> None:
    """Import what is imported late, and read every file once."""
    for query in queries.values():
        pa.table(engine.sql(query))
        session.sql(query).to_arrow()


def totals_of(
    ways: Mapping[str, Callable[[str], object]], queries: Mapping[str, str], *, rounds: int, seed: int
) -> Times:
    """Time all queries from text to last row, in shuffled order within each round."""
    pairs = [(way, query) for way in ways for query in queries]
    shuffler = random.Random(seed)
    times: Times = {f"{way} {query}": [] for way, query in pairs}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        shuffler.shuffle(pairs)
        for way, query in pairs:
            times[f"{way} {query}"].append(elapsed(ways[way], queries[query]))
    return {
        way: [sum(pick(times[f"{way} {query}"]) for query in queries) for pick in (min, statistics.median)]
        for way in ways
    }


def planning_of(engine: Engine, lake: Lake, queries: Mapping[str, str], *, rounds: int) -> Times:
    """Time the call alone, per text: in the engine, in a session that never saw it, and once more."""
    times: Times = {"engine": [], "new text": [], "known text": []}
    for _ in range(rounds):
        with governed(lake) as session:
            session.sql("SELECT count(*) FROM nation")
            gc.collect()
            for query in queries.values():
                times["engine"].append(elapsed(engine.sql, query))
                times["new text"].append(elapsed(session.sql, query))
                times["known text"].append(elapsed(session.sql, query))
    return times


def openings_of(*, rounds: int) -> Times:
    """Time opening and closing, of the bare engine and of a session, once everything is imported."""
    factory = SessionFactory()
    settings = factory.profile.engine_settings()
    times: Times = {"engine": [], "session": []}
    for _ in range(rounds):
        times["engine"].append(elapsed(lambda _: Engine(settings), ""))
        times["session"].append(elapsed(lambda _: factory.open().close(), ""))
    return times


def elapsed(run: Callable[[str], object], query: str) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    run(query)
    return time.perf_counter() - start


def render(totals: Times, texts: Times, openings: Times, options: argparse.Namespace) -> str:
    """Write the report in Markdown."""
    rows: list[list[str]] = []
    for index, name in enumerate(("best", "median")):
        engine, session = totals["engine"][index], totals["session"][index]
        rows.append(
            [f"22 queries, {name}", seconds(engine), seconds(session), f"{session / engine - 1:+.1%}"]
        )
        kept = totals["session, runs told"][index]
        rows.append(
            [
                f"22 queries, runs kept and told as JSON, {name}",
                seconds(session),
                seconds(kept),
                f"{kept / session - 1:+.1%}",
            ]
        )
    base = statistics.median(texts["engine"])
    for name in ("new text", "known text"):
        mine = statistics.median(texts[name])
        rows.append([f"planning a {name}, median", seconds(base), seconds(mine), seconds(mine - base)])
    base, mine = (statistics.median(openings[way]) for way in ("engine", "session"))
    rows.append(["opening and closing, median", seconds(base), seconds(mine), seconds(mine - base)])
    head = ["", "without", "with", "added"]
    return "\n\n".join(
        [setting(f"Scale factor {options.scale}, {options.rounds} rounds"), "\n".join(markdown(head, rows))]
    )


def seconds(value: float) -> str:
    """Write a time in milliseconds."""
    return f"{value * 1e3:,.2f} ms"


def replace_report(path: Path, report: str) -> None:
    """Put a report between the marks in a file."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
