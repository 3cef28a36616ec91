"""Whether the parts of a column are valid, and what they are in canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec.structs import force_setattr

from schema_spec._frozen import EMPTY, NOTHING, FrozenDict
from schema_spec._literals import canonical_default
from schema_spec._text import is_name, is_text
from schema_spec.errors import (
    ColumnDuplicateError,
    SemanticError,
    SpecError,
    SpecFieldError,
    SpecTypeError,
    shown,
)
from schema_spec.types import (
    EXTENSION_METADATA,
    EXTENSION_NAME,
    EXTENSION_PREFIX,
    MAX_DEPTH,
    PREDEFINED,
    VARIANT_EXTENSIONS,
    DataType,
    SemanticType,
    SqlExpression,
    nesting,
    strip_semantic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema_spec.columns import ColumnSpec

_RESERVED: Final = {
    "comment": "comment",
    "CURRENT_DEFAULT": "default",
    "PARQUET:field_id": "field_id",
    "delta.columnMapping.id": "field_id",
    "delta.columnMapping.physicalName": "physical_name",
    "delta.generationExpression": "generated",
}
_MAX_ID: Final = (1 << 31) - 1  # what a Parquet file has room for
_MAX_REMEMBERED: Final = 4096


# Types by their text, parsed once; those that bring a semantic type along are not among them.
PLAIN: Final[dict[str, DataType]] = {}


# The same for pairs of a type and a semantic type that a document gives as text.
_KNOWN: Final[dict[tuple[Any, Any], tuple[DataType, SemanticType | None]]] = {}
_TEXTUAL: Final = (str, type(None))


def _parsed(text: str) -> DataType:
    try:
        parsed = DataType.parse(text)
    except SpecError as error:
        raise error.at("type") from None
    if not isinstance(parsed, SemanticType):
        if len(PLAIN) > _MAX_REMEMBERED:
            PLAIN.clear()
        PLAIN[text] = parsed
    return parsed


def check_texts(column: ColumnSpec) -> None:
    """Refuse a wrong name, nullability or comment."""
    name, nullable = cast("object", column.name), cast("object", column.nullable)
    if not is_name(name):
        raise SpecFieldError(
            "a column has no name",
            f"it is {shown(name)}",
            "Give a non-empty string.",
            path="name",
            value=name,
        )
    if type(nullable) is not bool:
        raise wrong("nullable", nullable, "true or false")
    comment = cast("object", column.comment)
    if comment is not None and not (isinstance(comment, str) and is_text(comment)):
        raise wrong("comment", comment, "text")


def check_type(column: ColumnSpec) -> None:
    """Parse the type and the semantic type; refuse them where they do not go together."""
    given: Any = column.type
    meaning: Any = column.semantic
    known = _KNOWN.get((given, meaning)) if type(given) is str and type(meaning) in _TEXTUAL else None
    if known is None:
        known = _together(column.name, given, meaning)
        if type(given) is str and type(meaning) in _TEXTUAL and len(_KNOWN) < _MAX_REMEMBERED:
            _KNOWN[given, meaning] = known
    force_setattr(column, "type", known[0])
    force_setattr(column, "semantic", known[1])


def _together(name: str, given: object, meaning: object) -> tuple[DataType, SemanticType | None]:
    kind = PLAIN.get(given) or _parsed(given) if isinstance(given, str) else _decoded(given)
    semantic = _semantic(meaning, strip_semantic(kind))
    if isinstance(kind, SemanticType):
        if semantic is not None and semantic.name != kind.name:
            raise SemanticError(
                f"column {name!r} has two semantic types",
                f"{kind.name} and {semantic.name}",
                "Keep one.",
                path="semantic",
                value=semantic.name,
            )
        kind, semantic = kind.storage, kind
    if semantic is not None and semantic.storage is not kind and semantic.storage != kind:
        raise SemanticError(
            f"column {name!r} cannot be {semantic.name}",
            f"its type is {kind.text}, {semantic.name} is stored as {semantic.storage.text}",
            f'Set type = "{semantic.storage.text}" or use another semantic type.',
            path="semantic",
            value=kind.text,
        )
    return kind, semantic


def _decoded(given: object) -> DataType:
    from schema_spec._type_values import decode_type

    try:
        kind = decode_type(given)
    except SpecError as error:
        raise error.at("type") from None
    except RecursionError:
        raise _too_deep(given) from None
    if nesting(kind, MAX_DEPTH) > MAX_DEPTH:
        raise _too_deep(given)
    return kind


def _too_deep(given: object) -> SpecTypeError:
    return SpecTypeError(
        f"a type nested deeper than {MAX_DEPTH}", fix="Flatten it.", path="type", value=given
    )


def _semantic(value: object, storage: DataType) -> SemanticType | None:
    if value is None or isinstance(value, SemanticType):
        return value
    if not isinstance(value, str):
        raise wrong("semantic", value, "a SemanticType or its name")
    known = PREDEFINED.get(value)
    if known is not None and known.storage == storage:
        return known
    try:
        return SemanticType(value, storage)
    except SpecError as error:
        raise error.at("semantic") from None


def check_rest(column: ColumnSpec) -> None:
    """Check what few columns have: metadata, ids, a default or an expression."""
    default, generated = column.default, column.generated
    numbered = column.field_id is not None or column.physical_name is not None
    if column.metadata is not EMPTY:
        _check_metadata(column)
    elif numbered or default is not None or generated is not None or column.semantic is not None:
        force_setattr(column, "metadata", NOTHING)
    if numbered:
        _check_mapping(column)
    if generated is not None:
        force_setattr(column, "generated", _generated(generated))
    if default is not None:
        _check_default(column)


def _check_mapping(column: ColumnSpec) -> None:
    if column.physical_name is not None and not is_name(column.physical_name):
        raise wrong("physical_name", column.physical_name, "non-empty text")
    number: object = column.field_id
    if number is not None and not (type(number) is int and 0 <= number <= _MAX_ID):
        raise wrong("field_id", number, f"a whole number from 0 to {_MAX_ID}")


def _check_metadata(column: ColumnSpec) -> None:
    entries = _entries(column.metadata)
    for key, value in entries.items():
        if not is_name(key) or (not (type(value) is str and value.isascii()) and not is_json(value)):
            raise wrong(f"metadata[{shown(key)}]", value, "a JSON value under a text key")
        if key in _RESERVED or key.startswith(EXTENSION_PREFIX):
            field = _RESERVED.get(key)
            raise SpecFieldError(
                f"column {column.name!r} keeps {key!r} in its metadata",
                fix=f"Use the field {field} instead."
                if field
                else "Keys that start with schema_spec. are reserved.",
                path="metadata",
                value=key,
            )
    if EXTENSION_NAME in entries or EXTENSION_METADATA in entries:
        _check_extension(column, entries)
    force_setattr(column, "metadata", FrozenDict(entries))


def _entries(given: object) -> Mapping[str, Any]:
    """Return metadata; text is JSON, which holds the nulls that TOML has no word for."""
    if type(given) is dict:
        return cast("dict[str, Any]", given)
    if not isinstance(given, str):
        return as_mapping(given, "metadata", "a mapping of names to JSON values")
    try:
        return msgspec.json.decode(given, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise wrong("metadata", given, "a mapping of names to JSON values, or its JSON text") from None


def _check_extension(column: ColumnSpec, entries: Mapping[str, Any]) -> None:
    name, parameters = entries.get(EXTENSION_NAME, ""), entries.get(EXTENSION_METADATA, "")
    if not isinstance(name, str) or not isinstance(parameters, str):
        raise wrong("metadata", dict(entries), "text for the name and parameters of an Arrow extension type")
    own = (
        column.semantic.name
        if column.semantic is not None
        else "variant"
        if column.type.text == "variant"
        else None
    )
    if own is None and not name.startswith(EXTENSION_PREFIX) and name not in VARIANT_EXTENSIONS:
        return
    raise SemanticError(
        f"column {column.name!r} names an Arrow extension type in its metadata",
        f"{shown(name)}, and its own type is {own or column.type.text}",
        "Say it with the fields type and semantic alone.",
        path="metadata",
        value=name,
    )


def as_mapping(value: object, field: str, wanted: str) -> Mapping[str, object]:
    """Return a mapping, or refuse the value of `field`."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)
    raise wrong(field, value, wanted)


