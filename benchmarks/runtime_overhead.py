"""What a session costs over the bare engine, and what telling of runs costs.

    uv run python benchmarks/runtime_overhead.py [--rounds 400]

Every way runs the same small query, in turn within each round, so that what the machine does meanwhile hits
all alike. Figures are medians and the ratios to the first line of their group.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from datafusion_ext import Engine
from df_runtime import Observability, RuntimeProfile, SessionFactory

QUERY = "SELECT name, sum(x) AS total FROM t WHERE x > 10 GROUP BY name"
ROWS = pa.table({"x": range(10_000), "name": [f"n{number % 13}" for number in range(10_000)]})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        show("a query", ways(Path(folder) / "runs.jsonl"), rounds)
    show("a session", {"open and close": lambda: SessionFactory().open().close()}, rounds)


def ways(events: Path) -> dict[str, Callable[[], object]]:
    """Return the ways to run the query, the bare engine first."""
    engine = Engine()
    engine.register_batches("t", ROWS)
    found: dict[str, Callable[[], object]] = {"bare engine": lambda: pa.table(engine.sql(QUERY))}
    settings = {
        "session": Observability(),
        "session, runs kept": Observability(keep_runs=100),
        "session, lines of JSON": Observability(events=str(events)),
        "session, OpenTelemetry without a provider": Observability(opentelemetry=True),
    }
    for name, observability in settings.items():
        session = SessionFactory(RuntimeProfile(observability=observability)).open()
        session.register("t", ROWS)
        found[name] = lambda session=session: session.sql(QUERY).to_arrow()
    return found


def show(title: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """Run the ways in turn, and print what each took."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    first = statistics.median(next(iter(times.values())))
    print(f"{title} ({rounds} rounds)")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"  {name:45} {1000 * median:8.3f} ms  {median / first:5.2f}x")


if __name__ == "__main__":
    main()
