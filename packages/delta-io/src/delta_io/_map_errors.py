"""What deltalake's errors mean: it tells many apart by text only, and the texts are known only here."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import pyarrow as pa
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
)
from deltalake.exceptions import (
    SchemaMismatchError as DeltaSchemaMismatch,
)
from deltalake.exceptions import (
    TableNotFoundError as DeltaTableNotFound,
)
from obstore.exceptions import BaseError as ObjectError

from delta_io import errors
from delta_io.storage import MASK

if TYPE_CHECKING:
    from delta_io.storage import Location

_PREVIEW: Final = re.compile(r"(\d+) rows failed validation check")
_NO_COLUMN: Final = re.compile(r"No field named (.+?)\.")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_QUOTED: Final = re.compile(r"'[^']*'")
_OF_STATISTICS: Final = (
    "Where statistics of a file are not what its columns are, make a deep clone, which writes them anew."
)
_OF_TIMES: Final = (
    "deltalake compares times with SQL text in nanoseconds: keep them, and what they check, to 1678-2261."
)
_OF_DIGITS: Final = "Compare decimals with values of fewer digits after the point, or in a comparison alone."
NOT_FILLED: Final = "Let the column be null, or correct those rows, by the engine that wrote them."
_OF_SHAPES: Final = "Write the rows to a new table: clone_table copies them, as far as they can be read."
_OF_FILES: Final = "Restore the file: it is gone or damaged, or the log says another size."
_OF_PLACES: Final = "deltalake rewrites files in the table's folder only: make a deep clone."
_TEXTS: Final[tuple[tuple[str, type[errors.DeltaIoError], str], ...]] = (
    # A predicate that deltalake wrote down wrong for itself, and reads when another commit came first.
    ("Error evaluating predicate", errors.ConflictError, "Read the newest version and try again."),
    ("rows failed validation check", errors.ConstraintError, "Correct or leave out those rows."),
    ("(physical data type)", errors.UnsupportedError, _OF_SHAPES),
    ("MERGE matched a target row", errors.ConstraintError, "Make the keys of the source distinct."),
    ("violates", errors.ConstraintError, "Correct or leave out those rows."),
    ("Partition column(s) not found", errors.SchemaMismatchError, "Give the table's partition columns."),
    ("custom_metadata key", errors.OptionError, "Give the metadata another key."),
    ("sql parser error", errors.PredicateError, "Check the SQL text."),
    ("No field named", errors.PredicateError, "Check the column names."),
    ("Unsupported table features", errors.UnsupportedError, "Use an engine that knows these features."),
    ("Unsupported", errors.UnsupportedError, "Use an engine that knows it."),
    ("does not support", errors.UnsupportedError, "Use an engine that knows it."),
    ("not supported", errors.UnsupportedError, ""),
    ("not yet supported", errors.UnsupportedError, ""),
    ("append-only", errors.UnsupportedError, "Append rows, or write to another table."),
    ("is outside table root", errors.UnsupportedError, _OF_PLACES),
    ("not implemented", errors.UnsupportedError, ""),
    ("Overflow converting", errors.UnsupportedError, _OF_TIMES),
    ("Cannot cast Timestamp(", errors.UnsupportedError, _OF_TIMES),
    ("Ambiguous reference", errors.PredicateError, "Write source. or target. before the name."),
    ("is declared as non-nullable but contains null", errors.SchemaMismatchError, NOT_FILLED),
    ("Non-nullable column", errors.SchemaMismatchError, NOT_FILLED),
    ("is too large to store in a Decimal", errors.PredicateError, _OF_DIGITS),
    ("Cannot cast to Decimal", errors.PredicateError, _OF_DIGITS),
    ("Cast error", errors.PredicateError, "Check the values that the SQL text casts."),
    ("Error during planning", errors.PredicateError, "Check the functions and types of the SQL text."),
    ("No files in log segment", errors.NotDeltaError, "Create the table first."),
    ("LogSegment end version", errors.VersionNotFoundError, "Ask for a version that exists."),
    ("Error parsing", errors.LogError, "The log may be damaged."),
    ("Json error: ", errors.UnsupportedError, _OF_STATISTICS),
    ("Malformed JSON: ", errors.UnsupportedError, _OF_STATISTICS),
)
# What deltalake reports as a table that is not there, and is not.
_NOT_MISSING: Final = ("No files in log segment", "is outside table root")
_TOO_FINE: Final = re.compile(r"is too large to store in a Decimal|Cannot cast to Decimal")
# What is wrong with values, though it comes up where files are read.
_OF_VALUES: Final = re.compile(
    _TOO_FINE.pattern + r"|is declared as non-nullable but contains null|Non-nullable column"
)
_OF_STORAGE: Final = re.compile(
    r"Object store error|object store:|Error performing|Log storage error"
    r"|Generic (?:S3|GCS|MicrosoftAzure|LocalFileSystem|HTTP) error"
    r"|Failed to fetch metadata for file|File selection contains \d+ missing files"
    r"|Object at location .* not found|Permission denied|No space left|AccessDenied|File not found: "
)
# Faults that pass by themselves, and a request may be repeated after. A commit that a handle knows of may be
# cleaned up meanwhile; a fresh handle starts from the checkpoint.
_PASSING: Final = re.compile(
    r"status code:? (?:408|425|429|5\d\d)|error sending request|timed? ?out"
    r"|connection (?:closed|reset|refused|aborted)|broken pipe|temporarily"
    r"|SlowDown|ServiceUnavailable|InternalError|File not found: \S*/_delta_log/"
    r"|os error (?:4|11|16|104|110|111|116)\)",
    re.IGNORECASE,
)


def first_line(text: str) -> str:
    """Return the message of a library on one line, without colours, shortened."""
    line = _on_one_line(text)
    return line if len(line) <= 600 else f"{line[:400]} … {line[-190:]}"


def _on_one_line(text: str) -> str:
    return " ".join(_COLOUR.sub("", text).replace("↳", "").split())


def translate(
    error: Exception, location: Location, doing: str, masked: frozenset[str] = frozenset()
) -> errors.DeltaIoError:
    """Return the error of this package that stands for an error of a library below."""
    text = str(error).partition("\n\nDebug source")[0]
    found = location.options.redact(first_line(text))
    if _TOO_FINE.search(text):
        found = "a value does not fit the decimals that it is compared as"
    elif masked:  # texts quote values
        found = _QUOTED.sub(f"'{MASK}'", found)
    what = f"{doing} {location.shown!r} failed"
    if "Unknown scheme" in text or "Unable to recognise URL" in text:
        fix = "Use a path, s3://, abfss://, az:// or gs://."
        return errors.OptionError(f"{location.shown!r} is no place of a known kind", fix=fix)
    if isinstance(error, DeltaTableNotFound) and not any(part in text for part in _NOT_MISSING):
        return errors.TableNotFoundError(f"no table at {location.shown!r}", found, "Create it first.")
    if isinstance(error, DeltaSchemaMismatch):
        return errors.SchemaMismatchError(what, found, "Give the table's columns.")
    of_libraries = isinstance(error, (ObjectError, OSError, pa.ArrowException))
    if (of_libraries and not _OF_VALUES.search(text)) or _OF_STORAGE.search(text):
        return _of_storage(what, found, text)
    for part, kind, fix in _TEXTS:
        if part in text:
            rows = location.options.redact(_constraint_rows(text, masked))
            return _own_text(doing, what, found, kind) or kind(what, rows or found, fix)
    kind = errors.ConflictError if isinstance(error, CommitFailedError) else errors.DeltaIoError
    fix = "Read the newest version and try again." if kind is errors.ConflictError else ""
    return kind(what, found, fix)


def _own_text(
    doing: str, what: str, found: str, kind: type[errors.DeltaIoError]
) -> errors.DeltaIoError | None:
    """Return the error for SQL text that comes from the table: a write is given none."""
    if kind is errors.PredicateError and doing == "writing":
        fix = "Give values of generated columns, and keep the columns that constraints are about."
        return errors.UnsupportedError(what, found, fix)
    return None


def _of_storage(what: str, found: str, text: str) -> errors.DeltaIoError:
    for part in ("No files in log segment", "LogSegment end version"):
        kind, fix = next((kind, fix) for known, kind, fix in _TEXTS if known == part)
        if part in text:
            return kind(what, found, fix)
    passing = _PASSING.search(_on_one_line(text)) is not None
    damaged = "Failed to fetch metadata for file" in text
    fix = _OF_FILES if damaged else "Check the place, the options and the permissions."
    fix = "Try again." if passing else fix
    error = errors.StorageError(what, found, fix)
    error.retryable = passing
    return error


def _constraint_rows(text: str, masked: frozenset[str]) -> str:
    """Return the rows that a constraint refused, as deltalake's preview shows them, masked columns hidden."""
    count = _PREVIEW.search(text)
    if count is None:
        return ""
    rows = [
        [part.strip() for part in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    hidden = [name in masked for name in rows[0]] if rows else []
    shown = [rows[0], *(_masked(row, hidden) for row in rows[1:4])] if rows else []
    preview = "; ".join(" | ".join(row) for row in shown)
    return f"{count[1]} rows break a constraint ({preview})"


def _masked(row: list[str], hidden: list[bool]) -> list[str]:
    if not any(hidden):
        return row
    if len(row) != len(hidden):  # a value holds a bar: which one belongs to a masked column is anyone's guess
        return [MASK]
    return [MASK if hide else value for value, hide in zip(row, hidden, strict=True)]


@contextmanager
def mapped(location: Location, doing: str, masked: frozenset[str] = frozenset()) -> Generator[None]:
    """Turn errors of the libraries below into errors of this package."""
    try:
        yield
    except errors.DeltaIoError:
        raise
    except BaseException as error:
        if not _is_from_below(error):
            raise
        translated = translate(cast("Exception", error), location, doing, masked)
    else:
        return
    try:
        raise translated
    except errors.DeltaIoError:
        translated.__context__ = None  # its text is not masked
        raise


def _is_from_below(error: BaseException) -> bool:
    """Tell errors of the libraries below; deltalake raises plain exceptions too, and Rust's panics."""
    known = (DeltaError, ObjectError, OSError, pa.ArrowException, ValueError, NotImplementedError)
    return isinstance(error, known) or type(error) is Exception or type(error).__name__ == "PanicException"
