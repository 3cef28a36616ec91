"""One way to write, prune or read changes, in a process of its own: ``_delta_ways.py WAY FOLDER ARGUMENT``.

Prints seconds, peak memory and what was found, as JSON.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from delta_io import Table
from schema_spec import TableSpec

pc: Any = pyarrow.compute  # its functions are made when it is imported, so no type checker knows them
# They leave no file, so that an engine can run the queries although no data file is there.
PREDICATES = ("id = 5000123 AND name = 'other'", "id BETWEEN 2000000 AND 2999999 AND day > DATE '2025-01-01'")
WRITTEN = 4  # version of the table that changes, once its rows are there
DAY = pa.scalar("2025-01-01").cast(pa.date32())
Found = dict[str, Any]


def stream(folder: Path, times: int) -> pa.RecordBatchReader:
    """Read the generated rows, several times over."""
    path = folder / "lineitem.parquet"

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(times):
            yield from pq.ParquetFile(path).iter_batches()

    return pa.RecordBatchReader.from_batches(pq.read_schema(path), batches())


def write_ours(folder: Path, times: str) -> Found:
    """Write a stream through `delta_io`."""
    rows = stream(folder, int(times))
    commit = Table.create(target(folder), TableSpec.from_arrow("lineitem", rows.schema)).write(rows)
    return {"rows": commit.rows, "bytes": commit.bytes}


def write_theirs(folder: Path, times: str) -> Found:
    """Write a stream through `write_deltalake`."""
    write_deltalake(str(target(folder)), stream(folder, int(times)))
    actions = pa.table(DeltaTable(str(target(folder))).get_add_actions())
    return {"rows": pc.sum(actions["num_records"]).as_py(), "bytes": pc.sum(actions["size_bytes"]).as_py()}


def target(folder: Path) -> Path:
    """Return the folder that a write fills."""
    return folder / "written"


def prune_ours(folder: Path, name: str) -> Found:
    """Open a table and ask for the files of two predicates."""
    snapshot = Table(folder / name).snapshot()
    return {"files": [snapshot.files(each).candidates for each in PREDICATES]}


def prune_by_hand(folder: Path, name: str) -> Found:
    """Open a table with deltalake and compare the statistics it hands out; for these two predicates only."""
    actions = pa.table(DeltaTable(folder / name).get_add_actions(flatten=True))
    low, high = actions["min.id"], actions["max.id"]
    first = pc.and_(pc.less_equal(low, 5000123), pc.greater_equal(high, 5000123))
    name = pc.and_(
        pc.less_equal(actions["min.name"], "other"), pc.greater_equal(actions["max.name"], "other")
    )
    second = pc.and_(pc.less_equal(low, 2999999), pc.greater_equal(high, 2000000))
    day = pc.greater(actions["max.day"], DAY)
    return {
        "files": [actions.filter(pc.and_(one, two)).num_rows for one, two in ((first, name), (second, day))]
    }


def prune_by_query(folder: Path, name: str) -> Found:
    """Open a table with deltalake and run a query for each predicate with its engine."""
    builder = QueryBuilder().register("t", DeltaTable(folder / name))
    found = [builder.execute(f"SELECT id FROM t WHERE {each}").read_all() for each in PREDICATES]
    return {"files": [pa.table(each).num_rows for each in found]}


def prune_by_dataset(folder: Path, name: str) -> Found:
    """Open a table with deltalake as a pyarrow dataset and ask for the fragments of each predicate."""
    dataset = DeltaTable(folder / name).to_pyarrow_dataset()
    number = pc.field("id")
    filters = [
        (number == 5000123) & (pc.field("name") == "other"),
        (number >= 2000000) & (number <= 2999999) & (pc.field("day") > DAY),
    ]
    return {"files": [len(list(dataset.get_fragments(filter=each))) for each in filters]}


def changes_ours(folder: Path, name: str) -> Found:
    """Read changes through `delta_io`: all of the feed, or those of the files after the first writes."""
    changes = Table(folder / name).changes(0 if name == "feed" else WRITTEN)
    assert changes.source == name
    return {"rows": changes.to_reader().read_all().num_rows}


def changes_theirs(folder: Path, name: str) -> Found:
    """Read all changes through `load_cdf`; without a feed, the rows of both versions to be compared."""
    if name == "feed":
        found = DeltaTable(folder / name).load_cdf(starting_version=1).read_all()
        return {"rows": pa.table(found).num_rows}
    versions = [DeltaTable(folder / name, version=WRITTEN), DeltaTable(folder / name)]
    builders = [QueryBuilder().register("t", each) for each in versions]
    found = [builder.execute("SELECT * FROM t").read_all() for builder in builders]
    return {"rows": sum(pa.table(each).num_rows for each in found)}


WAYS: dict[str, Callable[[Path, str], Found]] = {
    each.__name__: each
    for each in (
        write_ours,
        write_theirs,
        prune_ours,
        prune_by_hand,
        prune_by_query,
        prune_by_dataset,
        changes_ours,
        changes_theirs,
    )
}


def main(way: str, folder: str, argument: str) -> None:
    """Run one way and print what it took."""
    shutil.rmtree(target(Path(folder)), ignore_errors=True)
    if way.startswith("write"):
        WAYS[way](Path(folder), "0")  # what is loaded at first use is no more counted than imports are
        shutil.rmtree(target(Path(folder)))
    idle = peak_bytes()
    started = time.perf_counter()
    found = WAYS[way](Path(folder), argument)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak": peak_bytes(), "idle": idle, **found}))
    shutil.rmtree(target(Path(folder)), ignore_errors=True)


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere, the figure of a process starts with that of the one that started it
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        return int(found[1]) * 1024 if found else 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
