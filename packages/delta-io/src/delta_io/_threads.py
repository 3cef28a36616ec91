"""Work on many things at once, where Arrow or a store does it and Python only waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int | None = None
) -> list[_Result]:
    """Return what a function makes of each item, in order; one worker per core unless said otherwise.

    Examples
    --------
    >>> in_threads(len, ["a", "", "bc"])
    [1, 0, 2]
    """
    if len(items) < 2:
        return [function(each) for each in items]
    with ThreadPoolExecutor(workers or pa.cpu_count(), "delta-io") as pool:
        return list(pool.map(function, items))
