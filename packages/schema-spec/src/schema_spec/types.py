"""Types of columns: the Delta type system as frozen structs with a short text form."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from schema_spec._text import is_name
from schema_spec.errors import SemanticError, SpecFieldError, SpecTypeError, shown

PRIMITIVES: Final = (
    "boolean",
    "byte",
    "short",
    "integer",
    "long",
    "float",
    "double",
    "string",
    "binary",
    "date",
    "timestamp",
    "timestamp_ntz",
    "variant",
)

# Columns of only nulls, which Spark leaves in tables: read as they are, and no type to ask for.
VOID: Final = "void"

_BARE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SEMANTIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*\Z")


def quote_name(name: str) -> str:
    """Quote a field name with backticks where the text form needs it."""
    return name if _BARE_NAME.match(name) else "`" + name.replace("`", "``") + "`"


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


class DataType:
    """A type of a column: one of the structs below.

    Wherever a type is asked for, its text form does as well: ``long``, ``decimal(10,2)``,
    ``array<string not null>``, ``map<string, double>``, ``struct<a: long not null, b: string>``,
    ``string as NodeId``. Names are the ones Delta uses; common SQL and Arrow names are understood too.

    Examples
    --------
    >>> DataType.parse("array<struct<a: bigint not null, b: numeric(10, 2)>>").text
    'array<struct<a: long not null, b: decimal(10,2)>>'
    """

    __slots__ = ()

    @staticmethod
    def parse(text: str) -> DataType:
        """Parse the text form.

        Parameters
        ----------
        text : str
            Such as ``decimal(10,2)``.

        Returns
        -------
        DataType
            The type.

        Raises
        ------
        SpecSyntaxError
            When the text is not a type.
        SpecTypeError
            When it names a type that Delta does not have.
        """
        from schema_spec._type_text import parse_type

        return parse_type(text)

    @property
    def text(self) -> str:
        """The canonical text form (metadata and defaults of nested fields are not part of it)."""
        raise NotImplementedError

    @property
    def inner(self) -> tuple[DataType, ...]:
        """The types it is made of."""
        return ()

    def __str__(self) -> str:
        return self.text


class PrimitiveType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="primitive"):
    """A type without parameters.

    Parameters
    ----------
    name : str
        ``boolean``, ``byte``, ``short``, ``integer``, ``long``, ``float``, ``double``, ``string``,
        ``binary``, ``date``, ``timestamp`` (an instant), ``timestamp_ntz`` (wall-clock time) or ``variant``;
        ``void`` for columns of only nulls, as some tables have them.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in (*PRIMITIVES, VOID):
            raise SpecTypeError(
                f"no primitive type {shown(self.name)}",
                fix=f"Use one of {', '.join(PRIMITIVES)}.",
                value=self.name,
            )

    @property
    def text(self) -> str:
        """The name."""
        return self.name


class DecimalType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="decimal"):
    """A decimal number.

    Parameters
    ----------
    precision : int
        Number of digits, 1 to 38.
    scale : int, default 0
        Digits after the point, 0 to `precision`.
    """

    precision: int
    scale: int = 0

    def __post_init__(self) -> None:
        whole = type(self.precision) is int and type(self.scale) is int
        if not whole or not 1 <= self.precision <= 38 or not 0 <= self.scale <= self.precision:
            raise SpecTypeError(
                f"no type decimal({shown(self.precision)},{shown(self.scale)})",
                fix="Precision is 1 to 38, scale 0 to the precision.",
                value=(self.precision, self.scale),
            )

    @property
    def text(self) -> str:
        """Such as ``decimal(10,2)``."""
        return f"decimal({self.precision},{self.scale})"


class ArrayType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="array"):
    """A list of values of one type.

    Parameters
    ----------
    element : DataType or str
        Type of the elements.
    contains_null : bool, default True
        Whether elements may be null.
    """

    element: DataType
    contains_null: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "element", as_type(self.element))

    @property
    def text(self) -> str:
        """Such as ``array<long not null>``."""
        return f"array<{self.element.text}{_null(self.contains_null)}>"

    @property
    def inner(self) -> tuple[DataType, ...]:
        """The element."""
        return (self.element,)


