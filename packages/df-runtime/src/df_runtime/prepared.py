"""Statements that are planned once and run with many values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import pyarrow as pa

import datafusion_ext
from datafusion_ext import Engine, EngineError, Query
from df_runtime import _parameters
from df_runtime._arguments import expect
from df_runtime._limits import prepared_text
from df_runtime._names import TableName
from df_runtime._observer import Observer, Run
from df_runtime._parameters import Parameters
from df_runtime._planning import Planner
from df_runtime._registry import Registry
from df_runtime._resolve import Dataset
from df_runtime.gate import GateReport
from df_runtime.plans import PlanInputs
from df_runtime.policy import SqlPolicy
from df_runtime.profile import RuntimeProfile
from df_runtime.result import Result

Scope = Mapping[TableName, Dataset]


class _MakesResult(Protocol):
    def __call__(
        self,
        planned: Query,
        report: GateReport,
        policy: SqlPolicy,
        inputs: PlanInputs | None,
        scope: Scope,
        *,
        row: pa.RecordBatch | None,
        run: Run,
    ) -> Result: ...


class Workshop(NamedTuple):
    """What a session lends to its prepared statements."""

    opened: Callable[[], Engine]
    registry: Registry
    planner: Planner
    profile: RuntimeProfile
    observer: Observer
    result: _MakesResult


class _Kept(NamedTuple):
    """A plan, and what it was made over."""

    plan: datafusion_ext.Prepared
    types: dict[str, pa.DataType | None]
    scope: Scope
    policy: SqlPolicy
    environment: str

    def fits(self, scope: Scope, policy: SqlPolicy, environment: str) -> bool:
        same = self.scope.keys() == scope.keys() and all(self.scope[name] is scope[name] for name in scope)
        return same and self.policy == policy and self.environment == environment


class Prepared:
    """A statement under a name, with a plan that is kept. `Session.prepare` makes them.

    The plan is made anew when a table that it reads has a new version, another schema, or was replaced: each
    run sees the newest version of followed tables, as `Session.sql` does. Many threads may run it at once.

    Attributes
    ----------
    name : str
    query : str
    """

    def __init__(self, name: str, query: str, *, policy: SqlPolicy, workshop: Workshop) -> None:
        expect("name", name, str, "the name of a statement")
        self.name = name
        self.query = query
        self._policy = policy
        self._workshop = workshop
        self._lock = threading.Lock()
        with workshop.registry.settled(query) as scope:
            self.gate = workshop.registry.gate.check(query, policy, scope)
            self._kept = self._made(scope, policy)

    def __repr__(self) -> str:
        return f"Prepared(name={self.name!r}, query={self.query!r})"

    @property
    def parameters(self) -> dict[str, pa.DataType | None]:
        """The parameters without the dollar, and the types that the query gives them, where it does."""
        return dict(self._kept.types)

    def execute(self, params: Parameters | None = None, *, policy: SqlPolicy | None = None) -> Result:
        """Bind values and plan the rest; the statement runs when its rows are asked for.

        Parameters
        ----------
        params : mapping or sequence, optional
            Values for `$name` (a mapping) or `$1`, `$2`, … (a sequence).
        policy : SqlPolicy, optional
            What the statement may do; the policy that it was prepared under if left out.

        Returns
        -------
        Result

        Raises
        ------
        ParameterError
            A value is missing, unused or of the wrong type.
        SqlError
            A table that the statement reads is gone, or has changed so that the statement is wrong.
        """
        return self._executed(lambda: _parameters.bind(self.query, params), policy or self._policy)

    def execute_row(self, row: pa.RecordBatch | None, policy: SqlPolicy) -> Result:
        """Do the same with values that are one row already, a column for each parameter.

        Parameters
        ----------
        row : pyarrow.RecordBatch, optional
        policy : SqlPolicy

        Returns
        -------
        Result
        """
        return self._executed(lambda: row, policy)

    def _executed(self, values: Callable[[], pa.RecordBatch | None], policy: SqlPolicy) -> Result:
        opened, registry, _, _, observer, result = self._workshop
        opened()
        with observer.planning(self.query) as run:
            row = values()
            with registry.settled(self.query) as scope:
                report = registry.gate.check(self.query, policy, scope)
                run.passed()
                kept = self._current(scope, policy)
                _parameters.check_types(self.query, row, kept.types)
                try:
                    planned = kept.plan.bind(row)
                except EngineError as error:
                    raise registry.unplanned(error, self.query, row) from error
            return result(planned, report, policy, None, scope, row=row, run=run)

    def _current(self, scope: Scope, policy: SqlPolicy) -> _Kept:
        with self._lock:
            kept = self._kept
        if kept.fits(scope, policy, self._workshop.planner.environment_salt):
            return kept
        kept = self._made(scope, policy)
        with self._lock:
            self._kept = kept
        return kept

    def _made(self, scope: Scope, policy: SqlPolicy) -> _Kept:
        opened, registry, planner, profile, _, _ = self._workshop
        environment = planner.environment_salt
        try:
            plan = prepared_text(opened(), self.query, policy, profile)
        except EngineError as error:
            raise registry.unplanned(error, self.query, None) from error
        types = {field.name: _known(field.type) for field in pa.schema(plan.parameters)}
        return _Kept(plan, types, dict(scope), policy, environment)


def _known(kind: pa.DataType) -> pa.DataType | None:
    return None if pa.types.is_null(kind) else kind
