"""The engine's SQL in SQLGlot's terms: Postgres', with what DataFusion adds and reads otherwise."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import NormalizationStrategy
from sqlglot.dialects.postgres import Postgres
from sqlglot.generator import Generator
from sqlglot.generators.postgres import PostgresGenerator
from sqlglot.parser import Parser
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import Token, TokenType

from df_runtime._lexer import is_opaque

# The functions whose types are worth knowing and which are printed as they were read. SQLGlot translates many
# others between systems; here a function keeps its name and its arguments.
_KNOWN_FUNCTIONS = (
    "ABS",
    "AVG",
    "COALESCE",
    "COUNT",
    "CUME_DIST",
    "DENSE_RANK",
    "FIRST_VALUE",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LOWER",
    "MAX",
    "MIN",
    "NTH_VALUE",
    "NTILE",
    "NULLIF",
    "PERCENT_RANK",
    "RANK",
    "ROW_NUMBER",
    "SUM",
    "UPPER",
)
_NAMES_HERE = {
    TokenType.MONEY,
    TokenType.NAME,
    TokenType.OBJECT_IDENTIFIER,
    TokenType.PSEUDO_TYPE,
    TokenType.SERIAL,
    TokenType.SMALLSERIAL,
    TokenType.BIGSERIAL,
}


class _Tokenizer(Postgres.Tokenizer):
    IDENTIFIERS: ClassVar[list[str | tuple[str, str]]] = ['"', "`"]
    KEYWORDS: ClassVar[dict[str, TokenType]] = {
        word: kind for word, kind in Postgres.Tokenizer.KEYWORDS.items() if kind not in _NAMES_HERE
    }
    # What follows such a word is tokens here, not one text.
    COMMANDS: ClassVar[set[TokenType]] = set()
    # `$1,$2` would be the start of a text in dollar quotes.
    HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = []
    SINGLE_TOKENS: ClassVar[dict[str, TokenType]] = {
        **Postgres.Tokenizer.SINGLE_TOKENS,
        "$": TokenType.PARAMETER,
    }


class _QuotingTokenizer(_Tokenizer):
    HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = Postgres.Tokenizer.HEREDOC_STRINGS
    SINGLE_TOKENS: ClassVar[dict[str, TokenType]] = Postgres.Tokenizer.SINGLE_TOKENS


class _Parser(PostgresParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {name: PostgresParser.FUNCTIONS[name] for name in _KNOWN_FUNCTIONS}
    BITWISE = Parser.BITWISE
    EXPONENT: ClassVar[dict[TokenType, type[exp.Expr]]] = {}
    STRING_ALIASES = True

    def _parse_primary(self) -> exp.Expr | None:
        # A string after a string is its alias, not more of it.
        if self._match(TokenType.STRING):
            return self.PRIMARY_PARSERS[TokenType.STRING](self, self._prev)
        if self._is_map():
            self._advance()
            return self._parse_map_entries()
        return super()._parse_primary()

    def _is_map(self) -> bool:
        word, after = self._curr, self._next
        return bool(word and after and word.text.upper() == "MAP" and after.token_type == TokenType.L_BRACE)

    def _parse_map_entries(self) -> exp.Expr | None:
        parsed = self._parse_bracket()
        entries = parsed
        while isinstance(entries, exp.Bracket):
            entries = entries.this
        if entries is None or entries is parsed:
            return None if parsed is None else exp.ToMap(this=parsed)
        entries.replace(exp.ToMap(this=entries.copy()))
        return parsed

    def _warn_unsupported(self) -> None:
        self.raise_error("This statement is not modelled")


def _braces(generator: Any, node: exp.Expr) -> str:
    """Write the fields of a struct or the entries of a map."""
    pairs: list[str] = []
    for each in node.expressions:
        if isinstance(each, (exp.PropertyEQ, exp.Slice, exp.Alias)):
            key = each.args.get("alias") if isinstance(each, exp.Alias) else each.this
            value = each.this if isinstance(each, exp.Alias) else each.expression
            pairs.append(f"{_key(generator, key)}: {generator.sql(value)}")
        else:
            pairs.append(generator.sql(each))
    return "{" + ", ".join(pairs) + "}"


def _parameter(generator: Any, node: exp.Placeholder) -> str:
    if node.this is None:
        generator.unsupported("a parameter without a name or number")
    return f"${node.name}"


def _key(generator: Any, key: Any) -> str:
    if isinstance(key, exp.Identifier):
        return str(generator.sql(exp.Literal.string(key.name)))
    return str(generator.sql(key))


class _Generator(PostgresGenerator):
    TRY_SUPPORTED = True
    TRANSFORMS: ClassVar[dict[type[exp.Expr], Any]] = {
        **{kind: printer for kind, printer in PostgresGenerator.TRANSFORMS.items() if kind is not exp.Select},
        exp.Array: lambda self, node: f"[{self.expressions(node, flat=True)}]",
        exp.BitwiseXor: lambda self, node: self.binary(node, "^"),
        exp.ToMap: lambda self, node: f"MAP {_braces(self, node.this)}",
        exp.Placeholder: _parameter,
        exp.Struct: _braces,
        exp.TryCast: Generator.trycast_sql,
    }
    bracket_sql = Generator.bracket_sql
    ignorenulls_sql = Generator.ignorenulls_sql
    respectnulls_sql = Generator.respectnulls_sql


class DataFusion(Postgres):
    """SQL as the engine reads it, to parse trees with.

    A tree means what SQLGlot takes it to mean, which depends on the dialect that it was parsed in: where
    NULLs are sorted, for one.

    Examples
    --------
    >>> import sqlglot
    >>> from df_runtime import DataFusion
    >>> sqlglot.parse_one("SELECT 7 / 2 AS a", dialect=DataFusion).sql(dialect=DataFusion)
    'SELECT 7 / 2 AS a'
    """

    NORMALIZE_FUNCTIONS = "lower"
    Tokenizer = _Tokenizer
    Parser = _Parser
    Generator = _Generator


class _Quoting(DataFusion):
    Tokenizer = _QuotingTokenizer


ENGINE = DataFusion()
_ENGINE_WITH_DOLLAR_QUOTES = _Quoting()
ENGINE_WITH_CASE = DataFusion(normalization_strategy=NormalizationStrategy.CASE_SENSITIVE)


def tokenized(query: str) -> list[Token]:
    """Split a text into the words of SQLGlot; dollars are quotes only where there are any.

    Raises
    ------
    sqlglot.errors.SqlglotError
        The text cannot be split.
    """
    quoting = "$" in query and is_opaque(query)
    return (_ENGINE_WITH_DOLLAR_QUOTES if quoting else ENGINE).tokenize(query)
