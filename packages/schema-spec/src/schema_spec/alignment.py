"""How each column of a contract is obtained from data of another schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from schema_spec.columns import ColumnSpec, StructType
from schema_spec.diff import Difference, advice, column_differences, difference, match_columns
from schema_spec.errors import EvolutionError
from schema_spec.expressions import (
    Cast,
    Column,
    Computed,
    Constant,
    Exact,
    Expression,
    Member,
    NotNull,
    Rebuild,
    exact_sql,
    not_null_sql,
    quote,
    render_sql,
)
from schema_spec.policies import EvolutionPolicy
from schema_spec.table import TableSpec
from schema_spec.types import DataType, SqlExpression

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

_MOMENTS: Final = ("timestamp", "timestamp_ntz")
Action = Literal["as_is", "renamed", "cast", "checked", "default", "generated", "null", "nested"]

# What a schema shows of a table; everything else is the business of `TableSpec.diff`.
_SEEN_IN_DATA: Final = frozenset(
    (
        "column-added",
        "column-added-required",
        "column-dropped",
        "column-renamed",
        "column-moved",
        "type-widened",
        "type-narrowed",
        "type-changed",
        "type-incompatible",
        "nullability-relaxed",
        "nullability-tightened",
        "semantic-dropped",
        "semantic-changed",
    )
)


class ColumnAlignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column is obtained.

    Parameters
    ----------
    name : str
        The column of the contract.
    action : str
        ``as_is``, ``renamed``, ``cast`` (cannot fail), ``checked`` (fails where a value does not fit),
        ``default``, ``generated``, ``null`` or ``nested`` (a struct put together anew).
    expression : Expression
        The expression over the data's columns.
    reason : str
        One sentence.
    """

    name: str
    action: Action
    expression: Expression
    reason: str


class Alignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How data becomes rows of a contract.

    Parameters
    ----------
    columns : tuple of ColumnAlignment
        One per column of the contract, in order.
    extra : tuple of str
        Columns of the data that the contract does not have; they are left out.
    policy : {"strict", "additive", "widening", "any"}
        The policy that admitted it.
    differences : tuple of Difference
        What was bridged.
    """

    columns: tuple[ColumnAlignment, ...]
    extra: tuple[str, ...]
    policy: EvolutionPolicy
    differences: tuple[Difference, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the data can be taken as it is."""
        return all(each.action == "as_is" for each in self.columns) and not any(
            each.kind in ("column-moved", "column-dropped") for each in self.differences
        )

    @property
    def checks(self) -> tuple[str, ...]:
        """Conditions in SQL over the data that must hold: no null where none may be, no digit lost."""
        guards = (guard for each in self.columns for guard in _guards(each.expression))
        return tuple(dict.fromkeys(guards))

    def select_sql(self, source: str) -> str:
        """Return the query that reads the contract's columns.

        It fails where a checked cast meets a value that does not fit. It does not look for nulls where the
        contract has none any more, nor for nanoseconds that would be cut: run `checks` for that.

        Parameters
        ----------
        source : str
            SQL text of the table or subquery to read from, quoted as needed.

        Returns
        -------
        str
            A ``SELECT`` for DataFusion.

        Examples
        --------
        >>> from schema_spec import ColumnSpec, TableSpec
        >>> old = TableSpec("t", [ColumnSpec("a", "integer")])
        >>> new = TableSpec("t", [ColumnSpec("a", "long"), ColumnSpec("b", "string")], evolution="widening")
        >>> print(new.alignment(old).select_sql("t"))
        SELECT CAST("a" AS BIGINT) AS "a", arrow_cast(NULL, 'Utf8') AS "b" FROM t
        """
        columns = ", ".join(f"{render_sql(each.expression)} AS {quote(each.name)}" for each in self.columns)
        return f"SELECT {columns} FROM {source}"


def _guards(expression: Expression) -> Iterator[str]:
    match expression:
        case NotNull(base):
            yield not_null_sql(expression)
            yield from _guards(base)
        case Exact(base):
            yield exact_sql(expression)
            yield from _guards(base)
        case Cast(base) | Member(base):
            yield from _guards(base)
        case Rebuild(_, fields):
            for _, each in fields:
                yield from _guards(each)
        case _:
            return


def align(contract: TableSpec, actual: pa.Schema | TableSpec, policy: EvolutionPolicy) -> Alignment:
    """Align a contract with a schema."""
    found = actual if isinstance(actual, TableSpec) else TableSpec.from_arrow(contract.name, actual)
    stored = {} if isinstance(actual, TableSpec) else _stored_otherwise(found, actual)
    pairs, dropped = match_columns(found.columns, contract.columns)
    differences = (
        *(each for each in column_differences(found.columns, contract.columns) if each.kind in _SEEN_IN_DATA),
        *_too_fine(pairs, stored),
    )
    refused = [each for each in differences if not each.admitted(policy)]
    if refused:
        raise _refusal(contract, refused, policy)
    return Alignment(
        columns=tuple(_aligned(before, after, stored) for before, after in pairs),
        extra=tuple(column.name for column in dropped),
        policy=policy,
        differences=differences,
    )


