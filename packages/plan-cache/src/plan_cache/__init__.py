"""Plans that are identified, kept and reused."""

from plan_cache.cache import CacheStats, Difference, Miss, PlanCache
from plan_cache.errors import PlanCacheError, PlanCacheLimitError
from plan_cache.identity import PlanIdentity

__all__ = [
    "CacheStats",
    "Difference",
    "Miss",
    "PlanCache",
    "PlanCacheError",
    "PlanCacheLimitError",
    "PlanIdentity",
]
