"""What a refresh or a verification did, as data."""

from __future__ import annotations

from typing import Any

import msgspec

from incremental_cdf.errors import ViewUnknownError
from incremental_cdf.plan import Estimates, SqlStep, Strategy


class ViewReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refresh did with one view.

    Parameters
    ----------
    name : str
        The view.
    strategy : {"none", "affected_keys", "full"}
        What was done; `none` if nothing was, for whatever reason.
    code : str
        Stable identifier of the reason, or of the error.
    reason : str
        Why, in one sentence.
    sources : dict of str to int or None
        Version of each source that the view's table now shows; None for data in memory.
    rows_in : int
        Rows that went in: changed rows of the sources for `affected_keys`, all of their rows for `full`.
    rows_changed : int
        Rows that appeared in the view's table plus rows that disappeared from it.
    bytes_read : int
        Bytes that the queries scanned.
    seconds : float
        Time taken.
    commit_version : int, optional
        Version of the view's table that the refresh made; None if it committed nothing.
    attempts : int
        How often the view was planned and run; more than once after losing a race against another refresh.
    steps : tuple of SqlStep
        The queries that ran.
    estimates : Estimates, optional
        Costs as estimated before.
    error : str, optional
        What went wrong; nothing was written to the view then.
    """

    name: str
    strategy: Strategy
    code: str
    reason: str
    sources: dict[str, int | None] = {}
    rows_in: int = 0
    rows_changed: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    commit_version: int | None = None
    attempts: int = 1
    steps: tuple[SqlStep, ...] = ()
    estimates: Estimates | None = None
    error: str | None = None


class RefreshReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refresh did.

    Parameters
    ----------
    views : tuple of ViewReport
        One for each view, in the order in which they were refreshed.
    seconds : float
        Time taken by all of them.
    """

    views: tuple[ViewReport, ...]
    seconds: float = 0.0

    def view(self, name: str) -> ViewReport:
        """Return the report on one view.

        Parameters
        ----------
        name : str

        Returns
        -------
        ViewReport

        Raises
        ------
        ViewUnknownError
            The report has no such view.
        """
        for view in self.views:
            if view.name == name:
                return view
        known = ", ".join(view.name for view in self.views) or "none"
        raise ViewUnknownError(f"The report has no view {name}; it has: {known}.")

    def to_json(self) -> str:
        """Write the report as JSON.

        Returns
        -------
        str
        """
        return msgspec.json.encode(self).decode()


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view's table compared with the result of its query at the source versions that it claims to show.

    Parameters
    ----------
    name : str
        The view.
    view_version : int
        Version of the view's table.
    sources : dict of str to int
        Versions of the sources at which the query was run.
    rows : int
        Rows of the recomputed result.
    missing, extra : int
        Rows that the table lacks, and rows that it has too many.
    close : int
        Pairs of rows that differ in floating-point columns only, by no more than rounding; they count as
        equal.
    missing_rows, extra_rows : tuple of dict
        The first few of each.
    seconds : float
        Time taken.
    """

    name: str
    view_version: int
    sources: dict[str, int]
    rows: int
    missing: int
    extra: int
    close: int = 0
    missing_rows: tuple[dict[str, Any], ...] = ()
    extra_rows: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the table holds exactly the rows of the result."""
        return not self.missing and not self.extra

    def to_json(self) -> str:
        """Write the verification as JSON; values that JSON does not have are written as text.

        Returns
        -------
        str
        """
        return msgspec.json.encode({"ok": self.ok} | msgspec.to_builtins(self, enc_hook=str)).decode()
