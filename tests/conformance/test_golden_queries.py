"""Queries over tables with known rows answer as they do over the same rows in memory.

Rows in memory know no files, bounds, partitions, vectors or mappings, so nothing can be skipped there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datafusion import SessionContext

from datafusion_ext import EngineError
from delta_io import DeltaIoError, Table
from df_runtime import DfRuntimeError, RuntimeProfile, Session, SessionFactory
from golden import ARCHIVES, needs_golden, quoted

pytestmark = needs_golden

QUICK_COLUMNS = 3
SMALL_ROWS = 1000
Query = tuple[str, dict[str, Any]]


def session_over(partitions: int) -> Session:
    settings = {"datafusion.optimizer.repartition_file_min_size": "1"}
    return SessionFactory(RuntimeProfile(target_partitions=partitions, settings=settings)).open()


def bag(rows: pa.Table) -> Counter[str]:
    return Counter(repr(list(row.values())) for row in rows.to_pylist())


@cache
def rows_in_memory(uri: str, version: int | None = None) -> pa.Table:
    return Table(uri).snapshot(version=version).to_reader().read_all()


def is_ordered(kind: pa.DataType) -> bool:
    return not pa.types.is_nested(kind)


def filters(path: str, kind: pa.DataType, values: list[Any]) -> Iterator[Query]:
    yield f"{path} IS NULL", {}
    yield f"{path} IS NOT NULL", {}
    present = [each for each in values if each is not None]
    if not is_ordered(kind) or not present:
        return
    middle, other = present[len(present) // 2], present[0]
    for operator in ("=", "<>", "<", ">="):
        yield f"{path} {operator} $value", {"value": middle}
    yield f"{path} IN ($value, $other)", {"value": middle, "other": other}
    yield f"{path} NOT IN ($value)", {"value": other}
    yield f"NOT ({path} > $value) OR {path} IS NULL", {"value": middle}
    if pa.types.is_string(kind) and middle:
        yield f"{path} LIKE $start", {"start": middle[:1] + "%"}
    if pa.types.is_integer(kind):
        yield f"{path} + 1 > $value", {"value": middle}
        yield f"CAST({path} AS VARCHAR) = $value", {"value": str(middle)}


def paths(rows: pa.Table) -> Iterator[tuple[str, pa.DataType, list[Any]]]:
    """Name the columns, and the fields of those that are structs."""
    for field in rows.schema:
        values = rows[field.name].to_pylist()
        yield quoted(field.name), field.type, values
        if pa.types.is_struct(field.type):
            for inner in field.type:
                inside = [None if each is None else each[inner.name] for each in values]
                yield f"{quoted(field.name)}['{inner.name}']", inner.type, inside


def queries(rows: pa.Table, columns: int | None) -> Iterator[Query]:
    small = rows.num_rows <= SMALL_ROWS
    shown = "*" if small else "count(*)"
    yield "SELECT count(*) FROM {t}", {}
    for path, kind, values in list(paths(rows))[:columns]:
        for condition, params in filters(path, kind, values):
            yield f"SELECT {shown} FROM {{t}} WHERE {condition}", params
        yield f"SELECT count({path}), count(*) FROM {{t}}", {}
        if small:
            yield f"SELECT {path} FROM {{t}}", {}
        if is_ordered(kind):
            yield f"SELECT min({path}), max({path}) FROM {{t}}", {}
            yield f"SELECT {path} FROM {{t}} ORDER BY {path} DESC NULLS LAST LIMIT 3", {}
        if is_ordered(kind) and small:
            yield f"SELECT {path}, count(*) FROM {{t}} GROUP BY {path}", {}
            join = f"SELECT count(*) FROM {{t}} a JOIN {{t}} b ON a.{path} = b.{path}"
            yield join, {}
            least = next((each for each in values if each is not None), None)
            yield f"{join} WHERE b.{path} >= $value", {"value": least}


def compare(session: Session, rows: pa.Table, columns: int | None) -> None:
    session.register("memory", rows)
    for text, params in queries(rows, columns):
        found = session.sql(text.format(t="golden"), params=params).to_arrow()
        expected = session.sql(text.format(t="memory"), params=params).to_arrow()
        assert bag(found) == bag(expected), (text, params)
    for limit in (1, 4):
        some = session.sql(f"SELECT * FROM golden LIMIT {limit}").to_arrow()
        assert some.num_rows == min(limit, rows.num_rows)
        if rows.num_rows <= SMALL_ROWS:
            assert bag(some) <= bag(rows)


@pytest.mark.parametrize("case", ARCHIVES)
def test_some_queries(unpacked: Path, case: str) -> None:
    uri = str(unpacked / case / "delta")
    with session_over(2) as session:
        session.register("golden", uri)
        compare(session, rows_in_memory(uri), QUICK_COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize("pushdown", ["false", "true"])
@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("case", ARCHIVES)
def test_all_queries(unpacked: Path, case: str, partitions: int, pushdown: str) -> None:
    uri = str(unpacked / case / "delta")
    settings = {
        "datafusion.optimizer.repartition_file_min_size": "1",
        "datafusion.execution.parquet.pushdown_filters": pushdown,
    }
    profile = RuntimeProfile(target_partitions=partitions, settings=settings)
    with SessionFactory(profile).open() as session:
        session.register("golden", uri)
        compare(session, rows_in_memory(uri), None)


@pytest.mark.parametrize("case", ARCHIVES)
def test_every_version(unpacked: Path, case: str) -> None:
    uri = str(unpacked / case / "delta")
    newest = Table(uri).snapshot().version
    with session_over(2) as session:
        for version in range(newest + 1):
            try:
                rows = rows_in_memory(uri, version)
            except DeltaIoError:
                with pytest.raises((DeltaIoError, DfRuntimeError, EngineError)):
                    read_version(session, uri, version)
                continue
            found = read_version(session, uri, version)
            assert found.num_rows == rows.num_rows
            if rows.num_rows <= SMALL_ROWS:
                assert bag(found) == bag(rows), version
            counted = session.sql("SELECT count(*) AS n FROM golden").to_arrow()
            assert counted["n"].to_pylist() == [rows.num_rows]


def read_version(session: Session, uri: str, version: int) -> pa.Table:
    session.register("golden", uri, version=version)
    return session.sql("SELECT * FROM golden").to_arrow()


@pytest.mark.parametrize("case", ARCHIVES)
def test_contexts_of_the_datafusion_package(unpacked: Path, case: str) -> None:
    uri = str(unpacked / case / "delta")
    rows = rows_in_memory(uri)
    with session_over(2) as session:
        session.register("golden", uri)
        context: SessionContext = session.context
        if rows.num_rows <= SMALL_ROWS:
            assert bag(context.sql("SELECT * FROM golden").to_arrow_table()) == bag(rows)
        assert context.sql("SELECT count(*) AS n FROM golden").to_pydict() == {"n": [rows.num_rows]}
