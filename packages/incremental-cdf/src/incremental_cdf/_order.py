"""The order in which views are refreshed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from incremental_cdf.errors import ViewCycleError


def topological_order(reads: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Order names so that each comes after those that it reads; otherwise as given.

    Parameters
    ----------
    reads : Mapping of str to Sequence of str
        What each name reads; other names than the mapping's own do not count.

    Returns
    -------
    tuple of str

    Raises
    ------
    ViewCycleError
        Names read each other in a circle.

    Examples
    --------
    >>> topological_order({"top": ["base", "orders"], "base": ["orders"]})
    ('base', 'top')
    """
    done: dict[str, None] = {}
    for name in reads:
        _visit(name, reads, done)
    return tuple(done)


def _visit(start: str, reads: Mapping[str, Sequence[str]], done: dict[str, None]) -> None:
    path: dict[str, list[str]] = {}
    pending = [start]
    while pending:
        name = pending[-1]
        if name in done:
            pending.pop()
            path.pop(name, None)
            continue
        waiting = path.setdefault(name, [other for other in reversed(reads[name]) if other in reads])
        if not waiting:
            done[name] = None
        elif waiting[-1] in done:
            waiting.pop()
        elif waiting[-1] in path:
            raise _cycle_error((*path, waiting[-1]))
        else:
            pending.append(waiting[-1])


def _cycle_error(path: tuple[str, ...]) -> ViewCycleError:
    cycle = path[path.index(path[-1]) :]
    if len(cycle) == 2:
        message = f"View {cycle[0]} reads itself; name the table that it should read instead."
    else:
        message = f"Views read each other in a circle: {' -> '.join(cycle)}; take one of them out of it."
    return ViewCycleError(message, cycle=cycle)
