"""Arrow data of any shape that a producer may give it: nested, sliced, chunked unlike its neighbours."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datafusion_ext import Engine, EngineError

Column = tuple[pa.DataType, st.SearchStrategy[Any]]
_TEXT = st.text("aé%", max_size=15)
_LEAVES: list[Column] = [
    (pa.int64(), st.integers(-5, 5)),
    (pa.bool_(), st.booleans()),
    (pa.string(), _TEXT),
    (pa.string_view(), _TEXT),
    (pa.binary_view(), st.binary(max_size=15)),
    (pa.dictionary(pa.int32(), pa.string()), _TEXT),
    (pa.decimal128(12, 2), st.integers(-999, 999).map(lambda cents: Decimal(cents).scaleb(-2))),
    (pa.date32(), st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))),
    (pa.null(), st.none()),
]


def _nested(inner: st.SearchStrategy[Column]) -> st.SearchStrategy[Column]:
    def lists(column: Column) -> Column:
        return pa.list_(column[0]), st.lists(column[1], max_size=3)

    def large(column: Column) -> Column:
        return pa.large_list(column[0]), st.lists(column[1], max_size=3)

    def fixed(column: Column) -> Column:
        return pa.list_(column[0], 2), st.lists(column[1], min_size=2, max_size=2)

    def maps(column: Column) -> Column:
        return pa.map_(pa.string(), column[0]), st.dictionaries(_TEXT, column[1], max_size=3).map(
            lambda found: list(found.items())
        )

    def structs(columns: list[Column]) -> Column:
        fields = [pa.field(f"f{at}", kind) for at, (kind, _) in enumerate(columns)]
        values = {f"f{at}": value for at, (_, value) in enumerate(columns)}
        return pa.struct(fields), st.none() | st.fixed_dictionaries(values)

    several = st.lists(inner, min_size=1, max_size=2).map(structs)
    return st.one_of(several, inner.map(lists), inner.map(large), inner.map(fixed), inner.map(maps))


def _or_null(column: Column) -> Column:
    kind, values = column
    return kind, st.none() | values


_COLUMNS = st.recursive(st.sampled_from(_LEAVES).map(_or_null), _nested, max_leaves=5).map(_or_null)


@st.composite
def _chunked(draw: st.DrawFn, rows: int) -> pa.ChunkedArray:
    """A column in chunks, empty ones too, each a slice of an array that holds more."""
    kind, values = draw(_COLUMNS)
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    bounds = list(zip([0, *cuts], [*cuts, rows], strict=True))
    chunks = []
    for start, end in bounds:
        before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        size = before + end - start + after
        array = pa.array(draw(st.lists(values, min_size=size, max_size=size)), kind)
        chunks.append(array.slice(before, end - start))
    return pa.chunked_array(chunks, kind)


@st.composite
def _tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 12))
    columns = draw(st.lists(_chunked(rows), min_size=1, max_size=3))
    return pa.table(columns, names=[f"c{at}" for at in range(len(columns))])


@settings(max_examples=300, deadline=None)
@given(_tables())
def test_rows_arrive_as_they_were(table: pa.Table) -> None:
    engine = Engine()
    engine.register_batches("kept", table)
    engine.register_stream("stream", table.to_reader())
    for name in ("kept", "stream"):
        assert pa.table(engine.sql(f"SELECT * FROM {name}")).to_pylist() == table.to_pylist()


def test_nested_structs_in_chunks_unlike_their_neighbours() -> None:
    places = pa.array([{"at": {"x": n, "y": str(n)}} for n in range(10)])
    numbers = pa.array(range(10))
    table = pa.table(
        {
            "id": pa.chunked_array([numbers[:3], numbers[3:3], numbers[3:]]),
            "place": pa.chunked_array([places]),
        }
    )
    engine = Engine()
    engine.register_batches("t", table)
    found = pa.table(engine.sql("SELECT id, place['at']['x'] AS x FROM t WHERE place['at']['y'] >= '4'"))
    assert found.to_pylist() == [{"id": n, "x": n} for n in range(4, 10)]


def test_a_stream_that_was_read_is_refused() -> None:
    reader = pa.table({"x": [1]}).to_reader()
    capsule = reader.__arrow_c_stream__()

    class Same:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return capsule

    engine = Engine()
    engine.register_batches("t", Same())
    with pytest.raises(EngineError, match="has been read"):
        engine.register_batches("again", Same())
