"""The walker against a slow reference that climbs from every node to the scopes around it."""

from __future__ import annotations

import ast
import builtins
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_graph import extract_source

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
TYPE_PARAMETERS = [
    getattr(ast, name) for name in ("TypeVar", "ParamSpec", "TypeVarTuple") if hasattr(ast, name)
]
BINDERS = (ast.ExceptHandler, ast.MatchAs, ast.MatchStar, *TYPE_PARAMETERS)


def extracted(source, path):
    """Rows of a file as dictionaries, per table; null as the empty string."""
    batches = extract_source(source.encode(), path)
    return {
        table: [
            {name: "" if value is None else value for name, value in row.items()} for row in batch.to_pylist()
        ]
        for table, batch in batches.items()
    }


class Reference:
    """What a module defines, imports and refers to, found with `ast.walk` and a parent for every node."""

    def __init__(self, tree, module, is_package):
        self.tree, self.module = tree, module
        self.package = module if is_package else module.rpartition(".")[0]
        fields = [(node, *field) for node in ast.walk(tree) for field in ast.iter_fields(node)]
        self.parent: dict[Any, Any] = {
            item: (node, name)
            for node, name, value in fields
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, ast.AST) and (item._fields or isinstance(item, ast.stmt))
        }
        self.names = {}
        self.declared = {}
        for node in self.parent:
            if isinstance(node, (ast.Global, ast.Nonlocal)) and self.scope(node) is not tree:
                for name in node.names:
                    kinds = self.declared.setdefault((self.scope(node), name), set())
                    kinds.add(type(node))
        statements = [node for node in self.parent if hasattr(node, "lineno")]
        for node in sorted(statements, key=lambda node: (node.lineno, node.col_offset)):
            self.bind_node(node)
        for node in self.parent:
            if isinstance(node, ast.MatchMapping) and node.rest:
                self.bind(self.scope(node), node.rest)

    def scope(self, node):
        """Whose scope a node is evaluated in; type parameters have one of their own, a pair."""
        while node is not self.tree:
            parent, field = self.parent[node]
            if isinstance(parent, ast.Module) or (
                isinstance(parent, (*DEFINITIONS, ast.Lambda)) and field == "body"
            ):
                return parent
            if isinstance(parent, ast.arguments) and field in ("defaults", "kw_defaults"):
                node = self.parent[parent][0]
                continue
            if getattr(parent, "type_params", None) and field not in ("name", "decorator_list"):
                return (parent, "type parameters")
            if isinstance(parent, COMPREHENSIONS) and node is not parent.generators[0]:
                return parent
            if isinstance(parent, ast.comprehension):
                owner = self.parent[parent][0]
                if parent is not owner.generators[0] or field != "iter":
                    return owner
                parent = owner
            node = parent
        return self.tree

    def outer(self, scope):
        if isinstance(scope, tuple):
            return self.scope(scope[0])
        return (scope, "type parameters") if getattr(scope, "type_params", None) else self.scope(scope)

    def owner(self, scope):
        """The module, class or function that a scope belongs to."""
        while not isinstance(scope, (ast.Module, *DEFINITIONS)):
            scope = self.outer(scope)
        return scope

    def qualified(self, node):
        return self.module if node is self.tree else self.prefix(self.owner(self.scope(node))) + node.name

    def prefix(self, scope):
        return self.qualified(scope) + (".<locals>." if isinstance(scope, FUNCTIONS) else ".")

    def bind(self, scope, name, target=None):
        declared = self.declared.get((scope, name), set())
        if ast.Global in declared:
            scope, target = self.tree, None
        elif declared:
            return
        found = self.names.setdefault((scope, name), [])
        if target is not None:
            found.append(target)

    def bind_node(self, node: Any):
        scope = self.scope(node)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            parent = self.parent[node][0]
            while isinstance(parent, ast.NamedExpr) and isinstance(scope, COMPREHENSIONS):
                scope = self.outer(scope)
            self.bind(scope, node.id)
        elif isinstance(node, ast.arg):
            function = self.parent[self.parent[node][0]][0]
            self.bind(function, node.arg, self.receiver(node, function))
        elif isinstance(node, DEFINITIONS):
            self.bind(scope, node.name, self.qualified(node))
        elif isinstance(node, ast.alias):
            found = self.import_row(node)
            if found["bound_name"]:
                top = node.name.partition(".")[0]
                plain = found["kind"] == "import" and not node.asname
                self.bind(scope, found["bound_name"], top if plain else found["target"])
        elif isinstance(node, BINDERS) and (name := getattr(node, "name", None)):
            self.bind(scope, name)

    def receiver(self, node, function):
        if not isinstance(function, FUNCTIONS) or not isinstance(self.scope(function), ast.ClassDef):
            return None
        positional = function.args.posonlyargs + function.args.args
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
        return (
            ("instance", self.qualified(self.scope(function)))
            if positional[:1] == [node] and not static
            else None
        )

    def resolve(self, name, scope):
        """What a name stands for: nothing, a dotted name, or one marked as builtin or as an instance."""
        visible = self.outer(scope) if isinstance(scope, tuple) else scope
        while True:
            if scope is visible or not isinstance(scope, ast.ClassDef):
                if ast.Global in self.declared.get((scope, name), ()):
                    scope = self.tree
                if (scope, name) in self.names:
                    targets = self.names[scope, name]
                    weak = (
                        self.prefix(scope) + name if isinstance(scope, (ast.Module, ast.ClassDef)) else None
                    )
                    return targets[0] if targets else weak
            if scope is self.tree:
                return ("builtin", f"builtins.{name}") if hasattr(builtins, name) else None
            scope = self.outer(scope)

    def import_row(self, alias):
        node = self.parent[alias][0]
        owner = self.qualified(self.owner(self.scope(node)))
        row = {"scope": owner, "alias": alias.asname or "", "name": "", "level": 0, "line": alias.lineno}
        if isinstance(node, ast.Import):
            bound = alias.asname or alias.name.partition(".")[0]
            row |= {"kind": "import", "written_module": alias.name, "imported_module": alias.name}
            return row | {"bound_name": bound, "target": alias.name}
        written = "." * node.level + (node.module or "")
        module = node.module
        if node.level:
            parts = self.package.split(".") if self.package else []
            base = parts[: len(parts) - node.level + 1] if node.level <= len(parts) else None
            module = written if base is None else ".".join([*base, *([node.module] if node.module else [])])
        star = alias.name == "*"
        row |= {"kind": "from", "level": node.level, "written_module": written, "imported_module": module}
        row |= {"name": alias.name, "bound_name": "" if star else alias.asname or alias.name}
        return row | {"target": module if star else f"{module}.{alias.name}"}

    def imports(self):
        return [self.import_row(node) for node in self.parent if isinstance(node, ast.alias)]

    def definitions(self):
        for node in self.parent:
            if isinstance(node, DEFINITIONS):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                in_class = isinstance(self.scope(node), ast.ClassDef)
                yield {
                    "kind": "method" if kind == "function" and in_class else kind,
                    "is_async": isinstance(node, ast.AsyncFunctionDef),
                    "name": node.name,
                    "qualified_name": self.qualified(node),
                    "parent": self.qualified(self.owner(self.scope(node))),
                    "line": node.lineno,
                    "end_line": node.end_lineno,
                }

    def references(self):
        for node in self.parent:
            if not isinstance(node, ast.expr):
                continue
            parent, field = self.parent[node]
            place = (type(parent), field)
            if isinstance(node, ast.Call):
                yield self.reference("call", node.func)
            if place in {(t, "decorator_list") for t in DEFINITIONS}:
                named = node.func if isinstance(node, ast.Call) else node
                yield from self.named("decorator", named)
            elif place == (ast.ClassDef, "bases"):
                yield from self.named("base", node.value if isinstance(node, ast.Subscript) else node)
            elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                yield from self.led_out("write", node)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                is_base = place == (ast.Subscript, "value") and self.parent[parent][1] == "bases"
                is_part = isinstance(parent, ast.Attribute)
                if not is_base and not is_part and place != (ast.Call, "func"):
                    yield from self.led_out("read", node)

    def named(self, kind, node):
        if isinstance(node, (ast.Name, ast.Attribute)):
            yield self.reference(kind, node)

    def led_out(self, kind, node):
        root, _ = self.dotted(node)
        if root and isinstance(self.resolve(root, self.scope(node)), str):
            yield self.reference(kind, node)

    def dotted(self, node):
        if isinstance(node, ast.Name):
            return node.id, node.id
        if isinstance(node, ast.Attribute):
            root, text = self.dotted(node.value)
            return root, f"{text}.{node.attr}"
        return "", ""

    def reference(self, kind, node):
        root, text = self.dotted(node)
        scope = self.scope(node)
        target = self.resolve(root, scope) if root else None
        if isinstance(target, tuple):
            target = target[1]
        return {
            "scope": self.qualified(self.owner(scope)),
            "kind": kind,
            "expression": text,
            "name": text.rpartition(".")[2],
            "target": target + text[len(root) :] if target else "",
            "line": node.lineno,
        }


