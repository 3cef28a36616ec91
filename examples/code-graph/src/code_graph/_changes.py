"""What a run has to replace, given what the tables hold and what the tree holds. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

from code_graph._columns import LAYOUT

FILES = "files"
DETAIL_TABLES = tuple(table for table in LAYOUT if table != FILES)
"""The tables that `files` vouches for."""

FileRow: TypeAlias = tuple[Any, ...]
"""A row of `files`, its values in the order of its columns."""

_COLUMN = {name: index for index, name in enumerate(LAYOUT[FILES])}
_SHORTEST_RANGE = 3


def digest(row: FileRow, table: str) -> str | None:
    """Give the digest of a file's rows in another table, None where it has none."""
    found: str | None = row[_COLUMN[f"{table}_digest"]]
    return found


def status(row: FileRow) -> str:
    """Give a file's status: `ok`, or why it has no rows."""
    found: str = row[_COLUMN["status"]]
    return found


def is_current(row: FileRow, sha256: str, extractor: str) -> bool:
    """Say whether a file's rows are those of these bytes."""
    return row[_COLUMN["sha256"]] == sha256 and row[_COLUMN["extractor"]] == extractor


@dataclass
class LakeState:
    """What the tables hold.

    Attributes
    ----------
    files : dict of str to tuple
        Rows of `files` by path.
    touched : dict of str to set of str or None
        Per other table the paths whose rows `files` does not vouch for, None where that may be all.
    """

    files: dict[str, FileRow] = field(default_factory=dict)
    touched: dict[str, set[str] | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether `files` vouches for at least a part of every other table."""
        return all(paths is not None for paths in self.touched.values())

    def doubtful(self) -> set[str]:
        """Paths that have to be extracted whatever their files hold."""
        if not self.is_whole:
            return set(self.files)
        return set().union(*(paths for paths in self.touched.values() if paths is not None))


@dataclass
class Replacement:
    """What happens to one table.

    Attributes
    ----------
    predicate : str or None
        SQL condition on the rows to remove; None where all are, or none.
    mode : {"append", "overwrite", "none"}
        How rows are written.
    kept : set of str
        Paths whose extracted rows are the ones that the table holds.
    """

    mode: str
    predicate: str | None
    kept: set[str]


def plan_details(
    table: str, state: LakeState, new: Mapping[str, FileRow], gone: Collection[str]
) -> Replacement:
    """Plan the replacement of rows in a table other than `files`.

    Parameters
    ----------
    table : str
        One of `DETAIL_TABLES`.
    state : LakeState
        What the tables hold.
    new : Mapping of str to tuple
        Rows of `files` by path, as extracted.
    gone : Collection of str
        Paths that the tree does not hold any more.

    Returns
    -------
    Replacement
        With mode `none` where the table stays as it is.
    """
    touched = state.touched.get(table, set())
    if touched is None:
        return Replacement("overwrite", None, set())
    kept = {
        path
        for path, row in new.items()
        if path not in touched
        and path in state.files
        and digest(state.files[path], table) == digest(row, table)
    }
    held = {path for path, row in state.files.items() if digest(row, table) is not None} | touched
    removed = (held & (set(new) | set(gone))) - kept
    written = {path for path, row in new.items() if path not in kept and digest(row, table) is not None}
    return _replacement(held, removed, written, kept)


def plan_files(state: LakeState, new: Mapping[str, FileRow], gone: Collection[str]) -> Replacement:
    """Plan the replacement of rows in `files`; parameters as in `plan_details`."""
    kept = {
        path for path, row in new.items() if state.files.get(path) == row and path not in state.doubtful()
    }
    removed = set(state.files) & ((set(new) - kept) | set(gone))
    return _replacement(set(state.files), removed, set(new) - kept, kept)


def _replacement(held: set[str], removed: set[str], written: set[str], kept: set[str]) -> Replacement:
    if not removed:
        return Replacement("append" if written else "none", None, kept)
    if removed == held:
        return Replacement("overwrite", None, kept)
    # Rows written under a predicate have to satisfy it, those of paths that were not there before as well.
    return Replacement("overwrite", path_predicate(held | written, removed | written), kept)


def path_predicate(paths: Collection[str], chosen: Collection[str]) -> str:
    """Write a condition that holds for some among all the paths of a table.

    Neighbours become ranges, so that a directory costs one comparison and not one for each file.

    Parameters
    ----------
    paths : Collection of str
        All of them.
    chosen : Collection of str
        Some of them, at least one.

    Returns
    -------
    str
        SQL.

    Examples
    --------
    >>> path_predicate(["a", "b", "c", "d", "e"], ["a", "b", "c", "e"])
    "path BETWEEN 'a' AND 'c' OR path IN ('e')"
    """
    ranges: list[str] = []
    singles: list[str] = []
    for is_chosen, group in groupby(sorted(paths), key=set(chosen).__contains__):
        neighbours = list(group)
        if is_chosen and len(neighbours) >= _SHORTEST_RANGE:
            ranges.append(f"path BETWEEN {_quoted(neighbours[0])} AND {_quoted(neighbours[-1])}")
        elif is_chosen:
            singles += map(_quoted, neighbours)
    terms = [*ranges, f"path IN ({', '.join(singles)})"] if singles else ranges
    return _any_of(terms)


def _any_of(terms: list[str]) -> str:
    """Join conditions as a balanced tree; a chain of thousands would exhaust the engine's stack."""
    if len(terms) <= 8:
        return " OR ".join(terms)
    middle = len(terms) // 2
    return f"({_any_of(terms[:middle])}) OR ({_any_of(terms[middle:])})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
