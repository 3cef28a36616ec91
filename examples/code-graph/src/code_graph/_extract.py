"""From the bytes of one source file to its rows. No I/O."""

from __future__ import annotations

import ast
import sys
from hashlib import sha256
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from code_graph._columns import Runs
from code_graph._source import LineMap, declared_encoding, split_lines
from code_graph._walk import TreeWalk, dotted, span_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from code_graph._columns import RowChunk
    from code_graph._scopes import Scope
    from code_graph._walk import Mark, Span

VERSION = 1
"""Part of every file's row: rows of another version are replaced even where the file did not change."""

OK = "ok"
Columns: TypeAlias = "dict[str, str | Runs | Sequence[Any]]"

_PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, LookupError)


class SourceFile(NamedTuple):
    """A file of the tree: its path as rows carry it, and the dotted name it is imported by."""

    path: str
    module: str
    is_package: bool


class Diagnostic(NamedTuple):
    """Why a file has no rows, or what is odd about it; line and column count from 1, None where unknown."""

    code: str
    message: str
    severity: str = "error"
    line: int | None = None
    column: int | None = None


def extractor_id(prefix: str) -> str:
    """Name everything besides a file's bytes and path that its rows depend on."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{VERSION}/python-{python}" + (f"/{prefix}" if prefix else "")


def extract(rows: RowChunk, file: SourceFile, data: bytes, extractor: str) -> None:
    """Add the rows of one file to all tables.

    Parameters
    ----------
    rows : RowChunk
        What to add to.
    file : SourceFile
        Which file it is.
    data : bytes
        Its content.
    extractor : str
        From `extractor_id`.
    """
    outcome = _parse(data)
    digests: dict[str, str] = {}
    diagnostics = outcome.diagnostics
    if outcome.tree is not None and outcome.lines is not None:
        walk = TreeWalk(outcome.tree, file.module, file.is_package)
        found = {
            "definitions": _definitions(file, walk, outcome.lines, len(data)),
            "imports": _imports(file, walk, outcome.lines),
            "references": _references(file, walk, outcome.lines),
        }
        digests = {table: rows.add(table, columns) for table, columns in found.items()}
    add_file(
        rows,
        file,
        status=OK if outcome.tree is not None else diagnostics[-1].code,
        extractor=extractor,
        content=FileContent(sha256(data).hexdigest(), len(data), outcome.line_count, outcome.encoding),
        digests=digests,
        diagnostics=diagnostics,
    )


class FileContent(NamedTuple):
    """What a file holds, as far as its own row says."""

    sha256: str
    size_bytes: int
    lines: int
    encoding: str


def add_file(
    rows: RowChunk,
    file: SourceFile,
    *,
    status: str,
    extractor: str,
    content: FileContent | None = None,
    digests: dict[str, str] | None = None,
    diagnostics: Sequence[Diagnostic] = (),
) -> None:
    """Add a file's own row and its diagnostics; `content` is None when the file could not be read."""
    found = digests or {}
    add_diagnostics = rows.add("diagnostics", _diagnostic_columns(file.path, diagnostics))
    rows.add(
        "files",
        {
            "path": [file.path],
            "module": [file.module],
            "is_package": [file.is_package],
            "status": [status],
            "sha256": [content.sha256 if content else ""],
            "size_bytes": [content.size_bytes if content else -1],
            "lines": [content.lines if content else -1],
            "encoding": [content.encoding if content else ""],
            "extractor": [extractor],
            "definitions_digest": [found.get("definitions", "")],
            "imports_digest": [found.get("imports", "")],
            "references_digest": [found.get("references", "")],
            "diagnostics_digest": [add_diagnostics],
        },
    )


class _Outcome(NamedTuple):
    encoding: str
    line_count: int
    tree: ast.Module | None
    lines: LineMap | None
    diagnostics: list[Diagnostic]


def _parse(data: bytes) -> _Outcome:
    try:
        encoding = declared_encoding(data)
    except SyntaxError as error:
        return _refused(data, "", Diagnostic("encoding-unknown", _text(error.msg)))
    try:
        tree = ast.parse(data)
    except _PARSE_ERRORS as error:
        return _refused(data, encoding, _why(error, data, encoding))
    try:
        if not data.isascii():
            data.decode(encoding)
        lines = LineMap(data, encoding)
    except UnicodeDecodeError as error:
        return _refused(data, encoding, _why(error, data, encoding))
    except UnicodeError as error:
        return _refused(data, encoding, Diagnostic("encoding-unmapped", _text(error)))
    diagnostics: list[Diagnostic] = []
    if not encoding.startswith("utf-8"):
        message = f"The file declares the encoding {encoding}."
        diagnostics.append(Diagnostic("encoding-not-utf-8", message, severity="note"))
    return _Outcome(encoding, lines.count, tree, lines, diagnostics)


def _refused(data: bytes, encoding: str, diagnostic: Diagnostic) -> _Outcome:
    return _Outcome(encoding, len(split_lines(data)), None, None, [diagnostic])


def _why(error: Exception, data: bytes, encoding: str) -> Diagnostic:
    if isinstance(error, (RecursionError, MemoryError)):
        return Diagnostic("nesting-too-deep", _text(error) or type(error).__name__)
    if b"\0" in data:
        line = len(split_lines(data[: data.index(b"\0") + 1]))
        return Diagnostic("null-byte", "The file contains a null byte.", line=line)
    try:
        data.decode(encoding)
    except UnicodeDecodeError as undecodable:
        line = len(split_lines(data[: undecodable.start + 1]))
        message = f"The file is not {encoding}: {undecodable.reason}."
        return Diagnostic("encoding-invalid", message, line=line)
    if isinstance(error, SyntaxError):
        if "too many nested" in error.msg or "too many levels" in error.msg:
            return Diagnostic("nesting-too-deep", _text(error.msg), line=_position(error.lineno))
        line, column = _position(error.lineno), _position(error.offset)
        return Diagnostic("syntax-error", _text(error.msg), line=line, column=column)
    return Diagnostic("syntax-error", _text(error))


