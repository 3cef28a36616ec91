"""Columns are found and converted in files of any age: renamed, dropped, added, widened, reordered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import datafusion
import pyarrow as pa
import pytest
from delta_files import data_file, engine_over, rows_of, scan, vector

from datafusion_ext import EngineError

UTC = dt.UTC
MODES = ["name", "id"]


def named(
    field: str, data_type: pa.DataType, physical: str, number: int, nullable: bool = True
) -> pa.Field[Any]:
    """Make a column of a mapped table."""
    metadata = {"delta.columnMapping.physicalName": physical, "delta.columnMapping.id": str(number)}
    return pa.field(field, data_type, nullable, metadata)


def stored(mode: str, physical: str, data_type: pa.DataType, number: int) -> pa.Field[Any]:
    """Make the same column as its files have it: by id, any name will do."""
    name = physical if mode == "name" else f"any-{number}"
    return pa.field(name, data_type, metadata={"PARQUET:field_id": str(number)})


def mapped_table(mode: str) -> tuple[pa.Schema, pa.Schema]:
    """Make a schema with nested columns, and that of its files."""
    point = pa.struct([named("lat", pa.float64(), "col-5", 5), named("lon", pa.float64(), "col-6", 6)])
    table = pa.schema(
        [
            named("id", pa.int64(), "col-1", 1),
            # Swapped names: `a` was called `b`, and `b` was called `a`.
            named("a", pa.string(), "b", 2),
            named("b", pa.string(), "a", 3),
            named("at", point, "col-4", 4),
            named("all", pa.list_(pa.field("element", point)), "col-7", 7),
            named("by", pa.map_(pa.string(), point), "col-8", 8),
        ]
    )
    old = pa.struct(
        [
            stored(mode, "col-6", pa.float64(), 6),
            stored(mode, "col-99", pa.string(), 99),
            stored(mode, "col-5", pa.float32(), 5),
        ]
    )
    files = pa.schema(
        [
            stored(mode, "a", pa.string(), 3),
            stored(mode, "dropped", pa.int64(), 98),
            stored(mode, "col-1", pa.int32(), 1),
            stored(mode, "col-4", old, 4),
            stored(mode, "b", pa.string(), 2),
            stored(mode, "col-7", pa.list_(pa.field("element", old)), 7),
            stored(mode, "col-8", pa.map_(pa.string(), old), 8),
        ]
    )
    return table, files


def points(*values: tuple[float, float] | None) -> list[tuple[float, str, float] | None]:
    return [None if each is None else (each[1], "?", each[0]) for each in values]


def in_order(values: list[Any], kind: pa.DataType) -> pa.Array[Any]:
    """Make structs from tuples, so that the names of their fields may be the same as others'."""
    if pa.types.is_struct(kind):
        children = [
            in_order([None if each is None else each[at] for each in values], kind.field(at).type)
            for at in range(kind.num_fields)
        ]
        absent = pa.array([each is None for each in values])
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=absent)
    return pa.array(values, kind)


