"""DataFrames of the `datafusion` package as queries of a session's engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from datafusion_ext import DeltaScan, Engine, EngineError, Query, TableHandles
from df_runtime._arguments import expect
from df_runtime._limits import chosen, limited, planned_bytes
from df_runtime._substrait import written_as
from df_runtime.errors import PolicyError, SqlError
from df_runtime.gate import GateReport
from df_runtime.plans import Lane
from df_runtime.policy import SqlPolicy
from df_runtime.result import Result

if TYPE_CHECKING:
    from datafusion import DataFrame, SessionContext
    from datafusion.plan import LogicalPlan

    from df_runtime._neighbour import Neighbour
    from df_runtime._observer import Observer
    from df_runtime._reading import StatementKind
    from df_runtime._registry import Registry
    from df_runtime.profile import RuntimeProfile

_CODEC_ID = "datafusion_ext.TableHandles"
_WRITES = frozenset({"CopyTo", "DmlStatement"})
_STATEMENTS = frozenset(
    {"Deallocate", "Execute", "Prepare", "ResetVariable", "SetVariable", "TransactionEnd", "TransactionStart"}
)


class DataFrames:
    """A method of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _neighbour: Neighbour
        _observer: Observer
        _profile: RuntimeProfile
        _registry: Registry

        def _opened(self) -> Engine: ...

    def dataframe(self, df: DataFrame, *, policy: SqlPolicy | None = None) -> Result:
        """Plan a DataFrame of the `datafusion` package in this engine.

        The DataFrame may belong to any context. Delta tables of a session's `context` are scanned natively,
        at the versions that the DataFrame was made over, and other tables are read where they are. What
        can't leave its context, such as a Python function, runs there and is streamed: `Result.lane` says so.

        Parameters
        ----------
        df : datafusion.DataFrame
        policy : SqlPolicy, optional
            What the DataFrame may do; the profile's policy, which is read-only by default, if left out.

        Returns
        -------
        Result

        Raises
        ------
        PolicyError
            The policy does not allow what the DataFrame does, such as an INSERT.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from datafusion import col
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register("orders", pa.table({"id": [1, 2, 3]}))
        ...     result = session.dataframe(session.context.table("orders").filter(col("id") > 1))
        ...     result.lane.name, result.to_arrow().num_rows
        ('dataframe', 2)
        """
        from datafusion import DataFrame

        expect("df", df, DataFrame, "a DataFrame of the datafusion package")
        return self._framed(lambda: df, chosen(policy, self._profile), "dataframe")

    def _framed(self, make: Callable[[], DataFrame], allowed: SqlPolicy, lane: str) -> Result:
        """Plan a DataFrame that came by a lane."""
        engine, context = self._opened(), self._neighbour.any()
        with self._observer.planning("") as run:
            run.is_plan("", lane)
            df = make()
            run.passed()
            try:
                planned = plan(engine, context, df, allowed, profile=self._profile, lane=lane)
            except EngineError as error:
                raise self._registry.diagnosed(error, "") from error
            scans = {scan: scan for scan in planned.scans}
            known = self._registry.ordered().items()
            datasets = tuple(d.identity(name) for name, d in known if getattr(d, "scan", None) in scans)
            run.is_plan(planned.report.query, planned.lane.name)
            run.planned(planned.query, datasets)
        return Result(
            limited(planned.query, allowed, self._profile),
            planned.report,
            run=run,
            datasets=datasets,
            translate=lambda error: self._registry.diagnosed(error, ""),
            lane=planned.lane,
            max_bytes=self._profile.max_result_bytes,
            to_substrait=lambda: written_as("", df.logical_plan(), df.optimized_logical_plan(), context),
        )


class Planned(NamedTuple):
    """A planned DataFrame, which way it took, and the snapshots that it reads."""

    query: Query
    lane: Lane
    report: GateReport
    scans: tuple[DeltaScan, ...]


def plan(
    engine: Engine,
    context: SessionContext,
    df: DataFrame,
    policy: SqlPolicy,
    *,
    profile: RuntimeProfile,
    lane: str,
) -> Planned:
    """Plan a DataFrame in our engine, or in its own context where it can't leave it.

    Raises
    ------
    PolicyError
        The policy does not allow what the DataFrame does.
    EngineError
        The engine cannot plan it.
    """
    try:
        logical = df.optimized_logical_plan()
    except Exception as error:
        # The package raises nothing more particular.
        raise SqlError(f"The DataFrame cannot be planned: {_words(str(error))}") from error
    report = checked(logical, policy)
    handles = TableHandles(engine)
    try:
        query = planned_bytes(engine, _encoded(context, logical, handles), handles, policy, profile)
        query.prepare()
    except _Stays as stays:
        reason = str(stays)
    except EngineError as error:
        if error.code != "engine-plan-bytes":
            raise
        reason = _words(error.message)
    else:
        return Planned(query, Lane(name=lane), report, tuple(handles.scans()))
    # The context must outlive what is derived from it.
    query = engine.read(df.schema(), lambda: (context, df)[1])
    return Planned(query, Lane(name="neighbour", reason=reason), report, ())


class _Stays(Exception):  # noqa: N818 - no error, but a way to go
    """The plan can't leave its context; the message says why."""


def _encoded(context: SessionContext, plan: LogicalPlan, handles: TableHandles) -> bytes:
    if any(line.strip() == "EmptyRelation: rows=0" for line in plan.display_indent().splitlines()):
        raise _Stays("a relation without rows loses its columns on the way")
    encoder = context.with_logical_extension_codec(handles, codec_id=_CODEC_ID)
    try:
        return plan.to_bytes(encoder)
    except Exception as error:
        # The package raises nothing more particular.
        raise _Stays(_words(str(error))) from error


def _words(message: str) -> str:
    text = message.partition("This issue was likely")[0].strip()
    inner = _MESSAGE.search(text)
    return inner.group(1) if inner else text.removeprefix("DataFusion error: ")


_MESSAGE = re.compile(r'EngineError \{ code: \w+, message: \\*"(.*?)\\*", ')


def checked(plan: LogicalPlan, policy: SqlPolicy) -> GateReport:
    text = plan.display_indent()
    if policy.denied_functions:
        raise PolicyError(
            "Which functions a DataFrame calls can't be checked, and the policy denies some. "
            "Use SQL, or pass another `policy`."
        )
    kind: StatementKind = "query"
    for name in _kinds(plan):
        refused = None
        if name in _WRITES:
            kind = "write"
            refused = not policy.dml or (name == "CopyTo" and not policy.files)
        elif name.startswith(("Create", "Drop")):
            kind = "definition"
            refused = not policy.ddl
        elif name in _STATEMENTS:
            kind = "session"
            refused = not policy.statements
        if refused:
            raise PolicyError(
                f"DataFrames that do this are not allowed here: {name}. "
                "Pass `policy=SqlPolicy.trusted()` if this one may."
            )
    return GateReport(query=text, kind=kind, lane="checked", policy_hash=policy.identity_hash, schema_hash="")


def _kinds(plan: LogicalPlan) -> Generator[str]:
    with suppress(Exception):  # the package has no class for some operators, all of which only read
        yield type(plan.to_variant()).__name__
    for each in plan.inputs():
        yield from _kinds(each)
