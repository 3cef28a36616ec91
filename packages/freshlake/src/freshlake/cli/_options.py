"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ProjectOption: TypeAlias = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="Directory that holds freshlake.toml.")
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")
]
SelectOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="VIEW...",
        help="Only these views, and the views that they depend on.",
        show_default=False,
    ),
]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", help="Show no progress, notes or summary; errors are shown.")
]
DebugOption: TypeAlias = Annotated[
    bool, typer.Option("--debug", help="Show where in the program an error arose.")
]
