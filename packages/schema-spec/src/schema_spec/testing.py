"""Hypothesis strategies for contracts, their evolutions and matching data; needs the extra ``testing``.

`specs` draws contracts, `evolutions` what they may become, `tables` Arrow data that they describe.
`apply_alignment` reads such data the slow way, row by row in Python: a reference for engines.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, localcontext
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from hypothesis import strategies as st
from msgspec.structs import replace

from schema_spec._literals import INTEGER_BITS
from schema_spec._testing_evolutions import evolutions
from schema_spec._testing_reference import apply_alignment, table_from_rows
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import AcceptedValues, Check, Constraint, Range
from schema_spec.policies import POLICIES
from schema_spec.table import TableSpec
from schema_spec.types import (
    PREDEFINED,
    PRIMITIVES,
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    strip_semantic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "apply_alignment",
    "columns",
    "data_types",
    "evolutions",
    "names",
    "rows",
    "schemas",
    "specs",
    "table_from_rows",
    "tables",
    "values",
]

_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_KEYS: Final = ("boolean", "byte", "short", "integer", "long", "string", "binary", "date", "timestamp_ntz")


@cache
def names() -> SearchStrategy[str]:
    """Draw names of columns: mostly plain, some with spaces, quotes, other scripts.

    Returns
    -------
    SearchStrategy[str]
        Non-empty names.
    """
    plain = st.text("abcdefgh", min_size=1, max_size=3)
    odd = st.sampled_from(
        ("order id", 'quo"te', "tick`", "it's", "Größe", "数量", "select", "a.b", "🐟", "_x1")
    )
    return st.one_of(plain, plain, odd)


@cache
def data_types(*, depth: int = 2, variant: bool = True, semantic: bool = True) -> SearchStrategy[DataType]:
    """Draw types.

    Parameters
    ----------
    depth : int, default 2
        How deep lists, maps and structs may nest.
    variant : bool, default True
        Whether ``variant`` may occur.
    semantic : bool, default True
        Whether elements, keys and values may have semantic types.

    Returns
    -------
    SearchStrategy[DataType]
        Types; no semantic type at the top.
    """
    plain = [PrimitiveType(name) for name in PRIMITIVES if variant or name != "variant"]
    leaves: SearchStrategy[DataType] = st.one_of(st.sampled_from(plain), _decimals())
    if depth == 0:
        return leaves
    inner = data_types(depth=depth - 1, variant=variant, semantic=semantic)
    held = st.one_of(inner, inner, _semantics()) if semantic else inner
    keys: SearchStrategy[DataType] = st.sampled_from(_KEYS).map(PrimitiveType)
    fields = columns(depth=depth - 1, variant=variant, semantic=semantic, defaults=False)
    structs = st.lists(fields, min_size=1, max_size=2, unique_by=_folded).map(tuple)
    return st.one_of(
        leaves,
        leaves,
        leaves,
        leaves,
        st.builds(ArrayType, held, st.booleans()),
        st.builds(MapType, keys, held, st.booleans()),
        st.builds(StructType, structs),
    )


def _folded(column: ColumnSpec) -> str:
    return column.name.casefold()


@cache
def _decimals() -> SearchStrategy[DataType]:
    precisions = st.one_of(st.sampled_from((1, 9, 10, 18, 19, 38)), st.integers(1, 38))
    return precisions.flatmap(
        lambda precision: st.builds(DecimalType, st.just(precision), st.integers(0, precision))
    )


@cache
def _semantics() -> SearchStrategy[DataType]:
    own = st.builds(SemanticType, st.sampled_from(("OrderId", "shop.Sku")), st.just(PrimitiveType("long")))
    return st.one_of(st.sampled_from(sorted(PREDEFINED.values(), key=lambda each: each.name)), own)


@cache
def columns(
    *, depth: int = 2, variant: bool = True, semantic: bool = True, defaults: bool = True
) -> SearchStrategy[ColumnSpec]:
    """Draw columns.

    Parameters
    ----------
    depth : int, default 2
        How deep types may nest.
    variant : bool, default True
        Whether ``variant`` may occur.
    semantic : bool, default True
        Whether semantic types may occur.
    defaults : bool, default True
        Whether default values may occur.

    Returns
    -------
    SearchStrategy[ColumnSpec]
        Columns without a column-mapping id; `specs` adds those, distinct within a table.
    """
    kinds = data_types(depth=depth, variant=variant, semantic=semantic)
    held = st.one_of(kinds, kinds, kinds, _semantics()) if semantic else kinds
    return held.flatmap(lambda kind: _columns_of(kind, defaults=defaults))


@lru_cache(maxsize=512)
def _columns_of(kind: DataType, *, defaults: bool) -> SearchStrategy[ColumnSpec]:
    nothing = st.none()
    filled = st.one_of(nothing, nothing, nothing, _defaults(strip_semantic(kind))) if defaults else nothing
    comments = st.one_of(nothing, nothing, _TEXT)
    return st.builds(
        lambda name, nullable, default, comment, metadata: ColumnSpec(
            name, kind, nullable, default, comment=comment, metadata=metadata
        ),
        names(),
        st.booleans(),
        filled,
        comments,
        _metadata(),
    )


@cache
def _metadata() -> SearchStrategy[dict[str, Any]]:
    keys: SearchStrategy[str] = st.sampled_from(("source", "pii", "owner"))
    simple = st.one_of(_TEXT, st.integers(-(2**53), 2**53), st.booleans())
    nested = st.one_of(
        simple, st.lists(simple, max_size=2), st.dictionaries(st.just("k"), simple, max_size=1)
    )
    return st.one_of(st.just({}), st.just({}), st.dictionaries(keys, nested, max_size=2))


def _defaults(kind: DataType) -> SearchStrategy[Any]:
    return st.none() if isinstance(kind, ArrayType | MapType | StructType) else values(kind).map(_as_default)


def _as_default(value: object) -> object:
    return None if isinstance(value, dict) else value


_COMMENTS: Final = st.one_of(st.none(), _TEXT)
_PROPERTY_NAMES: Final[SearchStrategy[str]] = st.sampled_from(("delta.enableChangeDataFeed", "owner"))
_PROPERTIES: Final[SearchStrategy[dict[str, str]]] = st.dictionaries(_PROPERTY_NAMES, _TEXT, max_size=2)
_TABLE_NAMES: Final = st.sampled_from(("t", "orders", "shop.orders", "a.b.c", 'odd "name"'))


@st.composite
def specs(
    draw: DrawFn,
    *,
    min_columns: int = 1,
    max_columns: int = 4,
    depth: int = 2,
    variant: bool = True,
    semantic: bool = True,
    table_fields: bool = True,
) -> TableSpec:
    """Draw contracts.

    Parameters
    ----------
    min_columns, max_columns : int
        How many columns.
    depth : int, default 2
        How deep types may nest.
    variant : bool, default True
        Whether ``variant`` may occur.
    semantic : bool, default True
        Whether semantic types may occur.
    table_fields : bool, default True
        Whether keys, partitioning, constraints, comments and properties may occur.

    Returns
    -------
    SearchStrategy[TableSpec]
        Contracts; in about half of them, columns have column-mapping ids.
    """
    kinds = columns(depth=depth, variant=variant, semantic=semantic)
    drawn = draw(st.lists(kinds, min_size=min_columns, max_size=max_columns, unique_by=_folded))
    if draw(st.booleans()):
        drawn = [_identified(column, index + 1) for index, column in enumerate(drawn)]
    name, evolution = draw(_TABLE_NAMES), draw(st.sampled_from(POLICIES))
    if not table_fields:
        return TableSpec(name, drawn, evolution=evolution)
    keys = [
        each.name
        for each in drawn
        if not isinstance(each.type, ArrayType | MapType | StructType) and each.type.text != "variant"
    ]
    return TableSpec(
        name,
        drawn,
        primary_key=draw(st.lists(st.sampled_from(keys), unique=True, max_size=2)) if keys else (),
        partition_by=keys[:1] if len(drawn) > 1 and draw(st.booleans()) else (),
        constraints=draw(_constraints(drawn)),
        evolution=evolution,
        comment=draw(_COMMENTS),
        properties=draw(_PROPERTIES),
    )


def _identified(column: ColumnSpec, number: int) -> ColumnSpec:
    return replace(column, field_id=number, physical_name=f"col-{number}")


@st.composite
def _constraints(draw: DrawFn, drawn: Sequence[ColumnSpec]) -> list[Constraint]:
    numbers = [each for each in drawn if each.type.text in INTEGER_BITS]
    found: list[Constraint] = []
    if numbers and draw(st.booleans()):
        column = draw(st.sampled_from(numbers))
        low, high = sorted(draw(st.tuples(st.integers(-128, 127), st.integers(-128, 127))))
        found.append(Range("bounds", column.name, low, high))
    if numbers and draw(st.booleans()):
        column = draw(st.sampled_from(numbers))
        accepted = draw(st.lists(st.integers(-128, 127), min_size=1, max_size=3))
        found.append(AcceptedValues("accepted", column.name, accepted))
    if draw(st.booleans()):
        found.append(Check("holds", draw(st.sampled_from(("1 = 1", "a > 'it''s'")))))
    return found


def schemas(**limits: Any) -> SearchStrategy[pa.Schema]:
    """Draw Arrow schemas of contracts.

    Parameters
    ----------
    **limits : object
        As for `specs`.

    Returns
    -------
    SearchStrategy[pyarrow.Schema]
        Schemas with metadata and extension types.
    """
    return specs(**limits).map(TableSpec.to_arrow)


@lru_cache(maxsize=512)
def values(kind: DataType) -> SearchStrategy[Any]:
    """Draw values of a type, other than null: extremes, NaN, empty and odd text among them.

    Parameters
    ----------
    kind : DataType
        The type.

    Returns
    -------
    SearchStrategy[object]
        What ``pyarrow.array`` takes for the type.
    """
    kind = strip_semantic(kind)
    if isinstance(kind, DecimalType):
        return _decimal_values(kind)
    if isinstance(kind, ArrayType):
        return st.lists(_nullable(kind.element, nullable=kind.contains_null), max_size=3)
    if isinstance(kind, MapType):
        entries = st.tuples(values(kind.key), _nullable(kind.value, nullable=kind.value_contains_null))
        return st.lists(entries, max_size=3, unique_by=lambda entry: repr(entry[0]))
    if isinstance(kind, StructType):
        return st.fixed_dictionaries(
            {each.name: _nullable(each.type, nullable=each.nullable) for each in kind.fields}
        )
    return _PLAIN_VALUES[kind.text]


@lru_cache(maxsize=512)
def _nullable(kind: DataType, *, nullable: bool) -> SearchStrategy[Any]:
    return st.one_of(st.none(), values(kind), values(kind)) if nullable else values(kind)


def _integers(bits: int) -> SearchStrategy[int]:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return st.one_of(st.sampled_from((low, -1, 0, 1, high)), st.integers(low, high))


def _decimal_values(kind: DecimalType) -> SearchStrategy[Decimal]:
    limit = 10**kind.precision - 1

    def scaled(number: int) -> Decimal:
        with localcontext() as context:
            context.prec = 40
            return Decimal(number).scaleb(-kind.scale)

    return st.one_of(st.sampled_from((-limit, 0, limit)), st.integers(-limit, limit)).map(scaled)


_MOMENTS: Final = st.datetimes()
_PLAIN_VALUES: Final[dict[str, SearchStrategy[Any]]] = {
    "boolean": st.booleans(),
    **{name: _integers(bits) for name, bits in INTEGER_BITS.items()},
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": _TEXT,
    "binary": st.binary(max_size=8),
    "date": st.dates(),
    "timestamp": _MOMENTS.map(lambda each: each.replace(tzinfo=dt.UTC)),
    "timestamp_ntz": _MOMENTS,
    "variant": st.just({"metadata": b"\x01\x00\x00", "value": b"\x00"}),
}


def rows(spec: TableSpec, *, max_rows: int = 6) -> SearchStrategy[list[dict[str, Any]]]:
    """Draw rows that a contract's columns describe.

    Parameters
    ----------
    spec : TableSpec
        The contract; its key and constraints are not observed.
    max_rows : int, default 6
        How many rows at most; none is possible.

    Returns
    -------
    SearchStrategy[list[dict[str, object]]]
        Rows by column name.
    """
    row = {each.name: _nullable(each.type, nullable=each.nullable) for each in spec.columns}
    return st.lists(st.fixed_dictionaries(row), max_size=max_rows)


def tables(spec: TableSpec, *, max_rows: int = 6) -> SearchStrategy[pa.Table]:
    """Draw Arrow data that a contract's columns describe.

    Parameters
    ----------
    spec : TableSpec
        The contract; its key and constraints are not observed.
    max_rows : int, default 6
        How many rows at most; none is possible.

    Returns
    -------
    SearchStrategy[pyarrow.Table]
        Tables with the contract's Arrow schema.
    """
    return rows(spec, max_rows=max_rows).map(lambda drawn: table_from_rows(drawn, spec))
