"""`freshlake query`: a SELECT over tables and views, at their newest or at past versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshlake._render import count
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption
from freshlake.cli._output import Output

_SHOWN_ROWS = 100

AsOfOption = Annotated[
    list[str] | None,
    typer.Option(
        "--as-of",
        metavar="VERSION",
        help="Read each table and view the query names at this version of its own; NAME=VERSION for one.",
        show_default=False,
    ),
]


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.", show_default=False)],
    *,
    project: ProjectOption = Path(),
    as_of: AsOfOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Show at most so many rows; {_SHOWN_ROWS} by default, all with --json.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Answer a SELECT over the project's tables and views."""
    from df_runtime import SessionFactory
    from freshlake._answers import json_chunks, text_table
    from freshlake._asof import parse_as_of
    from freshlake._query import answer

    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        loaded = out.load(project)
        names = [declared.name for declared in (*loaded.tables, *loaded.views)]
        versions = parse_as_of(as_of or (), names)
        with SessionFactory().open() as session:
            result = answer(loaded, session, sql, versions)
            if as_json:
                for chunk in json_chunks(result, limit):
                    out.write(chunk)
                return 0
            shown, more = text_table(result, _SHOWN_ROWS if limit is None else limit)
            note = [f"… and {count(more, 'more row')}; --limit N shows more."] if more and not quiet else []
            out.show(shown, *note, mask=False)
        return 0

    return out.guard(body)
