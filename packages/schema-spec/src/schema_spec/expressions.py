"""How a value is obtained, as data; and as SQL text by one function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from schema_spec._literals import Literal
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.errors import SpecFieldError, shown
from schema_spec.types import VOID, ArrayType, DataType, DecimalType, MapType, SemanticType

if TYPE_CHECKING:
    from collections.abc import Sequence


class Column(Struct, frozen=True, forbid_unknown_fields=True, tag="column", tag_field="kind"):
    """A column of the data.

    Parameters
    ----------
    name : str
        Its name in the data.
    """

    name: str


class Member(Struct, frozen=True, forbid_unknown_fields=True, tag="member", tag_field="kind"):
    """A field of a struct.

    Parameters
    ----------
    base : Expression
        The struct.
    name : str
        Name of the field.
    """

    base: Expression
    name: str


class Constant(Struct, frozen=True, forbid_unknown_fields=True, tag="constant", tag_field="kind"):
    """A value that is the same for every row.

    Parameters
    ----------
    type : DataType
        Type of the value.
    value : bool, int, float, str or None
        The value in canonical form; None for null.
    """

    type: DataType
    value: Literal | None = None


class Computed(Struct, frozen=True, forbid_unknown_fields=True, tag="computed", tag_field="kind"):
    """The value of SQL text, cast to a type.

    Parameters
    ----------
    sql : str
        A scalar expression over the columns of the data.
    type : DataType
        Type of the result.
    """

    sql: str
    type: DataType


class Cast(Struct, frozen=True, forbid_unknown_fields=True, tag="cast", tag_field="kind"):
    """A value in another type; fails where the type cannot hold it.

    Parameters
    ----------
    base : Expression
        The value.
    type : DataType
        The type to cast to.
    checked : bool
        Whether some values of the old type fail; a widening cast never does.
    """

    base: Expression
    type: DataType
    checked: bool = False


class Rebuild(Struct, frozen=True, forbid_unknown_fields=True, tag="rebuild", tag_field="kind"):
    """A struct put together anew, null where the old one is.

    Parameters
    ----------
    base : Expression
        The old struct.
    fields : tuple of (str, Expression)
        The fields by name, in order.
    type : DataType
        Type of the result.
    """

    base: Expression
    fields: tuple[tuple[str, Expression], ...]
    type: DataType


class NotNull(Struct, frozen=True, forbid_unknown_fields=True, tag="not_null", tag_field="kind"):
    """A value that must not be null where `within` is not.

    Parameters
    ----------
    base : Expression
        The value.
    within : Expression or None
        The struct that holds the value, if any.
    """

    base: Expression
    within: Expression | None = None


class Exact(Struct, frozen=True, forbid_unknown_fields=True, tag="exact", tag_field="kind"):
    """A timestamp of nanoseconds in a type of microseconds, which must not lose any.

    Parameters
    ----------
    base : Expression
        The value.
    type : DataType
        ``timestamp`` or ``timestamp_ntz``.
    """

    base: Expression
    type: DataType


Expression = Column | Member | Constant | Computed | Cast | Rebuild | NotNull | Exact

_SQL_NAMES: Final = {
    "boolean": "BOOLEAN",
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INTEGER",
    "long": "BIGINT",
    "float": "REAL",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp_ntz": "TIMESTAMP(6)",
}
_ARROW_NAMES: Final = {
    "boolean": "Boolean",
    "byte": "Int8",
    "short": "Int16",
    "integer": "Int32",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "string": "Utf8",
    "binary": "Binary",
    "date": "Date32",
    "timestamp": 'Timestamp(µs, "UTC")',
    "timestamp_ntz": "Timestamp(µs)",
    "variant": 'Struct("metadata": non-null Binary, "value": non-null Binary)',
    VOID: "Null",
}


def render_sql(expression: Expression) -> str:
    """Return an expression as SQL text for DataFusion.

    Types that SQL has no name for are reached through ``arrow_cast``. A `NotNull` renders as the value it
    guards, an `Exact` as its cast; the conditions themselves are `not_null_sql` and `exact_sql`. Fields of a
    `Rebuild` are nullable to the engine, which casts no nulls away.

    Parameters
    ----------
    expression : Expression
        The expression.

    Returns
    -------
    str
        SQL text.

    Examples
    --------
    >>> render_sql(Cast(Column("a"), DataType.parse("long")))
    'CAST("a" AS BIGINT)'
    >>> render_sql(Constant(DataType.parse("string"), "it's"))
    "arrow_cast('it''s', 'Utf8')"
    """
    match expression:
        case Column(name):
            sql = quote(name)
        case Member(base, name):
            sql = f"{render_sql(base)}[{_text(name)}]"
        case Constant(kind, value):
            sql = _constant(kind, value)
        case Computed(text, kind):
            sql = _cast(enclosed(text), kind)
        case Cast(base, MapType() as kind):
            sql = _cast_map(render_sql(base), kind)
        case Cast(base, kind) | Exact(base, kind):
            sql = _cast(render_sql(base), kind)
        case NotNull(base):
            sql = render_sql(base)
        case Rebuild(base, fields, kind):
            arguments = ", ".join(f"{_text(name)}, {render_sql(each)}" for name, each in fields)
            rebuilt = _cast(f"named_struct({arguments})", _loosened(fields, kind))
            sql = f"CASE WHEN {render_sql(base)} IS NULL THEN NULL ELSE {rebuilt} END"
    return sql


def _loosened(fields: tuple[tuple[str, Expression], ...], kind: DataType) -> DataType:
    """Return a struct type whose fields may be null, as the engine takes those of a nullable struct to be."""
    if not isinstance(kind, StructType):
        return kind
    return StructType(
        tuple(
            ColumnSpec(field.name, _loosened_value(value, field.type))
            for field, (_, value) in zip(kind.fields, fields, strict=True)
        )
    )


def _loosened_value(value: Expression, kind: DataType) -> DataType:
    inner = value.base if isinstance(value, NotNull) else value
    return _loosened(inner.fields, kind) if isinstance(inner, Rebuild) else kind


def not_null_sql(guard: NotNull) -> str:
    """Return the condition that a `NotNull` stands for.

    Parameters
    ----------
    guard : NotNull
        The guard.

    Returns
    -------
    str
        SQL text of a condition that is never null.
    """
    inner = f"{render_sql(guard.base)} IS NOT NULL"
    return inner if guard.within is None else f"({render_sql(guard.within)} IS NULL OR {inner})"


def exact_sql(guard: Exact) -> str:
    """Return the condition that an `Exact` stands for.

    Parameters
    ----------
    guard : Exact
        The guard.

    Returns
    -------
    str
        SQL text of a condition that is never null.
    """
    value = render_sql(guard.base)
    again = f"arrow_cast({render_sql(guard)}, {_text(_ARROW_NAMES[guard.type.text].replace('µs', 'ns'))})"
    return f"({value} IS NULL OR {again} = {value})"


def quote(name: str) -> str:
    """Quote an identifier.

    Parameters
    ----------
    name : str
        The identifier.

    Returns
    -------
    str
        SQL text.
    """
    return '"' + name.replace('"', '""') + '"'


_SQL_PARTS: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|(?P<mark>[();'"`])|(?P<open>/\*)""",
    re.DOTALL,
)


