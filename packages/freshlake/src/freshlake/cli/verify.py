"""`freshlake verify`: stored views compared with their queries."""

from __future__ import annotations

from pathlib import Path

from delta_io import DeltaIoError
from df_runtime import DfRuntimeError, SessionFactory
from freshlake._documents import NotCompared, verify_document
from freshlake._failure import FAILED, plain_message
from freshlake._lake import check_selection
from freshlake._refresh import OpenViews, open_views
from freshlake._render import seconds, table
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption, SelectOption
from freshlake.cli._output import Output
from freshlake.ingest import Progress
from incremental_cdf import IncrementalError, Verification


def verify(
    *,
    project: ProjectOption = Path(),
    select: SelectOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Recompute views at the versions of their sources that they show, and compare row by row."""
    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        loaded = out.load(project)
        check_selection(loaded, select)
        with open_views(loaded, SessionFactory(), select) as opened, out.progress() as progress:
            compared = _compare(opened, progress)
        if as_json:
            out.document(verify_document(loaded, compared))
        elif not quiet:
            _show(out, compared)
        for each in compared:
            if isinstance(each, NotCompared):
                out.complain(f"error: view {each.name}: {each.error} [{each.code}]")
        return 0 if all(each.ok for each in compared) else FAILED

    return out.guard(body)


def _compare(opened: OpenViews, progress: Progress) -> list[Verification | NotCompared]:
    compared: list[Verification | NotCompared] = []
    for done, view in enumerate(opened.chosen):
        progress("verify", done, len(opened.chosen))
        try:
            compared.append(opened.views.verify(view.name))
        except (IncrementalError, DfRuntimeError, DeltaIoError) as error:
            compared.append(NotCompared(name=view.name, code=error.code, error=plain_message(error)))
    return compared


def _show(out: Output, compared: list[Verification | NotCompared]) -> None:
    headings = ("view", "result", "rows", "missing", "extra", "seconds")
    out.show(table(headings, map(_row, compared), right=range(2, 6)))


def _row(found: Verification | NotCompared) -> tuple[str, ...]:
    if isinstance(found, NotCompared):
        return (found.name, "not compared", "", "", "", "")
    counts = (f"{number:,}" for number in (found.rows, found.missing, found.extra))
    return (found.name, "equal" if found.ok else "different", *counts, seconds(found.seconds))
