"""What stands between the parentheses of a table: columns, keys and checks, by way of sqlglot."""

from __future__ import annotations

from typing import Any, Final, cast

from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import Check
from schema_spec.errors import SpecSyntaxError, SpecTypeError, shown
from schema_spec.expressions import quote
from schema_spec.table import TableSpec
from schema_spec.types import (
    VOID,
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    SqlExpression,
)

_SQL_NAMES: Final = {
    "boolean": "BOOLEAN",
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INTEGER",
    "long": "BIGINT",
    "float": "REAL",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BYTEA",
    "date": "DATE",
    "timestamp": "TIMESTAMP(6) WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP(6)",
    "variant": "VARIANT",
    VOID: "VOID",
}
# By the names that sqlglot gives to types, whatever the dialect calls them.
_PARSED_NAMES: Final = {
    "BOOLEAN": "boolean",
    "TINYINT": "byte",
    "SMALLINT": "short",
    "INT": "integer",
    "BIGINT": "long",
    "FLOAT": "float",
    "DOUBLE": "double",
    "VARCHAR": "string",
    "NVARCHAR": "string",
    "CHAR": "string",
    "TEXT": "string",
    "BINARY": "binary",
    "VARBINARY": "binary",
    "BLOB": "binary",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMPNTZ": "timestamp_ntz",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMPLTZ": "timestamp",
    "VARIANT": "variant",
}
_SINGLE_BITS: Final = 24  # FLOAT(p) with more is a double
_FINEST: Final = 6  # digits of a second that Delta keeps
FIX: Final = (
    "Write CREATE EXTERNAL TABLE name (columns) STORED AS DELTATABLE LOCATION '…' OPTIONS ('key' 'value')."
)


def sql_type(kind: DataType) -> str:
    """Return the name of a type in DDL."""
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if isinstance(kind, ArrayType):
        return f"ARRAY<{sql_type(kind.element)}>"
    if isinstance(kind, MapType):
        return f"MAP<{sql_type(kind.key)}, {sql_type(kind.value)}>"
    if isinstance(kind, StructType):
        fields = (f"{quote(each.name)} {sql_type(each.type)}" for each in kind.fields)
        return f"STRUCT<{', '.join(fields)}>"
    return sql_type(kind.storage) if isinstance(kind, SemanticType) else _SQL_NAMES[kind.text]


def text_sql(value: str) -> str:
    """Return text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def read_table(table_sql: str, partition_by: tuple[str, ...], sql: str) -> TableSpec:
    """Read a ``CREATE TABLE`` statement, made of the statement `sql` without its clauses."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = cast("Any", sqlglot.parse_one(table_sql))
    except (SqlglotError, RecursionError) as error:
        found = str(error).split("\n", 1)[0] or "it is nested too deeply"
        raise SpecSyntaxError("the columns of the DDL are not SQL", found, FIX, value=sql) from None
    schema = parsed.this
    if not isinstance(parsed, exp.Create) or not isinstance(schema, exp.Schema):
        raise SpecSyntaxError("the DDL has no columns", fix=FIX, value=sql)
    reader = _TableReader()
    for item in schema.expressions:
        reader.read(item)
    parts = [_identifier(part) for part in schema.this.parts]
    return TableSpec(
        ".".join(parts),
        reader.columns,
        reader.primary_key,
        partition_by,
        constraints=reader.constraints,
    )


