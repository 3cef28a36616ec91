"""One pass over a syntax tree: what it defines, imports and refers to.

The walk keeps its own stack, so nesting cannot exhaust the interpreter's. The loop in `_drain` names the few
node types that make up most of any tree; all others go through `_HANDLERS`, and node types that this module
has never heard of through `ast.iter_child_nodes`, so that a newer grammar costs speed and not rows.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from code_graph._scopes import Instance, Scope, ScopeKind

Span: TypeAlias = tuple[int, int, int, int]
"""Line and column of the first character, line and column after the last one, as the parser gives them."""

span_of: Callable[[Any], Span] = attrgetter("lineno", "col_offset", "end_lineno", "end_col_offset")
HAS_TYPE_PARAMETERS = sys.version_info >= (3, 12)
Handler: TypeAlias = Callable[["TreeWalk", Any, list[Any], Scope], None]


class Definition(NamedTuple):
    """A class or function as found; `node` carries the span."""

    kind: str
    is_async: bool
    name: str
    qualified_name: str
    parent: str
    node: ast.stmt


class Import(NamedTuple):
    """One imported name as found; `node` carries the span."""

    scope: str
    kind: str
    level: int
    written: str
    module: str
    name: str
    alias: str
    bound_name: str
    target: str
    node: ast.alias


class Mark(NamedTuple):
    """A dotted name in a place of its own: a base class, a decorator, an attribute that is assigned."""

    kind: str
    scope: Scope
    root: str
    expression: str
    node: ast.expr


class TreeWalk:
    """What one module defines, imports and refers to.

    Parameters
    ----------
    tree
        The parsed module.
    module : str
        Its dotted name.
    is_package : bool
        Whether the file is an `__init__.py`, against which relative imports resolve.
    """

    def __init__(self, tree: ast.Module, module: str, is_package: bool) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.definitions: list[Definition] = []
        self.imports: list[Import] = []
        self.marks: list[Mark] = []
        top = Scope(ScopeKind.MODULE, None, module, f"{module}.")
        self.scopes = [top]
        self._pending: list[tuple[Scope, list[Any]]] = [(top, tree.body[::-1])]
        while self._pending:
            scope, stack = self._pending.pop()
            self._drain(scope, stack)
        for scope in reversed(self.scopes):
            scope.settle()

    # One loop and no calls for the node types that fill most trees: this is where the time goes.
    def _drain(self, scope: Scope, stack: list[Any]) -> None:  # noqa: C901, PLR0912
        pop, push, get_handler = stack.pop, stack.append, _HANDLERS.get
        add_call, add_read, assign = scope.calls.append, scope.reads.append, scope.assigned.add
        while stack:
            node = pop()
            kind = type(node)
            if kind is ast.Constant:
                continue
            if kind is ast.Name:
                if type(node.ctx) is ast.Load:
                    add_read((node.id, node))
                else:
                    assign(node.id)
            elif kind is ast.Call:
                func = node.func
                if type(func) is ast.Name:
                    add_call((func.id, func.id, span_of(func)))
                elif type(func) is ast.Attribute and type(value := func.value) is ast.Name:
                    add_call((value.id, f"{value.id}.{func.attr}", span_of(func)))
                else:
                    root, expression, rest = dotted(func)
                    add_call((root, expression, span_of(func)))
                    if rest is not None:
                        push(rest)
                for argument in node.args:
                    argument_kind = type(argument)
                    if argument_kind is ast.Name:
                        add_read((argument.id, argument))
                    elif argument_kind is not ast.Constant:
                        push(argument)
                stack += [keyword.value for keyword in node.keywords]
            elif kind is ast.Attribute and type(node.ctx) is ast.Load:
                value = node.value
                while type(value) is ast.Attribute:
                    value = value.value
                if type(value) is ast.Name:
                    add_read((value.id, node))
                else:
                    push(value)
            else:
                get_handler(kind, _visit_unknown)(self, node, stack, scope)

    def open(self, scope: Scope, nodes: list[Any]) -> None:
        """Queue nodes that are evaluated in `scope`; the last one is visited first."""
        self.scopes.append(scope)
        self._pending.append((scope, nodes))

    def mark(self, kind: str, node: ast.expr, stack: list[Any], scope: Scope) -> None:
        """Record a dotted name and queue what it is reached through."""
        root, expression, rest = dotted(node)
        if expression:
            self.marks.append(Mark(kind, scope, root, expression, node))
        if rest is not None:
            stack.append(rest)


def dotted(node: ast.expr) -> tuple[str, str, ast.expr | None]:
    """Take a chain of attributes apart.

    Returns
    -------
    tuple of str, str and ast.expr or None
        The name at its root, the chain as written, and the expression at its root where that is no name:
        `a.b.c` gives `("a", "a.b.c", None)`, `f().b` gives `("", ".b", f())`, `f()` gives `("", "", f())`.
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    is_name = isinstance(node, ast.Name)
    root = node.id if is_name else ""
    if parts or is_name:
        parts.append(root)
        parts.reverse()
    return root, ".".join(parts), None if is_name else node


