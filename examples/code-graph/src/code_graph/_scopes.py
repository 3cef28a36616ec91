"""Where a name leads: the bindings of one file, scope by scope.

A scope maps each name bound in it to the dotted name it stands for, or to `None` where the file alone cannot
say (a local variable, a parameter). Names that a scope does not bind are looked up outwards as Python does.
"""

from __future__ import annotations

import builtins
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast


class ScopeKind(IntEnum):
    """What opened a scope; decides who can see its names."""

    MODULE = 0
    CLASS = 1
    FUNCTION = 2
    COMPREHENSION = 3
    TYPE_PARAMETERS = 4


class Instance(str):
    """The dotted name of the class that a method's first parameter is an instance of (or is)."""

    __slots__ = ()


class Builtin(str):
    """The dotted name of something in `builtins`."""

    __slots__ = ()


BUILTINS = {name: Builtin(f"builtins.{name}") for name in dir(builtins)}

_NO_NAMES: frozenset[str] = frozenset()


class Scope(dict[str, "str | None"]):
    """Names of one scope; looking up a name that is not bound here asks the scopes around it, once."""

    __slots__ = (
        "_outer",
        "assigned",
        "calls",
        "definition",
        "global_names",
        "kind",
        "nonlocal_names",
        "parent",
        "prefix",
        "reads",
    )

    def __init__(self, kind: ScopeKind, parent: Scope | None, definition: str, prefix: str) -> None:
        super().__init__()
        self.kind = kind
        self.parent = parent
        self.definition = definition
        self.prefix = prefix
        while parent is not None and parent.kind is ScopeKind.CLASS:
            parent = parent.parent
        self._outer = parent
        self.assigned: set[str] = set()
        self.global_names: frozenset[str] = _NO_NAMES
        self.nonlocal_names: frozenset[str] = _NO_NAMES
        self.calls: list[tuple[str, str, tuple[int, int, int, int]]] = []
        self.reads: list[tuple[str, ast.expr]] = []

    def inner(self, kind: ScopeKind) -> Scope:
        """Open a scope that belongs to the same definition: a lambda, a comprehension, type parameters."""
        return Scope(kind, self, self.definition, self.prefix)

    # Climbed to when asked for: a scope that held itself would live until a garbage collection.
    @property
    def module(self) -> Scope:
        """The outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    @property
    def walrus_home(self) -> Scope:
        """The scope that `:=` binds in."""
        scope = self
        while scope.kind is ScopeKind.COMPREHENSION and scope.parent is not None:
            scope = scope.parent
        return scope

    def settle(self) -> None:
        """Turn what was assigned into bindings: on every scope before any look-up, on the module's last."""
        for name in self.global_names:
            if self.pop(name, None) is not None or name in self.assigned:
                self.module.assigned.add(name)
        for name in self.nonlocal_names:
            self.pop(name, None)
        self.assigned -= self.global_names
        self.assigned -= self.nonlocal_names
        names_are_attributes = self.kind <= ScopeKind.CLASS
        for name in self.assigned:
            if name not in self:
                self[name] = self.prefix + name if names_are_attributes else None

    def __missing__(self, name: str) -> str | None:
        target = self[name] = self._outside(name)
        return target

    def _outside(self, name: str) -> str | None:
        if name in self.global_names:
            return self.module[name]
        parent = self.parent
        if self.kind is ScopeKind.TYPE_PARAMETERS and parent is not None and name in parent:
            return parent[name]
        scope = self._outer
        while scope is not None:
            if name in scope:
                return dict.__getitem__(scope, name)
            if name in scope.global_names:
                return self.module[name]
            scope = scope._outer
        return BUILTINS.get(name)
