"""What changes between two versions of a contract, and whether a policy admits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

from schema_spec._casts import cast_kind
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.policies import POLICIES, EvolutionPolicy
from schema_spec.table import TableSpec
from schema_spec.types import ArrayType, DataType, MapType, SemanticType, SqlExpression, strip_semantic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schema_spec.constraints import Constraint

DifferenceKind = Literal[
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
    "semantic-added",
    "semantic-dropped",
    "semantic-changed",
    "default-changed",
    "generated-changed",
    "partitioning-changed",
    "key-changed",
    "constraint-added",
    "constraint-dropped",
    "constraint-changed",
    "metadata-changed",
]

_NEVER: Final = len(POLICIES)
# The position in POLICIES from which on a kind of difference is admitted.
_ADMITTED_FROM: Final[dict[DifferenceKind, int]] = {
    "metadata-changed": 0,
    "semantic-added": 0,
    "column-added": 1,
    "column-moved": 1,
    "type-widened": 2,
    "nullability-relaxed": 2,
    "semantic-dropped": 2,
    "default-changed": 2,
    "constraint-dropped": 2,
    "column-dropped": 3,
    "column-renamed": 3,
    "type-narrowed": 3,
    "type-changed": 3,
    "nullability-tightened": 3,
    "semantic-changed": 3,
    "generated-changed": 3,
    "partitioning-changed": 3,
    "key-changed": 3,
    "constraint-added": 3,
    "constraint-changed": 3,
    "column-added-required": _NEVER,
    "type-incompatible": _NEVER,
}
_MARKS: Final = {"added": "+", "dropped": "-"}


class Difference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One difference.

    Parameters
    ----------
    kind : str
        What changed, such as ``"type-widened"``; stable.
    path : str
        Where: a column, a nested field such as ``address.street`` or ``tags.element``, or a field of the
        contract.
    before, after : str or None
        What was there and what is there, for people.
    policy : str or None
        The least generous policy that admits it; None when no policy does.
    hint : str
        What to do where it is not admitted.
    """

    kind: DifferenceKind
    path: str
    before: str | None = None
    after: str | None = None
    policy: EvolutionPolicy | None = None
    hint: str = ""

    def admitted(self, policy: EvolutionPolicy) -> bool:
        """Tell whether a policy admits the difference.

        Parameters
        ----------
        policy : {"strict", "additive", "widening", "any"}
            The policy.

        Returns
        -------
        bool
            True when it does.
        """
        return self.policy is not None and POLICIES.index(self.policy) <= POLICIES.index(policy)

    def __str__(self) -> str:
        mark = _MARKS.get(self.kind.rpartition("-")[2], "~")
        if self.before is None or self.after is None:
            return f"{mark} {self.path}: {self.after or self.before}  [{self.kind}]"
        return f"{mark} {self.path}: {self.before} -> {self.after}  [{self.kind}]"


