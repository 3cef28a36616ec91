"""How tables are written: columns by policy, order, contracts, rows that are refused."""

from __future__ import annotations

import json
import random
import weakref
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import (
    BloomFilter,
    ColumnPolicy,
    ConstraintError,
    OptionError,
    SchemaMismatchError,
    Table,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, Range, TableSpec

COLUMNS = [ColumnSpec("id", "long"), ColumnSpec("name", "string"), ColumnSpec("day", "date")]
SPEC = TableSpec("t", COLUMNS)


def made(path: Path, policy: WritePolicy | None = None, spec: TableSpec = SPEC) -> Table:
    return Table.create(str(path / "t"), spec, policy=policy)


def numbers(count: int) -> pa.Table:
    ids = list(range(count))
    random.Random(7).shuffle(ids)
    return pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{each % 97:03}" for each in ids]})


def footers(table: Table) -> list[pq.FileMetaData]:
    return [pq.ParquetFile(path).metadata for path in sorted(Path(table.uri).glob("*.parquet"))]


def test_columns_are_written_as_their_policy_says(tmp_path):
    policy = WritePolicy(
        compression="ZSTD",
        row_group_rows=1000,
        columns={
            "id": ColumnPolicy(encoding="DELTA_BINARY_PACKED", bloom_filter=BloomFilter(fpp=0.001, ndv=1000)),
            "name": ColumnPolicy(dictionary=False, statistics="NONE"),
        },
    )
    commit = made(tmp_path, policy).write(numbers(5000))
    (footer,) = footers(Table(str(tmp_path / "t")))
    assert footer.num_row_groups == 5
    group = footer.row_group(0)
    ids, names, days = (group.column(index) for index in range(3))
    assert "DELTA_BINARY_PACKED" in ids.encodings
    assert ids.bloom_filter_length > 0
    assert not names.has_dictionary_page
    assert names.statistics is None
    assert (ids.compression, days.bloom_filter_offset) == ("ZSTD", None)
    assert commit.bloom_filters is not None
    assert (commit.bloom_filters.row_groups, commit.bloom_filters.columns) == (5, {"id": 5})
    assert commit.bloom_filters.bytes > 0


def test_a_contract_asks_for_bloom_filters_on_every_write_path(tmp_path):
    asked = ColumnSpec("id", "long", metadata={"bloom_filter": {"fpp": 0.05, "ndv": 100}})
    table = made(tmp_path, spec=TableSpec("t", [asked, *COLUMNS[1:]]))
    again = Table(table.uri)  # the contract is read back from the table itself
    reports = [
        again.write(numbers(10)),
        again.merge(numbers(20), on="id"),
        again.update({"name": "'x'"}, "id = 3"),
        again.delete("id = 4"),
        again.write(numbers(3), mode="overwrite"),
    ]
    for commit in reports:
        assert commit.files
        assert commit.bloom_filters is not None
        assert commit.bloom_filters.columns == {"id": commit.bloom_filters.row_groups}


@pytest.mark.parametrize(
    ("asked", "message"),
    [("yes", "asks for a Bloom filter"), ({"fpp": 2}, "fpp is 2"), ({"npv": 3}, "unknown field")],
)
def test_a_contract_that_asks_wrongly(tmp_path, asked, message):
    spec = TableSpec("t", [ColumnSpec("id", "long", metadata={"bloom_filter": asked})])
    with pytest.raises(OptionError, match=message):
        made(tmp_path, spec=spec).write(pa.table({"id": [1]}))


def test_policies_of_columns_that_cannot_have_one(tmp_path):
    spec = TableSpec("t", [*COLUMNS, ColumnSpec("s", "struct<x: long>")], partition_by=["day"])
    table = made(tmp_path, spec=spec)
    for name, error in (("nme", SchemaMismatchError), ("s", OptionError), ("day", OptionError)):
        policy = WritePolicy(columns={name: ColumnPolicy(dictionary=False)})
        with pytest.raises(error, match=name):
            Table(table.uri, policy=policy).write(numbers(1))
    assert table.snapshot().version == 0


@pytest.mark.parametrize(
    "options",
    [
        {"colums": {}},
        {"sort_by": ["a"], "z_order_by": ["b"]},
        {"sort_run_bytes": 0},
    ],
)
def test_policies_that_make_no_sense(options):
    with pytest.raises((OptionError, TypeError)):
        WritePolicy(**options)


def test_columns_that_make_no_sense():
    for options in ({"fpp": 0}, {"fpp": 1.0}, {"ndv": 0}):
        with pytest.raises(OptionError):
            BloomFilter(**options)
    with pytest.raises(OptionError):
        ColumnPolicy(encoding="PLAIN", dictionary=True)


def test_statistics_columns(tmp_path):
    table = made(tmp_path, WritePolicy(statistics_columns=("name",)))
    table.write(numbers(3))
    log = (Path(table.uri) / "_delta_log" / f"{1:020}.json").read_text().splitlines()
    (stats,) = [json.loads(line)["add"]["stats"] for line in log if '"add"' in line]
    assert list(json.loads(stats)["minValues"]) == ["name"]
    with pytest.raises(Exception, match="nme"):
        made(tmp_path / "other", WritePolicy(statistics_columns=("nme",)))


def test_sorted_writes(tmp_path):
    table = made(tmp_path, WritePolicy(sort_by=("name", "id")))
    table.write(numbers(5000))
    rows = table.snapshot().to_reader(["name", "id"]).read_all().to_pylist()
    keys = [(row["name"], row["id"]) for row in rows]
    assert keys == sorted(keys)


def test_a_stream_is_sorted_in_runs(tmp_path):
    data = numbers(10_000)
    policy = WritePolicy(sort_by=("id",), sort_run_bytes=data.nbytes // 4)
    table = made(tmp_path, policy)
    batches = data.to_batches(max_chunksize=500)
    table.write(pa.RecordBatchReader.from_batches(data.schema, batches))
    ids = table.snapshot().to_reader(["id"]).read_all()["id"].to_pylist()
    assert sorted(ids) == list(range(10_000))
    descents = sum(later < earlier for earlier, later in pairwise(ids))
    assert 1 <= descents <= 12  # in no order there would be thousands


class Memory(bytearray):
    """Memory that is known to be held."""


def test_few_batches_of_a_stream_are_held_at_once(tmp_path):
    rows, held, most = 262_144, set[int](), 0

    def batches():
        nonlocal most
        for number in range(24):
            memory = Memory(random.Random(number).randbytes(rows * 8))
            held.add(number)
            weakref.finalize(memory, held.discard, number)
            column = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(memory)])
            del memory
            most = max(most, len(held))
            yield pa.RecordBatch.from_arrays([column] * 2, ["c0", "c1"])
            del column

    spec = TableSpec("t", [ColumnSpec("c0", "long"), ColumnSpec("c1", "long")])
    data = pa.RecordBatchReader.from_batches(spec.to_arrow(), batches())
    assert made(tmp_path, spec=spec).write(data).rows == 24 * rows
    assert most <= 10  # deltalake alone has some 16 batches under way, whatever their size


