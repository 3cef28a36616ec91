"""What the datasets of a session are called, and what is known of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from df_runtime._names import TableName
from df_runtime.datasets import DatasetResolution, DatasetSource
from df_runtime.errors import DatasetUnknownError

if TYPE_CHECKING:
    from datafusion_ext import Engine
    from df_runtime._registry import Registry
    from df_runtime._resolve import Dataset
    from df_runtime.profile import RuntimeProfile

_LISTING = """
    SELECT table_catalog, table_schema, table_name FROM information_schema.tables
    WHERE table_schema <> 'information_schema'
"""


class Naming:
    """Methods of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _profile: RuntimeProfile
        _registry: Registry

        def _opened(self) -> Engine: ...

    def tables(self) -> tuple[str, ...]:
        """Names of all datasets, as SQL needs them written, sorted.

        Returns
        -------
        tuple of str
        """
        engine = self._opened()
        self._registry.discover(None)
        return tuple(sorted(map(self._relative, _listed(engine, self._profile))))

    def source(self, name: str) -> DatasetSource:
        """Return what was registered under a name.

        Parameters
        ----------
        name : str

        Returns
        -------
        Table, Snapshot, ChangeSet, Arrow data or str
            The object itself; a `Table` for a URI, the text for a view.

        Raises
        ------
        DatasetUnknownError
            Nothing is registered under the name.
        """
        return self._dataset(name).source

    def schema(self, name: str) -> pa.Schema:
        """Names and types of the columns of a dataset at its newest version.

        Parameters
        ----------
        name : str

        Returns
        -------
        pyarrow.Schema

        Raises
        ------
        DatasetUnknownError
            Nothing is registered under the name.
        """
        engine = self._opened()
        complete = self._complete(name)
        with self._registry.settled(complete.quoted()):
            return pa.schema(engine.schema(complete.quoted()))

    def resolution(self, name: str) -> DatasetResolution:
        """How a name resolves: which table and version, how it is read, how large it is.

        Parameters
        ----------
        name : str

        Returns
        -------
        DatasetResolution

        Raises
        ------
        DatasetUnknownError
            Nothing is registered under the name.
        """
        self._dataset(name)
        complete = self._registry.read_name(name)
        with self._registry.settled(complete.quoted()) as scope:
            dataset = scope[complete]
        return dataset.resolution(self._relative(complete))

    def knows(self, name: str) -> bool:
        """Whether there is a dataset of a name: registered, or made by a statement.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
        """
        engine = self._opened()
        if self._registry.get(name) is not None:
            return True
        return self._registry.read_name(name) in _listed(engine, self._profile)

    def _complete(self, name: str) -> TableName:
        if not self.knows(name):
            self._dataset(name)
        return self._registry.read_name(name)

    def _dataset(self, name: str) -> Dataset:
        self._opened()
        dataset = self._registry.get(name)
        if dataset is None and self.knows(name):
            raise DatasetUnknownError(
                f"Dataset {name!r} was made by a statement; nothing was registered for it."
            )
        if dataset is None:
            known = ", ".join(self.tables()) or "none"
            raise DatasetUnknownError(f"No dataset {name!r} is registered; there are: {known}.")
        return dataset

    def _relative(self, name: TableName) -> str:
        return name.relative(catalog=self._profile.catalog, schema=self._profile.schema)


def _listed(engine: Engine, profile: RuntimeProfile) -> list[TableName]:
    """List all tables. Names need no look at the tables' logs, which a query of the session would take."""
    if not profile.information_schema:
        read = partial(TableName.parse, catalog=profile.catalog, schema=profile.schema)
        return [read(name) for name in engine.tables()]  # with all parts, in quotes where they need them
    rows = pa.table(engine.sql(_LISTING)).to_pylist()
    return [TableName(*row.values()) for row in rows]
