"""Catalogs over folders of Delta tables, whose tables are opened when a query names them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from delta_io import Table
from df_runtime._arguments import expect
from df_runtime._names import TableName
from df_runtime.datasets import DatasetSource
from df_runtime.errors import DatasetSourceError

if TYPE_CHECKING:
    from datafusion_ext import Engine
    from df_runtime._registry import Registry

CatalogSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, DatasetSource]"
_LOG = "_delta_log"


class FolderCatalog:
    """The Delta tables in a folder: those below it in the default schema, those a level deeper by folder."""

    def __init__(self, catalog: str, schema: str, root: Path) -> None:
        self.catalog = catalog
        self._schema = schema
        self._root = root

    def tables(self) -> dict[TableName, DatasetSource]:
        """List what there is at this moment, without opening it."""
        found: dict[TableName, DatasetSource] = {}
        for folder in _folders(self._root):
            if _is_table(folder):
                found[TableName(self.catalog, self._schema, folder.name)] = folder
                continue
            for table in filter(_is_table, _folders(folder)):
                found[TableName(self.catalog, folder.name, table.name)] = table
        return found


class NamedCatalog:
    """Tables by name."""

    def __init__(self, catalog: str, tables: Mapping[TableName, DatasetSource]) -> None:
        self.catalog = catalog
        self._tables = dict(tables)

    def tables(self) -> dict[TableName, DatasetSource]:
        """List the tables."""
        return dict(self._tables)


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
    if "://" in text or not Path(text).is_dir():
        raise DatasetSourceError(
            f"{text!r} is no folder on this machine. Give the tables of another store by name: "
            '`{"orders": "s3://…"}`.'
        )
    return FolderCatalog(example.catalog, default, Path(text))


def _opened(source: DatasetSource, storage_options: Mapping[str, str] | None) -> DatasetSource:
    if storage_options is None or not isinstance(source, (str, os.PathLike)):
        return source
    return Table(os.fspath(source), storage_options=storage_options)


def _folders(root: Path) -> Iterator[Path]:
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir() and not entry.name.startswith((".", "_")):
                yield Path(entry.path)


def _is_table(folder: Path) -> bool:
    return (folder / _LOG).is_dir()


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
        go are noticed by the next query that names the catalog. A table that is a folder below `source` is
        `name.<default schema>.<folder>`, one that is two below is `name.<folder>.<folder>`; names of folders
        are taken as they are, so those that are not lower case need quotes. `information_schema` lists all.

        Parameters
        ----------
        name : str
            Name of the catalog, read as SQL reads it.
        source : str, PathLike or mapping
            A folder on this machine, or sources by `table` or `schema.table`.
        storage_options : mapping of str to str, optional
            Options of URIs in a mapping.

        Raises
        ------
        DatasetSourceError
            There is no such folder.

        Examples
        --------
        >>> import tempfile
        >>> import pyarrow as pa
        >>> from delta_io import Table
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
