"""ScanConfig: one form, one hash, there and back through options of a statement."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_io import OptionError, ScanConfig
from schema_spec import ColumnSpec, TableSpec, parse_ddl

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
FIELDS = st.sampled_from(
    [
        pa.field("a", pa.int64(), nullable=False, metadata={"k": "é", "b": "1"}),
        pa.field("b", pa.string_view()),
        pa.field("c", pa.dictionary(pa.int16(), pa.string())),
        pa.field("d", pa.struct([pa.field("x", pa.list_(pa.decimal128(5, 2)), nullable=False)])),
        pa.field("e", pa.map_(pa.string(), pa.timestamp("us", "UTC"))),
    ]
)
MOMENTS = st.datetimes(
    datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5)))
)


@st.composite
def configs(draw):
    pinned = draw(st.sampled_from(["version", "timestamp", "newest"]))
    fields = draw(st.none() | st.lists(FIELDS, unique_by=lambda field: field.name))
    return ScanConfig(
        file_column=draw(st.none() | NAMES.map("f{}".format)),
        row_index_column=draw(st.none() | NAMES.map("r{}".format)),
        view_types=draw(st.none() | st.booleans()),
        wrap_partition_values=draw(st.booleans()),
        pushdown=draw(st.none() | st.booleans()),
        schema=None if fields is None else pa.schema(fields),
        files=draw(st.none() | st.lists(NAMES)),
        version=draw(st.integers(0, 2**40)) if pinned == "version" else None,
        timestamp=draw(MOMENTS) if pinned == "timestamp" else None,
    )


@given(configs())
def test_options_of_a_statement_bring_a_configuration_back(config):
    again = ScanConfig.from_options(config.to_options())
    assert again == config
    assert again.identity_hash == config.identity_hash
    assert json.loads(json.dumps(dict(config.payload))) == dict(config.payload)


@given(configs(), configs())
def test_the_hash_tells_configurations_apart(one, other):
    assert (one.payload == other.payload) == (one.identity_hash == other.identity_hash)


def test_the_hash_is_the_same_in_another_process():
    config = ScanConfig(files=["b", "a"], timestamp="2024-01-01T02:00:00+02:00")
    assert config == ScanConfig(files=("a", "b", "b"), timestamp=datetime(2024, 1, 1, tzinfo=UTC))
    code = (
        "from delta_io import ScanConfig;"
        f"print(ScanConfig.from_options({config.to_options()!r}).identity_hash, ScanConfig().identity_hash)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == [config.identity_hash, ScanConfig().identity_hash]


def test_false_and_left_out_differ_where_the_engine_may_choose():
    hashes = {ScanConfig(pushdown=value).identity_hash for value in (None, False, True)}
    assert len(hashes) == 3
    assert ScanConfig(files=[]).identity_hash != ScanConfig().identity_hash


def test_added_columns_come_in_a_fixed_order():
    config = ScanConfig(row_index_column="_row", file_column="_file")
    assert config.added_columns.names == ["_file", "_row"]
    assert ScanConfig().added_columns == pa.schema([])


def test_ddl_options_are_scan_options():
    spec = TableSpec("orders", [ColumnSpec("id", "long")])
    config = ScanConfig(file_column="_file", wrap_partition_values=True, files=["it's.parquet"], version=3)
    pytest.importorskip("sqlglot")
    statement = spec.to_ddl(location="/lake/orders", options=config.to_options())
    assert ScanConfig.from_options(parse_ddl(statement).options) == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_colum": "f"}, "the closest is 'file_column'"),
        ({"pushdown": "maybe"}, "neither true nor false"),
        ({"version": "x"}, "version"),
        ({"version": "-1"}, "negative"),
        ({"version": "1", "VERSION": "1"}, "given twice"),
        ({"version": "1", "timestamp": "2024-01-01"}, "both given"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"files": "a.parquet"}, "files"),
        ({"files": "[1]"}, "files"),
        ({"schema": "%%%"}, "schema"),
        ({"schema": "aGVsbG8="}, "schema"),
        ({"file_column": "x", "row_index_column": "X"}, "are called 'x'"),
        ({"file_column": ""}, "empty"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ScanConfig.from_options(options)


@pytest.mark.parametrize(
    "options",
    [
        {"version": True},
        {"pushdown": "yes"},
        {"wrap_partition_values": None},
        {"files": "a.parquet"},
        {"files": [1]},
        {"schema": {"a": "long"}},
        {"file_column": 3},
        {"timestamp": 3},
        {"timestamp": "soon"},
        {"schema": pa.schema([("f", pa.int64())]), "file_column": "f"},
    ],
)
def test_values_of_the_wrong_kind_are_refused(options):
    with pytest.raises(OptionError):
        ScanConfig(**options)
