"""What `information_schema` says, as objects."""

from __future__ import annotations

from typing import Literal

import msgspec

Tier = Literal["built-in", "rust", "ibis", "python"]


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One way to call a function.

    Parameters
    ----------
    arguments : tuple of (str, str)
        Name and type of each argument; names may be empty.
    returns : str
        Type of the result.
    variadic : bool
        Whether the last argument may be repeated.
    """

    arguments: tuple[tuple[str, str], ...] = ()
    returns: str
    variadic: bool = False


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function that texts can call.

    Parameters
    ----------
    name : str
    kinds : tuple of str
        Where it can be called: `scalar`, `aggregate`, `window`, `table`.
    deterministic : bool
        Whether equal arguments give equal results.
    volatility : {"immutable", "stable", "volatile"}, optional
        Whether they do always, within one query, or not even there; None for tables.
    tier : {"built-in", "rust", "ibis", "python"}
        Who brings it along: DataFusion, this engine, an expression or a function of Ibis, or a function of
        Python, which is called from it.
    signatures : tuple of Signature
        The ways to call it, as far as the engine lists them.
    description, syntax : str, optional
        For people.
    """

    name: str
    kinds: tuple[str, ...]
    deterministic: bool
    volatility: Literal["immutable", "stable", "volatile"] | None = None
    tier: Tier = "built-in"
    signatures: tuple[Signature, ...] = ()
    description: str | None = None
    syntax: str | None = None


class TableConstraint(msgspec.Struct, frozen=True, kw_only=True):
    """A constraint that the contract of a table states.

    Parameters
    ----------
    table : str
        Name of the table, as SQL needs it written.
    name : str
    kind : {"PRIMARY KEY", "CHECK"}
    columns : tuple of str
        Columns of a key, in order.
    condition : str, optional
        What a check demands, as SQL.
    enforced : bool
        Whether writes that break it are refused.
    """

    table: str
    name: str
    kind: Literal["PRIMARY KEY", "CHECK"]
    columns: tuple[str, ...] = ()
    condition: str | None = None
    enforced: bool
