"""Writing, pruning and reading changes of Delta tables: delta_io beside what the package deltalake offers.

Run ``uv run python benchmarks/delta_tables.py``. With ``--write docs/performance.md`` the tables
replace the ones in that file. Each figure comes from a process of its own, in shuffled order
within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from _tpch_data import generate
from delta_io import CdfPolicy, Table, WritePolicy
from schema_spec import ColumnSpec, TableSpec

DATA = Path(__file__).parent / ".data"
BEGIN, END = "<!-- delta-tables: begin -->", "<!-- delta-tables: end -->"
PACKAGES = ("delta-io", "deltalake", "pyarrow")
Measured = dict[tuple[str, str], list[dict[str, Any]]]
WRITING = {"write_ours": "delta_io", "write_theirs": "write_deltalake"}
PRUNING = {
    "prune_ours": "delta_io: `files`",
    "prune_by_hand": "deltalake: `get_add_actions`, its columns compared by hand",
    "prune_by_query": "deltalake: `QueryBuilder`, which leaves no file to read",
    "prune_by_dataset": "deltalake: fragments of a pyarrow dataset",
}
CHANGES = {
    "changes_ours": "delta_io: `changes`",
    "changes_theirs": "deltalake: `load_cdf`; without a feed, both versions read whole",
}
SOURCES = {"feed": "feed", "files": "files"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data, measure, and report."""
    options = parse_arguments(arguments)
    folder = options.data / f"delta-tables-{options.scale}-{options.files}"
    prepare(folder, options)
    jobs = [(way, argument) for way in WRITING for argument in ("1", str(options.longer))]
    jobs += [(way, argument) for way in PRUNING for argument in ("json", "checkpoint")]
    jobs += [(way, source) for way in CHANGES for source in SOURCES.values()]
    measured = measure(folder, jobs, options)
    report = render(measured, options)
    print(report)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        options.write.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Delta tables written, pruned and their changes read.")
    parser.add_argument("--scale", type=Decimal, default=Decimal(1), help="scale factor of lineitem (1)")
    parser.add_argument(
        "--longer", type=int, default=10, help="length of the longer stream, in lineitems (10)"
    )
    parser.add_argument(
        "--files", type=int, default=100_000, help="files of the table that is pruned (100000)"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of the table that changes (1000000)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the orders within the rounds (0)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the data between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables to replace")
    return parser.parse_args(arguments)


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Make what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "lineitem.parquet").exists():
        generate(folder, ["lineitem"], options.scale)
    if not (folder / "json").exists():
        make_log(folder / "partial", options.files)
        shutil.copytree(folder / "partial", folder / "checkpoint", dirs_exist_ok=True)
        DeltaTable(folder / "checkpoint").create_checkpoint()
        (folder / "partial").rename(folder / "json")
    for source in SOURCES.values():
        if not (folder / source).exists():
            make_changes(folder / "partial", options.rows, feed=source == "feed")
            (folder / "partial").rename(folder / source)


