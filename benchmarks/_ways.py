"""The ways to run a query over the same files, each a function from SQL text to rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import datafusion
import deltalake
import duckdb
import pyarrow as pa

from _tpch_data import TABLES, Lake
from df_runtime import RuntimeProfile, SessionFactory


class OutOfMemoryError(Exception):
    """A way could not answer a query in the memory that it was given."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query, and the seconds that planning, running and fetching all of them took."""

    rows: pa.Table
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run queries.

    Attributes
    ----------
    title : str
        Heading of its column.
    run : Callable[[str], pa.Table]
        Plans and runs a query, and returns all its rows.
    exact : bool
        Whether its decimals follow the same rules as the first way's.
    """

    title: str
    run: Callable[[str], pa.Table]
    exact: bool = True

    def answer(self, query: str) -> Answer:
        """Run a query and time it; `OutOfMemoryError` says that it could not be answered."""
        start = time.perf_counter()
        rows = self.run(query)
        return Answer(rows, time.perf_counter() - start)


def freshlake(lake: Lake, memory_bytes: int) -> Way:
    """Run through a Freshlake session over pinned snapshots."""
    session = SessionFactory(RuntimeProfile(memory_limit_bytes=memory_bytes)).open()
    for table in TABLES:
        session.register(table, lake.snapshot(table))
    for name, keys in lake.keys.items():
        session.register(name, keys)
    return Way(title="Freshlake session", run=lambda query: session.sql(query).to_arrow())


def listing(lake: Lake, memory_bytes: int) -> Way:
    """Run in the datafusion package over a Parquet listing, with no Delta in between."""
    context = _context(memory_bytes)
    for table in TABLES:
        context.register_parquet(table, lake.listing(table))
    return _in_context("Parquet listing", context, lake)


def deltalake_provider(lake: Lake, memory_bytes: int) -> Way:
    """Run in the datafusion package over the deltalake package's own table provider."""
    context = _context(memory_bytes)
    for table in TABLES:
        context.register_table(table, deltalake.DeltaTable(lake.folder / "delta" / table))
    return _in_context("deltalake provider", context, lake)


def duck(lake: Lake, memory_bytes: int) -> Way:
    """Run in DuckDB over the same Parquet files."""
    connection = duckdb.connect(config={"memory_limit": f"{memory_bytes}B"})
    for table in TABLES:
        connection.read_parquet(lake.parquet_files(table)).create_view(table)
    for name, keys in lake.keys.items():
        connection.register(name, keys)
    return Way(
        title="DuckDB on Parquet",
        run=lambda query: connection.sql(query).to_arrow_table(),
        exact=False,
    )


def _context(memory_bytes: int) -> datafusion.SessionContext:
    runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_os().with_greedy_memory_pool(memory_bytes)
    return datafusion.SessionContext(runtime=runtime)


def _in_context(title: str, context: datafusion.SessionContext, lake: Lake) -> Way:
    for name, keys in lake.keys.items():
        context.register_record_batches(name, [keys.to_batches()])
    return Way(title=title, run=lambda query: context.sql(query).to_arrow_table())


WAYS: dict[str, Callable[[Lake, int], Way]] = {
    "freshlake": freshlake,
    "listing": listing,
    "deltalake": deltalake_provider,
    "duckdb": duck,
}
