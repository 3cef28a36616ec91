"""The ingest step of a Freshlake project: a tree of Python sources into the project's tables."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from code_graph._changes import DETAIL_TABLES, FILES, is_current, plan_details, plan_files, status
from code_graph._extract import OK, extractor_id
from code_graph._lake import Lake, file_rows
from code_graph._pool import usable_cores
from code_graph._tree import package_prefix, walk_tree
from code_graph.errors import BusyError, OptionError
from code_graph.extraction import ExtractOptions, broken_rows, extract_files
from delta_io import ConflictError
from freshlake.ingest import IngestReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from code_graph._arrow import ArrowRows
    from code_graph._changes import FileRow, LakeState
    from code_graph._tree import FoundFile, SourceTree
    from freshlake.ingest import IngestContext

_ATTEMPTS = 8


def run(context: IngestContext) -> IngestReport:
    """Bring the project's tables in line with a source tree.

    Files are told apart by the hash of their bytes: only rows of files that changed, came or went are
    written, in at most one commit per table, and none where nothing did.

    Parameters
    ----------
    context : IngestContext
        Tables and options; the options are those of `ExtractOptions`.

    Returns
    -------
    IngestReport
        Versions and changed rows of the tables.

    Raises
    ------
    SourceError
        When the source directory is not there or cannot be listed.
    OptionError
        When an option is unknown or of the wrong kind, or the project lacks a table.
    TableMismatchError
        When a table has other columns than its contract.
    BusyError
        When other writers kept changing the tables.
    """
    started = time.perf_counter()
    try:
        options = msgspec.convert(dict(context.options), ExtractOptions)
    except msgspec.ValidationError as error:
        raise OptionError(f"[ingest.options] cannot be used: {error}.") from error
    root = options.directory
    attempt = 1
    while True:
        try:
            return _Run(context, options, root).report(started)
        except ConflictError as error:
            if attempt == _ATTEMPTS:
                message = f"Other writers changed the tables during {_ATTEMPTS} attempts: {error}"
                raise BusyError(message) from error
            time.sleep(random.uniform(0.1, 0.5) * attempt)
            attempt += 1


class _Run:
    """One attempt, from the tables as they are to the last commit."""

    def __init__(self, context: IngestContext, options: ExtractOptions, root: Path) -> None:
        self._progress = context.progress
        self._workers = options.workers or usable_cores()
        self._extractor = extractor_id(package_prefix(root))
        self._lake = Lake(context.tables, context.storage_options)
        self._state = self._lake.state()
        self._progress("list", 0, None)
        self._tree = walk_tree(root, options.exclude)

    def report(self, started: float) -> IngestReport:
        """Do the work and tell what became of the tables."""
        stale = stale_files(self._tree, self._state, self._extractor, self._workers)
        rows = [broken_rows(self._tree, self._extractor), *self._extracted(stale)]
        new: dict[str, FileRow] = {}
        for each in rows:
            new.update(file_rows(each.batch(FILES)))
        current = {found.file.path for found in self._tree.files} - {found.file.path for found in stale}
        gone = (set(self._state.files) | self._state.doubtful()) - current - set(new)
        plans = {table: plan_details(table, self._state, new, gone) for table in DETAIL_TABLES}
        plans[FILES] = plan_files(self._state, new, gone)
        self._lake.create_missing()
        commits = self._lake.commit(plans, rows, partial(self._progress, "write"))
        notes = self._notes(new)
        return IngestReport(
            tables=self._lake.ingested(commits), seconds=time.perf_counter() - started, notes=notes
        )

    def _extracted(self, stale: Sequence[FoundFile]) -> Iterator[ArrowRows]:
        if stale:
            self._progress("extract", 0, len(stale))
        for done, rows in extract_files(stale, self._extractor, self._workers):
            self._progress("extract", done, len(stale))
            yield rows

    def _notes(self, new: Mapping[str, FileRow]) -> tuple[str, ...]:
        notes: list[str] = []
        if not self._tree.files:
            notes.append("The source holds no Python files.")
        if not self._state.is_whole:
            notes.append("The tables did not fit together any more; all files were extracted anew.")
        elif self._state.doubtful():
            notes.append("A run that ended before its last commit, or another writer, was made good.")
        failed = sum(status(row) != OK for row in new.values())
        if failed:
            notes.append(
                f"{failed} of the {len(new)} files extracted gave no rows; table diagnostics says why."
            )
        return tuple(notes)


def stale_files(tree: SourceTree, state: LakeState, extractor: str, threads: int) -> list[FoundFile]:
    """Pick the files whose rows have to be made.

    Parameters
    ----------
    tree : SourceTree
        What the source holds.
    state : LakeState
        What the tables hold.
    extractor : str
        From `extractor_id`.
    threads : int
        Number of files to hash at a time.

    Returns
    -------
    list of FoundFile
        Files that are new, hold other bytes than the tables know, or have rows that nothing vouches for.
    """
    doubtful = state.doubtful()

    def is_stale(found: FoundFile) -> bool:
        path = found.file.path
        row = state.files.get(path)
        if row is None or path in doubtful:
            return True
        try:
            with open(found.location, "rb") as stream:  # noqa: PTH123 - a path in bytes
                return not is_current(row, file_digest(stream, "sha256").hexdigest(), extractor)
        except OSError:
            return True

    with ThreadPoolExecutor(threads) as pool:
        return [
            found for found, stale in zip(tree.files, pool.map(is_stale, tree.files), strict=True) if stale
        ]
