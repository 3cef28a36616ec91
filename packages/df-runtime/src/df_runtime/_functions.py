"""Functions of a session in SQL: expressions, and functions of Python where the profile lets them in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pyarrow as pa

from datafusion_ext import Engine, EngineError
from df_runtime._caches import CACHE_FUNCTIONS
from df_runtime._references import FUNCTIONS_OF_TABLES
from df_runtime.catalog import Tier
from df_runtime.errors import FunctionError, PolicyError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from df_runtime._planning import Planner
    from df_runtime._registry import Registry
    from df_runtime.profile import RuntimeProfile

FunctionKind = Literal["scalar", "aggregate", "window", "table"]
Volatility = Literal["immutable", "stable", "volatile"]

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)


class PythonFunctions:
    """Methods of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _planner: Planner
        _profile: RuntimeProfile
        _registry: Registry

        def _opened(self) -> Engine: ...

    def register_function(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        kind: FunctionKind = "scalar",
        arguments: Mapping[str, pa.DataType] | None = None,
        returns: pa.DataType | None = None,
        volatility: Volatility = "volatile",
    ) -> None:
        """Make a Python function one of SQL's. The profile must allow it: `FunctionPolicy(python=True)`.

        Functions of the engine are faster: Python's are called while the query runs, one thread at a time,
        and their time counts as the query's. Prefer what `functions` lists.

        Parameters
        ----------
        name : str
            How texts call it: lower-case letters, digits and `_`.
        function : callable
            Called with a `pyarrow.Array` for each argument. A `scalar` function gets some rows, and a
            `window` function the rows of one partition in their order; both return as many values, as an
            array or what `pyarrow.array` takes. An `aggregate` function gets the rows of one group and
            returns one value. A `table` function is called while the query is planned, with texts, whole
            numbers and None, and returns Arrow data.
        kind : {"scalar", "aggregate", "window", "table"}
        arguments : mapping of str to pyarrow.DataType
            Name and type of each argument; not for tables. Values are converted to these types.
        returns : pyarrow.DataType
            Type of the values; not for tables.
        volatility : {"immutable", "stable", "volatile"}
            Whether equal arguments give equal values: always, within one query, or not even there.

        Raises
        ------
        PolicyError
            The profile does not allow Python functions.
        FunctionError
            The name is no name for a function or is the engine's, or types are missing.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import FunctionPolicy, RuntimeProfile, SessionFactory
        >>> profile = RuntimeProfile(functions=FunctionPolicy(python=True))
        >>> with SessionFactory(profile).open() as session:
        ...     session.register_function(
        ...         "initials",
        ...         lambda names: [name.as_py()[:1] for name in names],
        ...         arguments={"name": pa.string()},
        ...         returns=pa.string(),
        ...     )
        ...     session.sql("SELECT initials('Ada') AS i").to_arrow().to_pylist()
        [{'i': 'A'}]
        """
        self._add_function(
            name, function, kind=kind, arguments=arguments, returns=returns, volatility=volatility
        )

    def register_expression(
        self,
        name: str,
        expression: Callable[..., ir.Value],
        *,
        arguments: Mapping[str, pa.DataType],
        returns: pa.DataType | None = None,
    ) -> None:
        """Make an Ibis expression over arguments one of SQL's functions.

        The expression is built once, here. Where a text calls the function, the engine plans the expression
        instead: no Python runs, and conditions over the call choose files as if they were written out. So no
        policy stands against it.

        Parameters
        ----------
        name : str
            How texts call it: lower-case letters, digits and `_`.
        expression : callable
            Called with an Ibis column for each argument; returns an Ibis value of them. One that aggregates
            its columns makes the function an aggregate, which windows can have, too.
        arguments : mapping of str to pyarrow.DataType
            Name and type of each argument.
        returns : pyarrow.DataType, optional
            Type that the value is cast to; what the engine makes of it if left out.

        Raises
        ------
        FunctionError
            The name is no name for a function or is the engine's, or the value is no expression of the
            arguments alone: it reads a table, has windows, or orders rows.
        ExpressionError
            The expression needs an operation that the engine does not have.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register_expression(
        ...         "gross",
        ...         lambda net, rate: net * (1 + rate),
        ...         arguments={"net": pa.int64(), "rate": pa.float64()},
        ...     )
        ...     session.sql("SELECT gross(200, 0.5) AS total").to_arrow().to_pylist()
        [{'total': 300.0}]
        """
        engine = self._opened()
        self._check_name(engine, name)
        if not arguments:
            raise FunctionError(f"Function {name!r} needs `arguments`, at least one.")
        from df_runtime._ibis_expressions import text_of  # Ibis takes half a second to import

        text = text_of(name, expression, arguments, returns)
        try:
            engine.register_expression(name, text, arguments=pa.schema(list(arguments.items())))
        except EngineError as error:
            raise FunctionError(f"{name!r} can be no function of the engine: {error.message}.") from error
        self._added(name, "ibis")

    def _add_function(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        kind: FunctionKind,
        arguments: Mapping[str, pa.DataType] | None,
        returns: pa.DataType | None,
        volatility: Volatility,
        tier: Tier = "python",
    ) -> None:
        engine = self._opened()
        if not self._profile.functions.python:
            raise PolicyError(
                f"{name} is a Python function, and the profile does not allow these in SQL. Open the session "
                "with `functions=FunctionPolicy(python=True)`, or use a function of the engine."
            )
        self._check_name(engine, name)
        if kind == "table":
            engine.register_table_function(name, function)
        else:
            if not arguments or returns is None:
                raise FunctionError(f"Function {name!r} needs `arguments`, at least one, and `returns`.")
            engine.register_function(
                name,
                kind,
                _caller(function, kind, returns),
                arguments=pa.schema(list(arguments.items())),
                returns=pa.schema([pa.field("value", returns)]),
                volatility=volatility,
            )
        self._added(name, tier)

    def _add_once(self, name: str, function: Callable[..., Any], **types: Any) -> None:
        if name not in self._registry.tiers:
            self._add_function(name, function, kind="scalar", tier="ibis", **types)

    def _added(self, name: str, tier: Tier) -> None:
        self._registry.tiers[name] = tier
        # No identity of a plan describes what a function of the session does.
        self._planner.forget_environment()

    def _check_name(self, engine: Engine, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise FunctionError(
                f"{name!r} is no name for a function: use lower-case letters, digits and `_`."
            )
        known = name in engine.functions() and name not in self._registry.tiers
        if known or name in FUNCTIONS_OF_TABLES | CACHE_FUNCTIONS:
            raise FunctionError(f"{name!r} is a function of the engine already; choose another name.")


def add_ibis_function(
    functions: PythonFunctions,
    name: str,
    function: Callable[..., Any],
    *,
    arguments: Mapping[str, pa.DataType],
    returns: pa.DataType,
    volatility: Volatility,
) -> None:
    """Register a Python function that an expression brought along, once."""
    add = functions._add_once  # pyright: ignore[reportPrivateUsage] - no user should name these
    add(name, function, arguments=arguments, returns=returns, volatility=volatility)


def _caller(
    function: Callable[..., Any], kind: FunctionKind, returns: pa.DataType
) -> Callable[[Any], pa.Table]:
    def called(rows: Any) -> pa.Table:
        columns = [column.combine_chunks() for column in pa.table(rows).columns]
        found = function(*columns)
        values = [_plain(found)] if kind == "aggregate" else found
        return pa.table({"value": _array(values, returns)})

    return called


def _plain(value: object) -> object:
    return cast("pa.Scalar[pa.DataType]", value).as_py() if isinstance(value, pa.Scalar) else value


def _array(values: Any, kind: pa.DataType) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values.cast(kind)
    return pa.array(map(_plain, values) if isinstance(values, list) else values, type=kind)
