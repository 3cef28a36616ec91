"""Contracts from dataclasses and msgspec structs."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import enum
import inspect
import re
import types
import typing
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

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
_SAID: Final = ("ge", "le", "gt", "lt", "multiple_of", "min_length", "max_length", "pattern")
_SIMPLE = re.compile(r"[a-z_][a-z0-9_]*\Z")
_RESERVED = re.compile(
    r"(?:all|and|any|as|asc|between|by|case|cast|check|column|create|cross|date|default|desc|distinct|"
    r"else|end|except|exists|false|for|from|full|group|having|in|inner|insert|intersect|interval|into|"
    r"is|join|left|like|limit|natural|not|null|offset|on|or|order|outer|primary|references|right|"
    r"select|set|some|table|then|time|timestamp|to|true|union|unique|update|user|using|values|when|"
    r"where|window|with)\Z"
)


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

    def __hash__(self) -> int:  # generic classes are looked up by what annotates their fields
        return hash((self.primary_key, self.partition, self.comment, self.field_id, self.physical_name))


def from_type(python_type: type, name: str | None, fields: Mapping[str, Any]) -> TableSpec:
    """Make a contract from a class."""
    found = list(_fields(python_type, _Place()))
    given: dict[str, Any] = {
        "primary_key": [each.column.name for each in found if each.marks.primary_key],
        "partition_by": [each.column.name for each in found if each.marks.partition],
        **fields,
        "constraints": [
            *(each for field in found for each in field.constraints),
            *_given_constraints(fields.get("constraints", ())),
        ],
    }
    title = _class_of(python_type).__name__
    try:
        return TableSpec(name or _snake(title), [each.column for each in found], **given)
    except TypeError as error:
        raise SpecFieldError(f"{title} makes no contract", str(error), "Check the fields.") from None


def _given_constraints(given: object) -> list[Any]:
    if isinstance(given, cabc.Mapping):
        return [Check(name, sql) for name, sql in cast("Mapping[str, str]", given).items()]
    if isinstance(given, str) or not isinstance(given, cabc.Iterable):
        raise SpecFieldError(
            "constraints is not valid",
            f"it is {shown(given)}",
            "Give a list.",
            path="constraints",
            value=given,
        )
    return list(cast("cabc.Iterable[Any]", given))


class _Place(msgspec.Struct, frozen=True):
    """Where a class is met: at the top, or as a struct below other fields, any of which may be null."""

    path: tuple[str, ...] = ()
    nullable: bool = False
    depth: int = 0


class _Found(msgspec.Struct, frozen=True):
    column: ColumnSpec
    marks: Field
    constraints: tuple[Constraint, ...]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _class_of(python_type: Any) -> Any:
    """Return the class of a generic class with arguments, a class as it is."""
    return typing.get_origin(python_type) or python_type


def _fields(python_type: Any, place: _Place) -> Iterator[_Found]:
    """Return the fields of a class as columns."""
    members = list(_members(_class_of(python_type), python_type))
    title = _class_of(python_type).__name__
    if place.depth > _MAX_DEPTH:
        raise SpecTypeError(f"{title} holds itself", fix="Tables cannot nest without end.", value=python_type)
    hints = _hints(python_type)
    for attribute, name, default in members:
        try:
            yield _field(name, hints[attribute], default, place)
        except SpecError as error:
            raise error.at(f"{title}.{attribute}") from None


def _hints(python_type: Any) -> dict[str, Any]:
    """Return the types of a class's fields, with the arguments of generic classes put in."""
    origin = _class_of(python_type)
    try:
        hints = typing.get_type_hints(origin, include_extras=True)
    except (NameError, TypeError) as error:
        raise SpecTypeError(
            f"the fields of {origin.__name__} cannot be resolved",
            str(error),
            "Define the types at module level.",
            value=origin,
        ) from None
    arguments = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(python_type), strict=False))
    own = inspect.get_annotations(origin)
    for base in getattr(origin, "__orig_bases__", ()):
        if _is_class(_class_of(base)):
            inherited = _hints(_bound(base, arguments))
            hints |= {name: hint for name, hint in inherited.items() if name not in own}
    return {name: _bound(hint, arguments) if name in own else hint for name, hint in hints.items()}


