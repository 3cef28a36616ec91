"""Which rows of a view a change can have touched: the rules for affected keys, from query to queries.

A join of tables T1..Tn changes by the sum over i of T1..Ti-1 as they were, the change of Ti, and Ti+1..Tn as
they are. So the key of every row that appears or disappears is found by reading the FROM and WHERE clauses
once per table, with the changed rows in the place of that table. For a table on the optional side of a left
join, rows of the preserved side that match a changed row are looked for instead, whatever the WHERE clause
says of the optional side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlglot import exp

from incremental_cdf._block import Block, FromPart, Item, RefusedError
from incremental_cdf._names import pinned, quote, stored

KEYS = '"@keys"'
"""Table of the affected keys, one column per key column, without duplicates."""


def key_column(position: int) -> str:
    """Name, in quotes, of a column of the table of keys."""
    return quote(f"@{position}")


def matches_key(expressions: Sequence[str], keys: str = KEYS) -> str:
    """Write the condition that a row's key is among the keys, where NULL equals NULL."""
    equal = " AND ".join(
        f"({key_column(position)} IS NOT DISTINCT FROM ({expression}))"
        for position, expression in enumerate(expressions)
    )
    return f"EXISTS (SELECT 1 FROM {keys} WHERE {equal})"


class AffectedKeys(msgspec.Struct, frozen=True):
    """How the affected keys of a view are found, and its rows with those keys."""

    code: str
    reason: str
    block: Block
    key: tuple[str, ...]
    """Columns of the result."""
    expressions: tuple[str, ...]
    """Text of the same columns in the scope of the block."""
    key_tables: frozenset[int]
    """Positions of the tables that the key is computed from."""
    references: Mapping[int, frozenset[int]]
    """The tables that each join condition reads, by position of the joined table; -1 stands for WHERE."""

    def keys_query(self, changed: frozenset[str]) -> str:
        """Write the query for the keys that changes of some tables affect, over pinned names.

        Parameters
        ----------
        changed : frozenset of str
            Names of the tables that changed; others have no old rows of their own.

        Returns
        -------
        str
        """
        terms = [
            self._term(position, changed)
            for position, part in enumerate(self.block.parts)
            if part.table in changed
        ]
        columns = ", ".join(key_column(position) for position in range(len(self.key)))
        union = "\nUNION ALL\n".join(terms)
        return f"SELECT DISTINCT {columns} FROM (\n{union}\n) AS {quote('@terms')}"

    def rows_query(self) -> str:
        """Write the query for all rows of the view with affected keys, over the names that the view uses.

        Returns
        -------
        str
        """
        return self.block.restricted(matches_key(self.expressions))

    def _term(self, position: int, changed: frozenset[str]) -> str:
        parts = self.block.parts
        optional = parts[position].optional
        kept = self._matching(position) if optional else range(len(parts))
        sources = [
            parts[other].source(
                self._pinned(other, position, changed), required=other == position and optional
            )
            for other in kept
        ]
        columns = ", ".join(f"{text} AS {key_column(number)}" for number, text in enumerate(self.expressions))
        lines = [f"SELECT {columns}", "FROM " + "\n  ".join(sources).replace("\n  , ", ",\n  ")]
        if self.block.where and (not optional or self._where_applies(position, frozenset(kept))):
            lines.append(f"WHERE ({self.block.where})")
        return "\n".join(lines)

    def _pinned(self, other: int, position: int, changed: frozenset[str]) -> str:
        table = self.block.parts[other].table
        if other == position:
            return pinned(table, "changed")
        return pinned(table, "old" if other < position and table in changed else "new")

    def _matching(self, position: int) -> list[int]:
        """Pick the tables needed to find preserved rows that match a change of an optional table.

        Those before it, and inner joins after it whose conditions do not read what may be NULL because of it.
        Leaving out the others can only add keys.
        """
        kept = list(range(position + 1))
        for later in range(position + 1, len(self.block.parts)):
            known = frozenset(kept) - {position} | {later}
            if not self.block.parts[later].optional and self.references[later] <= known:
                kept.append(later)
        if not self.key_tables <= frozenset(kept) - {position}:
            raise _optional_key(self.block.parts[position])
        return kept

    def _where_applies(self, position: int, kept: frozenset[int]) -> bool:
        return self.references[-1] <= kept - {position}

    def check(self) -> AffectedKeys:
        """Make sure that a change of any table can be followed to keys.

        Returns
        -------
        AffectedKeys

        Raises
        ------
        RefusedError
            The key depends on columns that a left join may leave NULL.
        """
        for position, part in enumerate(self.block.parts):
            if part.optional:
                self._matching(position)
        return self