def assert_same_rows(source, path):
    tables = extracted(source, path)
    assert [row["status"] for row in tables["files"]] == ["ok"]
    module = tables["files"][0]["module"]
    reference = Reference(ast.parse(source), module, path.endswith("__init__.py"))
    for table in ("definitions", "imports", "references"):
        expected = list(getattr(reference, table)())
        compared = list(expected[0]) if expected else []
        rows = [row for row in tables[table] if row["kind"] != "module"]
        found = [{name: row[name] for name in compared} for row in rows]
        assert sorted(map(repr, found)) == sorted(map(repr, expected)), table


NAMES = st.sampled_from(["a", "b", "self", "len", "C", "os", "é", "x1"])
DOTTED = st.lists(NAMES, min_size=1, max_size=3).map(".".join)


def joined(*parts):
    return st.tuples(*(st.just(p) if isinstance(p, str) else p for p in parts)).map("".join)


def grown(inner):
    several = st.lists(inner, max_size=3).map(", ".join)
    fors = joined(" for ", NAMES, " in ", inner, st.sampled_from(["", " if a", " for b in os"]))
    return st.one_of(
        joined("(", inner, ").", NAMES),
        joined(DOTTED, "(", several, ")"),
        joined("(", inner, ")(*", inner, ", ", NAMES, "=", inner, ", **", inner, ")"),
        joined("(", inner, ")[", inner, ":", inner, "]"),
        joined("(", inner, st.sampled_from([" + ", " and ", " < ", " is not "]), inner, ")"),
        joined("(-", inner, ")"),
        joined("(", inner, " if ", inner, " else ", inner, ")"),
        joined("(lambda ", NAMES, ", *, y=", inner, ": ", inner, ")"),
        joined("[", inner, fors, "]"),
        joined("{", inner, ": ", inner, fors, "}"),
        joined("{", inner, fors, "}"),
        joined("(", inner, fors, ")"),
        joined("(", NAMES, " := ", inner, ")"),
        joined("{", inner, ": ", inner, ", **", inner, "}"),
        joined("[", several, "]"),
        joined("(await ", inner, ")"),
        joined("(yield ", inner, ")"),
        joined("f'{", NAMES, "!r:>{", NAMES, "}} {", NAMES, "}'"),
    )


