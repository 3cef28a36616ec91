"""The project's views over a small tree, kept by `freshlake run`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
COMMAND = "import sys; from freshlake.cli import main; sys.exit(main())"
FILES = {
    "app/__init__.py": "from app.core import main\nfrom . import core\n",
    "app/core.py": "import os\nimport requests\nfrom . import helpers\nfrom .helpers import help as aid\n"
    "class Core:\n    def run(self):\n        self.run()\n        return aid(os.getcwd())\n"
    "def main():\n    return helpers.help(Core().run())\n",
    "app/helpers.py": "def help(path):\n    return len(path)\n",
    "app/helpers/__init__.py": "",
    "app/broken.py": "x = = 1\n",
    "tool.py": "import app.core, app.nothing\napp.core.main()\nmain = 1\n",
}


def freshlake(*arguments):
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    for name in ("freshlake.toml", "contracts", "views"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, root / name)
    for name, text in FILES.items():
        (root / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "source" / name).write_text(text)
    run(root)
    return root


def run(root):
    report = freshlake("run", "--project", root, "--source", root / "source", "--json")
    return {view["name"]: view for view in report["views"]}


def rows(root, query):
    return [tuple(row.values()) for row in freshlake("query", "--project", root, "--json", query)["rows"]]


def test_dependencies_lead_to_modules_of_the_tree(project):
    found = rows(project, "SELECT importer, imported, imports FROM module_dependencies")
    assert sorted(found) == [
        ("app", "app.core", 2),
        ("app.core", "app.helpers", 2),
        ("tool", "app.core", 1),
    ]


def test_imports_that_lead_out_of_the_tree_are_told(project):
    found = rows(project, "SELECT importer, imported_module, is_stdlib, imports FROM unresolved_imports")
    assert sorted(found) == [
        ("app.core", "os", True, 1),
        ("app.core", "requests", False, 1),
        ("tool", "app.nothing", False, 1),
    ]


def test_calls_are_counted_for_what_the_tree_defines(project):
    found = rows(project, "SELECT qualified_name, kind, calls, calling_modules FROM most_called_functions")
    assert sorted(found) == [
        ("app.core.Core", "class", 1, 1),
        ("app.core.Core.run", "method", 1, 1),
        ("app.core.main", "function", 1, 1),
        ("app.helpers.help", "function", 2, 1),
    ]


def test_symbols_and_findings_are_counted(project):
    found = rows(project, "SELECT module, classes, functions, methods, symbols FROM symbol_counts")
    assert sorted(found) == [
        ("app", 0, 0, 0, 1),
        ("app.core", 1, 1, 1, 4),
        ("app.helpers", 0, 1, 0, 3),
        ("tool", 0, 0, 0, 1),
    ]
    found = rows(project, "SELECT code, severity, findings, files FROM diagnostic_counts")
    assert found == [("syntax-error", "error", 1, 1)]


def test_views_follow_the_tree(project):
    assert {view["strategy"] for view in run(project).values()} == {"none"}
    (project / "source" / "tool.py").write_text(FILES["tool.py"] + "def added():\n    app.core.main()\n")
    after = run(project)
    untouched = ("module_dependencies", "unresolved_imports", "diagnostic_counts")
    assert {after[name]["strategy"] for name in untouched} == {"none"}
    assert after["symbol_counts"]["rows_changed"] > 0
    query = "SELECT calls FROM most_called_functions WHERE qualified_name = 'app.core.main'"
    assert rows(project, query) == [(2,)]
    assert freshlake("verify", "--project", project, "--json")