def _optional_key(part: FromPart) -> RefusedError:
    reason = f"its key depends on the left join of {part.alias}, which may leave it NULL"
    return RefusedError("key-on-optional-side", reason)


def derive(
    block: Block,
    *,
    columns: Mapping[str, Sequence[str]],
    output: Sequence[str],
    key: tuple[str, ...] | None = None,
    primary_keys: Mapping[str, tuple[str, ...]] | None = None,
) -> AffectedKeys:
    """Find the key of a view and how changes lead to it.

    Parameters
    ----------
    block : Block
        The query of the view.
    columns : Mapping of str to Sequence of str
        Column names of each table, by the table's canonical name.
    output : Sequence of str
        Names of the columns of the result.
    key : tuple of str, optional
        The declared key.
    primary_keys : Mapping of str to tuple of str, optional
        Primary keys of the tables, where their contracts declare one.

    Returns
    -------
    AffectedKeys

    Raises
    ------
    RefusedError
        The view has no key that changes lead to.
    """
    scope = _Scope(block, columns)
    named = dict(_named_items(block, output, scope))
    if block.grouped:
        code, reason, chosen = _grouped_key(block, scope, named, key)
    else:
        code, reason, chosen = _ungrouped_key(block, scope, named, key, primary_keys or {})
    nodes = [named[name] for name in chosen]
    return AffectedKeys(
        code=code,
        reason=reason,
        block=block,
        key=chosen,
        expressions=tuple(text for text, _ in nodes),
        key_tables=frozenset(position for _, node in nodes for position in scope.tables(node, first=True)),
        references=_references(block, scope),
    ).check()


class _Scope:
    """What the names in a block mean."""

    def __init__(self, block: Block, columns: Mapping[str, Sequence[str]]) -> None:
        self._columns = [frozenset(columns[part.table]) for part in block.parts]
        self._aliases = {part.alias: position for position, part in enumerate(block.parts)}
        self._using = frozenset(column for part in block.parts for column in part.using)

    def tables(self, node: exp.Expr, *, first: bool = False) -> frozenset[int]:
        """Positions of the tables that an expression reads.

        A column that USING joins is in several; `first` picks the one whose value it has.
        """
        found: set[int] = set()
        for column in node.find_all(exp.Column):
            positions = self.positions(column)
            found.update(positions[:1] if first and stored(column.this) in self._using else positions)
        return frozenset(found)

    def positions(self, column: exp.Column) -> list[int]:
        """Positions of the tables that may be meant by a column."""
        qualifier = column.args.get("table")
        if qualifier is not None and stored(qualifier) in self._aliases:
            return [self._aliases[stored(qualifier)]]
        name = stored(qualifier if qualifier is not None else column.this)
        found = [position for position, names in enumerate(self._columns) if name in names]
        if not found:
            raise RefusedError("column-unresolved", f'its column "{name}" cannot be traced to a table')
        return found

    def _place(self, column: exp.Column, position: int) -> str:
        qualifier = column.args.get("table")
        if qualifier is None or stored(qualifier) in self._aliases:
            return str(position)
        return f"{position}.{stored(qualifier)}"  # a field of a struct

    def owner(self, column: str) -> int | None:
        """Position of the only table that has a column."""
        found = [position for position, names in enumerate(self._columns) if column in names]
        return found[0] if len(found) == 1 else None

    def has(self, column: str) -> bool:
        """Whether any table has a column of this name."""
        return any(column in names for names in self._columns)

    def identity(self, node: exp.Expr) -> str:
        """Write a text that is equal for expressions that mean the same or are written the same way."""
        copied = node.copy()
        for column in list(copied.find_all(exp.Column)):
            positions = self.positions(column)
            name = stored(column.this)
            where = "using" if len(positions) > 1 else self._place(column, positions[0])
            replaced = exp.column(
                exp.to_identifier(name, quoted=True), table=exp.to_identifier(where, quoted=True)
            )
            if column is copied:
                return repr(replaced)
            column.replace(replaced)
        return repr(copied)


def _named_items(
    block: Block, output: Sequence[str], scope: _Scope
) -> Iterator[tuple[str, tuple[str, exp.Expr]]]:
    """Text and tree of each column of the result that can be computed from one expression."""
    if not any(item.node.is_star for item in block.items):
        for item, name in zip(block.items, output, strict=True):
            yield name, (_qualified(item, block, scope), item.node)
        return
    aliased = {item.alias: item for item in block.items if item.alias is not None and not item.node.is_star}
    for name in output:
        if name in aliased:
            yield name, (_qualified(aliased[name], block, scope), aliased[name].node)
        elif (position := scope.owner(name)) is not None:
            alias = block.parts[position].alias
            node = exp.column(
                exp.to_identifier(name, quoted=True), table=exp.to_identifier(alias, quoted=True)
            )
            yield name, (f"{quote(alias)}.{quote(name)}", node)


