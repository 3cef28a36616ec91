"""The JSON documents of `run`, `plan`, `verify` and `status`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from freshlake.ingest import IngestReport
from freshlake.project import Project
from incremental_cdf import RefreshPlan, RefreshReport, Verification, ViewPlan


class NotCompared(msgspec.Struct, frozen=True, kw_only=True):
    """A view that could not be compared, and why."""

    name: str
    code: str
    error: str

    @property
    def ok(self) -> bool:
        """Never: nothing is known of the view."""
        return False


def run_document(
    project: Project, run_id: str, report: RefreshReport, ingested: IngestReport | None
) -> dict[str, Any]:
    """Tell what a run did, views in the order in which they were refreshed."""
    return {
        "project": project.name,
        "run_id": run_id,
        "ingest": None if ingested is None else msgspec.to_builtins(ingested),
        "views": msgspec.to_builtins(report.views),
        "seconds": report.seconds,
    }


def plan_document(project: Project, run_id: str, plan: RefreshPlan) -> dict[str, Any]:
    """Tell what a run would do, with null for what only a run can tell."""
    return {
        "project": project.name,
        "run_id": run_id,
        "ingest": None if project.ingest is None else {"entry": project.ingest.entry},
        "views": [_planned_view(view) for view in plan.views],
    }


def verify_document(project: Project, compared: Iterable[Verification | NotCompared]) -> dict[str, Any]:
    """Tell what a comparison found, view by view."""
    views = [
        {"ok": False, **msgspec.to_builtins(each)}
        if isinstance(each, NotCompared)
        else msgspec.json.decode(each.to_json())
        for each in compared
    ]
    return {"project": project.name, "views": views}


def _planned_view(view: ViewPlan) -> dict[str, Any]:
    planned = msgspec.to_builtins(view)
    details = planned.pop("sources")
    return {
        **planned,
        "sources": {source.name: source.new for source in view.sources},
        "changes": details,
        "rows_changed": None,
        "bytes_read": None,
        "seconds": None,
        "commit_version": None,
    }
