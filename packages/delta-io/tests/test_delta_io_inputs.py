"""What may be written: any Arrow data, and the types that hold the same values in another way."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from delta_io import OptionError, SchemaMismatchError, Table
from schema_spec import ColumnSpec, TableSpec


def written(path, kind, data):
    table = Table.create(path / "t", TableSpec("t", [ColumnSpec("a", kind)]))
    assert table.write(data).operation == "WRITE"
    return table.snapshot().to_reader().read_all()["a"].to_pylist()


def one(values, kind):
    return pa.table({"a": pa.array(values, kind)})


MOMENT = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
VIEWS = pa.DictionaryArray.from_arrays(
    pa.array([0, 1, None], pa.uint32()), pa.array(["x", "y"], pa.string_view())
)


NOON = MOMENT.replace(tzinfo=None)
LISTS = [["x", None], None, []]
NUMBERS = one([[1, 2], None, [3], None], pa.large_list_view(pa.int32())).slice(1)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("string", one(["x", None], pa.string_view()), ["x", None]),
        ("string", one(["x", None], pa.large_string()), ["x", None]),
        ("string", one(["x", None], pa.large_string())["a"].dictionary_encode(), ["x", None]),
        ("string", VIEWS, ["x", "y", None]),
        ("string", pa.RunEndEncodedArray.from_arrays([2, 3], ["x", "y"]), ["x", "x", "y"]),
        ("binary", one([b"x", None], pa.binary_view()), [b"x", None]),
        ("binary", one([b"xy"], pa.binary(2)), [b"xy"]),
        ("binary", one([b"x" * 16], pa.uuid()), [b"x" * 16]),
        ("long", one([1, None], pa.uint64()), [1, None]),
        ("integer", one([1, None], pa.int64()), [1, None]),
        ("double", one([1.5], pa.float16()), [1.5]),
        ("date", one([dt.date(2024, 2, 29)], pa.date64()), [dt.date(2024, 2, 29)]),
        ("timestamp", one([MOMENT], pa.timestamp("s", "Asia/Tokyo")), [MOMENT]),
        (
            "timestamp_ntz",
            one([MOMENT.replace(tzinfo=None)], pa.timestamp("ns")),
            [MOMENT.replace(tzinfo=None)],
        ),
        ("decimal(10,2)", one([Decimal("1.25")], pa.decimal256(40, 2)), [Decimal("1.25")]),
        ("decimal(10,2)", one([Decimal("1.25")], pa.decimal32(7, 2)), [Decimal("1.25")]),
        (
            "array<string>",
            one([["x", None], None, []], pa.large_list(pa.large_string())),
            [["x", None], None, []],
        ),
        ("array<string>", one([["x"], None], pa.list_view(pa.string_view())), [["x"], None]),
        (
            "array<long>",
            one([[1, 2], None, [3], None], pa.large_list_view(pa.int32())).slice(1),
            [None, [3], None],
        ),
        ("array<long>", one([[1, 2], None], pa.list_(pa.int64(), 2)), [[1, 2], None]),
        ("array<string>", one([["x", "x"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), [["x", "x"]]),
        (
            "struct<b: string>",
            pa.StructArray.from_arrays([VIEWS], ["b"]),
            [{"b": "x"}, {"b": "y"}, {"b": None}],
        ),
        (
            "map<string,long>",
            one([[("x", 1)], None], pa.map_(pa.string_view(), pa.int8())),
            [[("x", 1)], None],
        ),
    ],
)
def test_types_that_hold_the_same_values(tmp_path, kind, data, expected):
    table = data if isinstance(data, pa.Table) else pa.table({"a": data})
    assert written(tmp_path, kind, table) == expected


@pytest.mark.parametrize(
    "data",
    [
        pl.DataFrame({"a": ["x", "y", None]}),
        pl.DataFrame({"a": ["x", "y", None]}, schema={"a": pl.Categorical}),
        pl.DataFrame({"a": ["x", "y", None]}, schema={"a": pl.Enum(["y", "x"])}),
        pd.DataFrame({"a": ["x", "y", None]}),
        pd.DataFrame({"a": pd.Categorical(["x", "y", None])}),
        duckdb.sql("SELECT unnest(['x', 'y', NULL]) AS a"),
        pa.record_batch({"a": ["x", "y", None]}),
        pa.table({"a": ["x", "y", None]}).to_batches(max_chunksize=2),
        pa.table({"a": ["x", "y", None]}).to_reader(),
    ],
    ids=[
        *("polars", "polars-categorical", "polars-enum", "pandas", "pandas-categorical", "duckdb"),
        *("batch", "batches", "reader"),
    ],
)
def test_any_arrow_data(tmp_path, data):
    assert sorted(map(str, written(tmp_path, "string", data))) == ["None", "x", "y"]


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("long", one([1.5], pa.float64()), "'a' is double in the data"),
        ("integer", one([2**40], pa.int64()), "does not fit int32.*Cast it"),
        ("timestamp", one([1], pa.timestamp("us")), "'a' is timestamp"),
        ("timestamp_ntz", one([1], pa.timestamp("ns")), "would lose data"),
        ("string", one([1], pa.time64("us")), "'a' is time64"),
        ("string", pd.DataFrame({"a": ["x"]}, index=["i"]), "Reset the data frame's index"),
    ],
)
def test_values_that_would_change_are_refused(tmp_path, kind, data, message):
    with pytest.raises(SchemaMismatchError, match=message):
        written(tmp_path, kind, data)
    assert Table(tmp_path / "t").snapshot().version == 0


@pytest.mark.parametrize("data", [[], [{"a": 1}], pl.Series("a", [1]), pl.LazyFrame({"a": [1]}), 7])
def test_what_is_no_table_is_refused(tmp_path, data):
    with pytest.raises(OptionError):
        written(tmp_path, "long", data)


_CHILD = """
import resource, sys
import pyarrow as pa
from delta_io import Table, WritePolicy
from schema_spec import ColumnSpec, TableSpec

batches, order = int(sys.argv[2]), sys.argv[3]
spec = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "string")])
ordered = {"sort_by": ["id"], "sort_run_bytes": 8 << 20} if order else {}
table = Table.create(sys.argv[1], spec, policy=WritePolicy(target_file_bytes=4 << 20, **ordered))

def rows():
    for number in range(batches):
        ids = range(number * 20_000, number * 20_000 + 20_000)
        yield pa.record_batch({"id": pa.array(ids), "v": [f"{each:032}" for each in ids]})

schema = next(rows()).schema
commit = table.write(pa.RecordBatchReader.from_batches(schema, rows()))
assert commit.rows == batches * 20_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("order", ["", "sorted"])
def test_memory_is_bounded_by_no_means_the_stream(tmp_path, order):
    def peak(batches):
        command = [sys.executable, "-c", _CHILD, str(tmp_path / f"t{batches}"), str(batches), order]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    short, long = peak(10), peak(100)  # 8 MB and 80 MB of Arrow data
    assert long < short + 60