def enclosed(sql: str) -> str:
    """Return SQL text in parentheses, which nothing in it opens or closes.

    Parameters
    ----------
    sql : str
        One expression.

    Returns
    -------
    str
        The same in parentheses.

    Raises
    ------
    SpecFieldError
        When quotes or parentheses do not match, or a semicolon ends the expression.

    Examples
    --------
    >>> enclosed("a > 0")
    '(a > 0)'
    """
    depth = 0
    for match in _SQL_PARTS.finditer(sql):
        mark = match["mark"] or match["open"]
        if mark:
            depth += {"(": 1, ")": -1}.get(mark, -len(sql))
        if depth < 0:
            break
    if depth:
        raise SpecFieldError(
            f"{shown(sql)} is not one SQL expression",
            "its quotes or parentheses do not match, or a semicolon ends it",
            'Write one, such as "a > 0".',
            path="sql",
            value=sql,
        )
    return f"({sql}\n)" if "--" in sql else f"({sql})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _cast(sql: str, kind: DataType) -> str:
    name = (
        f"DECIMAL({kind.precision},{kind.scale})"
        if isinstance(kind, DecimalType)
        else _SQL_NAMES.get(kind.text)
    )
    return f"CAST({sql} AS {name})" if name else f"arrow_cast({sql}, {_text(arrow_name(kind))})"


def _cast_map(sql: str, kind: MapType) -> str:
    """Cast keys and values as lists, which the engine casts field by field."""
    keys = _cast(f"map_keys({sql})", ArrayType(kind.key, contains_null=False))
    values = _cast(f"map_values({sql})", ArrayType(kind.value, kind.value_contains_null))
    return _cast(f"CASE WHEN {sql} IS NULL THEN NULL ELSE map({keys}, {values}) END", kind)


def _constant(kind: DataType, value: Literal | None) -> str:
    if value is None:
        return _cast("NULL", kind)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if kind.text == "binary":
        return f"X'{value}'"
    return _cast(_text(value) if isinstance(value, str) else f"'{value}'", kind)


def arrow_name(kind: DataType) -> str:
    """Return a type as DataFusion's ``arrow_cast`` spells it.

    Parameters
    ----------
    kind : DataType
        The type.

    Returns
    -------
    str
        Such as ``List(Int64, field: 'element')``.
    """
    if isinstance(kind, SemanticType):
        return arrow_name(kind.storage)
    if isinstance(kind, DecimalType):
        return f"Decimal128({kind.precision}, {kind.scale})"
    if isinstance(kind, ArrayType):
        return f"List({_null(kind.contains_null)}{arrow_name(kind.element)}, field: 'element')"
    if isinstance(kind, MapType):
        value = f'"value": {_null(kind.value_contains_null)}{arrow_name(kind.value)}'
        entries = f'"key": non-null {arrow_name(kind.key)}, {value}'
        return f'Map("entries": non-null Struct({entries}), unsorted)'
    if isinstance(kind, StructType):
        return "Struct(" + ", ".join(_arrow_fields(kind)) + ")"
    return _ARROW_NAMES[kind.text]


def _arrow_fields(kind: StructType) -> Sequence[str]:
    return [
        '"'
        + field.name.replace("\\", "\\\\").replace('"', '\\"')
        + f'": {_null(field.nullable)}{arrow_name(field.type)}'
        for field in kind.fields
    ]


def _null(nullable: bool) -> str:
    return "" if nullable else "non-null "