def _check_default(column: ColumnSpec) -> None:
    given: object = column.default
    if isinstance(given, dict):
        given = _expression("default", cast("dict[str, object]", given))
    default = canonical_default(column.name, column.type, given)
    if default is not None and column.generated is not None:
        raise SpecFieldError(
            f"column {column.name!r} has a default and is generated",
            fix="Keep one of the two.",
            path="default",
            value=default,
        )
    force_setattr(column, "default", default)


def _generated(value: object) -> SqlExpression | None:
    if isinstance(value, dict | str):
        return _expression("generated", cast("dict[str, object] | str", value))
    if value is None or isinstance(value, SqlExpression):
        return value
    raise wrong("generated", value, 'SQL text or { sql = "…" }')


def _expression(field: str, value: dict[str, object] | str) -> SqlExpression:
    sql = value if isinstance(value, str) else value.get("sql") if len(value) == 1 else None
    if not isinstance(sql, str):
        raise wrong(field, value, 'a literal or { sql = "…" }')
    try:
        return SqlExpression(sql)
    except SpecError as error:
        raise error.at(field) from None


def is_json(value: object, depth: int = 0) -> bool:
    """Tell whether a value can be written as JSON."""
    if depth > 32:
        return False
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value)
        return all(
            isinstance(key, str) and is_text(key) and is_json(each, depth + 1)
            for key, each in entries.items()
        )
    if isinstance(value, list):
        return all(is_json(each, depth + 1) for each in cast("list[object]", value))
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return value is None or (isinstance(value, str) and is_text(value))


