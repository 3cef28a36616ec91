"""Tables for people: fitted to a terminal, at full width anywhere else."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import msgspec
from rich import box, cells
from rich.table import Table
from rich.text import Text

_GAP = "  "


class TextTable(msgspec.Struct, frozen=True, kw_only=True):
    """Headings and rows of plain text; the columns at the positions in `right` are aligned to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()

    def fitted(self) -> Table:
        """Lay the table out for a terminal, folding what is too long for a line."""
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for position, heading in enumerate(self.headings):
            justify = "right" if position in self.right else "left"
            shown.add_column(Text(heading), justify=justify, overflow="fold")
        for row in self.rows:
            shown.add_row(*map(Text, row))
        return shown

    def plain(self) -> str:
        """Write the table with one line for each row, however long."""
        columns = list(zip(self.headings, *self.rows, strict=True))
        widths = [max(map(cells.cell_len, column)) for column in columns]
        rule = tuple("-" * width for width in widths)
        return "\n".join(self._line(row, widths) for row in (self.headings, rule, *self.rows))

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        padded: list[str] = []
        for position, (text, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cells.cell_len(text))
            padded.append(space + text if position in self.right else text + space)
        return _GAP.join(padded).rstrip()


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()
) -> TextTable:
    """Make a table of anything that has a text."""
    return TextTable(
        headings=tuple(map(printable, headings)),
        rows=tuple(tuple(map(cell, row)) for row in rows),
        right=frozenset(right),
    )


def cell(value: object) -> str:
    """Write a value as the text of one cell."""
    return "" if value is None else printable(str(value))


def printable(text: str) -> str:
    """`text` with whatever could move the cursor or change the terminal written as an escape."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def seconds(value: float) -> str:
    """Write a time span with as many digits as can matter."""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def count(value: int, noun: str) -> str:
    """`1 row`, `1,234 rows`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _escaped(character: str) -> str:
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character.encode("unicode_escape").decode("ascii")
    return character