def _visit_unknown(_walk: TreeWalk, node: Any, stack: list[Any], _scope: Scope) -> None:
    if isinstance(node, ast.AST):
        stack.extend(ast.iter_child_nodes(node))


def _visit_nothing(_walk: TreeWalk, _node: Any, _stack: list[Any], _scope: Scope) -> None:
    pass


def _visiting(*fields: str) -> Handler:
    """Make a handler that visits these fields in this order: nodes, lists of nodes, or None."""
    backwards = fields[::-1]

    def visit(_walk: TreeWalk, node: Any, stack: list[Any], _scope: Scope) -> None:
        for field in backwards:
            value = getattr(node, field)
            if type(value) is list:
                stack += value[::-1]
            elif value is not None:
                stack.append(value)

    return visit


def _visiting_nodes(first: str, second: str, *more: str) -> Handler:
    """Make a handler that visits these fields in this order, each a node or None."""
    get_backwards = attrgetter(*more[::-1], second, first)

    def visit(_walk: TreeWalk, node: Any, stack: list[Any], _scope: Scope) -> None:
        stack += get_backwards(node)

    return visit


def _visiting_list(field: str) -> Handler:
    """Make a handler that visits a list of nodes."""
    get = attrgetter(field)

    def visit(_walk: TreeWalk, node: Any, stack: list[Any], _scope: Scope) -> None:
        stack += get(node)[::-1]

    return visit


def _visit_value(_walk: TreeWalk, node: Any, stack: list[Any], _scope: Scope) -> None:
    stack.append(node.value)


def _visit_assign(_walk: TreeWalk, node: ast.Assign, stack: list[Any], _scope: Scope) -> None:
    stack += node.targets
    stack.append(node.value)


def _visit_attribute(walk: TreeWalk, node: ast.Attribute, stack: list[Any], scope: Scope) -> None:
    walk.mark("write", node, stack, scope)


def _visit_function(
    walk: TreeWalk, node: ast.FunctionDef | ast.AsyncFunctionDef, stack: list[Any], scope: Scope
) -> None:
    qualified_name = scope.prefix + node.name
    is_method = scope.kind is ScopeKind.CLASS
    is_async = type(node) is ast.AsyncFunctionDef
    kind = "method" if is_method else "function"
    walk.definitions.append(Definition(kind, is_async, node.name, qualified_name, scope.definition, node))
    scope.setdefault(node.name, qualified_name)
    around, annotations = (
        _type_parameters(walk, node, stack, scope) if HAS_TYPE_PARAMETERS else (scope, stack)
    )
    body = Scope(ScopeKind.FUNCTION, around, qualified_name, f"{qualified_name}.<locals>.")
    if is_method:
        _bind_receiver(node, body, scope.definition)
    _bind_arguments(node.args, body, annotations)
    if node.returns is not None:
        annotations.append(node.returns)
    stack += node.args.defaults
    stack += node.args.kw_defaults
    if node.decorator_list:
        _mark_decorators(walk, node.decorator_list, stack, scope)
    walk.open(body, node.body[::-1])


def _type_parameters(
    walk: TreeWalk, node: ast.AST, stack: list[Any], scope: Scope
) -> tuple[Scope, list[Any]]:
    """Give the scope and the queue that a definition's annotations and bases are evaluated in."""
    parameters: list[Any] = getattr(node, "type_params", [])
    if not parameters:
        return scope, stack
    inner = scope.inner(ScopeKind.TYPE_PARAMETERS)
    inner.assigned.update(parameter.name for parameter in parameters)
    queue = parameters[::-1]
    walk.open(inner, queue)
    return inner, queue


def _bind_receiver(node: ast.FunctionDef | ast.AsyncFunctionDef, body: Scope, owner: str) -> None:
    positional = node.args.posonlyargs or node.args.args
    if positional and not any(type(d) is ast.Name and d.id == "staticmethod" for d in node.decorator_list):
        body[positional[0].arg] = Instance(owner)


