"""Rows of the tables as columns of integers over one list of strings.

Workers send these across the process boundary: a few byte strings per chunk, which become Arrow arrays
without another look at their values.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = "text"
"""A string, never null; the value is its place in the list of strings."""
OPTIONAL_TEXT = "optional text"
"""As `TEXT`; the empty string stands for null."""
INTEGER = "integer"
"""A 64-bit integer, never null."""
OPTIONAL_INTEGER = "optional integer"
"""As `INTEGER`; -1 stands for null."""
FLAG = "flag"
"""A boolean, never null."""

LAYOUT: dict[str, dict[str, str]] = {
    "files": {
        "path": TEXT,
        "module": TEXT,
        "is_package": FLAG,
        "status": TEXT,
        "sha256": OPTIONAL_TEXT,
        "size_bytes": OPTIONAL_INTEGER,
        "lines": OPTIONAL_INTEGER,
        "encoding": OPTIONAL_TEXT,
        "extractor": TEXT,
        "definitions_digest": OPTIONAL_TEXT,
        "imports_digest": OPTIONAL_TEXT,
        "references_digest": OPTIONAL_TEXT,
        "diagnostics_digest": OPTIONAL_TEXT,
    },
    "definitions": {
        "path": TEXT,
        "module": TEXT,
        "kind": TEXT,
        "is_async": FLAG,
        "name": TEXT,
        "qualified_name": TEXT,
        "parent": OPTIONAL_TEXT,
        "line": INTEGER,
        "end_line": INTEGER,
        "start_byte": INTEGER,
        "end_byte": INTEGER,
    },
    "imports": {
        "path": TEXT,
        "module": TEXT,
        "scope": TEXT,
        "kind": TEXT,
        "level": INTEGER,
        "written_module": TEXT,
        "imported_module": TEXT,
        "name": OPTIONAL_TEXT,
        "alias": OPTIONAL_TEXT,
        "bound_name": OPTIONAL_TEXT,
        "target": TEXT,
        "is_stdlib": FLAG,
        "line": INTEGER,
        "start_byte": INTEGER,
        "end_byte": INTEGER,
    },
    "references": {
        "path": TEXT,
        "module": TEXT,
        "scope": TEXT,
        "kind": TEXT,
        "expression": OPTIONAL_TEXT,
        "name": OPTIONAL_TEXT,
        "target": OPTIONAL_TEXT,
        "line": INTEGER,
        "start_byte": INTEGER,
        "end_byte": INTEGER,
    },
    "diagnostics": {
        "path": TEXT,
        "code": TEXT,
        "severity": TEXT,
        "message": TEXT,
        "line": OPTIONAL_INTEGER,
        "column": OPTIONAL_INTEGER,
    },
}

_FIELD_END = b"\x1f"


class Runs:
    """Values of a text column of which neighbours are equal: each once, with the number of its rows."""

    __slots__ = ("counts", "values")

    def __init__(self) -> None:
        self.values: list[str] = []
        self.counts: list[int] = []

    def __len__(self) -> int:
        return sum(self.counts)

    def add(self, value: str, count: int) -> None:
        """Append equal values."""
        if self.values and self.values[-1] == value:
            self.counts[-1] += count
        else:
            self.values.append(value)
            self.counts.append(count)


class _Codes(dict[str, int]):
    """Strings in the order they were first asked for."""

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self)
        return code


class RowChunk:
    """Rows of all tables, column by column, over one list of strings."""

    def __init__(self) -> None:
        self._codes = _Codes()
        self._codes[""] = 0
        self._columns = {
            table: {
                name: array("i" if kind in (TEXT, OPTIONAL_TEXT) else "q") for name, kind in layout.items()
            }
            for table, layout in LAYOUT.items()
        }

    def add(self, table: str, values: dict[str, str | Runs | Sequence[Any]]) -> str:
        """Append rows.

        Parameters
        ----------
        table : str
            A table of `LAYOUT`.
        values : dict of str to str, Runs or sequence
            Per column its values, or one string that stands in every row.

        Returns
        -------
        str
            A digest of the values that differ from row to row; empty when there are no rows.
        """
        parts: list[bytes] = []
        count = 0
        constants: list[str] = []
        code_of = self._codes.__getitem__
        for name, kind in LAYOUT[table].items():
            column, given = self._columns[table][name], values[name]
            if isinstance(given, str):
                constants.append(name)
                continue
            count = len(given)
            if isinstance(given, Runs):
                runs = map(repeat, map(code_of, given.values), given.counts)
                column.fromlist([*chain.from_iterable(runs)])
                parts.append(f"{given.counts}{given.values}".encode(errors="surrogatepass"))
            elif kind in (TEXT, OPTIONAL_TEXT):
                column.fromlist(list(map(code_of, given)))
                parts.append("\0".join(given).encode(errors="surrogatepass"))
            else:
                integers = array("q", given)
                column.extend(integers)
                parts.append(integers.tobytes())
        for name in constants:
            self._columns[table][name].extend(array("i", [self._codes[str(values[name])]]) * count)
        return blake2b(_FIELD_END.join(parts), digest_size=8).hexdigest() if count else ""

    def pack(self) -> PackedRows:
        """Give the rows as plain values that any process can read."""
        columns = {
            table: {name: column.tobytes() for name, column in columns.items()}
            for table, columns in self._columns.items()
        }
        return {"strings": list(self._codes), "columns": columns}


class PackedRows(TypedDict):
    """Rows of all tables as a process hands them over.

    `strings` starts with the empty string; `columns` holds native 32-bit codes into it for text and native
    64-bit integers for the rest, per table and column.
    """

    strings: list[str]
    columns: dict[str, dict[str, bytes]]
