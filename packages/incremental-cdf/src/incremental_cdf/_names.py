"""How names are read from SQL and written into it."""

from __future__ import annotations

import re

from sqlglot import exp

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_ASCII_LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})


def quote(name: str) -> str:
    """Write a name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def stored(identifier: exp.Expr) -> str:
    """Read the name that an identifier means: as it is in quotes, else with ASCII letters in lower case."""
    if isinstance(identifier, exp.Identifier) and identifier.args.get("quoted"):
        return identifier.name
    return identifier.name.translate(_ASCII_LOWER)


def canonical(parts: tuple[str, ...]) -> str:
    """Write the parts of a table's name, each in quotes only if it must be."""
    return ".".join(part if _PLAIN.fullmatch(part) else quote(part) for part in parts)


def pinned(name: str, which: str) -> str:
    """Write the private name, in quotes, of a source's rows: `old`, `new` or `changed`."""
    return quote(f"{name}@{which}")


def lower(word: str) -> str:
    """Lower-case ASCII letters, as the engine does with what is not in quotes."""
    return word.translate(_ASCII_LOWER)
