"""What a session keeps between queries, as figures."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from datafusion_ext import Engine
from df_runtime.errors import ParameterError
from df_runtime.plans import PlanStore

CACHES_FUNCTION: Final = "session_caches"
_FIGURES: Final = ("limit_bytes", "entries", "bytes", "hits", "misses")
_SCHEMA: Final = pa.schema([("cache", pa.string()), *((name, pa.int64()) for name in _FIGURES)])


class Caches:
    """The caches of one session: those of its engine, and the plan cache if it has one."""

    def __init__(self, engine: Engine, plans: PlanStore | None) -> None:
        self._engine = engine
        self._plans = plans

    def figures(self) -> dict[str, Any]:
        """Return what each cache tells of itself, by its name."""
        found: dict[str, Any] = dict(self._engine.caches())
        stats = getattr(self._plans, "stats", None)
        if stats is not None:
            found["plans"] = _plain(stats())
        return found

    def register(self) -> None:
        """Make `session_caches()` known in SQL. The engine must not hold what holds the engine."""
        caches = weakref.ref(self)
        self._engine.register_table_function(CACHES_FUNCTION, lambda *arguments: _table(caches(), arguments))


def _table(caches: Caches | None, arguments: Sequence[object]) -> pa.Table:
    """List the caches; called by the engine while it plans."""
    if arguments:
        raise ParameterError(f"Expected {CACHES_FUNCTION}() without arguments, found {arguments!r}.")
    figures = {} if caches is None else caches.figures()
    rows = [
        {"cache": name, **{figure: fill.get(figure) for figure in _FIGURES}}
        for name, fill in figures.items()
        if isinstance(fill, Mapping)
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _plain(stats: object) -> object:
    if isinstance(stats, Mapping):
        return dict(stats)
    try:
        return msgspec.to_builtins(stats)
    except TypeError:
        return str(stats)
