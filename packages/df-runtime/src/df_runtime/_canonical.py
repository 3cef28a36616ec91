"""From a syntax tree to its canonical form: names qualified, types annotated, one way to write each thing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.canonicalize import canonicalize
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema
from sqlglot.serde import dump

from df_runtime._names import TableName, quoted
from df_runtime._reading import first_line

Columns = dict[str, exp.DataType]


class Canonical(NamedTuple):
    """The canonical form of a query, or the reason why there is none."""

    tree: exp.Expr | None = None
    problem: str | None = None


def canonical(
    tree: exp.Expr, schemas: Mapping[TableName, Columns], dialect: Dialect, *, catalog: str, schema: str
) -> Canonical:
    """Rewrite a tree in place."""
    nested: dict[str, Any] = {}
    for name, columns in schemas.items():
        nested.setdefault(name.catalog, {}).setdefault(name.schema, {})[name.table] = columns
    try:
        known = MappingSchema(nested, dialect=dialect, normalize=False)
        found = qualify(
            tree,
            dialect=dialect,
            db=quoted(schema),
            catalog=quoted(catalog),
            schema=known,
            validate_qualify_columns=False,
        )
        found = canonicalize(annotate_types(found, schema=known, dialect=dialect), dialect=dialect)
    except Exception as error:  # noqa: BLE001 - valid queries break the optimizer in ways it does not foresee
        return Canonical(problem=f"SQLGlot cannot rewrite it: {first_line(error)}")
    return Canonical(found)


def written(tree: exp.Expr, dialect: Dialect) -> tuple[str | None, str | None]:
    """Write a tree as SQL and use it up; tell why, where that cannot be done without loss."""
    options: dict[str, Any] = {"comments": False, "unsupported_level": ErrorLevel.RAISE}
    try:
        return tree.sql(dialect=dialect, copy=False, **options), None
    except Exception as error:  # noqa: BLE001 - as above
        return None, f"SQLGlot cannot write it: {first_line(error)}"


def serialised(tree: exp.Expr) -> str:
    """Write a tree as JSON; where its words stood in a text is no part of it."""
    nodes: list[dict[str, Any]] = dump(tree)
    told = [{key: value for key, value in node.items() if key != "m"} for node in nodes]
    return msgspec.json.encode(told, order="deterministic").decode()


def result_columns(tree: exp.Expr) -> tuple[tuple[str, str], ...]:
    """Names and types of what a query returns, as far as they are known."""
    if not isinstance(tree, exp.Query):
        return ()
    return tuple((each.alias_or_name, _written(each.type)) for each in tree.selects)


def _written(kind: exp.DataType | None) -> str:
    if kind is None:
        return "UNKNOWN"
    if not kind.expressions:  # making a printer takes longer than printing
        return str(kind.this.value if isinstance(kind.this, exp.DType) else kind.this)
    return kind.sql(dialect="postgres")


def columns_of(schema: pa.Schema) -> Columns:
    """Translate the types of a table."""
    return {field.name: _type(field.type) for field in schema}


_NAMES: dict[str, exp.DType] = {
    "bool": exp.DType.BOOLEAN,
    "int8": exp.DType.TINYINT,
    "int16": exp.DType.SMALLINT,
    "int32": exp.DType.INT,
    "int64": exp.DType.BIGINT,
    "uint8": exp.DType.UTINYINT,
    "uint16": exp.DType.USMALLINT,
    "uint32": exp.DType.UINT,
    "uint64": exp.DType.UBIGINT,
    "halffloat": exp.DType.FLOAT,
    "float": exp.DType.FLOAT,
    "double": exp.DType.DOUBLE,
    "string": exp.DType.TEXT,
    "large_string": exp.DType.TEXT,
    "string_view": exp.DType.TEXT,
    "binary": exp.DType.VARBINARY,
    "large_binary": exp.DType.VARBINARY,
    "binary_view": exp.DType.VARBINARY,
    "date32[day]": exp.DType.DATE,
    "date64[ms]": exp.DType.DATE,
}


def _type(kind: pa.DataType) -> exp.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _type(kind.storage_type)
    if isinstance(kind, pa.DictionaryType):
        return _type(kind.value_type)
    if isinstance(kind, (pa.Decimal128Type, pa.Decimal256Type)):
        size = [exp.DataTypeParam(this=exp.Literal.number(n)) for n in (kind.precision, kind.scale)]
        return exp.DataType(this=exp.DType.DECIMAL, expressions=size)
    if isinstance(kind, pa.TimestampType):
        return exp.DataType(this=exp.DType.TIMESTAMPTZ if kind.tz else exp.DType.TIMESTAMP)
    return _nested(kind) or exp.DataType(this=_NAMES.get(re.sub(r"\s", "", str(kind)), exp.DType.UNKNOWN))


def _nested(kind: pa.DataType) -> exp.DataType | None:
    if isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        inner: Any = kind.value_type
        return exp.DataType(this=exp.DType.ARRAY, expressions=[_type(inner)], nested=True)
    if isinstance(kind, pa.MapType):
        inside = [_type(kind.key_type), _type(kind.item_type)]
        return exp.DataType(this=exp.DType.MAP, expressions=inside, nested=True)
    if isinstance(kind, pa.StructType):
        fields = [
            exp.ColumnDef(this=exp.to_identifier(field.name, quoted=True), kind=_type(field.type))
            for field in kind
        ]
        return exp.DataType(this=exp.DType.STRUCT, expressions=fields, nested=True)
    return None