def test_z_order_narrows_every_column(tmp_path):
    chance = random.Random(1)
    points = [(chance.randrange(1000), f"{chance.randrange(1000):03}") for _ in range(16_000)]
    data = pa.table({"id": [x for x, _ in points], "name": [y for _, y in points]})

    def spans(policy: WritePolicy, folder: str) -> list[float]:
        table = made(tmp_path / folder, policy)
        table.write(data)
        (footer,) = footers(table)
        groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
        widths = []
        for column in (0, 1):
            bounds = [
                (int(g.column(column).statistics.min), int(g.column(column).statistics.max)) for g in groups
            ]
            widths.append(sum(high - low for low, high in bounds) / len(bounds))
        return widths

    plain = spans(WritePolicy(row_group_rows=1000), "plain")
    curved = spans(WritePolicy(row_group_rows=1000, z_order_by=("id", "name")), "curved")
    assert all(after < before * 0.6 for before, after in zip(plain, curved, strict=True))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.none() | st.integers(-5, 5), st.none() | st.text(max_size=2)), max_size=30),
    curve=st.booleans(),
)
def test_order_keeps_every_row(tmp_path_factory, rows, curve):
    order = {"z_order_by" if curve else "sort_by": ("id", "name")}
    table = made(tmp_path_factory.mktemp("ordered"), WritePolicy(**order, sort_run_bytes=200))
    schema = pa.schema([("id", pa.int64()), ("name", pa.string())])
    data = pa.Table.from_pylist([{"id": a, "name": b} for a, b in rows], schema)
    table.write(pa.RecordBatchReader.from_batches(schema, data.to_batches(max_chunksize=4)))
    assert bag(table.snapshot().to_reader(["id", "name"]).read_all()) == bag(data)


def test_masked_columns_do_not_show_in_errors(tmp_path):
    spec = TableSpec(
        "t",
        [ColumnSpec("id", "long"), ColumnSpec("secret", "string", metadata={"masked": True})],
        constraints=[Range("small", "id", maximum=5)],
    )
    table = made(tmp_path, spec=spec)
    data = pa.table({"id": [1, 7, 8], "secret": ["open", "pass|word", "hunter2"]})
    with pytest.raises(ConstraintError) as caught:
        table.write(data)
    message = str(caught.value)
    assert "2 rows break a constraint" in message
    assert "hunter2" not in message
    assert "word" not in message
    assert "8 | ***" in message


def test_the_contract_adds_columns_to_the_table(tmp_path):
    table = made(tmp_path)
    table.write(numbers(2))
    wider = TableSpec("t", [*COLUMNS, ColumnSpec("note", "string", default="none")])
    opened = Table(table.uri, spec=wider)
    opened.write(numbers(1))  # no value of the new column: the table stays as it is
    assert opened.snapshot().schema.names == ["id", "name", "day"]
    opened.write(numbers(1).append_column("note", pa.array(["x"])))
    assert opened.snapshot().schema.names == ["id", "name", "day", "note"]
    opened.write(numbers(1))
    notes = opened.snapshot().to_reader(["note"]).read_all()["note"].to_pylist()
    assert sorted(map(str, notes)) == ["None", "None", "None", "none", "x"]


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        ([ColumnSpec("id", "string"), *COLUMNS[1:]], {}),
        ([*COLUMNS, ColumnSpec("need", "long", nullable=False)], {}),
        (COLUMNS, {"partition_by": ["day"]}),
        (COLUMNS[:2], {"evolution": "strict"}),
        ([*COLUMNS, ColumnSpec("more", "long")], {"evolution": "strict"}),
    ],
)
def test_a_table_that_breaks_the_contract(tmp_path, columns, fields):
    table = made(tmp_path)
    with pytest.raises(SchemaMismatchError, match="breaks contract"):
        Table(table.uri, spec=TableSpec("t", columns, **fields))


def test_a_contract_may_leave_columns_out(tmp_path):
    table = made(tmp_path)
    assert Table(table.uri, spec=TableSpec("t", COLUMNS[:2])).snapshot().schema.names == ["id", "name", "day"]
