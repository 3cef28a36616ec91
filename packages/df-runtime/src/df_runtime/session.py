"""One session: names, queries, plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import pyarrow as pa
from sqlglot import exp

from datafusion_ext import Engine, EngineError, Query
from delta_io import ScanConfig
from df_runtime import _parameters
from df_runtime._caches import Caches
from df_runtime._catalogs import Catalogs
from df_runtime._changes import TableFunctions
from df_runtime._contexts import Contexts
from df_runtime._dataframe import DataFrames
from df_runtime._definitions import read_definition
from df_runtime._explaining import Explaining
from df_runtime._front_ends import FrontEnds
from df_runtime._functions import PythonFunctions
from df_runtime._introspection import Introspection
from df_runtime._limits import chosen, limited, planned_text
from df_runtime._names import TableName
from df_runtime._naming import Naming
from df_runtime._neighbour import Neighbour
from df_runtime._observer import Observer, Run
from df_runtime._parameters import Parameters
from df_runtime._planning import Planner
from df_runtime._registry import Registry
from df_runtime._resolve import Dataset
from df_runtime._secrets import hiding
from df_runtime._statements import Statements
from df_runtime._substrait import Substrait
from df_runtime._texts import QueryText, text_of
from df_runtime.datasets import DatasetSource
from df_runtime.errors import ParameterError, SessionClosedError
from df_runtime.gate import GateReport
from df_runtime.plans import PlanInputs
from df_runtime.policy import SqlPolicy
from df_runtime.prepared import Prepared, Workshop
from df_runtime.profile import RuntimeProfile
from df_runtime.result import Result

if TYPE_CHECKING:
    from datafusion import SessionContext

    from df_runtime.factory import SessionFactory

_NOTHING = "FROM (SELECT 1) LIMIT 0"


class Session(
    FrontEnds, DataFrames, Substrait, Contexts, Catalogs, Introspection, Naming, Explaining, PythonFunctions
):
    """Datasets under names, and queries over them. `SessionFactory.open` makes sessions.

    Names are read as SQL reads them after FROM: without quotes they are lower-cased, in double quotes they
    are kept, dots separate catalog, schema and table. So `register("Orders", …)` answers to `Orders`,
    `orders` and `"orders"`, and `register('"Orders"', …)` to `"Orders"` alone. Text that is no SQL name,
    such as `my-table`, is the literal name, to be quoted in queries. Column names keep their case in the
    data; a query must quote those that are not lower case.

    Methods may be called from many threads at once.
    """

    def __init__(
        self,
        engine: Engine,
        profile: RuntimeProfile,
        *,
        factory: SessionFactory,
        planner: Planner,
        new_context: Callable[[], SessionContext],
    ) -> None:
        self._engine: Engine | None = engine
        self._profile = profile
        self._factory = factory
        self._planner = planner
        self._registry = Registry(engine, profile)
        TableFunctions(self._registry).register(engine)
        self._caches = Caches(engine, factory.plan_cache)
        self._caches.register()
        self._neighbour = Neighbour(new_context)
        self._observer = Observer(profile.observability)
        self._workshop = Workshop(
            self._opened, self._registry, planner, profile, self._observer, self._result
        )
        self._statements = Statements(
            lambda name, query, policy: Prepared(name, query, policy=policy, workshop=self._workshop),
            lambda query, policy: self.sql(query, policy=policy),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Session lives in one process: open one in each with `SessionFactory(profile)`.")

    def close(self) -> None:
        """Forget every dataset and release the engine; results that are being read stay valid."""
        self._engine = None
        self._registry.clear()
        self._neighbour.close()

    @property
    def profile(self) -> RuntimeProfile:
        """What the session was opened with."""
        return self._profile

    @property
    def session_id(self) -> str:
        """Identifies the session wherever its runs are told of."""
        return self._observer.session_id

    def register(
        self,
        name: str,
        source: DatasetSource,
        *,
        version: int | None = None,
        timestamp: datetime | str | None = None,
        scan: ScanConfig | None = None,
    ) -> None:
        """Make a dataset known under a name, in place of what had the name before.

        A Delta table given by URI or as a `Table` is followed: each query reads its newest version, and one
        version throughout. With `version` or `timestamp`, or as a `Snapshot`, it is pinned. A
        `RecordBatchReader` can be scanned once; other Arrow data is kept in memory. A view is a query over
        names that are known already.
        A `Table` that was opened with a contract shows the contract's columns: casts, defaults and renames
        are applied where the table is scanned, and `resolution` lists them.

        Parameters
        ----------
        name : str
            `table`, `schema.table` or `catalog.schema.table`, read as SQL reads it.
        source : str, PathLike, Table, Snapshot, ChangeSet, sqlglot.exp.Expression or Arrow data
            A URI or path of a Delta table, a statement as `TableSpec.to_ddl` writes it, the text of a query,
            or one of the objects named; a tree of SQLGlot is kept as its text. Text that starts with SELECT,
            WITH, VALUES, FROM or TABLE is a query; give a path of that name as a `pathlib.Path`.
        version : int, optional
            Version of the Delta table.
        timestamp : datetime or str, optional
            Newest version committed by then.
        scan : delta_io.ScanConfig, optional
            How the Delta table is scanned: columns for the file and position of each row, types, chosen
            files, a version.

        Raises
        ------
        DatasetError
            The name or the source cannot be used, or the engine cannot scan it; the message says why.
        SqlError
            The query of a view is wrong.
        delta_io.DeltaIoError
            The table cannot be opened.
        """
        self._opened()
        if isinstance(source, exp.Expr):
            source = text_of(source)
        with hiding(source):
            self._registry.put(name, source, version=version, timestamp=timestamp, scan=scan)

    def deregister(self, name: str) -> bool:
        """Forget a dataset.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
            Whether the name was known.
        """
        self._opened()
        return self._registry.remove(name)

    def sql(
        self, query: QueryText, *, params: Parameters | None = None, policy: SqlPolicy | None = None
    ) -> Result:
        """Plan a query; it runs when its rows are asked for.

        Definitions and settings, where the policy allows them, take effect at once; INSERT and COPY when the
        result is read.

        Parameters
        ----------
        query : str or sqlglot.exp.Expression
            One statement, as text or as a tree of SQLGlot.
        params : mapping or sequence, optional
            Values for `$name` (a mapping) or `$1`, `$2`, … (a sequence). They are bound as values, never as
            text.
        policy : SqlPolicy, optional
            What the text may do; the profile's policy, which is read-only by default, if left out.

        Returns
        -------
        Result

        Raises
        ------
        SqlError
            The text is wrong; line, column and the closest names are given where they are known.
        PolicyError
            The policy does not allow the statement.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register("orders", pa.table({"id": [1, 2, 3], "amount": [5, 7, 9]}))
        ...     session.sql(
        ...         "SELECT sum(amount) AS total FROM orders WHERE id > $least", params={"least": 1}
        ...     ).show()
        total
        -----
           16
        (1 row)
        """
        self._opened()
        query = text_of(query)
        with hiding(query):
            return self._sql(query, params, chosen(policy, self._profile))

    def _sql(self, query: str, params: Parameters | None, allowed: SqlPolicy) -> Result:
        engine = self._opened()
        if allowed.statements and (handled := self._statements.handled(query, allowed)) is not None:
            return handled
        if allowed.ddl and (defined := self._defined(query, params, allowed)) is not None:
            return defined
        with self._observer.planning(query) as run:
            row = _parameters.bind(query, params)
            with self._registry.settled(query) as scope:
                report = self._registry.gate.check(query, allowed, scope)
                run.passed()
                keeps = self._planner.stores and allowed.changes_nothing
                inputs = self._planner.inputs(query, row, scope) if keeps else None
                planned = self._planner.kept(inputs)
                run.looked_up(inputs, planned)
                if planned is None:
                    planned = self._plan(engine, query, row, allowed)
            return self._result(planned, report, allowed, inputs, scope, row=row, run=run)

    def _defined(self, query: str, params: Parameters | None, allowed: SqlPolicy) -> Result | None:
        """Run a text if it defines or drops what the session follows."""
        definition = read_definition(query)
        if definition is None:
            return None
        with self._observer.planning(query) as run:
            report = self._registry.gate.check(query, allowed, {})
            run.passed()
            if params:
                raise ParameterError("A definition has no parameters; leave out `params`.", query=query)
            if not self._registry.define(definition, allowed):
                return None
            planned = self._opened().sql(_NOTHING)
            return self._result(planned, report, allowed, None, {}, row=None, run=run)

    def prepare(self, name: str, query: QueryText, *, policy: SqlPolicy | None = None) -> Prepared:
        """Plan a statement to be run many times, in place of what was prepared under the name before.

        Parameters
        ----------
        name : str
            Under it `EXECUTE` finds the statement too, where the policy allows that.
        query : str or sqlglot.exp.Expression
            One query, or a statement that writes where the policy allows it, with `$name` or `$1` for values.
        policy : SqlPolicy, optional
            What the statement may do; the profile's policy if left out.

        Returns
        -------
        Prepared

        Raises
        ------
        SqlError
            The statement is wrong or not allowed.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register("orders", pa.table({"id": [1, 2, 3], "amount": [5, 7, 9]}))
        ...     over = session.prepare("over", "SELECT count(*) AS n FROM orders WHERE amount > $least")
        ...     [over.execute({"least": least}).to_arrow()["n"][0].as_py() for least in (4, 8)]
        [3, 1]
        """
        self._opened()
        query = text_of(query)
        allowed = chosen(policy, self._profile)
        with hiding(query):
            prepared = Prepared(name, query, policy=allowed, workshop=self._workshop)
        self._statements.put(prepared)
        return prepared

    def gate(self, query: QueryText, *, policy: SqlPolicy | None = None) -> GateReport:
        """Check a text and tell how it was understood, without planning it.

        Parameters
        ----------
        query : str or sqlglot.exp.Expression
            One statement.
        policy : SqlPolicy, optional
            What the text may do; the profile's policy if left out.

        Returns
        -------
        GateReport

        Raises
        ------
        SqlError
            The text is not SQL, or the policy does not allow what stands in it.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register("orders", pa.table({"id": [1], "amount": [5]}))
        ...     report = session.gate("SELECT sum(Amount) AS total FROM orders")
        >>> report.tables, report.columns
        (('orders',), (('total', 'BIGINT'),))
        """
        self._opened()
        query = text_of(query)
        with hiding(query), self._registry.settled(query) as scope:
            return self._registry.gate.check(query, chosen(policy, self._profile), scope)

    def sibling(self) -> Session:
        """Open an empty session of the same factory and profile.

        Returns
        -------
        Session
        """
        return self._factory.open()

    def _opened(self) -> Engine:
        if self._engine is None:
            raise SessionClosedError("The session is closed; open another one with `SessionFactory.open`.")
        return self._engine

    def _plan(self, engine: Engine, query: str, row: pa.RecordBatch | None, policy: SqlPolicy) -> Query:
        try:
            return planned_text(engine, query, row, policy, self._profile)
        except EngineError as error:
            raise self._registry.unplanned(error, query, row) from error
        finally:
            if not policy.changes_nothing:
                self._planner.forget_environment()
            if policy.ddl:
                self._registry.reconcile(query)

    def _result(
        self,
        planned: Query,
        report: GateReport,
        policy: SqlPolicy,
        inputs: PlanInputs | None,
        scope: Mapping[TableName, Dataset],
        *,
        row: pa.RecordBatch | None,
        run: Run,
    ) -> Result:
        query = report.query
        datasets = tuple(dataset.identity(name) for name, dataset in sorted(scope.items()))
        run.planned(planned, datasets)
        return Result(
            limited(planned, policy, self._profile),
            report,
            run=run,
            datasets=datasets,
            translate=lambda error: self._registry.diagnosed(error, query),
            give_back=self._planner.keeper(inputs, scope),
            max_bytes=self._profile.max_result_bytes,
            to_substrait=lambda: self._substrait_of(report, row),
        )
