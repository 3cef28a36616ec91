"""One SELECT block taken apart by the positions of its tokens, so that its text is never printed anew.

What the engine runs for part of a view is what the user wrote, with other tables under it and one more
condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from incremental_cdf._names import quote, stored
from incremental_cdf._parse import ParsedQuery, table_name

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_JOIN_WORDS = {
    TokenType.INNER,
    TokenType.LEFT,
    TokenType.RIGHT,
    TokenType.FULL,
    TokenType.OUTER,
    TokenType.CROSS,
    TokenType.NATURAL,
    TokenType.SEMI,
    TokenType.ANTI,
}
_CLAUSES = {
    TokenType.SELECT,
    TokenType.FROM,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.ORDER_BY,
}
_PLAIN_PARTS = {"expressions", "from_", "joins", "where", "group", "having", "order", "distinct"}
_LIMITS = {"limit", "offset", "fetch"}
_VOLATILE_WORDS = frozenset(
    [
        "now",
        "today",
        "random",
        "rand",
        "uuid",
        "gen_random_uuid",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
    ]
)


class Refusal(msgspec.Struct, frozen=True):
    """Why a view cannot be refreshed by affected keys."""

    code: str
    reason: str


class RefusedError(Exception):
    """Carries a refusal out of the analysis of a query; never leaves the package."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(code, reason)


class Item(NamedTuple):
    """One expression of the SELECT list, without its alias."""

    text: str
    node: exp.Expr
    alias: str | None


class FromPart(NamedTuple):
    """One table of the FROM clause and how it is joined to those before it."""

    join: str
    """The words before the table: nothing for the first one, a comma, or those that end in JOIN."""
    table: str
    alias: str
    optional: bool
    """Whether rows without a match are kept, so that the columns of this table may be NULL instead."""
    condition: str
    condition_node: exp.Expr | None
    using: tuple[str, ...]

    def source(self, table: str, *, required: bool = False) -> str:
        """Write this part over another table, under the same alias."""
        join = "JOIN" if required and self.optional else self.join
        return " ".join(piece for piece in (join, table, "AS", quote(self.alias), self.condition) if piece)


class Block(NamedTuple):
    """A SELECT block over plain tables."""

    head: str
    items: tuple[Item, ...]
    parts: tuple[FromPart, ...]
    where: str
    where_node: exp.Expr | None
    tail: str
    groups: tuple[exp.Expr, ...]
    grouped: bool

    def restricted(self, condition: str) -> str:
        """Write the block with a condition added to its WHERE clause."""
        where = f"({self.where})\n  AND {condition}" if self.where else condition
        return "\n".join(piece for piece in (self.head, f"WHERE {where}", self.tail) if piece)


def is_volatile(query: ParsedQuery) -> bool:
    """Whether the query calls a function whose value depends on more than its arguments."""
    words = [token.text.lower() for token in query.tokens]
    called = {word for word, after in zip(words, [*words[1:], ""], strict=True) if after == "("}
    bare = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    return bool(called & _VOLATILE_WORDS) or any(
        token.text.lower() in bare and token.token_type not in (TokenType.IDENTIFIER, TokenType.STRING)
        for token in query.tokens
    )


def dissect(query: ParsedQuery) -> Block:
    """Take a query apart.

    Raises
    ------
    RefusedError
        The query is more than one SELECT block over plain tables joined by inner and left joins.
    """
    select = _single_select(query.statement)
    clauses = _clauses(query)
    items = _items(query, select, clauses.get(TokenType.SELECT, []))
    parts = _parts(query, select, clauses.get(TokenType.FROM, []))
    where = clauses.get(TokenType.WHERE, [])
    before_where = clauses[TokenType.FROM][-1]
    after = where[-1] if where else before_where
    groups, grouped = _groups(select)
    where_node = select.args.get("where")
    return Block(
        head=query.text[: before_where.end + 1],
        items=items,
        parts=parts,
        where=_text(query, where[1:]),
        where_node=where_node.this if where_node is not None else None,
        tail=query.text[after.end + 1 :].strip(),
        groups=groups,
        grouped=grouped,
    )