def mapped_rows(files: pa.Schema) -> pa.Table:
    old = files.field(3).type
    at = in_order(points((1.5, 2.5), None, (5.5, 6.5)), old)
    several = pa.ListArray.from_arrays(
        [0, 2, 2, 3], in_order(points((1, 2), None, (3, 4)), old), type=files.field(5).type
    )
    entries = in_order(points((7, 8), (9, 10)), old)
    by = pa.MapArray.from_arrays([0, 1, 1, 2], ["x", "y"], entries).cast(files.field(6).type)
    columns = [
        ["a1", "a2", None],
        [7, 8, 9],
        pa.array([1, 2, 3], pa.int32()),
        at,
        ["b1", None, "b3"],
        several,
        by,
    ]
    return pa.Table.from_arrays(
        [column if isinstance(column, pa.Array) else pa.array(column) for column in columns], schema=files
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_mapped_columns_are_found_at_every_level(tmp_path: Path, mode: str, partitions: int) -> None:
    table, files = mapped_table(mode)
    action = data_file(
        tmp_path, "0.parquet", mapped_rows(files), row_group_size=1, deletion_vector=vector(tmp_path, [1])
    )
    delta = scan(tmp_path, table, [action], column_mapping=mode)
    engine = engine_over(delta, partitions)
    expected = [
        {
            "id": 1,
            "a": "b1",
            "b": "a1",
            "at": {"lat": 1.5, "lon": 2.5},
            "all": [{"lat": 1, "lon": 2}, None],
            "by": [("x", {"lat": 7, "lon": 8})],
        },
        {
            "id": 3,
            "a": "b3",
            "b": None,
            "at": {"lat": 5.5, "lon": 6.5},
            "all": [{"lat": 3, "lon": 4}],
            "by": [("y", {"lat": 9, "lon": 10})],
        },
    ]
    assert rows_of(engine, "SELECT * FROM t ORDER BY id") == expected
    for query, found in {
        "SELECT b, a FROM t WHERE a = 'b3'": [{"b": None, "a": "b3"}],
        "SELECT id FROM t WHERE b IS NULL": [{"id": 3}],
        "SELECT id FROM t WHERE b >= 'a'": [{"id": 1}],
        "SELECT id FROM t WHERE at['lat'] > 2": [{"id": 3}],
        "SELECT at['lon'] AS lon FROM t WHERE id = 1": [{"lon": 2.5}],
        "SELECT \"all\"[1]['lat'] AS lat FROM t WHERE id = 3": [{"lat": 3}],
        "SELECT a, count(*) AS n FROM t WHERE id < 3 GROUP BY a": [{"a": "b1", "n": 1}],
        "SELECT x.a, y.b FROM t x JOIN t y ON x.id = y.id WHERE x.id = 1": [{"a": "b1", "b": "a1"}],
        "SELECT id FROM t ORDER BY a DESC LIMIT 1": [{"id": 3}],
    }.items():
        assert rows_of(engine, query) == found, query
    context = datafusion.SessionContext()
    context.register_table("t", delta)
    assert context.sql("SELECT * FROM t WHERE id > 0 ORDER BY id").to_pylist() == expected
    assert context.sql("SELECT id FROM t WHERE a = 'b3'").to_pydict() == {"id": [3]}


@pytest.mark.parametrize("mode", MODES)
def test_mapped_tables_prune_by_statistics_and_by_partition(tmp_path: Path, mode: str) -> None:
    table = pa.schema([named("key", pa.int64(), "col-1", 1), named("part", pa.string(), "col-2", 2)])
    files = pa.schema([stored(mode, "col-1", pa.int64(), 1)])
    actions = [
        data_file(
            tmp_path,
            f"{part}/0.parquet",
            pa.table([[start, start + 1]], files),
            partition={"part": part},
        )
        for part, start in (("p", 0), ("q", 10))
    ]
    delta = scan(tmp_path, table, actions, partitions={"part": pa.string()}, column_mapping=mode)
    engine = engine_over(delta, 2)
    assert rows_of(engine, "SELECT * FROM t WHERE part = 'q' AND key > 10") == [{"key": 11, "part": "q"}]
    plan = engine.sql("SELECT * FROM t WHERE part = 'q'").explain()["physical"]
    assert plan.count(".parquet") == 1
    assert rows_of(engine, "SELECT part, sum(key) AS s FROM t GROUP BY part ORDER BY part") == [
        {"part": "p", "s": 1},
        {"part": "q", "s": 21},
    ]


def test_a_column_without_its_id_is_absent_and_not_another_of_its_name(tmp_path: Path) -> None:
    table = pa.schema([named("a", pa.int64(), "a", 1), named("b", pa.int64(), "b", 2)])
    files = pa.schema([stored("id", "b", pa.int64(), 1), pa.field("b", pa.int64())])
    action = data_file(tmp_path, "0.parquet", pa.table([[1], [2]], files))
    engine = engine_over(scan(tmp_path, table, [action], column_mapping="id"))
    assert rows_of(engine, "SELECT * FROM t") == [{"a": 1, "b": None}]


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="other") as caught:
        scan(tmp_path, pa.schema([("a", pa.int64())]), [], column_mapping="other")
    assert caught.value.code == "engine-unsupported"