def _bind_arguments(arguments: ast.arguments, body: Scope, annotations: list[Any]) -> None:
    listed = arguments.args
    if arguments.kwonlyargs or arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        listed = [*arguments.posonlyargs, *listed, *arguments.kwonlyargs]
        listed += (argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None)
    for argument in listed:
        body.assigned.add(argument.arg)
        if argument.annotation is not None:
            annotations.append(argument.annotation)


def _mark_decorators(walk: TreeWalk, decorators: list[ast.expr], stack: list[Any], scope: Scope) -> None:
    for decorator in decorators:
        if type(decorator) is ast.Call:
            stack.append(decorator)
            root, expression, _ = dotted(decorator.func)
            if expression:
                walk.marks.append(Mark("decorator", scope, root, expression, decorator.func))
        else:
            walk.mark("decorator", decorator, stack, scope)


def _visit_class(walk: TreeWalk, node: ast.ClassDef, stack: list[Any], scope: Scope) -> None:
    qualified_name = scope.prefix + node.name
    walk.definitions.append(Definition("class", False, node.name, qualified_name, scope.definition, node))
    scope.setdefault(node.name, qualified_name)
    around, bases = _type_parameters(walk, node, stack, scope)
    bases += (keyword.value for keyword in node.keywords)
    for base in node.bases:
        named = base
        if type(base) is ast.Subscript:
            bases.append(base.slice)
            named = base.value
        walk.mark("base", named, bases, around)
    _mark_decorators(walk, node.decorator_list, stack, scope)
    walk.open(Scope(ScopeKind.CLASS, around, qualified_name, f"{qualified_name}."), node.body[::-1])


def _visit_lambda(walk: TreeWalk, node: ast.Lambda, stack: list[Any], scope: Scope) -> None:
    body = scope.inner(ScopeKind.FUNCTION)
    _bind_arguments(node.args, body, stack)
    stack += node.args.defaults
    stack += node.args.kw_defaults
    walk.open(body, [node.body])


def _visit_comprehension(walk: TreeWalk, node: Any, stack: list[Any], scope: Scope) -> None:
    inner = scope.inner(ScopeKind.COMPREHENSION)
    first = node.generators[0]
    stack.append(first.iter)
    queue: list[Any] = [node.key, node.value] if type(node) is ast.DictComp else [node.elt]
    for generator in node.generators:
        queue += generator.ifs
        queue.append(generator.target)
        if generator is not first:
            queue.append(generator.iter)
    walk.open(inner, queue)


def _visit_walrus(_walk: TreeWalk, node: ast.NamedExpr, stack: list[Any], scope: Scope) -> None:
    scope.walrus_home.assigned.add(node.target.id)
    stack.append(node.value)


def _visit_global(_walk: TreeWalk, node: ast.Global, _stack: list[Any], scope: Scope) -> None:
    if scope.parent is not None:
        scope.global_names = scope.global_names.union(node.names)


def _visit_nonlocal(_walk: TreeWalk, node: ast.Nonlocal, _stack: list[Any], scope: Scope) -> None:
    if scope.parent is not None:
        scope.nonlocal_names = scope.nonlocal_names.union(node.names)


def _visit_import(walk: TreeWalk, node: ast.Import, _stack: list[Any], scope: Scope) -> None:
    for alias in node.names:
        module, alias_name = alias.name, alias.asname or ""
        top = module.partition(".")[0]
        bound = alias_name or top
        scope.setdefault(bound, module if alias_name else top)
        found = Import(scope.definition, "import", 0, module, module, "", alias_name, bound, module, alias)
        walk.imports.append(found)


def _visit_import_from(walk: TreeWalk, node: ast.ImportFrom, _stack: list[Any], scope: Scope) -> None:
    level = node.level or 0
    written = "." * level + (node.module or "")
    module = _absolute(walk.package, level, node.module) or written
    for alias in node.names:
        name, alias_name = alias.name, alias.asname or ""
        is_star = name == "*"
        bound = "" if is_star else alias_name or name
        target = module if is_star else f"{module}.{name}"
        if bound:
            scope.setdefault(bound, target)
        found = Import(
            scope.definition, "from", level, written, module, name, alias_name, bound, target, alias
        )
        walk.imports.append(found)