EXPRESSIONS = st.recursive(
    st.one_of(DOTTED, st.sampled_from(["1", "'s'", "...", "None"])), grown, max_leaves=4
)
PATTERNS = st.sampled_from(
    ["_", "a", "1 as b", "[a, *b]", "{'k': a, **os}", "os.C(x1, é=b)", "1 | -2", "None", "[*_]"]
)


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def blocks(body):
    body = body.map(indented)
    return st.one_of(
        joined("if ", EXPRESSIONS, ":\n", body, "else:\n", body),
        joined("for ", NAMES, " in ", EXPRESSIONS, ":\n", body),
        joined("while ", EXPRESSIONS, ":\n", body),
        joined("with ", EXPRESSIONS, " as ", NAMES, ", ", EXPRESSIONS, ":\n", body),
        joined("try:\n", body, "except ", EXPRESSIONS, " as ", NAMES, ":\n", body, "finally:\n", body),
        joined("try:\n", body, "except* ", EXPRESSIONS, ":\n", body),
        joined("match ", EXPRESSIONS, ":\n    case ", PATTERNS, " if a:\n", body.map(indented)),
        joined("@", EXPRESSIONS, "\ndef a(b: ", EXPRESSIONS, "=", EXPRESSIONS, ") -> ", DOTTED, ":\n", body),
        joined("async def ", NAMES, "(a0, /, *é0: ", EXPRESSIONS, ", k=", EXPRESSIONS, ", **z):\n", body),
        joined("@staticmethod\ndef ", NAMES, "(self):\n", body),
        joined("class ", NAMES, "(", DOTTED, ", os.C[", EXPRESSIONS, "], k=", EXPRESSIONS, "):\n", body),
    )  # fmt: skip


