"""Columns of a table, which are also the fields of nested structs."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct
from msgspec.structs import force_setattr

from schema_spec._frozen import EMPTY, FrozenDict
from schema_spec.errors import ColumnDuplicateError, SemanticError, SpecError, SpecFieldError
from schema_spec.types import PREDEFINED, DataType, SemanticType, quote_name, strip_semantic

if TYPE_CHECKING:
    from collections.abc import Sequence

RESERVED_METADATA: Final = {
    "comment": "comment",
    "CURRENT_DEFAULT": "default",
    "PARQUET:field_id": "field_id",
    "delta.columnMapping.id": "field_id",
    "delta.columnMapping.physicalName": "physical_name",
    "delta.generationExpression": "generated",
}
EXTENSION_NAME: Final = "ARROW:extension:name"
EXTENSION_METADATA: Final = "ARROW:extension:metadata"


class SqlExpression(Struct, frozen=True, forbid_unknown_fields=True):
    """SQL text that computes a value.

    Parameters
    ----------
    sql : str
        A scalar expression, such as ``current_date()``.
    """

    sql: str

    def __post_init__(self) -> None:
        if not is_name(self.sql) or not self.sql.strip():
            raise SpecFieldError(
                "an SQL expression is empty", fix='Write one, such as "a + 1".', value=self.sql
            )


class ColumnSpec(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One column, or one field of a nested struct.

    Parameters
    ----------
    name : str
        Logical name.
    type : DataType or str
        A type or its text form, such as ``decimal(10,2)``. ``"string as NodeId"`` sets `semantic` too.
    nullable : bool, default True
        Whether values may be null.
    default : object, optional
        What rows written without the column hold: a literal of the column's type (dates, decimals and the
        like also as text), or an `SqlExpression`.
    semantic : SemanticType or str, optional
        What the values mean; a name stands for a semantic type stored as `type`.
    comment : str, optional
        For people.
    metadata : Mapping[str, object], optional
        Whatever else belongs to the column: JSON values by key.
    generated : SqlExpression or str, optional
        The expression over other columns that computes the value.
    field_id : int, optional
        Column-mapping id, by which a rename is recognised.
    physical_name : str, optional
        Column-mapping name in the data files.

    Raises
    ------
    SpecError
        When a field holds a wrong value; the code says which kind.

    Examples
    --------
    >>> ColumnSpec("amount", "numeric(10, 2)", nullable=False, default="0").default
    '0.00'
    """

    if TYPE_CHECKING:
        name: str
        type: DataType
        nullable: bool
        default: bool | float | str | SqlExpression | None
        semantic: SemanticType | None
        comment: str | None
        metadata: Mapping[str, Any]
        generated: SqlExpression | None
        field_id: int | None
        physical_name: str | None

        def __init__(  # noqa: PLR0917 the fields, in their documented order
            self,
            name: str,
            type: DataType | str,  # noqa: A002 the field's name
            nullable: bool = True,
            default: object = None,
            semantic: SemanticType | str | None = None,
            comment: str | None = None,
            metadata: Mapping[str, object] = {},
            generated: SqlExpression | str | None = None,
            field_id: int | None = None,
            physical_name: str | None = None,
        ) -> None: ...

    else:
        name: str
        # Any: checked and converted below, which is cheaper than a call back from msgspec for every column.
        type: Any
        nullable: bool = True
        default: Any = None
        semantic: Any = None
        comment: str | None = None
        metadata: Mapping[str, Any] = EMPTY
        generated: Any = None
        field_id: int | None = None
        physical_name: str | None = None

    def __post_init__(self) -> None:
        # A contract may have thousands of columns: each part costs something only where it is used.
        name, nullable, comment = self.name, self.nullable, self.comment
        kind: Any = self.type  # text is accepted, and not kept
        if not (
            name.__class__ is str
            and name
            and (nullable is True or nullable is False)
            and (comment is None or (comment.__class__ is str and comment.isascii()))
        ):
            _check_texts(self)
        if self.field_id is not None or self.physical_name is not None:
            _check_mapping(self)
        if type(kind) is str and self.semantic is None and (parsed := _PLAIN[kind]) is not None:
            force_setattr(self, "type", parsed)
        else:
            _check_type(self)
        if self.metadata is not EMPTY:
            _check_metadata(self)
        if self.default is not None or self.generated is not None:
            _check_values(self)

    def __hash__(self) -> int:
        return hash((self.name, self.type, self.nullable))

    @property
    def data_type(self) -> DataType:
        """The type with its semantic type, where there is one, around it."""
        return self.semantic if self.semantic is not None else self.type


