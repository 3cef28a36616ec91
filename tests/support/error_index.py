"""The index of error codes in docs/errors.md, written from the sources.

``python tests/support/error_index.py`` rewrites the tables of the Python packages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workspace import ROOT, Member, members, parse

BEGIN, END = "<!-- codes: begin -->", "<!-- codes: end -->"
PAGE = Path("docs") / "errors.md"


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """One error class that has a code of its own."""

    code: str
    name: str
    meaning: str


def entries(member: Member) -> list[Entry]:
    """List the error classes of a package that have a code of their own, by code."""
    return sorted(entry for path in member.files() if path.suffix == ".py" for entry in _in(parse(path)))


def _in(tree: ast.Module) -> Iterator[Entry]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and (code := _code(node)):
            meaning = (ast.get_docstring(node) or "").partition("\n\n")[0]
            yield Entry(code=code, name=node.name, meaning=" ".join(meaning.split()))


def _code(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code)))
                | ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code)))
            ):
                return code
            case _:
                pass
    return None


def engine_codes(root: Path) -> set[str]:
    """Return the codes that the engine's error module can give."""
    text = (root / "crates" / "datafusion-ext" / "src" / "error.rs").read_text(encoding="utf-8")
    return set(re.findall(r'"(engine-[a-z-]+)"', text))


def tables(root: Path) -> str:
    """Write one table per package that has errors."""
    parts: list[str] = []
    for member in members(root):
        found = entries(member)
        if found:
            rows = [f"| `{entry.code}` | `{entry.name}` | {entry.meaning} |" for entry in found]
            head = ["| code | class | meaning |", "|---|---|---|"]
            parts.append("\n".join([f"## {member.module}", "", *head, *rows]))
    return "\n\n".join(parts)


def documented(root: Path) -> str:
    """Return what the page has between the marks."""
    _, _, rest = (root / PAGE).read_text(encoding="utf-8").partition(BEGIN)
    return rest.partition(END)[0].strip()


def rewrite(root: Path) -> None:
    """Put the tables on the page."""
    before, _, rest = (root / PAGE).read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    (root / PAGE).write_text(f"{before}{BEGIN}\n\n{tables(root)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    rewrite(ROOT)
