"""Contracts as ``CREATE EXTERNAL TABLE`` statements and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec
from msgspec import Struct

from schema_spec._frozen import FrozenDict
from schema_spec._metadata import default_sql
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import Check
from schema_spec.errors import (
    ExtraMissingError,
    SpecError,
    SpecFieldError,
    SpecSyntaxError,
    SpecTypeError,
    shown,
)
from schema_spec.expressions import quote
from schema_spec.table import TableSpec
from schema_spec.types import (
    ArrayType,
    DataType,
    DecimalType,
    MapType,
    PrimitiveType,
    SemanticType,
    SqlExpression,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTRACT: Final = "schema_spec.contract"
_SESSION_PREFIX: Final = "datafusion."
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
_FIX: Final = (
    "Write CREATE EXTERNAL TABLE name (columns) STORED AS DELTATABLE LOCATION '…' OPTIONS ('key' 'value')."
)


class TableDdl(Struct, frozen=True, kw_only=True):
    """What a ``CREATE EXTERNAL TABLE`` statement says.

    Parameters
    ----------
    spec : TableSpec
        The contract.
    location : str
        Path or URI of the table.
    options : Mapping[str, str]
        Scan options of the table.
    """

    spec: TableSpec
    location: str
    options: Mapping[str, str]


def to_ddl(spec: TableSpec, location: str, options: Mapping[str, str]) -> str:
    """Return the statement for a contract."""
    for key, value in options.items():
        _check_option(key, value)
    columns = [f"  {_column(column)}" for column in spec.columns]
    if spec.primary_key:
        columns.append(f"  PRIMARY KEY ({', '.join(quote(name) for name in spec.primary_key)})")
    name = ".".join(quote(part) for part in spec.name.split("."))
    parts = [f"CREATE EXTERNAL TABLE {name} (\n" + ",\n".join(columns) + "\n)", "STORED AS DELTATABLE"]
    if spec.partition_by:
        parts.append(f"PARTITIONED BY ({', '.join(quote(each) for each in spec.partition_by)})")
    parts.append(f"LOCATION {_text(location)}")
    written = dict(options)
    if _said(spec) != spec:
        written[_CONTRACT] = msgspec.json.encode(msgspec.json.decode(spec.to_json())).decode()
    if written:
        entries = ", ".join(f"{_text(key)} {_text(value)}" for key, value in written.items())
        parts.append(f"OPTIONS ({entries})")
    return "\n".join(parts)


def _check_option(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise SpecFieldError(
            f"option {shown(key)} is not text", f"it is {shown(value)}", "Write it as text.", value=value
        )
    if key.lower().startswith(_SESSION_PREFIX):
        raise SpecFieldError(
            f"option {shown(key)} is a setting of the session",
            fix="Give scan options of this table only.",
            value=key,
        )
    if key == _CONTRACT:
        raise SpecFieldError(f"option {shown(key)} is reserved", fix="Leave it out.", value=key)


def _said(spec: TableSpec) -> TableSpec | None:
    """Return the contract that the columns, key and partitioning alone say; None where they cannot."""
    if not spec.columns or spec.constraints:
        return None
    columns = [
        ColumnSpec(
            column.name,
            _plain(column.type),
            column.nullable,
            default=column.default if _is_spelled(column) else None,
            comment=column.comment,
        )
        for column in spec.columns
    ]
    return TableSpec(spec.name, columns, spec.primary_key, spec.partition_by)


def _plain(kind: DataType) -> DataType:
    """Return what the SQL name of a type says."""
    if isinstance(kind, ArrayType):
        return ArrayType(_plain(kind.element))
    if isinstance(kind, MapType):
        return MapType(_plain(kind.key), _plain(kind.value))
    if isinstance(kind, StructType):
        return StructType(tuple(ColumnSpec(each.name, _plain(each.type)) for each in kind.fields))
    return _plain(kind.storage) if isinstance(kind, SemanticType) else kind


def _column(column: ColumnSpec) -> str:
    parts = [quote(column.name), _sql_type(column.type)]
    if not column.nullable:
        parts.append("NOT NULL")
    if _is_spelled(column):
        parts.append(f"DEFAULT {default_sql(column)}")
    if column.comment is not None:
        parts.append(f"COMMENT {_text(column.comment)}")
    return " ".join(parts)


def _is_spelled(column: ColumnSpec) -> bool:
    """Tell whether a default is written beside the column: one that every SQL parser reads alike."""
    default = column.default
    return default is not None and not isinstance(default, SqlExpression) and column.type.text != "binary"


def _sql_type(kind: DataType) -> str:
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if isinstance(kind, ArrayType):
        return f"ARRAY<{_sql_type(kind.element)}>"
    if isinstance(kind, MapType):
        return f"MAP<{_sql_type(kind.key)}, {_sql_type(kind.value)}>"
    if isinstance(kind, StructType):
        fields = (f"{quote(each.name)} {_sql_type(each.type)}" for each in kind.fields)
        return f"STRUCT<{', '.join(fields)}>"
    return _sql_type(kind.storage) if isinstance(kind, SemanticType) else _SQL_NAMES[kind.text]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def parse_ddl(sql: str) -> TableDdl:
    """Read a ``CREATE EXTERNAL TABLE`` statement; needs the extra ``ddl``.

    Parameters
    ----------
    sql : str
        One statement.

    Returns
    -------
    TableDdl
        The contract, the location and the scan options.

    Raises
    ------
    SpecError
        When the text is no such statement, or the extra is missing.

    Examples
    --------
    >>> ddl = parse_ddl("CREATE EXTERNAL TABLE t (a BIGINT NOT NULL) STORED AS DELTATABLE LOCATION '/lake/t'")
    >>> ddl.location, ddl.spec.column("a").type.text
    ('/lake/t', 'long')
    """
    clauses = _Clauses(sql)
    options = dict(clauses.options)
    contract = options.pop(_CONTRACT, None)
    for key, value in options.items():
        _check_option(key, value)
    try:
        said = _read_table(clauses)
    except SpecError:
        raise
    except (AttributeError, TypeError, ValueError) as error:  # sqlglot's trees of odd input have odd shapes
        raise SpecSyntaxError("the columns of the DDL make no sense", str(error), _FIX, value=sql) from None
    spec = said if contract is None else _agreed(TableSpec.from_json(contract), said)
    return TableDdl(spec=spec, location=clauses.location, options=FrozenDict(options))


def _agreed(contract: TableSpec, said: TableSpec) -> TableSpec:
    """Return the contract of the options, which must say what the columns say."""
    visible = [(each.name, _plain(each.type), each.nullable) for each in contract.columns]
    if visible != [(each.name, _plain(each.type), each.nullable) for each in said.columns]:
        raise SpecFieldError(
            f"the columns of {said.name!r} and option {_CONTRACT} disagree",
            fix="Remove the option, or write the statement anew with to_ddl.",
            path=_CONTRACT,
        )
    return contract


class _Clauses:
    """The clauses of a statement, told apart by their tokens."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = _tokens(sql)
        self.at = 0
        self.location = ""
        self.options: dict[str, str] = {}
        self.partition_by: tuple[str, ...] = ()
        self.met: set[str] = set()
        self._expect("CREATE", "EXTERNAL", "TABLE")
        self._accept("IF", "NOT", "EXISTS")
        start = self.at
        while self._kind() not in ("L_PAREN", "END"):
            self.at += 1
        self._skip_parenthesis()
        first, last = self.tokens[start], self.tokens[self.at - 1]
        self.table_sql = "CREATE TABLE " + sql[first.start : last.end + 1]
        while self._kind() not in ("END", "SEMICOLON"):
            self._clause()
        if self._kind() == "SEMICOLON":
            self.at += 1
        if self._kind() != "END" or not self.location or "STORED" not in self.met:
            self._fail()

    def _fail(self) -> NoReturn:
        found = self.tokens[self.at].text if self.at < len(self.tokens) else "the end"
        raise SpecSyntaxError(
            "not a CREATE EXTERNAL TABLE statement", f"found {shown(found)}", _FIX, value=self.sql
        )

    def _kind(self) -> str:
        return self.tokens[self.at].token_type.name if self.at < len(self.tokens) else "END"

    def _accept(self, *words: str) -> bool:
        ahead = [token.text.upper() for token in self.tokens[self.at : self.at + len(words)]]
        if ahead != list(words):
            return False
        self.at += len(words)
        return True

    def _expect(self, *words: str) -> None:
        if not self._accept(*words):
            self._fail()

    def _skip_parenthesis(self) -> None:
        depth = 0
        while True:
            kind = self._kind()
            if kind == "END":
                self._fail()
            depth += {"L_PAREN": 1, "R_PAREN": -1}.get(kind, 0)
            self.at += 1
            if depth == 0:
                return

    def _string(self) -> str:
        if self._kind() != "STRING":
            self._fail()
        self.at += 1
        return self.tokens[self.at - 1].text

    def _clause(self) -> None:
        clause = self.tokens[self.at].text.upper()
        if clause in self.met:
            self._fail()
        self.met.add(clause)
        if self._accept("STORED", "AS"):
            self._expect("DELTATABLE")
        elif self._accept("LOCATION"):
            self.location = self._string()
        elif self._accept("PARTITIONED BY"):  # one token
            self.partition_by = tuple(self._list(self._name))
        elif self._accept("OPTIONS"):
            for key, value in self._list(self._option):
                if self.options.setdefault(key, value) != value:
                    raise SpecFieldError(
                        f"option {shown(key)} has two values",
                        f"{shown(self.options[key])} and {shown(value)}",
                        "Keep one.",
                        path=f"options[{shown(key)}]",
                        value=value,
                    )
        else:
            self._fail()

    def _list(self, item: Any) -> Iterator[Any]:
        self._expect("(")
        while True:
            yield item()
            if self._accept(")"):
                return
            self._expect(",")

    def _option(self) -> tuple[str, str]:
        return self._string(), self._string()

    def _name(self) -> str:
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        # Words such as date are keywords to the tokenizer, and names all the same.
        if token is None or not (token.token_type.name == "IDENTIFIER" or token.text.isidentifier()):
            self._fail()
        self.at += 1
        return token.text if token.token_type.name == "IDENTIFIER" else token.text.lower()


