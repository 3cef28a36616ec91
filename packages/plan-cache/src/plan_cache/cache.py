"""Plans in memory, the ones used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from df_runtime import DatasetIdentity, PlanInputs, Session
from plan_cache.errors import PlanCacheLimitError
from plan_cache.identity import PlanIdentity

_MEBIBYTE = 1024 * 1024
# How many identities are remembered beyond their plans, to explain misses.
_MOST_REMEMBERED = 1024


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a cache since it was made.

    Parameters
    ----------
    hits : int
        Plans handed out.
    misses : int
        Plans asked for that were not there, or were in use.
    stored : int
        Plans taken in for the first time or given back.
    evicted : int
        Plans dropped to stay within the limits.
    entries : int
        Plans held at this moment.
    bytes : int
        Estimated memory of the plans held at this moment.
    """

    hits: int = 0
    misses: int = 0
    stored: int = 0
    evicted: int = 0
    entries: int = 0
    bytes: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which a kept plan differs from the one asked for.

    Parameters
    ----------
    part : str
        Part of `PlanIdentity`; for a dataset with its name, as `datasets."lake"."public"."orders"`.
    kept, wanted : str
        The two values; empty where one side has none.
    """

    part: str
    kept: str
    wanted: str


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """Why a query would or would not find its plan.

    Parameters
    ----------
    code : str
        `hit`, `in-use`, `evicted`, `changed`, `not-reusable` or `never-seen`.
    reason : str
        The same in one sentence.
    identity : PlanIdentity
        The identity that is looked up.
    differences : tuple of Difference
        With `changed`: how the nearest kept plan differs.
    """

    code: str
    reason: str
    identity: PlanIdentity
    differences: tuple[Difference, ...] = ()


class _Plan:
    __slots__ = ("plan", "size_bytes")

    def __init__(self, plan: object, size_bytes: int) -> None:
        self.plan = plan
        self.size_bytes = size_bytes


class _Entry:
    """What is known of one identity, and its idle plans: as many as were in use at the same time."""

    __slots__ = ("fate", "identity", "idle")

    def __init__(self, identity: PlanIdentity) -> None:
        self.identity = identity
        self.idle: list[_Plan] = []
        self.fate = "in-use"


class PlanCache:
    """Keeps plans between queries; give it to `df_runtime.SessionFactory(plan_cache=...)`.

    A plan is used by one result at a time. `take` hands it out, and the session gives it back when the
    result is dropped; who asks meanwhile gets none and plans anew, after which two plans are kept. A result
    whose stream was exported keeps its plan for good, because the stream may outlive it.

    All methods may be called from many threads at once.

    Parameters
    ----------
    memory_bytes : int
        Estimated memory that idle plans may hold.
    entries : int
        Number of idle plans that may be held.

    Raises
    ------
    PlanCacheLimitError
        A limit is not positive.

    Examples
    --------
    >>> from df_runtime import SessionFactory
    >>> cache = PlanCache()
    >>> with SessionFactory(plan_cache=cache).open() as session:
    ...     for _ in range(3):
    ...         table = session.sql("SELECT 1 AS one").to_arrow()
    >>> cache.stats().hits, cache.stats().misses
    (2, 1)
    """

    def __init__(self, *, memory_bytes: int = 64 * _MEBIBYTE, entries: int = 1024) -> None:
        for name, value in (("memory_bytes", memory_bytes), ("entries", entries)):
            if value < 1:
                raise PlanCacheLimitError(f"`{name}` must be at least 1, found {value}.")
        self._memory_bytes = memory_bytes
        self._most_plans = entries
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._stats = dict.fromkeys(CacheStats.__struct_fields__, 0)
        self._lock = threading.Lock()

    def take(self, inputs: PlanInputs) -> object | None:
        """Give away a plan of these inputs, if one is idle.

        Parameters
        ----------
        inputs : PlanInputs

        Returns
        -------
        object or None
        """
        digest = PlanIdentity.of(inputs).digest
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None or not entry.idle:
                self._stats["misses"] += 1
                return None
            found = entry.idle.pop()
            entry.fate = "in-use"
            self._entries.move_to_end(digest)
            self._count(-1, found.size_bytes)
            self._stats["hits"] += 1
            return found.plan

    def keep(self, inputs: PlanInputs, plan: object, *, size_bytes: int) -> None:
        """Take a plan in, new or given back.

        Parameters
        ----------
        inputs : PlanInputs
        plan : object
        size_bytes : int
            Estimate of the memory that the plan holds; a plan larger than the cache is not kept.
        """
        if size_bytes > self._memory_bytes or not inputs.reusable:
            return
        identity = PlanIdentity.of(inputs)
        with self._lock:
            entry = self._entries.setdefault(identity.digest, _Entry(identity))
            self._entries.move_to_end(identity.digest)
            entry.idle.append(_Plan(plan, size_bytes))
            self._count(1, size_bytes)
            self._stats["stored"] += 1
            evicted = self._evict()
        # Freeing a plan takes time, so it happens without the lock.
        del evicted

    def explain_miss(
        self, query: str, session: Session, *, params: Mapping[str, object] | Sequence[object] | None = None
    ) -> Miss:
        """Tell whether a query of a session would find its plan at this moment, and why not.

        Parameters
        ----------
        query : str
        session : df_runtime.Session
        params : mapping or sequence, optional
            Values of the parameters.

        Returns
        -------
        Miss
        """
        inputs = session.plan_inputs(query, params=params)
        identity = PlanIdentity.of(inputs)
        if not inputs.reusable:
            return Miss(code="not-reusable", reason=_REASONS["not-reusable"], identity=identity)
        with self._lock:
            entry = self._entries.get(identity.digest)
            if entry is not None:
                code = "hit" if entry.idle else entry.fate
                return Miss(code=code, reason=_REASONS[code], identity=identity)
            known = [entry.identity for entry in self._entries.values()]
        same_query = [other for other in known if other.query == identity.query]
        if not same_query:
            return Miss(code="never-seen", reason=_REASONS["never-seen"], identity=identity)
        differences = min((_differences(other, identity) for other in reversed(same_query)), key=len)
        changed = ", ".join(difference.part for difference in differences)
        reason = f"The nearest plan of this query differs in {changed}."
        return Miss(code="changed", reason=reason, identity=identity, differences=differences)

    def stats(self) -> CacheStats:
        """Return figures since the cache was made.

        Returns
        -------
        CacheStats
        """
        with self._lock:
            return CacheStats(**self._stats)

    def clear(self) -> None:
        """Drop every idle plan. Plans in use are taken in again when they are given back."""
        with self._lock:
            dropped = list(self._entries.values())
            self._entries.clear()
            self._stats["entries"] = self._stats["bytes"] = 0
        del dropped

    def _count(self, plans: int, size_bytes: int) -> None:
        self._stats["entries"] += plans
        self._stats["bytes"] += plans * size_bytes

    def _evict(self) -> list[_Plan]:
        """Drop the plans that were not used for longest, and forget identities beyond what is remembered."""
        evicted: list[_Plan] = []
        for entry in self._entries.values():
            while entry.idle and self._is_over():
                evicted.append(entry.idle.pop(0))
                self._count(-1, evicted[-1].size_bytes)
                self._stats["evicted"] += 1
                entry.fate = "evicted"
            if not self._is_over():
                break
        while len(self._entries) > _MOST_REMEMBERED + self._most_plans:
            _, forgotten = self._entries.popitem(last=False)
            for plan in forgotten.idle:
                self._count(-1, plan.size_bytes)
            evicted += forgotten.idle
        return evicted

    def _is_over(self) -> bool:
        return self._stats["bytes"] > self._memory_bytes or self._stats["entries"] > self._most_plans


_REASONS = {
    "hit": "The plan is kept and nobody is using it.",
    "in-use": "Every plan of this query is in use by a result that has not been dropped.",
    "evicted": "The plan was dropped to stay within the limits; raise `memory_bytes` or `entries`.",
    "not-reusable": "The query may read the clock, or data that lives in this session only.",
    "never-seen": "No plan of this query was given back yet.",
}


def _differences(kept: PlanIdentity, wanted: PlanIdentity) -> tuple[Difference, ...]:
    found: list[Difference] = []
    for part in kept.differing_parts(wanted):
        if part == "datasets":
            found += _dataset_differences(kept.datasets, wanted.datasets)
        else:
            values = (str(getattr(kept, part)), str(getattr(wanted, part)))
            found.append(Difference(part=part, kept=values[0], wanted=values[1]))
    return tuple(found)


def _dataset_differences(
    kept: Iterable[DatasetIdentity], wanted: Iterable[DatasetIdentity]
) -> list[Difference]:
    before = {dataset.name: dataset for dataset in kept}
    after = {dataset.name: dataset for dataset in wanted}
    return [
        Difference(part=f"datasets.{name}", kept=_shown(before.get(name)), wanted=_shown(after.get(name)))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _shown(dataset: DatasetIdentity | None) -> str:
    if dataset is None:
        return ""
    if dataset.definition is not None:
        return dataset.definition
    return f"version {dataset.version} of {dataset.uri} ({dataset.table_id}, {dataset.schema_identity_hash})"
