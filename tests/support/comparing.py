"""Rows of two engines, compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa


def difference(one: pa.Table, other: pa.Table, *, digits: int = 9) -> str:
    """Say where two results differ as bags of rows; nothing if they agree.

    Numbers agree to so many digits, whatever their types; a date is the midnight it starts with. Names of
    columns do not count.
    """
    left, right = _rows(one), _rows(other)
    if len(left) != len(right):
        return f"{len(left)} rows against {len(right)}"
    pairs = zip(left, right, strict=True)
    return next((f"{a} against {b}" for a, b in pairs if not _same_row(a, b, 10.0**-digits)), "")


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return sorted(zip(*columns, strict=True), key=_rank)


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, list):
        return tuple(_plain(each) for each in value)
    return value


def _rank(row: Sequence[Any]) -> list[tuple[bool, str]]:
    # Numbers rounded, because engines differ in their last digits.
    return [(value is None, f"{value:025.4f}" if isinstance(value, float) else str(value)) for value in row]


def _same_row(one: Sequence[Any], other: Sequence[Any], near: float) -> bool:
    return len(one) == len(other) and all(_same(a, b, near) for a, b in zip(one, other, strict=True))


def _same(one: Any, other: Any, near: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=near, abs_tol=near) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)
