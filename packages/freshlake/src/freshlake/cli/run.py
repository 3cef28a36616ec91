"""`freshlake run`: ingest, then refresh."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from df_runtime import SessionFactory
from freshlake._documents import run_document
from freshlake._failure import FAILED
from freshlake._lake import check_before_ingest, check_selection
from freshlake._refresh import open_views
from freshlake._render import count, seconds, table
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption, SelectOption
from freshlake.cli._output import Output
from freshlake.ingest import IngestReport, Progress, load_entry, run_ingest, with_source
from freshlake.project import Project
from incremental_cdf import RefreshFailedError, RefreshReport


def run(
    *,
    project: ProjectOption = Path(),
    select: SelectOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="What the ingest step reads instead of its own source.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Run the ingest step if the project has one, then bring the views up to date."""
    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        loaded = out.load(project)
        check_selection(loaded, select)
        factory = SessionFactory()
        with out.progress() as progress:
            ingested = _ingest(loaded, factory, source, progress)
            report = _refresh(loaded, factory, select, progress)
        failed = any(view.error is not None for view in report.views)
        if as_json:
            out.document(run_document(loaded, uuid.uuid4().hex, report, ingested))
        elif not quiet:
            _show(out, report, ingested)
        for view in report.views:
            if view.error is not None:
                out.complain(f"error: view {view.name}: {view.error}")
        return FAILED if failed else 0

    return out.guard(body)


def _ingest(
    project: Project, factory: SessionFactory, source: str | None, progress: Progress
) -> IngestReport | None:
    declaration = with_source(project, source)
    if declaration is None:
        return None
    entry = load_entry(project, declaration)
    with factory.ephemeral() as session:
        check_before_ingest(project, session)
    return run_ingest(project, declaration, entry, progress)


def _refresh(
    project: Project, factory: SessionFactory, names: Collection[str] | None, progress: Progress
) -> RefreshReport:
    with open_views(project, factory, names) as opened:
        try:
            return opened.views.refresh(progress=lambda _, done, total: progress("refresh", done, total))
        except RefreshFailedError as error:
            return error.report


def _show(out: Output, report: RefreshReport, ingested: IngestReport | None) -> None:
    if ingested is not None:
        out.show(*_ingest_lines(ingested), "")
    rows = [
        (
            view.name,
            "failed" if view.error else view.strategy,
            view.reason,
            f"{view.rows_changed:,}",
            seconds(view.seconds),
        )
        for view in report.views
    ]
    headings = ("view", "strategy", "reason", "rows changed", "seconds")
    out.show(table(headings, rows, right=(3, 4)))


def _ingest_lines(ingested: IngestReport) -> list[str]:
    changed = [
        f"{each.name} +{each.rows_inserted:,} -{each.rows_deleted:,}"
        for each in ingested.tables
        if each.rows_inserted or each.rows_deleted
    ]
    what = ", ".join(changed) if changed else "nothing new"
    summary = f"Ingested {count(len(ingested.tables), 'table')} in {seconds(ingested.seconds)} s: {what}"
    return [summary, *ingested.notes]
