"""Rows as bags, for comparing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa


def bag(rows: Any) -> Counter[str]:
    """Return rows as a bag: how many there are of each, whatever their order.

    Parameters
    ----------
    rows : Iterable[Mapping] or pyarrow.Table
        The rows; a column ``_weight`` counts them.

    Returns
    -------
    Counter[str]
        Number of rows by their text. Nulls equal nulls, NaN equals NaN.

    Examples
    --------
    >>> bag([{"a": 1}, {"a": 1, "_weight": 2}])
    Counter({"(('a', 1),)": 3})
    """
    counted: Counter[str] = Counter()
    for row in rows.to_pylist() if isinstance(rows, pa.Table) else rows:
        text = repr(tuple((name, _plain(value)) for name, value in sorted(row.items()) if name != "_weight"))
        counted[text] += row.get("_weight", 1)
    return Counter({text: count for text, count in counted.items() if count})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, dict):
        return tuple((name, _plain(each)) for name, each in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    return value
