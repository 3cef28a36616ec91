"""An Ibis backend over a session: `Session.backend`, or `ibis.df_runtime.connect(session)`."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import ibis
import ibis.common.exceptions as com
import ibis.expr.operations as ops
import ibis.expr.schema as sch
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import (
    CanListCatalog,
    CanListDatabase,
    HasCurrentCatalog,
    HasCurrentDatabase,
    NoExampleLoader,
)
from ibis.backends.sql import SQLBackend

from datafusion_ext import DATAFUSION_VERSION
from df_runtime._ibis import exact_schema, ibis_schema
from df_runtime._ibis_compiler import MEMORY_SCHEMA, compiler
from df_runtime._ibis_functions import register
from df_runtime._ibis_names import Names
from df_runtime._names import TableName
from df_runtime.errors import SessionClosedError

if TYPE_CHECKING:
    from df_runtime.policy import SqlPolicy
    from df_runtime.result import Result
    from df_runtime.session import Session

T = TypeVar("T")


class Backend(
    Names,
    SQLBackend,
    CanListCatalog,
    CanListDatabase,
    HasCurrentCatalog,
    HasCurrentDatabase,
    NoExampleLoader,
):
    """Ibis over one session: its datasets are the tables, its policy holds for every expression.

    Views and tables that are made here are names of the session, and go with it. What is to last is written
    with `to_delta`, or into a registered Delta table with `insert`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from df_runtime import SessionFactory
    >>> with SessionFactory().open() as session:
    ...     session.register("orders", pa.table({"id": [1, 2, 3], "amount": [5, 7, 9]}))
    ...     orders = session.backend.table("orders")
    ...     orders.amount.sum().to_pyarrow().as_py()
    21
    """

    name: ClassVar[str] = "df_runtime"
    compiler = compiler
    supports_temporary_tables = True
    supports_python_udfs = True
    expression = ir.Expr
    compile_errors = (com.IbisError, NotImplementedError, ValueError)

    def do_connect(self, session: Session | None = None) -> None:
        """Use a session; one with the default profile is opened if none is given.

        Parameters
        ----------
        session : Session, optional
        """
        self._owns = session is None
        if session is None:
            from df_runtime.factory import SessionFactory

            session = SessionFactory().open()
        self._session: Session | None = session
        self._lock = threading.RLock()
        self._memory: dict[str, weakref.ref[Any]] = {}
        self._gone: deque[tuple[str, weakref.ref[Any]]] = deque()
        self._kept: dict[str, tuple[Any, ...]] = {}

    def _from_url(self, url: Any, **_: Any) -> Backend:
        raise NotImplementedError(f"A session has no URL, found {url.geturl()!r}: `connect` to the session.")

    @classmethod
    def from_connection(cls, con: Session, /, **kwargs: Any) -> Backend:
        """Make a backend of a session.

        Parameters
        ----------
        con : Session

        Returns
        -------
        Backend
        """
        backend = cls(con, **kwargs)
        backend.reconnect()
        return backend

    @property
    def session(self) -> Session:
        """The session whose tables these are."""
        if self._session is None:
            raise SessionClosedError("The backend is disconnected; `connect` it to a session.")
        return self._session

    @property
    def con(self) -> Session:
        """The session, under the name that Ibis gives connections."""
        return self.session

    @property
    def version(self) -> str:
        """Version of the engine."""
        return DATAFUSION_VERSION

    @property
    def db_identity(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - cached there
        """Tells this session's tables from another's."""
        return f"df_runtime:{id(self._session):x}"

    def disconnect(self) -> None:
        """Let go of the session, and close it if `connect` opened it."""
        if self._owns and self._session is not None:
            self._session.close()
        self._session = None

    # --- running

    def plan(
        self,
        expr: ir.Expr,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        policy: SqlPolicy | None = None,
    ) -> Result:
        """Plan an expression: what `Session.ibis` does.

        Parameters
        ----------
        expr : ibis.Expr
        params : mapping, optional
            Values of `ibis.param` scalars.
        limit : int, optional
            Number of rows.
        policy : SqlPolicy, optional
            As for `Session.sql`.

        Returns
        -------
        Result
        """
        compile_: Any = self.compile  # annotated for less than it takes
        with self._prepared(expr):
            return self.session.sql(compile_(expr, params=params, limit=limit), policy=policy)

    def with_text(self, expr: ir.Expr, use: Callable[[str], T]) -> T:
        """Use the text of an expression while its memory tables are known."""
        with self._prepared(expr):
            return use(self.compile(expr))

    @contextlib.contextmanager
    def _prepared(self, expr: ir.Expr) -> Generator[None]:
        """Make the memory tables of an expression known for as long as it takes to plan it."""
        for node in expr.op().find((ops.DatabaseTable, ops.SQLQueryResult)):
            table: Any = node
            source = table.source
            if not isinstance(source, Backend):
                raise com.IbisInputError(
                    f"The expression reads tables of the {source.name} backend, and runs in a session: "
                    "register their rows with `Session.register`, or use `ibis.memtable`."
                )
        with self._lock:
            self._run_pre_execute_hooks(expr)
            yield

    def to_pyarrow_batches(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        chunk_size: int = 1_000_000,
        **_: Any,
    ) -> pa.RecordBatchReader:
        """Run an expression as a reader of record batches.

        Types are those of the expression, but for decimals: these keep the digits that the engine computes,
        where Ibis expects fewer.
        """
        table = expr.as_table()
        result = self.plan(table, params=params, limit=limit)
        wanted = exact_schema(table.schema(), result.schema)
        reader = result.to_reader()
        if reader.schema.types != wanted.types:
            reader = reader.cast(wanted)
        return pa.RecordBatchReader.from_batches(wanted, _chunks(reader, wanted, chunk_size))

    def to_pyarrow(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run an expression: a table, an array for a column, a scalar for a scalar."""
        shaped: Any = expr  # each kind of expression has its own shape of result
        rows = self._collected(expr, params=params, limit=limit, **kwargs)
        return shaped.__pyarrow_result__(rows, schema=ibis_schema(rows.schema))

    def execute(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run an expression into pandas."""
        shaped: Any = expr
        rows = self._collected(expr, params=params, limit=limit, **kwargs)
        frame = rows.to_pandas(timestamp_as_object=True)
        return shaped.__pandas_result__(frame, schema=ibis_schema(rows.schema))

    def _collected(
        self, expr: ir.Expr, *, params: Mapping[ir.Scalar, Any] | None, limit: int | str | None, **_: Any
    ) -> pa.Table:
        """Collect rows under the limit and with the errors of the session."""
        table = expr.as_table()
        rows = self.plan(table, params=params, limit=limit).to_arrow()
        return rows.cast(exact_schema(table.schema(), rows.schema))

    def raw_sql(self, query: Any, **_: Any) -> Result:
        """Plan a text, or an expression of SQLGlot, under the policy of the session."""
        return self.session.sql(query)

    @contextlib.contextmanager
    def _safe_raw_sql(self, query: Any, **_: Any) -> Generator[pa.Table]:
        yield self.raw_sql(query).to_arrow()

    def _get_schema_using_query(self, query: str) -> sch.Schema:
        return ibis_schema(self.session.sql(query).schema)

    def _register_udfs(self, expr: ir.Expr) -> None:
        for node in expr.op().find(ops.ScalarUDF):
            register(node, self.session)

    # --- rows of `ibis.memtable`

    def _register_in_memory_tables(self, expr: ir.Expr) -> None:
        # Two expressions may use one name for different rows: whose turn it is, under the lock, has the name.
        self._forget_memory()
        self._verify_in_memory_tables_are_unique(expr)
        for op in expr.op().find(ops.InMemoryTable):
            table: Any = op
            holder = self._memory.get(table.name)
            if holder is None or holder() is not table:
                self._register_in_memory_table(table)

    def _register_in_memory_table(self, op: Any) -> None:
        name, gone = op.name, self._gone
        self.session.register(self._memory_name(name), op.data.to_pyarrow(op.schema))
        # Called at any moment, even amid a change of the registry: so it does no more than take a note.
        self._memory[name] = weakref.ref(op, lambda holder: gone.append((name, holder)))

    def _forget_memory(self) -> None:
        """Deregister memory tables whose expressions are gone, unless the name has another's rows by now."""
        while self._gone:
            name, holder = self._gone.popleft()
            if self._memory.get(name) is holder:
                del self._memory[name]
                self.session.deregister(self._memory_name(name))

    def _memory_name(self, name: str) -> str:
        return TableName(self.current_catalog, MEMORY_SCHEMA, name).quoted()

    def _make_memtable_finalizer(self, name: str) -> Any:
        """Do nothing: tables go when their expressions do."""

    # --- what expressions are given names by

    def _define_view(self, complete: str, obj: ir.Table) -> None:
        with self._prepared(obj):
            self.session.register(complete, self.compile(obj))
            self._kept[complete] = tuple(obj.op().find(ops.InMemoryTable))

    def _undefine(self, complete: str) -> None:
        self.session.deregister(complete)
        self._kept.pop(complete, None)

    def _as_expression(self, obj: Any, schema: Any = None) -> ir.Table:
        expr = obj if isinstance(obj, ir.Expr) else ibis.memtable(obj, schema=schema)
        table = expr.as_table()
        return table if schema is None else table.cast(schema)


def _chunks(reader: pa.RecordBatchReader, schema: pa.Schema, rows: int) -> Generator[pa.RecordBatch]:
    with reader:
        for batch in reader:
            for start in range(0, batch.num_rows, rows):
                yield pa.RecordBatch.from_arrays(batch.slice(start, rows).columns, schema=schema)
