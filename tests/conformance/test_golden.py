"""Tables with known rows are read right through every surface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import SessionFactory
from golden import ARCHIVES, needs_golden, quoted

pytestmark = needs_golden

# The shipped answer took the writer's time zone for the partition values; the protocol says UTC.
CORRECTED = {
    "data-reader-partition-values": {"as_timestamp": "timezone('UTC', timestamp '2021-09-08 11:11:11')"},
}


def through_session_by_uri(uri: str) -> pa.Table:
    with SessionFactory().open() as session:
        session.register("golden", uri)
        return session.sql("select * from golden").to_arrow()


def through_session_by_snapshot(uri: str) -> pa.Table:
    with SessionFactory().open() as session:
        session.register("golden", Table(uri).snapshot())
        return session.sql("select * from golden").to_arrow()


def through_snapshot_stream(uri: str) -> pa.Table:
    return Table(uri).snapshot().to_reader().read_all()


SURFACES = [through_session_by_uri, through_session_by_snapshot, through_snapshot_stream]


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.__name__)
@pytest.mark.parametrize("case", ARCHIVES)
def test_golden_table(unpacked: Path, case: str, surface: Callable[[str], pa.Table]):
    rows = surface(str(unpacked / case / "delta"))

    assert difference(rows, unpacked / case / "expected", CORRECTED.get(case, {})) == (0, 0)


def difference(rows: pa.Table, expected: Path, corrected: dict[str, str]) -> tuple[int, int]:
    """Count the rows that only one side has, as an independent engine sees it."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("actual", rows)
        connection.read_parquet(str(expected / "*.parquet")).create_view("expected")
        names = columns(connection, "actual")
        assert sorted(names) == sorted(columns(connection, "expected"))
        ours = ", ".join(map(quoted, names))
        theirs = ", ".join(
            f"if({quoted(name)} is null, null, {corrected[name]})" if name in corrected else quoted(name)
            for name in names
        )
        left, right = f"select {ours} from actual", f"select {theirs} from expected"
        return only_in(connection, left, right), only_in(connection, right, left)


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [name for name, *_ in connection.execute(f"describe {table}").fetchall()]


def only_in(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> int:
    found: Any = connection.execute(f"select count(*) from ({one} except all {other})").fetchone()
    return found[0]
