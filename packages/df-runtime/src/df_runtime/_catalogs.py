"""Catalogs over folders of Delta tables, whose tables are looked for and opened when a query names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from delta_io import Table, list_folders
from df_runtime._arguments import expect
from df_runtime._names import TableName
from df_runtime.datasets import DatasetSource
from df_runtime.errors import DatasetSourceError

if TYPE_CHECKING:
    from datafusion_ext import Engine
    from df_runtime._registry import Registry

Wanted: TypeAlias = Callable[[str], bool]
CatalogSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, DatasetSource]"
_LOG = "_delta_log"


class FolderCatalog:
    """The Delta tables in a folder: those below it in the default schema, those a level deeper by folder."""

    def __init__(self, catalog: str, schema: str, root: str, options: Mapping[str, str] | None) -> None:
        self.catalog = catalog
        self._schema = schema
        self._root = root
        self._options = options

    def tables(self, wanted: Wanted) -> dict[TableName, DatasetSource]:
        """List what there is at this moment of what a text may name, without opening it."""
        found: dict[TableName, DatasetSource] = {}
        for folder, uri in self._folders(self._root):
            named = wanted(folder)
            if named and self._is_table(uri):
                found[TableName(self.catalog, self._schema, folder)] = self._table(uri)
                continue
            # A schema that is the default one need not be named.
            if not named and folder != self._schema:
                continue
            for table, place in self._folders(uri):
                if wanted(table) and self._is_table(place):
                    found[TableName(self.catalog, folder, table)] = self._table(place)
        return found

    def _folders(self, uri: str) -> Iterable[tuple[str, str]]:
        if "://" in self._root:
            return list_folders(uri, storage_options=self._options).items()
        return [(folder.name, str(folder)) for folder in _local_folders(Path(uri))]

    def _is_table(self, uri: str) -> bool:
        if "://" in self._root:
            return Table.exists(uri, storage_options=self._options)
        return (Path(uri) / _LOG).is_dir()

    def _table(self, uri: str) -> DatasetSource:
        remote = "://" in self._root or self._options is not None
        return Table(uri, storage_options=self._options) if remote else Path(uri)


class NamedCatalog:
    """Tables by name."""

    def __init__(self, catalog: str, tables: Mapping[TableName, DatasetSource]) -> None:
        self.catalog = catalog
        self._tables = dict(tables)

    def tables(self, wanted: Wanted) -> dict[TableName, DatasetSource]:
        """List the tables that a text may name."""
        return {name: source for name, source in self._tables.items() if wanted(name.table)}


Catalog: TypeAlias = "FolderCatalog | NamedCatalog"


def open_catalog(
    name: str, source: object, registry: Registry, storage_options: Mapping[str, str] | None
) -> Catalog:
    """Make a catalog of what a user gives."""
    example = registry.read_name(f"{name}.a.b")
    default = registry.read_name("a").schema
    if isinstance(source, Mapping):
        tables: dict[TableName, DatasetSource] = {}
        for key, value in cast("Mapping[str, DatasetSource]", source).items():
            read = registry.read_name(key)
            tables[TableName(example.catalog, read.schema, read.table)] = _opened(value, storage_options)
        return NamedCatalog(example.catalog, tables)
    if not isinstance(source, (str, os.PathLike)):
        raise DatasetSourceError(f"A {type(source).__name__} is no folder of tables, nor tables by name.")
    text = os.fspath(source).removeprefix("file://")
    if "://" in text:
        text = text.rstrip("/")
        list_folders(text, storage_options=storage_options)  # fails where the store can't be reached
    elif not Path(text).is_dir():
        raise DatasetSourceError(f"{text!r} is no folder on this machine.")
    return FolderCatalog(example.catalog, default, text, storage_options)


def _opened(source: DatasetSource, storage_options: Mapping[str, str] | None) -> DatasetSource:
    if storage_options is None or not isinstance(source, (str, os.PathLike)):
        return source
    return Table(os.fspath(source), storage_options=storage_options)


def _local_folders(root: Path) -> Iterator[Path]:
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir() and not entry.name.startswith((".", "_")):
                yield Path(entry.path)


class Catalogs:
    """A method of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _registry: Registry

        def _opened(self) -> Engine: ...

    def register_catalog(
        self, name: str, source: CatalogSource, *, storage_options: Mapping[str, str] | None = None
    ) -> None:
        """Make the Delta tables of a folder, or tables by name, a catalog.

        Tables are opened when a query names them, and followed like those of `register`; folders that come or
        go are noticed by the next query that names them. A table that is a folder below `source` is
        `name.<default schema>.<folder>`, one that is two below is `name.<folder>.<folder>`; names of folders
        are taken as they are, so those that are not lower case need quotes. `information_schema` lists all.

        Parameters
        ----------
        name : str
            Name of the catalog, read as SQL reads it.
        source : str, PathLike or mapping
            A folder, on this machine or in any store that tables can be in, or sources by `table` or
            `schema.table`.
        storage_options : mapping of str to str, optional
            Options of the folder's store, or of URIs in a mapping.

        Raises
        ------
        DatasetSourceError
            There is no such folder on this machine.
        delta_io.StorageError
            The folder's store can't be reached.

        Examples
        --------
        >>> import tempfile
        >>> import pyarrow as pa
        >>> from delta_io import Table, list_folders
        >>> from df_runtime import SessionFactory
        >>> from schema_spec import ColumnSpec, TableSpec
        >>> lake = tempfile.mkdtemp()
        >>> orders = Table.create(f"{lake}/orders", TableSpec("orders", [ColumnSpec("id", "long")]))
        >>> with SessionFactory().open() as session:
        ...     session.register_catalog("lake", lake)
        ...     session.sql("SELECT count(*) AS n FROM lake.public.orders").to_arrow().to_pylist()
        [{'n': 0}]
        """
        expect("name", name, str, "the name of a catalog")
        self._opened()
        self._registry.put_catalog(open_catalog(name, source, self._registry, storage_options))
