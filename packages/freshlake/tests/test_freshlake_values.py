"""JSON forms of Arrow values, as documented."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshlake import _values

CASES = [
    (pa.null(), None, None),
    (pa.bool_(), True, True),
    (pa.int64(), 2**63 - 1, 2**63 - 1),
    (pa.uint64(), 2**64 - 1, 2**64 - 1),
    (pa.float32(), 0.5, 0.5),
    (pa.float64(), math.nan, "NaN"),
    (pa.float64(), math.inf, "Infinity"),
    (pa.float16(), -math.inf, "-Infinity"),
    (pa.decimal128(10, 2), Decimal("1.50"), "1.50"),
    (pa.decimal256(60, 0), Decimal(10**55), "1" + "0" * 55),
    (pa.decimal128(5, -2), Decimal(12300), "12300"),
    (pa.string(), 'a"\n\u2028', 'a"\n\u2028'),
    (pa.string_view(), "x", "x"),
    (pa.binary(), b"\x00\xff", "AP8="),
    (pa.binary_view(), b"", ""),
    (pa.binary(2), b"ab", "YWI="),
    (pa.date32(), dt.date(2026, 2, 28), "2026-02-28"),
    (pa.date32(), -1_000_000, "-000768-02-04"),
    (pa.date64(), dt.date(2024, 2, 29), "2024-02-29"),
    (pa.time32("s"), dt.time(9, 30), "09:30:00"),
    (pa.time64("ns"), 1, "00:00:00.000000001"),
    (pa.timestamp("s"), 2**40, "+036812-02-20T00:36:16"),
    (pa.timestamp("us"), dt.datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),
    (pa.timestamp("ns"), -1, "1969-12-31T23:59:59.999999999"),
    (pa.timestamp("ms", "Europe/Berlin"), 0, "1970-01-01T00:00:00.000Z"),
    (pa.duration("ms"), -1500, "-PT1.500S"),
    (pa.duration("s"), 90, "PT90S"),
    (pa.month_day_nano_interval(), (1, 2, 3), "P1M2DT0.000000003S"),
    (pa.list_(pa.float64()), [1.0, None, math.inf], [1.0, None, "Infinity"]),
    (pa.large_list(pa.decimal128(3, 1)), [Decimal("1.0")], ["1.0"]),
    (pa.list_(pa.int8(), 2), [1, 2], [1, 2]),
    (pa.list_view(pa.int8()), [], []),
    (pa.struct({"a": pa.binary(), "b": pa.date32()}), {"a": b"x", "b": None}, {"a": "eA==", "b": None}),
    (pa.map_(pa.string(), pa.int64()), [("k", None)], [{"key": "k", "value": None}]),
    (pa.dictionary(pa.int8(), pa.string()), "x", "x"),
    (pa.uuid(), b"0" * 16, "MDAwMDAwMDAwMDAwMDAwMA=="),
]


@pytest.mark.parametrize(("kind", "value", "expected"), CASES, ids=lambda each: str(each)[:40])
def test_json_forms(kind, value, expected):
    array = pa.array([value, None], type=kind)
    encode = _values.encoder(kind)
    shown = [encode(scalar) for scalar in array]
    assert shown == [expected, None]
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_run_end_encoded_values_are_those_stored():
    array = pa.RunEndEncodedArray.from_arrays([2, 3], [1.5, None])
    assert [_values.encoder(array.type)(scalar) for scalar in array] == [1.5, 1.5, None]


@given(st.dates())
def test_dates_are_those_of_the_calendar(day):
    scalar = pa.scalar(day, pa.date32())
    assert _values.encoder(scalar.type)(scalar) == day.isoformat()


@given(st.datetimes())
def test_timestamps_are_those_of_the_calendar(moment):
    scalar = pa.scalar(moment, pa.timestamp("us"))
    assert _values.encoder(scalar.type)(scalar) == moment.isoformat(timespec="microseconds")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20))
def test_decimals_keep_every_digit(number):
    scalar = pa.scalar(number, pa.decimal128(38, 4))
    text = _values.encoder(scalar.type)(scalar)
    assert Decimal(text) == number
    assert len(text.partition(".")[2]) == 4


def test_names_that_no_object_can_hold():
    inner = pa.struct([pa.field("x", pa.int8()), pa.field("x", pa.int8())])
    schema = pa.schema([pa.field("a", pa.int8()), pa.field("a", pa.int8()), pa.field("s", pa.list_(inner))])
    assert _values.repeated_names(schema) == ("a", "x")
    assert _values.repeated_names(pa.schema({"a": pa.int8(), "b": pa.struct({"a": pa.int8()})})) == ()
