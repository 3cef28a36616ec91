"""What must hold for the rows of a table, beyond types and nullability."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from schema_spec._literals import canonical_literal, literal_to_sql
from schema_spec._text import is_name
from schema_spec.columns import StructType
from schema_spec.errors import ColumnMissingError, ConstraintError, closest, shown
from schema_spec.types import DecimalType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schema_spec.columns import ColumnSpec
    from schema_spec.types import DataType


class Check(Struct, frozen=True, forbid_unknown_fields=True, tag="check", tag_field="kind"):
    """An SQL condition that must be true for every row.

    Parameters
    ----------
    name : str
        Name of the constraint, distinct within the table.
    sql : str
        A condition over the table's columns. As in Delta, a row for which it is null breaks it.
    """

    name: str
    sql: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not is_name(self.sql) or not self.sql.strip():
            raise ConstraintError(
                f"constraint {shown(self.name)} has no condition",
                fix='Write one, such as "a > 0".',
                path="sql",
                value=self.sql,
            )


class Range(Struct, frozen=True, forbid_unknown_fields=True, tag="range", tag_field="kind"):
    """Values of a column lie between two bounds, both included; nulls pass.

    Parameters
    ----------
    name : str
        Name of the constraint.
    column : str
        The column, or a field of a struct such as ``address.zip``.
    minimum, maximum : object, optional
        Bounds; leave one out for an open side. NaN is above every number, as in engines.
    """

    name: str
    column: str
    minimum: Any = None
    maximum: Any = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.minimum is None and self.maximum is None:
            raise ConstraintError(
                f"range {shown(self.name)} has no bound", fix="Give minimum, maximum or both."
            )


class AcceptedValues(
    Struct, frozen=True, forbid_unknown_fields=True, tag="accepted_values", tag_field="kind"
):
    """Values of a column come from a list; nulls pass.

    Parameters
    ----------
    name : str
        Name of the constraint.
    column : str
        The column, or a field of a struct such as ``address.zip``.
    values : Sequence[object]
        The accepted values, at least one; their order doesn't matter.
    """

    name: str
    column: str
    values: tuple[Any, ...]

    if TYPE_CHECKING:

        def __init__(self, name: str, column: str, values: Sequence[object]) -> None: ...

    def __post_init__(self) -> None:
        _check_name(self.name)
        given = cast("object", self.values)
        if not isinstance(given, list | tuple | set | frozenset) or not given:
            raise ConstraintError(
                f"{shown(self.name)} accepts no values", fix="List at least one.", path="values", value=given
            )
        force_setattr(self, "values", tuple(cast("Any", given)))


Constraint = Check | Range | AcceptedValues


def _check_name(name: object) -> None:
    if not is_name(name):
        raise ConstraintError(
            "a constraint has no name",
            f"it is {shown(name)}",
            "Give a non-empty string.",
            path="name",
            value=name,
        )


def constraint_sql(constraint: Constraint, columns: Mapping[str, ColumnSpec]) -> str:
    """Return the condition that a constraint stands for, as Delta tables keep it.

    Names are in backticks, which Spark and DataFusion both read; double quotes would be text to Spark.

    Parameters
    ----------
    constraint : Constraint
        A constraint of the table.
    columns : Mapping[str, ColumnSpec]
        The table's columns by name.

    Returns
    -------
    str
        SQL text.

    Examples
    --------
    >>> from schema_spec import ColumnSpec
    >>> constraint_sql(Range("r", "n", minimum=0), {"n": ColumnSpec("n", "long")})
    '(`n` IS NULL OR `n` >= 0)'
    """
    if isinstance(constraint, Check):
        return constraint.sql
    path, kind = cast("Subject", find_subject(constraint.column, columns))
    name = ".".join("`" + step.replace("`", "``") + "`" for step in path)
    if isinstance(constraint, AcceptedValues):
        holds = f"{name} IN ({', '.join(_portable(kind, each) for each in constraint.values)})"
    else:
        bounds = ((">=", constraint.minimum), ("<=", constraint.maximum))
        sides = (f"{name} {sign} {_portable(kind, bound)}" for sign, bound in bounds if bound is not None)
        holds = " AND ".join(sides)
    return f"({name} IS NULL OR {holds})"


def _portable(kind: DataType, value: Any) -> str:
    """Write a literal so that Spark, DataFusion and others compare it with a column in the column's type."""
    if kind.text in ("timestamp", "timestamp_ntz"):
        return f"'{value}'"
    return literal_to_sql(kind, value)


Subject = tuple[tuple[str, ...], "DataType"]


def find_subject(name: str, columns: Mapping[str, ColumnSpec]) -> Subject | None:
    """Return the path and type of a column, or of a field of a struct by its path with dots."""
    column = columns.get(name)
    if column is not None:
        return (name,), column.type
    for head, column in columns.items():
        rest = name.removeprefix(f"{head}.")
        if rest != name and isinstance(column.type, StructType):
            found = find_subject(rest, {each.name: each for each in column.type.fields})
            if found is not None:
                return (head, *found[0]), found[1]
    return None


def canonical_constraint(constraint: Constraint, columns: Mapping[str, ColumnSpec]) -> Constraint:
    """Return the constraint with its literals in canonical form, or refuse it."""
    if isinstance(constraint, Check):
        return constraint
    subject = find_subject(constraint.column, columns)
    if subject is None:
        raise ColumnMissingError(
            f"constraint {constraint.name!r} is about column {constraint.column!r}",
            "the table has no such column",
            closest(constraint.column, columns),
            path=f"constraints.{constraint.name}",
            value=constraint.column,
        )
    if isinstance(constraint, AcceptedValues):
        values = {_literal(constraint, subject[1], each): None for each in constraint.values}
        return replace(constraint, values=tuple(sorted(values, key=lambda each: (str(type(each)), each))))
    low, high = (
        None if bound is None else _literal(constraint, subject[1], bound)
        for bound in (constraint.minimum, constraint.maximum)
    )
    if low is not None and high is not None and _rank(subject[1], low) > _rank(subject[1], high):
        raise ConstraintError(
            f"no value is in the range {constraint.name!r}",
            f"its minimum {shown(low)} is above its maximum {shown(high)}",
            "Swap them.",
            path=f"constraints.{constraint.name}",
            value=low,
        )
    return replace(constraint, minimum=low, maximum=high)


def _rank(kind: DataType, value: Any) -> Any:
    """Return what orders literals of a type; NaN is above every number, as in engines."""
    if isinstance(kind, DecimalType):
        return Decimal(value)
    if kind.text in ("float", "double"):
        return (math.isnan(float(value)), float(value))
    return dt.datetime.fromisoformat(value) if kind.text in ("timestamp", "timestamp_ntz") else value


def _literal(constraint: Range | AcceptedValues, kind: DataType, value: object) -> Any:
    try:
        return canonical_literal(kind, value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConstraintError(
            f"{constraint.name!r} compares {constraint.column!r} of type {kind.text} with {shown(value)}",
            str(error),
            "Give values of the column's type.",
            path=f"constraints.{constraint.name}",
            value=value,
        ) from None
