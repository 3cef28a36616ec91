"""Whether the parts of a contract fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec.structs import force_setattr

from schema_spec._column_checks import as_mapping, check_distinct
from schema_spec._frozen import EMPTY, FrozenDict
from schema_spec._identity import SPECIAL
from schema_spec._text import is_name, is_text
from schema_spec.columns import CheckedColumns, ColumnSpec, StructType
from schema_spec.constraints import AcceptedValues, Check, Constraint, Range, canonical_constraint
from schema_spec.errors import ColumnMissingError, ConstraintError, SpecFieldError, closest, shown
from schema_spec.policies import POLICIES
from schema_spec.types import ArrayType, DecimalType, MapType, PrimitiveType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schema_spec.table import TableSpec


_FLAT: Final = (PrimitiveType, DecimalType)


def check_table(spec: TableSpec) -> None:
    """Validate a contract and bring its fields into canonical form."""
    _text(spec.name, "name", required=True)
    if not all(spec.name.split(".")):
        raise _wrong("name", spec.name, "a name, or names separated by dots")
    if spec.comment is not None:
        _text(spec.comment, "comment")
    numbered = [each for each in _columns(spec) if each.field_id is not None or type(each.type) not in _FLAT]
    names = check_distinct(spec.columns, "columns")
    _kept(spec)["column_names"] = tuple(names)
    if numbered:
        _check_ids(numbered)
    if spec.evolution not in POLICIES:
        raise _wrong("evolution", spec.evolution, "one of " + ", ".join(POLICIES))
    _check_names(spec, "primary_key", names)
    _check_names(spec, "partition_by", names)
    if spec.primary_key:
        _check_key(spec, names)
    if spec.partition_by:
        _check_partitioning(spec, names)
    if spec.constraints:
        force_setattr(spec, "constraints", _constraints(spec))
    elif spec.constraints.__class__ is not tuple:
        force_setattr(spec, "constraints", tuple(_sequence(spec.constraints, "constraints")))
    if spec.properties is not EMPTY:
        _check_properties(spec)


def _text(value: object, field: str, *, required: bool = False) -> None:
    if not isinstance(value, str) or (required and not value) or not is_text(value):
        raise _wrong(field, value, "non-empty text" if required else "text")


def _sequence(value: object, field: str) -> tuple[Any, ...]:
    if isinstance(value, dict) and not value:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise _wrong(field, value, "a list")
    return tuple(cast("Sequence[Any]", value))


def _wrong(field: str, value: object, wanted: str) -> SpecFieldError:
    return SpecFieldError(
        f"{field} is not valid", f"it is {shown(value)}", f"Give {wanted}.", path=field, value=value
    )


def _check_names(spec: TableSpec, field: str, known: list[str]) -> None:
    names = getattr(spec, field)
    if names == ():
        return
    names = _sequence(names, field)
    for index, name in enumerate(names):
        _text(name, f"{field}[{index}]", required=True)
        if name not in known:
            raise ColumnMissingError(
                f"{field} names {name!r}",
                "the table has no such column",
                closest(name, known),
                path=f"{field}[{index}]",
                value=name,
            )
    if len(set(names)) != len(names):
        raise _wrong(field, names, "each column once")
    force_setattr(spec, field, names)


def _columns(spec: TableSpec) -> Sequence[ColumnSpec]:
    """Make the columns a tuple; return those that may have column-mapping ids."""
    given: object = spec.columns
    if isinstance(given, CheckedColumns):
        force_setattr(spec, "columns", given.columns)
        _kept(spec)[SPECIAL] = given.special
        return given.special
    columns = _sequence(given, "columns")
    for wrong in set(map(type, columns)) - {ColumnSpec}:
        raise _wrong("columns", wrong.__name__, "ColumnSpec objects only")
    force_setattr(spec, "columns", columns)
    return columns


def _kept(spec: TableSpec) -> dict[str, object]:
    """Return where a contract keeps what is computed from its fields."""
    return cast("dict[str, object]", spec.__dict__)


def _check_ids(columns: Sequence[ColumnSpec]) -> None:
    """Refuse two columns or nested fields with one column-mapping id."""
    flat = all(type(column.type) in _FLAT for column in columns)
    if flat and len({column.field_id for column in columns}) == len(columns):
        return
    known: dict[int, str] = {}
    for path, column in _fields(columns, ""):
        number = column.field_id
        if number is not None and known.setdefault(number, path) != path:
            raise SpecFieldError(
                f"columns {known[number]!r} and {path!r} have the column-mapping id {number}",
                fix="Give each column an id of its own.",
                path="columns",
                value=number,
            )


def _fields(columns: Sequence[ColumnSpec], prefix: str) -> Iterator[tuple[str, ColumnSpec]]:
    for column in columns:
        yield prefix + column.name, column
        types = [column.type]
        while types:
            kind = types.pop()
            if isinstance(kind, StructType):
                yield from _fields(kind.fields, f"{prefix}{column.name}.")
            else:
                types += kind.inner


def _check_key(spec: TableSpec, names: list[str]) -> None:
    for index, name in enumerate(spec.primary_key):
        kind = spec.columns[names.index(name)].type
        if isinstance(kind, MapType) or kind.text == "variant":
            raise SpecFieldError(
                f"column {name!r} cannot be part of the key",
                f"its type is {kind.text}, whose values cannot be compared",
                "Choose other columns.",
                path=f"primary_key[{index}]",
                value=name,
            )


def _check_partitioning(spec: TableSpec, names: list[str]) -> None:
    for name in spec.partition_by:
        kind = spec.columns[names.index(name)].type
        if isinstance(kind, ArrayType | MapType | StructType) or kind.text == "variant":
            raise SpecFieldError(
                f"column {name!r} cannot partition the table",
                f"its type is {kind.text}",
                "Partition by columns of plain types.",
                path="partition_by",
                value=name,
            )
    if len(spec.partition_by) == len(spec.columns):
        raise _wrong("partition_by", spec.partition_by, "fewer columns than the table has")


def _constraints(spec: TableSpec) -> tuple[Constraint, ...]:
    """Return the constraints in canonical form, ordered by name."""
    given: object = spec.constraints
    if isinstance(given, Mapping):
        entries = cast("Mapping[str, str]", given)
        given = tuple(Check(name, sql) for name, sql in entries.items())
    named: dict[str, Constraint] = {}
    for index, each in enumerate(_sequence(given, "constraints")):
        constraint: object = Check(f"check_{index + 1}", each) if isinstance(each, str) else each
        if not isinstance(constraint, Check | Range | AcceptedValues):
            raise _wrong(f"constraints[{index}]", each, "a Check, Range, AcceptedValues or SQL text")
        if constraint.name.lower() in named:
            raise ConstraintError(
                f"two constraints are named {constraint.name!r}",
                fix="Rename one.",
                path=f"constraints[{index}].name",
                value=constraint.name,
            )
        named[constraint.name.lower()] = canonical_constraint(constraint, spec.by_name)
    return tuple(named[key] for key in sorted(named))


def _check_properties(spec: TableSpec) -> None:
    entries = as_mapping(spec.properties, "properties", "a mapping of text to text")
    for key, value in entries.items():
        if not is_name(key) or not isinstance(value, str) or not is_text(value):
            raise _wrong(f"properties[{shown(key)}]", value, "text")
        if key.startswith(("delta.constraints.", "schema_spec.", "arrow.metadata.schema_spec.")):
            raise SpecFieldError(
                f"property {shown(key)} is reserved",
                fix="Use the fields of the contract instead.",
                path="properties",
                value=key,
            )
    force_setattr(spec, "properties", FrozenDict(entries) if entries else EMPTY)
