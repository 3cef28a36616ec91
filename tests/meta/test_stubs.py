"""The stub of the compiled module says what the compiled module is."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workspace import ROOT, parse

STUB = ROOT / "crates" / "datafusion-ext" / "python" / "datafusion_ext" / "_native.pyi"

# Python gives every class these; a stub repeats them only where it has more to say.
INHERITED = frozenset(dir(type("Plain", (), {}))) | {"__firstlineno__", "__static_attributes__"}


CONSTRUCTOR = "__init__"


@dataclass(frozen=True)
class Parameter:
    """A parameter as both sides can tell it."""

    name: str
    kind: object
    optional: bool


@dataclass
class Shape:
    """What can be compared of a name: a function's parameters, a class's members and bases."""

    kind: str
    parameters: list[Parameter] | None = None
    members: dict[str, Shape] = field(default_factory=dict[str, "Shape"])
    bases: tuple[str, ...] = ()


def differences(stub: Path, module: ModuleType) -> list[str]:
    """List where a stub and the module that it describes differ."""
    told = _told(parse(stub).body)
    actual = _actual_module(module)
    return list(_compare("", told, actual))


def _compare(prefix: str, told: dict[str, Shape], actual: dict[str, Shape]):
    for name in sorted(told.keys() - actual.keys()):
        yield f"{prefix}{name}: in the stub only"
    for name in sorted(actual.keys() - told.keys()):
        yield f"{prefix}{name}: in the module only"
    for name in sorted(told.keys() & actual.keys()):
        yield from _compare_shapes(f"{prefix}{name}", told[name], actual[name])


def _compare_shapes(name: str, told: Shape, actual: Shape):
    if told.kind != actual.kind:
        yield f"{name}: a {told.kind} in the stub, a {actual.kind} in the module"
        return
    if told.parameters is not None and actual.parameters is not None and told.parameters != actual.parameters:
        yield f"{name}: {_signature(told)} in the stub, {_signature(actual)} in the module"
    if told.bases != actual.bases:
        yield f"{name}: derives from {told.bases} in the stub, from {actual.bases} in the module"
    yield from _compare(f"{name}.", told.members, actual.members)


def _signature(shape: Shape) -> str:
    return str(
        [f"{each.name}{'=…' if each.optional else ''} ({each.kind})" for each in shape.parameters or []]
    )


def _told(body: list[ast.stmt]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                bases = tuple(ast.unparse(base).split(".")[-1] for base in node.bases)
                # What an exception carries is set on its instances, out of a comparison's sight.
                members = {} if bases else _told(node.body)
                shapes[name] = Shape("class", members=members, bases=bases)
            case ast.FunctionDef(name=name):
                shapes[CONSTRUCTOR if name in {"__init__", "__new__"} else name] = _told_function(node)
            case ast.AnnAssign(target=ast.Name(id=name)):
                shapes[name] = Shape("value")
            case _:
                pass
    shapes.pop("__all__", None)
    return {name: shape for name, shape in shapes.items() if _is_told(name)}


def _is_told(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _told_function(node: ast.FunctionDef) -> Shape:
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if "property" in decorators:
        return Shape("value")
    if "overload" in decorators:
        return Shape("function")
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    first_default = len(positional) - len(given.defaults)
    parameters = [
        Parameter(
            each.arg,
            inspect.Parameter.POSITIONAL_ONLY
            if index < len(given.posonlyargs)
            else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            index >= first_default,
        )
        for index, each in enumerate(positional)
    ]
    if given.vararg:
        parameters.append(Parameter(given.vararg.arg, inspect.Parameter.VAR_POSITIONAL, False))
    parameters += [
        Parameter(each.arg, inspect.Parameter.KEYWORD_ONLY, default is not None)
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg:
        parameters.append(Parameter(given.kwarg.arg, inspect.Parameter.VAR_KEYWORD, False))
    return Shape("function", parameters=_comparable(parameters))


def _comparable(parameters: list[Parameter]) -> list[Parameter]:
    """Leave out what a method is bound to: its name is nobody's business."""
    bound = {"self", "cls", "$self", "type"}
    return parameters[1:] if parameters and parameters[0].name in bound else parameters


def _actual_module(module: ModuleType) -> dict[str, Shape]:
    return {
        name: _actual(value, name)
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    } | {name: Shape("value") for name in ("__version__",) if hasattr(module, name)}


