"""What is known of a text before the engine sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from df_runtime._reading import StatementKind


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate found in a text that it let through.

    The engine gets the text as it was written. The canonical text identifies a query and shows how it was
    understood; it is never what runs.

    Attributes
    ----------
    query : str
        The text as written, but for the values of OPTIONS, which may be keys of a store: they are stars.
    kind : str
        `query`, `explain`, `describe`, `show`, `write`, `definition` or `session`.
    lane : {"checked", "passed"}
        Whether the gate read the text, or could not and passed it on because the policy allows that.
    canonical : str, optional
        The text with every name qualified and types made explicit, in the engine's dialect. None where there
        is no query inside, or where a rewrite could change its meaning; `notes` says why.
    tables : tuple of str
        Tables that the text names, as SQL needs them written.
    functions, parameters : tuple of str
        Functions that it calls, and parameters without the dollar.
    columns : tuple of (str, str)
        Names of the result's columns and their types as far as they follow from the text.
    notes : tuple of str
        What the gate could not do, and why.
    policy_hash : str
        `SqlPolicy.identity_hash` of the policy that the text was checked against.
    schema_hash : str
        Identity of the schemas that names were resolved with.
    """

    query: str
    kind: StatementKind
    lane: Literal["checked", "passed"]
    canonical: str | None = None
    tables: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    policy_hash: str
    schema_hash: str
    _plain: str | None = field(default=None, repr=False, compare=False)
    _dump: Callable[[], str | None] = field(default=lambda: None, repr=False, compare=False)

    @property
    def tree(self) -> str | None:
        """The canonical syntax tree with its types as JSON, which `sqlglot.serde.load` reads back.

        None where there is no canonical text. It is built when it is asked for.
        """
        return self._dump()

    @property
    def identity_hash(self) -> str:
        """Hexadecimal SHA-256 of what was understood, under which schemas and which policy."""
        parts = [self.canonical or self._plain or self.query, self.kind, self.schema_hash, self.policy_hash]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def to_json(self) -> str:
        """Write the report, with its tree, as a JSON document.

        Returns
        -------
        str
        """
        fields = ("query", "kind", "lane", "canonical", "tables", "functions", "parameters", "columns")
        report = {name: getattr(self, name) for name in fields}
        hashes = {name: getattr(self, name) for name in ("identity_hash", "policy_hash", "schema_hash")}
        tree = self.tree
        parsed = None if tree is None else msgspec.Raw(tree.encode())
        return msgspec.json.encode({**report, "notes": self.notes, **hashes, "tree": parsed}).decode()
