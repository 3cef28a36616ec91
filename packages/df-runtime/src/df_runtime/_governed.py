"""A context of the `datafusion` package under the policy of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datafusion import DataFrame, SessionContext, SQLOptions
from datafusion.plan import LogicalPlan

from df_runtime.errors import PolicyError
from df_runtime.policy import SqlPolicy


class GovernedContext(SessionContext):
    """A handle on a context whose texts and plans may do what the policy of its session allows.

    Each text and table name is looked up in the tables of the session as they are at that moment.
    """

    # Contexts that the package derives from this one by itself are read-only, and see what is there.
    _policy = SqlPolicy.read_only()
    _refresh: Callable[[], object] | None = None
    _check: Callable[[str], object] | None = None
    _check_plan: Callable[[LogicalPlan], object] | None = None

    def __init__(
        self,
        plain: SessionContext,
        policy: SqlPolicy,
        *,
        refresh: Callable[[], object],
        check: Callable[[str], object],
        check_plan: Callable[[LogicalPlan], object],
    ) -> None:
        # Handles share the session of the package; there is one, and the factory has made it.
        self.ctx = plain.ctx
        self._policy = policy
        self._refresh = refresh
        self._check = check
        self._check_plan = check_plan

    def sql(
        self,
        query: str,
        options: SQLOptions | None = None,
        param_values: dict[str, Any] | None = None,
        **named_params: Any,
    ) -> DataFrame:
        """Plan a text under the policy of the session; `options` can only forbid more."""
        self._look()
        policy = self._policy
        if policy != SqlPolicy.trusted():
            # What is put into the place of named parameters, the options hold in check.
            if self._check is not None and not named_params:
                self._check(query)
            options = (
                SQLOptions()
                .with_allow_ddl(policy.ddl)
                .with_allow_dml(policy.dml)
                .with_allow_statements(policy.statements)
            )
        return super().sql(query, options, param_values, **named_params)

    def table(self, name: str) -> DataFrame:
        """Return a table of the session at its newest version."""
        self._look()
        return super().table(name)

    def execute_logical_plan(self, plan: LogicalPlan) -> DataFrame:
        """Run a plan that the policy of the session allows."""
        if self._check_plan is not None:
            self._check_plan(plan)
        return super().execute_logical_plan(plan)

    def enable_url_table(self) -> SessionContext:
        """Refuse where texts may not name files, and they may not by a policy without definitions."""
        if not self._policy.ddl:
            raise PolicyError(
                "The policy of this session keeps texts from reading files; register the file under a name, "
                "or read it with `read_parquet` and the like."
            )
        return super().enable_url_table()

    def with_logical_extension_codec(self, *args: Any, **kwargs: Any) -> SessionContext:
        """Return a handle under the same policy."""
        return self._like(super().with_logical_extension_codec(*args, **kwargs))

    def with_physical_extension_codec(self, *args: Any, **kwargs: Any) -> SessionContext:
        """Return a handle under the same policy."""
        return self._like(super().with_physical_extension_codec(*args, **kwargs))

    def with_python_udf_inlining(self, *, enabled: bool) -> SessionContext:
        """Return a handle under the same policy."""
        return self._like(super().with_python_udf_inlining(enabled=enabled))

    def with_extensions(self, *args: Any, **kwargs: Any) -> SessionContext:
        """Return a handle under the same policy."""
        return self._like(super().with_extensions(*args, **kwargs))

    def _like(self, plain: SessionContext) -> SessionContext:
        other = GovernedContext.__new__(GovernedContext)
        other.__dict__.update(self.__dict__, ctx=plain.ctx)
        return other

    def _look(self) -> None:
        if self._refresh is not None:
            self._refresh()