class StructType(DataType, Struct, frozen=True, tag="struct"):
    """A group of named fields.

    Parameters
    ----------
    fields : Sequence[ColumnSpec]
        The fields, at least one, with distinct names.
    """

    fields: tuple[ColumnSpec, ...]

    def __post_init__(self) -> None:
        fields = tuple(self.fields)
        if set(map(type, fields)) != {ColumnSpec}:
            raise SpecFieldError(
                "a struct needs fields", fix="Give at least one ColumnSpec.", value=self.fields
            )
        check_distinct(fields, "fields")
        force_setattr(self, "fields", fields)

    @property
    def text(self) -> str:
        """Such as ``struct<a: long not null>``."""
        return "struct<" + ", ".join(_field_text(each) for each in self.fields) + ">"


def _field_text(field: ColumnSpec) -> str:
    semantic = f" as {field.semantic.name}" if field.semantic else ""
    null = "" if field.nullable else " not null"
    comment = "" if field.comment is None else " comment '" + field.comment.replace("'", "''") + "'"
    return f"{quote_name(field.name)}: {field.type.text}{semantic}{null}{comment}"


_NAME = attrgetter("name")


class _PlainTypes(dict[str, DataType | None]):
    """Types by their text, parsed once; None for those that bring a semantic type along."""

    def __missing__(self, text: str) -> DataType | None:
        try:
            parsed = DataType.parse(text)
        except SpecError as error:
            raise error.at("type") from None
        if len(self) > _MAX_REMEMBERED:
            self.clear()
        plain = self[text] = None if isinstance(parsed, SemanticType) else parsed
        return plain


_MAX_REMEMBERED: Final = 4096
_PLAIN: Final = _PlainTypes()


def _check_texts(column: ColumnSpec) -> None:
    name: object = column.name
    if not is_name(name):
        raise SpecFieldError(
            "a column has no name", f"it is {name!r}", "Give a non-empty string.", path="name", value=name
        )
    _require(column.nullable, bool, "nullable", "true or false")
    if column.comment is not None:
        _require(column.comment, str, "comment", "text")


def _check_mapping(column: ColumnSpec) -> None:
    if column.physical_name is not None:
        _require(column.physical_name, str, "physical_name", "text")
    if column.field_id is not None and (type(column.field_id) is not int or column.field_id < 0):
        raise _wrong("field_id", column.field_id, "a whole number from 0 up")


def _check_type(column: ColumnSpec) -> None:
    from schema_spec._type_values import decode_type

    given: Any = column.type
    kind = _PLAIN[given] if type(given) is str else None
    if kind is None:
        try:
            kind = decode_type(given)
        except SpecError as error:
            raise error.at("type") from None
    semantic = _semantic(column.semantic, strip_semantic(kind))
    if isinstance(kind, SemanticType):
        if semantic is not None and semantic.name != kind.name:
            raise SemanticError(
                f"column {column.name!r} has two semantic types",
                f"{kind.name} and {semantic.name}",
                "Keep one.",
            )
        kind, semantic = kind.storage, kind
    if semantic is not None and semantic.storage != kind:
        raise SemanticError(
            f"column {column.name!r} cannot be {semantic.name}",
            f"its type is {kind.text}, {semantic.name} is stored as {semantic.storage.text}",
            f'Set type = "{semantic.storage.text}" or use another semantic type.',
            path="semantic",
            value=kind.text,
        )
    force_setattr(column, "type", kind)
    force_setattr(column, "semantic", semantic)


def _semantic(value: object, storage: DataType) -> SemanticType | None:
    if isinstance(value, str):
        known = PREDEFINED.get(value)
        return known if known is not None and known.storage == storage else SemanticType(value, storage)
    if value is None or isinstance(value, SemanticType):
        return value
    raise _wrong("semantic", value, "a SemanticType or its name")