def _single_select(statement: exp.Query) -> exp.Select:
    if isinstance(statement, exp.SetOperation):
        raise RefusedError("set-operation", "it combines several SELECTs with a set operation")
    if not isinstance(statement, exp.Select):
        raise RefusedError("not-one-select", "it is not a plain SELECT")
    used = {name for name, value in statement.args.items() if value}
    if used & _LIMITS:
        raise RefusedError("limit", "it has a LIMIT or OFFSET, which looks at all rows")
    if used & {"with_", "with"}:
        raise RefusedError("cte", "it has common table expressions")
    if any(node is not statement and isinstance(node, exp.Query) for node in statement.walk()):
        raise RefusedError("subquery", "it has a subquery")
    if used & {"windows", "qualify"} or statement.find(exp.Window):
        raise RefusedError("window", "it has window functions, which look at other rows")
    _refuse_distinct_on(statement)
    if used - _PLAIN_PARTS:
        clauses = ", ".join(sorted(name.rstrip("_").upper() for name in used - _PLAIN_PARTS))
        raise RefusedError("clause", f"it has clauses that are not taken apart ({clauses})")
    if any(column.args.get("db") for column in statement.find_all(exp.Column)):
        raise RefusedError("qualified-column", "it names columns together with the schema of their table")
    return statement


def _refuse_distinct_on(select: exp.Select) -> None:
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise RefusedError("distinct-on", "it has DISTINCT ON, which picks rows by their order")


def _clauses(query: ParsedQuery) -> dict[TokenType, list[Token]]:
    """Tokens of each clause, its keyword first."""
    clauses: dict[TokenType, list[Token]] = {}
    current: list[Token] = []
    before: Token | None = None
    for token, depth in _with_depth(query.tokens):
        is_from = (
            token.token_type != TokenType.FROM or before is None or before.token_type != TokenType.DISTINCT
        )
        if depth == 0 and token.token_type in _CLAUSES and is_from:
            if token.token_type in clauses:
                raise RefusedError("clause", "its clauses cannot be told apart")
            current = clauses.setdefault(token.token_type, [])
        current.append(token)
        before = token
    if TokenType.FROM not in clauses:
        raise RefusedError("from-clause", "it reads no table")
    return clauses


def _with_depth(tokens: Sequence[Token]) -> Iterator[tuple[Token, int]]:
    depth = 0
    for token in tokens:
        if token.token_type in _CLOSING:
            depth -= 1
        yield token, depth
        if token.token_type in _OPENING:
            depth += 1


def _text(query: ParsedQuery, tokens: Sequence[Token]) -> str:
    return query.text[tokens[0].start : tokens[-1].end + 1] if tokens else ""


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """Split at the commas outside brackets."""
    pieces: list[list[Token]] = [[]]
    for token, depth in _with_depth(tokens):
        if depth == 0 and token.token_type == TokenType.COMMA:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def _items(query: ParsedQuery, select: exp.Select, clause: list[Token]) -> tuple[Item, ...]:
    tokens = clause[1:]
    if tokens and tokens[0].token_type in (TokenType.DISTINCT, TokenType.ALL):
        tokens = tokens[1:]
    pieces = _split(tokens)
    if len(pieces) != len(select.expressions) or not all(pieces):
        raise RefusedError("clause", "its SELECT list cannot be taken apart")
    return tuple(_item(query, piece, node) for piece, node in zip(pieces, select.expressions, strict=True))


def _item(query: ParsedQuery, tokens: list[Token], node: exp.Expr) -> Item:
    if not isinstance(node, exp.Alias):
        alias = stored(node.this) if isinstance(node, exp.Column) and not node.is_star else None
        return Item(_text(query, tokens), node, alias)
    kept = tokens[:-1]
    if kept and kept[-1].token_type == TokenType.ALIAS:
        kept = kept[:-1]
    return Item(_text(query, kept), node.this, stored(node.args["alias"]))


