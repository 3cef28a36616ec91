"""The command `code-graph`: the ingest step by itself, without refreshing views."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from code_graph.errors import OptionError
from code_graph.ingest import run
from freshlake import FreshlakeError, load_project
from freshlake.ingest import run_ingest, with_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freshlake import IngestReport


def main(arguments: Sequence[str] | None = None) -> int:
    """Extract a source tree into the tables of a project.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the command; that of the process when left out.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 the input is wrong.
    """
    given = _parser().parse_args(arguments)
    try:
        project = load_project(given.project)
        declaration = with_source(project, given.source)
        if declaration is None:
            raise OptionError(
                "The project has no [ingest] section.", file=str(project.display / "freshlake.toml")
            )
        report = run_ingest(project, declaration, run, _show if sys.stderr.isatty() else _show_nothing)
    except FreshlakeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(_summary(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("code-graph", description="Extract Python sources into Delta tables.")
    parser.add_argument(
        "--source", help="directory to read (default: as the project says, else the standard library)"
    )
    parser.add_argument("--project", default=".", help="directory of freshlake.toml (default: %(default)s)")
    return parser


def _show(phase: str, done: int, total: int | None) -> None:
    amount = "" if total is None else f" {done}/{total}"
    sys.stderr.write(f"\r\033[K{phase}{amount}" + ("\r\033[K" if done == total else ""))
    sys.stderr.flush()


def _show_nothing(phase: str, done: int, total: int | None) -> None:
    del phase, done, total


def _summary(report: IngestReport) -> str:
    lines = [
        f"{table.name:<12} version {table.version:>3}  +{table.rows_inserted} -{table.rows_deleted} rows"
        for table in report.tables
    ]
    return "\n".join([*lines, *report.notes, f"{report.seconds:.1f} s", ""])


if __name__ == "__main__":
    sys.exit(main())
