"""How the names of datasets are read and written."""

from __future__ import annotations

import re
from typing import NamedTuple

from df_runtime.errors import DatasetNameError

_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_SQL_NAME = re.compile(rf"\s*({_PART})(?:\s*\.\s*({_PART}))?(?:\s*\.\s*({_PART}))?\s*", re.DOTALL)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_ASCII_LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})
_RESERVED = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "between",
        "by",
        "case",
        "cast",
        "create",
        "cross",
        "current_date",
        "current_time",
        "current_timestamp",
        "delete",
        "desc",
        "distinct",
        "drop",
        "else",
        "end",
        "except",
        "exists",
        "extract",
        "false",
        "fetch",
        "for",
        "from",
        "full",
        "group",
        "having",
        "in",
        "inner",
        "insert",
        "intersect",
        "interval",
        "into",
        "is",
        "join",
        "lateral",
        "left",
        "like",
        "limit",
        "natural",
        "not",
        "null",
        "of",
        "offset",
        "on",
        "or",
        "order",
        "outer",
        "over",
        "partition",
        "qualify",
        "right",
        "row",
        "rows",
        "select",
        "set",
        "some",
        "table",
        "then",
        "to",
        "true",
        "union",
        "unnest",
        "update",
        "using",
        "values",
        "view",
        "when",
        "where",
        "window",
        "with",
    ]
)


def _check_text(name: object) -> None:
    if not isinstance(name, str):
        raise DatasetNameError(f"A name of a dataset is a text, found {name!r}.")


class TableName(NamedTuple):
    """A complete name: catalog, schema and table, each as it is stored.

    Examples
    --------
    >>> TableName.parse('sales."Order Items"', catalog="lake", schema="public")
    TableName(catalog='lake', schema='sales', table='Order Items')
    >>> TableName.parse("Orders", catalog="lake", schema="public").table
    'orders'
    """

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str, *, catalog: str, schema: str, normalize: bool = True) -> TableName:
        """Read a name the way SQL reads it after FROM.

        A part without quotes is lower-cased (ASCII letters, as the engine does), a part in double quotes is
        kept. Text that is no SQL name (`my-table`, `2026 orders`) is the literal name of a table in the
        default schema.

        Parameters
        ----------
        text : str
            `table`, `schema.table` or `catalog.schema.table`.
        catalog, schema : str
            What stands in for the parts that are left out.
        normalize : bool
            Whether parts without quotes are lower-cased.

        Returns
        -------
        TableName

        Raises
        ------
        DatasetNameError
            The name is empty, or lies in `information_schema`, which is the engine's own.
        """
        _check_text(text)
        match = _SQL_NAME.fullmatch(text)
        if match is None:
            parts = [text]
        else:
            parts = [_part(part, normalize) for part in match.groups() if part is not None]
        if not text.strip() or "\0" in text or not is_unicode(text):
            raise DatasetNameError(f"{text!r} is no name for a dataset; give it visible characters.")
        name = cls(*[catalog, schema][: 3 - len(parts)], *parts)
        if name.schema == "information_schema":
            raise DatasetNameError(f"{text!r} lies in `information_schema`, which is the engine's own.")
        return name

    def quoted(self) -> str:
        """Write the complete name with every part in quotes.

        Returns
        -------
        str
        """
        return ".".join(quoted(part) for part in self)

    def relative(self, *, catalog: str, schema: str) -> str:
        """Write the shortest name that means this table in SQL.

        Parameters
        ----------
        catalog, schema : str
            The parts that may be left out.

        Returns
        -------
        str
        """
        parts = tuple(self)
        if self.catalog == catalog:
            parts = parts[2:] if self.schema == schema else parts[1:]
        return ".".join(quote_if_needed(part) for part in parts)


def quote_if_needed(name: str) -> str:
    """Write one part of a name as SQL needs it: in quotes unless it is plain, lower case and not reserved.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Examples
    --------
    >>> quote_if_needed("amount"), quote_if_needed("Amount"), quote_if_needed("order")
    ('amount', '"Amount"', '"order"')
    """
    return name if _PLAIN.fullmatch(name) and name not in _RESERVED else quoted(name)


def quoted(name: str) -> str:
    """Write one part of a name in quotes.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return '"' + name.replace('"', '""') + '"'


def ascii_lower(text: str) -> str:
    """Lower-case ASCII letters only, as the engine does with names that have no quotes.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return text.translate(_ASCII_LOWER)


def is_unicode(text: str) -> bool:
    """Tell whether a text can leave Python: lone surrogates can't.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _part(text: str, normalize: bool) -> str:
    if text.startswith('"'):
        return text[1:-1].replace('""', '"')
    return ascii_lower(text) if normalize else text
