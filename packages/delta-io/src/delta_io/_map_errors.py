"""What deltalake's errors mean: it tells many apart by text only, and the texts are known only here."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

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

from delta_io import errors

if TYPE_CHECKING:
    from delta_io.storage import Location

_PREVIEW: Final = re.compile(r"(\d+) rows failed validation check")
_NO_COLUMN: Final = re.compile(r"No field named (.+?)\.")
_MASK: Final = "***"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_TEXTS: Final[tuple[tuple[str, type[errors.DeltaIoError], str], ...]] = (
    ("rows failed validation check", errors.ConstraintError, "Correct or leave out those rows."),
    ("MERGE matched a target row", errors.ConstraintError, "Make the keys of the source distinct."),
    ("violates", errors.ConstraintError, "Correct or leave out those rows."),
    ("sql parser error", errors.PredicateError, "Check the SQL text."),
    ("No field named", errors.PredicateError, "Check the column names."),
    ("Unsupported table features", errors.UnsupportedError, "Use an engine that knows these features."),
    ("Unsupported", errors.UnsupportedError, "Use an engine that knows it."),
    ("not supported", errors.UnsupportedError, ""),
    ("No files in log segment", errors.NotDeltaError, "Create the table first."),
    ("LogSegment end version", errors.VersionNotFoundError, "Ask for a version that exists."),
    ("Error parsing", errors.LogError, "The log may be damaged."),
)


def first_line(text: str) -> str:
    """Return the message of a library on one line, without colours, shortened."""
    line = " ".join(_COLOUR.sub("", text).replace("↳", "").split())
    return line if len(line) <= 400 else line[:399] + "…"


def translate(
    error: Exception, location: Location, doing: str, masked: frozenset[str] = frozenset()
) -> errors.DeltaIoError:
    """Return the error of this package that stands for an error of a library below."""
    text = str(error)
    found = location.options.redact(first_line(text))
    what = f"{doing} {location.shown!r} failed"
    if isinstance(error, DeltaTableNotFound) and "No files in log segment" not in text:
        return errors.TableNotFoundError(f"no table at {location.shown!r}", found, "Create it first.")
    if isinstance(error, CommitFailedError):
        return errors.ConflictError(what, found, "Read the newest version and try again.")
    if isinstance(error, DeltaSchemaMismatch):
        return errors.SchemaMismatchError(what, found, "Give the table's columns.")
    for part, kind, fix in _TEXTS:
        if part in text:
            return kind(what, _constraint_rows(text, masked) or found, fix)
    if isinstance(error, (OSError, pa.ArrowException)):
        return errors.StorageError(what, found, "Check the place, the options and the connection.")
    return errors.DeltaIoError(what, found)


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
    return f"{count[1]} rows break it ({preview})"


def _masked(row: list[str], hidden: list[bool]) -> list[str]:
    if not any(hidden):
        return row
    if len(row) != len(hidden):  # a value holds a bar: which one belongs to a masked column is anyone's guess
        return [_MASK]
    return [_MASK if hide else value for value, hide in zip(row, hidden, strict=True)]


@contextmanager
def mapped(location: Location, doing: str, masked: frozenset[str] = frozenset()) -> Generator[None]:
    """Turn errors of the libraries below into errors of this package."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, errors.DeltaIoError):
            raise
        raise translate(error, location, doing, masked) from None