class _TableReader:
    """Collects what stands between the parentheses of a table."""

    def __init__(self) -> None:
        self.columns: list[ColumnSpec] = []
        self.primary_key: tuple[str, ...] = ()
        self.constraints: list[Check] = []

    def read(self, item: Any) -> None:
        """Take in a column, a key or a constraint."""
        from sqlglot import exp

        if isinstance(item, exp.ColumnDef):
            self.columns.append(self._column(item))
        elif isinstance(item, exp.PrimaryKey):
            if self.primary_key:
                raise SpecSyntaxError("the DDL has two primary keys", fix="Keep one.", value=item.sql())
            self.primary_key = tuple(_identifier(each) for each in item.expressions)
        elif isinstance(item, exp.Constraint):
            for each in item.expressions:
                if isinstance(each, exp.CheckColumnConstraint):
                    self.constraints.append(Check(_identifier(item.this), each.this.sql()))
                else:
                    self.read(each)
        elif isinstance(item, exp.CheckColumnConstraint):
            self.constraints.append(Check(f"check_{len(self.constraints) + 1}", item.this.sql()))
        else:
            raise SpecSyntaxError(
                f"no place for {shown(item.sql())} in a contract", fix=FIX, value=item.sql()
            )

    def _column(self, item: Any) -> ColumnSpec:
        from sqlglot import exp

        name, kind = _identifier(item.this), _read_type(item.args.get("kind"))
        fields: dict[str, Any] = {}
        for constraint in item.args.get("constraints") or []:
            rule = constraint.kind
            if isinstance(rule, exp.CheckColumnConstraint):
                self.read(rule)
            elif isinstance(rule, exp.NotNullColumnConstraint):
                fields["nullable"] = bool(rule.args.get("allow_null"))
            elif isinstance(rule, exp.CommentColumnConstraint):
                fields["comment"] = rule.this.this
            elif isinstance(rule, exp.DefaultColumnConstraint) and "default" not in fields:
                fields["default"] = _default(rule.this)
            elif isinstance(rule, exp.PrimaryKeyColumnConstraint):
                self.primary_key = (*self.primary_key, name)
            elif isinstance(rule, exp.GeneratedAsIdentityColumnConstraint) and rule.args.get("expression"):
                fields["generated"] = rule.args["expression"].sql()
            else:
                raise SpecSyntaxError(
                    f"no place for {shown(rule.sql())} in a contract", fix=FIX, value=rule.sql()
                )
        return ColumnSpec(name, kind, **fields)


def _default(node: Any) -> SqlExpression | None:
    """Return a default; a cast is spelled the way literals are written here, to be read as one."""
    from sqlglot import exp

    inner = node.this
    if isinstance(node, exp.Cast) and isinstance(inner, exp.Literal | exp.Neg | exp.Boolean):
        text = inner.this if isinstance(inner, exp.Literal) else inner.sql()
        kind = _read_type(node.to)
        spelled = {"date": "DATE ", "timestamp": "TIMESTAMPTZ ", "timestamp_ntz": "TIMESTAMP "}.get(kind.text)
        return SqlExpression(
            f"{spelled}{text_sql(text)}" if spelled else f"CAST({text_sql(text)} AS {sql_type(kind)})"
        )
    return None if isinstance(node, exp.Null) else SqlExpression(node.sql())


def _identifier(node: Any) -> str:
    """Return a name; one without quotes is lower case, as in the engine."""
    quoted = bool(node.args.get("quoted"))
    return str(node.name) if quoted else str(node.name).lower()


def _read_type(node: Any) -> DataType:
    from sqlglot import exp

    if not isinstance(node, exp.DataType):
        raise SpecTypeError("a column of the DDL has no type", fix="Write one, such as BIGINT.")
    name = node.this.name if isinstance(node.this, exp.DataType.Type) else str(node.this)
    inner: list[Any] = node.expressions
    if name in ("ARRAY", "LIST") and len(inner) == 1:
        return ArrayType(_read_type(inner[0]))
    if name == "MAP" and len(inner) == 2:
        return MapType(_read_type(inner[0]), _read_type(inner[1]))
    if name == "STRUCT":
        return StructType(tuple(_read_field(each) for each in inner))
    if name == "DECIMAL":
        numbers = [int(each.name) for each in inner]
        return DecimalType(*numbers) if numbers else DecimalType(10, 0)
    if name == "FLOAT" and inner and int(inner[0].name) > _SINGLE_BITS:
        return PrimitiveType("double")
    too_fine = name.startswith("TIMESTAMP") and bool(inner) and int(inner[0].name) > _FINEST
    if name not in _PARSED_NAMES or too_fine:
        raise SpecTypeError(
            f"no Delta type for SQL's {node.sql()}", fix="Use another type.", value=node.sql()
        )
    return PrimitiveType(_PARSED_NAMES[name])


def _read_field(node: Any) -> ColumnSpec:
    from sqlglot import exp

    if not isinstance(node, exp.ColumnDef):
        raise SpecTypeError(
            "a field of a struct has no name", fix="Write STRUCT<name TYPE>.", value=node.sql()
        )
    fields: dict[str, Any] = {}
    for rule in [constraint.kind for constraint in node.args.get("constraints") or []]:
        if isinstance(rule, exp.NotNullColumnConstraint):
            fields["nullable"] = bool(rule.args.get("allow_null"))
        elif isinstance(rule, exp.CommentColumnConstraint):
            fields["comment"] = rule.this.this
        else:
            raise SpecSyntaxError(f"no place for {shown(rule.sql())} in a struct", fix=FIX, value=rule.sql())
    return ColumnSpec(_identifier(node.this), _read_type(node.args.get("kind")), **fields)
