"""The two streams of a command: results on standard output, everything else on standard error."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from freshlake._failure import FAILED, Failure
from freshlake._render import TextTable
from freshlake._storage import hide_in_uris
from freshlake.ingest import Progress as ReportProgress
from freshlake.ingest import no_progress
from freshlake.loading import load_project
from freshlake.project import Project


class Output:
    """Where a command writes, with secrets of the loaded project masked."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.debug = debug
        self._mask: Callable[[str], str] = hide_in_uris

    def load(self, directory: Path) -> Project:
        """Load a project, and mask its secrets in all that follows."""
        project = load_project(directory)
        self._mask = project.storage_options.redact
        return project

    def guard(self, body: Callable[[], int]) -> int:
        """Run a command's body; any error becomes one message and an exit code."""
        try:
            return body()
        except BrokenPipeError:
            return _reader_went_away()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place that can explain an error
            if self.debug:
                self._stderr(traceback.format_exc())
            return self.fail(Failure.of(error))

    def fail(self, failure: Failure) -> int:
        """Show a failure, as one JSON document too if asked for."""
        if self.as_json:
            self.document(failure.document())
        self._stderr(failure.text())
        return failure.exit_code

    def document(self, data: object) -> None:
        """Write a JSON document, its strings masked."""
        self.write(msgspec.json.encode(self._masked(msgspec.to_builtins(data))) + b"\n")

    def write(self, data: bytes) -> None:
        """Write result bytes as they are."""
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:
            sys.stdout.write(data.decode())
        else:
            stream.write(data)
        sys.stdout.flush()

    def show(self, *parts: TextTable | str, mask: bool = True) -> None:
        """Write tables and lines of text: fitted to a terminal, at full width anywhere else."""
        texts = _fitted(parts) if sys.stdout.isatty() else [_plain(part) for part in parts]
        text = "".join(f"{each}\n" for each in texts)
        self.write((self._mask(text) if mask else text).encode("utf-8", "replace"))

    def note(self, text: str) -> None:
        """Say something on standard error, unless quiet."""
        if not self.quiet:
            self._stderr(text)

    def complain(self, text: str) -> None:
        """Say on standard error what went wrong, quiet or not."""
        self._stderr(text)

    @contextmanager
    def progress(self) -> Generator[ReportProgress]:
        """Show progress on standard error, if that is a terminal and the command is not quiet."""
        if self.quiet or not sys.stderr.isatty():
            yield no_progress
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bars(bars, self._mask)

    def _stderr(self, text: str) -> None:
        sys.stderr.write(f"{self._mask(text).rstrip()}\n")
        sys.stderr.flush()

    def _masked(self, data: Any) -> Any:
        if isinstance(data, str):
            return self._mask(data)
        if isinstance(data, dict):
            entries = cast("dict[Any, Any]", data)
            return {self._masked(key): self._masked(value) for key, value in entries.items()}
        if isinstance(data, list | tuple):
            return [self._masked(value) for value in cast("list[Any]", data)]
        return data


class _Bars:
    """One bar for each phase."""

    def __init__(self, bars: Progress, mask: Callable[[str], str]) -> None:
        self._bars = bars
        self._mask = mask
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(self._mask(phase), total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total)


def _plain(part: TextTable | str) -> str:
    return part if isinstance(part, str) else part.plain()


def _fitted(parts: Iterable[TextTable | str]) -> Iterator[str]:
    for part in parts:
        buffer = io.StringIO()
        shape = Console(file=buffer, force_terminal=True, highlight=False, emoji=False, markup=False)
        shape.print(part if isinstance(part, str) else part.fitted())
        yield "\n".join(line.rstrip() for line in buffer.getvalue().rstrip("\n").split("\n"))


def _reader_went_away() -> int:
    """Keep the interpreter from complaining, on its way out, about a pipe that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
