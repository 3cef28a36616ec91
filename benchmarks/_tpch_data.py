"""TPC-H data: generated once, written to Delta, and linked as bare Parquet files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from string import Template

import pyarrow as pa
import pyarrow.parquet as pq

from delta_io import Snapshot, Table
from schema_spec import TableSpec

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
QUERIES = Path(__file__).parent / "tpch"


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The eight tables at one scale factor, and the key sets of the look-up queries."""

    scale: Decimal
    folder: Path
    keys: Mapping[str, pa.Table]
    point_key: int

    def snapshot(self, table: str) -> Snapshot:
        """Open a table at its newest version."""
        return Table(str(self.folder / "delta" / table)).snapshot()

    def parquet_files(self, table: str) -> list[str]:
        """List the live files of a table, as hard links in a folder that holds nothing else."""
        return sorted(str(path) for path in self.listing(table).glob("*.parquet"))

    def listing(self, table: str) -> Path:
        """Return the folder with the live files of a table."""
        return self.folder / "listing" / table


def prepare(folder: Path, scale: Decimal) -> Lake:
    """Generate, write and link what is not there yet.

    Parameters
    ----------
    folder : Path
        Where the data is kept between runs.
    scale : Decimal
        TPC-H scale factor; 1 is about 8.7 million rows.
    """
    missing = [table for table in TABLES if not (folder / "listing" / table).exists()]
    if missing:
        generate(folder / "generated", missing, scale)
    for table in missing:
        write_delta(folder / "generated" / f"{table}.parquet", folder / "delta" / table)
        link_live_files(folder / "delta" / table, folder / "listing" / table)
    shutil.rmtree(folder / "generated", ignore_errors=True)
    keys = order_keys(folder / "listing" / "orders")
    return Lake(scale=scale, folder=folder, keys=key_sets(keys), point_key=keys[len(keys) // 3].as_py())


def generate(folder: Path, tables: Sequence[str], scale: Decimal) -> None:
    """Run the generator."""
    beside = Path(sys.executable).with_name("tpchgen-cli")
    program = str(beside) if beside.exists() else shutil.which("tpchgen-cli")
    if program is None:
        msg = "tpchgen-cli is not installed; run this with `uv run python benchmarks/tpch.py`"
        raise FileNotFoundError(msg)
    only = [argument for table in tables for argument in ("-T", table)]
    command = [program, "parquet", "--field-ids=false", "-s", str(scale), "-o", str(folder), *only]
    subprocess.run([*command, "--overwrite"], check=True, stdout=subprocess.DEVNULL)


def write_delta(source: Path, target: Path) -> None:
    """Write one generated file as a Delta table."""
    shutil.rmtree(target, ignore_errors=True)
    file = pq.ParquetFile(source)
    schema = file.schema_arrow
    rows = pa.RecordBatchReader.from_batches(schema, file.iter_batches())
    Table.create(str(target), TableSpec.from_arrow(target.name, schema)).write(rows)


def link_live_files(delta: Path, folder: Path) -> None:
    """Make a folder that holds a table's live files and nothing else, with no byte copied."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, path in enumerate(Table(str(delta)).snapshot().add_actions()["path"].to_pylist()):
        os.link(delta / path, partial / f"part-{number:05}.parquet")
    partial.rename(folder)


def order_keys(orders: Path) -> pa.Int64Array:
    """Read all order keys in ascending order."""
    return pq.read_table(orders, columns=["o_orderkey"])["o_orderkey"].combine_chunks().sort()


def key_sets(keys: pa.Int64Array) -> dict[str, pa.Table]:
    """Pick neighbouring and spread order keys."""
    start = len(keys) // 2
    adjacent = range(start, start + 1500)
    spread = range(0, len(keys), len(keys) // 1500)[:1500]
    few = range(7, len(keys), len(keys) // 15)[:15]
    rows = {"keys_adjacent": adjacent, "keys_spread": spread, "keys_few": few}
    return {name: pa.table({"k": keys.take(pa.array(picked))}) for name, picked in rows.items()}


def tpch_queries(scale: Decimal) -> dict[str, str]:
    """Read the 22 queries, with the parameters of the specification's validation run."""
    fraction = format(Decimal("0.0001") / scale, "f")
    return {
        path.stem.upper(): Template(path.read_text(encoding="utf-8")).substitute(fraction=fraction)
        for path in sorted(QUERIES.glob("q*.sql"))
    }


def lookup_queries(lake: Lake) -> dict[str, str]:
    """Return the queries that want few rows of the largest table."""
    semi_join = (
        "select l_orderkey, sum(l_extendedprice) as total from lineitem "
        "where l_orderkey in (select k from {keys}) group by l_orderkey"
    )
    return {
        "point query": (
            "select l_linenumber, l_partkey, l_quantity, l_extendedprice "
            f"from lineitem where l_orderkey = {lake.point_key}"
        ),
        "1,500 adjacent keys": semi_join.format(keys="keys_adjacent"),
        "1,500 spread keys": semi_join.format(keys="keys_spread"),
        "15 spread keys": semi_join.format(keys="keys_few"),
    }
