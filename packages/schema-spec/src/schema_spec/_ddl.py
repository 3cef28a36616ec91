"""Contracts as ``CREATE EXTERNAL TABLE`` statements and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec
from msgspec import Struct

from schema_spec._ddl_columns import FIX, read_table, sql_type, text_sql
from schema_spec._frozen import FrozenDict
from schema_spec._metadata import default_sql
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.errors import (
    ExtraMissingError,
    SpecError,
    SpecFieldError,
    SpecSyntaxError,
    shown,
)
from schema_spec.expressions import quote
from schema_spec.table import TableSpec
from schema_spec.types import (
    ArrayType,
    DataType,
    MapType,
    SemanticType,
    SqlExpression,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTRACT: Final = "schema_spec.contract"
_SESSION_PREFIX: Final = "datafusion."


class TableDdl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    parts.append(f"LOCATION {text_sql(location)}")
    written = dict(options)
    if _said(spec) != spec:
        written[_CONTRACT] = msgspec.json.encode(msgspec.json.decode(spec.to_json())).decode()
    if written:
        entries = ", ".join(f"{text_sql(key)} {text_sql(value)}" for key, value in written.items())
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
    parts = [quote(column.name), sql_type(column.type)]
    if not column.nullable:
        parts.append("NOT NULL")
    if _is_spelled(column):
        parts.append(f"DEFAULT {default_sql(column)}")
    if column.comment is not None:
        parts.append(f"COMMENT {text_sql(column.comment)}")
    return " ".join(parts)


def _is_spelled(column: ColumnSpec) -> bool:
    """Tell whether a default is written beside the column: one that every SQL parser reads alike."""
    default = column.default
    return default is not None and not isinstance(default, SqlExpression) and column.type.text != "binary"


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
        said = read_table(clauses.table_sql, clauses.partition_by, sql)
    except SpecError:
        raise
    except (AttributeError, TypeError, ValueError) as error:  # sqlglot's trees of odd input have odd shapes
        raise SpecSyntaxError("the columns of the DDL make no sense", str(error), FIX, value=sql) from None
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
            "not a CREATE EXTERNAL TABLE statement", f"found {shown(found)}", FIX, value=self.sql
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
        raise SpecSyntaxError("the DDL is not text", f"it is {shown(sql)}", FIX, value=sql)
    try:
        return list(Tokenizer().tokenize(sql))
    except (SqlglotError, RecursionError) as error:
        raise SpecSyntaxError("the DDL is not SQL", str(error).split("\n", 1)[0], FIX, value=sql) from None
