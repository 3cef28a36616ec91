"""What the planning and the runs of a query may use."""

from __future__ import annotations

import pyarrow as pa

import datafusion_ext
from datafusion_ext import Engine, Query, TableHandles
from df_runtime._arguments import expect
from df_runtime._diagnosis import ADVICE
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
    planned.limit(timeout_seconds=_seconds(policy, profile), max_rows=policy.max_rows, advice=ADVICE)
    return planned


def planned_text(
    engine: Engine, query: str, row: pa.RecordBatch | None, policy: SqlPolicy, profile: RuntimeProfile
) -> Query:
    """Plan a text within the policy and the profile."""
    return engine.sql(
        query,
        params=row,
        allow_ddl=policy.ddl,
        allow_dml=policy.dml,
        allow_statements=policy.statements,
        max_joins=policy.max_joins,
        timeout_seconds=_seconds(policy, profile),
    )


def planned_bytes(
    engine: Engine, plan: bytes, handles: TableHandles, policy: SqlPolicy, profile: RuntimeProfile
) -> Query:
    """Plan what another context has planned, within the policy and the profile."""
    return engine.plan(
        plan,
        handles,
        allow_ddl=policy.ddl,
        allow_dml=policy.dml,
        allow_statements=policy.statements,
        max_joins=policy.max_joins,
        timeout_seconds=_seconds(policy, profile),
    )


def prepared_text(
    engine: Engine, query: str, policy: SqlPolicy, profile: RuntimeProfile
) -> datafusion_ext.Prepared:
    """Plan a text with open parameters within the policy and the profile."""
    return engine.prepare(
        query, allow_dml=policy.dml, max_joins=policy.max_joins, timeout_seconds=_seconds(policy, profile)
    )


def _seconds(policy: SqlPolicy, profile: RuntimeProfile) -> float | None:
    times = [time for time in (policy.timeout, profile.timeout) if time is not None]
    return min(times).total_seconds() if times else None