def _refusal(contract: TableSpec, refused: Sequence[Difference], policy: EvolutionPolicy) -> EvolutionError:
    first = refused[0]
    shown = "; ".join(str(each) for each in refused[:5])
    more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
    fix = advice(first)
    return EvolutionError(
        f'table {contract.name!r} cannot be read under its contract with policy "{policy}"',
        f"{shown}{more}",
        f"{first.path}: {fix}.",
        path=first.path,
        value=first.kind,
    )


def _stored_otherwise(found: TableSpec, given: object) -> dict[str, pa.DataType]:
    """Return the Arrow types of the columns that are not stored as a contract stores their type."""
    from schema_spec._arrow import as_schema, is_stored_as

    schema = as_schema(given)
    types = ((each, schema.field(index).type) for index, each in enumerate(found.columns))
    return {each.name: arrow for each, arrow in types if not is_stored_as(arrow, each.type)}


def _too_fine(
    pairs: Sequence[tuple[ColumnSpec | None, ColumnSpec]], stored: Mapping[str, pa.DataType]
) -> Iterator[Difference]:
    """Return a difference for each column with nanoseconds, which microseconds may not hold."""
    for before, after in pairs:
        arrow = stored.get(before.name) if before is not None else None
        if arrow is None or not _counts_nanoseconds(arrow):
            continue
        if before is not None and before.type.text in _MOMENTS:
            yield difference("type-narrowed", after.name, str(arrow), after.type.text)
        else:
            hint = "nanoseconds would be cut; cast the data to microseconds first"
            yield difference("type-incompatible", after.name, str(arrow), after.type.text, hint)


def _counts_nanoseconds(arrow: pa.DataType) -> bool:
    from schema_spec._arrow import counts_nanoseconds

    return counts_nanoseconds(arrow)


def _aligned(
    before: ColumnSpec | None, after: ColumnSpec, stored: Mapping[str, pa.DataType]
) -> ColumnAlignment:
    if before is None:
        return _absent(after)
    base: Expression = Column(before.name)
    arrow = stored.get(before.name)
    if arrow is not None and _same_storage(before.type, after.type):
        exact = before.type.text in _MOMENTS and _counts_nanoseconds(arrow)
        base = Exact(base, after.type) if exact else Cast(base, after.type)
    expression = _converted(base, before, after, None)
    shown = before.type.text if arrow is None else str(arrow)
    action, reason = _described(before, after, expression, shown)
    return ColumnAlignment(name=after.name, action=action, expression=expression, reason=reason)


def _described(before: ColumnSpec, after: ColumnSpec, expression: Expression, old: str) -> tuple[Action, str]:
    new = after.type.text
    match expression:
        case NotNull():
            return "checked", f"{before.name} may hold nulls and must not"
        case Rebuild():
            return "nested", f"the fields of {before.name} differ"
        case Exact() | Cast(checked=True):
            return "checked", f"{before.name} is {old}, and {new} does not hold every value of it"
        case Cast():
            return "cast", f"{before.name} is {old}, which {new} holds"
        case _ if before.name != after.name:
            return "renamed", f"it was {before.name}"
        case _:
            return "as_is", "the data has it"


def _absent(column: ColumnSpec) -> ColumnAlignment:
    expression, action = _filled(column)
    if not column.nullable and isinstance(expression, Computed):
        expression = NotNull(expression)
    reasons = {"null": "the data lacks it", "default": "the data lacks it; it has a default"}
    reason = reasons.get(action, "the data lacks it; it is computed")
    return ColumnAlignment(name=column.name, action=action, expression=expression, reason=reason)


def _filled(column: ColumnSpec) -> tuple[Expression, Action]:
    if column.generated is not None:
        return Computed(column.generated.sql, column.type), "generated"
    if isinstance(column.default, SqlExpression):
        return Computed(column.default.sql, column.type), "default"
    return Constant(column.type, column.default), "null" if column.default is None else "default"


def _converted(
    base: Expression, before: ColumnSpec, after: ColumnSpec, within: Expression | None
) -> Expression:
    converted = _converted_type(base, before.type, after.type)
    return NotNull(converted, within) if before.nullable and not after.nullable else converted


def _converted_type(base: Expression, old: DataType, new: DataType) -> Expression:
    if _same_storage(old, new):
        return base
    if isinstance(old, StructType) and isinstance(new, StructType):
        pairs, _ = match_columns(old.fields, new.fields)
        fields = tuple(
            (
                field.name,
                _filled(field)[0] if was is None else _converted(Member(base, was.name), was, field, base),
            )
            for was, field in pairs
        )
        return Rebuild(base, fields, new)
    return Cast(base, new, checked=_is_checked(old, new))


def _same_storage(old: DataType, new: DataType) -> bool:
    from schema_spec._arrow import storage_type

    return old == new or storage_type(old) == storage_type(new)


def _is_checked(old: DataType, new: DataType) -> bool:
    differences = column_differences([ColumnSpec("value", old)], [ColumnSpec("value", new)])
    return any(each.kind in ("type-narrowed", "type-changed") for each in differences)
