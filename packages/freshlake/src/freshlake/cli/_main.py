"""The command `freshlake`: its sub-commands and what becomes of a wrong command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from freshlake._failure import WRONG_INPUT, Failure
from freshlake.cli._arguments import spread_selection
from freshlake.cli._output import Output
from freshlake.cli.init import init
from freshlake.cli.plan import plan
from freshlake.cli.query import query
from freshlake.cli.run import run
from freshlake.cli.status import status
from freshlake.cli.verify import verify
from freshlake.errors import CommandLineError

app = typer.Typer(
    name="freshlake",
    help="Keep SQL views over Delta Lake tables current.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (init, plan, run, verify, query, status):
    app.command(command.__name__)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"freshlake {metadata.version('freshlake')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Keep SQL views over Delta Lake tables current."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; the process's own arguments by default.

    Returns
    -------
    int
        The exit code: 0 done; 1 a view or check failed; 2 the input is wrong.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    out = Output(as_json="--json" in given, debug="--debug" in given)

    def body() -> int:
        try:
            return int(app(spread_selection(given), prog_name="freshlake", standalone_mode=False) or 0)
        except typer.TyperException as error:
            return out.fail(_usage_failure(error))
        except typer.Abort as error:
            raise KeyboardInterrupt from error

    return out.guard(body)


def _usage_failure(error: typer.TyperException) -> Failure:
    message = error.format_message().rstrip(".")
    return Failure(
        code=CommandLineError.code, message=f"{message}. See freshlake --help.", exit_code=WRONG_INPUT
    )
