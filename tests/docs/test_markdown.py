"""What the documentation shows, runs; where it points to, something is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import planting
from workspace import ROOT

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<picture>[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SKIPPED = frozenset({".venv", "node_modules", "target", "lake", ".data"})


def documents(root: Path) -> list[Path]:
    """List the Markdown files that a reader may open."""
    found = sorted(
        path for path in root.rglob("*.md") if not SKIPPED.intersection(path.relative_to(root).parts)
    )
    if not found:
        msg = f"no Markdown below {root}"
        raise FileNotFoundError(msg)
    return found


def program(text: str) -> str:
    """Return the Python blocks of a document as one program, each line at its own place in the file."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        start = text.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        lines[start : start + len(code)] = code
    return "\n".join(lines).rstrip() + "\n"


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a document's program in a folder, by an interpreter that knows only what is installed."""
    script = folder.parent / f"{folder.name}.py"
    script.write_text(program(path.read_text(encoding="utf-8")), encoding="utf-8")
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PATH": commands}
    command = [sys.executable, "-I", "-W", "error", str(script)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def dead_links(root: Path) -> list[str]:
    """List the relative links that lead nowhere, and headings that are not there."""
    found: list[str] = []
    for path in documents(root):
        text = FENCED.sub("", path.read_text(encoding="utf-8"))
        for match in LINK.finditer(text):
            target = match["target"] or match["picture"]
            if not re.match(r"[a-z]+:", target) and not _leads_somewhere(path, target):
                found.append(f"{path.relative_to(root)}: {target}")
    return found


def _leads_somewhere(path: Path, target: str) -> bool:
    name, _, heading = target.partition("#")
    destination = path.parent / name if name else path
    if not heading or not destination.exists():
        return destination.exists()
    return heading in _anchors(destination.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


RUNNABLE = [path for path in documents(ROOT) if BLOCK.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_run_in_an_empty_folder(path: Path, tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()

    done = run(path, folder)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "folder", sorted(ROOT.glob("packages/*")) + sorted(ROOT.glob("crates/*")), ids=lambda folder: folder.name
)
def test_every_package_shows_how_it_is_used(folder: Path):
    assert folder / "README.md" in RUNNABLE


def test_links_lead_somewhere():
    assert dead_links(ROOT) == []


def test_a_planted_example_that_fails_is_found(tmp_path: Path):
    text = "# Title\n\n```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n"
    root = planting.write(tmp_path, {"README.md": text, "empty/keep": ""})

    done = run(root / "README.md", root / "empty")

    assert done.returncode != 0
    assert "line 10" in done.stderr


def test_an_example_that_warns_fails(tmp_path: Path):
    text = "```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```\n"
    root = planting.write(tmp_path, {"README.md": text, "empty/keep": ""})

    assert "DeprecationWarning" in run(root / "README.md", root / "empty").stderr


@pytest.mark.parametrize("target", ["absent.md", "other.md#absent", "#absent", "folder/absent.svg"])
def test_a_planted_dead_link_is_found(tmp_path: Path, target: str):
    text = "# A title\n\n[a](https://example.org) [b](other.md) [c](other.md#two-words) [d](#a-title)\n"
    root = planting.write(tmp_path, {"README.md": f"{text}[x]({target})\n", "other.md": "## Two words\n"})

    assert dead_links(root) == [f"README.md: {target}"]
