"""Which Arrow types a view's table holds, and how values of keys are written as SQL."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from incremental_cdf._names import quote
from incremental_cdf.errors import ViewColumnsError

_FORBIDDEN = re.compile(r"[ ,;{}()\n\t=]")


def stored_schema(view: str, result: pa.Schema) -> pa.Schema:
    """Derive the schema of the table that holds a result.

    Types that Delta does not have are widened: unsigned integers, timestamps of other units and zones,
    dictionaries.

    Raises
    ------
    ViewColumnsError
        Two columns have the same name, or a name or type cannot be stored.
    """
    seen: set[str] = set()
    for field in result:
        name = field.name
        if name.lower() in seen:
            raise _columns_error(view, f'has two columns "{name}"; give each column its own name with AS')
        if not name or _FORBIDDEN.search(name):
            raise _columns_error(view, f'has a column "{name}", which no table can have; name it with AS')
        seen.add(name.lower())
    return pa.schema([pa.field(field.name, _stored_or_refused(view, field)) for field in result])


def _stored_or_refused(view: str, field: pa.Field) -> pa.DataType:
    kept = stored_type(field.type)
    if kept is None:
        finding = f'has a column "{field.name}" of type {field.type}, which no Delta table holds'
        raise _columns_error(view, f"{finding}; CAST it to a type such as VARCHAR")
    return kept


def _columns_error(view: str, finding: str) -> ViewColumnsError:
    return ViewColumnsError(f"The result of view {view} {finding}.", view=view)


def stored_type(kind: pa.DataType) -> pa.DataType | None:
    """Find the type under which values of a type are stored, or None if there is none."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    for applies, store in _COMPOSED:
        if applies(kind):
            return store(kind)
    return stored_type(storage_type(kind)) if isinstance(kind, pa.BaseExtensionType) else None


def storage_type(kind: pa.DataType) -> pa.DataType:
    """Find the type under an extension type; a type that is none is its own."""
    return storage_type(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def _stored_timestamp(kind: Any) -> pa.DataType:
    return pa.timestamp("us", "UTC" if kind.tz is not None else None)


def _stored_decimal(kind: Any) -> pa.DataType | None:
    return pa.decimal128(kind.precision, kind.scale) if kind.precision <= 38 and kind.scale >= 0 else None


def _stored_list(kind: Any) -> pa.DataType | None:
    value = stored_type(kind.value_type)
    return pa.list_(value) if value is not None else None


def _stored_struct(kind: Any) -> pa.DataType | None:
    children = [(child.name, stored_type(child.type)) for child in kind.fields]
    return pa.struct(children) if all(child is not None for _, child in children) else None


def _stored_map(kind: Any) -> pa.DataType | None:
    key, item = stored_type(kind.key_type), stored_type(kind.item_type)
    return pa.map_(key, item) if key is not None and item is not None else None


_Test: TypeAlias = Callable[[pa.DataType], bool]

_COMPOSED: tuple[tuple[_Test, Callable[[Any], pa.DataType | None]], ...] = (
    (pa.types.is_timestamp, _stored_timestamp),
    (pa.types.is_decimal, _stored_decimal),
    (pa.types.is_dictionary, lambda kind: stored_type(kind.value_type)),
    (pa.types.is_list, _stored_list),
    (pa.types.is_large_list, _stored_list),
    (pa.types.is_fixed_size_list, _stored_list),
    (pa.types.is_struct, _stored_struct),
    (pa.types.is_map, _stored_map),
)


def _simple_types() -> dict[pa.DataType, pa.DataType]:
    same = (
        *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32()),
    )
    return {kind: kind for kind in same} | {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
        pa.float16(): pa.float32(),
        pa.large_string(): pa.string(),
        pa.string_view(): pa.string(),
        pa.large_binary(): pa.binary(),
        pa.binary_view(): pa.binary(),
        pa.date64(): pa.date32(),
    }


_SIMPLE = _simple_types()


def stored_query(query: str, result: pa.Schema, kept: pa.Schema) -> str:
    """Write the query with its columns cast to the types under which they are stored."""
    if all(given.type == wanted.type for given, wanted in zip(result, kept, strict=True)):
        return query
    columns = ",\n  ".join(
        quote(given.name)
        if given.type == wanted.type
        else f"arrow_cast({quote(given.name)}, '{_engine_type(wanted.type)}') AS {quote(given.name)}"
        for given, wanted in zip(result, kept, strict=True)
    )
    return f"SELECT\n  {columns}\nFROM (\n{query}\n) AS {quote('@result')}"