def _parts(query: ParsedQuery, select: exp.Select, clause: list[Token]) -> tuple[FromPart, ...]:
    tables = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]
    joins: list[exp.Join | None] = [None, *(select.args.get("joins") or [])]
    pieces = list(_from_pieces(clause[1:]))
    if len(pieces) != len(tables):
        raise RefusedError("from-clause", "its FROM clause cannot be taken apart")
    parts = tuple(
        _part(query, words, rest, table, join)
        for (words, rest), table, join in zip(pieces, tables, joins, strict=True)
    )
    aliases = [part.alias for part in parts]
    if len(set(aliases)) < len(aliases):
        raise RefusedError("from-clause", "two of its tables have the same alias")
    return parts


def _from_pieces(tokens: Sequence[Token]) -> Iterator[tuple[list[Token], list[Token]]]:
    """Each table with the tokens that join it: the words of the join, and the rest."""
    words: list[Token] = []
    rest: list[Token] = []
    for token, depth in _with_depth(tokens):
        separates = depth == 0 and token.token_type in (TokenType.COMMA, TokenType.JOIN)
        if not separates:
            rest.append(token)
            continue
        following: list[Token] = [token]
        while token.token_type == TokenType.JOIN and rest and rest[-1].token_type in _JOIN_WORDS:
            following.insert(0, rest.pop())
        yield words, rest
        words, rest = following, []
    yield words, rest


def _part(
    query: ParsedQuery, words: list[Token], rest: list[Token], table: exp.Expr, join: exp.Join | None
) -> FromPart:
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        raise RefusedError("from-clause", "its FROM clause holds more than names of tables")
    alias = table.args.get("alias")
    extras = {name for name, value in table.args.items() if value} - {"this", "db", "catalog", "alias"}
    if extras or (alias is not None and alias.args.get("columns")):
        raise RefusedError("from-clause", "its FROM clause says more of a table than its name and alias")
    optional = join is not None and _is_left(join)
    condition = _condition(rest)
    using = tuple(stored(column) for column in (join.args.get("using") or [])) if join is not None else ()
    return FromPart(
        join=_text(query, words),
        table=table_name(table),
        alias=stored(alias.this) if alias is not None else stored(table.this),
        optional=optional,
        condition=_text(query, condition),
        condition_node=join.args.get("on") if join is not None else None,
        using=using,
    )


def _condition(tokens: list[Token]) -> list[Token]:
    for position, (token, depth) in enumerate(_with_depth(tokens)):
        if depth == 0 and token.token_type in (TokenType.ON, TokenType.USING):
            return tokens[position:]
    return []


def _is_left(join: exp.Join) -> bool:
    side, kind = (str(join.args.get(word) or "").upper() for word in ("side", "kind"))
    if join.args.get("method") or side not in ("", "LEFT") or kind not in ("", "INNER", "CROSS", "OUTER"):
        words = " ".join(word for word in (str(join.args.get("method") or "").upper(), side, kind) if word)
        raise RefusedError("join-kind", f"it has a {words} JOIN; only inner and left joins can be followed")
    return side == "LEFT"


def _groups(select: exp.Select) -> tuple[tuple[exp.Expr, ...], bool]:
    group = select.args.get("group")
    if group is None:
        if select.find(exp.AggFunc) or select.args.get("having"):
            raise RefusedError("global-aggregate", "it aggregates over all rows, without GROUP BY")
        return (), False
    extras = {name for name, value in group.args.items() if value} - {"expressions"}
    grouping = (exp.Cube, exp.Rollup, exp.GroupingSets)
    if extras or any(isinstance(node, grouping) for node in group.walk()):
        raise RefusedError("grouping-sets", "it groups in more ways than one")
    return tuple(group.expressions), True
