"""Where sessions come from."""

from __future__ import annotations

import difflib
from types import NoneType
from typing import TYPE_CHECKING

import msgspec

from datafusion_ext import Engine, EngineError
from df_runtime._arguments import expect
from df_runtime._planning import Planner
from df_runtime.errors import ProfileError
from df_runtime.plans import PlanStore
from df_runtime.profile import ResolvedProfile, RuntimeProfile, given
from df_runtime.profile_parts import CachePolicy
from df_runtime.session import Session

if TYPE_CHECKING:
    from datafusion import SessionContext


class SessionFactory:
    """The only place that constructs sessions, ours and those of the `datafusion` package.

    Parameters
    ----------
    profile : RuntimeProfile or ResolvedProfile, optional
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

    def __init__(
        self,
        profile: RuntimeProfile | ResolvedProfile | None = None,
        *,
        plan_cache: PlanStore | None = None,
    ) -> None:
        expect("profile", profile, (RuntimeProfile, ResolvedProfile, NoneType), "a RuntimeProfile")
        expect("plan_cache", plan_cache, (PlanStore, NoneType), "a PlanStore, such as a plan_cache.PlanCache")
        resolved = profile if isinstance(profile, ResolvedProfile) else given(profile)
        self.profile = resolved.profile
        self.provenance = resolved.provenance
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
        keeps = self.profile.caches.plans
        return self._session(self.profile, self.plan_cache if keeps else None)

    def ephemeral(self) -> Session:
        """Open an empty session under the same profile and policy that neither reads nor fills caches.

        Returns
        -------
        Session
        """
        return self._session(msgspec.structs.replace(self.profile, caches=CachePolicy.none()), None)

    def _session(self, profile: RuntimeProfile, store: PlanStore | None) -> Session:
        engine = _engine(profile)
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
        context = SessionContext(config, runtime)
        for names, forget in (
            (context.udfs(), context.deregister_udf),
            (context.udafs(), context.deregister_udaf),
            (context.udwfs(), context.deregister_udwf),
        ):
            for name in profile.functions.refused(names):
                forget(name)
        return context


def _engine(profile: RuntimeProfile) -> Engine:
    try:
        engine = Engine(
            profile.engine_settings(),
            memory_limit_bytes=profile.memory_limit_bytes,
            spill_directory=profile.spill_directory,
            spill_limit_bytes=profile.spill_limit_bytes,
            cache_limits_bytes=profile.caches.limits_bytes,
        )
    except EngineError as error:
        raise ProfileError(_refusal(error)) from error
    known = engine.functions()
    unknown = profile.functions.unknown(known)
    if unknown:
        name = min(unknown)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "See `Session.functions`."
        raise ProfileError(f"`functions` names {name!r}, which is no function. {hint}")
    refused = profile.functions.refused(known)
    if refused:
        engine.remove_functions(sorted(refused))
    return engine


def _refusal(error: EngineError) -> str:
    close = difflib.get_close_matches(error.name or "", Engine().settings(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close and close[0] != error.name else ""
    return f"The engine refuses the profile: {error.message}.{hint}"
