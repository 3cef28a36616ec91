"""What must hold for the rows of a table, beyond types and nullability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from schema_spec._literals import canonical_literal, literal_to_sql
from schema_spec.columns import is_name
from schema_spec.errors import ColumnMissingError, ConstraintError, closest

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
                f"constraint {self.name!r} has no condition", fix='Write one, such as "a > 0".'
            )


class Range(Struct, frozen=True, forbid_unknown_fields=True, tag="range", tag_field="kind"):
    """Values of a column lie between two bounds, both included; nulls pass.

    Parameters
    ----------
    name : str
        Name of the constraint.
    column : str
        The column.
    minimum, maximum : object, optional
        Bounds; leave one out for an open side.
    """

    name: str
    column: str
    minimum: Any = None
    maximum: Any = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.minimum is None and self.maximum is None:
            raise ConstraintError(f"range {self.name!r} has no bound", fix="Give minimum, maximum or both.")


class AcceptedValues(
    Struct, frozen=True, forbid_unknown_fields=True, tag="accepted_values", tag_field="kind"
):
    """Values of a column come from a list; nulls pass.

    Parameters
    ----------
    name : str
        Name of the constraint.
    column : str
        The column.
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
        if isinstance(self.values, str) or not self.values:
            raise ConstraintError(
                f"{self.name!r} accepts no values", fix="List at least one.", value=self.values
            )
        force_setattr(self, "values", tuple(self.values))


Constraint = Check | Range | AcceptedValues


def _check_name(name: object) -> None:
    if not is_name(name):
        raise ConstraintError(
            "a constraint has no name", f"it is {name!r}", "Give a non-empty string.", value=name
        )


def constraint_sql(constraint: Constraint, columns: Mapping[str, ColumnSpec]) -> str:
    """Return the condition that a constraint stands for.

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
    '("n" IS NULL OR "n" >= 0)'
    """
    if isinstance(constraint, Check):
        return constraint.sql
    kind = columns[constraint.column].type
    name = '"' + constraint.column.replace('"', '""') + '"'
    if isinstance(constraint, AcceptedValues):
        holds = f"{name} IN ({', '.join(literal_to_sql(kind, each) for each in constraint.values)})"
    else:
        bounds = ((">=", constraint.minimum), ("<=", constraint.maximum))
        sides = (
            f"{name} {sign} {literal_to_sql(kind, bound)}" for sign, bound in bounds if bound is not None
        )
        holds = " AND ".join(sides)
    return f"({name} IS NULL OR {holds})"


def canonical_constraint(constraint: Constraint, columns: Mapping[str, ColumnSpec]) -> Constraint:
    """Return the constraint with its literals in canonical form, or refuse it."""
    if isinstance(constraint, Check):
        return constraint
    column = columns.get(constraint.column)
    if column is None:
        raise ColumnMissingError(
            f"constraint {constraint.name!r} is about column {constraint.column!r}",
            "the table has no such column",
            closest(constraint.column, columns),
            path=f"constraints.{constraint.name}",
            value=constraint.column,
        )
    if isinstance(constraint, AcceptedValues):
        values = {_literal(constraint, column.type, each): None for each in constraint.values}
        return replace(constraint, values=tuple(sorted(values, key=lambda each: (str(type(each)), each))))
    low, high = (
        None if bound is None else _literal(constraint, column.type, bound)
        for bound in (constraint.minimum, constraint.maximum)
    )
    return replace(constraint, minimum=low, maximum=high)


def _literal(constraint: Range | AcceptedValues, kind: DataType, value: object) -> Any:
    try:
        return canonical_literal(kind, value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConstraintError(
            f"{constraint.name!r} compares {constraint.column!r} of type {kind.text} with {value!r}",
            str(error),
            "Give values of the column's type.",
            path=f"constraints.{constraint.name}",
            value=value,
        ) from None
