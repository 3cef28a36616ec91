"""Contracts from dataclasses and msgspec structs."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import enum
import re
import types
import typing
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from schema_spec._frozen import EMPTY
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import AcceptedValues, Check, Constraint, Range
from schema_spec.errors import SpecError, SpecFieldError, SpecTypeError, shown
from schema_spec.expressions import quote
from schema_spec.table import TableSpec
from schema_spec.types import ArrayType, DataType, MapType, PrimitiveType, SqlExpression, as_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN: Final[dict[object, str]] = {
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "binary",
    dt.date: "date",
    dt.datetime: "timestamp",
    uuid.UUID: "string",
}
_LISTS: Final = (list, tuple, set, frozenset, cabc.Sequence, cabc.Set, cabc.Iterable)
_MAPS: Final = (dict, cabc.Mapping, cabc.MutableMapping)
_MAX_DEPTH: Final = 32


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``Annotated`` says about a field besides its type.

    Parameters
    ----------
    primary_key : bool, default False
        Whether it belongs to the primary key.
    partition : bool, default False
        Whether the files are partitioned by it.
    comment : str, optional
        For people.
    generated : SqlExpression or str, optional
        The expression that computes it.
    metadata : Mapping[str, object], optional
        Whatever else belongs to the column.
    field_id : int, optional
        Column-mapping id.
    physical_name : str, optional
        Column-mapping name.

    Examples
    --------
    >>> marks = Field(primary_key=True, comment="Given by the shop.")
    >>> marks.primary_key  # as in: id: Annotated[int, marks]
    True
    """

    primary_key: bool = False
    partition: bool = False
    comment: str | None = None
    generated: SqlExpression | str | None = None
    metadata: cabc.Mapping[str, Any] = EMPTY
    field_id: int | None = None
    physical_name: str | None = None


def from_type(python_type: type, name: str | None, fields: Mapping[str, Any]) -> TableSpec:
    """Make a contract from a class."""
    found = list(_fields(python_type, 0))
    constraints = [each for field in found for each in field.constraints]
    given: dict[str, Any] = {
        "primary_key": [each.column.name for each in found if each.marks.primary_key],
        "partition_by": [each.column.name for each in found if each.marks.partition],
        **fields,
        "constraints": [*constraints, *fields.get("constraints", ())],
    }
    try:
        return TableSpec(name or _snake(python_type.__name__), [each.column for each in found], **given)
    except TypeError as error:
        raise SpecFieldError(
            f"{python_type.__name__} makes no contract", str(error), "Check the fields."
        ) from None


class _Found(msgspec.Struct, frozen=True):
    column: ColumnSpec
    marks: Field
    constraints: tuple[Constraint, ...]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _fields(python_type: Any, depth: int) -> Iterator[_Found]:
    """Return the fields of a class as columns."""
    if depth > _MAX_DEPTH:
        raise SpecTypeError(f"{python_type.__name__} holds itself", fix="Tables cannot nest without end.")
    try:
        hints = typing.get_type_hints(python_type, include_extras=True)
    except (NameError, TypeError) as error:
        raise SpecTypeError(
            f"the fields of {python_type.__name__} cannot be resolved",
            str(error),
            "Define the types at module level.",
        ) from None
    for attribute, name, default in _members(python_type):
        try:
            yield _field(name, hints[attribute], default, depth)
        except SpecError as error:
            raise error.at(f"{python_type.__name__}.{attribute}") from None


def _members(python_type: Any) -> Iterator[tuple[str, str, object]]:
    """Return attribute, name and default of each field; None where there is no plain default."""
    if isinstance(python_type, type) and issubclass(python_type, msgspec.Struct):
        for field in msgspec.structs.fields(python_type):
            yield field.name, field.encode_name, None if field.default is msgspec.NODEFAULT else field.default
    elif dataclasses.is_dataclass(python_type):
        for item in dataclasses.fields(python_type):
            yield item.name, item.name, None if item.default is dataclasses.MISSING else item.default
    else:
        raise SpecTypeError(
            f"{shown(python_type)} has no fields", fix="Give a dataclass or a msgspec Struct."
        )


