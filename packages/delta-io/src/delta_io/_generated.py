"""Generated columns computed anew when a mutation gives what they are computed from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

_EXPRESSION: Final = b"delta.generationExpression"
# Texts in single quotes are passed over; names are plain, in double quotes, or in backticks.
_TOKEN: Final = re.compile(r"""'(?:[^']|'')*'|"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|([A-Za-z_]\w*)(?!\w|\s*\()""")


def regenerated(schema: pa.Schema, given: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return SQL for the generated columns that depend on columns given new values, and are given none.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns of the table.
    given : Mapping[str, str]
        SQL for the new values of columns.
    others : Mapping[str, str]
        SQL for the values of the other columns; their names when left out.
    """
    found: dict[str, str] = {}
    for field in schema:
        expression = (field.metadata or {}).get(_EXPRESSION, b"").decode()
        if not expression or field.name in given:
            continue
        names = _names(expression, schema)
        if names & given.keys():
            found[field.name] = _replaced(expression, {**others, **given}, schema)
    return found


def _names(expression: str, schema: pa.Schema) -> set[str]:
    tokens = (_name(match, schema) for match in _TOKEN.finditer(expression))
    return {name for name in tokens if name is not None}


def _replaced(expression: str, values: Mapping[str, str], schema: pa.Schema) -> str:
    def value(match: re.Match[str]) -> str:
        name = _name(match, schema)
        return f"({values[name]})" if name is not None and name in values else match[0]

    return _TOKEN.sub(value, expression)


def _name(match: re.Match[str], schema: pa.Schema) -> str | None:
    """Return the column that a token names; names are not told apart by case."""
    double, back, plain = match.groups()
    text = double.replace('""', '"') if double is not None else (back and back.replace("``", "`")) or plain
    folded = (text or "").casefold()
    return next((name for name in schema.names if name.casefold() == folded), None)
