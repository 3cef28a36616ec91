"""What refreshing costs: a coarse model in bytes, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from incremental_cdf.plan import Estimates

STEPS_BYTES = 16 << 20
"""What the additional queries and the rewriting of files are worth, whatever they read."""

_SPREAD = 4
"""How much more of a table affected keys touch than the share of its rows that changed."""

_LOOKUP = 4
"""A table is read for the columns of a join only, about a quarter of it, when keys are looked up."""


class SourceSize(NamedTuple):
    """A source as far as its cost matters."""

    rows: int
    bytes: int
    changed_rows: int


def estimate(sources: Sequence[SourceSize], view_bytes: int, *, exact: bool) -> Estimates:
    """Compare recomputing a view with recomputing the rows of affected keys.

    Parameters
    ----------
    sources : Sequence of SourceSize
        What the view reads.
    view_bytes : int
        Size of the view's table.
    exact : bool
        Whether changed rows were counted.

    Returns
    -------
    Estimates

    Examples
    --------
    >>> found = estimate([SourceSize(1_000_000, 100 << 20, 1_000)], 10 << 20, exact=True)
    >>> found.affected_keys_bytes < found.full_bytes, found.break_even_rows
    (True, 213636)
    """
    total = sum(source.bytes for source in sources)
    changed = sum(source.changed_rows for source in sources)
    full = total + view_bytes
    lookups = sum((total - source.bytes) // _LOOKUP for source in sources if source.changed_rows)
    share = max((source.changed_rows / max(source.rows, 1) for source in sources), default=0.0)
    fixed = STEPS_BYTES + lookups
    affected = fixed + round(min(1.0, _SPREAD * share) * full)
    rows = max((source.rows for source in sources if source.changed_rows), default=0)
    break_even = round(max(0, full - fixed) / max(full, 1) * rows / _SPREAD)
    return Estimates(
        changed_rows=changed,
        exact=exact,
        full_bytes=full,
        affected_keys_bytes=affected,
        break_even_rows=break_even,
    )
