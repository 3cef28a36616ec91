"""Where a project stands: versions of tables and views, and which views are behind."""

from __future__ import annotations

from datetime import datetime

import msgspec

from delta_io import Table
from freshlake._lake import open_tables
from freshlake.project import Project
from incremental_cdf import RefreshPlan


class TableStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A declared table at its newest version."""

    name: str
    uri: str
    version: int
    committed: datetime | None
    rows: int | None


class ViewStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A view: `version` is None before its first refresh; `current` if a run would change nothing."""

    name: str
    uri: str
    version: int | None
    current: bool
    code: str
    reason: str
    sources: dict[str, int | None]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A project's tables and views."""

    project: str
    tables: tuple[TableStatus, ...]
    views: tuple[ViewStatus, ...]


def status_of(project: Project, plan: RefreshPlan) -> Status:
    """Read where tables stand; where views stand follows from the plan."""
    tables = open_tables(project)
    return Status(
        project=project.name,
        tables=tuple(_table_status(name, table) for name, table in tables.items()),
        views=tuple(
            ViewStatus(
                name=view.name,
                uri=view.target,
                version=view.view_version,
                current=view.strategy == "none",
                code=view.code,
                reason=view.reason,
                sources={source.name: source.old for source in view.sources},
            )
            for view in plan.views
        ),
    )


def _table_status(name: str, table: Table) -> TableStatus:
    snapshot = table.snapshot()
    counts = snapshot.add_actions().column("num_records").to_pylist()
    rows = None if any(count is None for count in counts) else sum(counts)
    return TableStatus(
        name=name, uri=table.uri, version=snapshot.version, committed=snapshot.timestamp, rows=rows
    )