def _tokens(sql: str) -> list[Any]:
    try:
        from sqlglot.errors import SqlglotError
        from sqlglot.tokens import Tokenizer
    except ImportError:
        raise ExtraMissingError(
            "reading DDL needs sqlglot", "it is not installed", "Install schema-spec[ddl]."
        ) from None
    if not isinstance(cast("object", sql), str):
        raise SpecSyntaxError("the DDL is not text", f"it is {shown(sql)}", _FIX, value=sql)
    try:
        return list(Tokenizer().tokenize(sql))
    except (SqlglotError, RecursionError) as error:
        raise SpecSyntaxError("the DDL is not SQL", str(error).split("\n", 1)[0], _FIX, value=sql) from None


def _read_table(clauses: _Clauses) -> TableSpec:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = cast("Any", sqlglot.parse_one(clauses.table_sql))
    except (SqlglotError, RecursionError) as error:
        found = str(error).split("\n", 1)[0] or "it is nested too deeply"
        raise SpecSyntaxError("the columns of the DDL are not SQL", found, _FIX, value=clauses.sql) from None
    schema = parsed.this
    if not isinstance(parsed, exp.Create) or not isinstance(schema, exp.Schema):
        raise SpecSyntaxError("the DDL has no columns", fix=_FIX, value=clauses.sql)
    reader = _TableReader()
    for item in schema.expressions:
        reader.read(item)
    parts = [_identifier(part) for part in schema.this.parts]
    return TableSpec(
        ".".join(parts),
        reader.columns,
        reader.primary_key,
        clauses.partition_by,
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
                f"no place for {shown(item.sql())} in a contract", fix=_FIX, value=item.sql()
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
                    f"no place for {shown(rule.sql())} in a contract", fix=_FIX, value=rule.sql()
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
            f"{spelled}{_text(text)}" if spelled else f"CAST({_text(text)} AS {_sql_type(kind)})"
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
            raise SpecSyntaxError(f"no place for {shown(rule.sql())} in a struct", fix=_FIX, value=rule.sql())
    return ColumnSpec(_identifier(node.this), _read_type(node.args.get("kind")), **fields)
