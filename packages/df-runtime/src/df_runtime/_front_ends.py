"""The ways into a session beside SQL text: Ibis expressions."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from df_runtime._arguments import expect
from df_runtime._observer import coming_by
from df_runtime.errors import DfRuntimeError, ExpressionError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from datafusion_ext import Engine
    from df_runtime._names import TableName
    from df_runtime.ibis_backend import Backend
    from df_runtime.policy import SqlPolicy
    from df_runtime.result import Result

_BACKEND_LOCK = threading.Lock()


class FrontEnds:
    """Methods of `Session`, which is the only subclass."""

    _backend: Backend | None = None

    if TYPE_CHECKING:

        def _opened(self) -> Engine: ...
        def _complete(self, name: str) -> TableName: ...

    @property
    def backend(self) -> Backend:
        """The Ibis backend over this session, for `list_tables`, `create_view`, `sql` and the like."""
        self._opened()
        with _BACKEND_LOCK:
            if self._backend is None:
                # Half a second to import, and not every session needs it.
                from df_runtime.ibis_backend import Backend

                session: Any = self  # the only subclass is `Session`
                self._backend = Backend.from_connection(session)
            return self._backend

    def table(self, name: str) -> ir.Table:
        """Return a dataset as an Ibis table with its contract's types.

        Expressions over it run in this session, by `ibis` or by their own `execute`, `to_pyarrow` and the
        like.

        Parameters
        ----------
        name : str

        Returns
        -------
        ibis.Table

        Raises
        ------
        DatasetUnknownError
            Nothing is registered under the name.
        """
        complete = self._complete(name)
        return self.backend.table(complete.table, database=(complete.catalog, complete.schema))

    def ibis(
        self,
        expr: ir.Expr,
        *,
        params: Mapping[ir.Scalar, object] | None = None,
        policy: SqlPolicy | None = None,
    ) -> Result:
        """Plan an Ibis expression over tables of `table`.

        Parameters
        ----------
        expr : ibis.Expr
            A table, column or scalar expression.
        params : mapping, optional
            Values of `ibis.param` scalars.
        policy : SqlPolicy, optional
            What limits the expression; the profile's policy if left out.

        Returns
        -------
        Result

        Raises
        ------
        ExpressionError
            The expression needs an operation that the engine does not have, or reads another backend.
        SqlError
            The engine refuses what the expression compiles to.
        """
        backend = self.backend
        expect("expr", expr, backend.expression, "an Ibis expression")
        with understanding(backend), coming_by("ibis"):
            return backend.plan(expr, params=params, policy=policy)


@contextmanager
def understanding(backend: Backend) -> Generator[None]:
    """Report what cannot be written for the engine as an error of ours."""
    try:
        yield
    except DfRuntimeError:
        raise
    except backend.compile_errors as error:
        raise ExpressionError(
            f"The expression cannot be written for the engine: {str(error).rstrip('.')}. A function of the "
            "engine can be named with `ibis.udf.scalar.builtin`; else write this part as SQL."
        ) from error
