"""Reading a text into a syntax tree, and what stands in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from df_runtime._dialect import tokenized
from df_runtime._names import ascii_lower

StatementKind: TypeAlias = Literal["query", "explain", "describe", "show", "write", "definition", "session"]

_QUERY = frozenset({"SELECT", "WITH", "VALUES", "FROM", "TABLE", "("})
_WRITE = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "COPY"})
_DEFINITION = frozenset({"CREATE", "DROP", "ALTER"})
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Copy, exp.TruncateTable)
_DEFINITIONS = (exp.Create, exp.Drop, exp.Alter, exp.Into)


Parts: TypeAlias = tuple[tuple[str, bool], ...]
"""Parts of a name, and whether each is in quotes."""


class Facts(NamedTuple):
    """What stands in a query, gathered in one walk.

    Attributes
    ----------
    writes, defines : bool
        Whether there is an INSERT or the like, a CREATE or an INTO.
    functions, table_functions : frozenset of str
        Functions that it calls, and those in the place of tables, in lower case.
    tables : tuple
        Tables that it reads, by the parts of their names.
    parameters : frozenset of str
        Parameters, without the dollar.
    selects : int
        Number of SELECTs.
    star_over_join : bool
        Whether `*` stands over a join that merges columns, or drops those of its left side.
    counts_copies : bool
        Whether there is an EXCEPT ALL or INTERSECT ALL.
    samples : bool
        Whether there is a TABLESAMPLE.
    unmodelled : bool
        Whether the parser kept part of the text as text.
    depth : int
        Levels of the tree.
    unfolded : int
        How many tables it reads at least, those of a WITH query as often as that is named.
    """

    writes: bool
    defines: bool
    functions: frozenset[str]
    table_functions: frozenset[str]
    tables: tuple[Parts, ...]
    parameters: frozenset[str]
    selects: int
    star_over_join: bool
    counts_copies: bool
    samples: bool
    unmodelled: bool
    depth: int
    unfolded: int


MANY = 1_000_000
"""More than this is not counted."""

TOO_DEEP = "it is nested too deeply"


class Reading(NamedTuple):
    """A text as SQLGlot reads it.

    Attributes
    ----------
    kind : str
        What the statement does, by its first words.
    tree : Expr, optional
        The query inside; None for a statement that has none, or that is beyond the parser.
    problem : str, optional
        Why there is no tree where one is due.
    second : int, optional
        Where a second statement starts, in characters from 0.
    external : bool
        Whether the statement names files to read or write.
    implicit_select : bool
        Whether the tree has a SELECT that is not in the text: `FROM t` has no columns in the engine.
    facts : Facts, optional
        What stands in the tree.
    """

    kind: StatementKind
    tree: exp.Expr | None = None
    problem: str | None = None
    second: int | None = None
    external: bool = False
    implicit_select: bool = False
    facts: Facts | None = None


def read(query: str, dialect: Dialect) -> Reading:
    """Read a text; whatever it holds, the answer is a `Reading`."""
    try:
        return _read(query, dialect)
    except RecursionError:
        # The caller may have used up most of the stack: a thread has one of its own.
        return _read_in_thread(query, dialect)


def _read_in_thread(query: str, dialect: Dialect) -> Reading:
    found = [Reading("query", problem=TOO_DEEP)]

    def run() -> None:
        try:
            found[0] = _read(query, dialect)
        except RecursionError:
            return

    thread = threading.Thread(target=run, name="df-runtime-gate", daemon=True)
    thread.start()
    thread.join()
    return found[0]


def _read(query: str, dialect: Dialect) -> Reading:
    try:
        tokens = tokenized(query)
    except SqlglotError as error:
        return Reading("query", problem=first_line(error))
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    second = _second_statement(tokens)
    kind, start, external = _head(tokens)
    # What defines a table over files has no query inside, and its list of options is no SQL to the parser.
    defines_files = kind == "definition" and external
    if kind in {"show", "session"} or defines_files or start >= len(tokens):
        return Reading(kind, second=second, external=external)
    try:
        trees = dialect.parser().parse(tokens[start:], query)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - odd texts break the parser in ways it does not foresee
        return Reading(kind, problem=first_line(error), second=second, external=external)
    tree = trees[0] if trees else None
    found = None if tree is None else facts(tree)
    if found is None or found.unmodelled:
        return Reading(kind, problem="it is not modelled", second=second, external=external)
    implicit = found.selects > sum(token.text.upper() == "SELECT" for token in tokens)
    return Reading(kind, tree, None, second, external, implicit, found)


def _head(tokens: Sequence[Token]) -> tuple[StatementKind, int, bool]:
    """Tell the kind of a statement, where the query inside starts, and whether it names files."""
    words = [token.text.upper() for token in tokens[:5]]
    first = words[0] if words else ""
    if first == "EXPLAIN":
        start = _after_explain(tokens)
        inner, beyond, external = _head(tokens[start:])
        read_only = inner in {"query", "describe", "show", "explain"}
        return ("explain" if read_only else inner), start + beyond, external
    if first in {"DESCRIBE", "DESC"}:
        return "describe", 1 if len(words) > 1 and words[1] in _QUERY else len(tokens), False
    if first == "SHOW":
        return "show", 0, False
    if first in _WRITE:
        return "write", 0, first == "COPY"
    if first in _DEFINITION:
        return "definition", 0, "EXTERNAL" in words
    return ("query" if first in _QUERY else "session"), 0, False


def _after_explain(tokens: Sequence[Token]) -> int:
    at = 1
    if at < len(tokens) and tokens[at].text == "(" and _is_option(tokens, at + 1):
        while at < len(tokens) and tokens[at].text != ")":
            at += 1
        return at + 1
    while at < len(tokens):
        word = tokens[at].text.upper()
        if word not in {"ANALYZE", "VERBOSE", "FORMAT"}:
            break
        at += 2 if word == "FORMAT" else 1
    return at


def _is_option(tokens: Sequence[Token], at: int) -> bool:
    return at < len(tokens) and tokens[at].text.upper() in {"ANALYZE", "VERBOSE", "FORMAT"}


def _second_statement(tokens: Sequence[Token]) -> int | None:
    ended = False
    for token in tokens:
        is_end = token.token_type == TokenType.SEMICOLON
        if ended and not is_end:
            return token.start
        ended = ended or is_end
    return None


def first_line(error: BaseException) -> str:
    """Return what a library says is wrong, without its picture of the text."""
    text = str(error) or type(error).__name__
    return text.split("\n", 1)[0].strip().rstrip(".")


class _Walk:
    """Gathers the facts of one tree."""

    def __init__(self) -> None:
        self.kinds: set[type[exp.Expr]] = set()
        self.functions: set[str] = set()
        self.table_functions: set[str] = set()
        self.tables: dict[Parts, None] = {}
        self.common: set[str] = set()
        self.common_queries: list[exp.CTE] = []
        self.parameters: set[str] = set()
        self.selects = 0
        self.has_star = self.has_merging_join = self.counts_copies = False

    def see(self, node: exp.Expr) -> None:
        self.kinds.add(type(node))
        if isinstance(node, exp.Table):
            self._see_table(node)
        elif isinstance(node, exp.Select):
            self.selects += 1
        elif isinstance(node, exp.CTE):
            self.common.add(ascii_lower(node.alias))
            self.common_queries.append(node)
        elif isinstance(node, (exp.Parameter, exp.Placeholder)):
            self.parameters.add(node.name)
        elif isinstance(node, exp.Join):
            self.has_merging_join = self.has_merging_join or _merges_or_drops(node)
        elif isinstance(node, (exp.Except, exp.Intersect)):
            self.counts_copies = self.counts_copies or not node.args.get("distinct")
        elif isinstance(node, exp.Star):
            self.has_star = self.has_star or not isinstance(node.parent, exp.Count)
        elif isinstance(node, exp.Func) and not isinstance(node, _NO_CALLS):
            self.functions.add(_function_name(node))

    def _see_table(self, table: exp.Table) -> None:
        parts: list[Any] = list(table.parts)
        if isinstance(table.this, exp.Func):
            self.table_functions.add(_function_name(table.this))
        elif all(isinstance(part, exp.Identifier) for part in parts):
            self.tables[tuple((part.name, bool(part.args.get("quoted"))) for part in parts)] = None


def _is_common(parts: Parts, common: set[str]) -> bool:
    """Whether a name is that of a WITH."""
    return len(parts) == 1 and ascii_lower(parts[-1][0]) in common


_NO_CALLS = (exp.Connector, exp.Cast, exp.Case)


def _function_name(node: exp.Func) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()


def _merges_or_drops(join: exp.Join) -> bool:
    natural = join.method == "NATURAL" or bool(join.args.get("using"))
    return natural or (join.side == "RIGHT" and join.kind in {"SEMI", "ANTI"})


def facts(tree: exp.Expr) -> Facts:
    """Gather what stands in a tree."""
    walk = _Walk()
    pending = [(tree, 1)]
    depth = 0
    while pending:
        node, level = pending.pop()
        walk.see(node)
        depth = max(depth, level)
        pending.extend((child, level + 1) for child in node.iter_expressions())
    return Facts(
        writes=any(issubclass(kind, _WRITES) for kind in walk.kinds),
        defines=any(issubclass(kind, _DEFINITIONS) for kind in walk.kinds),
        functions=frozenset(walk.functions),
        table_functions=frozenset(walk.table_functions),
        tables=tuple(parts for parts in walk.tables if not _is_common(parts, walk.common)),
        parameters=frozenset(name for name in walk.parameters if name),
        selects=walk.selects,
        star_over_join=walk.has_star and walk.has_merging_join,
        counts_copies=walk.counts_copies,
        samples=exp.TableSample in walk.kinds,
        unmodelled=exp.Command in walk.kinds,
        depth=depth,
        unfolded=_unfolded(walk.common_queries),
    )


def _unfolded(queries: Sequence[exp.CTE]) -> int:
    """Count the tables of the largest WITH query, with all that it names in turn."""
    named: dict[str, list[str]] = {}
    for query in queries:
        tables = (ascii_lower(table.name) for table in query.this.find_all(exp.Table))
        named.setdefault(ascii_lower(query.alias), []).extend(tables)
    # Names refer to earlier ones, so that most are counted in one round; recursive ones would go on for ever.
    counts = dict.fromkeys(named, 1)
    for _ in range(len(named)):
        before = dict(counts)
        for name, tables in named.items():
            found = sum(counts.get(table, 1) for table in tables if table != name)
            counts[name] = min(max(found, 1), MANY)
        if counts == before:
            break
    return max(counts.values(), default=0)