class SchemaDiff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The differences between two versions of a contract.

    Parameters
    ----------
    kind : {"identical", "compatible", "breaking"}
        "compatible" when the policy admits every difference.
    policy : {"strict", "additive", "widening", "any"}
        The policy that decided.
    entries : tuple of Difference
        One per difference.
    """

    kind: Literal["identical", "compatible", "breaking"]
    policy: EvolutionPolicy
    entries: tuple[Difference, ...] = ()

    @property
    def breaking(self) -> tuple[Difference, ...]:
        """The differences that the policy does not admit."""
        return tuple(each for each in self.entries if not each.admitted(self.policy))

    def report(self) -> str:
        """Return one line per difference, and for each refused one what to do.

        Returns
        -------
        str
            Text for people.

        Examples
        --------
        >>> from schema_spec import ColumnSpec, TableSpec
        >>> old = TableSpec("t", [ColumnSpec("a", "integer")])
        >>> new = TableSpec("t", [ColumnSpec("a", "long"), ColumnSpec("b", "string")])
        >>> print(old.diff(new).report())
        breaking under policy "additive": 2 differences
          ~ a: integer -> long  [type-widened]
              refused: needs policy "widening"
          + b: string  [column-added]
        """
        if not self.entries:
            return "identical"
        lines = [f'{self.kind} under policy "{self.policy}": {_count(len(self.entries), "difference")}']
        for entry in self.entries:
            lines.append(f"  {entry}")
            if not entry.admitted(self.policy):
                lines.append(f"      refused: {advice(entry)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report()


def advice(entry: Difference) -> str:
    """Return what makes a refused difference acceptable."""
    if entry.policy is None:
        return entry.hint or "no policy admits it"
    return f'needs policy "{entry.policy}"'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def compare(old: TableSpec, new: TableSpec, policy: EvolutionPolicy) -> SchemaDiff:
    """Compare two contracts."""
    entries = (*column_differences(old.columns, new.columns), *_table_differences(old, new))
    if not entries:
        return SchemaDiff(kind="identical", policy=policy)
    admitted = all(each.admitted(policy) for each in entries)
    return SchemaDiff(kind="compatible" if admitted else "breaking", policy=policy, entries=entries)


def difference(
    kind: DifferenceKind, path: str, before: str | None = None, after: str | None = None, hint: str = ""
) -> Difference:
    """Return a difference with the least generous policy that admits its kind."""
    least = _ADMITTED_FROM[kind]
    policy = POLICIES[least] if least < _NEVER else None
    return Difference(kind=kind, path=path, before=before, after=after, policy=policy, hint=hint)


def match_columns(
    old: Sequence[ColumnSpec], new: Sequence[ColumnSpec]
) -> tuple[list[tuple[ColumnSpec | None, ColumnSpec]], list[ColumnSpec]]:
    """Pair each new column with the old one it continues; return the pairs and the old columns left over.

    A column-mapping id decides where both sides have one, the name otherwise.
    """
    by_name = {column.name: column for column in old}
    by_id = {column.field_id: column for column in old if column.field_id is not None}
    new_ids = {column.field_id for column in new if column.field_id is not None}
    pairs: list[tuple[ColumnSpec | None, ColumnSpec]] = []
    taken: set[str] = set()
    for column in new:
        found = by_id.get(column.field_id) if column.field_id is not None else None
        if found is None:
            same = by_name.get(column.name)
            found = same if same is not None and _continues(same, column, new_ids) else None
        if found is not None and found.name in taken:
            found = None
        if found is not None:
            taken.add(found.name)
        pairs.append((found, column))
    return pairs, [column for column in old if column.name not in taken]


def _continues(old: ColumnSpec, new: ColumnSpec, new_ids: set[int]) -> bool:
    """Tell whether columns of one name are one: no id contradicts it, no other column claims the old id."""
    return old.field_id is None or (new.field_id is None and old.field_id not in new_ids)


def column_differences(
    old: Sequence[ColumnSpec], new: Sequence[ColumnSpec], prefix: str = "", *, in_list: bool = False
) -> Iterator[Difference]:
    """Compare columns, or the fields of nested structs."""
    pairs, dropped = match_columns(old, new)
    for before, after in pairs:
        path = prefix + after.name
        if before is None:
            yield _added(after, path, in_list=in_list)
        else:
            yield from _column(before, after, path, in_list=in_list)
    for column in dropped:
        yield difference("column-dropped", prefix + column.name, before=_shown(column))
    kept = {before.name for before, _ in pairs if before is not None}
    was = [column.name for column in old if column.name in kept]
    if was != [before.name for before, _ in pairs if before is not None]:
        names = ", ".join(after.name for _, after in pairs)
        yield difference("column-moved", prefix.rstrip(".") or "columns", ", ".join(was), names)


def _shown(column: ColumnSpec) -> str:
    return column.data_type.text + ("" if column.nullable else " not null")


def _added(column: ColumnSpec, path: str, *, in_list: bool) -> Difference:
    filled = column.default is not None or column.generated is not None
    if in_list and (filled or not column.nullable):
        hint = "fields inside lists are filled with null only; make it nullable, without a default"
        return difference("column-added-required", path, after=_shown(column), hint=hint)
    if not column.nullable and not filled:
        hint = "rows written before have no value for it; make it nullable or give it a default"
        return difference("column-added-required", path, after=_shown(column), hint=hint)
    return difference("column-added", path, after=_shown(column))


def _column(old: ColumnSpec, new: ColumnSpec, path: str, *, in_list: bool) -> Iterator[Difference]:
    if old.name != new.name:
        kind: DifferenceKind = "type-incompatible" if in_list else "column-renamed"
        yield difference(kind, path, old.name, new.name, "fields inside lists keep their names")
    yield from _types(old.type, new.type, path, in_list=in_list)
    yield from _nullability(old.nullable, new.nullable, path, in_list=in_list)
    yield from _semantics(old.semantic, new.semantic, path)
    if old.default != new.default:
        yield difference("default-changed", path, _value(old.default), _value(new.default))
    if old.generated != new.generated:
        yield difference("generated-changed", path, _value(old.generated), _value(new.generated))
    if (old.comment, old.metadata, old.field_id, old.physical_name) != (
        new.comment,
        new.metadata,
        new.field_id,
        new.physical_name,
    ):
        yield difference("metadata-changed", path, "its comment, ids or metadata")


def _value(value: object) -> str:
    if isinstance(value, SqlExpression):
        return value.sql
    return "none" if value is None else msgspec.json.encode(value).decode()


def _nullability(old: bool, new: bool, path: str, *, in_list: bool) -> Iterator[Difference]:
    if old and not new:
        kind: DifferenceKind = "type-incompatible" if in_list else "nullability-tightened"
        yield difference(
            kind, path, "nullable", "not null", "values inside lists are not checked; keep them nullable"
        )
    elif new and not old:
        yield difference("nullability-relaxed", path, "not null", "nullable")


def _semantics(old: SemanticType | None, new: SemanticType | None, path: str) -> Iterator[Difference]:
    before, after = (each.name if each else None for each in (old, new))
    if before == after:
        return
    kind: DifferenceKind = (
        "semantic-added" if not before else "semantic-dropped" if not after else "semantic-changed"
    )
    yield difference(kind, path, before or "no semantic type", after or "no semantic type")


def _types(old: DataType, new: DataType, path: str, *, in_list: bool) -> Iterator[Difference]:
    """Compare two types, level by level."""
    if old == new:
        return
    if isinstance(old, StructType) and isinstance(new, StructType):
        yield from column_differences(old.fields, new.fields, f"{path}.", in_list=in_list)
    elif isinstance(old, ArrayType) and isinstance(new, ArrayType):
        inner = f"{path}.element"
        yield from _nested(old.element, new.element, inner)
        yield from _nullability(old.contains_null, new.contains_null, inner, in_list=True)
    elif isinstance(old, MapType) and isinstance(new, MapType):
        yield from _map_keys(old.key, new.key, f"{path}.key")
        yield from _map_values(old.value, new.value, f"{path}.value", in_list=in_list)
        yield from _nullability(
            old.value_contains_null, new.value_contains_null, f"{path}.value", in_list=True
        )
    else:
        yield _plain_types(old, new, path)


def _nested(old: DataType, new: DataType, path: str) -> Iterator[Difference]:
    names = [each if isinstance(each, SemanticType) else None for each in (old, new)]
    yield from _semantics(names[0], names[1], path)
    plain_old, plain_new = strip_semantic(old), strip_semantic(new)
    if isinstance(plain_old, StructType) and isinstance(plain_new, StructType):
        pairs, _ = match_columns(plain_old.fields, plain_new.fields)
        if all(before is None for before, _ in pairs):
            yield difference(
                "type-incompatible", path, old.text, new.text, "the structs have no field in common"
            )
            return
    yield from _types(plain_old, plain_new, path, in_list=True)


def _map_keys(old: DataType, new: DataType, path: str) -> Iterator[Difference]:
    """Compare the keys of maps, which must not become equal."""
    plain_old, plain_new = strip_semantic(old), strip_semantic(new)
    if cast_kind(plain_old, plain_new) in ("same", "widened", "narrowed"):
        yield from _nested(old, new, path)
    else:
        hint = "keys that differ could become equal; add another column for the new type"
        yield difference("type-incompatible", path, old.text, new.text, hint)


def _map_values(old: DataType, new: DataType, path: str, *, in_list: bool) -> Iterator[Difference]:
    """Compare the values of maps; where the map is itself in a list or map, nested values stay."""
    plain_old, plain_new = strip_semantic(old), strip_semantic(new)
    if in_list and plain_old != plain_new and isinstance(plain_old, StructType | ArrayType | MapType):
        hint = "nested values of maps inside lists and maps keep their type"
        yield difference("type-incompatible", path, old.text, new.text, hint)
        return
    yield from _nested(old, new, path)


def _plain_types(old: DataType, new: DataType, path: str) -> Difference:
    kind = cast_kind(old, new)
    if kind == "lossy":
        hint = "a cast could change values silently; add another column for the new type"
        return difference("type-incompatible", path, old.text, new.text, hint)
    named: dict[str, DifferenceKind] = {
        "widened": "type-widened",
        "narrowed": "type-narrowed",
        "changed": "type-changed",
    }
    return difference(named[kind], path, old.text, new.text)


def _table_differences(old: TableSpec, new: TableSpec) -> Iterator[Difference]:
    if old.partition_by != new.partition_by:
        yield difference(
            "partitioning-changed", "partition_by", _listed(old.partition_by), _listed(new.partition_by)
        )
    if set(old.primary_key) != set(new.primary_key):
        yield difference("key-changed", "primary_key", _listed(old.primary_key), _listed(new.primary_key))
    yield from _constraints(old.constraints, new.constraints)
    for field in ("name", "comment", "evolution"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield difference("metadata-changed", field, _value(before), _value(after))
    if old.primary_key != new.primary_key and set(old.primary_key) == set(new.primary_key):
        yield difference(
            "metadata-changed", "primary_key", _listed(old.primary_key), _listed(new.primary_key)
        )
    for key in sorted(old.properties.keys() | new.properties.keys()):
        before, after = old.properties.get(key), new.properties.get(key)
        if before != after:
            yield difference("metadata-changed", f"properties.{key}", _value(before), _value(after))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _constraints(old: Sequence[Constraint], new: Sequence[Constraint]) -> Iterator[Difference]:
    before = {each.name: each for each in old}
    after = {each.name: each for each in new}
    for name in sorted(before.keys() | after.keys()):
        path = f"constraints.{name}"
        if name not in before:
            yield difference("constraint-added", path, after=_constraint(after[name]))
        elif name not in after:
            yield difference("constraint-dropped", path, before=_constraint(before[name]))
        elif before[name] != after[name]:
            yield difference("constraint-changed", path, _constraint(before[name]), _constraint(after[name]))


def _constraint(constraint: Constraint) -> str:
    values = msgspec.to_builtins(constraint)
    return ", ".join(f"{key} {value}" for key, value in values.items() if key != "name" and value is not None)