def _qualified(item: Item, block: Block, scope: _Scope) -> str:
    """Write an expression; a column that USING joins is ambiguous in a subquery without its table."""
    if not isinstance(item.node, exp.Column) or item.node.args.get("table"):
        return item.text
    positions = scope.positions(item.node)
    is_one = len(positions) == 1
    return (
        item.text if is_one else f"{quote(block.parts[positions[0]].alias)}.{quote(stored(item.node.this))}"
    )


def _grouped_key(
    block: Block,
    scope: _Scope,
    named: Mapping[str, tuple[str, exp.Expr]],
    key: tuple[str, ...] | None,
) -> tuple[str, str, tuple[str, ...]]:
    identities = {_group_identity(group, block, scope) for group in block.groups}
    grouped = tuple(
        name
        for name, (_, node) in named.items()
        if node.find(exp.AggFunc) is None and scope.identity(node) in identities
    )
    if key is not None:
        missing = [name for name in key if name not in grouped]
        if missing:
            columns = ", ".join(missing)
            raise RefusedError(
                "key-not-grouped", f"its declared key has columns that it does not group by ({columns})"
            )
        return "key-declared", f"groups are recomputed by the declared key ({', '.join(key)})", key
    if not grouped:
        raise RefusedError(
            "group-not-in-result", "none of the expressions that it groups by is in its result"
        )
    return (
        "key-from-group-by",
        f"groups are recomputed by the columns it groups by ({', '.join(grouped)})",
        grouped,
    )


def _group_identity(group: exp.Expr, block: Block, scope: _Scope) -> str:
    """Identity of what a GROUP BY item means: an item by position or alias, or the expression itself."""
    if isinstance(group, exp.Literal) and not group.is_string:
        position = int(group.name) - 1
        if not 0 <= position < len(block.items) or any(item.node.is_star for item in block.items):
            raise RefusedError("clause", "it groups by positions that cannot be followed")
        return scope.identity(block.items[position].node)
    if isinstance(group, exp.Column) and not group.args.get("table"):
        name = stored(group.this)
        meant = [
            item.node for item in block.items if item.alias == name and not isinstance(item.node, exp.Column)
        ]
        if meant and scope.has(name):
            raise RefusedError(
                "group-ambiguous", f'it groups by "{name}", which is both a column and an alias'
            )
        if meant:
            return scope.identity(meant[0])
        renamed = [item.node for item in block.items if item.alias == name]
        if renamed and not scope.has(name):
            return scope.identity(renamed[0])
    return scope.identity(group)


def _ungrouped_key(
    block: Block,
    scope: _Scope,
    named: Mapping[str, tuple[str, exp.Expr]],
    key: tuple[str, ...] | None,
    primary_keys: Mapping[str, tuple[str, ...]],
) -> tuple[str, str, tuple[str, ...]]:
    if key is not None:
        missing = [name for name in key if name not in named]
        if missing:
            reason = (
                f"its declared key has columns that cannot be traced to one expression ({', '.join(missing)})"
            )
            raise RefusedError("key-not-traced", reason)
        return "key-declared", f"rows are replaced by the declared key ({', '.join(key)})", key
    plain = {scope.identity(node): name for name, (_, node) in named.items() if isinstance(node, exp.Column)}
    for position, part in enumerate(block.parts):
        primary = primary_keys.get(part.table, ())
        wanted = [repr(_column(name, position)) for name in primary]
        if primary and not part.optional and all(identity in plain for identity in wanted):
            found = tuple(plain[identity] for identity in wanted)
            return (
                "key-from-contract",
                f"rows are replaced by the primary key of {part.table} ({', '.join(found)})",
                found,
            )
    reason = (
        "it has no GROUP BY and no key; declare `key`, columns of its result by which rows can be replaced"
    )
    raise RefusedError("key-missing", reason)


def _column(name: str, position: int) -> exp.Column:
    return exp.column(
        exp.to_identifier(name, quoted=True), table=exp.to_identifier(str(position), quoted=True)
    )


def _references(block: Block, scope: _Scope) -> dict[int, frozenset[int]]:
    """Tables that the conditions read; only left joins make it matter."""
    references: dict[int, frozenset[int]] = {}
    for position, part in enumerate(block.parts):
        read = scope.tables(part.condition_node) if part.condition_node is not None else frozenset[int]()
        if part.using:
            read |= frozenset(range(position + 1))
        references[position] = read
    references[-1] = scope.tables(block.where_node) if block.where_node is not None else frozenset()
    return references