def one_file(
    folder: Path, table: pa.Schema, columns: Mapping[str, pa.Array[Any]], **options: Any
) -> list[dict[str, Any]]:
    action = data_file(folder, "0.parquet", pa.table(dict(columns)), **options)
    return rows_of(engine_over(scan(folder, table, [action])), "SELECT * FROM t")


def test_fewer_reordered_and_differently_cased_columns(tmp_path: Path) -> None:
    table = pa.schema([("id", pa.int64()), ("Name", pa.string()), ("later", pa.float64())])
    columns = {"NAME": pa.array(["n"]), "ID": pa.array([1])}
    assert one_file(tmp_path, table, columns) == [{"id": 1, "Name": "n", "later": None}]


def test_nested_fields_added_later_are_null(tmp_path: Path) -> None:
    inner = pa.struct([("a", pa.int64()), ("later", pa.string())])
    table = pa.schema([("s", inner), ("l", pa.list_(inner)), ("m", pa.map_(pa.string(), inner))])
    old = pa.struct([("a", pa.int64())])
    columns = {
        "s": pa.array([{"a": 1}], old),
        "l": pa.array([[{"a": 2}, None]], pa.list_(old)),
        "m": pa.array([[("k", {"a": 3})]], pa.map_(pa.string(), old)),
    }
    assert one_file(tmp_path, table, columns) == [
        {
            "s": {"a": 1, "later": None},
            "l": [{"a": 2, "later": None}, None],
            "m": [("k", {"a": 3, "later": None})],
        }
    ]


INSTANT = dt.datetime(1969, 12, 31, 23, 59, 59, 999_000)
WIDENED = [
    (pa.int8(), pa.int16(), -5, -5),
    (pa.int8(), pa.int64(), 127, 127),
    (pa.int16(), pa.int32(), -300, -300),
    (pa.int32(), pa.int64(), 2**31 - 1, 2**31 - 1),
    (pa.float32(), pa.float64(), 0.5, 0.5),
    (pa.int8(), pa.float64(), -5, -5.0),
    (pa.int32(), pa.float64(), 2**31 - 1, float(2**31 - 1)),
    (pa.int32(), pa.decimal128(10, 0), 7, Decimal(7)),
    (pa.int64(), pa.decimal128(22, 2), -(2**63), Decimal(f"{-(2**63)}.00")),
    (pa.decimal128(5, 2), pa.decimal128(10, 4), Decimal("-999.99"), Decimal("-999.9900")),
    (pa.decimal128(18, 0), pa.decimal128(38, 10), Decimal(10**17), Decimal(10**17)),
    (pa.date32(), pa.timestamp("us"), dt.date(1, 1, 1), dt.datetime(1, 1, 1)),
    (pa.timestamp("ms"), pa.timestamp("us"), INSTANT, INSTANT),
    (pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), INSTANT, INSTANT.replace(tzinfo=UTC)),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), INSTANT, INSTANT.replace(tzinfo=UTC)),
    (pa.timestamp("ns", "UTC"), pa.timestamp("us", "UTC"), INSTANT, INSTANT.replace(tzinfo=UTC)),
    (pa.binary(), pa.string(), "é".encode(), "é"),
    (pa.large_string(), pa.string(), "é", "é"),
]