class MapType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="map"):
    """A map of keys, which are never null, to values.

    Parameters
    ----------
    key : DataType or str
        Type of the keys.
    value : DataType or str
        Type of the values.
    value_contains_null : bool, default True
        Whether values may be null.
    """

    key: DataType
    value: DataType
    value_contains_null: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "key", as_type(self.key))
        force_setattr(self, "value", as_type(self.value))

    @property
    def text(self) -> str:
        """Such as ``map<string, long not null>``."""
        return f"map<{self.key.text}, {self.value.text}{_null(self.value_contains_null)}>"

    @property
    def inner(self) -> tuple[DataType, ...]:
        """Key and value."""
        return (self.key, self.value)


class SemanticType(DataType, Struct, frozen=True, forbid_unknown_fields=True, tag="semantic"):
    """What values mean, over the type that stores them.

    Two columns of different semantic types hold things that must not be compared, whatever their storage.
    In Arrow it is the extension type ``schema_spec.<name>``.

    Parameters
    ----------
    name : str
        Letters, digits and underscores; dots separate namespaces.
    storage : DataType or str
        The type of the stored values.

    Examples
    --------
    >>> OrderId = SemanticType("OrderId", "long")
    >>> OrderId.text
    'long as OrderId'
    >>> DataType.parse("array<string as NodeId not null>").element == NodeId
    True
    """

    name: str
    storage: DataType

    def __post_init__(self) -> None:
        if type(self.name) is not str or not _SEMANTIC_NAME.match(self.name):
            raise SemanticError(
                f"no semantic type can be named {shown(self.name)}",
                fix="Use letters, digits and _.",
                value=self.name,
            )
        storage = as_type(self.storage)
        if isinstance(storage, SemanticType):
            raise SemanticError(f"{self.name} is stored as {storage.text}", fix="Use a plain storage type.")
        known = PREDEFINED.get(self.name)
        if known is not None and known.storage != storage:
            raise SemanticError(
                f"{self.name} is stored as {known.storage.text}",
                f"here it is over {storage.text}",
                "Change the type, or give the semantic type another name.",
                value=storage.text,
            )
        force_setattr(self, "storage", storage)

    @property
    def text(self) -> str:
        """Such as ``string as NodeId``."""
        return f"{self.storage.text} as {self.name}"

    @property
    def inner(self) -> tuple[DataType, ...]:
        """What the storage is made of."""
        return self.storage.inner

    @property
    def extension_name(self) -> str:
        """Name of the Arrow extension type."""
        return EXTENSION_PREFIX + self.name


EXTENSION_PREFIX: Final = "schema_spec."
EXTENSION_NAME: Final = "ARROW:extension:name"
EXTENSION_METADATA: Final = "ARROW:extension:metadata"
VARIANT_EXTENSIONS: Final = ("arrow.parquet.variant", "parquet.variant")
PREDEFINED: Final[dict[str, SemanticType]] = {}


def as_type(value: DataType | str) -> DataType:
    """Return `value` as a type, parsing text."""
    if isinstance(value, DataType):
        return value
    from schema_spec._type_values import decode_type

    return decode_type(value)


def strip_semantic(value: DataType) -> DataType:
    """Return the storage type of a semantic type, other types as they are."""
    return value.storage if isinstance(value, SemanticType) else value


MAX_DEPTH: Final = 64


def nesting(kind: DataType, limit: int) -> int:
    """Return how deep a type nests, or ``limit + 1`` where it is deeper."""
    depth, level = 0, [kind]
    while level and depth <= limit:
        inner = [child for each in level for child in each.inner]
        depth, level = depth + bool(inner), inner
    return depth


def _null(nullable: bool) -> str:
    return "" if nullable else " not null"


def _predefine(name: str) -> SemanticType:
    semantic = SemanticType(name, PrimitiveType("string"))
    PREDEFINED[name] = semantic
    return semantic


NodeId: Final = _predefine("NodeId")
EdgeId: Final = _predefine("EdgeId")
FileId: Final = _predefine("FileId")
SpanId: Final = _predefine("SpanId")
