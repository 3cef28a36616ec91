"""Where sessions come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datafusion_ext import Engine, EngineError
from df_runtime._planning import Planner
from df_runtime.errors import ProfileError
from df_runtime.plans import PlanStore
from df_runtime.profile import RuntimeProfile
from df_runtime.session import Session

if TYPE_CHECKING:
    from datafusion import SessionContext


class SessionFactory:
    """The only place that constructs sessions, ours and those of the `datafusion` package.

    Parameters
    ----------
    profile : RuntimeProfile, optional
        What every session is opened with.
    plan_cache : PlanStore, optional
        Where plans are kept between queries, and between the sessions of this factory.

    Examples
    --------
    >>> factory = SessionFactory(RuntimeProfile(target_partitions=2))
    >>> with factory.open() as session:
    ...     session.sql("SELECT 1 + 1 AS two").to_arrow().to_pylist()
    [{'two': 2}]
    """

    def __init__(self, profile: RuntimeProfile | None = None, *, plan_cache: PlanStore | None = None) -> None:
        self.profile = profile or RuntimeProfile()
        self.plan_cache = plan_cache

    def open(self) -> Session:
        """Open an empty session.

        Returns
        -------
        Session

        Raises
        ------
        ProfileError
            The engine does not take a setting of the profile.
        """
        return self._session(self.plan_cache)

    def ephemeral(self) -> Session:
        """Open an empty session under the same profile and policy that neither reads nor fills caches.

        Returns
        -------
        Session
        """
        return self._session(None)

    def _session(self, store: PlanStore | None) -> Session:
        profile = self.profile
        try:
            engine = Engine(
                profile.engine_settings(),
                memory_limit_bytes=profile.memory_limit_bytes,
                spill_directory=profile.spill_directory,
            )
        except EngineError as error:
            raise ProfileError(f"The engine refuses the profile: {error.message}.") from error
        planner = Planner(engine, profile, store)
        return Session(engine, profile, factory=self, planner=planner, new_context=self._context)

    def _context(self) -> SessionContext:
        # The package takes long to import, and few sessions have a neighbour.
        from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

        profile = self.profile
        # The settings of the package are those of its own version; what it does not share with the engine's
        # is refused by the engine first.
        config = SessionConfig(profile.engine_settings())
        runtime = RuntimeEnvBuilder()
        if profile.memory_limit_bytes is not None:
            runtime = runtime.with_fair_spill_pool(profile.memory_limit_bytes)
        if profile.spill_directory is not None:
            runtime = runtime.with_disk_manager_specified(profile.spill_directory)
        return SessionContext(config, runtime)