def _actual(value: object, name: str) -> Shape:
    if inspect.isclass(value):
        return _actual_class(value)
    if inspect.isroutine(value) or isinstance(value, staticmethod | classmethod):
        return Shape("function", parameters=_actual_parameters(value, name))
    return Shape("value")


def _actual_class(cls: type) -> Shape:
    bases = tuple(base.__name__ for base in cls.__bases__ if base is not object)
    if bases:
        return Shape("class", bases=bases)
    members = {
        name: _actual(value, name)
        for name, value in vars(cls).items()
        if name not in INHERITED and name != "__new__" and _is_told(name)
    }
    if "__new__" in vars(cls):
        members[CONSTRUCTOR] = Shape("function", parameters=_constructor_parameters(cls))
    return Shape("class", members=members)


def _constructor_parameters(cls: type) -> list[Parameter] | None:
    try:
        return _parameters(inspect.signature(cls))
    except (TypeError, ValueError):
        return None


def _actual_parameters(value: Any, name: str) -> list[Parameter] | None:
    function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if name.startswith("__") and not hasattr(function, "__code__") and name != "__arrow_c_stream__":
        # A slot of the C API: its text signature is CPython's, not the author's.
        return None
    try:
        return _parameters(inspect.signature(function))
    except (TypeError, ValueError):
        return None


def _parameters(signature: inspect.Signature) -> list[Parameter]:
    empty = inspect.Parameter.empty
    listed = [
        Parameter(each.name, each.kind, each.default is not empty) for each in signature.parameters.values()
    ]
    return _comparable(listed)


def test_the_stub_describes_the_compiled_module():
    assert differences(STUB, import_module("datafusion_ext._native")) == []


CODE = '''
"""A module."""
import inspect
__version__ = "1"
class Engine:
    """An engine."""
    def __new__(cls, settings=None, *, memory=None): return super().__new__(cls)
    def sql(self, query, *, params=None): ...
    @property
    def names(self): ...
    @staticmethod
    def open(path): ...
    def __arrow_c_stream__(self, requested_schema=None): ...
class EngineError(Exception): ...
def version(full=False): ...
'''

HONEST = """
import inspect
from typing import Any
__version__: str
class Engine:
    def __new__(cls, settings: Any = None, *, memory: int | None = None) -> Engine: ...
    def sql(self, query: str, *, params: Any = None) -> Any: ...
    @property
    def names(self) -> list[str]: ...
    @staticmethod
    def open(path: str) -> Engine: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...
class EngineError(Exception): ...
def version(full: bool = False) -> str: ...
"""


def planted(tmp_path: Path, stub: str) -> list[str]:
    """Compare a stub's text with the module written above."""
    module = ModuleType("planted")
    exec(compile(CODE, "planted.py", "exec"), vars(module))
    path = tmp_path / "planted.pyi"
    path.write_text(stub, encoding="utf-8")
    return differences(path, module)


def test_an_honest_stub_passes(tmp_path: Path):
    assert planted(tmp_path, HONEST) == []


@pytest.mark.parametrize(
    ("written", "instead", "finding"),
    [
        ("def version(full: bool = False) -> str: ...", "", "version: in the module only"),
        ("def version(", "def release() -> str: ...\ndef version(", "release: in the stub only"),
        (
            "    def sql(self, query: str, *, params: Any = None) -> Any: ...\n",
            "",
            "Engine.sql: in the module",
        ),
        ("query: str", "text: str", "Engine.sql: ['text"),
        ("params: Any = None", "params: Any", "Engine.sql: ["),
        ("query: str, *,", "query: str,", "Engine.sql: ["),
        ("memory: int | None = None", "memory_bytes: int | None = None", "Engine.__init__: ["),
        ("    @property\n", "", "Engine.names: a function in the stub, a value"),
        ("EngineError(Exception)", "EngineError(ValueError)", "EngineError: derives from"),
        ("open(path: str)", "open(uri: str)", "Engine.open: ["),
        ("requested_schema: object = None", "", "Engine.__arrow_c_stream__: ["),
    ],
)
def test_a_planted_difference_is_found(tmp_path: Path, written: str, instead: str, finding: str):
    assert written in HONEST
    found = planted(tmp_path, HONEST.replace(written, instead))

    assert len(found) == 1
    assert found[0].startswith(finding)