@pytest.mark.parametrize(("old", "new", "value", "shown"), WIDENED, ids=str)
def test_older_types_are_read_as_the_tables(
    tmp_path: Path, old: pa.DataType, new: pa.DataType, value: object, shown: object
) -> None:
    table = pa.schema([("id", pa.int64()), ("v", new), ("s", pa.struct([("v", new)]))])
    for number, data_type, written in ((0, old, value), (1, new, shown)):
        column = pa.array([written, None], data_type)
        nested = pa.StructArray.from_arrays([column], ["v"])
        rows = pa.table({"id": pa.array([2 * number, 2 * number + 1]), "v": column, "s": nested})
        data_file(tmp_path, f"{number}.parquet", rows, row_group_size=1)
    actions = [
        {**action(tmp_path, f"{number}.parquet"), "num_records": 2, "deletion_vector": None}
        for number in (0, 1)
    ]
    engine = engine_over(scan(tmp_path, table, actions), 2)
    rows = rows_of(engine, "SELECT * FROM t ORDER BY id")
    assert [row["v"] for row in rows] == [shown, None, shown, None]
    assert [row["s"]["v"] for row in rows] == [shown, None, shown, None]
    same = "SELECT a.id FROM t a JOIN (SELECT v FROM t WHERE id = 2) b ON a.v = b.v ORDER BY id"
    assert rows_of(engine, same) == [{"id": 0}, {"id": 2}]
    assert rows_of(engine, "SELECT count(*) AS n FROM t WHERE v IS NULL") == [{"n": 2}]
    least = "SELECT count(*) AS n FROM t WHERE v >= (SELECT min(v) FROM t)"
    assert rows_of(engine, least) == [{"n": 2}]


def action(root: Path, name: str) -> dict[str, object]:
    return {"path": name, "size_bytes": (root / name).stat().st_size, "modification_time": 0}


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (pa.string(), pa.int64(), "1"),
        (pa.float64(), pa.int64(), 1.0),
        (pa.int64(), pa.int32(), 2**40),
        (pa.decimal128(10, 4), pa.decimal128(10, 2), Decimal("0.0001")),
        (pa.timestamp("ns"), pa.timestamp("us"), 1001),
        (pa.timestamp("ms"), pa.timestamp("us"), 2**62),
        (pa.struct([("a", pa.int64())]), pa.list_(pa.int64()), {"a": 1}),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_an_error(
    tmp_path: Path, old: pa.DataType, new: pa.DataType, value: object
) -> None:
    rows = pa.table({"v": pa.array([value], old)})
    query = engine_over(
        scan(tmp_path, pa.schema([("v", new)]), [data_file(tmp_path, "0.parquet", rows)])
    ).sql("SELECT v FROM t")
    with pytest.raises((pa.ArrowException, EngineError)):
        pa.table(query)


def test_a_column_that_must_have_values_is_not_made_up(tmp_path: Path) -> None:
    table = pa.schema([("id", pa.int64()), pa.field("must", pa.int64(), nullable=False)])
    rows = data_file(tmp_path, "0.parquet", pa.table({"id": [1]}))
    with pytest.raises((pa.ArrowException, EngineError), match="must have a value"):
        rows_of(engine_over(scan(tmp_path, table, [rows])), "SELECT must FROM t")


def test_int96_timestamps_beyond_the_range_of_nanoseconds(tmp_path: Path) -> None:
    moments = [dt.datetime(2024, 2, 29, 12, tzinfo=UTC), None, dt.datetime(1700, 1, 1, tzinfo=UTC)]
    table = pa.schema([("ts", pa.timestamp("us", "UTC")), ("s", pa.struct([("ts", pa.timestamp("us"))]))])
    column = pa.array(moments, pa.timestamp("us", "UTC"))
    naive = pa.StructArray.from_arrays([column.cast(pa.timestamp("us"))], ["ts"])
    path = tmp_path / "0.parquet"
    rows = data_file(
        tmp_path, "0.parquet", pa.table({"ts": column, "s": naive}), use_deprecated_int96_timestamps=True,
        compression="none", use_dictionary=False, write_statistics=False,
    )  # fmt: skip
    data = path.read_bytes()
    julian = 2_440_588
    days = (moments[0] - dt.datetime(1970, 1, 1, tzinfo=UTC)).days
    far = (dt.datetime(9999, 12, 30, tzinfo=UTC) - dt.datetime(1970, 1, 1, tzinfo=UTC)).days
    old, new = (julian + days).to_bytes(4, "little"), (julian + far).to_bytes(4, "little")
    assert data.count(old) == 2
    path.write_bytes(data.replace(old, new))
    engine = engine_over(scan(tmp_path, table, [rows]))
    expected = [dt.datetime(9999, 12, 30, 12, tzinfo=UTC), None, moments[2]]
    found = rows_of(engine, "SELECT ts, s['ts'] AS naive FROM t")
    assert [row["ts"] for row in found] == expected
    assert [row["naive"] for row in found] == [each and each.replace(tzinfo=None) for each in expected]
    assert rows_of(engine, "SELECT count(*) AS n FROM t WHERE ts > '2024-01-01T00:00:00Z'") == [{"n": 1}]


