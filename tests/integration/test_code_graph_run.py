"""The main job, by the installed command, on a copy of the example project."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planting
from delta_io import Table
from workspace import ROOT

EXAMPLE = ROOT / "examples" / "code-graph"
SOURCES = {
    "app/__init__.py": "",
    "app/core.py": "import json\n\n\ndef load(text):\n    return json.loads(text)\n",
    "app/net.py": "import absent_module\nfrom app.core import load\n\n\ndef fetch():\n    return load(1)\n",
    "app/view.py": "from app import net\n\n\nclass Page:\n    def show(self):\n        return net.fetch()\n",
    "app/odd.py": b"# -*- coding: latin-1 -*-\nname = '\xe9'\n".decode("latin-1"),
    "app/broken.py": "def broken(:\n",
}

Run = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy what a clone of the example holds, without what runs have made of it."""
    target = tmp_path / "project"
    shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("lake", "src", "tests", "__pycache__"))
    return target


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return planting.write(tmp_path / "sources", SOURCES)


@pytest.fixture
def run(project: Path, sources: Path) -> Run:
    """Return a function that runs the project over the sources and returns its report."""

    def call() -> Any:
        done = freshlake("run", "--project", str(project), "--source", str(sources), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def freshlake(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("freshlake")
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def strategies(report: Any) -> dict[str, str]:
    return {view["name"]: view["strategy"] for view in report["views"]}


def versions(project: Path) -> dict[str, int]:
    logs = project.rglob("_delta_log")
    return {log.parent.name: Table(str(log.parent)).snapshot().version for log in logs}


def test_a_second_run_finds_nothing_to_do(project: Path, run: Run):
    first = run()
    before = versions(project)
    second = run()

    assert set(strategies(first).values()) == {"full"}
    assert set(strategies(second).values()) == {"none"}
    assert len(second["views"]) >= 4
    assert versions(project) == before


def test_touching_three_files_changes_only_their_rows(project: Path, sources: Path, run: Run):
    run()
    before = versions(project)
    touched = {"app/core.py", "app/net.py", "app/view.py"}
    for name in touched:
        path = sources / name
        path.write_text(
            path.read_text(encoding="utf-8") + "\n\ndef extra():\n    return 1\n", encoding="utf-8"
        )

    run()

    seen: set[str] = set()
    for log in (project / "lake").rglob("_delta_log"):
        table = Table(str(log.parent))
        if "path" in table.snapshot().schema.names and before.get(table.name) != table.snapshot().version:
            changed = table.changes(before[table.name]).to_reader().read_all()
            seen |= set(changed["path"].to_pylist())
    assert seen == touched


def test_a_broken_file_is_a_diagnosis_and_stops_nothing(project: Path, run: Run):
    run()

    done = freshlake("query", "--project", str(project), "--json", "SELECT * FROM diagnostics ORDER BY path")

    assert done.returncode == 0, done.stderr
    assert "app/broken.py" in {row["path"] for row in json.loads(done.stdout)["rows"]}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "--project", "{missing}"), "missing"),
        (("run", "--project", "{project}", "--source", "{missing}"), "missing"),
        (("query", "--project", "{project}", "SELEC 1"), "1 | selec 1"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    tmp_path: Path, project: Path, arguments: tuple[str, ...], expected: str
):
    places = {"missing": str(tmp_path / "missing"), "project": str(project)}

    done = freshlake(*(argument.format(**places) for argument in arguments))

    assert done.returncode == 2
    assert expected in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert versions(tmp_path) == {}
