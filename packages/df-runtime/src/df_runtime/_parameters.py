"""Parameters of a query, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import pyarrow as pa

from df_runtime._lexer import is_opaque, starts_query, tokens
from df_runtime.errors import ParameterError

Parameters: TypeAlias = Mapping[str, object] | Sequence[object]


def bind(query: str, params: Parameters | None) -> pa.RecordBatch | None:
    """Turn parameters into one row with a column per parameter, named as in the text without the dollar."""
    values = {} if params is None else _named(params)
    if values or "$" in query:
        _check_names(query, values)
    if not values:
        return None
    return pa.RecordBatch.from_arrays([_value(query, *item) for item in values.items()], names=list(values))


def _check_names(query: str, values: Mapping[str, object]) -> None:
    written = dict.fromkeys(word.text[1:] for word in tokens(query) if word.kind == "parameter")
    if is_opaque(query) or not starts_query(query):
        return  # in PREPARE, in function bodies and in dollar quotes a dollar means something else
    known = ", ".join(f"${name}" for name in written) or "none"
    for name in values:
        if name not in written:
            raise ParameterError(f"The query has no parameter ${name}; it has: {known}.", query=query)
    for name in written:
        if name not in values:
            given = ", ".join(f"${value}" for value in values) or "none"
            message = f"Parameter ${name} has no value; given: {given}. Pass it in `params`."
            raise ParameterError(message, query=query)


def check_types(query: str, row: pa.RecordBatch | None, expected: Mapping[str, pa.DataType | None]) -> None:
    """Refuse values that cannot be what the query takes them for; the engine converts the others."""
    for field in () if row is None else row.schema:
        kind = expected.get(field.name)
        if row is None or kind is None or _same_family(field.type, kind):
            continue
        value = row[field.name]
        if value[0].is_valid and not _converts(value, kind):
            raise ParameterError(
                f"Parameter ${field.name} is used as {kind}, found {value[0]} of type {field.type}. "
                "Give a value of that type.",
                query=query,
            )


def _wide_integer(value: int) -> pa.DataType:
    """Choose a type for an integer that is none of 64 bits."""
    if 0 <= value < 2**64:
        return pa.uint64()
    return pa.decimal128(38, 0) if abs(value) < 10**38 else pa.decimal256(76, 0)


def _is_temporal(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) or pa.types.is_interval(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


_FAMILIES = (_is_number, _is_text, _is_temporal, pa.types.is_nested)


def _same_family(one: pa.DataType, other: pa.DataType) -> bool:
    return one == other or any(belongs(one) and belongs(other) for belongs in _FAMILIES)


def _converts(value: pa.Array, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except (pa.ArrowException, NotImplementedError):
        return False
    return True


def _check_kind(params: object) -> None:
    if isinstance(params, Mapping):
        names = cast("Mapping[object, object]", params)
        if not all(isinstance(name, str) for name in names):
            raise ParameterError("Names of parameters are texts; give a sequence for `$1`, `$2`, ….")
    elif isinstance(params, (str, bytes)) or not isinstance(params, Sequence):
        found = type(params).__name__
        raise ParameterError(f"Parameters are a mapping of names or a sequence of values, found a {found}.")


def _named(params: Parameters) -> dict[str, object]:
    _check_kind(params)
    if isinstance(params, Mapping):
        return {name.removeprefix("$"): value for name, value in params.items()}
    return {str(index): value for index, value in enumerate(params, start=1)}


def _value(query: str, name: str, value: object) -> pa.Array:
    try:
        if isinstance(value, pa.Scalar):
            scalar = cast("pa.Scalar[pa.DataType]", value)
            return pa.array([scalar.as_py()], type=scalar.type)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return pa.array([value], type=_wide_integer(value))
        return pa.array([value])
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        found = f"Parameter ${name} of type {type(value).__name__} is no Arrow value: {error}"
        raise ParameterError(f"{found}. Give a pyarrow scalar.", query=query) from error
