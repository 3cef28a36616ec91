"""Each package stands alone: built, installed with what it declares, and tested in an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from workspace import ROOT, Member, load_toml, members

MEMBERS = {member.module: member for member in members()}
BY_DISTRIBUTION = {member.distribution: member for member in MEMBERS.values()}
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "duckdb")
# Neighbours that a package's tests talk to, beside what it declares.
S3_SERVER = ("moto[s3]", "flask", "flask-cors")
NEIGHBOURS = {
    "datafusion_ext": ("datafusion",),
    "delta_io": ("pandas", "polars", *S3_SERVER),
    "df_runtime": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", *S3_SERVER),
}


def closure(member: Member) -> list[Member]:
    """Return a member and the members that it needs, itself first."""
    found = {member.module: member}
    waiting = [member]
    while waiting:
        for name in sorted(waiting.pop().dependencies & BY_DISTRIBUTION.keys()):
            needed = BY_DISTRIBUTION[name]
            if needed.module not in found:
                found[needed.module] = needed
                waiting.append(needed)
    return list(found.values())


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command, return what it printed, and fail with all of that."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}
    }
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{output}", pytrace=False)
    return output


@pytest.fixture(scope="module")
def uv() -> str:
    program = shutil.which("uv")
    if program is None:
        pytest.skip("uv is not on the path")
    return program


@pytest.fixture(scope="module")
def build(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Member], Path]:
    """Return a function that builds a member's sdist and wheel, once, and returns their folder.

    A pure member's wheel is made from its sdist. The engine's is made in place, where the workspace's Cargo
    settings apply, so that its dependencies are not compiled a second time.
    """

    @cache
    def builder(module: str) -> Path:
        folder = tmp_path_factory.mktemp(module)
        formats = ["--sdist", "--wheel"] if module == "datafusion_ext" else []
        run(uv, "build", "--quiet", *formats, "--out-dir", folder, MEMBERS[module].folder)
        return folder

    return lambda member: builder(member.module)


@pytest.fixture(scope="module")
def constraints(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the versions that the lock file settled on."""
    path = tmp_path_factory.mktemp("lock") / "constraints.txt"
    run(uv, "export", "--quiet", "--frozen", "--no-emit-workspace", "--no-hashes", "--output-file", path)
    return path


def wheel_in(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_wheel_and_sdist_hold_what_they_should(build: Callable[[Member], Path], name: str):
    member = MEMBERS[name]
    built = build(member)
    version = load_toml(member.folder / "pyproject.toml")["project"]["version"]
    with zipfile.ZipFile(wheel_in(built)) as wheel:
        in_wheel = set(wheel.namelist())
    with tarfile.open(built / f"{member.module}-{version}.tar.gz") as sdist:
        in_sdist = {path.partition("/")[2] for path in sdist.getnames()}

    assert {f"{name}/py.typed", f"{name}/__init__.py"} <= in_wheel
    assert f"{name}-{version}.dist-info/licenses/LICENSE" in in_wheel
    assert not [path for path in in_wheel if "tests/" in path or path.endswith((".pyc", ".toml"))]
    assert [path for path in in_sdist if path.endswith("pyproject.toml")]
    assert [path for path in in_sdist if path.endswith(f"{name}/__init__.py")]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_package_passes_its_own_tests_alone(
    uv: str, build: Callable[[Member], Path], constraints: Path, tmp_path: Path, name: str
):
    member = MEMBERS[name]
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    wheels = [wheel_in(build(each)) for each in closure(member)]
    extras = f"[{','.join(sorted(member.extras))}]" if member.extras else ""
    wanted = [
        f"{member.distribution}{extras} @ {wheels[0].as_uri()}",
        *wheels[1:],
        *TEST_TOOLS,
        *NEIGHBOURS.get(name, ()),
    ]
    run(uv, "pip", "install", "--quiet", "--python", python, "--constraints", constraints, *wanted)
    left_out = shutil.ignore_patterns(
        member.source.parent.name, "__pycache__", "dist", "lake", "target", ".*"
    )
    shutil.copytree(member.folder, tmp_path / "alone", ignore=left_out)
    write_settings(tmp_path / "alone" / "pytest.toml")

    output = run(python, "-m", "pytest", "tests", "--pyargs", name, cwd=tmp_path / "alone")

    # What libraries print when the process ends may come after the summary.
    assert re.search(r"\d+ passed", output)
    assert str(ROOT) not in run(python, "-c", f"import {name}; print({name}.__file__)", cwd=tmp_path)


def write_settings(path: Path) -> None:
    """Write the workspace's pytest settings, without what concerns its folders."""
    settings = load_toml(ROOT / "pyproject.toml")["tool"]["pytest"]
    kept = {name: value for name, value in settings.items() if name not in {"pythonpath", "testpaths"}}
    lines = [f"{name} = {toml_value(value)}" for name, value in kept.items()]
    path.write_text("\n".join(["[pytest]", *lines, ""]), encoding="utf-8")


def toml_value(value: object) -> str:
    """Write a value of the settings as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        items: list[object] = value
        return f"[{', '.join(map(toml_value, items))}]"
    return repr(value) if isinstance(value, int) else f"'{value}'"


def test_the_closure_follows_declared_dependencies():
    assert [member.module for member in closure(MEMBERS["schema_spec"])] == ["schema_spec"]
    assert {member.module for member in closure(MEMBERS["delta_io"])} == {"delta_io", "schema_spec"}


def test_settings_survive_the_trip(tmp_path: Path):
    write_settings(tmp_path / "pytest.toml")

    written = load_toml(tmp_path / "pytest.toml")["pytest"]

    original = load_toml(ROOT / "pyproject.toml")["tool"]["pytest"]
    assert written == {name: value for name, value in original.items() if name in written}
    assert written["filterwarnings"] == ["error"]
