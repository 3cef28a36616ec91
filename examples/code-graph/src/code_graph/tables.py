"""Contracts of the tables that an extraction fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from code_graph._columns import FLAG, INTEGER, LAYOUT, OPTIONAL_INTEGER, OPTIONAL_TEXT, TEXT
from schema_spec import ColumnSpec, FileId, TableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {TEXT: "string", OPTIONAL_TEXT: "string", INTEGER: "long", OPTIONAL_INTEGER: "long", FLAG: "boolean"}
_NULLABLE = frozenset({OPTIONAL_TEXT, OPTIONAL_INTEGER})

_TABLE_COMMENTS = {
    "files": "Python sources of the tree, one row each; committed last, so it vouches for the other tables",
    "definitions": "Modules, classes and functions, with the bytes they span",
    "imports": "Imported names, one row for each name of an import statement",
    "references": "Calls, base classes, decorators, writes to attributes, and reads of what modules define",
    "diagnostics": "What is wrong or odd about files; such files never stop a run",
}

_KEYS = {
    "files": ("path",),
    "definitions": ("path", "start_byte", "kind"),
    "imports": ("path", "start_byte"),
    "references": (),
    "diagnostics": (),
}

_COMMON = {
    "path": "File, relative to the source, with / between its parts; bytes that are no UTF-8 as \\xNN",
    "module": "Dotted name of the file's module",
    "scope": "Qualified name of the definition around it",
    "line": "First line, from 1",
    "start_byte": "Offset of the first byte in the file",
    "end_byte": "Offset after the last byte",
}

_COLUMN_COMMENTS = {
    "files": {
        "is_package": "Whether it is an __init__.py",
        "status": "ok, or the code of the diagnostic that left it without rows",
        "sha256": "Hash of its bytes; null where it could not be read",
        "size_bytes": "Its size",
        "lines": "Number of lines",
        "encoding": "Encoding as declared; utf-8-sig with a byte order mark",
        "extractor": "What besides path and bytes its rows depend on: extractor, Python, package prefix",
        **{
            f"{table}_digest": f"Digest of the file's rows in {table}; null where it has none"
            for table in ("definitions", "imports", "references", "diagnostics")
        },
    },
    "definitions": {
        "kind": "module, class, function or method",
        "is_async": "Whether it is an async def",
        "name": "Its own name",
        "qualified_name": "Dotted name from the top; <locals> follows a function, as in __qualname__",
        "parent": "Qualified name of the definition around it; null for modules",
        "end_line": "Last line",
    },
    "imports": {
        "kind": "import or from",
        "level": "Number of leading dots",
        "written_module": "Module as written, with its dots",
        "imported_module": "Absolute name of the module; as written where the dots lead out of the tree",
        "name": "Name after from ... import, * for all; null for a plain import",
        "alias": "Name after as",
        "bound_name": "Name that the statement binds; null for *",
        "target": "Absolute dotted name of what is imported: a module, or a name in one",
        "is_stdlib": "Whether the top package belongs to the standard library of the extracting Python",
    },
    "references": {
        "kind": "call, base, decorator, write or read",
        "expression": "Dotted name as written; starts with a dot after an expression; null for calls of one",
        "name": "Its last part",
        "target": "Absolute dotted name it leads to, as far as the file alone can tell",
    },
    "diagnostics": {
        "code": "Kind of finding",
        "severity": "error: the file has no rows; note: it has",
        "message": "What was found",
        "line": "Line, from 1",
        "column": "Character in the line, from 1",
    },
}


def _spec(table: str) -> TableSpec:
    comments = {**_COMMON, **_COLUMN_COMMENTS[table]}
    columns = [
        ColumnSpec(
            name,
            _TYPES[kind],
            nullable=kind in _NULLABLE,
            semantic=FileId if name == "path" else None,
            comment=comments[name],
        )
        for name, kind in LAYOUT[table].items()
    ]
    return TableSpec(table, columns, primary_key=_KEYS[table], comment=_TABLE_COMMENTS[table])


SPECS: Final[Mapping[str, TableSpec]] = {table: _spec(table) for table in LAYOUT}
"""The contracts by table name; `files` is the table that vouches for the others."""
