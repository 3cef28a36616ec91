"""Histories of tables for property tests: what happened, and which rows each version holds.

Needs hypothesis (the extra ``testing``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from msgspec import Struct

from delta_io._bags import bag
from delta_io._machine import TableMachine
from delta_io._steps import KINDS, Kind, Row, Step, after, apply, contracts, fitted, steps
from delta_io.policy import CdfPolicy, WritePolicy
from delta_io.table import Table
from schema_spec import TableSpec

if TYPE_CHECKING:
    import os

    from delta_io.storage import StorageOptions

__all__ = ["History", "Played", "Step", "TableMachine", "bag", "histories"]


class Played(Struct, frozen=True, kw_only=True):
    """A history that happened.

    Parameters
    ----------
    table : Table
        The table, at its last version.
    versions : Mapping[int, list[dict]]
        Rows of each version, from a model in plain Python.
    readable_since : int
        First version whose data files have not been vacuumed.
    """

    table: Table
    versions: Mapping[int, list[Row]]
    readable_since: int = 0


class History(Struct, frozen=True, kw_only=True):
    """A contract, and what happens to a table of it.

    Parameters
    ----------
    spec : TableSpec
        The contract; its column ``k`` is a nullable long.
    steps : tuple[Step, ...]
        What happens.
    """

    spec: TableSpec
    steps: tuple[Step, ...]

    def play(
        self,
        uri: str | os.PathLike[str],
        *,
        cdf: bool = True,
        storage_options: StorageOptions | Mapping[str, str] | None = None,
    ) -> Played:
        """Let it happen to a new table.

        Parameters
        ----------
        uri : str or PathLike
            Where the table is made.
        cdf : bool, default True
            Whether the table keeps a change data feed.
        storage_options : Mapping[str, str], optional
            Options of the storage.

        Returns
        -------
        Played
            The table, and the rows that each version has to hold.
        """
        policy = WritePolicy(cdf=CdfPolicy(enabled=cdf))
        table = Table.create(uri, self.spec, policy=policy, storage_options=storage_options)
        versions: dict[int, list[Row]] = {0: []}
        since = 0
        for step in self.steps:
            last = max(versions)
            rows = after(step, versions)
            apply(step, table, last)
            rows = fitted(rows, table.snapshot().schema.names)
            since = last if step.kind == "vacuum" else since
            reached = table.snapshot().version
            versions.update(dict.fromkeys(range(last + 1, reached + 1), rows))
            if reached == last and bag(rows) != bag(versions[last]):
                raise AssertionError(f"{step.kind} committed nothing, but should have changed rows")
        return Played(table=table, versions=versions, readable_since=since)


@st.composite
def histories(
    draw: st.DrawFn, *, max_steps: int = 6, kinds: Sequence[Kind] | None = None, min_steps: int = 1
) -> History:
    """Return a strategy of table histories.

    Parameters
    ----------
    draw : DrawFn
        Given by hypothesis.
    max_steps, min_steps : int
        How much happens.
    kinds : Sequence[str], optional
        What may happen; when left out, all that leaves columns, feed and earlier versions alone.

    Returns
    -------
    SearchStrategy[History]
        Contracts of one to four columns and what happens to their tables.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(histories(), lambda history: any(step.rows for step in history.steps)).steps[0].kind
    'append'
    """
    contract = draw(contracts())
    allowed: tuple[Kind, ...] = tuple(kinds) if kinds else KINDS
    happenings = st.one_of([steps(kind, contract.row) for kind in allowed])
    drawn = draw(st.lists(happenings, min_size=min_steps, max_size=max_steps))
    return History(spec=contract.spec, steps=tuple(drawn))
