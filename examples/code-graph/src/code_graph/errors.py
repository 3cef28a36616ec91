"""Errors of this package.

::

    CodeGraphError                    the extraction stopped
    ├── SourceError                   source-missing      the source directory cannot be listed
    ├── OptionError                   option-invalid      an option that is unknown or of the wrong kind
    ├── TableMismatchError            table-mismatch      a table with other columns than its contract
    └── BusyError                     tables-busy         other writers kept changing the tables

A file that cannot be read or parsed is no error: it becomes a row of `diagnostics`.
"""

from __future__ import annotations

from freshlake import FreshlakeError, IngestInputError


class CodeGraphError(FreshlakeError):
    """The extraction stopped."""

    code = "code-graph-failed"


class SourceError(CodeGraphError, IngestInputError):
    """The source directory is not there or cannot be listed."""

    code = "source-missing"


class OptionError(CodeGraphError, IngestInputError):
    """An option is unknown or of the wrong kind."""

    code = "option-invalid"


class TableMismatchError(CodeGraphError, IngestInputError):
    """A table has other columns than its contract."""

    code = "table-mismatch"


class BusyError(CodeGraphError):
    """Other writers kept changing the tables while this run tried to."""

    code = "tables-busy"
