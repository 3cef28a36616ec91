"""Errors of this package.

::

    FreshlakeError                    anything that stops a command; exit code 1
    ├── InputError                    the input is wrong; exit code 2
    │   ├── CommandLineError          command-line              a command line that cannot be understood
    │   ├── ProjectMissingError       project-missing           there is no freshlake.toml
    │   ├── ProjectSyntaxError        project-syntax            not UTF-8 or not TOML
    │   ├── ProjectKeyError           project-key               a key that is unknown or absent
    │   ├── ProjectValueError         project-value             a key with a value that cannot be used
    │   ├── ProjectNameError          project-name              a name that is taken twice or cannot be one
    │   ├── ContractError             project-contract          a contract that cannot be used
    │   ├── TableInputError           project-table             a declared table that is missing or not Delta
    │   ├── ViewFileError             view-file                 a view's file or header that cannot be used
    │   │   └── PythonViewError       view-python-unsupported   a view in Python
    │   ├── ViewTargetError           view-target-not-delta     something else where a view is kept
    │   ├── ViewQueryError            view-query                a view's query that does not parse or bind
    │   ├── SelectionError            selection-unknown         a name that the project does not have
    │   ├── QueryInputError           query-input               a query that cannot be answered as asked
    │   │   ├── RepeatedColumnsError  query-columns-repeated    columns that no JSON object can hold
    │   │   └── ViewNotRefreshedError view-not-refreshed        a view that has no rows yet
    │   ├── InitError                 init-not-empty            a directory that already holds something
    │   ├── IngestEntryError          ingest-entry              an ingest entry that cannot be loaded
    │   └── IngestInputError          ingest-input              bad input given to an ingest step
    ├── IngestFailedError             ingest-failed             an ingest step that failed
    ├── InterruptedRunError           freshlake-interrupted     a command that the user stopped
    └── UnexpectedError               freshlake-unexpected      a defect of this package

An error that passes on one of a package below keeps that package's more exact code, such as ``sql-syntax``.
"""

from __future__ import annotations

from typing import ClassVar


class FreshlakeError(Exception):
    """Anything that stops a command.

    Parameters
    ----------
    message : str
        What failed, what was found, what to do.
    file : str, optional
        The file at fault, as the user would open it.
    line, column : int, optional
        Where in the file, counted from 1.
    excerpt : str, optional
        The line at fault with a caret below, to print under the message.
    code : str, optional
        A code more exact than that of the class.
    suggestions : tuple of str
        Names close to one that was not found, the closest first.
    """

    code: str = "freshlake-failed"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        excerpt: str | None = None,
        code: str | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.excerpt = excerpt
        self.suggestions = suggestions
        if code is not None:
            self.code = code

    @property
    def location(self) -> str:
        """``file:line:column`` as far as known, or an empty string.

        Returns
        -------
        str
        """
        if self.file is None:
            return ""
        parts = (part for part in (self.line, self.column) if part is not None)
        return ":".join((self.file, *map(str, parts)))

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}{self.message} [{self.code}]"


class InputError(FreshlakeError):
    """The input is wrong; nothing was written for it."""

    code = "freshlake-input"
    exit_code: ClassVar[int] = 2


class CommandLineError(InputError):
    """A command line that cannot be understood."""

    code = "command-line"


class ProjectMissingError(InputError):
    """There is no project file."""

    code = "project-missing"


class ProjectSyntaxError(InputError):
    """A file of the project is not UTF-8 or not TOML."""

    code = "project-syntax"


class ProjectKeyError(InputError):
    """A key that is unknown, or absent though required."""

    code = "project-key"


class ProjectValueError(InputError):
    """A key with a value that cannot be used."""

    code = "project-value"


class ProjectNameError(InputError):
    """A name that is taken twice, or that cannot name a table or view."""

    code = "project-name"


class ContractError(InputError):
    """A contract that cannot be used."""

    code = "project-contract"


class TableInputError(InputError):
    """A declared table that is not there, not Delta, or not readable as declared."""

    code = "project-table"


class ViewFileError(InputError):
    """A view file, or its header, that cannot be used."""

    code = "view-file"


class PythonViewError(ViewFileError):
    """A view written in Python, which is not supported."""

    code = "view-python-unsupported"


class ViewTargetError(InputError):
    """Something other than a Delta table lies where a view is kept."""

    code = "view-target-not-delta"


class ViewQueryError(InputError):
    """A view's query that does not parse, or that names what is not there."""

    code = "view-query"


class SelectionError(InputError):
    """A name asked for that the project does not have."""

    code = "selection-unknown"


class QueryInputError(InputError):
    """A query that cannot be answered as asked."""

    code = "query-input"


class RepeatedColumnsError(QueryInputError):
    """Columns of one name, which no JSON object can hold."""

    code = "query-columns-repeated"


class ViewNotRefreshedError(QueryInputError):
    """A view that was not refreshed yet, so that it has no rows to read."""

    code = "view-not-refreshed"


class InitError(InputError):
    """A directory for a project that already holds something."""

    code = "init-not-empty"


class IngestEntryError(InputError):
    """An ingest entry that cannot be loaded or called."""

    code = "ingest-entry"


class IngestInputError(InputError):
    """Bad input given to an ingest step; raise it from the step before it writes."""

    code = "ingest-input"


class IngestFailedError(FreshlakeError):
    """An ingest step that failed; what it had committed stays, and views were not refreshed."""

    code = "ingest-failed"


class InterruptedRunError(FreshlakeError):
    """A command that the user stopped; what it had committed stays."""

    code = "freshlake-interrupted"
    exit_code: ClassVar[int] = 130


class UnexpectedError(FreshlakeError):
    """A defect of this package."""

    code = "freshlake-unexpected"
