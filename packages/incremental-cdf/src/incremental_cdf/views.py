"""A set of views, planned, refreshed and verified together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec
import pyarrow as pa

from delta_io import ConflictError, DeltaIoError, TransactionAppliedError
from df_runtime import DfRuntimeError, Session
from incremental_cdf import _verify
from incremental_cdf._block import RefusedError
from incremental_cdf._executor import Executor, Outcome
from incremental_cdf._names import canonical
from incremental_cdf._order import topological_order
from incremental_cdf._parse import parse
from incremental_cdf._planner import Planner
from incremental_cdf._sources import Catalog, DataSource
from incremental_cdf._steps import STORED, is_comparable
from incremental_cdf._target import read_target
from incremental_cdf._types import stored_query, stored_schema
from incremental_cdf.errors import (
    IncrementalError,
    PlanStaleError,
    RefreshConflictError,
    RefreshFailedError,
    StrictRefreshError,
    ViewColumnsError,
    ViewDefinitionError,
    ViewUnbuiltError,
    ViewUnknownError,
)
from incremental_cdf.plan import RefreshPlan, Strategy, ViewPlan
from incremental_cdf.report import RefreshReport, Verification, ViewReport
from incremental_cdf.view import View
from schema_spec import SpecError

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with the name of a view, how many views are done, and how many there are."""

MAX_ATTEMPTS = 5
"""How often a view is planned and run anew after losing a race."""

_VIEW_FAILURES = (IncrementalError, DeltaIoError, DfRuntimeError, SpecError, pa.ArrowException, OSError)


