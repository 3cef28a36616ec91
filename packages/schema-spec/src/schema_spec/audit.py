"""Rows against contracts: one query that finds what breaks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schema_spec.columns import StructType
from schema_spec.constraints import AcceptedValues, Check, Range
from schema_spec.expressions import Constant, quote, render_sql
from schema_spec.types import DataType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schema_spec._literals import Literal
    from schema_spec.columns import ColumnSpec
    from schema_spec.constraints import Constraint
    from schema_spec.table import TableSpec

_PLAIN_LITERALS: Final = frozenset(("string", "byte", "short", "integer", "long", "boolean"))


def violations_sql(spec: TableSpec, source: str | None = None) -> str:
    """Return one query that finds the rows breaking a contract.

    Every row of the result is a row of the table, after two columns of text: ``_rule`` (``not-null``,
    ``unique-key``, ``check``, ``range`` or ``accepted-values``) and ``_subject`` (the column, or the
    constraint's name). A row that breaks two rules appears twice. Underscores are added where the table has
    such columns.

    Parameters
    ----------
    spec : TableSpec
        The contract.
    source : str, optional
        SQL text of the table or subquery to check; the contract's name by default.

    Returns
    -------
    str
        A ``SELECT``, which returns no rows where the contract holds.

    Examples
    --------
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> spec = TableSpec("t", [ColumnSpec("a", "long", nullable=False)], constraints={"pos": "a > 0"})
    >>> print(violations_sql(spec))
    SELECT 'not-null' AS "_rule", 'a' AS "_subject", "a" FROM "t" WHERE "a" IS NULL
    UNION ALL
    SELECT 'check' AS "_rule", 'pos' AS "_subject", "a" FROM "t" WHERE (a > 0) IS NOT TRUE
    """
    table = source or ".".join(quote(part) for part in spec.name.split("."))
    prefix = "_"
    while {prefix + "rule", prefix + "subject", prefix + "copies"} & {each.name for each in spec.columns}:
        prefix += "_"
    columns = ", ".join(quote(each.name) for each in spec.columns)

    def select(rule: str, subject: str, condition: str, table: str = table) -> str:
        named = f"{_text(rule)} AS {quote(prefix + 'rule')}, {_text(subject)} AS {quote(prefix + 'subject')}"
        return f"SELECT {named}, {columns} FROM {table} WHERE {condition}"

    parts = [select("not-null", path, condition) for path, condition in _nulls(spec.columns)]
    if spec.primary_key:
        keys = ", ".join(quote(name) for name in spec.primary_key)
        copies = quote(prefix + "copies")
        counted = f"(SELECT {columns}, COUNT(*) OVER (PARTITION BY {keys}) AS {copies} FROM {table})"
        parts.append(
            select("unique-key", ", ".join(spec.primary_key), f"{copies} > 1", f"{counted} AS keyed")
        )
    by_name = {each.name: each for each in spec.columns}
    parts += [select(*_constraint(each, by_name)) for each in spec.constraints]
    return "\nUNION ALL\n".join(parts) or select("none", "none", "FALSE")


def _nulls(columns: Sequence[ColumnSpec], base: str = "", path: str = "") -> Iterator[tuple[str, str]]:
    """Return a condition for each column, or field of a struct, that must not be null and is."""
    for column in columns:
        here = f"{path}.{column.name}" if path else column.name
        value = f"{base}[{_text(column.name)}]" if base else quote(column.name)
        if not column.nullable:
            yield here, f"{base} IS NOT NULL AND {value} IS NULL" if base else f"{value} IS NULL"
        if isinstance(column.type, StructType):
            yield from _nulls(column.type.fields, value, here)


def _constraint(constraint: Constraint, columns: dict[str, ColumnSpec]) -> tuple[str, str, str]:
    """Return rule, subject and the condition under which a row breaks a constraint."""
    match constraint:
        case Check(name, sql):
            return "check", name, f"({sql}) IS NOT TRUE"
        case Range(name, column, minimum, maximum):
            kind = columns[column].type
            sides = (("<", minimum), (">", maximum))
            outside = [
                f"{quote(column)} {sign} {_literal(kind, bound)}"
                for sign, bound in sides
                if bound is not None
            ]
            return "range", name, " OR ".join(outside)
        case AcceptedValues(name, column, values):
            accepted = ", ".join(_literal(columns[column].type, each) for each in values)
            return "accepted-values", name, f"{quote(column)} NOT IN ({accepted})"


def _literal(kind: DataType, value: Literal) -> str:
    if kind.text in _PLAIN_LITERALS:
        return _text(value) if isinstance(value, str) else str(value).upper()
    return render_sql(Constant(kind, value))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