def _engine_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return (
            "Timestamp(Microsecond, None)"
            if kind.tz is None
            else f'Timestamp(Microsecond, Some("{kind.tz}"))'
        )
    if pa.types.is_decimal(kind):
        return f"Decimal128({kind.precision}, {kind.scale})"
    if pa.types.is_list(kind):
        return f"List({_engine_type(kind.value_type)})"
    return _ENGINE_TYPES[kind]


_ENGINE_TYPES = {
    pa.bool_(): "Boolean",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.string(): "Utf8",
    pa.binary(): "Binary",
    pa.date32(): "Date32",
}


def has_exact_literals(kind: pa.DataType) -> bool:
    """Whether every value of a type can be written as SQL and read back as the same value."""
    return _writer(kind) is not None


def key_predicate(columns: Sequence[str], types: Sequence[pa.DataType], keys: Iterable[Sequence[Any]]) -> str:
    """Write the condition that is true of rows with one of the keys, and false, never NULL, of all others.

    Parameters
    ----------
    columns : Sequence of str
        Names of the key's columns.
    types : Sequence of pyarrow.DataType
        Their types, each with exact literals.
    keys : Iterable of sequences
        Values of each key, as Python objects; None is NULL.

    Returns
    -------
    str

    Examples
    --------
    >>> key_predicate(["day"], [pa.int64()], [(3,), (None,)])
    '("day" IS NULL) OR ("day" IS NOT NULL AND "day" IN (3))'
    >>> key_predicate(["a", "b"], [pa.int64(), pa.int64()], [(1, None)])
    '("a" IS NOT NULL AND "a" = 1 AND "b" IS NULL)'
    """
    names = [quote(column) for column in columns]
    writers = [_writer(kind) or str for kind in types]
    if len(names) == 1:
        return _single_predicate(names[0], writers[0], [key[0] for key in keys])
    terms = [
        " AND ".join(
            _equals(name, write, value) for name, write, value in zip(names, writers, key, strict=True)
        )
        for key in keys
    ]
    return _any_of(terms)


def _single_predicate(name: str, write: Callable[[Any], str], values: list[Any]) -> str:
    literals = [write(value) for value in values if value is not None]
    terms = [f"({name} IS NULL)"] if len(literals) < len(values) else []
    if literals:
        terms.append(f"({name} IS NOT NULL AND {name} IN ({', '.join(literals)}))")
    return " OR ".join(terms)


def _equals(name: str, write: Callable[[Any], str], value: Any) -> str:
    return f"{name} IS NULL" if value is None else f"{name} IS NOT NULL AND {name} = {write(value)}"


def _any_of(terms: list[str]) -> str:
    """Terms joined by OR as a balanced tree: parsers recurse, and a chain of thousands would be as deep."""
    if len(terms) == 1:
        return f"({terms[0]})"
    middle = len(terms) // 2
    left, right = _any_of(terms[:middle]), _any_of(terms[middle:])
    return f"{left} OR {right}" if len(terms) == 2 else f"({left} OR {right})"


def _writer(kind: Any) -> Callable[[Any], str] | None:
    return next((make(kind) for applies, make in _WRITERS if applies(kind)), None)


def _boolean_writer(_: Any) -> Callable[[Any], str]:
    return lambda value: "true" if value else "false"


def _string_writer(_: Any) -> Callable[[Any], str]:
    return lambda value: "'" + value.replace("'", "''") + "'"


def _date_writer(_: Any) -> Callable[[Any], str]:
    return lambda value: f"CAST('{value.isoformat()}' AS DATE)"


def _timestamp_writer(kind: Any) -> Callable[[Any], str]:
    zone, engine = "" if kind.tz is None else "Z", _engine_type(kind)

    def write(value: dt.datetime) -> str:
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"arrow_cast('{text}{zone}', '{engine}')"

    return write


def _decimal_writer(kind: Any) -> Callable[[Any], str]:
    return lambda value: f"CAST('{value:f}' AS DECIMAL({kind.precision}, {kind.scale}))"


_WRITERS: tuple[tuple[_Test, Callable[[Any], Callable[[Any], str]]], ...] = (
    (pa.types.is_signed_integer, lambda _: str),
    (pa.types.is_boolean, _boolean_writer),
    (pa.types.is_string, _string_writer),
    (pa.types.is_date32, _date_writer),
    (pa.types.is_timestamp, _timestamp_writer),
    (pa.types.is_decimal128, _decimal_writer),
)
