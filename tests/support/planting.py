"""Small throw-away workspaces, to show that a check finds what it looks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a root and return the root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def workspace(
    root: Path, sources: Mapping[str, str], *, dependencies: Mapping[str, Iterable[str]] | None = None
) -> Path:
    """Plant a workspace.

    Parameters
    ----------
    root : Path
        Where to write it.
    sources : Mapping[str, str]
        Text of each source by its path below ``packages``, like ``schema_spec/table.py``.
    dependencies : Mapping[str, Iterable[str]] | None
        What each module's ``pyproject.toml`` declares.
    """
    declared = dict(dependencies or {})
    modules = {name.split("/")[0] for name in sources}
    files = {"pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n'}
    for module in sorted(modules):
        wanted = ", ".join(f'"{name}"' for name in declared.get(module, ()))
        files[f"packages/{module}/pyproject.toml"] = (
            f'[project]\nname = "{module.replace("_", "-")}"\ndependencies = [{wanted}]\n'
        )
        files[f"packages/{module}/src/{module}/__init__.py"] = '"""A planted package."""\n'
    for name, text in sources.items():
        module, _, rest = name.partition("/")
        files[f"packages/{module}/src/{module}/{rest}"] = text
    return write(root, files)
