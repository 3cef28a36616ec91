"""Substrait plans in and out of a session."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlglot import exp

from delta_io import DeltaIoError
from df_runtime._arguments import expect
from df_runtime._front_ends import understanding
from df_runtime._limits import chosen
from df_runtime._texts import QueryText, text_of
from df_runtime.errors import DfRuntimeError, PolicyError, SubstraitError
from df_runtime.plans import Lane, SubstraitPlan
from df_runtime.policy import SqlPolicy

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa
    from datafusion import DataFrame, SessionContext
    from datafusion.plan import LogicalPlan
    from datafusion.substrait import Plan

    from df_runtime.gate import GateReport
    from df_runtime.ibis_backend import Backend
    from df_runtime.profile import RuntimeProfile
    from df_runtime.result import Result

# What a plan says outside expressions, and what no policy makes sense of: sources other than tables by name
# and rows in the plan itself, and relations that write or that somebody else has to know.
_WRITES = {"write": "writes rows", "ddl": "defines a table or view", "update": "updates rows"}
_READS = {
    "localFiles": "reads files",
    "icebergTable": "reads files",
    "extensionTable": "reads a source of its own",
}
_FOREIGN = ("extensionSingle", "extensionMulti", "extensionLeaf")
_WORDS = 200
_QUERIES_ONLY = "Substrait plans are made of queries only."
_END = r"(?:PRECEDING|FOLLOWING|CURRENT ROW)"
_OFFSET = re.compile(r"(?<!UNBOUNDED) (?:PRECEDING|FOLLOWING)")
_OF_WINDOWS = {" FILTER (WHERE": "WindowFilter", "(DISTINCT ": "WindowDistinct"}
_ZONE = re.compile(r'Timestamp\(\w+, "((?!UTC"|\+00:00")[^"]+)"\)')
_FRAME = re.compile(rf"\b(?:ROWS|RANGE|GROUPS) BETWEEN [^\[\]]*?{_END} AND [^\[\]]*?{_END}")


class Substrait:
    """Methods of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _profile: RuntimeProfile

        @property
        def backend(self) -> Backend: ...
        @property
        def context(self) -> SessionContext: ...
        def sql(self, query: str, *, policy: SqlPolicy | None = None) -> Result: ...
        def _refresh_context(self) -> SessionContext: ...
        def _framed(self, make: Callable[[], DataFrame], allowed: SqlPolicy, lane: str) -> Result: ...

    def substrait(self, plan: bytes | SubstraitPlan, *, policy: SqlPolicy | None = None) -> Result:
        """Run a Substrait plan in this engine.

        Tables are read by their names in the session. Files that a plan names, and relations that write or
        define something, are refused under every policy: plans come from elsewhere.

        Parameters
        ----------
        plan : bytes or SubstraitPlan
            A serialised plan, or what `to_substrait` returned. Where that has no plan, because Substrait
            cannot say it, its text runs instead: `Result.lane` says so and why.
        policy : SqlPolicy, optional
            What limits the plan, in place of the profile's policy.

        Returns
        -------
        Result

        Raises
        ------
        SubstraitError
            The bytes are no plan, or one that cannot be understood.
        PolicyError
            The plan does more than to query tables.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     session.register("orders", pa.table({"id": [1, 2, 3]}))
        ...     plan = session.to_substrait("SELECT max(id) AS most FROM orders")
        ...     result = session.substrait(plan.plan)
        ...     result.lane.name, result.to_arrow().to_pylist()
        ('substrait', [{'most': 3}])
        """
        if isinstance(plan, SubstraitPlan):
            if plan.plan is None:
                result = self.sql(plan.query, policy=policy)
                result.lane = Lane(name="sql", reason=plan.reason, unsupported=plan.unsupported)
                return result
            plan = plan.plan
        allowed, data = _queries_only(chosen(policy, self._profile)), plan
        return self._framed(lambda: _consumed(data, self.context), allowed, "substrait")

    def to_substrait(self, query: QueryText | ir.Expr) -> SubstraitPlan:
        """Write a query as a Substrait plan, as far as Substrait can say it.

        Parameters
        ----------
        query : str, sqlglot.exp.Expression or ibis.Expr
            A text, a tree of SQLGlot, or an expression over tables of `table`.

        Returns
        -------
        SubstraitPlan
            With the plan, or with what stands in its way.

        Raises
        ------
        SqlError
            The text is wrong or not allowed.
        ExpressionError
            The expression cannot be written for the engine.
        """
        if isinstance(query, exp.Expr):
            query = text_of(query)
        if not isinstance(query, str):
            backend = self.backend
            expect("query", query, backend.expression, "a text or an Ibis expression")
            with understanding(backend):
                return backend.with_text(query, self.to_substrait)
        if self.sql(query, policy=_queries_only(self._profile.policy)).gate.kind != "query":
            raise PolicyError(_QUERIES_ONLY, query=query)
        return _produced(query, self.context)

    def _substrait_of(self, report: GateReport, row: pa.RecordBatch | None) -> SubstraitPlan:
        """Write a text that the gate has passed, or say why it cannot be: nothing else depends on it."""
        if report.kind != "query":
            return SubstraitPlan(query=report.query, plan=None, form="none", reason=_QUERIES_ONLY)
        try:
            return _produced(report.query, self._refresh_context(), row)
        except (DfRuntimeError, DeltaIoError) as error:
            return SubstraitPlan(query=report.query, plan=None, form="none", reason=str(error))