SIMPLE = st.one_of(
    EXPRESSIONS,
    joined(NAMES, " = ", EXPRESSIONS),
    joined(DOTTED, " += ", EXPRESSIONS),
    joined(DOTTED, ": ", EXPRESSIONS, " = ", EXPRESSIONS),
    joined("del ", DOTTED),
    joined("(a, *b), os.x = ", EXPRESSIONS),
    joined("global ", NAMES),
    joined("nonlocal ", NAMES),
    joined("import ", DOTTED),
    joined("import ", DOTTED, " as ", NAMES),
    joined("from ", DOTTED, " import ", NAMES, ", ", NAMES, " as ", NAMES),
    joined("from ", st.sampled_from([".", "..", "...", ".a", "..b"]), " import ", NAMES),
    joined("from ", DOTTED, " import *"),
    joined("raise ", EXPRESSIONS, " from ", EXPRESSIONS),
    joined("assert ", EXPRESSIONS),
    st.sampled_from(["pass", "return", "return a.b", "break"]),
)
STATEMENTS = st.recursive(
    SIMPLE.map("{}\n".format),
    lambda inner: blocks(st.lists(inner, min_size=1, max_size=3).map("".join)),
    max_leaves=5,
)
MODULES = st.lists(STATEMENTS, max_size=4).map("".join)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=MODULES, path=st.sampled_from(["m.py", "pkg/mod.py", "p/q/r.py", "p/q/__init__.py"]))
def test_rows_equal_those_of_the_reference(source, path):
    try:
        ast.parse(source)
    except SyntaxError:
        return
    assert_same_rows(source, path)


REAL_FILES = [
    "ast.py",
    "asyncio/tasks.py",
    "dataclasses.py",
    "enum.py",
    "json/__init__.py",
    "typing.py",
    "unittest/mock.py",
]


@pytest.mark.parametrize("name", REAL_FILES)
def test_rows_of_real_files_equal_those_of_the_reference(name):
    source = Path(sysconfig.get_path("stdlib"), name).read_text(encoding="utf-8")
    assert_same_rows(source, name)


EVERY_NODE = """
import os.path as p, sys
from . import q
from .r import s as t, u
from v import *
global_name: int = 1
async def coroutine(a, /, b: int = 2, *args: str, c=3, **kwargs) -> p.join:
    global global_name
    async with a as b, p.x: await b
    async for c in b: continue
    else: pass
    yield
    return [x async for x in b if x]
@p.decorator
@p.factory(1)
class C(p.Base[int], q.meta, metaclass=t.Meta):
    attribute = other = 1
    def method(self):
        nonlocal_name = 1
        def inner():
            nonlocal nonlocal_name
            nonlocal_name @= 1
            self.method().other()(1)[2].third()
            yield from self
        del nonlocal_name, self.x
        return inner, __class__, super().method
if i + j - 1 / 2: [i, j]
while True:
    break
for i, *j in (1, 2): assert i, j
try: raise ValueError from None
except (TypeError, p.Error) as e: e.args
else: ...
finally: pass
try: pass
except* OSError: pass
match i:
    case 1 | None | True | "s" | -1 | p.constant: pass
    case [a, *b] if b: pass
    case {"k": v, **rest}: rest
    case C(x, y=z) as w: w
    case _: pass
with open(f"{p!r:>{i}}") as f: f.read(i if i else j, not i, ~i, +i, i ** j // j % j << j >> j & j | j ^ j)
lambda *a, b=i: a and b or (c := b) < 1 <= 2 != 3 is 4 is not 5 in (6,) not in {7} > 8 >= 9 == 10
{k: v for k in i for v in k if k}, {s for s in i}, (g for g in i), {**i, 1: j}, i[1:2:3, ...]
b"bytes", -i * i @ i
"""


def test_every_kind_of_node_is_walked():
    assert_same_rows(EVERY_NODE, "pkg/mod.py")
    roots = {ast.mod, ast.Interactive, ast.Expression, ast.FunctionType, ast.type_ignore, ast.TypeIgnore}
    kinds = {
        kind
        for kind in vars(ast).values()
        if isinstance(kind, type) and issubclass(kind, ast.AST) and kind.__doc__
    }
    concrete = {kind for kind in kinds if not kind.__subclasses__() and "Deprecated" not in str(kind.__doc__)}
    later = {"TypeAlias", "TypeVar", "ParamSpec", "TypeVarTuple", "TemplateStr", "Interpolation"}
    seen = {type(node) for node in ast.walk(ast.parse(EVERY_NODE))}
    assert {kind.__name__ for kind in concrete - roots - seen} <= later
