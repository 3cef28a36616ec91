"""Predicates as deltalake's engine answers them right: rewritten where it would take other rows as written.

The engine prunes by statistics that leave NaN out, cut texts off or round numbers, and takes bounds that
are one for the values, also in rows that it copies; it orders negative NaN below every number, rounds
numbers with a point, counts times in nanoseconds, loses NULL where it joins lists, and takes a predicate
that is NULL for true, and shows values of required fields where the struct around them is null. What is
compared here is exact; what is no safe ground for pruning is put so that the engine does not prune by it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final, cast

import pyarrow as pa
from msgspec import Struct

from delta_io._arguments import check_text
from delta_io._predicate import (
    All,
    Compare,
    Constant,
    IsNull,
    Node,
    Path,
    Some,
    Value,
    joins_lists,
    joins_null,
    kind_of,
    leaves,
    parse,
)
from delta_io.errors import PredicateError

_EXACT_DIGITS: Final = 15
_EXACT: Final = Context(prec=400)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SIDES: Final = ("source", "target")
# The engine itself writes shorter ones as comparisons.
_SHORT_LIST: Final = 3
_MERGE: Final = b"sides of a merge"
_NOT: Final = re.compile(r"\bNOT\b(?!\s+NULL\b)", re.IGNORECASE)
_MAY_BE_NULL: Final = re.compile(r"\(|\bNULL\b", re.IGNORECASE)
_NAME: Final = r"""(?:"(?:[^"]|"")+"|[^\W\d]\w*)"""
_PIECE: Final = re.compile(
    rf"""(?P<text>'(?:[^']|'')*')|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)|\d\w*
    |(?P<path>{_NAME}(?:\s*\.\s*{_NAME}|\s*\[\s*'(?:[^']|'')*'\s*\])*)(?P<call>\s*\()?""",
    re.VERBOSE,
)
_ACCESS: Final = re.compile(rf"{_NAME}|\[\s*'(?:[^']|'')*'\s*\]")
_NAN: Final = "CAST('NaN' AS DOUBLE)"
_MOST_DIGITS: Final = 38
_STEP: Final = re.compile(rf"{_NAME}|'(?:[^']|'')*'")


class Sound(Struct, frozen=True, kw_only=True):
    """A predicate for deltalake's engine, and why it is not the text that was given, where it is not."""

    sql: str
    reason: str | None = None