def _bound(hint: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return a type with its type variables replaced."""
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    free = getattr(hint, "__parameters__", ()) if not isinstance(hint, type) else ()
    return cast("Any", hint)[tuple(arguments.get(each, each) for each in free)] if free else hint


def _is_class(inner: Any) -> bool:
    """Tell whether a type is a class whose fields can be columns."""
    return isinstance(inner, type) and (
        dataclasses.is_dataclass(inner) or (issubclass(inner, msgspec.Struct) and inner is not msgspec.Struct)
    )


def _members(python_type: Any, given: Any) -> Iterator[tuple[str, str, object]]:
    """Return attribute, name and default of each field; None where there is no plain default."""
    if not _is_class(python_type):
        raise SpecTypeError(
            f"{shown(given)} has no fields", fix="Give a dataclass or a msgspec Struct.", value=given
        )
    if issubclass(python_type, msgspec.Struct):
        for field in msgspec.structs.fields(python_type):
            yield field.name, field.encode_name, _plain_default(field.default)
    else:
        for item in dataclasses.fields(python_type):
            yield item.name, item.name, _plain_default(item.default)


def _plain_default(default: object) -> object:
    """Return a default that a column may have; containers, structs and the like are Python's own."""
    if isinstance(default, enum.Enum):
        default = default.value
    if isinstance(default, uuid.UUID):
        return str(default)
    missing = default in (msgspec.NODEFAULT, msgspec.UNSET, dataclasses.MISSING)
    held = isinstance(default, cabc.Collection) and not isinstance(default, str | bytes)
    return None if missing or held or _is_class(type(default)) else default


def _field(name: str, hint: Any, default: object, place: _Place) -> _Found:
    inner, extras, nullable = _unwrapped(hint)
    marks = next((each for each in extras if isinstance(each, Field)), Field())
    metas = [each for each in extras if isinstance(each, msgspec.Meta)]
    here = _Place((*place.path, name), place.nullable or nullable, place.depth + 1)
    below: list[_Found] = []
    if _is_class(_class_of(inner)) and not _named_types(extras):
        below = list(_fields(inner, here))
        kind: DataType = StructType(tuple(each.column for each in below))
    else:
        kind = _annotated_type(inner, extras, metas, place.depth)
    comment = marks.comment or next((each.description for each in metas if each.description), None)
    column = ColumnSpec(
        name,
        kind,
        nullable,
        default=default,
        comment=comment,
        metadata=marks.metadata,
        generated=marks.generated,
        field_id=marks.field_id,
        physical_name=marks.physical_name,
    )
    held = (each for field in below for each in field.constraints)
    return _Found(column, marks, (*_bounds(here, kind, metas), *_accepted(here, inner), *held))


def _unwrapped(hint: Any) -> tuple[Any, list[object], bool]:
    """Return the type within ``Annotated``, ``Optional`` and the like, its annotations, and if null."""
    extras: list[object] = []
    nullable = False
    while True:
        origin = typing.get_origin(hint)
        if hasattr(hint, "__supertype__"):  # NewType
            hint = hint.__supertype__
        elif hasattr(hint, "__value__") and not isinstance(hint, enum.Enum | type):  # type X = …
            hint = hint.__value__
        elif origin is typing.Annotated:
            hint, *more = typing.get_args(hint)
            extras += more
        elif origin is typing.Literal and None in typing.get_args(hint):
            nullable = True
            hint = cast("Any", typing.Literal)[
                tuple(each for each in typing.get_args(hint) if each is not None)
            ]
        elif origin in (typing.Union, types.UnionType):
            members = [each for each in typing.get_args(hint) if each not in (type(None), msgspec.UnsetType)]
            nullable = nullable or len(members) < len(typing.get_args(hint))
            if len(members) != 1:
                raise SpecTypeError(
                    f"{shown(hint)} is several types",
                    fix="A column has one; split it into several columns.",
                    value=hint,
                )
            hint = members[0]
        else:
            return hint, extras, nullable


def _named_types(extras: list[object]) -> list[DataType | str]:
    return [each for each in extras if isinstance(each, DataType | str)]


def _annotated_type(inner: Any, extras: list[object], metas: list[msgspec.Meta], depth: int) -> DataType:
    named = _named_types(extras)
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
    if _is_class(_class_of(inner)):
        return StructType(tuple(each.column for each in _fields(inner, _Place(depth=depth + 1))))
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


def _accepted(place: _Place, inner: Any) -> Iterator[Constraint]:
    values = _values(inner)
    if values and not (isinstance(inner, type) and issubclass(inner, enum.Flag)):  # flags combine
        yield AcceptedValues("_".join((*place.path, "values")), ".".join(place.path), values)


def _bounds(place: _Place, kind: DataType, metas: list[msgspec.Meta]) -> Iterator[Constraint]:
    """Return what `msgspec.Meta` says of a column's values; a null value breaks none of it."""
    said = {field: value for meta in metas for field in _SAID if (value := getattr(meta, field)) is not None}
    if "ge" in said or "le" in said:
        low, high = said.get("ge"), said.get("le")
        yield Range("_".join((*place.path, "range")), ".".join(place.path), minimum=low, maximum=high)
    value = _sql_name(place.path)
    measured = {"string": f"length({value})", "binary": f"octet_length({value})"}.get(kind.text)
    length = measured or f"cardinality({value})"
    conditions = {
        "gt": ("above", f"{value} > "),
        "lt": ("below", f"{value} < "),
        "multiple_of": ("multiple", f"{value} % "),
        "min_length": ("shortest", f"{length} >= "),
        "max_length": ("longest", f"{length} <= "),
    }
    for field, (suffix, start) in conditions.items():
        if field in said:
            holds = f"{start}{said[field]}" + (" = 0" if field == "multiple_of" else "")
            yield _check(place, suffix, value, holds)
    if "pattern" in said:
        text = said["pattern"].replace("'", "''")
        yield _check(place, "pattern", value, f"regexp_like({value}, '{text}')")


def _check(place: _Place, suffix: str, value: str, holds: str) -> Check:
    return Check("_".join((*place.path, suffix)), f"{value} IS NULL OR {holds}" if place.nullable else holds)


def _sql_name(path: tuple[str, ...]) -> str:
    """Return the SQL text of a column or a field of a struct; simple names read alike in every dialect."""
    head = path[0] if _SIMPLE.match(path[0]) and not _RESERVED.match(path[0]) else quote(path[0])
    return head + "".join("['" + step.replace("'", "''") + "']" for step in path[1:])