PARTITIONS: list[tuple[pa.DataType, object, str]] = [
    (pa.string(), "é/=% b€", "v = 'é/=% b€'"),
    (pa.string(), "", "v = ''"),
    (pa.int64(), -(2**63), "v < -1"),
    (pa.int32(), 7, "v IN (1, 7)"),
    (pa.int16(), -3, "v = -3"),
    (pa.int8(), 127, "v > 126"),
    (pa.float32(), 0.5, "v = 0.5"),
    (pa.float64(), float("inf"), "v > 1e300"),
    (pa.bool_(), True, "v"),
    (pa.date32(), dt.date(1, 1, 1), "v < '1970-01-01'::date"),
    (pa.timestamp("us"), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), "v > '2300-01-01'::timestamp(6)"),
    (pa.timestamp("us", "UTC"), dt.datetime(1, 1, 1, tzinfo=UTC), "v < '1600-01-01T00:00:00'::timestamp(6)"),
    (pa.decimal128(38, 10), Decimal("-1.0000000001"), "v < -1"),
    (pa.binary(), b"\x00\xff", "v = X'00ff'"),
]


@pytest.mark.parametrize(("kind", "value", "predicate"), PARTITIONS, ids=str)
def test_partition_values_of_every_type(
    tmp_path: Path, kind: pa.DataType, value: object, predicate: str
) -> None:
    table = pa.schema([("v", kind), ("id", pa.int64())])
    rows = pa.table({"id": [1, 2]})
    actions = [
        data_file(tmp_path, f"v={number}%20 é/0.parquet", rows, partition={"v": partition})
        for number, partition in enumerate((value, None))
    ]
    engine = engine_over(scan(tmp_path, table, actions, partitions={"v": kind}), 2)
    everything = [{"v": each, "id": number} for each in (value, None) for number in (1, 2)]
    assert rows_of(engine, "SELECT * FROM t ORDER BY v NULLS LAST, id") == everything
    assert rows_of(engine, f"SELECT * FROM t WHERE {predicate} ORDER BY id") == everything[:2]
    assert rows_of(engine, "SELECT * FROM t WHERE v IS NULL ORDER BY id") == everything[2:]
    grouped = "SELECT v, sum(id) AS s FROM t GROUP BY v ORDER BY v NULLS LAST"
    assert rows_of(engine, grouped) == [{"v": value, "s": 3}, {"v": None, "s": 3}]


def test_files_outside_the_tables_folder(tmp_path: Path) -> None:
    root = tmp_path / "t"
    inside = data_file(root, "0.parquet", pa.table({"id": [1, 2]}))
    elsewhere = str(tmp_path / "other é%20 x" / "0.parquet")
    outside = data_file(root, elsewhere, pa.table({"id": [3, 4]}), deletion_vector=vector(root, [0]))
    table = scan(root, pa.schema([("id", pa.int64())]), [inside, outside])
    assert rows_of(engine_over(table), "SELECT id FROM t ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 4}]
    with pytest.raises(EngineError, match="other stores") as caught:
        scan(root, pa.schema([("id", pa.int64())]), [{**inside, "path": "s3://b/0.parquet"}])
    assert caught.value.code == "engine-unsupported"
