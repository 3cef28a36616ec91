"""`freshlake status`: where tables and views stand."""

from __future__ import annotations

from pathlib import Path

from df_runtime import SessionFactory
from freshlake._lake import check_selection
from freshlake._refresh import open_views
from freshlake._render import table
from freshlake._status import Status, status_of
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption, SelectOption
from freshlake.cli._output import Output


def status(
    *,
    project: ProjectOption = Path(),
    select: SelectOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Show the versions of tables and views, and which views are behind their sources."""
    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        loaded = out.load(project)
        check_selection(loaded, select)
        with open_views(loaded, SessionFactory(), select) as opened:
            found = status_of(loaded, opened.views.plan())
        if as_json:
            out.document(found)
        elif not quiet:
            _show(out, found)
        return 0

    return out.guard(body)


def _show(out: Output, found: Status) -> None:
    tables = [
        (each.name, each.version, None if each.rows is None else f"{each.rows:,}", each.committed, each.uri)
        for each in found.tables
    ]
    views = [
        (
            each.name,
            each.version,
            "current" if each.current else "behind",
            ", ".join(f"{name}@{version}" for name, version in each.sources.items() if version is not None),
            each.reason,
        )
        for each in found.views
    ]
    out.show(table(("table", "version", "rows", "committed", "place"), tables, right=(1, 2)), "")
    out.show(table(("view", "version", "state", "shows", "reason"), views, right=(1,)))
