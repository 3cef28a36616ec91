"""What Bloom filters and a known order gain, and what deletion vectors cost, through Freshlake sessions.

Run ``uv run python benchmarks/scans.py``. With ``--write docs/performance.md`` the tables replace the ones
in that file. Both sides of a comparison hold the same rows, and are timed in shuffled order in one process.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from _delta_log import add, write_log, write_vector
from _report import markdown, replace_between, setting
from _timing import Timing, Timings, disagreements, measure
from _ways import Way
from delta_io import Table, WritePolicy
from df_runtime import SessionFactory
from schema_spec import ColumnSpec, TableSpec

DATA = Path(__file__).parent / ".data"
MARK = "scans"
COLUMNS = {"id": "long", "key": "string", "amount": "double", "day": "date"}
ROW_GROUP_ROWS = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the tables, compare the answers, measure, and report."""
    options = parse_arguments(arguments)
    blooms = bloom_tables(options.data / f"bloom-{options.files}x{options.rows_per_file}", options)
    looked_up = key_of(options.files // 3, options.rows_per_file // 2)
    groups = {
        "look-up of one key": (blooms, look_ups(looked_up)),
    }
    for share in options.deleted:
        vectors = vector_tables(options.data / f"row-groups-{options.rows}-{share}", options.rows, share)
        groups[f"scans, {share:g} % deleted"] = (vectors, SCANS)
    groups["ORDER BY"] = (ordered_tables(options.data / f"ordered-{options.rows}", options.rows), ORDERED)
    tables: list[str] = []
    for title, (lakes, queries) in groups.items():
        ways = {name: way(name, folder) for name, folder in lakes.items()}
        if wrong := disagreements(ways, queries):
            print("\n".join(wrong), file=sys.stderr)
            return 1
        tables += [rendered(title, ways, queries, measure(ways, queries, rounds=options.rounds, seed=0))]
    what = f"{options.files:,} files of {options.rows_per_file:,} rows; {options.rows:,} rows in 8 files, "
    what += f"some deleted at random; {options.rounds} rounds"
    report = "\n\n".join([setting(what), "Milliseconds, best / median, and their ratios:", *tables])
    print(report)
    if options.write:
        replace_between(options.write, MARK, report)
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Bloom filters, deletion vectors and known orders.")
    parser.add_argument("--files", type=int, default=1000, help="files of the look-up (1,000)")
    parser.add_argument("--rows-per-file", type=int, default=5000, help="their rows (5,000)")
    parser.add_argument("--rows", type=int, default=8_000_000, help="rows of the scans (8,000,000)")
    parser.add_argument(
        "--deleted",
        type=float,
        nargs="+",
        default=[1.0, 10.0],
        help="per cent of them that are deleted (1 10)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (7)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that keeps the data between runs")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables to replace")
    return parser.parse_args(arguments)


def key_of(file: int, row: int) -> str:
    """Return a key; keys are spread over all files, so that bounds drop none."""
    return hashlib.blake2b(f"{file}/{row}".encode(), digest_size=8).hexdigest()


def look_ups(key: str) -> dict[str, str]:
    """Return the look-ups: of a key that is there, and of one that is not."""
    text = "SELECT id, amount FROM t WHERE key = '{}'"
    return {"one row": text.format(key), "no row": text.format("77777777beefbeef")}


SCANS = {
    "sum of everything": "SELECT count(id), sum(amount), max(key) FROM t",
    "a selective filter": "SELECT sum(amount) FROM t WHERE id % 1000 = 7",
    "a range": "SELECT sum(amount), count(*) FROM t WHERE id BETWEEN 1000000 AND 1200000",
    "groups": "SELECT day, count(*), sum(amount) FROM t GROUP BY day",
    "greatest 10": "SELECT id, key FROM t ORDER BY key DESC, id LIMIT 10",
}


ORDERED = {
    "first 10": "SELECT id, key FROM t ORDER BY id LIMIT 10",
    "first 10 that a filter leaves": "SELECT id, key FROM t WHERE amount > 252 ORDER BY id LIMIT 10",
    "all rows": "SELECT id, amount FROM t ORDER BY id",
    "a running count": "SELECT sum(n) FROM (SELECT count(*) OVER (ORDER BY id) AS n FROM t)",
    "no order wanted": "SELECT count(id), max(key) FROM t",
}


def bloom_tables(folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Write the same rows without and with Bloom filters."""
    tables = {"without Bloom filters": folder / "without", "with Bloom filters": folder / "with"}
    for name, table in tables.items():
        if (table / "_delta_log").exists():
            continue
        shutil.rmtree(table, ignore_errors=True)
        table.mkdir(parents=True)
        count = options.rows_per_file
        bloom = {"key": {"ndv": count, "fpp": 0.01}} if name == "with Bloom filters" else None
        actions: list[Mapping[str, object]] = []
        for file in range(options.files):
            keys = sorted(key_of(file, row) for row in range(count))
            rows = rows_of(range(file * count, (file + 1) * count), keys)
            actions.append(data_file(table, file, [rows], bloom_filter_options=bloom))
        write_log(table, COLUMNS, actions)
    return tables


def vector_tables(folder: Path, rows: int, share: float) -> dict[str, Path]:
    """Write rows of which a share, in per cent, is deleted by vectors, and the rows that are left.

    What is left of a row group is a row group, so that filters leave out as much on either side.
    """
    tables = {"without vectors": folder / "without", "with vectors": folder / "with"}
    for name, table in tables.items():
        if (table / "_delta_log").exists():
            continue
        shutil.rmtree(table, ignore_errors=True)
        table.mkdir(parents=True)
        draw = random.Random(0)
        actions: list[Mapping[str, object]] = []
        for file in range(8):
            ids = range(file * (rows // 8), (file + 1) * (rows // 8))
            deleted = sorted(draw.sample(range(len(ids)), int(len(ids) * share / 100)))
            keys = [f"{each * 7919 % rows:08x}" for each in ids]
            data = rows_of(ids, keys)
            starts = range(0, len(ids), ROW_GROUP_ROWS)
            groups = [data.slice(at, ROW_GROUP_ROWS) for at in starts]
            if name == "without vectors":
                dropped = set(deleted)
                left = pa.array([at not in dropped for at in range(len(ids))])
                kept = [
                    data.slice(at, ROW_GROUP_ROWS).filter(left.slice(at, ROW_GROUP_ROWS)) for at in starts
                ]
                actions.append(data_file(table, file, kept))
            else:
                groups = [data.slice(at, ROW_GROUP_ROWS) for at in starts]
                actions.append(data_file(table, file, groups, vector=write_vector(table, deleted)))
        write_log(table, COLUMNS, actions, features=["deletionVectors"])
    return tables


def ordered_tables(folder: Path, rows: int) -> dict[str, Path]:
    """Write sorted files, and the same files with a log that does not say so."""
    tables = {"order not known": folder / "unknown", "order known": folder / "known"}
    if (folder / "unknown" / "_delta_log").exists():
        return tables
    shutil.rmtree(folder, ignore_errors=True)
    spec = TableSpec("t", [ColumnSpec(name, kind) for name, kind in COLUMNS.items()])
    policy = WritePolicy(sort_by=("id",), sort_run_bytes=1 << 32, row_group_rows=ROW_GROUP_ROWS)
    known = Table.create(folder / "known", spec, policy=policy)
    for file in range(8):
        ids = range(file * (rows // 8), (file + 1) * (rows // 8))
        known.write(rows_of(ids, [f"{each * 7919 % rows:08x}" for each in ids]))
    shutil.copytree(folder / "known", folder / "unknown")
    for commit in (folder / "unknown" / "_delta_log").glob("*.json"):
        commit.write_text(commit.read_text().replace("delta_io.sorted_by", "not_said"))
    return tables


def rows_of(ids: range, keys: Sequence[str]) -> pa.Table:
    """Make rows."""
    number = pa.array(ids, pa.int64())
    amounts = pa.array([each % 1009 / 4 for each in ids], pa.float64())
    days = pa.array([20_000 + each % 365 for each in ids], pa.int32()).cast(pa.date32())
    return pa.table({"id": number, "key": pa.array(keys, pa.string()), "amount": amounts, "day": days})


def data_file(
    table: Path,
    file: int,
    groups: Sequence[pa.Table],
    *,
    vector: Mapping[str, object] | None = None,
    bloom_filter_options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Write a data file of so many row groups and describe it."""
    path = table / f"part-{file:05}.parquet"
    rows = pa.concat_tables(groups)
    with pq.ParquetWriter(path, rows.schema, bloom_filter_options=bloom_filter_options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
    keys, ids = rows["key"].to_pylist(), rows["id"].to_pylist()
    bounds = [{"id": pick(ids), "key": pick(keys)} for pick in (min, max)]
    return add(path.name, size=path.stat().st_size, rows=rows.num_rows, bounds=bounds, vector=vector)


def way(title: str, table: Path) -> Way:
    """Query a table through a session of its own."""
    session = SessionFactory().open()
    session.register("t", str(table))
    return Way(title=title, run=lambda query: session.sql(query).to_arrow())


def rendered(title: str, ways: Mapping[str, Way], queries: Mapping[str, str], timings: Timings) -> str:
    """Write one row per query: the times, and the second way's as a multiple of the first's."""
    first, second = ways
    rows: list[list[str]] = []
    for query in queries:
        one, other = timings[first, query], timings[second, query]
        ratio = f"{other.best / one.best:.2f} / {other.median / one.median:.2f}"
        rows.append([query, milliseconds(one), milliseconds(other), ratio])
    return "\n".join(markdown([title, first, second, "ratio"], rows))


def milliseconds(timing: Timing) -> str:
    """Write a time."""
    return f"{timing.best * 1e3:,.1f} / {timing.median * 1e3:,.1f}"


if __name__ == "__main__":
    sys.exit(main())