def quote(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Columns(Struct, frozen=True, kw_only=True):
    """Columns that a predicate is about: a table's, or the `sides` of a merge.

    In those of ``empty_texts`` an empty text stands for null. Those of ``exact`` have bounds that are their
    values, whatever their type. ``pruned_by`` says whether files are left out by the predicate.
    """

    schema: Any
    empty_texts: Collection[str] = ()
    exact: Collection[str] = ()
    pruned_by: bool = True

    def is_exact(self, path: Path, kind: pa.DataType) -> bool:
        """Tell whether bounds of a column are of its values, so that it may be pruned by.

        The engine even takes the bound for the value, in rows that it copies, where the two are one.
        """
        whole = pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_boolean(kind)
        few_digits = pa.types.is_decimal(kind) and not _has_many_digits(kind)
        return not self.pruned_by or whole or few_digits or path[0] in self.exact


def sound(text: str, columns: Columns) -> Sound:
    """Return a predicate over columns, for the engine."""
    try:
        node = parse(text, columns.schema)
    except PredicateError:
        return _guarded(text, columns)
    reason = "lists stand beside each other" if joins_lists(text) else next(_why(node, columns), None)
    if reason is None:
        return Sound(sql=text)
    return Sound(sql=_Writer(columns).sql(node), reason=reason)


def sides(source: pa.Schema, target: pa.Schema) -> pa.Schema:
    """Return the columns that conditions of a merge may name: of both sides, and those that only one has."""
    both = [pa.field("source", pa.struct(list(source))), pa.field("target", pa.struct(list(target)))]
    single = {*source.names} ^ {*target.names}
    alone = [each for each in (*source, *target) if each.name in single and each.name not in _SIDES]
    return pa.schema([*both, *alone], {_MERGE: b""})


def null_fields(text: str, schema: pa.Schema) -> str:
    """Return an expression for values in which fields of structs that are null are null."""
    check_text(text, "an expression")

    def replaced(found: re.Match[str]) -> str:
        path = _path(found)
        return found[0] if path is None else _shown(found["path"], path, schema)

    return _PIECE.sub(replaced, text)


def kinds_named(text: str, schema: pa.Schema) -> list[pa.DataType]:
    """Return the types of the columns that a text names."""
    return [kind for found in _PIECE.finditer(text) if (kind := _named(found, schema)[1]) is not None]


def hides_values(schema: pa.Schema, path: Path) -> bool:
    """Tell whether a field must have a value and a struct around it may be null.

    The engine takes what a file reader puts there, such as 0, for the value.
    """
    kind, may_be_null = pa.struct(list(schema)), False
    for step, name in enumerate(path):
        index = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
        if index < 0:
            return False
        field = cast("Any", kind.field(index))
        if step >= _leading(schema, path) and may_be_null and not field.nullable:
            return True
        may_be_null |= field.nullable and step + 1 >= _leading(schema, path)
        kind = field.type
    return False


def _leading(schema: pa.Schema, path: Path) -> int:
    """Return how many names of a path name the column."""
    return 1 + (path[0] in _SIDES and _MERGE in (schema.metadata or {}))


def _shown(text: str, path: Path, schema: pa.Schema) -> str:
    if not hides_values(schema, path):
        return text
    ends = [each.end() for each in _ACCESS.finditer(text)]
    return _below([text[:end] for end in ends[_leading(schema, path) - 1 : -1]], text)


def _below(structs: Sequence[str], field: str) -> str:
    return f"(CASE WHEN {' AND '.join(f'{each} IS NOT NULL' for each in structs)} THEN {field} END)"


def _path(found: re.Match[str]) -> Path | None:
    if not found["path"] or found["call"]:
        return None
    return tuple(_unquoted(each[0]) for each in _STEP.finditer(found["path"]))


def same_key(name: str, kind: pa.DataType) -> str:
    """Return the condition that both sides of a merge have one key: null is null, NaN is NaN, -0.0 is 0.0."""
    source, target = (f"{side}.{quote(name)}" for side in _SIDES)
    if not pa.types.is_floating(kind):
        return f"({target} IS NOT DISTINCT FROM {source})"
    same_nan = f"isnan({target}) IS NOT DISTINCT FROM isnan({source})"
    numbers = [
        f"(CASE WHEN isnan({each}) THEN NULL ELSE {_plus_zero(each)} END)" for each in (target, source)
    ]
    return f"({same_nan}) AND ({' IS NOT DISTINCT FROM '.join(numbers)})"


def _why(node: Node, columns: Columns) -> Iterator[str]:
    """Yield what the engine would get wrong in a predicate."""
    for each in leaves(node):
        kind, name = kind_of(columns.schema, each.column), ".".join(each.column)
        if each.column[-1] in columns.empty_texts:
            yield f"empty texts of partition column {name!r} are null"
        if len(each.column) > _leading(columns.schema, each.column):
            yield f"{name!r} is a field within a column, which the engine does not always find"
        if not columns.is_exact(each.column, kind):
            yield f"statistics of {name!r} may not be its values"
        if isinstance(each, Compare):
            yield from _why_compared(each.value, kind, name, columns)


def _why_compared(value: Value | None, kind: pa.DataType, name: str, columns: Columns) -> Iterator[str]:
    if value is None and columns.pruned_by:
        yield f"{name!r} is compared with null, which the engine takes for true"
    if pa.types.is_floating(kind):
        yield f"{name!r} may hold NaN"
    if pa.types.is_timestamp(kind):
        yield f"{name!r} holds times, which are compared as microseconds"
    if _has_many_digits(kind) or not _is_of(value, kind):
        yield f"numbers are compared with {name!r} that the engine would round"


def _has_many_digits(kind: pa.DataType) -> bool:
    return pa.types.is_decimal(kind) and cast("Any", kind).precision > _EXACT_DIGITS


def _is_of(value: Value | None, kind: pa.DataType) -> bool:
    """Tell whether a number is a value of a type, so that it is compared without being rounded."""
    if value is None or not (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        return True
    # The engine takes a number with a point for a floating-point one.
    return isinstance(value, int) and isinstance(_exact("=", value, kind), Compare)


class _Writer:
    """Writes the tree of a predicate as SQL that is true for the same rows."""

    def __init__(self, columns: Columns) -> None:
        self._schema = columns.schema
        self._columns = columns

    def sql(self, node: Node) -> str:
        match node:
            case Constant(value):
                return "TRUE" if value else "FALSE"
            case IsNull(column, negated):
                return self._sure(column, f"({self._column(column)} IS {'NOT ' if negated else ''}NULL)")
            case Compare(_, _, None):
                return "FALSE"
            case Compare(column, sign, value):
                return self._compare(column, sign, cast("Value", value))
            case _:
                word = " AND " if isinstance(node, All) else " OR "
                return self._list(node) or f"({word.join(map(self.sql, node.parts))})"

    def _column(self, path: Path) -> str:
        of_merge = _MERGE in (self._schema.metadata or {}) and path[0] in _SIDES
        sql, within = (f"{path[0]}.{quote(path[1])}", path[2:]) if of_merge else (quote(path[0]), path[1:])
        structs: list[str] = []
        for name in within:
            structs.append(sql)
            sql += "['" + name.replace("'", "''") + "']"
        if hides_values(self._schema, path):
            sql = _below(structs, sql)
        return f"nullif({sql}, '')" if path[-1] in self._columns.empty_texts else sql

    def _list(self, node: All | Some) -> str | None:
        """Return a long list of values of one column as such: a chain of comparisons can be too deep."""
        parts = [each for each in node.parts if isinstance(each, Compare)]
        wanted = "!=" if isinstance(node, All) else "="
        column, sign = parts[0].column if parts else (), {(each.column, each.sign) for each in parts}
        if len(parts) < len(node.parts) or len(parts) <= _SHORT_LIST or sign != {(column, wanted)}:
            return None
        if wanted == "!=" and any(each.value is None for each in parts):
            return "FALSE"
        kind = kind_of(self._schema, column)
        exact = [_exact("=", each.value, kind) for each in parts if each.value is not None]
        found = [_literal(each.value, kind) for each in exact if isinstance(each, Compare)]
        if not found:
            return "FALSE" if wanted == "=" else f"({self._column(column)} IS NOT NULL)"
        text = self._column(column)
        shown = _plus_zero(text) if pa.types.is_floating(kind) else text
        return f"({shown} {'NOT ' if wanted == '!=' else ''}IN ({', '.join(found)})) IS TRUE"

    def _compare(self, column: Path, sign: str, value: Value) -> str:
        kind, text = kind_of(self._schema, column), self._column(column)
        exact = _exact(sign, value, kind)
        if not isinstance(exact, Compare):
            return f"({text} IS NOT NULL)" if exact else "FALSE"
        sign = exact.sign.replace("!=", "<>")
        literal = _literal(cast("Value", exact.value), kind)
        if pa.types.is_floating(kind):
            compared = f"({_plus_zero(text)} {sign} {literal})"
            if sign.startswith(">"):
                return f"({compared} OR isnan({text}))"
            return (
                f"({compared} AND NOT isnan({text}))" if sign.startswith("<") and sign != "<>" else compared
            )
        return self._sure(column, f"({text} {sign} {literal})")

    def _sure(self, column: Path, condition: str) -> str:
        """Return a condition so that the engine does not prune by it, where it had better not."""
        exact = self._columns.is_exact(column, kind_of(self._schema, column))
        return condition if exact else f"({condition} IS TRUE)"


def _exact(sign: str, value: Value, kind: pa.DataType) -> Compare | bool:
    """Return a comparison with a value that the type has, or whether it is true for all values or none."""
    integer = pa.types.is_integer(kind)
    if not (integer or pa.types.is_decimal(kind)):
        return Compare((), sign, value)
    scale = 0 if integer else cast("Any", kind).scale
    given = Decimal(cast("Decimal", value))
    floor = given.scaleb(scale, _EXACT).to_integral_value(ROUND_FLOOR, _EXACT)
    if floor.scaleb(-scale, _EXACT) != given:
        if sign in ("=", "!="):
            return sign == "!="
        sign = ">" if sign.startswith(">") else "<="
    if not _holds(kind, int(floor)):
        return sign == "!=" or (floor < 0) == sign.startswith(">") if sign != "=" else False
    return Compare((), sign, int(floor) if integer else floor.scaleb(-scale, _EXACT))


def _holds(kind: pa.DataType, unscaled: int) -> bool:
    if pa.types.is_integer(kind):
        return -(2 ** (kind.bit_width - 1)) <= unscaled < 2 ** (kind.bit_width - 1)
    return abs(unscaled) < 10 ** cast("Any", kind).precision


def _literal(value: Value | None, kind: pa.DataType) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        zoned = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        micros = (zoned - _EPOCH) // timedelta(microseconds=1)
        zone = 'Some("UTC")' if cast("pa.TimestampType[Any, Any]", kind).tz else "None"
        return f"arrow_cast({micros}, 'Timestamp(Microsecond, {zone})')"
    if isinstance(value, date):
        return f"CAST('{value.isoformat()}' AS DATE)"
    if isinstance(value, Decimal):
        return f"CAST('{value:f}' AS DECIMAL({cast('Any', kind).precision}, {cast('Any', kind).scale}))"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _plus_zero(column: str) -> str:
    """Return an expression in which -0.0 is 0.0, and by which the engine does not prune."""
    return f"(CAST({column} AS DOUBLE) + CAST('0' AS DOUBLE))"


def _guarded(text: str, columns: Columns) -> Sound:
    """Return a predicate that is not understood, its columns made sound, so that nothing is pruned by it."""
    if joins_null(text) or (joins_lists(text) and _NOT.search(text)):
        raise PredicateError(
            "the predicate has lists beside each other, which the engine joins",
            "it would lose their nulls, and take other rows",
            "Leave NULL out (IN is the same without it, NOT IN with it holds for no row), or use one list.",
        )
    doubtful, changed = _replaced(text, columns)
    if doubtful is None and columns.pruned_by and _MAY_BE_NULL.search(text):
        reason = "it may be null, which the engine takes for true"
        return Sound(sql=f"({changed}\n) AND (({changed}\n) IS TRUE)", reason=reason)
    if changed == text and (doubtful is None or not columns.pruned_by):
        return Sound(sql=text)
    if doubtful is None:
        return Sound(sql=changed, reason="it has numbers that the engine would round")
    reason = f"values or statistics of {doubtful!r} are not what the engine takes them for"
    return Sound(sql=f"({changed}\n) IS TRUE" if columns.pruned_by else changed, reason=reason)


def _replaced(text: str, columns: Columns) -> tuple[str | None, str]:
    """Return a column by which the engine had better not prune, if one is named, and the text made sound."""
    doubtful: list[str] = []
    as_decimals = _as_decimals(text, columns.schema)

    def replaced(found: re.Match[str]) -> str:
        if found["number"] and as_decimals:
            return _decimal(found["number"])
        path, kind = _named(found, columns.schema)
        if path is None or kind is None:
            return found[0]
        whole = _shown(found["path"], path, columns.schema)
        empty = path[-1] in columns.empty_texts
        doubted = empty or whole != found["path"] or pa.types.is_floating(kind)
        if doubted or not columns.is_exact(path, kind):
            doubtful.append(".".join(path))
        if pa.types.is_floating(kind):
            return f"(CASE WHEN isnan({whole}) THEN {_NAN} ELSE {_plus_zero(whole)} END)"
        return f"nullif({whole}, '')" if empty else whole

    changed = _PIECE.sub(replaced, text)
    return next(iter(doubtful), None), changed


def _named(found: re.Match[str], schema: pa.Schema) -> tuple[Path | None, pa.DataType | None]:
    """Return the column that a piece of a text names, and its type."""
    path = _path(found)
    try:
        return path, None if path is None else kind_of(schema, path)
    except KeyError:
        return path, None


def _as_decimals(text: str, schema: pa.Schema) -> bool:
    """Tell whether numbers with a point are meant as decimals: where columns of these are named."""
    kinds = kinds_named(text, schema)
    floating = any(pa.types.is_floating(kind) for kind in kinds)
    if floating and any(_has_many_digits(kind) for kind in kinds):
        raise PredicateError(
            f"predicate {text!r} cannot be used here",
            "it names floating-point numbers and decimals of more digits than these have",
            "Compare columns with values; combine with AND, OR, NOT, IN, BETWEEN and IS NULL.",
        )
    return not floating and any(pa.types.is_decimal(kind) for kind in kinds)


def _decimal(text: str) -> str:
    """Return a number with a point as a decimal, where there is one that holds it."""
    value = Decimal(text)
    exponent = cast("int", value.as_tuple().exponent)
    scale = max(0, -exponent)
    precision = max(len(value.as_tuple().digits) + max(0, exponent), scale)
    if text.isdecimal() or precision > _MOST_DIGITS:
        return text
    return f"CAST('{value:f}' AS DECIMAL({precision}, {scale}))"


def _unquoted(name: str) -> str:
    if name.startswith('"'):
        return name[1:-1].replace('""', '"')
    return name[1:-1].replace("''", "'") if name.startswith("'") else name
