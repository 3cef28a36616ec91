"""Sessions are constructed in one module, the one that defines SessionFactory."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import planting
from workspace import ROOT, members, parse

CONSTRUCTORS = frozenset(
    {
        "datafusion.SessionContext",
        "datafusion.context.SessionContext",
        "datafusion_ext.Engine",
        "datafusion_ext._native.Engine",
        "ibis.datafusion.connect",
    }
)


def stray_sessions(root: Path) -> list[str]:
    """List every construction of a session outside the module of the session factory."""
    found: list[str] = []
    for member in members(root):
        for path in member.files():
            tree = parse(path)
            if not (member.module == "df_runtime" and _defines(tree, "SessionFactory")):
                found += [f"{path.relative_to(root)}:{line}: {name}" for line, name in _constructions(tree)]
    return found


def factory_sessions(root: Path) -> set[str]:
    """Return what the session factory's module constructs."""
    return {
        name
        for member in members(root)
        if member.module == "df_runtime"
        for path in member.files()
        if _defines(tree := parse(path), "SessionFactory")
        for _, name in _constructions(tree)
    }


def _defines(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body)


def _constructions(tree: ast.Module) -> list[tuple[int, str]]:
    meanings = _meanings(tree)
    return [
        (node.lineno, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := _resolved(node.func, meanings)) in CONSTRUCTORS
    ]


def _meanings(tree: ast.Module) -> dict[str, str]:
    """Map each name that an import or a plain assignment binds to the dotted name it stands for."""
    meanings: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                meanings[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                meanings[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (name := _resolved(node.value, meanings)) in CONSTRUCTORS:
            meanings.update({target.id: name for target in node.targets if isinstance(target, ast.Name)})
    return meanings


def _resolved(node: ast.expr, meanings: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        # A classmethod of a constructor's class makes a session too.
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    dotted = ".".join([meanings.get(node.id, node.id), *parts])
    return next((name for name in CONSTRUCTORS if dotted == name or dotted.startswith(f"{name}.")), dotted)


def test_only_the_session_factory_constructs_sessions():
    assert stray_sessions(ROOT) == []


def test_the_session_factory_constructs_the_engine():
    assert "datafusion_ext.Engine" in factory_sessions(ROOT)


@pytest.mark.parametrize(
    "source",
    [
        "import datafusion\nctx = datafusion.SessionContext()\n",
        "import datafusion as df\ndef go():\n    return df.SessionContext()\n",
        "from datafusion import SessionContext as Context\nContext()\n",
        "from datafusion.context import SessionContext\nSessionContext.global_ctx()\n",
        "from datafusion import SessionContext\nmake = SessionContext\nmake()\n",
        "from datafusion_ext import Engine\nEngine({})\n",
        "import datafusion_ext._native\ndatafusion_ext._native.Engine()\n",
        "import ibis\nibis.datafusion.connect()\n",
    ],
)
@pytest.mark.parametrize("module", ["freshlake/run.py", "df_runtime/_other.py"])
def test_a_planted_session_is_found(tmp_path: Path, module: str, source: str):
    root = planting.workspace(tmp_path, {module: source})

    assert len(stray_sessions(root)) == 1


def test_the_factory_itself_and_mentions_of_the_type_pass(tmp_path: Path):
    root = planting.workspace(
        tmp_path,
        {
            "df_runtime/factory.py": (
                "from datafusion_ext import Engine\n"
                "class SessionFactory:\n    def open(self): return Engine()\n"
            ),
            "freshlake/run.py": (
                "from datafusion import SessionContext\ndef show(context: SessionContext) -> None: ...\n"
            ),
        },
    )

    assert stray_sessions(root) == []
    assert factory_sessions(root) == {"datafusion_ext.Engine"}