class Views:
    """Views that are kept current together; they may read each other.

    Parameters
    ----------
    views : Iterable of View
        The views, in any order.
    session : Session
        Where every table that is not a view is registered under the name that the queries use.
    storage_options : Mapping of str to str, optional
        For opening and creating the views' tables.

    Raises
    ------
    ViewDefinitionError
        A query is not SQL, two views share a name or a target, or views read each other in a circle.
    """

    def __init__(
        self, views: Iterable[View], session: Session, *, storage_options: Mapping[str, str] | None = None
    ) -> None:
        given = list(views)
        _refuse_shared(given)
        self._session = session
        self._storage_options = storage_options
        self._by_reference = {canonical((view.name,)): view for view in given}
        self._by_name = {view.name: view for view in given}
        self._parsed = {view.name: parse(view.name, view.query) for view in given}
        self._order = topological_order({view.name: self._parents(view) for view in given})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views, each after those that it reads."""
        return self._order

    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """Tell what each view reads.

        Returns
        -------
        dict of str to tuple of str
            Names of tables and views, as SQL writes them, by the name of the view that reads them.
        """
        return {name: self._parsed[name].tables for name in self._order}

    def plan(self) -> RefreshPlan:
        """Decide how each view is to be brought up to date. Nothing is written.

        Returns
        -------
        RefreshPlan

        Raises
        ------
        ViewDefinitionError
            A view reads unknown tables or columns, or its result cannot be stored.
        TargetError
            A view's place holds a table that no view wrote.
        """
        return self._plan(self._planner())

    def refresh(self, plan: RefreshPlan | None = None, progress: Progress | None = None) -> RefreshReport:
        """Bring every view up to date, each in one commit.

        A view that fails keeps the rows it had; views that read it are skipped, all others are refreshed.

        Parameters
        ----------
        plan : RefreshPlan, optional
            What to do; planned first if left out. Views that another refresh got to since are planned anew.
        progress : callable, optional
            Called before each view and at the end.

        Returns
        -------
        RefreshReport

        Raises
        ------
        ViewDefinitionError
            A view cannot be planned; nothing was written.
        PlanStaleError
            The plan is of other views or definitions; nothing was written.
        RefreshFailedError
            Some views failed; the error has the report on all of them.
        """
        started = time.monotonic()
        planner = self._planner()
        if plan is None:
            plan = self._plan(planner)
        else:
            self._check(plan)
            for name in self._order:
                planner.analysis(self._by_name[name])
        reports: list[ViewReport] = []
        failures: dict[str, Exception] = {}
        for done, view_plan in enumerate(plan.views):
            if progress is not None:
                progress(view_plan.name, done, len(plan.views))
            reports.append(self._refresh_view(planner, view_plan, failures))
        if progress is not None and reports:
            progress(reports[-1].name, len(reports), len(reports))
        report = RefreshReport(views=tuple(reports), seconds=time.monotonic() - started)
        if failures:
            raise _failed(report, failures)
        return report

    def verify(self, name: str) -> Verification:
        """Recompute a view at the source versions that its table claims to show, and compare.

        Parameters
        ----------
        name : str
            Name of the view.

        Returns
        -------
        Verification

        Raises
        ------
        ViewUnknownError
            There is no such view.
        ViewUnbuiltError
            The view was never refreshed, or not since its query changed.
        """
        started = time.monotonic()
        view = self._view(name)
        catalog = self._catalog()
        table = catalog.open_target(view)
        target = read_target(view, table) if table is not None else None
        cursor = target.cursor if target is not None else None
        if target is None or cursor is None or cursor.definition != self._parsed[name].digest:
            raise ViewUnbuiltError(f"View {name} has no table that its query made; refresh it first.")
        with self._session.sibling() as session:
            versions: dict[str, int] = {}
            for source_name, consumed in cursor.sources.items():
                source = catalog.source(source_name, name)
                if isinstance(source, DataSource) or source is None or consumed.version is None:
                    session.register(source_name, self._session.source(source_name))
                    continue
                versions[source_name] = consumed.version
                session.register(source_name, source.at(consumed.version))
            text = self._parsed[name].text
            result = session.sql(text).schema
            stored = stored_schema(name, result)
            if not is_comparable(stored):
                raise ViewColumnsError(
                    f"View {name} has columns of maps, which cannot be compared.", view=name
                )
            session.register(STORED, target.snapshot)
            found = _verify.compare(session, stored, stored_query(text, result, stored), STORED)
        return Verification(
            name=name,
            view_version=target.snapshot.version,
            sources=versions,
            rows=found.rows,
            missing=found.missing,
            extra=found.extra,
            close=found.close,
            missing_rows=found.missing_rows,
            extra_rows=found.extra_rows,
            seconds=time.monotonic() - started,
        )

    def _catalog(self) -> Catalog:
        return Catalog(self._session, self._by_reference, self._storage_options)

    def _planner(self) -> Planner:
        return Planner(self._catalog(), self._parsed)

    def _view(self, name: str) -> View:
        if name not in self._by_name:
            raise ViewUnknownError(f"There is no view {name}; there are: {', '.join(self._order) or 'none'}.")
        return self._by_name[name]

    def _parents(self, view: View) -> list[str]:
        read = [*self._parsed[view.name].tables, *(canonical((name,)) for name in view.depends or ())]
        return [self._by_reference[name].name for name in read if name in self._by_reference]

    def _plan(self, planner: Planner) -> RefreshPlan:
        plans: list[ViewPlan] = []
        pending: set[str] = set()
        for name in self._order:
            view = self._by_name[name]
            planned = planner.plan(view, frozenset(pending))
            plans.append(planned)
            if planned.strategy != "none":
                pending.add(canonical((name,)))
        return RefreshPlan(views=tuple(plans))

    def _check(self, plan: RefreshPlan) -> None:
        planned = {view.name: view.definition for view in plan.views}
        defined = {name: parsed.digest for name, parsed in self._parsed.items()}
        if planned != defined:
            different = sorted({name for name, _ in planned.items() ^ defined.items()})
            message = (
                f"The plan is not of these views as they are defined ({', '.join(different)}); plan again."
            )
            raise PlanStaleError(message)

    def _refresh_view(self, planner: Planner, plan: ViewPlan, failures: dict[str, Exception]) -> ViewReport:
        started = time.monotonic()
        view = self._by_name[plan.name]
        failed = [parent for parent in self._parents(view) if parent in failures]
        if failed:
            error: Exception = IncrementalError(f"View {view.name} was skipped because {failed[0]} failed.")
            failures[view.name] = error
            return _failure_report(plan, error, "skipped", time.monotonic() - started)
        try:
            report = _ViewRun(planner, view, plan).run()
        except _VIEW_FAILURES as error:
            failures[view.name] = error
            return _failure_report(plan, error, getattr(error, "code", "failed"), time.monotonic() - started)
        planner.unpin(canonical((view.name,)))
        return msgspec.structs.replace(report, seconds=time.monotonic() - started)


class _ViewRun:
    """One view on its way from plan to commit."""

    def __init__(self, planner: Planner, view: View, plan: ViewPlan) -> None:
        self._planner = planner
        self._view = view
        self._plan = plan
        self._attempts = 1

    def run(self) -> ViewReport:
        prefer: Strategy | None = self._plan.strategy
        if any(source.state == "pending" for source in self._plan.sources):
            self._plan = self._planner.plan(self._view, prefer=prefer)
        while True:
            try:
                outcome = self._attempt()
            except RefusedError as error:
                self._plan = self._planner.full(self._view, self._plan, error.refusal)
            except (ConflictError, TransactionAppliedError) as error:
                self._plan_again(error)
            else:
                return self._report(outcome)

    def _attempt(self) -> Outcome:
        plan = self._plan
        if plan.refused:
            message = (
                f'View {plan.name} has refresh = "strict" and cannot be refreshed otherwise ({plan.code}). '
                f'{plan.reason} Set refresh = "full" for one refresh if that is meant.'
            )
            raise StrictRefreshError(message)
        stored = self._planner.analysis(self._view).stored
        return Executor(self._planner.catalog, self._view, plan, stored).run()

    def _plan_again(self, error: Exception) -> None:
        self._attempts += 1
        if self._attempts > MAX_ATTEMPTS:
            message = (
                f"View {self._view.name} lost {MAX_ATTEMPTS} races against other writers of its table; "
                "nothing was written. Refresh it again."
            )
            raise RefreshConflictError(message) from error
        self._planner.forget(self._view)
        self._plan = self._planner.plan(self._view)

    def _report(self, outcome: Outcome) -> ViewReport:
        plan = self._plan
        return ViewReport(
            name=plan.name,
            strategy=outcome.strategy,
            code=outcome.code,
            reason=outcome.reason,
            sources={source.name: source.new for source in plan.sources},
            rows_in=outcome.rows_in,
            rows_changed=outcome.rows_changed,
            bytes_read=outcome.bytes_read,
            commit_version=outcome.commit_version,
            attempts=self._attempts,
            steps=plan.steps,
            estimates=plan.estimates,
        )


def _refuse_shared(views: list[View]) -> None:
    for field in ("name", "target"):
        seen: set[str] = set()
        for view in views:
            value = str(getattr(view, field)).rstrip("/")
            if value in seen:
                message = f"Two views have the {field} {value}; give each its own."
                raise ViewDefinitionError(message, view=view.name)
            seen.add(value)


def _failure_report(plan: ViewPlan, error: Exception, code: str, seconds: float) -> ViewReport:
    return ViewReport(
        name=plan.name,
        strategy="none",
        code=code,
        reason="The view could not be refreshed; its table is as it was.",
        sources={source.name: source.old for source in plan.sources},
        seconds=seconds,
        estimates=plan.estimates,
        error=str(error),
    )


def _failed(report: RefreshReport, failures: Mapping[str, Exception]) -> RefreshFailedError:
    details = " ".join(f"{name}: {error}" for name, error in failures.items())
    message = f"{len(failures)} of {len(report.views)} views could not be refreshed. {details}"
    error = RefreshFailedError(message, report=report, failures=failures)
    error.__cause__ = next(iter(failures.values()))
    return error
