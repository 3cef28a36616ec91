"""`freshlake plan`: what a run would do, and why."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from df_runtime import SessionFactory
from freshlake._documents import plan_document
from freshlake._lake import check_selection
from freshlake._refresh import open_views
from freshlake._render import count, table
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption, SelectOption
from freshlake.cli._output import Output
from incremental_cdf import RefreshPlan


def plan(
    *,
    project: ProjectOption = Path(),
    select: SelectOption = None,
    sql: Annotated[bool, typer.Option("--sql", help="Show the queries that a run would send.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Tell how each view would be refreshed, and why, without writing anything or running the ingest step."""
    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        loaded = out.load(project)
        check_selection(loaded, select)
        with open_views(loaded, SessionFactory(), select) as opened:
            planned = opened.views.plan()
        if as_json:
            out.document(plan_document(loaded, uuid.uuid4().hex, planned))
        elif not quiet:
            _show(out, planned, sql=sql)
        return 0

    return out.guard(body)


def _show(out: Output, planned: RefreshPlan, *, sql: bool) -> None:
    rows = [
        (
            view.name,
            f"{view.strategy} (refused)" if view.refused else view.strategy,
            view.reason,
            None if view.estimates is None else f"{view.estimates.changed_rows:,}",
            None if view.estimates is None else f"{view.estimates.break_even_rows:,}",
        )
        for view in planned.views
    ]
    headings = ("view", "strategy", "reason", "changed rows", "break-even")
    out.show(table(headings, rows, right=(3, 4)))
    if not rows:
        out.show("The project has no views.")
    elif all(view.strategy == "none" for view in planned.views):
        out.show(f"{count(len(rows), 'view')}, nothing to do.")
    if sql:
        for view in planned.views:
            out.show(*(f"-- {view.name}: {step.name}\n{step.sql.strip()}\n" for step in view.steps))
