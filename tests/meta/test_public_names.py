"""What a package shows is sorted, resolvable, free of private names, and documented."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import planting
from workspace import ROOT, Member, members, parse

MEMBERS = {member.module: member for member in members()}


def name_violations(module: ModuleType) -> list[str]:
    """List what is wrong with a module's ``__all__``."""
    names: list[str] = list(getattr(module, "__all__", ()))
    if not names:
        return ["__all__ is missing or empty"]
    found = [f"{name} is private" for name in names if name.startswith("_") and name != "__version__"]
    found += [f"{name} cannot be resolved" for name in names if not hasattr(module, name)]
    found += [f"{name} is listed twice" for name in sorted(set(names)) if names.count(name) > 1]
    if names != sorted(names):
        found.append(f"__all__ is not sorted: {names}")
    return found


def undocumented(module: ModuleType) -> list[str]:
    """List the public names, and public members of public classes, that have no documentation.

    What is compiled may be documented in a stub beside the module, where editors look.
    """
    in_stubs = _documented_in_stubs(module)
    return [name for name in _silent(module) if name not in in_stubs]


def _documented_in_stubs(module: ModuleType) -> set[str]:
    stubs = Path(module.__file__ or "").parent.glob("_*.pyi")
    return {name for path in stubs for name in _documented(parse(path))}


def _documented(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name}.{member.name}"
                for member in node.body
                if isinstance(member, ast.FunctionDef) and ast.get_docstring(member)
            )


def _silent(module: ModuleType) -> list[str]:
    found = [] if inspect.getdoc(module) else [module.__name__]
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name, None)
        if inspect.isclass(value):
            found += [f"{name}{member}" for member in _undocumented_members(value)]
        elif inspect.isroutine(value) and not inspect.getdoc(value):
            found.append(name)
    return found


def _undocumented_members(cls: type) -> Iterator[str]:
    if not (cls.__doc__ or "").strip():
        yield ""
    for name, value in vars(cls).items():
        if not name.startswith("_") and _is_method(value) and not inspect.getdoc(getattr(cls, name)):
            yield f".{name}"


def _is_method(value: object) -> bool:
    return (
        inspect.isroutine(value)
        or isinstance(value, property | classmethod | staticmethod)
        or (inspect.isgetsetdescriptor(value) and not isinstance(value, type))
    )


def logic_in_init(member: Member) -> list[str]:
    """List the definitions in a package's ``__init__.py``, which is to hold names alone."""
    tree = parse(member.source / "__init__.py")
    return [
        f"{member.module}/__init__.py:{node.lineno}: defines {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def missing_furniture(member: Member) -> list[str]:
    """List the files that every package has and this one lacks."""
    expected = {
        member.folder: ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"),
        member.source: ("__init__.py", "py.typed", "errors.py"),
    }
    found = [
        f"{member.distribution}: {name}"
        for folder, names in expected.items()
        for name in names
        if not (folder / name).exists()
    ]
    if not list((member.folder / "tests").glob("test_*.py")):
        found.append(f"{member.distribution}: tests/test_*.py")
    return found


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_public_names_are_in_order(name: str):
    assert name_violations(import_module(name)) == []


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_public_names_are_documented(name: str):
    assert undocumented(import_module(name)) == []


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_init_only_re_exports(name: str):
    assert logic_in_init(MEMBERS[name]) == []


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_package_is_furnished(name: str):
    assert missing_furniture(MEMBERS[name]) == []


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a text as a module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "planted_package", raising=False)

    def load(text: str) -> ModuleType:
        planting.write(tmp_path, {"planted_package.py": text})
        return import_module("planted_package")

    return load


HONEST = '''
"""A module."""
__all__ = ["Thing", "__version__", "make"]
__version__ = "1"
class Thing:
    """A thing."""
    def act(self):
        """Act."""
    @property
    def size(self):
        """Size in bytes."""
    def _inner(self): ...
def make():
    """Make a thing."""
'''


def test_an_honest_module_passes(plant: Callable[[str], ModuleType]):
    module = plant(HONEST)

    assert name_violations(module) == []
    assert undocumented(module) == []


@pytest.mark.parametrize(
    ("written", "instead", "finding"),
    [
        ('["Thing", "__version__", "make"]', '["make", "Thing"]', "not sorted"),
        ('["Thing", "__version__", "make"]', '["Thing", "absent"]', "absent cannot be resolved"),
        ('["Thing", "__version__", "make"]', '["Thing", "_hidden"]', "_hidden is private"),
        ('["Thing", "__version__", "make"]', '["Thing", "Thing"]', "Thing is listed twice"),
        ('["Thing", "__version__", "make"]', "[]", "missing or empty"),
    ],
)
def test_a_planted_fault_in_the_names_is_found(
    plant: Callable[[str], ModuleType], written: str, instead: str, finding: str
):
    found = name_violations(plant(HONEST.replace(written, instead)))

    assert any(finding in each for each in found)


@pytest.mark.parametrize(
    ("documentation", "finding"),
    [
        ('"""A module."""', "planted_package"),
        ('"""A thing."""', "Thing"),
        ('"""Act."""', "Thing.act"),
        ('"""Size in bytes."""', "Thing.size"),
        ('"""Make a thing."""', "make"),
    ],
)
def test_a_planted_silence_is_found(plant: Callable[[str], ModuleType], documentation: str, finding: str):
    assert undocumented(plant(HONEST.replace(documentation, "pass"))) == [finding]


def test_a_stub_speaks_for_what_is_compiled(plant: Callable[[str], ModuleType], tmp_path: Path):
    module = plant(HONEST.replace('"""Act."""', "pass").replace('"""Size in bytes."""', "pass"))
    planting.write(tmp_path, {"_native.pyi": 'class Thing:\n    def act(self):\n        """Act."""\n'})

    assert undocumented(module) == ["Thing.size"]


def test_planted_logic_in_init_and_missing_files_are_found(tmp_path: Path):
    root = planting.workspace(tmp_path, {"delta_io/table.py": ""})
    (member,) = members(root)
    init = member.source / "__init__.py"
    init.write_text("def helper(): ...\n", encoding="utf-8")

    assert logic_in_init(member) == ["delta_io/__init__.py:1: defines helper"]
    assert {"delta-io: py.typed", "delta-io: tests/test_*.py"} <= set(missing_furniture(member))


def test_there_is_something_to_check():
    assert {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()} == {
        member.folder.name for member in MEMBERS.values() if member.folder.parent.name == "packages"
    }
