"""The step that fills a project's tables before its views are refreshed.

`freshlake.toml` names a callable, `entry = "module:function"`; it gets an `IngestContext` and returns an
`IngestReport`. It raises `IngestInputError` for input it cannot use, before it writes anything.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

from freshlake._names import closest, did_you_mean, listing
from freshlake._source import absolute
from freshlake.errors import FreshlakeError, IngestEntryError, IngestFailedError, IngestInputError
from freshlake.project import IngestDeclaration, Project

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a phase, how much of it is done, and how much there is in all where that is known."""


def no_progress(phase: str, done: int, total: int | None) -> None:
    """Show nothing.

    Parameters
    ----------
    phase : str
    done : int
    total : int or None
    """


class IngestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest step gets.

    Parameters
    ----------
    project_dir : Path
        The project's directory, absolute.
    tables : Mapping of str to str
        The declared tables: name to absolute path or URI. A table may not exist yet.
    storage_options : Mapping of str to str
        Options for the object store, with secrets in the clear; its representation hides them.
    options : Mapping of str to object
        `[ingest.options]`, with `source` replaced where the command names one. A relative `source` is
        already absolute.
    progress : callable
        To be called with a phase, how much is done, and how much there is in all or None.
    """

    project_dir: Path
    tables: Mapping[str, str]
    storage_options: Mapping[str, str]
    options: Mapping[str, object]
    progress: Progress = no_progress


class IngestedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table after an ingest step: its version, and the rows that the step inserted and deleted."""

    name: str
    version: int
    rows_inserted: int = 0
    rows_deleted: int = 0


class IngestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest step did, in `seconds`, with `notes` for the user to read."""

    tables: tuple[IngestedTable, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


IngestEntry: TypeAlias = Callable[[IngestContext], IngestReport]


def with_source(project: Project, source: str | None) -> IngestDeclaration | None:
    """Give the ingest step its source, and check that the source is there.

    Parameters
    ----------
    project : Project
    source : str or None
        A path given by the command, relative to the working directory; None keeps the project's.

    Returns
    -------
    IngestDeclaration or None
        None if the project has no ingest step.

    Raises
    ------
    IngestInputError
        If there is no ingest step to give the source to, or nothing at the source.
    """
    if project.ingest is None:
        if source is not None:
            message = "--source was given, but the project has no [ingest] section that could read it."
            raise project.error(IngestInputError, message)
        return None
    options = dict(project.ingest.options)
    if source is not None:
        options["source"] = str(absolute(source))
    found = options.get("source")
    if isinstance(found, str) and "://" not in found and not Path(found).is_dir():
        raise _source_error(project, Path(found), source)
    return IngestDeclaration(entry=project.ingest.entry, options=options)


def _source_error(project: Project, found: Path, given: str | None) -> FreshlakeError:
    siblings = [each.name for each in found.parent.iterdir()] if found.parent.is_dir() else []
    near = closest(found.name, siblings)
    state = "is not a directory" if found.exists() else "does not exist"
    message = f'The source directory "{given or found}" {state}.'
    if given is None:
        return project.error(IngestInputError, message, "ingest", "options", "source", suggestions=near)
    return IngestInputError(f"--source: {message}{did_you_mean(near)}", suggestions=near)


def load_entry(project: Project, declaration: IngestDeclaration) -> IngestEntry:
    """Import the callable that an ingest section names.

    Modules are looked up in the environment and, after that, in the project's directory.

    Parameters
    ----------
    project : Project
    declaration : IngestDeclaration

    Returns
    -------
    callable

    Raises
    ------
    IngestEntryError
        If the module cannot be imported or has no such callable.
    """
    name, _, function = declaration.entry.partition(":")
    directory = os.fspath(project.directory)
    if directory not in sys.path:
        sys.path.append(directory)
    importlib.invalidate_caches()
    try:
        with stdout_to_stderr():
            module = importlib.import_module(name)
    except Exception as error:
        message = f'ingest.entry: the module "{name}" cannot be imported: {type(error).__name__}: {error}.'
        raise project.error(IngestEntryError, message, "ingest", "entry") from error
    entry = getattr(module, function, None)
    if not callable(entry):
        known = [
            each for each in vars(module) if callable(getattr(module, each)) and not each.startswith("_")
        ]
        message = f'ingest.entry: the module "{name}" has no function "{function}".'
        suggestions = closest(function, known)
        raise project.error(IngestEntryError, message, "ingest", "entry", suggestions=suggestions)
    return cast("IngestEntry", entry)


def run_ingest(
    project: Project, declaration: IngestDeclaration, entry: IngestEntry, progress: Progress = no_progress
) -> IngestReport:
    """Call an ingest step; what it prints goes to standard error.

    Parameters
    ----------
    project : Project
    declaration : IngestDeclaration
    entry : callable
    progress : callable

    Returns
    -------
    IngestReport

    Raises
    ------
    FreshlakeError
        Whatever of it the step raises, unchanged.
    IngestFailedError
        If the step raises anything else, or returns something that is no report.
    """
    context = IngestContext(
        project_dir=project.directory,
        tables={table.name: table.uri for table in project.tables},
        storage_options=project.storage_options,
        options=declaration.options,
        progress=progress,
    )
    try:
        with stdout_to_stderr():
            result: object = entry(context)
    except FreshlakeError:
        raise
    except Exception as error:
        message = f"The ingest step {declaration.entry} failed: {type(error).__name__}: {error}"
        raise IngestFailedError(message) from error
    return _report(result, project, declaration)


def _report(result: object, project: Project, declaration: IngestDeclaration) -> IngestReport:
    try:
        report = msgspec.convert(result, IngestReport, from_attributes=True)
    except msgspec.ValidationError as error:
        message = f"The ingest step {declaration.entry} returned no usable report: {error}."
        raise IngestFailedError(message) from error
    declared = {table.name for table in project.tables}
    unknown = [table.name for table in report.tables if table.name not in declared]
    if unknown:
        message = (
            f"The ingest step {declaration.entry} reports tables that the project does not declare: "
            f"{listing(unknown)}; declared: {listing(declared)}."
        )
        raise IngestFailedError(message)
    return report


@contextlib.contextmanager
def stdout_to_stderr() -> Generator[None]:
    """Send what foreign code prints to standard error, so that standard output holds results alone.

    The file descriptor is moved too, for child processes and native code.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