def _check_metadata(column: ColumnSpec) -> None:
    entries = as_mapping(column.metadata, "metadata", "a mapping of names to JSON values")
    for key, value in entries.items():
        if not is_name(key) or not is_json(value):
            raise _wrong(f"metadata[{key!r}]", value, "a JSON value, other than null, under a text key")
        if key in RESERVED_METADATA or key.startswith("schema_spec."):
            field = RESERVED_METADATA.get(key)
            raise SpecFieldError(
                f"column {column.name!r} keeps {key!r} in its metadata",
                fix=f"Use the field {field} instead."
                if field
                else "Keys that start with schema_spec. are reserved.",
                path="metadata",
                value=key,
            )
    if column.semantic is not None and EXTENSION_NAME in entries:
        raise SemanticError(
            f"column {column.name!r} has a semantic type and an Arrow extension type",
            f"{column.semantic.name} and {entries[EXTENSION_NAME]}",
            "Keep one.",
            path="metadata",
        )
    force_setattr(column, "metadata", FrozenDict(entries) if entries else EMPTY)


def as_mapping(value: object, field: str, wanted: str) -> Mapping[str, object]:
    """Return a mapping, or refuse the value of `field`."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)
    raise _wrong(field, value, wanted)


def _check_values(column: ColumnSpec) -> None:
    generated = _generated(column.generated)
    force_setattr(column, "generated", generated)
    default: object = column.default
    if default is None:
        return
    if generated is not None:
        raise SpecFieldError(
            f"column {column.name!r} has a default and is generated",
            fix="Keep one of the two.",
            path="default",
        )
    from schema_spec._literals import canonical_default

    if isinstance(default, dict):
        default = _expression("default", cast("dict[str, object]", default))
    force_setattr(column, "default", canonical_default(column.name, column.type, default))


def _generated(value: object) -> SqlExpression | None:
    if isinstance(value, dict | str):
        return _expression("generated", cast("dict[str, object] | str", value))
    if value is None or isinstance(value, SqlExpression):
        return value
    raise _wrong("generated", value, 'SQL text or { sql = "…" }')


def _expression(field: str, value: dict[str, object] | str) -> SqlExpression:
    if isinstance(value, str):
        return SqlExpression(value)
    sql = value.get("sql")
    if len(value) != 1 or not isinstance(sql, str):
        raise _wrong(field, value, 'a literal or { sql = "…" }')
    return SqlExpression(sql)


def is_json(value: object, depth: int = 0) -> bool:
    """Tell whether a value can be written as JSON."""
    if depth > 32:
        return False
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value)
        return all(isinstance(key, str) and is_json(each, depth + 1) for key, each in entries.items())
    if isinstance(value, list):
        return all(is_json(each, depth + 1) for each in cast("list[object]", value))
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, str) and is_text(value)


def is_name(value: object) -> bool:
    """Tell whether a value is text that says something."""
    return isinstance(value, str) and bool(value) and is_text(value)


def is_text(value: str) -> bool:
    """Tell whether text can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require(value: object, kind: type, field: str, wanted: str) -> None:
    if type(value) is not kind or (isinstance(value, str) and not is_text(value)):
        raise _wrong(field, value, wanted)


def _wrong(field: str, value: object, wanted: str) -> SpecFieldError:
    return SpecFieldError(
        f"{field} is not valid", f"it is {value!r}", f"Give {wanted}.", path=field, value=value
    )


def check_distinct(columns: Sequence[ColumnSpec], path: str) -> list[str]:
    """Return the names of columns; refuse two that differ in case only, or not at all."""
    names = list(map(_NAME, columns))
    joined = "\0".join(names)  # one pass over all names is much faster than one call for each
    if joined.count("\0") >= max(1, len(names)) or not (joined.isascii() or is_text(joined)):
        raise SpecFieldError(
            f"a name in {path} has a NUL or half a surrogate pair", fix="Remove it.", path=path
        )
    lower = joined.isascii() and joined == joined.lower()
    folded = names if lower else [name.casefold() for name in names]
    if len(set(folded)) < len(names):
        raise _duplicate(names, folded, path)
    return names


def _duplicate(names: list[str], folded: list[str], path: str) -> ColumnDuplicateError:
    later = next(index for index, key in enumerate(folded) if key in folded[:index])
    first, second = names[folded.index(folded[later])], names[later]
    same = f"two {path} are named {second!r}"
    what = same if first == second else f"{path} {first!r} and {second!r} differ in case only"
    return ColumnDuplicateError(
        what, fix="Rename one; Delta compares names without case.", path=path, value=second
    )