def _queries_only(policy: SqlPolicy) -> SqlPolicy:
    """Allow no more than queries, in the limits of the policy."""
    return msgspec.structs.replace(policy, ddl=False, dml=False, statements=False, files=False, unread=False)


# --- in


def _consumed(data: bytes, context: SessionContext) -> DataFrame:
    """Read a plan of somebody else's making."""
    from datafusion.substrait import Consumer, Serde

    with _understanding("The bytes are no Substrait plan"):
        plan = Serde.deserialize_bytes(bytes(data))
        _refuse(json.loads(plan.to_json()))
    with _understanding("This Substrait plan cannot be read"):
        logical = Consumer.from_substrait_plan(context, plan)
        if unread := _ranges(logical):
            raise SubstraitError(
                f"The plan has a {min(unread)}, which is not read correctly; use SQL for it."
            )
        return context.create_dataframe_from_logical_plan(logical)


def _refuse(message: Any) -> None:
    """Refuse what is more than a query over tables, wherever in the plan it stands."""
    pending = [message]
    while pending:
        found = pending.pop()
        if isinstance(found, list):
            pending.extend(found)
        if not isinstance(found, dict):
            continue
        for key, value in found.items():
            if isinstance(value, dict):
                _refuse_key(key)
            pending.append(value)


def _refuse_key(key: str) -> None:
    if key in _FOREIGN:
        raise SubstraitError(f"The plan has a relation of somebody's own ({key}), which this engine has not.")
    what = _WRITES.get(key) or _READS.get(key)
    if what is not None:
        raise PolicyError(f"A Substrait plan may query the tables of the session; this one {what} ({key}).")


@contextmanager
def _understanding(what: str) -> Generator[None]:
    """Report what goes wrong in the package, panics included, as an error of ours."""
    try:
        yield
    except (SubstraitError, PolicyError):
        raise
    except Exception as error:
        raise SubstraitError(f"{what}: {_words(error)}") from error
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        raise SubstraitError(f"{what}: {_words(panic)}") from panic


def _words(error: BaseException) -> str:
    text = re.sub(r"^(DataFusion error: |Substrait error: )+", "", str(error)).strip()
    return text if len(text) <= _WORDS else text[:_WORDS] + "…"


# --- out


def _produced(query: str, context: SessionContext, row: pa.RecordBatch | None = None) -> SubstraitPlan:
    """Write a plan of a text, with the values of its parameters."""
    values = None if row is None else {field.name: row[field.name][0] for field in row.schema}
    try:
        df = context.sql(query, param_values=values)
        written, optimized = df.logical_plan(), df.optimized_logical_plan()
    except Exception as error:  # noqa: BLE001 - the package raises nothing more particular
        # The gate and our engine have taken the text: what is missing is a function of ours.
        return _gap(query, [error])
    return written_as(query, written, optimized, context)


