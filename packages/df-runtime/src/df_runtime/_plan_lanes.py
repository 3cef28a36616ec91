"""Where the operators of a plan are drawn, one below the other."""

from __future__ import annotations

from typing import NamedTuple

from df_runtime.plan_tree import PlanTree


class Lane(NamedTuple):
    """Columns of one operator, counted from 0."""

    at: int
    """Where the operator is."""
    hangs_from: int | None
    """Where its parent is."""
    passing: tuple[int, ...]
    """Where lines of others go by."""
    goes_on: bool
    """Whether it has children."""


def lanes(tree: PlanTree) -> list[Lane]:
    """Draw the last child below its parent and every other one to the right of it.

    So a chain goes straight down, however long, and the column tells how many joins an operator is below.
    """
    last: dict[int, int] = {}  # by parent, the position of its last child
    for position, node in enumerate(tree.nodes):
        if node.parent is not None:
            last[node.parent] = position
    found: list[Lane] = []
    leads_to: dict[int, int] = {}  # by column, the position at which its line ends
    for position, node in enumerate(tree.nodes):
        parent = None if node.parent is None else found[node.parent]
        is_last = node.parent is None or last[node.parent] == position
        at = 0 if parent is None else parent.at if is_last else parent.at + 1
        leads_to = {column: end for column, end in leads_to.items() if end != position}
        passing = tuple(sorted(leads_to))
        found.append(Lane(at, None if parent is None else parent.at, passing, position in last))
        if position in last:
            leads_to[at] = last[position]
    return found