def _position(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def _text(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()


def _offsets(spans: Iterable[Span], lines: LineMap) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Give the first line of each span, its first byte and the byte after its last."""
    columns = tuple(zip(*spans, strict=True))
    if not columns:
        return [], [], []
    first, column, last, end_column = columns
    start_of = lines.starts.__getitem__
    begin = map(add, map(start_of, first), column)
    end = map(add, map(start_of, last), end_column)
    return first, lines.translate(begin), lines.translate(end)


def _definitions(file: SourceFile, walk: TreeWalk, lines: LineMap, size: int) -> Columns:
    found = walk.definitions
    nodes = [each.node for each in found]
    line, begin, end = _offsets(map(span_of, nodes), lines)
    name = file.module.rpartition(".")[2]
    return {
        "path": file.path,
        "module": file.module,
        "kind": ["module", *(each.kind for each in found)],
        "is_async": [False, *(each.is_async for each in found)],
        "name": [name, *(each.name for each in found)],
        "qualified_name": [file.module, *(each.qualified_name for each in found)],
        "parent": ["", *(each.parent for each in found)],
        "line": [1, *line],
        "end_line": [max(lines.count, 1), *(node.end_lineno for node in nodes)],
        "start_byte": [0, *begin],
        "end_byte": [size, *end],
    }


def _imports(file: SourceFile, walk: TreeWalk, lines: LineMap) -> Columns:
    found = walk.imports
    line, begin, end = _offsets([span_of(each.node) for each in found], lines)
    stdlib = sys.stdlib_module_names
    return {
        "path": file.path,
        "module": file.module,
        "scope": [each.scope for each in found],
        "kind": [each.kind for each in found],
        "level": [each.level for each in found],
        "written_module": [each.written for each in found],
        "imported_module": [each.module for each in found],
        "name": [each.name for each in found],
        "alias": [each.alias for each in found],
        "bound_name": [each.bound_name for each in found],
        "target": [each.target for each in found],
        "is_stdlib": [each.module.partition(".")[0] in stdlib for each in found],
        "line": line,
        "start_byte": begin,
        "end_byte": end,
    }


class _LastParts(dict[str, str]):
    """Last parts of dotted names; expressions repeat so often that looking up beats cutting."""

    def __missing__(self, expression: str) -> str:
        part = self[expression] = expression.rpartition(".")[2]
        return part


class _References:
    """References of one file in columns; appending is the hottest work after the walk."""

    def __init__(self) -> None:
        self.scopes = Runs()
        self.kinds = Runs()
        self.expressions: list[str] = []
        self.targets: list[str] = []
        self.spans: list[Span] = []

    def add_calls(self, scope: Scope) -> None:
        calls = scope.calls
        if not calls:
            return
        self.scopes.add(scope.definition, len(calls))
        self.kinds.add("call", len(calls))
        roots, expressions, spans = zip(*calls, strict=True)
        self.expressions += expressions
        self.spans += spans
        self.targets += [
            target + expression[len(root) :] if (target := scope[root]) else ""
            for root, expression in zip(roots, expressions, strict=True)
        ]

    def add_reads(self, scope: Scope) -> None:
        """Add the reads that lead out of the function they are in; a read local variable tells nothing."""
        for root, node in scope.reads:
            target = scope[root]
            if type(target) is str:
                expression = root if type(node) is ast.Name else dotted(node)[1]
                self.add("read", scope, expression, target + expression[len(root) :], node)

    def add_mark(self, mark: Mark) -> None:
        """Add a base, a decorator or a write; writes to attributes of local variables tell nothing."""
        target = mark.scope[mark.root]
        if mark.kind != "write" or type(target) is str:
            full = target + mark.expression[len(mark.root) :] if target else ""
            self.add(mark.kind, mark.scope, mark.expression, full, mark.node)

    def add(self, kind: str, scope: Scope, expression: str, target: str, node: ast.expr) -> None:
        self.scopes.add(scope.definition, 1)
        self.kinds.add(kind, 1)
        self.expressions.append(expression)
        self.targets.append(target)
        self.spans.append(span_of(node))


def _references(file: SourceFile, walk: TreeWalk, lines: LineMap) -> Columns:
    found = _References()
    for scope in walk.scopes:
        found.add_calls(scope)
        found.add_reads(scope)
    for mark in walk.marks:
        found.add_mark(mark)
    line, begin, end = _offsets(found.spans, lines)
    return {
        "path": file.path,
        "module": file.module,
        "scope": found.scopes,
        "kind": found.kinds,
        "expression": found.expressions,
        "name": list(map(_LastParts().__getitem__, found.expressions)),
        "target": found.targets,
        "line": line,
        "start_byte": begin,
        "end_byte": end,
    }


def _diagnostic_columns(path: str, found: Sequence[Diagnostic]) -> Columns:
    return {
        "path": path,
        "code": [each.code for each in found],
        "severity": [each.severity for each in found],
        "message": [each.message for each in found],
        "line": [-1 if each.line is None else each.line for each in found],
        "column": [-1 if each.column is None else each.column for each in found],
    }
