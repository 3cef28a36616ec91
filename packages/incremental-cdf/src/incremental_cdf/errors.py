"""What can go wrong while views are kept current.

IncrementalError                    incremental-error
├── ViewDefinitionError             incremental-view-invalid
│   ├── ViewSyntaxError             incremental-view-syntax
│   ├── ViewQueryError              incremental-view-query
│   ├── ViewColumnsError            incremental-view-columns
│   ├── ViewKeyError                incremental-view-key
│   ├── ViewCycleError              incremental-view-cycle
│   ├── SourceUnknownError          incremental-source-unknown
│   └── SourceUnsupportedError      incremental-source-unsupported
├── ViewUnknownError                incremental-view-unknown
├── ViewUnbuiltError                incremental-view-unbuilt
├── TargetError                     incremental-target-foreign
├── PlanStaleError                  incremental-plan-stale
├── StrictRefreshError              incremental-strict
├── RefreshConflictError            incremental-conflict
└── RefreshFailedError              incremental-refresh-failed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from incremental_cdf.report import RefreshReport


class IncrementalError(Exception):
    """Base of every error of this package.

    Parameters
    ----------
    message : str
        What failed, what was found and what to do. The code is appended when the error is printed.

    Attributes
    ----------
    code : str
        A stable identifier to branch on; messages may change, codes do not.
    """

    code: ClassVar[str] = "incremental-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class ViewDefinitionError(IncrementalError, ValueError):
    """A view is defined in a way that cannot be kept; nothing was written.

    Parameters
    ----------
    message : str
        What failed, what was found and what to do.
    view : str
        Name of the view at fault.
    line, column : int, optional
        Position in the text of the view's query, counted from 1; None where it is not known.
    suggestions : tuple of str, optional
        Known names that are close to the one not found.
    """

    code = "incremental-view-invalid"

    def __init__(
        self,
        message: str,
        *,
        view: str = "",
        line: int | None = None,
        column: int | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.view = view
        self.line = line
        self.column = column
        self.suggestions = suggestions


class ViewSyntaxError(ViewDefinitionError):
    """The text of a view is not one SQL query."""

    code = "incremental-view-syntax"


class ViewQueryError(ViewDefinitionError):
    """The engine refused the query of a view; its own error is the cause."""

    code = "incremental-view-query"


class ViewColumnsError(ViewDefinitionError):
    """A view's result has columns that no Delta table can hold under their names or types."""

    code = "incremental-view-columns"


class ViewKeyError(ViewDefinitionError):
    """The declared key of a view names columns that its result does not have."""

    code = "incremental-view-key"


class ViewCycleError(ViewDefinitionError):
    """Views read each other in a circle.

    Parameters
    ----------
    message : str
        What failed, what was found and what to do.
    cycle : tuple of str
        Names of the views, in the order in which each reads the next; the first is repeated at the end.
    """

    code = "incremental-view-cycle"

    def __init__(self, message: str, *, cycle: tuple[str, ...]) -> None:
        super().__init__(message, view=cycle[0])
        self.cycle = cycle


class SourceUnknownError(ViewDefinitionError):
    """A view reads a name that is neither a view nor registered in the session."""

    code = "incremental-source-unknown"


class SourceUnsupportedError(ViewDefinitionError):
    """A view reads something that has no contents of its own to pin, such as a one-shot stream."""

    code = "incremental-source-unsupported"


class ViewUnknownError(IncrementalError, KeyError):
    """No view has the name asked for."""

    code = "incremental-view-unknown"


class ViewUnbuiltError(IncrementalError):
    """A view has no table yet, so there is nothing to verify."""

    code = "incremental-view-unbuilt"


class TargetError(IncrementalError):
    """The place for a view's table holds a table that no view wrote; it is left alone."""

    code = "incremental-target-foreign"


class PlanStaleError(IncrementalError):
    """A plan was made for other views or other definitions than the ones to be refreshed."""

    code = "incremental-plan-stale"


class StrictRefreshError(IncrementalError):
    """A view that must not be recomputed in full can be refreshed in no other way."""

    code = "incremental-strict"


class RefreshConflictError(IncrementalError):
    """Other writers kept changing a view's table, so that no attempt to commit succeeded."""

    code = "incremental-conflict"


class RefreshFailedError(IncrementalError):
    """Some views could not be refreshed; the others were.

    Parameters
    ----------
    message : str
        What failed, for each view.
    report : RefreshReport
        What happened to every view.
    failures : Mapping of str to Exception
        The error of each view that failed, by name.
    """

    code = "incremental-refresh-failed"

    def __init__(self, message: str, *, report: RefreshReport, failures: Mapping[str, Exception]) -> None:
        super().__init__(message)
        self.report = report
        self.failures = dict(failures)
