"""Errors of delta_io.

Each class has a stable ``code``; ``str(error)`` says what failed, what was found and what to do::

    DeltaIoError
    ├── TableNotFoundError       delta-table-not-found       nothing at that place
    ├── NotDeltaError            delta-not-a-table           something is there, but no Delta table
    ├── TableExistsError         delta-table-exists          a table that should not be there yet
    ├── VersionNotFoundError     delta-version-unknown       a version or time that the table cannot show
    ├── LogError                 delta-log-unreadable        a transaction log that cannot be understood
    ├── UnsupportedError         delta-unsupported           a feature or path this package cannot handle
    ├── FeatureError             delta-feature-refused       a feature that the environment's policy refuses
    ├── OptionError              delta-option-invalid        an argument that makes no sense
    ├── PredicateError           delta-predicate-invalid     SQL text that cannot be used as a predicate
    ├── SchemaMismatchError      delta-schema-mismatch       data or contract that does not fit the table
    ├── ConstraintError          delta-constraint-violated   rows that break a constraint of the table
    ├── ConflictError            delta-commit-conflict       another writer came first
    ├── TransactionAppliedError  delta-transaction-applied   the transaction id is in the table already
    ├── ChangesUnavailableError  delta-changes-unavailable   changes that can no longer be reconstructed
    └── StorageError             delta-storage               the storage refused or could not be reached
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ChangesUnavailableError",
    "ConflictError",
    "ConstraintError",
    "DeltaIoError",
    "FeatureError",
    "LogError",
    "NotDeltaError",
    "OptionError",
    "PredicateError",
    "SchemaMismatchError",
    "StorageError",
    "TableExistsError",
    "TableNotFoundError",
    "TransactionAppliedError",
    "UnsupportedError",
    "VersionNotFoundError",
]


class DeltaIoError(Exception):
    """Base of every error that delta_io raises.

    Parameters
    ----------
    what : str
        What failed.
    found : str, optional
        What was found instead.
    fix : str, optional
        What to do about it.

    Examples
    --------
    >>> error = TableNotFoundError(
    ...     "no table at /lake/orders", "the folder does not exist", "Create it first."
    ... )
    >>> str(error)
    'no table at /lake/orders; the folder does not exist. Create it first. [delta-table-not-found]'
    >>> error.code
    'delta-table-not-found'
    """

    code: ClassVar[str] = "delta-io-error"
    retryable: bool = False
    """Whether the same call may succeed when it is made again: after a conflict, or a passing fault."""

    def __init__(self, what: str, found: str = "", fix: str = "") -> None:
        self.what = what
        self.found = found
        self.fix = fix
        super().__init__(what, found, fix)

    def __str__(self) -> str:
        found = f"; {self.found}" if self.found else ""
        fix = f" {self.fix}" if self.fix else ""
        return f"{self.what}{found}.{fix} [{self.code}]"


class TableNotFoundError(DeltaIoError):
    """Nothing is stored at the place that was named."""

    code = "delta-table-not-found"


class NotDeltaError(DeltaIoError):
    """Something is stored at the place that was named, but no Delta table."""

    code = "delta-not-a-table"


class TableExistsError(DeltaIoError):
    """A table is there already."""

    code = "delta-table-exists"


class VersionNotFoundError(DeltaIoError):
    """The table cannot show the version or the point in time that was asked for."""

    code = "delta-version-unknown"


class LogError(DeltaIoError):
    """The transaction log cannot be understood."""

    code = "delta-log-unreadable"


class UnsupportedError(DeltaIoError):
    """A protocol feature, type or path that this package refuses rather than risk wrong rows."""

    code = "delta-unsupported"


class FeatureError(DeltaIoError):
    """The environment's policy refuses a protocol feature of the table, or misses one."""

    code = "delta-feature-refused"


class OptionError(DeltaIoError):
    """An argument that makes no sense."""

    code = "delta-option-invalid"


class PredicateError(DeltaIoError):
    """SQL text that cannot be used as a predicate here."""

    code = "delta-predicate-invalid"


class SchemaMismatchError(DeltaIoError):
    """Data, or a contract, that does not fit the table."""

    code = "delta-schema-mismatch"


class ConstraintError(DeltaIoError):
    """Rows that break a constraint of the table; nothing was written."""

    code = "delta-constraint-violated"


class ConflictError(DeltaIoError):
    """Another writer committed first, and this commit could not be placed on top; nothing was written."""

    code = "delta-commit-conflict"
    retryable = True


class TransactionAppliedError(DeltaIoError):
    """The table holds this transaction id at this version or a later one; nothing was written."""

    code = "delta-transaction-applied"


class ChangesUnavailableError(DeltaIoError):
    """The changes of a range of versions can no longer be reconstructed."""

    code = "delta-changes-unavailable"


class StorageError(DeltaIoError):
    """The storage refused, or could not be reached."""

    code = "delta-storage"
