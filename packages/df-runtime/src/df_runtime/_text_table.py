"""Rows as text, for people."""

from __future__ import annotations

import pyarrow as pa

_WIDEST = 60


def text_table(table: pa.Table, *, more: bool) -> str:
    """Lay rows out in columns; numbers to the right, long values cut."""
    names = table.schema.names
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    widths = [
        max(len(name), *map(len, cells)) if cells else len(name)
        for name, cells in zip(names, columns, strict=True)
    ]
    right = [_is_number(field.type) for field in table.schema]
    rows = [_row(list(cells), widths, right) for cells in zip(*columns, strict=True)]
    rule = "-+-".join("-" * width for width in widths)
    lines = [_row(names, widths, [False] * len(names)), rule, *rows]
    count = f"{table.num_rows} row{'' if table.num_rows == 1 else 's'}"
    lines.append(f"(first {count})" if more else f"({count})")
    return "\n".join(lines)


def _row(cells: list[str], widths: list[int], right: list[bool]) -> str:
    aligned = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return " | ".join(aligned).rstrip()


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
