"""What the command line's grammar adds to that of the parser."""

from __future__ import annotations

from collections.abc import Iterable

_SELECT = "--select"


def spread_selection(arguments: Iterable[str]) -> list[str]:
    """`--select a b` as `--select a --select b`: the option takes every name up to the next option.

    >>> spread_selection(["run", "--select", "a", "b", "--json"])
    ['run', '--select', 'a', '--select', 'b', '--json']
    """
    spread: list[str] = []
    names = 0
    selecting = False
    for argument in arguments:
        if argument.startswith("-"):
            selecting = argument == _SELECT
            names = 0
        elif selecting:
            names += 1
            if names > 1:
                spread.append(_SELECT)
        spread.append(argument)
    return spread