def written_as(
    query: str, written: LogicalPlan, optimized: LogicalPlan, context: SessionContext
) -> SubstraitPlan:
    """Write a plan: of the query as it stands, else of what the optimizer makes of it."""
    gaps: list[BaseException] = []
    forms: tuple[tuple[Literal["written", "optimized"], LogicalPlan], ...]
    forms = (("written", written), ("optimized", optimized))
    for form, plan in forms:
        try:
            encoded = _encoded(plan, context)
        except SubstraitError as error:
            gaps = gaps or _gaps(plan, context) or [error]
            continue
        names = tuple(dict.fromkeys(map(_name, gaps)))
        reason = f"{'; '.join(map(_words, gaps))}; the optimized plan has none of it" if gaps else ""
        return SubstraitPlan(query=query, plan=encoded, form=form, unsupported=names, reason=reason)
    return _gap(query, gaps)


def _gap(query: str, gaps: list[Any]) -> SubstraitPlan:
    return SubstraitPlan(
        query=query,
        plan=None,
        form="none",
        unsupported=tuple(dict.fromkeys(map(_name, gaps))),
        reason="; ".join(dict.fromkeys(map(_words, gaps))),
    )


def _translated(plan: LogicalPlan, context: SessionContext) -> Plan:
    from datafusion.substrait import Producer

    with _understanding("Substrait cannot say it"):
        return Producer.to_substrait_plan(plan, context)


def _encoded(plan: LogicalPlan, context: SessionContext) -> bytes:
    from datafusion.substrait import Consumer

    substrait = _translated(plan, context)
    with _understanding("What Substrait says of it cannot be read"):
        read_back = Consumer.from_substrait_plan(context, substrait)
        # The producer leaves these out without a word, and the consumer computes the last of them wrongly.
        lost = (_frames(plan) - _frames(read_back)) | _lost(plan) | _ranges(plan)
        if lost:
            raise SubstraitError(f"Unsupported expression: {min(lost)}")
        # Some plans that are read make no sense to the optimizer.
        context.create_dataframe_from_logical_plan(read_back).optimized_logical_plan()
        return substrait.encode()


def _frames(plan: LogicalPlan) -> set[str]:
    lines = _windows(plan.display_indent().splitlines())
    return {f"WindowFrame ({frame})" for line in lines for frame in _FRAME.findall(line)}


def _lost(plan: LogicalPlan) -> set[str]:
    """Find what no plan says: names of columns may repeat it, so only what operators compute counts."""
    lines = plan.display_indent().splitlines()
    windows = _windows(lines)
    aggregates = [line for line in lines if line.lstrip().startswith("Aggregate:")]
    found = {"IgnoreNulls" for line in (*windows, *aggregates) if "IGNORE NULLS" in line}
    found |= {name for text, name in _OF_WINDOWS.items() for line in windows if text in line}
    return found | {f"TimeZone ({zone})" for line in lines for zone in _ZONE.findall(line)}


def _ranges(plan: LogicalPlan) -> set[str]:
    """Find frames that reach so far in values, not rows."""
    frames = (
        frame for line in _windows(plan.display_indent().splitlines()) for frame in _FRAME.findall(line)
    )
    return {
        f"WindowFrame ({frame})" for frame in frames if frame.startswith("RANGE") and _OFFSET.search(frame)
    }


def _windows(lines: list[str]) -> list[str]:
    return [line for line in lines if line.lstrip().startswith("WindowAggr:")]


def _gaps(plan: LogicalPlan, context: SessionContext) -> list[BaseException]:
    """Find the smallest parts of a plan that cannot be written: one reason for each of them."""
    try:
        _translated(plan, context)
    except SubstraitError as error:
        below = [gap for part in plan.inputs() for gap in _gaps(part, context)]
        return below or [error.__cause__ or error]
    return []


_NAMES = (
    re.compile(r"No field named (\w+)"),
    re.compile(r"Cannot convert (\w+)"),
    re.compile(r"Unsupported (?:plan type|expression|operator|function|window frame unit): (\w+)"),
    re.compile(r"Invalid function '([^']+)'"),
    re.compile(r"No table named '([^']+)'"),
    re.compile(r"join constraint: `(\w+)`"),
    re.compile(r"[Ff]unction '?(\w+)'?"),
    re.compile(r"Unsupported (?:\w+ )?type:? (\w+)"),
)


def _name(error: BaseException) -> str:
    """Name the expression or operator that an error of the package is about."""
    text = str(error)
    found = next((match for pattern in _NAMES if (match := pattern.search(text))), None)
    return found.group(1) if found else _words(error)
