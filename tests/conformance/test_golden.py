"""Tables with known rows are read right through every surface, or refused with a documented code.

The tables come from the repository delta-io/delta-kernel-rs. They are looked for in the folder that
``FRESHLAKE_GOLDEN`` names, else beside the checkout.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import SessionFactory
from workspace import ROOT

GOLDEN = Path(os.environ.get("FRESHLAKE_GOLDEN", ROOT.parent / "shared" / "acceptance" / "golden"))
ARCHIVES = {path.name.removesuffix(".tar.zst"): path for path in sorted(GOLDEN.glob("*.tar.zst"))}

pytestmark = pytest.mark.skipif(not ARCHIVES, reason=f"no golden tables in {GOLDEN.name} beside the checkout")

# What a table needs its reader to know, and this release may say that it does not.
MAY_BE_REFUSED = {
    "basic-with-vacuum-protocol-check-feature",
    "data-reader-timestamp_ntz-id-mode",
    "data-reader-timestamp_ntz-name-mode",
    "data-skipping-basic-stats-all-types-columnmapping-id",
    "data-skipping-basic-stats-all-types-columnmapping-name",
    "dv-partitioned-with-checkpoint",
    "dv-with-columnmapping",
    "log-replay-dv-key-cases",
    "table-with-columnmapping-mode-id",
    "table-with-columnmapping-mode-name",
}

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


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack every golden table, once."""
    folder = tmp_path_factory.mktemp("golden")
    for path in ARCHIVES.values():
        with pa.input_stream(str(path), compression="zstd") as stream:
            _unpack(stream, folder)
    return folder


def _unpack(stream: Any, folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(folder, filter="data")


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.__name__)
@pytest.mark.parametrize("case", ARCHIVES)
def test_golden_table(
    unpacked: Path, documented_codes: set[str], case: str, surface: Callable[[str], pa.Table]
):
    if case in MAY_BE_REFUSED and (code := refusal(surface, unpacked / case / "delta")):
        assert code in documented_codes
        return

    rows = surface(str(unpacked / case / "delta"))

    assert difference(rows, unpacked / case / "expected", CORRECTED.get(case, {})) == (0, 0)


def refusal(surface: Callable[[str], pa.Table], table: Path) -> str | None:
    """Return the code with which a surface refuses a table, if it does."""
    try:
        surface(str(table))
    except Exception as error:  # noqa: BLE001 - whatever it is, its code is what is judged
        return str(getattr(error, "code", repr(error)))
    return None


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


def quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
