from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Protocol, TypeAlias, TypedDict, final

from datafusion_ext.errors import EngineError

__version__: str
DATAFUSION_VERSION: str

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class _ArrowSchema(Protocol):
    def __arrow_c_schema__(self) -> object: ...

class _PlanNode(TypedDict):
    parent: int | None
    operator: str
    detail: str
    metrics: dict[str, int]

class _Explanation(TypedDict):
    logical: str
    optimized: str
    physical: str
    analyzed: str | None
    logical_tree: list[_PlanNode]
    optimized_tree: list[_PlanNode]
    physical_tree: list[_PlanNode]

class _Run(TypedDict):
    started: int
    finished: int | None
    planning: int
    waiting: int
    rows: int
    batches: int
    bytes: int
    outcome: str
    error_code: str | None
    metrics: dict[str, int]

class _Routine(TypedDict):
    name: str
    kind: str
    volatility: str | None
    built_in: bool

_TableOfFunction: TypeAlias = _ArrowStream | tuple[DeltaScan, list[str], str | None]

@final
class Engine:
    """One DataFusion context under one set of settings.

    Parameters
    ----------
    settings : mapping of str to str, optional
        DataFusion settings, such as ``datafusion.execution.batch_size``.
    memory_limit_bytes : int, optional
        Bytes of working memory for all queries together; operators that can will spill beyond it.
    spill_directory : path, optional
        Where spilled data goes; the system's temporary directory by default.
    spill_limit_bytes : int, optional
        Most bytes of spilled data at one time.
    cache_limits_bytes : mapping of str to int, optional
        Most bytes that the caches ``file_metadata``, ``file_statistics`` and ``list_files`` may hold; 0
        switches one off.

    Raises
    ------
    EngineError
        ``engine-settings`` if a setting is unknown or its value is refused.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from datafusion_ext import Engine
    >>> engine = Engine({"datafusion.execution.target_partitions": "2"})
    >>> engine.register_batches("t", pa.table({"x": [1, 2, 3]}))
    >>> pa.table(engine.sql("SELECT sum(x) AS total FROM t")).to_pylist()
    [{'total': 6}]
    """

    def __new__(
        cls,
        settings: Mapping[str, str] | None = None,
        *,
        memory_limit_bytes: int | None = None,
        spill_directory: str | PathLike[str] | None = None,
        spill_limit_bytes: int | None = None,
        cache_limits_bytes: Mapping[str, int] | None = None,
    ) -> Engine: ...
    def register_delta(
        self,
        name: str,
        table: DeltaScan,
        *,
        schema: _ArrowSchema | None = None,
        expressions: Sequence[str] | None = None,
        writer: Callable[[_ArrowStream, bool], None] | None = None,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        """Register a snapshot under a name, quoted as in SQL; a table of that name is replaced.

        With a `schema` the table shows its columns instead of the snapshot's, each the value of a SQL text
        over the snapshot's columns; columns that the scan adds follow. Values are cast to the type of their
        column, and a NULL where none may be fails the query.

        Rows of INSERT go to `writer`, on a thread of the engine, as a stream that is read once; True says
        that they replace all others. Where the stream ends early, because the query failed or was given up,
        it raises, and nothing must be committed. It has the columns that the statement names; for others,
        `defaults` may have SQL texts, by column, that are evaluated here.
        """
    def register_scan_view(
        self, name: str, table: DeltaScan, columns: Sequence[str], *, where: str | None = None
    ) -> None:
        """Register SQL expressions over the columns of a snapshot, and a condition that its rows satisfy.

        Names in them are taken as they are written.
        """
    def register_table_function(self, name: str, make: Callable[..., _TableOfFunction]) -> None:
        """Make a function of the caller a table function.

        It is called while a query is planned, on a thread of the engine, with texts, whole numbers and None,
        and returns rows, or what `register_scan_view` takes.
        """
    def register_function(
        self,
        name: str,
        kind: str,
        call: Callable[[_ArrowStream], _ArrowStream],
        *,
        arguments: _ArrowSchema,
        returns: _ArrowSchema,
        volatility: str,
    ) -> None:
        """Make a function of the caller one of SQL's, in place of one of its name.

        It is called while a query runs, on threads of the engine, with a column for each of `arguments`, and
        returns one column of the type that `returns` has. A ``scalar`` gets some rows and returns as many
        values, a ``window`` all rows of a partition in their order and returns as many, an ``aggregate`` all
        rows of a group and returns one value. `volatility` is ``immutable``, ``stable`` or ``volatile``.
        """
    def register_expression(self, name: str, expression: str, *, arguments: _ArrowSchema) -> None:
        """Make an expression over arguments a scalar function, or an aggregate if it aggregates them.

        Parameters
        ----------
        name : str
        expression : str
            SQL over the names of the arguments.
        arguments : object with ``__arrow_c_schema__``
            A field for each argument.

        Raises
        ------
        EngineError
            What `sql` raises for expressions; ``engine-plan`` for subqueries, windows and parameters.
        """
    def register_batches(self, name: str, data: _ArrowStream) -> None:
        """Register all batches of `data`, kept in memory without copying."""
    def register_stream(self, name: str, data: _ArrowStream) -> None:
        """Register a stream, which the first query over it reads."""
    def register_view(self, name: str, query: str) -> None:
        """Register a query over the tables as they are registered when this is called."""
    def deregister(self, name: str) -> bool:
        """Forget a table; returns whether there was one."""
    def tables(self) -> list[str]:
        """Return the fully qualified names of all tables, sorted."""
    def schema(self, name: str) -> _ArrowSchema:
        """Return the schema of a table."""
    def sql(
        self,
        query: str,
        *,
        params: _ArrowStream | None = None,
        allow_ddl: bool = False,
        allow_dml: bool = False,
        allow_statements: bool = False,
        max_joins: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Query:
        """Plan one SQL statement.

        Parameters
        ----------
        query : str
            The statement. What it may be besides a query, the other arguments say.
        params : one-row Arrow stream, optional
            A column for each parameter: ``x`` binds ``$x``, ``1`` binds ``$1``.
        allow_ddl, allow_dml, allow_statements : bool
            Allow definitions, writes, and statements that change the session.
        max_joins : int, optional
            Most joins of the plan, with those of views and WITH queries, each as often as it is named.
        timeout_seconds : float, optional
            How long planning may take, and each run after it until `Query.limit` says otherwise.

        Returns
        -------
        Query
            The planned query; nothing runs before a stream is taken from it.

        Raises
        ------
        EngineError
            ``engine-sql-syntax``, ``engine-table-unknown``, ``engine-column-unknown``,
            ``engine-column-ambiguous``, ``engine-function-unknown``, ``engine-plan``,
            ``engine-unsupported``, ``engine-not-allowed``, ``engine-plan-size`` or ``engine-timeout``.
        """
    def plan(
        self,
        plan: bytes,
        tables: TableHandles,
        *,
        allow_ddl: bool = False,
        allow_dml: bool = False,
        allow_statements: bool = False,
        max_joins: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Query:
        """Plan what a context of the ``datafusion`` package has planned logically.

        Parameters
        ----------
        plan : bytes
            The optimised logical plan, encoded with `tables` as the codec.
        tables : TableHandles
            The tables of the plan.
        allow_ddl, allow_dml, allow_statements : bool
            Allow definitions, writes, and statements that change the session.
        max_joins, timeout_seconds
            As in `sql`.

        Returns
        -------
        Query

        Raises
        ------
        EngineError
            ``engine-plan-bytes`` if the bytes are no plan, or need what only their own context can run;
            ``engine-not-allowed``, ``engine-plan-size``, ``engine-timeout``.
        """
    def register_store(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        """Make the store that `root` is in known, for plans that come as bytes.

        Registering a table does the same. Plans name stores by URL and by those options that are no secrets.
        """
    def query_from_bytes(self, data: bytes, *, allow_dml: bool = False) -> Query:
        """Take a query that an engine of the same version has planned and written as bytes.

        Object stores and functions are those of this engine. Bytes are as powerful as the text that they
        were made of, and as the files that they name: take them from whom you would take SQL with paths.

        Parameters
        ----------
        data : bytes
            From `Query.to_bytes`.
        allow_dml : bool
            Allow plans that write.

        Raises
        ------
        EngineError
            ``engine-plan-bytes`` if the bytes are damaged, of another version, or need what this engine
            lacks; ``engine-not-allowed``.
        """
    def read(self, schema: _ArrowSchema, opener: Callable[[], _ArrowStream]) -> Query:
        """Plan to read all rows of a stream.

        Parameters
        ----------
        schema : object with ``__arrow_c_schema__``
            The schema of the stream.
        opener : callable
            Opens the stream; called for each run, on a thread of the engine.

        Returns
        -------
        Query
            Its runs fail with ``engine-callback`` if `opener` raises; the exception is the error's cause.
        """
    def prepare(
        self,
        query: str,
        *,
        allow_dml: bool = False,
        max_joins: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Prepared:
        """Plan one statement with open parameters, over the tables as they are registered now.

        Raises
        ------
        EngineError
            As `sql`; ``engine-unsupported`` for definitions and statements that change the session.
        """
    def functions(self) -> list[str]:
        """Return the names of all functions that SQL can call, sorted."""
    def routines(self) -> list[_Routine]:
        """Return all functions under each of their names, sorted: where they can be called, their volatility,
        and whether DataFusion brings them along.
        """
    def remove_functions(self, names: Sequence[str]) -> None:
        """Forget functions, so that no text can call them; ``engine-function-unknown`` if there is none."""
    def caches(self) -> dict[str, dict[str, int]]:
        """Return for each cache its ``limit_bytes``, ``entries``, ``bytes`` and ``hits``."""
    def settings(self) -> dict[str, str]:
        """Return all settings that have a value."""

@final
class Prepared:
    """A statement that is planned once and run with many values."""

    @property
    def parameters(self) -> _ArrowSchema:
        """A field for each parameter, sorted by name, with the type that the plan gives it, or null."""
    def bind(self, params: _ArrowStream | None = None) -> Query:
        """Put values in the place of the parameters; `params` is as for `Engine.sql`."""

@final
class Query:
    """A planned query. Each stream taken from it is a run of its own."""

    @property
    def schema(self) -> _ArrowSchema:
        """The schema of the result."""
    @property
    def last_error(self) -> EngineError | None:
        """Why the latest failed stream ended; streams themselves can only carry a text."""
    def tables(self) -> list[str]:
        """Return the names of the tables that the query reads, sorted."""
    def to_bytes(self) -> bytes:
        """Write the physical plan as bytes, for an engine of the same version; no secrets are in them.

        Raises
        ------
        EngineError
            ``engine-plan-bytes`` if the plan reads what exists in this process only, such as a stream.
        """
    def prepare(self) -> None:
        """Make the physical plan now instead of at the first run."""
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def explain(self, analyze: bool = False) -> _Explanation:
        """Return the ``logical``, ``optimized`` and ``physical`` plan as text and as trees.

        A tree lists its operators, parents first, by position. The physical one has the figures of the latest
        run. With `analyze` the query is run for them as any other is: watched, limited, and cancelled by
        `cancel`. Then ``analyzed`` is the text with what each operator did.
        """
    @property
    def last_run(self) -> _Run | None:
        """The latest run as far as it has come: moments and times in nanoseconds."""
    def watch(self, watcher: Callable[[_Run], None] | None) -> None:
        """Have each stream that is taken from here on reported when it ends, by the thread that ends it.

        The runs before are forgotten.
        """
    def limit(
        self,
        *,
        timeout_seconds: float | None = None,
        max_rows: int | None = None,
        advice: Mapping[str, str] | None = None,
    ) -> None:
        """Limit every run from here on; a run beyond it ends with ``engine-timeout`` or ``engine-limit``.

        `advice` is appended to the texts of errors that streams carry, by code.
        """
    def metrics(self) -> dict[str, int]:
        """Return figures of the latest run, added up over operators by name; times in nanoseconds."""
    def cancel(self) -> None:
        """End the runs that are under way; their streams raise."""

@final
class TableHandles:
    """Hands tables of another ``datafusion`` context over to an engine, for one plan.

    Parameters
    ----------
    engine : Engine
        Where the plan will run.

    Examples
    --------
    >>> from datafusion import SessionContext
    >>> from datafusion_ext import Engine, TableHandles
    >>> context = SessionContext()
    >>> df = context.from_pydict({"x": [1, 2, 3]}, name="t").filter("x > 1")
    >>> engine = Engine()
    >>> tables = TableHandles(engine)
    >>> encoder = context.with_logical_extension_codec(tables)
    >>> query = engine.plan(df.optimized_logical_plan().to_bytes(encoder), tables)
    >>> pa.table(query).num_rows
    2
    """

    def __new__(cls, engine: Engine) -> TableHandles: ...
    def scans(self) -> list[DeltaScan]:
        """Return the snapshots among the tables; equal to the objects that they were registered with."""
    def __datafusion_logical_extension_codec__(self, session: object) -> object:
        """Export as a codec of the ``datafusion`` package."""

@final
class DeltaScan:
    """A pinned Delta snapshot that engines and ``datafusion.SessionContext`` objects can scan.

    Parameters
    ----------
    root : str
        The table's directory: a path or URL.
    schema : object with ``__arrow_c_schema__``
        The table's logical schema. With column mapping, fields at every level have their id and physical
        name in the metadata, under the protocol's keys.
    files : object with ``__arrow_c_stream__``
        A row per live file: ``path`` (relative and decoded, or a URL), ``size_bytes``,
        ``modification_time`` (milliseconds), ``num_records``, and optionally ``partition``, ``null_count``,
        ``min`` and ``max`` (structs with a field per column, by its logical name), ``deletion_vector``
        (a struct of ``storage_type``, ``path_or_inline_dv``, ``offset``, ``size_in_bytes``,
        ``cardinality``), ``only`` (likewise, naming the only rows that are wanted) and ``sorted_by`` (a list
        of columns that the rows of a file are in the order of, ascending with nulls last). Statistics count
        deleted rows.
    partition_columns : sequence of str
        Columns whose values come from ``partition`` instead of the files.
    column_mapping : str
        How columns are found in the files: ``none``, ``name`` or ``id``.
    storage_options : mapping of str to str, optional
        Options for the object store at `root`.
    version : int
        The snapshot's version, for display.
    file_column, row_index_column : str, optional
        Names of additional columns with the path of each row's file, as in `files`, and its position there.
    view_types : bool, optional
        Show texts and binaries as view types (True) or not (False); left out, only the engine sees views.
    wrap_partition_values : bool
        Show partition columns dictionary-encoded.
    pushdown : bool, optional
        Evaluate filters while Parquet is decoded (True) or on whole batches (False); the engine's setting
        if left out.
    only : sequence of str, optional
        Read these of the `files` only, by path.

    Raises
    ------
    EngineError
        ``engine-scan-input`` if the files don't fit the schema, ``engine-unsupported`` for what the
        scan does not know, ``engine-storage`` for the store.
    """

    def __new__(
        cls,
        root: str,
        schema: _ArrowSchema,
        files: _ArrowStream,
        *,
        partition_columns: Sequence[str] = (),
        column_mapping: str = "none",
        storage_options: Mapping[str, str] | None = None,
        version: int = 0,
        file_column: str | None = None,
        row_index_column: str | None = None,
        view_types: bool | None = None,
        wrap_partition_values: bool = False,
        pushdown: bool | None = None,
        only: Sequence[str] | None = None,
    ) -> DeltaScan: ...
    @property
    def root(self) -> str:
        """The table's directory, as it was given."""
    @property
    def num_files(self) -> int:
        """The number of files."""
    @property
    def num_rows(self) -> int | None:
        """The number of rows, if the log tells."""
    @property
    def version(self) -> int:
        """The snapshot's version, as it was given."""
    def __datafusion_table_provider__(self, session: object) -> object:
        """Export to a context of the ``datafusion`` package; local tables only."""
