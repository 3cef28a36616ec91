"""The error that the engine raises.

::

    Exception
    └── EngineError      code tells the kinds apart
"""

from __future__ import annotations

__all__ = ["EngineError"]


class EngineError(Exception):
    """A query, registration or scan failed.

    Parameters
    ----------
    message : str
        What failed.
    code : str
        The stable kind of failure, such as ``engine-column-unknown``.
    line, column : int, optional
        The place in the SQL text, counted from 1.
    name : str, optional
        The table, column, function or setting that the message is about.

    Attributes
    ----------
    scope : tuple of (str or None, str)
        Where a column is unknown: the tables and names of those that stand in its place, as far as the engine
        tells.

    Examples
    --------
    >>> from datafusion_ext import Engine
    >>> try:
    ...     Engine().sql("SELECT 1 AS one FROM nowhere")
    ... except EngineError as error:
    ...     error.code, error.line, error.column, error.name
    ('engine-table-unknown', 1, 22, 'nowhere')
    """

    def __init__(
        self,
        message: str,
        code: str = "engine-execution",
        line: int | None = None,
        column: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(message, code, line, column, name)
        self.message = message
        self.code = code
        self.line = line
        self.column = column
        self.name = name
        self.scope: tuple[tuple[str | None, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"
