"""Random tables and queries: the native scan answers as a model in memory, and as deltalake's engine."""

from __future__ import annotations

import tempfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io.testing import Played, bag, histories
from df_runtime import RuntimeProfile, SessionFactory
from golden import quoted

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def literal(value: Any, kind: pa.DataType) -> str:
    """Write a value in SQL, in exactly the type of its column."""
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    doubled = str(value).replace("'", "''")
    types = {str: "'{}'", date: "DATE '{}'", float: "CAST('{}' AS DOUBLE)", Decimal: "CAST('{}' AS {})"}
    types[datetime] = "arrow_cast('{}', 'Timestamp(µs, \"UTC\")')"
    return types.get(type(value), "{}").format(doubled, str(kind).replace("128", ""))


@st.composite
def predicates(draw: st.DrawFn, schema: pa.Schema, rows: list[dict[str, Any]], depth: int = 2) -> str:
    """Draw a condition over plain columns, with values that the table has had."""
    if depth and draw(st.booleans()):
        one, two = (draw(predicates(schema, rows, depth - 1)) for _ in range(2))
        return draw(st.sampled_from([f"NOT ({one})", f"({one}) AND ({two})", f"({one}) OR ({two})"]))
    field = draw(st.sampled_from([field for field in schema if not pa.types.is_nested(field.type)]))
    values = [row[field.name] for row in rows if row[field.name] is not None]
    column = quoted(field.name)
    forms = ["{c} IS NULL", "{c} IS NOT NULL"]
    if values:
        forms += ["{c} {sign} {one}", "{one} {sign} {c}", "{c} BETWEEN {one} AND {two}"]
        forms += ["{c} IN ({one}, {two})", "{c} NOT IN ({many})", "{c} IN ({many})"]
    if values and pa.types.is_string(field.type):
        forms += [
            "{c} LIKE {prefix}",
            "{c} NOT LIKE {prefix}",
            "substr({c}, 1, 1) {sign} substr({one}, 1, 1)",
        ]
    if values and pa.types.is_integer(field.type):
        forms += ["CAST({c} AS INT) {sign} {one}", "CAST({c} AS DOUBLE) = {one}", "{c} + 1 {sign} {one}"]
    one, two = (literal(draw(st.sampled_from(values)), field.type) if values else "" for _ in range(2))
    return draw(st.sampled_from(forms)).format(
        c=column,
        sign=draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="])),
        one=one,
        two=two,
        many=", ".join([one, two] * 15),
        prefix=f"{one[:-1]}%'",
    )


@st.composite
def queries(draw: st.DrawFn, schema: pa.Schema, rows: list[dict[str, Any]]) -> str:
    """Draw a query over the table ``{t}``."""
    names = draw(st.lists(st.sampled_from(schema.names), min_size=1, unique=True))
    columns = ", ".join(map(quoted, names))
    where = f" WHERE {draw(predicates(schema, rows))}" if draw(st.integers(0, 4)) else ""
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    key = quoted(draw(st.sampled_from(plain)))
    extremes = f"min({key}) AS low, max({key}) AS high"
    other = f"(SELECT * FROM {{t}}{where})"
    return draw(
        st.sampled_from(
            [
                f"SELECT {columns} FROM {{t}}{where}",
                f"SELECT count(*) AS n, count({key}) AS some, {extremes} FROM {{t}}{where}",
                f"SELECT {key} AS key, count(*) AS n FROM {{t}}{where} GROUP BY {key}",
                f"SELECT {key} AS key FROM {{t}}{where} ORDER BY {key} DESC NULLS LAST LIMIT 3",
                f"SELECT a.{key} AS key FROM {{t}} a JOIN {other} b ON a.{key} = b.{key}",
            ]
        )
    )


def play_and_compare(data: st.DataObject, folder: Path, partitions: int, pushdown: bool) -> None:
    history = data.draw(histories())
    played: Played = history.play(folder / "t", cdf=False)
    version = data.draw(st.sampled_from(sorted(played.versions)))
    schema = played.table.snapshot(version=version).schema
    rows = played.versions[version]
    every = [row for each in played.versions.values() for row in each]
    profile = RuntimeProfile(
        target_partitions=partitions,
        settings={
            "datafusion.optimizer.repartition_file_min_size": "1",
            "datafusion.execution.parquet.pushdown_filters": str(pushdown).lower(),
        },
    )
    neighbour = QueryBuilder().register("t", DeltaTable(str(folder / "t"), version=version))
    with SessionFactory(profile).open() as session:
        session.register("t", played.table, version=version)
        session.register("model", pa.Table.from_pylist(rows, schema=schema))
        for _ in range(6):
            text = data.draw(queries(schema, every))
            expected = bag(session.sql(text.format(t="model")).to_arrow())
            assert bag(session.sql(text.format(t="t")).to_arrow()) == expected, text
            if not any(pa.types.is_floating(field.type) for field in schema):
                theirs = pa.table(neighbour.execute(text.format(t="t")))
                assert bag(theirs.rename_columns(theirs.column_names)) == expected, text


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(data=st.data(), partitions=st.sampled_from([1, 2, 7]), pushdown=st.booleans())
def test_random_queries(data: st.DataObject, partitions: int, pushdown: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play_and_compare(data, Path(folder), partitions, pushdown)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(data=st.data(), partitions=st.sampled_from([1, 2, 7]), pushdown=st.booleans())
def test_many_random_queries(data: st.DataObject, partitions: int, pushdown: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play_and_compare(data, Path(folder), partitions, pushdown)
