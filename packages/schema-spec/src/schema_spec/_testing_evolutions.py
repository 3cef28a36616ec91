"""Evolutions of contracts: a few random changes, each of a kind that a policy admits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import assume
from hypothesis import strategies as st
from msgspec.structs import replace

from schema_spec._casts import cast_kind
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.diff import column_differences
from schema_spec.policies import POLICIES, EvolutionPolicy
from schema_spec.table import TableSpec
from schema_spec.types import PRIMITIVES, ArrayType, DataType, DecimalType, MapType, PrimitiveType

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn

_TARGETS: Final[tuple[DataType, ...]] = (
    *(PrimitiveType(name) for name in PRIMITIVES),
    *(
        DecimalType(precision, scale)
        for precision, scale in ((5, 0), (10, 2), (19, 0), (21, 2), (38, 0), (38, 10))
    ),
)

_NEW: Final = "new "


@st.composite
def evolutions(
    draw: DrawFn, spec: TableSpec, policy: EvolutionPolicy = "any", *, max_changes: int = 3
) -> TableSpec:
    """Draw what a contract may become.

    Parameters
    ----------
    spec : TableSpec
        The contract.
    policy : {"strict", "additive", "widening", "any"}, default "any"
        Which changes may occur: all of them are admitted by this policy, though not by a stricter one.
    max_changes : int, default 3
        How many changes at most; none is possible.

    Returns
    -------
    SearchStrategy[TableSpec]
        A contract whose columns evolved and whose `evolution` is `policy`; key, partitioning and constraints
        are dropped, so that every change concerns the columns.
    """
    fields = _Fields(draw, POLICIES.index(policy))
    columns = list(spec.columns)
    for _ in range(draw(st.integers(0, max_changes))):
        columns = fields.changed(columns)
    # A chain of casts, such as date to string to long, may lead where no single cast does.
    assume(all(each.kind != "type-incompatible" for each in column_differences(spec.columns, columns)))
    return TableSpec(spec.name, columns, evolution=policy)


def _is_new(column: ColumnSpec) -> bool:
    """Tell whether rows of the old contract may lack the column: its default and nullability must stay."""
    return column.name.startswith(_NEW)


class _Fields:
    """Changes of columns, or of the fields of a struct, up to the level of a policy."""

    def __init__(self, draw: DrawFn, level: int, *, in_list: bool = False) -> None:
        self.draw = draw
        self.level = level
        self.in_list = in_list

    def changed(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Return the columns after one change."""
        changes = (
            (0, self.comment),
            (1, self.add),
            (1, self.move),
            (1, self.nest),
            (2, self.relax),
            (2, self.widen),
            (3, self.drop),
            (3, self.rename),
            (3, self.tighten),
            (3, self.narrow),
        )
        return self.draw(st.sampled_from([change for least, change in changes if least <= self.level]))(
            columns
        )

    def one(self, columns: list[ColumnSpec], change: Callable[[ColumnSpec], ColumnSpec]) -> list[ColumnSpec]:
        """Return the columns with one of them changed."""
        at = self.draw(st.integers(0, len(columns) - 1))
        return [*columns[:at], change(columns[at]), *columns[at + 1 :]]

    def fresh_name(self, columns: list[ColumnSpec]) -> str:
        """Return a name that no column has."""
        taken = {each.name.casefold() for each in columns}
        return self.draw(
            st.sampled_from([name for name in (f"{_NEW}{n}" for n in range(20)) if name not in taken])
        )

    def comment(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Change what doesn't matter."""
        return self.one(
            columns, lambda column: replace(column, comment=self.draw(st.sampled_from(("", "seen"))))
        )

    def add(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Add a nullable column, or one with a default."""
        known = [each.field_id for each in columns if each.field_id is not None]
        name, identity = self.fresh_name(columns), max(known) + 100 if known else None
        if not self.in_list and self.draw(st.booleans()):
            column = ColumnSpec(name, "date", nullable=False, default="2020-02-29", field_id=identity)
        else:
            kinds = ("long", "string", "array<struct<a: long>>", "timestamp", "decimal(38,38)")
            column = ColumnSpec(name, self.draw(st.sampled_from(kinds)), field_id=identity)
        at = self.draw(st.integers(0, len(columns)))
        return [*columns[:at], column, *columns[at:]]

    def move(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Put the columns in another order."""
        return list(self.draw(st.permutations(columns)))

    def drop(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Drop a column, unless it is the last."""
        if len(columns) == 1:
            return columns
        at = self.draw(st.integers(0, len(columns) - 1))
        return columns[:at] + columns[at + 1 :]

    def rename(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Rename a column that has a column-mapping id."""
        name = self.fresh_name(columns)
        candidates = [at for at, each in enumerate(columns) if each.field_id is not None and not self.in_list]
        if not candidates:
            return columns
        chosen = self.draw(st.sampled_from(candidates))
        return [replace(each, name=name) if at == chosen else each for at, each in enumerate(columns)]

    def relax(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Allow nulls."""
        return self.one(columns, lambda column: replace(column, nullable=True))

    def tighten(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Forbid nulls, where they can be checked."""
        if self.in_list:
            return columns
        return self.one(columns, lambda each: each if _is_new(each) else replace(each, nullable=False))

    def widen(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Give a column a type that holds every value of its own."""
        return self.one(columns, lambda column: self.retyped(column, "widened"))

    def narrow(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Give a column a type that holds some values of its own."""
        return self.one(columns, lambda column: self.retyped(column, "narrowed", "changed"))

    def retyped(self, column: ColumnSpec, *kinds: str) -> ColumnSpec:
        """Return a column in another type that a cast of these kinds leads to."""
        targets = [each for each in _TARGETS if cast_kind(column.type, each) in kinds]
        if not targets or _is_new(column):
            return column
        return replace(column, type=self.draw(st.sampled_from(targets)), default=None, semantic=None)

    def nest(self, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        """Change the fields of a struct, or of the structs in a list or map."""
        return self.one(columns, self.nested)

    def nested(self, column: ColumnSpec) -> ColumnSpec:
        """Return a column after one change within it."""
        kind = column.type
        if isinstance(kind, StructType):
            inner = _Fields(self.draw, self.level, in_list=self.in_list)
            return replace(column, type=StructType(tuple(inner.changed(list(kind.fields)))))
        if isinstance(kind, ArrayType) and isinstance(kind.element, StructType):
            return replace(column, type=ArrayType(self.in_lists(kind.element), kind.contains_null))
        if isinstance(kind, MapType) and isinstance(kind.value, StructType) and not self.in_list:
            value = self.in_lists(kind.value)
            return replace(column, type=MapType(kind.key, value, kind.value_contains_null))
        return column

    def in_lists(self, kind: StructType) -> StructType:
        """Return the structs of a list or a map after one change, which leaves them something in common."""
        inner = _Fields(self.draw, self.level, in_list=True)
        fields = inner.changed(list(kind.fields))
        common = {each.name for each in fields} & {each.name for each in kind.fields}
        return StructType(tuple(fields)) if common else kind
