"""`freshlake init`: a small project that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshlake._sample import write_sample
from freshlake._source import absolute
from freshlake.cli._options import DebugOption, JsonOption, ProjectOption, QuietOption
from freshlake.cli._output import Output


def init(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The directory; --project does the same.", show_default=False),
    ] = None,
    *,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Write a small project that works into an empty directory: a table of orders and a view over it."""
    out = Output(as_json=as_json, quiet=quiet, debug=debug)

    def body() -> int:
        display = project if directory is None else directory
        written = write_sample(absolute(display), display)
        if as_json:
            out.document({"project": str(display), "written": [str(path) for path in written]})
        elif not quiet:
            listed = "\n".join(f"  {path}" for path in written)
            out.show(f"Wrote\n{listed}\nNext: freshlake run --project {display}")
        return 0

    return out.guard(body)
