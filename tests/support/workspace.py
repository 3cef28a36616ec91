"""The workspace as its own files describe it: its members, what they declare and where their sources are."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One package of the workspace.

    Attributes
    ----------
    distribution : str
        Normalised name in package indexes, like ``delta-io``.
    module : str
        Name that is imported, like ``delta_io``.
    folder : Path
        Where its ``pyproject.toml`` is.
    source : Path
        Folder of the imported module.
    dependencies : frozenset[str]
        Normalised names of what it always needs.
    extras : dict[str, frozenset[str]]
        Normalised names per optional feature.
    """

    distribution: str
    module: str
    folder: Path
    source: Path
    dependencies: frozenset[str]
    extras: dict[str, frozenset[str]]

    @property
    def declared(self) -> frozenset[str]:
        """Everything that its source may import."""
        return self.dependencies.union(*self.extras.values())

    def files(self) -> list[Path]:
        """List its Python sources and stubs, and fail where there are none to read."""
        found = sorted(path for path in self.source.rglob("*.py*") if path.suffix in {".py", ".pyi"})
        if not found:
            msg = f"no Python source under {self.source}"
            raise FileNotFoundError(msg)
        return found


def normalised(requirement: str) -> str:
    """Return the name that a requirement asks for, as package indexes compare names."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    if name is None:
        msg = f"not a requirement: {requirement!r}"
        raise ValueError(msg)
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def members(root: Path = ROOT) -> tuple[Member, ...]:
    """Read the members that the root's ``pyproject.toml`` names."""
    patterns = load_toml(root / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    folders = sorted({path.parent for pattern in patterns for path in root.glob(f"{pattern}/pyproject.toml")})
    if not folders:
        msg = f"the workspace at {root} has no members"
        raise FileNotFoundError(msg)
    return tuple(read_member(folder) for folder in folders)


def read_member(folder: Path) -> Member:
    """Read one member's ``pyproject.toml``."""
    document = load_toml(folder / "pyproject.toml")
    project = document["project"]
    module = normalised(project["name"]).replace("-", "_")
    python_source = document.get("tool", {}).get("maturin", {}).get("python-source", "src")
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    return Member(
        distribution=normalised(project["name"]),
        module=module,
        folder=folder,
        source=folder / python_source / module,
        dependencies=frozenset(map(normalised, project.get("dependencies", []))),
        extras={name: frozenset(map(normalised, wanted)) for name, wanted in extras.items()},
    )


def load_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def parse(path: Path) -> ast.Module:
    """Parse a Python source file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every absolute import, wherever in the file it stands.

    ``from a.b import c`` counts as ``a.b.c``; names given to ``import_module`` and ``__import__`` count too.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ) if not name.startswith("."):
                yield node.lineno, name
            case _:
                pass
