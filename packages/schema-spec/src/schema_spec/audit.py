"""Rows against contracts: one query that finds what breaks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from schema_spec.columns import StructType
from schema_spec.constraints import AcceptedValues, Check, find_subject
from schema_spec.expressions import Constant, enclosed, quote, render_sql
from schema_spec.types import ArrayType, MapType, strip_semantic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schema_spec._literals import Literal
    from schema_spec.columns import ColumnSpec
    from schema_spec.constraints import Constraint, Subject
    from schema_spec.table import TableSpec
    from schema_spec.types import DataType

# Where every engine's own timestamps reach, also those that count nanoseconds.
_NANOSECONDS: Final = ("1678", "2262")
_PLAIN_LITERALS: Final = frozenset(("string", "byte", "short", "integer", "long", "boolean"))


def violations_sql(spec: TableSpec, source: str | None = None) -> str:
    """Return one query that finds the rows breaking a contract.

    Every row of the result is a row of the table, after two columns of text: ``_rule`` (``not-null``,
    ``unique-key``, ``check``, ``range`` or ``accepted-values``) and ``_subject`` (the column, or the
    constraint's name). A row that breaks two rules appears twice, and one with several nulls in a list or map
    that must not have any, once for each. Underscores are added where the table has such columns.

    Null is a value of a key: two rows whose keys are null are copies. NaN is above every number, as engines
    have it.
    DuckDB understands the query as well, apart from timestamps before 1678 and after 2261.

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

    Raises
    ------
    SpecFieldError
        When a check's SQL is more, or less, than one expression.

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
    writer = _Writer(spec, table)
    parts = [writer.select("not-null", path, condition) for path, condition in _nulls(spec.columns)]
    parts += [writer.select("not-null", *held) for held in writer.held()]
    if spec.primary_key:
        parts.append(writer.copies(spec.primary_key))
    by_name = {each.name: each for each in spec.columns}
    parts += [writer.select(*_constraint(each, by_name)) for each in spec.constraints]
    return "\nUNION ALL\n".join(parts) or writer.select("none", "none", "FALSE")


class _Writer:
    """Writes queries over one table, with names of its own that none of the table's columns has."""

    def __init__(self, spec: TableSpec, table: str) -> None:
        self.spec = spec
        self.table = table
        taken = {each.name.lower() for each in spec.columns}
        self.prefix = "_"
        while {self.prefix + name for name in ("rule", "subject", "copies", "item")} & taken:
            self.prefix += "_"
        self.columns = "".join(f", {quote(each.name)}" for each in spec.columns)

    def select(self, rule: str, subject: str, condition: str, table: str = "") -> str:
        """Return the query for the rows that break one rule."""
        named = f"{_text(rule)} AS {self.own('rule')}, {_text(subject)} AS {self.own('subject')}"
        return f"SELECT {named}{self.columns} FROM {table or self.table} WHERE {condition}"

    def own(self, name: str) -> str:
        """Return a name of this query's own, quoted."""
        return quote(self.prefix + name)

    def copies(self, key: Sequence[str]) -> str:
        """Return the query for the rows that share their key with another."""
        keys = ", ".join(_key(self.spec.column(name)) for name in key)
        counted = f"COUNT(*) OVER (PARTITION BY {keys}) AS {self.own('copies')}"
        table = f"(SELECT {counted}{self.columns} FROM {self.table}) AS keyed"
        return self.select("unique-key", ", ".join(key), f"{self.own('copies')} > 1", table)

    def held(self) -> Iterator[tuple[str, str, str]]:
        """Return path, condition and table for each value in a list or map that must not be null."""
        for path, value, kind in _nested(self.spec.columns):
            yield from self._held(path, value, kind, self.table)

    def _held(self, path: str, value: str, kind: DataType, table: str) -> Iterator[tuple[str, str, str]]:
        if isinstance(kind, ArrayType):
            parts = [("element", value, kind.element, kind.contains_null)]
        elif isinstance(kind, MapType):
            parts = [
                ("key", f"map_keys({value})", kind.key, True),
                ("value", f"map_values({value})", kind.value, kind.value_contains_null),
            ]
        else:
            return
        item = self.own("item")
        for step, values, each, nullable in parts:
            here, inner = f"{path}.{step}", strip_semantic(each)
            items = (
                f"(SELECT unnest({values}) AS {item}{self.columns} FROM {table} WHERE {value} IS NOT NULL)"
                " AS items"
            )
            if not nullable:
                yield here, f"{item} IS NULL", items
            if isinstance(inner, StructType):
                for deeper, condition in _nulls(inner.fields, item, here):
                    yield deeper, condition, items
                for deeper, held, nested in _nested(inner.fields, item, here):
                    yield from self._held(deeper, held, nested, items)
            else:
                yield from self._held(here, item, inner, items)


def _key(column: ColumnSpec) -> str:
    """Return what a key is compared by: zero and minus zero are one number."""
    name = quote(column.name)
    return f"{name} + 0" if column.type.text in ("float", "double") else name


def _nulls(columns: Sequence[ColumnSpec], base: str = "", path: str = "") -> Iterator[tuple[str, str]]:
    """Return a condition for each column, or field of a struct, that must not be null and is."""
    for column in columns:
        here, value = _member(column, base, path)
        if not column.nullable:
            yield here, f"{base} IS NOT NULL AND {value} IS NULL" if base else f"{value} IS NULL"
        if isinstance(column.type, StructType):
            yield from _nulls(column.type.fields, value, here)


def _nested(
    columns: Sequence[ColumnSpec], base: str = "", path: str = ""
) -> Iterator[tuple[str, str, DataType]]:
    """Return path, value and type of each list and map among columns and the fields of structs."""
    for column in columns:
        here, value = _member(column, base, path)
        if isinstance(column.type, StructType):
            yield from _nested(column.type.fields, value, here)
        elif isinstance(column.type, ArrayType | MapType):
            yield here, value, column.type


def _member(column: ColumnSpec, base: str, path: str) -> tuple[str, str]:
    here = f"{path}.{column.name}" if path else column.name
    return here, f"{base}[{_text(column.name)}]" if base else quote(column.name)


def _constraint(constraint: Constraint, columns: dict[str, ColumnSpec]) -> tuple[str, str, str]:
    """Return rule, subject and the condition under which a row breaks a constraint."""
    if isinstance(constraint, Check):
        return "check", constraint.name, f"{enclosed(constraint.sql)} IS NOT TRUE"
    path, kind = cast("Subject", find_subject(constraint.column, columns))
    value = quote(path[0]) + "".join(f"[{_text(step)}]" for step in path[1:])
    if isinstance(constraint, AcceptedValues):
        accepted = ", ".join(_literal(kind, each) for each in constraint.values)
        return "accepted-values", constraint.name, f"{value} NOT IN ({accepted})"
    sides = (("<", constraint.minimum), (">", constraint.maximum))
    outside = [f"{value} {sign} {_literal(kind, bound)}" for sign, bound in sides if bound is not None]
    return "range", constraint.name, " OR ".join(outside)


def _literal(kind: DataType, value: Literal) -> str:
    if kind.text in _PLAIN_LITERALS:
        return _text(value) if isinstance(value, str) else str(value).upper()
    if kind.text == "timestamp" and _NANOSECONDS[0] < str(value) < _NANOSECONDS[1]:
        return f"TIMESTAMPTZ {_text(str(value))}"
    return render_sql(Constant(kind, value))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
