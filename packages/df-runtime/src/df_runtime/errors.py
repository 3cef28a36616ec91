"""What can go wrong in a session.

Each class has a stable ``code``::

    DfRuntimeError                   runtime-error
    ├── ArgumentError                runtime-argument
    ├── ProfileError                 profile-invalid
    ├── SessionClosedError           session-closed
    ├── DependencyError              runtime-dependency-missing
    ├── FunctionError                function-invalid
    ├── MetadataOffError             runtime-metadata-off
    ├── DatasetError                 dataset-invalid
    │   ├── DatasetNameError         dataset-name-invalid
    │   ├── DatasetUnknownError      dataset-unknown
    │   ├── DatasetSourceError       dataset-source-invalid
    │   ├── DatasetUnsupportedError  dataset-unsupported
    │   └── ViewCycleError           dataset-view-cycle
    ├── SqlError                     sql-invalid
    │   ├── SqlSyntaxError           sql-syntax
    │   ├── MultipleStatementsError  sql-multiple-statements
    │   ├── UnknownTableError        sql-table-unknown
    │   ├── UnknownColumnError       sql-column-unknown
    │   ├── UnknownFunctionError     sql-function-unknown
    │   ├── SqlTypeError             sql-type
    │   ├── SqlUnsupportedError      sql-unsupported
    │   ├── ParameterError           sql-parameter
    │   ├── PreparedError            sql-prepared
    │   └── PolicyError              sql-not-allowed
    │       ├── SqlLimitError        sql-limit
    │       └── SqlUnreadableError   sql-unreadable
    ├── ExpressionError              ibis-expression
    ├── SubstraitError               substrait-invalid
    ├── PlanBytesError               plan-bytes-invalid
    └── ExecutionError               query-failed
        ├── ResourceError            query-resources
        ├── ResultSizeError          query-result-size
        ├── QueryLimitError          query-limit
        ├── QueryTimeoutError        query-timeout
        ├── StreamConsumedError      query-stream-consumed
        └── CancelledError           query-cancelled
"""

from __future__ import annotations

from typing import ClassVar


class DfRuntimeError(Exception):
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

    code: ClassVar[str] = "runtime-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between processes; constructors take more than `args` holds.
        return _rebuilt, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        space = "" if self.message.endswith("\n") else " "
        return f"{self.message}{space}[{self.code}]"


def _rebuilt(kind: type[DfRuntimeError], arguments: tuple[object, ...]) -> DfRuntimeError:
    return kind.__new__(kind, *arguments)


class ArgumentError(DfRuntimeError, TypeError):
    """An argument is of a type that the call does not take."""

    code = "runtime-argument"


class ProfileError(DfRuntimeError, ValueError):
    """A runtime profile has a value that no session can be opened with."""

    code = "profile-invalid"


class SessionClosedError(DfRuntimeError):
    """A session was used after it was closed."""

    code = "session-closed"


class DependencyError(DfRuntimeError, ImportError):
    """An optional package that the call needs is not installed."""

    code = "runtime-dependency-missing"


class FunctionError(DfRuntimeError, ValueError):
    """A Python function cannot be made one of SQL's."""

    code = "function-invalid"


class MetadataOffError(DfRuntimeError):
    """The profile switches `information_schema` off, and the call needs it."""

    code = "runtime-metadata-off"


class DatasetError(DfRuntimeError):
    """A dataset could not be registered or resolved."""

    code = "dataset-invalid"


class DatasetNameError(DatasetError, ValueError):
    """A dataset name is empty or names the engine's own schema."""

    code = "dataset-name-invalid"


class DatasetUnknownError(DatasetError, KeyError):
    """No dataset is registered under the name."""

    code = "dataset-unknown"


class DatasetSourceError(DatasetError, TypeError):
    """What was given to `Session.register` is no dataset, or its options contradict it."""

    code = "dataset-source-invalid"


class DatasetUnsupportedError(DatasetError):
    """The engine cannot scan the dataset without the risk of a wrong answer."""

    code = "dataset-unsupported"


