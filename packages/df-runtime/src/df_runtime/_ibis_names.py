"""What an Ibis backend does with names: lists them, makes them, drops them, and writes what they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.common.exceptions as com
import pyarrow as pa

from delta_io import Table
from df_runtime._ibis import ibis_schema
from df_runtime._names import TableName
from df_runtime.errors import PolicyError
from schema_spec import TableSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    import ibis.expr.schema as sch
    import ibis.expr.types as ir

    from df_runtime.session import Session

Database = tuple[str, str] | str | None
_INFORMATION = "information_schema"


class Names:
    """The part of `Backend` that deals with names."""

    if TYPE_CHECKING:

        @property
        def session(self) -> Session: ...
        @staticmethod
        def _filter_with_like(values: Iterable[str], like: str | None = None) -> list[str]: ...
        def _to_sqlglot_table(self, database: Database) -> Any: ...
        def _get_schema_using_query(self, query: str) -> sch.Schema: ...
        def _define_view(self, complete: str, obj: ir.Table) -> None: ...
        def _undefine(self, complete: str) -> None: ...
        def _as_expression(self, obj: Any, schema: Any = None) -> ir.Table: ...
        def table(self, name: str, /, *, database: Database = None) -> ir.Table: ...
        def to_pyarrow(self, expr: ir.Expr, /) -> Any: ...
        def to_pyarrow_batches(
            self, expr: ir.Expr, /, *, params: Mapping[ir.Scalar, Any] | None = None
        ) -> pa.RecordBatchReader: ...

    @property
    def current_catalog(self) -> str:
        """Catalog of names that give none."""
        return self.session.profile.catalog

    @property
    def current_database(self) -> str:
        """Schema of names that give none."""
        return self.session.profile.schema

    def list_catalogs(self, *, like: str | None = None) -> list[str]:
        """Name the catalogs."""
        return self._filter_with_like(self._schemata("catalog_name", None), like)

    def list_databases(self, *, like: str | None = None, catalog: str | None = None) -> list[str]:
        """Name the schemas of a catalog."""
        return self._filter_with_like(self._schemata("schema_name", catalog or self.current_catalog), like)

    def _schemata(self, column: str, catalog: str | None) -> list[str]:
        query = f"SELECT DISTINCT {column} AS name FROM information_schema.schemata"
        if catalog is None:
            rows = self.session.sql(query)
        else:
            rows = self.session.sql(f"{query} WHERE catalog_name = $catalog", params={"catalog": catalog})
        return sorted(rows.to_arrow().column("name").to_pylist())

    def list_tables(self, *, like: str | None = None, database: Database = None) -> list[str]:
        """Name the tables and views of a schema."""
        catalog, schema = self._place(database)
        rows = self.session.sql(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_catalog = $catalog AND table_schema = $schema",
            params={"catalog": catalog, "schema": schema},
        )
        return self._filter_with_like(sorted(rows.to_arrow().column("table_name").to_pylist()), like)

    def get_schema(
        self, table_name: str, *, catalog: str | None = None, database: str | None = None
    ) -> sch.Schema:
        """Names and types of the columns of a table."""
        if database == _INFORMATION:
            name = TableName(catalog or self.current_catalog, database, table_name)
            return self._get_schema_using_query(f"SELECT * FROM {name.quoted()}")
        complete = self._name(
            table_name, (catalog or self.current_catalog, database or self.current_database)
        )
        if not self.session.knows(complete):
            raise com.TableNotFound(complete)
        return ibis_schema(self.session.schema(complete))

    def _place(self, database: Database) -> tuple[str, str]:
        where = self._to_sqlglot_table(database)
        return where.catalog or self.current_catalog, where.db or self.current_database

    def _name(self, name: str, database: Database) -> str:
        return TableName(*self._place(database), name).quoted()

    def create_view(
        self, name: str, /, obj: ir.Table, *, database: Database = None, overwrite: bool = False
    ) -> ir.Table:
        """Give an expression a name in the session."""
        self._define_view(self._free(name, database, overwrite=overwrite), obj)
        return self.table(name, database=self._place(database))

    def create_table(
        self,
        name: str,
        /,
        obj: Any = None,
        *,
        schema: Any = None,
        database: Database = None,
        temp: bool = False,
        overwrite: bool = False,
    ) -> ir.Table:
        """Keep rows in memory under a name of the session; all such tables are temporary."""
        del temp
        if obj is None and schema is None:
            raise com.IbisInputError("A table needs rows (`obj`) or a `schema`.")
        complete = self._free(name, database, overwrite=overwrite)
        if obj is None:
            rows = ibis.schema(schema).to_pyarrow().empty_table()
        else:
            rows = self.to_pyarrow(self._as_expression(obj, schema))
        self._undefine(complete)
        self.session.register(complete, rows)
        return self.table(name, database=self._place(database))

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        return self.create_table(name, expr)

    def _drop_cached_table(self, name: str) -> None:
        self.drop_table(name, force=True)

    def _free(self, name: str, database: Database, *, overwrite: bool) -> str:
        complete = self._name(name, database)
        if not overwrite and self.session.knows(complete):
            raise com.IbisInputError(f"{complete} is there already; drop it, or say `overwrite=True`.")
        return complete

    def drop_view(self, name: str, /, *, database: Database = None, force: bool = False) -> None:
        """Forget a view."""
        self._drop(name, database, force=force, views=True)

    def drop_table(self, name: str, /, *, database: Database = None, force: bool = False) -> None:
        """Forget a table; what a Delta table holds stays where it is."""
        self._drop(name, database, force=force, views=False)

    def _drop(self, name: str, database: Database, *, force: bool, views: bool) -> None:
        complete = self._name(name, database)
        if not self.session.knows(complete):
            if not force:
                raise com.TableNotFound(complete)
            return
        if (self.session.resolution(complete).kind == "view") is not views:
            right = "drop_table" if views else "drop_view"
            raise com.IbisInputError(f"{complete} is a {'table' if views else 'view'}; use `{right}`.")
        self._undefine(complete)

    def read_delta(self, path: str | Path, /, *, table_name: str | None = None, **kwargs: Any) -> ir.Table:
        """Register a Delta table; `version` and `timestamp` pin it."""
        name = table_name or ibis.util.gen_name("read_delta")
        self.session.register(self._name(name, None), path if "://" in str(path) else Path(path), **kwargs)
        return self.table(name)

    def to_delta(
        self,
        expr: ir.Table,
        /,
        path: str | Path,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        mode: Literal["append", "overwrite", "error"] = "error",
        storage_options: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write rows to a Delta table, which is made if it is not there; see `delta_io.Table.write`."""
        with self.to_pyarrow_batches(expr, params=params) as rows:
            if Table.exists(path, storage_options=storage_options):
                table = Table(path, storage_options=storage_options)
            else:
                spec = TableSpec.from_arrow(Path(path).name, rows.schema)
                table = Table.create(path, spec, storage_options=storage_options)
            table.write(rows, mode=mode, **kwargs)

    def insert(self, name: str, /, obj: Any, *, database: Database = None, overwrite: bool = False) -> None:
        """Add rows to a Delta table, or to one in memory; with `overwrite` in place of those it has."""
        complete, table = self._writable(name, database)
        expr = self._as_expression(obj)
        if table is not None:
            table.write(self.to_pyarrow_batches(expr), mode="overwrite" if overwrite else "append")
            return
        there = self.session.sql(f"SELECT * FROM {complete}").to_arrow()
        rows = self.to_pyarrow(expr).select(there.column_names).cast(there.schema)
        self.session.register(complete, rows if overwrite else pa.concat_tables([there, rows]))

    def upsert(self, name: str, /, obj: Any, on: str, *, database: Database = None) -> None:
        """Merge rows into a Delta table by a key."""
        complete, table = self._writable(name, database)
        if table is None:
            raise com.UnsupportedOperationError(
                f"{complete} is in memory; rows are merged into Delta tables."
            )
        table.merge(self.to_pyarrow_batches(self._as_expression(obj)), on=on)

    def truncate_table(self, name: str, /, *, database: Database = None) -> None:
        """Delete all rows of a Delta table, or of one in memory."""
        complete, table = self._writable(name, database)
        if table is None:
            self.session.register(complete, self.session.schema(complete).empty_table())
        else:
            table.delete()

    def _writable(self, name: str, database: Database) -> tuple[str, Table | None]:
        """Find what a name stands for: the Delta table that is followed, or None for rows in memory."""
        complete = self._name(name, database)
        if not self.session.profile.policy.dml:
            raise PolicyError(
                f"The policy of this session is read-only, and {complete} would be written. Open a session "
                'with `RuntimeProfile(sql_policy="trusted")`, or write with `delta_io.Table`.'
            )
        if not self.session.knows(complete):
            raise com.TableNotFound(complete)
        found = self.session.resolution(complete)
        source = self.session.source(complete)
        if found.kind == "delta" and not found.pinned and isinstance(source, Table):
            return complete, source
        if found.kind == "arrow":
            return complete, None
        kind = "pinned" if found.pinned else found.kind
        raise com.UnsupportedOperationError(f"{complete} is {kind}, and can't be written.")
