"""What a session keeps between queries, as figures."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
import pyarrow as pa

from datafusion_ext import Engine
from df_runtime.errors import ParameterError
from df_runtime.plans import PlanStore

_ALL: Final = "session_caches"
_ONE: Final[Mapping[str, str]] = {
    "list_files_cache": "list_files",
    "metadata_cache": "file_metadata",
    "plan_cache": "plans",
    "statistics_cache": "file_statistics",
}
CACHE_FUNCTIONS: Final = frozenset({_ALL, *_ONE})
"""Table functions that tell of caches: of all, or of one."""
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
        """Make the functions known in SQL. The engine must not hold what holds the engine."""
        caches: weakref.ref[Caches] = weakref.ref(self)
        for function in CACHE_FUNCTIONS:
            self._engine.register_table_function(function, partial(_table, caches, function))


def _table(caches: weakref.ref[Caches], function: str, *arguments: object) -> pa.Table:
    """List the caches; called by the engine while it plans."""
    if arguments:
        raise ParameterError(f"Expected {function}() without arguments, found {arguments!r}.")
    session = caches()
    figures = {} if session is None else session.figures()
    wanted = _ONE.get(function)
    rows = [
        {"cache": name, **{figure: fill.get(figure) for figure in _FIGURES}}
        for name, fill in figures.items()
        if isinstance(fill, Mapping) and wanted in {None, name}
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _plain(stats: object) -> object:
    if isinstance(stats, Mapping):
        return dict(stats)
    try:
        return msgspec.to_builtins(stats)
    except TypeError:
        return str(stats)