class ViewCycleError(DatasetError):
    """A view would read itself."""

    code = "dataset-view-cycle"


class SqlError(DfRuntimeError, ValueError):
    """The text of a query was refused before it ran.

    Parameters
    ----------
    message : str
        What failed, with the caret line where the position is known.
    query : str, optional
        The text of the query.
    line, column : int, optional
        Position in the text, counted from 1; None where it is not known.
    suggestions : tuple of str, optional
        Names in scope that are close to the one not found, as SQL needs them written.
    """

    code = "sql-invalid"

    def __init__(
        self,
        message: str,
        *,
        query: str = "",
        line: int | None = None,
        column: int | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.query = query
        self.line = line
        self.column = column
        self.suggestions = suggestions


class SqlSyntaxError(SqlError):
    """The text is not SQL."""

    code = "sql-syntax"


class MultipleStatementsError(SqlError):
    """The text holds more than one statement."""

    code = "sql-multiple-statements"


class UnknownTableError(SqlError):
    """The query names a table that is not registered."""

    code = "sql-table-unknown"


class UnknownColumnError(SqlError):
    """The query names a column that no table in scope has."""

    code = "sql-column-unknown"


class AmbiguousColumnError(SqlError):
    """The query names a column that several tables in scope have."""

    code = "sql-column-ambiguous"


class UnknownFunctionError(SqlError):
    """The query calls a function that the engine does not have."""

    code = "sql-function-unknown"


class SqlTypeError(SqlError):
    """The query combines types that do not go together."""

    code = "sql-type"


class SqlUnsupportedError(SqlError):
    """The query is valid SQL that the engine does not implement."""

    code = "sql-unsupported"


class ParameterError(SqlError):
    """A parameter is missing, unused, or has a value that is no Arrow value."""

    code = "sql-parameter"


class PreparedError(SqlError):
    """No statement is prepared under the name, or one is already."""

    code = "sql-prepared"


class PolicyError(SqlError):
    """The policy of the session or of the call does not allow the statement."""

    code = "sql-not-allowed"


class SqlLimitError(PolicyError):
    """The text is longer than the policy allows, or nested deeper than can be planned."""

    code = "sql-limit"


class SqlUnreadableError(PolicyError):
    """The engine can read the text and the gate cannot, so the policy cannot be held against it."""

    code = "sql-unreadable"


class ExpressionError(DfRuntimeError, ValueError):
    """An Ibis expression needs what the engine does not have, or reads tables of another backend."""

    code = "ibis-expression"


class SubstraitError(DfRuntimeError, ValueError):
    """Bytes are no Substrait plan, or one that this engine cannot understand."""

    code = "substrait-invalid"


class PlanBytesError(DfRuntimeError, ValueError):
    """A plan cannot be written as bytes, or bytes are no plan that this session can run."""

    code = "plan-bytes-invalid"


class ExecutionError(DfRuntimeError):
    """A query failed while it ran."""

    code = "query-failed"


class ResourceError(ExecutionError):
    """A query needed more memory or spill space than the profile grants."""

    code = "query-resources"


class ResultSizeError(ExecutionError):
    """A result is larger than what may be collected in memory.

    Parameters
    ----------
    message : str
    rows, batches, bytes_ : int
        How much had been read when the limit was passed.
    """

    code = "query-result-size"

    def __init__(self, message: str, *, rows: int, batches: int, bytes_: int) -> None:
        super().__init__(message)
        self.rows = rows
        self.batches = batches
        self.bytes = bytes_


class QueryLimitError(ExecutionError):
    """A result has more rows than the policy allows."""

    code = "query-limit"


class QueryTimeoutError(ExecutionError):
    """A query ran longer than the policy or the profile allows."""

    code = "query-timeout"


class StreamConsumedError(ExecutionError):
    """A one-shot stream was scanned a second time."""

    code = "query-stream-consumed"


class CancelledError(ExecutionError):
    """A query was cancelled before it finished."""

    code = "query-cancelled"
