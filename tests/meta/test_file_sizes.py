"""Units stay small enough to be read whole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import planting
from workspace import ROOT, members, parse

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 40


def oversized(root: Path) -> list[str]:
    """List source files and functions that are longer than agreed."""
    found: list[str] = []
    for member in members(root):
        sources = [*member.files(), *sorted((member.folder / "src").rglob("*.rs"))]
        for path in sources:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MAX_FILE_LINES:
                found.append(f"{path.relative_to(root)}: {lines} lines")
            if path.suffix == ".py":
                found += [f"{path.relative_to(root)}:{each}" for each in _long_functions(parse(path))]
    return found


def _long_functions(tree: ast.Module) -> list[str]:
    return [
        f"{node.lineno}: {node.name} has {length} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _body_lines(node)) > MAX_FUNCTION_LINES
    ]


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from the first statement on, without the docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1


def test_sources_are_small_enough_to_read_whole():
    assert oversized(ROOT) == []


def test_a_planted_long_file_is_found(tmp_path: Path):
    root = planting.workspace(tmp_path, {"delta_io/table.py": "x = 1\n" * (MAX_FILE_LINES + 1)})

    assert oversized(root) == [f"packages/delta_io/src/delta_io/table.py: {MAX_FILE_LINES + 1} lines"]


@pytest.mark.parametrize("documentation", ["", '    """Say much.\n' + "\n    word" * 60 + '\n    """\n'])
@pytest.mark.parametrize(("lines", "count"), [(MAX_FUNCTION_LINES, 0), (MAX_FUNCTION_LINES + 1, 1)])
def test_a_planted_long_function_is_found(tmp_path: Path, documentation: str, lines: int, count: int):
    text = f"def long():\n{documentation}" + "    x = 1\n" * lines
    root = planting.workspace(tmp_path, {"delta_io/table.py": text})

    assert len(oversized(root)) == count