def _field(name: str, hint: Any, default: object, depth: int) -> _Found:
    inner, extras, nullable = _unwrapped(hint)
    marks = next((each for each in extras if isinstance(each, Field)), Field())
    metas = [each for each in extras if isinstance(each, msgspec.Meta)]
    kind = _annotated_type(inner, extras, metas, depth)
    comment = marks.comment or next((each.description for each in metas if each.description), None)
    plain = default.value if isinstance(default, enum.Enum) else default
    column = ColumnSpec(
        name,
        kind,
        nullable,
        default=str(plain) if isinstance(plain, uuid.UUID) else plain,
        comment=comment,
        metadata=marks.metadata,
        generated=marks.generated,
        field_id=marks.field_id,
        physical_name=marks.physical_name,
    )
    return _Found(column, marks, tuple(_bounds(name, metas)) + tuple(_accepted(name, inner)))


def _unwrapped(hint: Any) -> tuple[Any, list[object], bool]:
    """Return the type within ``Annotated``, ``Optional`` and ``NewType``, its annotations, and if null."""
    extras: list[object] = []
    nullable = False
    while True:
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif typing.get_origin(hint) is typing.Annotated:
            hint, *more = typing.get_args(hint)
            extras += more
        elif typing.get_origin(hint) in (typing.Union, types.UnionType):
            members = [each for each in typing.get_args(hint) if each not in (type(None), msgspec.UnsetType)]
            nullable = nullable or len(members) < len(typing.get_args(hint))
            if len(members) != 1:
                raise SpecTypeError(
                    f"{hint} is several types", fix="A column has one; split it into several columns."
                )
            hint = members[0]
        else:
            return hint, extras, nullable


def _annotated_type(inner: Any, extras: list[object], metas: list[msgspec.Meta], depth: int) -> DataType:
    named = [each for each in extras if isinstance(each, DataType | str)]
    if len(named) > 1:
        raise SpecTypeError(f"several types: {', '.join(map(str, named))}", fix="Annotate one.")
    if named:
        return as_type(named[0])
    if inner is dt.datetime and any(each.tz is False for each in metas):
        return PrimitiveType("timestamp_ntz")
    return _type(inner, depth)


def _type(inner: Any, depth: int) -> DataType:
    if inner in _PLAIN:
        return PrimitiveType(_PLAIN[inner])
    values = _values(inner)
    if values:
        return _type(type(values[0]), depth)
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    if origin in _LISTS and arguments and (len(arguments) == 1 or arguments[1:] == (Ellipsis,)):
        return ArrayType(*_value_type(arguments[0], depth))
    if origin in _MAPS and len(arguments) == 2:
        return MapType(_value_type(arguments[0], depth)[0], *_value_type(arguments[1], depth))
    if dataclasses.is_dataclass(inner) or (isinstance(inner, type) and issubclass(inner, msgspec.Struct)):
        return StructType(tuple(each.column for each in _fields(inner, depth + 1)))
    hint = 'Annotate it, as in Annotated[Decimal, "decimal(10,2)"]' if inner is Decimal else "Annotate a type"
    raise SpecTypeError(f"no Delta type holds Python's {shown(inner)}", fix=f"{hint}.", value=inner)


def _value_type(hint: Any, depth: int) -> tuple[DataType, bool]:
    """Return the type of list elements or map entries, and whether they may be null."""
    inner, extras, nullable = _unwrapped(hint)
    metas = [each for each in extras if isinstance(each, msgspec.Meta)]
    return _annotated_type(inner, extras, metas, depth), nullable


def _values(inner: Any) -> list[object]:
    """Return the values of an enumeration or a ``Literal``; none for other types."""
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return [each.value for each in inner]
    return list(typing.get_args(inner)) if typing.get_origin(inner) is typing.Literal else []


def _accepted(name: str, inner: Any) -> Iterator[Constraint]:
    values = _values(inner)
    if values:
        yield AcceptedValues(f"{name}_values", name, values)


def _bounds(name: str, metas: list[msgspec.Meta]) -> Iterator[Constraint]:
    for meta in metas:
        if meta.ge is not None or meta.le is not None:
            yield Range(f"{name}_range", name, minimum=meta.ge, maximum=meta.le)
        if meta.gt is not None:
            yield Check(f"{name}_above", f"{quote(name)} > {meta.gt}")
        if meta.lt is not None:
            yield Check(f"{name}_below", f"{quote(name)} < {meta.lt}")