def wrong(field: str, value: object, wanted: str) -> SpecFieldError:
    """Return the error for a value that `field` cannot have."""
    return SpecFieldError(
        f"{field} is not valid", f"it is {shown(value)}", f"Give {wanted}.", path=field, value=value
    )


def check_distinct(columns: Sequence[ColumnSpec], path: str) -> list[str]:
    """Return the names of columns; refuse empty ones, and two that differ in case only or not at all."""
    names = [column.name for column in columns]
    joined = "\0".join(names)  # one pass over all names is much faster than one call for each
    if joined.count("\0") >= max(1, len(names)) or not is_text(joined):
        at = next(index for index, name in enumerate(names) if "\0" in name or not is_text(name))
        raise SpecFieldError(
            f"a name in {path} has a NUL or half a surrogate pair",
            f"it is {shown(names[at])}",
            "Remove it.",
            path=f"{path}[{at}].name",
            value=names[at],
        )
    folded = names if joined == joined.lower() else [name.lower() for name in names]
    distinct = set(folded)
    if len(distinct) < len(names):
        raise _duplicate(names, folded, path)
    if "" in distinct:
        at = names.index("")
        raise SpecFieldError(
            "a column has no name",
            "it is ''",
            "Give a non-empty string.",
            path=f"{path}[{at}].name",
            value="",
        )
    return names


def _duplicate(names: list[str], folded: list[str], path: str) -> ColumnDuplicateError:
    later = next(index for index, key in enumerate(folded) if key in folded[:index])
    first, second = names[folded.index(folded[later])], names[later]
    same = f"two {path} are named {second!r}"
    what = same if first == second else f"{path} {first!r} and {second!r} differ in case only"
    return ColumnDuplicateError(
        what,
        fix="Rename one; Delta compares names without case.",
        path=f"{path}[{later}].name",
        value=second,
    )