def _absolute(package: str, level: int, module: str | None) -> str | None:
    """Resolve a relative import; None where it leaves the tree."""
    if level == 0:
        return module
    parts = package.split(".") if package else []
    if level > len(parts):
        return None
    parts = parts[: len(parts) - level + 1]
    return ".".join([*parts, module] if module else parts)


def _visit_handler(_walk: TreeWalk, node: ast.ExceptHandler, stack: list[Any], scope: Scope) -> None:
    if node.name is not None:
        scope.assigned.add(node.name)
    stack += node.body[::-1]
    stack.append(node.type)


def _visit_capture(_walk: TreeWalk, node: Any, stack: list[Any], scope: Scope) -> None:
    """Bind the name of `case ... as name`, `case name`, `case [*name]` or `case {**name}`."""
    name = node.rest if type(node) is ast.MatchMapping else node.name
    if name is not None:
        scope.assigned.add(name)
    stack.extend(ast.iter_child_nodes(node))


def _visit_type_alias(walk: TreeWalk, node: Any, stack: list[Any], scope: Scope) -> None:
    _, queue = _type_parameters(walk, node, stack, scope)
    queue.append(node.value)
    stack.append(node.name)


def _statements() -> dict[type, Handler]:
    handlers: dict[type, Handler] = {
        ast.Expr: _visit_value,
        ast.Assign: _visit_assign,
        ast.FunctionDef: _visit_function,
        ast.AsyncFunctionDef: _visit_function,
        ast.ClassDef: _visit_class,
        ast.Import: _visit_import,
        ast.ImportFrom: _visit_import_from,
        ast.Global: _visit_global,
        ast.Nonlocal: _visit_nonlocal,
        ast.ExceptHandler: _visit_handler,
        ast.If: _visiting("test", "body", "orelse"),
        ast.For: _visiting("iter", "target", "body", "orelse"),
        ast.AsyncFor: _visiting("iter", "target", "body", "orelse"),
        ast.While: _visiting("test", "body", "orelse"),
        ast.With: _visiting("items", "body"),
        ast.AsyncWith: _visiting("items", "body"),
        ast.withitem: _visiting_nodes("context_expr", "optional_vars"),
        ast.Try: _visiting("body", "handlers", "orelse", "finalbody"),
        ast.TryStar: _visiting("body", "handlers", "orelse", "finalbody"),
        ast.Return: _visit_value,
        ast.Raise: _visiting_nodes("exc", "cause"),
        ast.Assert: _visiting_nodes("test", "msg"),
        ast.Delete: _visiting_list("targets"),
        ast.AugAssign: _visiting_nodes("value", "target"),
        ast.AnnAssign: _visiting_nodes("annotation", "value", "target"),
        ast.Match: _visiting("subject", "cases"),
        ast.match_case: _visiting("pattern", "guard", "body"),
        **dict.fromkeys((ast.Pass, ast.Break, ast.Continue), _visit_nothing),
        **dict.fromkeys((ast.MatchAs, ast.MatchStar, ast.MatchMapping), _visit_capture),
    }
    if sys.version_info >= (3, 12):
        handlers[ast.TypeAlias] = _visit_type_alias
    return handlers


def _expressions() -> dict[type, Handler]:
    comprehensions = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    return {
        ast.Attribute: _visit_attribute,
        ast.Lambda: _visit_lambda,
        ast.NamedExpr: _visit_walrus,
        **dict.fromkeys(comprehensions, _visit_comprehension),
        ast.Tuple: _visiting_list("elts"),
        ast.List: _visiting_list("elts"),
        ast.Set: _visiting_list("elts"),
        ast.Dict: _visiting("keys", "values"),
        ast.BinOp: _visiting_nodes("left", "right"),
        ast.BoolOp: _visiting_list("values"),
        ast.UnaryOp: _visiting("operand"),
        ast.Compare: _visiting("left", "comparators"),
        ast.Subscript: _visiting_nodes("value", "slice"),
        ast.Slice: _visiting_nodes("lower", "upper", "step"),
        ast.IfExp: _visiting_nodes("test", "body", "orelse"),
        ast.Starred: _visit_value,
        ast.JoinedStr: _visiting_list("values"),
        ast.FormattedValue: _visiting_nodes("value", "format_spec"),
        ast.Await: _visit_value,
        ast.Yield: _visit_value,
        ast.YieldFrom: _visit_value,
        type(None): _visit_nothing,
    }


_HANDLERS: dict[type, Handler] = {**_statements(), **_expressions()}
