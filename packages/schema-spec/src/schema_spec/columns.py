"""Columns of a table, which are also the fields of nested structs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from msgspec import Struct
from msgspec.structs import force_setattr

from schema_spec._column_checks import PLAIN, check_distinct, check_rest, check_texts, check_type
from schema_spec._frozen import EMPTY
from schema_spec.errors import SpecError, SpecFieldError
from schema_spec.types import DataType, SemanticType, quote_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from schema_spec.types import SqlExpression


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
        metadata: Any = EMPTY
        generated: Any = None
        field_id: int | None = None
        physical_name: str | None = None

    def __post_init__(self) -> None:
        check_texts(self)
        check_type(self)
        check_rest(self)

    def __hash__(self) -> int:
        return hash((self.name, self.type, self.nullable))

    @property
    def data_type(self) -> DataType:
        """The type with its semantic type, where there is one, around it."""
        return self.semantic if self.semantic is not None else self.type


class ReadColumn(ColumnSpec, frozen=True, forbid_unknown_fields=True, gc=False):
    """A column as a decoder leaves it, which `checked` turns into a `ColumnSpec`."""

    def __post_init__(self) -> None:
        pass


_become: Final[Callable[[ReadColumn, type[ColumnSpec]], None]] = object.__dict__["__class__"].__set__


class CheckedColumns(NamedTuple):
    """Columns of a document; `special` are those that are not ordinary, of which alone some rules speak."""

    columns: tuple[ColumnSpec, ...]
    special: list[ColumnSpec]


def checked(columns: tuple[ReadColumn, ...], path: str) -> CheckedColumns:
    """Return the columns of a document, checked.

    A contract may have thousands of columns, and a call for each costs more than reading them. The decoder
    has seen to the types of their fields and to their text being UTF-8; `check_distinct` looks at the names.
    """
    plain: dict[Any, DataType] = PLAIN
    last: ColumnSpec | None = None
    special: list[ColumnSpec] = []
    try:
        for last in columns:
            try:
                kind = plain[last.type]
            except (KeyError, TypeError):  # text that is new or says more, an object, or no type at all
                kind = None
            if (
                kind is not None
                and last.semantic is None
                and last.metadata is EMPTY
                and last.default is None
                and last.generated is None
                and last.field_id is None
                and last.physical_name is None
            ):
                force_setattr(last, "type", kind)
            else:
                check_type(last)
                check_rest(last)
                special.append(last)
    except SpecError as error:
        at = next(index for index, each in enumerate(columns) if each is last)
        raise error.at(f"{path}[{at}]") from None
    deque(map(_become, columns, repeat(ColumnSpec)), maxlen=0)
    return CheckedColumns(columns, special)


class StructType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="struct"):
    """A group of named fields.

    Parameters
    ----------
    fields : Sequence[ColumnSpec]
        The fields, at least one, with distinct names.
    """

    fields: tuple[ColumnSpec, ...]

    def __post_init__(self) -> None:
        given = cast("object", self.fields)
        fields = tuple(cast("Any", given)) if isinstance(given, list | tuple) else ()
        if set(map(type, fields)) != {ColumnSpec}:
            raise SpecFieldError("a struct needs fields", fix="Give at least one ColumnSpec.", value=given)
        check_distinct(fields, "fields")
        force_setattr(self, "fields", fields)

    @property
    def text(self) -> str:
        """Such as ``struct<a: long not null>``."""
        return "struct<" + ", ".join(_field_text(each) for each in self.fields) + ">"

    @property
    def inner(self) -> tuple[DataType, ...]:
        """Types of the fields."""
        return tuple(each.type for each in self.fields)


def _field_text(field: ColumnSpec) -> str:
    semantic = f" as {field.semantic.name}" if field.semantic else ""
    null = "" if field.nullable else " not null"
    comment = "" if field.comment is None else " comment '" + field.comment.replace("'", "''") + "'"
    return f"{quote_name(field.name)}: {field.type.text}{semantic}{null}{comment}"
