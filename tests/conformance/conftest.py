"""What conformance tests share: published tables, and TPC-H."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import golden
from _tpch_data import TABLES, Lake, prepare
from df_runtime import Session, SessionFactory
from small_tpch import SCALE


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack every golden table, once."""
    folder = tmp_path_factory.mktemp("golden")
    golden.unpack(folder)
    return folder


@pytest.fixture(scope="session")
def tpch_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that keeps TPC-H, as the benchmark lays it out."""
    return tmp_path_factory.mktemp("tpch")


@pytest.fixture(scope="session")
def lake(tpch_data: Path) -> Lake:
    """Make the Delta tables of TPC-H, once; tests only read them."""
    return prepare(tpch_data / f"tpch-sf{SCALE}", SCALE)


@pytest.fixture(scope="module")
def tpch_session(lake: Lake) -> Iterator[Session]:
    """Open a session over pinned snapshots of the tables."""
    with SessionFactory().open() as session:
        for table in TABLES:
            session.register(table, lake.snapshot(table))
        yield session


@pytest.fixture(scope="module")
def tpch_duck(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB over the same files."""
    with duckdb.connect() as connection:
        for table in TABLES:
            connection.read_parquet(lake.parquet_files(table)).create_view(table)
        yield connection
