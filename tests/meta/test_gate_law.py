"""Texts reach an engine in one package, and there past one gate."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import planting
from workspace import ROOT, members, parse

# What takes a text and plans it, on the engine and on the contexts of the `datafusion` package.
DOORS = frozenset({"sql", "sql_with_options", "prepare", "register_view"})
# What hands a text on to them within the limits of a policy.
HALLS = frozenset({"planned_text", "prepared_text"})
HOLDERS = frozenset({"engine", "_engine", "context", "ctx", "opened"})
# Module, function: each of them comes after `Gate.check` for the same text, as the tests of df-runtime show.
GUARDED = frozenset(
    {
        ("df_runtime/_gate.py", "_refuse_unread"),
        ("df_runtime/_information_schema.py", "described"),  # plans views of its own, never a user's text
        ("df_runtime/_naming.py", "_listed"),  # likewise: asks for the names of all tables
        ("df_runtime/_limits.py", "planned_text"),
        ("df_runtime/_limits.py", "prepared_text"),
        ("df_runtime/session.py", "_plan"),
        ("df_runtime/prepared.py", "_made"),
        ("df_runtime/_substrait.py", "_produced"),
        ("df_runtime/_resolve.py", "attach"),
        ("df_runtime/_resolve.py", "attach_context"),
        (
            "df_runtime/_changes.py",
            "attach_context",
        ),  # a DataFrame; its condition is one that delta-io has parsed
    }
)


def doors(root: Path) -> set[tuple[str, str]]:
    """List the functions that hand a text to an engine or to a context."""
    found: set[tuple[str, str]] = set()
    for member in members(root):
        for path in member.files():
            if path.suffix != ".py":
                continue
            name = path.relative_to(member.source.parent).as_posix()
            for function in ast.walk(parse(path)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.update((name, function.name) for call in ast.walk(function) if _is_door(call))
    return found


def _is_door(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in HALLS:
        return True
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DOORS):
        return False
    holder = node.func.value
    if isinstance(holder, ast.Call):
        holder = holder.func
    name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
    return name in HOLDERS


def test_texts_pass_the_gate():
    assert doors(ROOT) == GUARDED


@pytest.mark.parametrize(
    "source",
    [
        "def run(engine, query):\n    return engine.sql(query)\n",
        "class Runner:\n    def run(self, query):\n        return self._engine.sql(query, allow_ddl=True)\n",
        "def run(session, query):\n    return session.context.sql(query)\n",
        "def run(engine):\n    engine.register_view('v', 'SELECT 1')\n",
        "def run(ctx, query):\n    return ctx.sql_with_options(query, None)\n",
        "class Runner:\n    def run(self, query):\n        return self.opened().prepare(query)\n",
        "def run(engine, query, policy, profile):\n    planned_text(engine, query, None, policy, profile)\n",
    ],
)
@pytest.mark.parametrize("module", ["freshlake/run.py", "df_runtime/_other.py"])
def test_a_planted_door_is_found(tmp_path: Path, module: str, source: str):
    root = planting.workspace(tmp_path, {module: source})

    assert doors(root) == {(module, "run")}