def make_log(folder: Path, files: int, commits: int = 10) -> None:
    """Write the log of a table of many files, which nobody opens."""
    shutil.rmtree(folder, ignore_errors=True)
    kinds = {"id": "long", "name": "string", "x": "double", "day": "date"}
    columns = [ColumnSpec(name, kind) for name, kind in kinds.items()]
    table = Table.create(folder, TableSpec("many", columns))
    for number in range(1, commits + 1):
        share = range((number - 1) * files // commits, number * files // commits)
        lines = "\n".join(json.dumps({"add": added(each)}) for each in share)
        (folder / "_delta_log" / f"{number:020}.json").write_text(lines + "\n", encoding="utf-8")
    assert table.snapshot().files().total == files


def added(number: int) -> dict[str, Any]:
    """Describe one file: a thousand rows of its own range."""
    day = f"2024-{number % 12 + 1:02}"
    low = {"id": number * 1000, "name": f"name{number:08}", "x": number * 0.5, "day": f"{day}-01"}
    high = {"id": number * 1000 + 999, "name": f"name{number:08}z", "x": number + 0.5, "day": f"{day}-28"}
    counts = dict.fromkeys(low, 0)
    stats = {"numRecords": 1000, "minValues": low, "maxValues": high, "nullCount": counts}
    path = f"part-{number:05}-{uuid.uuid5(uuid.NAMESPACE_OID, str(number))}-c000.snappy.parquet"
    common = {"path": path, "partitionValues": {}, "size": 65_536, "modificationTime": 1_700_000_000_000}
    return {**common, "dataChange": True, "stats": json.dumps(stats)}


def make_changes(folder: Path, rows: int, *, feed: bool) -> None:
    """Make a table, with a change data feed or without one, and a few commits of each kind."""
    shutil.rmtree(folder, ignore_errors=True)
    columns = [ColumnSpec("id", "long"), ColumnSpec("v", "double"), ColumnSpec("note", "string")]
    policy = WritePolicy(cdf=CdfPolicy(enabled=feed))
    table = Table.create(folder, TableSpec("feed", columns), policy=policy)
    for part in range(4):
        ids = pa.array(range(part * rows // 4, (part + 1) * rows // 4), pa.int64())
        table.write(pa.table({"id": ids, "v": ids.cast(pa.float64()), "note": ids.cast(pa.string())}))
    table.update({"v": "v + 1"}, f"id < {rows // 10}")
    table.delete(f"id % 50 = 0 AND id < {rows // 2}")
    ids = pa.array(range(rows - rows // 100, rows + rows // 100), pa.int64())
    table.merge(pa.table({"id": ids, "v": ids.cast(pa.float64())}), on="id")


def measure(folder: Path, jobs: Sequence[tuple[str, str]], options: argparse.Namespace) -> Measured:
    """Run every job in a process of its own, in an order that differs from round to round."""
    measured: Measured = {job: [] for job in jobs}
    shuffler = random.Random(options.seed)
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for way, argument in shuffler.sample(list(jobs), len(jobs)):
            command = [
                sys.executable,
                str(Path(__file__).with_name("_delta_ways.py")),
                way,
                str(folder),
                argument,
            ]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured[way, argument].append(json.loads(done.stdout))
    return measured


def render(measured: Measured, options: argparse.Namespace) -> str:
    """Write the report in Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    setting = (
        f"{options.rounds} rounds, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, {packages}."
    )
    long = str(options.longer)
    rows = {source: measured["changes_ours", source][0]["rows"] for source in SOURCES.values()}
    opening = f"Opening a table of {options.files:,} files and pruning it by two predicates, "
    parts = [
        setting,
        f"Writing lineitem of scale factor {options.scale} from a stream, and one {long} times as long:",
        table(WRITING, {"once": "1", f"{long} times": long}, measured),
        opening + "from a log of JSON and from a checkpoint:",
        table(PRUNING, {"JSON": "json", "checkpoint": "checkpoint"}, measured),
        f"Reading {rows['feed']:,} changed rows from a feed, {rows['files']:,} from files without one:",
        table(CHANGES, SOURCES, measured),
    ]
    return "\n\n".join(parts)


def table(ways: Mapping[str, str], cases: Mapping[str, str], measured: Measured) -> str:
    """Write times, their ratio to the first way's, and peak memory."""
    head = ["way"]
    for case in cases:
        head += [f"{case}: seconds, best / median", "ratio", "peak memory"]
    first = next(iter(ways))
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for way, title in ways.items():
        cells = [title]
        for argument in cases.values():
            runs, ours = measured[way, argument], measured[first, argument]
            seconds, base = ([each["seconds"] for each in part] for part in (runs, ours))
            cells.append(f"{min(seconds):.2f} / {statistics.median(seconds):.2f}")
            cells.append(f"{min(seconds) / min(base):.2f}")
            cells.append(f"{max(each['peak'] for each in runs) / 2**20:,.0f} MiB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
