"""The context of the `datafusion` package beside a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from df_runtime._dataframe import checked
from df_runtime.errors import DfRuntimeError, PolicyError

if TYPE_CHECKING:
    from datafusion import SessionContext

    from datafusion_ext import Engine
    from df_runtime._neighbour import Neighbour
    from df_runtime._registry import Registry
    from df_runtime.gate import GateReport
    from df_runtime.policy import SqlPolicy
    from df_runtime.profile import RuntimeProfile
    from df_runtime.result import Result


class Contexts:
    """A property of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _neighbour: Neighbour
        _profile: RuntimeProfile
        _registry: Registry

        def _opened(self) -> Engine: ...
        def sql(self, query: str, *, policy: SqlPolicy | None = None) -> Result: ...
        def gate(self, query: str, *, policy: SqlPolicy | None = None) -> GateReport: ...

    @property
    def context(self) -> SessionContext:
        """A context of the `datafusion` package over the same tables, under the same policy.

        Its queries run in that package's own engine: right, and slower than `Session.sql`, or than
        `Session.dataframe`, which runs its DataFrames here. Streams are left out. The context is one and the
        same until the session closes; each text and each table name finds the newest versions.

        Raises
        ------
        SessionClosedError
            The session is closed.
        """
        self._refresh_context()
        return self._neighbour.handle(self._governed)

    def _refresh_context(self) -> SessionContext:
        self._opened()
        with self._registry.settled(None):
            return self._neighbour.updated(self._registry.ordered())

    def _governed(self, plain: SessionContext) -> SessionContext:
        # Imports the package, which takes long.
        from df_runtime._governed import GovernedContext

        policy = self._profile.policy
        return GovernedContext(
            plain,
            policy,
            refresh=self._refresh_context,
            check=self._refuse_text,
            check_plan=lambda plan: checked(plan, policy),
        )

    def _refuse_text(self, query: str) -> None:
        try:
            # Where nothing can take effect, planning finds all there is to refuse.
            self.sql(query) if self._profile.policy.changes_nothing else self.gate(query)
        except PolicyError:
            raise
        except DfRuntimeError:
            # Nothing of the policy's: what is wrong, the package says in its own words.
            return
