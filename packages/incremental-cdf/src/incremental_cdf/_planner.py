"""Deciding how each view is brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import pyarrow as pa

from incremental_cdf._analysis import Analysis, analyse
from incremental_cdf._block import Refusal
from incremental_cdf._cost import SourceSize, estimate
from incremental_cdf._cursor import Consumed, Cursor
from incremental_cdf._parse import ParsedQuery
from incremental_cdf._sources import CHANGES_GONE, Catalog, DataSource, TableSource, snapshot_size
from incremental_cdf._steps import affected_steps, full_steps
from incremental_cdf._target import Target, read_target, same_columns
from incremental_cdf.plan import Estimates, SourcePlan, SqlStep, Strategy, ViewPlan
from incremental_cdf.view import View

MAX_CHANGED_ROWS = 5_000_000
"""More changed rows than this are not held in memory: the view is recomputed."""

COUNTED_ROWS = 200_000
"""Changes of up to this many rows are counted for the plan; larger ones are estimated."""


class Choice(NamedTuple):
    """A strategy and why."""

    strategy: Strategy
    code: str
    reason: str
    estimates: Estimates | None = None


class Planner:
    """Plans views one by one, those that others read first.

    Parameters
    ----------
    catalog : Catalog
        What names mean.
    parsed : Mapping of str to ParsedQuery
        The query of each view, by the view's name.
    """

    def __init__(self, catalog: Catalog, parsed: Mapping[str, ParsedQuery]) -> None:
        self._catalog = catalog
        self._parsed = parsed
        self._analyses: dict[str, Analysis] = {}

    def analysis(self, view: View) -> Analysis:
        """Return the analysis of a view, whose parents were analysed before."""
        if view.name not in self._analyses:
            parsed = self._parsed[view.name]
            schemas = {name: self._schema(name, view) for name in parsed.tables}
            with self._catalog.session.sibling() as probe:
                found = analyse(view, parsed, probe, schemas, self._primary_keys(view, parsed))
            self._analyses[view.name] = found
        return self._analyses[view.name]

    @property
    def catalog(self) -> Catalog:
        """What names mean."""
        return self._catalog

    def unpin(self, name: str) -> None:
        """Let views that are planned next see the newest version of a source."""
        self._catalog.forget(name)

    def forget(self, view: View) -> None:
        """Look at a view and its sources again when it is planned next."""
        for name in self._parsed[view.name].tables:
            self._catalog.forget(name)
        self._analyses.pop(view.name, None)

    def plan(
        self, view: View, pending: frozenset[str] = frozenset(), prefer: Strategy | None = None
    ) -> ViewPlan:
        """Decide how to bring a view up to date.

        Parameters
        ----------
        view : View
        pending : frozenset of str
            Sources that will have changed by the time that the plan is carried out.
        prefer : str, optional
            A strategy that was announced: costs are not compared again.

        Returns
        -------
        ViewPlan
        """
        analysis = self.analysis(view)
        table = self._catalog.open_target(view)
        target = read_target(view, table) if table is not None else None
        reset = _reset(analysis, target)
        cursor = target.cursor if target is not None and reset is None else None
        sources, broken = self._sources(view, analysis, cursor, pending)
        found = _Findings(view, analysis, target, sources)
        choice = _choose(found, reset or broken, is_announced=prefer is not None)
        return ViewPlan(
            name=view.name,
            target=view.target,
            strategy=choice.strategy,
            code=choice.code,
            reason=choice.reason,
            definition=analysis.parsed.digest,
            refused=_is_refused(view, choice, target),
            view_version=target.snapshot.version if target is not None else None,
            sources=sources,
            key=analysis.affected.key if analysis.affected is not None else (),
            steps=_steps(analysis, choice.strategy, sources),
            estimates=choice.estimates,
        )

    def full(self, view: View, plan: ViewPlan, refusal: Refusal) -> ViewPlan:
        """Change a plan that cannot be carried out into one that recomputes the view."""
        choice = Choice("full", refusal.code, _sentence("recomputed", refusal.reason))
        return msgspec.structs.replace(
            plan,
            strategy="full",
            code=choice.code,
            reason=choice.reason,
            refused=view.refresh == "strict",
            steps=_steps(self.analysis(view), "full", plan.sources),
        )

    def _schema(self, name: str, view: View) -> pa.Schema:
        parent = self._catalog.views.get(name)
        if parent is not None:
            return self.analysis(parent).stored
        source = self._catalog.source(name, view.name)
        assert source is not None  # only views can be without a table
        return source.newest().schema if isinstance(source, TableSource) else source.schema

    def _primary_keys(self, view: View, parsed: ParsedQuery) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name in parsed.tables:
            source = None if name in self._catalog.views else self._catalog.source(name, view.name)
            if isinstance(source, TableSource):
                found[name] = source.primary_key()
        return found

    def _sources(
        self, view: View, analysis: Analysis, cursor: Cursor | None, pending: frozenset[str]
    ) -> tuple[tuple[SourcePlan, ...], Refusal | None]:
        plans: list[SourcePlan] = []
        refusals: list[Refusal] = []
        for name in analysis.parsed.tables:
            consumed = cursor.sources.get(name) if cursor is not None else None
            plan, refusal = self._source(name, view, consumed, is_pending=name in pending)
            plans.append(plan)
            if refusal is not None and cursor is not None:
                refusals.append(refusal)
        return tuple(plans), refusals[0] if refusals else None

    def _source(
        self, name: str, view: View, consumed: Consumed | None, *, is_pending: bool
    ) -> tuple[SourcePlan, Refusal | None]:
        source = self._catalog.source(name, view.name)
        if isinstance(source, DataSource):
            plan = SourcePlan(
                name=name, kind="data", state="unversioned", rows=source.size.rows, bytes=source.size.bytes
            )
            return plan, None
        if source is None or is_pending:
            old = consumed.version if consumed is not None else None
            return SourcePlan(name=name, kind="view", state="pending", old=old), None
        return _versioned(source, consumed)


class _Findings(NamedTuple):
    """What is known of a view when its strategy is chosen."""

    view: View
    analysis: Analysis
    target: Target | None
    sources: tuple[SourcePlan, ...]


def _choose(found: _Findings, reset: Refusal | None, *, is_announced: bool) -> Choice:
    if reset is not None:
        verb = "computed" if reset.code == "first-build" else "recomputed"
        return Choice("full", reset.code, _sentence(verb, reset.reason))
    if found.analysis.volatile:
        reason = "its query calls functions whose values change between refreshes"
        return Choice("full", "volatile", _sentence("recomputed", reason))
    if all(source.state == "unchanged" for source in found.sources):
        return _nothing_to_do(found.sources)
    refusal = _refusal(found)
    if refusal is not None:
        return Choice("full", refusal.code, _sentence("recomputed", refusal.reason))
    return _cheaper(found, is_announced=is_announced)


def _reset(analysis: Analysis, target: Target | None) -> Refusal | None:
    """Why a view has to be computed from nothing, whatever changed."""
    if target is None:
        return Refusal("first-build", "it has no table yet")
    if target.reset is not None:
        return target.reset
    if target.cursor is None or target.cursor.definition != analysis.parsed.digest:
        return Refusal("definition-changed", "its query is not the one that its table was made by")
    if not same_columns(target.snapshot.schema, analysis.stored):
        return Refusal("schema-changed", "its result has other columns or types than its table")
    return None


def _versioned(source: TableSource, consumed: Consumed | None) -> tuple[SourcePlan, Refusal | None]:
    """Compare a table with what the last refresh consumed of it."""
    newest = source.newest()
    size = snapshot_size(newest)
    plan = SourcePlan(
        name=source.name,
        kind=source.kind,
        state="new",
        new=newest.version,
        table_id=newest.table_id,
        rows=size.rows,
        bytes=size.bytes,
    )
    if consumed is None or consumed.version is None:
        return plan, Refusal("source-new", f"its table says nothing of a version of {source.name}")
    plan = msgspec.structs.replace(plan, old=consumed.version)
    if consumed.table_id != newest.table_id:
        return plan, Refusal("source-recreated", f"{source.name} is another table than the one it last read")
    if consumed.version > newest.version:
        reason = f"{source.name} went back from version {consumed.version} to {newest.version}"
        return plan, Refusal("source-rewound", reason)
    if consumed.version == newest.version:
        return msgspec.structs.replace(plan, state="unchanged", changed_rows=0), None
    return _changed(source, plan, consumed.version, newest.version)


def _changed(source: TableSource, plan: SourcePlan, old: int, new: int) -> tuple[SourcePlan, Refusal | None]:
    try:
        lost = _lost_columns(source.at(old).schema, source.at(new).schema)
        if lost:
            reason = f"{source.name} lost or retyped the columns {', '.join(lost)}"
            return plan, Refusal("source-schema-changed", reason)
        changes = source.changes(old, new)
        rows = changes.count() if changes.estimate <= COUNTED_ROWS else changes.estimate
    except CHANGES_GONE as error:
        reason = f"the changes of {source.name} since version {old} cannot be told ({_first_line(error)})"
        return plan, Refusal("changes-unavailable", reason)
    return msgspec.structs.replace(plan, state="changed" if rows else "unchanged", changed_rows=rows), None


def _lost_columns(before: pa.Schema, after: pa.Schema) -> list[str]:
    return [field.name for field in before if _type_of(after, field.name) != field.type]


def _type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    position = schema.get_field_index(name)
    return schema.field(position).type if position >= 0 else None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _nothing_to_do(sources: tuple[SourcePlan, ...]) -> Choice:
    if all(source.old == source.new for source in sources):
        return Choice(
            "none", "up-to-date", "Nothing to do: no source has a version that the view has not seen."
        )
    return Choice(
        "none", "no-data-change", "Nothing to do: what was committed to its sources changed no rows."
    )


def _refusal(found: _Findings) -> Refusal | None:
    """Why a changed view cannot be refreshed by affected keys."""
    if found.view.refresh == "full":
        return Refusal("full-requested", 'its refresh mode is "full"')
    data = [source.name for source in found.sources if source.state == "unversioned"]
    if data:
        return Refusal("source-unversioned", f"{data[0]} is data in memory, whose changes cannot be told")
    if found.analysis.refusal is not None:
        return found.analysis.refusal
    changed = sum(source.changed_rows or 0 for source in found.sources)
    if changed > MAX_CHANGED_ROWS:
        reason = f"{changed:,} changed rows are more than the {MAX_CHANGED_ROWS:,} that are kept in memory"
        return Refusal("change-too-large", reason)
    return None


def _cheaper(found: _Findings, *, is_announced: bool) -> Choice:
    affected = found.analysis.affected
    assert affected is not None  # without them there is a refusal
    assert found.target is not None  # without a table it is the first build
    by_keys = Choice("affected_keys", affected.code, _sentence("refreshed by affected keys", affected.reason))
    if any(source.state == "pending" for source in found.sources):
        return by_keys
    costs = _estimates(found.sources, found.target.snapshot.files().bytes)
    is_free = found.view.refresh == "auto" and found.view.key is None and not is_announced
    if is_free and costs.full_bytes <= costs.affected_keys_bytes:
        reason = (
            f"recomputing it is estimated to cost {costs.full_bytes:,} bytes, following the "
            f"{costs.changed_rows:,} changed rows {costs.affected_keys_bytes:,}"
        )
        return Choice("full", "full-cheaper", _sentence("recomputed", reason), costs)
    return by_keys._replace(estimates=costs)


def _estimates(sources: tuple[SourcePlan, ...], view_bytes: int) -> Estimates:
    sizes = [SourceSize(source.rows or 0, source.bytes or 0, source.changed_rows or 0) for source in sources]
    return estimate(sizes, view_bytes, exact=all(size.changed_rows <= COUNTED_ROWS for size in sizes))


def _is_refused(view: View, choice: Choice, target: Target | None) -> bool:
    first = target is None or choice.code == "first-build"
    return view.refresh == "strict" and choice.strategy == "full" and not first


def _steps(analysis: Analysis, strategy: Strategy, sources: tuple[SourcePlan, ...]) -> tuple[SqlStep, ...]:
    if strategy == "full":
        return full_steps(analysis.parsed.text, analysis.result, analysis.stored)
    if strategy == "none" or analysis.affected is None:
        return ()
    changed = frozenset(source.name for source in sources if source.state != "unchanged")
    return affected_steps(analysis.affected, changed, analysis.result, analysis.stored)


def _sentence(verb: str, reason: str) -> str:
    return f"The view is {verb}: {reason}."
