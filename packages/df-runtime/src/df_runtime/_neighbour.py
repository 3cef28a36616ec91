"""A context of the `datafusion` package over the tables of a session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from datafusion_ext import EngineError
from df_runtime._names import TableName
from df_runtime._resolve import Dataset, StreamDataset, ViewDataset
from df_runtime.errors import DatasetUnsupportedError

if TYPE_CHECKING:
    from datafusion import SessionContext


class Neighbour:
    """Makes the context when it is first asked for, and keeps its tables those of the session."""

    def __init__(self, new_context: Callable[[], SessionContext]) -> None:
        self._new_context = new_context
        self._context: SessionContext | None = None
        self._handle: SessionContext | None = None
        self._known: dict[TableName, Dataset] = {}
        self._lock = threading.Lock()

    def any(self) -> SessionContext:
        """Return the context as it is."""
        with self._lock:
            return self._made()

    def handle(self, make: Callable[[SessionContext], SessionContext]) -> SessionContext:
        """Return what stands before the context for others, making it when it is first asked for."""
        with self._lock:
            if self._handle is None:
                self._handle = make(self._made())
            return self._handle

    def updated(self, datasets: Mapping[TableName, Dataset]) -> SessionContext:
        """Bring the context up to date; views come after what they read."""
        with self._lock:
            context = self._made()
            for name in [name for name in self._known if name not in datasets]:
                context.deregister_table(name.quoted())
                del self._known[name]
            moved: set[TableName] = set()
            for name, dataset in datasets.items():
                if self._is_current(name, dataset, moved):
                    continue
                moved.add(name)
                self._replace(context, name, dataset)
            return context

    def close(self) -> None:
        """Let go of the context."""
        with self._lock:
            self._context = self._handle = None
            self._known.clear()

    def _made(self) -> SessionContext:
        if self._context is None:
            self._context = self._new_context()
        return self._context

    def _is_current(self, name: TableName, dataset: Dataset, moved: set[TableName]) -> bool:
        if isinstance(dataset, ViewDataset) and not moved.isdisjoint(dataset.depends):
            return False
        return self._known.get(name) is dataset

    def _replace(self, context: SessionContext, name: TableName, dataset: Dataset) -> None:
        if name in self._known:
            context.deregister_table(name.quoted())
        if not isinstance(dataset, StreamDataset):
            _ensure_schema(context, name)
            try:
                dataset.attach_context(context, name)
            except EngineError as error:
                raise DatasetUnsupportedError(
                    f"A `datafusion` context cannot scan {name.quoted()}: {error.message}. Use `Session.sql`."
                ) from error
        self._known[name] = dataset


def _ensure_schema(context: SessionContext, name: TableName) -> None:
    from datafusion.catalog import Catalog, Schema

    if name.catalog not in context.catalog_names():
        context.register_catalog_provider(name.catalog, Catalog.memory_catalog())
    catalog = context.catalog(name.catalog)
    if name.schema not in catalog.schema_names():
        catalog.register_schema(name.schema, Schema.memory_schema())
