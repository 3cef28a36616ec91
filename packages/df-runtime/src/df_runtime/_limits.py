"""What the runs of a planned query may use."""

from __future__ import annotations

from datafusion_ext import Query
from df_runtime._arguments import expect
from df_runtime.policy import SqlPolicy
from df_runtime.profile import RuntimeProfile


def chosen(policy: SqlPolicy | None, profile: RuntimeProfile) -> SqlPolicy:
    """Take the policy of a call, or the profile's."""
    if policy is None:
        return profile.policy
    expect("policy", policy, SqlPolicy, "a SqlPolicy")
    return policy


def limited(planned: Query, policy: SqlPolicy, profile: RuntimeProfile) -> Query:
    """Hold every run to the policy and the profile: the shorter time counts."""
    times = [time for time in (policy.timeout, profile.timeout) if time is not None]
    timeout = min(times).total_seconds() if times else None
    planned.limit(timeout_seconds=timeout, max_rows=policy.max_rows)
    return planned
