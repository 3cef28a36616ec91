"""What a refresh is going to do, as data."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from incremental_cdf.errors import ViewUnknownError

Strategy: TypeAlias = Literal["none", "affected_keys", "full"]
SourceState: TypeAlias = Literal["new", "unchanged", "changed", "pending", "unversioned"]


class SqlStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One query of a refresh.

    Parameters
    ----------
    name : str
        What the step is for: `keys` finds the affected keys, `rows` computes rows, `difference` compares them
        with the stored ones, `changed_keys` finds the keys whose rows differ, `replacement` the rows to write
        for them. With a key of several columns and many changed keys, `sharing` finds a column that can stand
        for the key, and `replacement_by_N` takes the place of `replacement`.
    sql : str
        What the engine runs. Besides the names of the view's query it reads `"NAME@old"`, `"NAME@new"` and
        `"NAME@changed"`, the rows of a source before, after and in between, and `"@STEP"`, the rows of an
        earlier step.
    """

    name: str
    sql: str


class SourcePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a view between its last refresh and the next.

    Parameters
    ----------
    name : str
        Name of the source as SQL writes it.
    kind : {"table", "view", "data"}
        A Delta table, a view of the same set, or data in memory, which has no versions.
    state : {"new", "unchanged", "changed", "pending", "unversioned"}
        `new` was never consumed; `pending` is a view that is itself refreshed before.
    old : int, optional
        Version consumed by the last refresh.
    new : int, optional
        Version to be consumed; None for pending sources and for data in memory.
    table_id : str, optional
        Identifier of the Delta table.
    changed_rows : int, optional
        Rows that appeared or disappeared in between; an upper bound unless the view's estimates say `exact`.
    rows, bytes : int, optional
        Size of the source at the version to be consumed.
    """

    name: str
    kind: Literal["table", "view", "data"]
    state: SourceState
    old: int | None = None
    new: int | None = None
    table_id: str | None = None
    changed_rows: int | None = None
    rows: int | None = None
    bytes: int | None = None


class Estimates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the strategies are estimated to cost, in bytes read and written.

    Parameters
    ----------
    changed_rows : int
        Changed rows of all sources together.
    exact : bool
        Whether changed rows were counted; otherwise they are an upper bound.
    full_bytes : int
        Cost of recomputing the view.
    affected_keys_bytes : int
        Cost of recomputing the rows with affected keys.
    break_even_rows : int
        Number of changed rows from which recomputing the view costs less; 0 if it always does.
    """

    changed_rows: int
    exact: bool
    full_bytes: int
    affected_keys_bytes: int
    break_even_rows: int


class ViewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refresh is going to do with one view.

    Parameters
    ----------
    name, target : str
        The view and its table.
    strategy : {"none", "affected_keys", "full"}
        How the view is brought up to date.
    code : str
        Stable identifier of the reason.
    reason : str
        Why this strategy, in one sentence.
    definition : str
        Hash of the view's query.
    refused : bool
        Whether the view's refresh mode forbids the strategy, so that refreshing it is an error.
    view_version : int, optional
        Version of the view's table that the plan starts from; None if there is no table.
    sources : tuple of SourcePlan
        What the view reads, in alphabetical order.
    key : tuple of str
        Columns of the result by which rows are replaced.
    steps : tuple of SqlStep
        The queries, in the order in which they run.
    estimates : Estimates, optional
        Costs, where strategies were compared.
    """

    name: str
    target: str
    strategy: Strategy
    code: str
    reason: str
    definition: str
    refused: bool = False
    view_version: int | None = None
    sources: tuple[SourcePlan, ...] = ()
    key: tuple[str, ...] = ()
    steps: tuple[SqlStep, ...] = ()
    estimates: Estimates | None = None

    def step(self, name: str) -> str:
        """Return the SQL of a step.

        Parameters
        ----------
        name : str

        Returns
        -------
        str

        Raises
        ------
        KeyError
            The plan has no such step.
        """
        for step in self.steps:
            if step.name == name:
                return step.sql
        raise KeyError(name)


class RefreshPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refresh is going to do.

    Parameters
    ----------
    views : tuple of ViewPlan
        One for each view, in the order in which they are refreshed.
    """

    views: tuple[ViewPlan, ...]

    def view(self, name: str) -> ViewPlan:
        """Return the plan of one view.

        Parameters
        ----------
        name : str

        Returns
        -------
        ViewPlan

        Raises
        ------
        ViewUnknownError
            The plan has no such view.
        """
        for view in self.views:
            if view.name == name:
                return view
        known = ", ".join(view.name for view in self.views) or "none"
        raise ViewUnknownError(f"The plan has no view {name}; it has: {known}.")

    def to_json(self) -> str:
        """Write the plan as JSON.

        Returns
        -------
        str
        """
        return msgspec.json.encode(self).decode()
