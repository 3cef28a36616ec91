"""Which tables a query names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from df_runtime._names import TableName
from df_runtime.errors import DatasetNameError

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

_WORD = re.compile(r"\w+")
FUNCTIONS_OF_TABLES = frozenset({"changes", "delta_files", "delta_history"})
"""Table functions whose first argument is the name of a table."""


def table_references(
    query: str, known: Iterable[TableName], read_name: Callable[[str], TableName]
) -> tuple[frozenset[TableName], bool]:
    """Find the known tables that a query names.

    Returns
    -------
    tuple of frozenset of TableName and bool
        The tables, and whether that is exact. Where the text is beyond the parser, every table counts whose
        name occurs in it.
    """
    written = _written_names(query)
    if written is None:
        return mentioned(query, known), False
    found: set[TableName] = set()
    for text in written:
        try:
            found.add(read_name(text))
        except DatasetNameError:  # the engine's own schema
            continue
    return frozenset(found.intersection(known)), True


def mentioned(query: str, known: Iterable[TableName]) -> frozenset[TableName]:
    """Find the known tables whose name occurs anywhere in the text: all that it names, and perhaps more."""
    text = Text(query)
    return frozenset(name for name in known if text.mentions(needle(name.table)))


def needle(name: str) -> str:
    """Return what any mention of a table, or schema, contains, in lower case."""
    return name.lower().replace('"', '""')


class Text:
    """A text to be asked for names, with no need to parse it."""

    def __init__(self, query: str) -> None:
        self._text = query.lower()
        self._words = frozenset(_WORD.findall(self._text))

    def mentions(self, needle: str) -> bool:
        """Whether a needle occurs: as a word of its own if it is one."""
        return needle in self._words or (needle in self._text and _WORD.fullmatch(needle) is None)


def column_aliases(query: str) -> set[str]:
    """Find the names that a query gives to its columns; none where the text is beyond the parser."""
    tree = _parsed(query)
    if tree is None:
        return set()
    from sqlglot import exp

    return {alias.alias for alias in tree.find_all(exp.Alias) if alias.alias}


def _parsed(query: str) -> Expr | None:
    # Only views and refused queries are parsed here, so a session that has neither does not pay the import.
    import sqlglot

    from df_runtime._dialect import ENGINE

    try:
        # Others log the texts that they cannot read.
        return sqlglot.parse_one(query, dialect=ENGINE)
    except Exception:  # noqa: BLE001 - odd texts break the parser in ways it does not foresee
        return None


def _written_names(query: str) -> set[str] | None:
    tree = _parsed(query)
    if tree is None:
        return None
    from sqlglot import exp
    from sqlglot.errors import OptimizeError
    from sqlglot.optimizer.scope import traverse_scope

    try:
        sources = [source for scope in traverse_scope(tree) for source in scope.sources.values()]
    except (OptimizeError, RecursionError):
        return None
    tables = [source for source in sources if isinstance(source, exp.Table)]
    names = {".".join(_written(part) for part in table.parts) for table in tables}
    return names.union(*(_named_in_call(table.this) for table in tables))


def _named_in_call(part: Expr) -> set[str]:
    """Find the table that a call of one of our table functions is about."""
    from sqlglot import exp

    if not isinstance(part, exp.Anonymous) or part.name.lower() not in FUNCTIONS_OF_TABLES:
        return set()
    return {each.name for each in part.expressions[:1] if each.is_string}


def _written(part: Expr) -> str:
    # A function in place of a table has a part that is no identifier, and gets no name.
    from sqlglot import exp

    if not isinstance(part, exp.Identifier):
        return ""
    return '"' + part.name.replace('"', '""') + '"' if part.args.get("quoted") else part.name
