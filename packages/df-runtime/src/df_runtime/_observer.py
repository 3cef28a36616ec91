"""Watches the runs of one session, and tells of them where the profile says."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from datafusion_ext import EngineError, Query
from df_runtime import _sanitise
from df_runtime._diagnosis import execution_error
from df_runtime._event_file import EventFile
from df_runtime._telemetry import Telemetry
from df_runtime.datasets import DatasetIdentity
from df_runtime.errors import DfRuntimeError
from df_runtime.plans import PlanInputs
from df_runtime.profile_parts import Observability
from df_runtime.runs import Outcome, RunDataset, RunEnvelope, Timings

if TYPE_CHECKING:
    from opentelemetry.context import Context

_LOG: Final = logging.getLogger("df_runtime.run")
_SECOND: Final = 1e9
_CANCELLED: Final = frozenset({"engine-cancelled", "engine-interrupted"})


_LANE: ContextVar[str] = ContextVar("lane", default="sql")


@contextmanager
def coming_by(lane: str) -> Generator[None]:
    """Say by which lane the queries come that are planned in the meantime."""
    token = _LANE.set(lane)
    try:
        yield
    finally:
        _LANE.reset(token)


_OF_OUR_OWN: ContextVar[bool] = ContextVar("of_our_own", default=False)


@contextmanager
def of_our_own() -> Generator[None]:
    """Tell nobody of the queries that are planned in the meantime: no user has asked for them."""
    token = _OF_OUR_OWN.set(True)
    try:
        yield
    finally:
        _OF_OUR_OWN.reset(token)


class Observer:
    """Where a session tells of its runs. Where nobody listens, nothing is told and nothing is watched."""

    def __init__(self, settings: Observability) -> None:
        self.session_id = uuid.uuid4().hex
        self._settings = settings
        self._telemetry = Telemetry() if settings.opentelemetry else None
        self._events = None if settings.events is None else EventFile(settings.events)
        self._runs: deque[RunEnvelope] = deque(maxlen=settings.keep_runs)

    @property
    def runs(self) -> tuple[RunEnvelope, ...]:
        """The latest runs that ended, oldest first."""
        return tuple(self._runs)

    @property
    def listens(self) -> bool:
        """Whether anybody wants to know of runs."""
        return not _OF_OUR_OWN.get() and (self._settings.is_on or _LOG.isEnabledFor(logging.INFO))

    @contextmanager
    def planning(self, query: str) -> Generator[Run]:
        """Watch how a query is checked and planned; what fails here never becomes a run.

        Yields
        ------
        Run
        """
        run = Run(self, _LANE.get(), query, self._telemetry.current() if self._telemetry else None)
        try:
            yield run
        except Exception as error:
            if self.listens:
                code = error.code if isinstance(error, DfRuntimeError) else type(error).__name__
                self.tell(run.refused(code), run.parent)
            raise

    def tell(self, envelope: RunEnvelope, parent: Context | None) -> None:
        """Tell of a run that has ended."""
        if self._settings.keep_runs:
            self._runs.append(envelope)
        if self._events is not None:
            self._events.tell(envelope)
        if self._telemetry is not None:
            self._telemetry.tell(envelope, parent)
        level = logging.INFO if envelope.outcome == "failed" else logging.DEBUG
        if _LOG.isEnabledFor(level):
            _LOG.log(level, "%s", _sentence(envelope), extra={"df_runtime": envelope})

    def text(self, query: str) -> str | None:
        """Say as much of a text as may be told."""
        return _sanitise.redacted(query) if self._settings.query_text else None


class Run:
    """One result, from the call that asks for it to the end of each of its runs."""

    def __init__(self, observer: Observer, lane: str, query: str, parent: Context | None) -> None:
        self.cache: Literal["off", "hit", "miss"] = "off"
        self.lane = lane
        self.parent = parent
        self._observer = observer
        self._query = query
        self._has_text = True
        self._asked = time.time_ns()
        self._clock = time.perf_counter_ns()
        self._gate = 0
        self._plan = 0
        self._identities: Iterable[DatasetIdentity] = ()
        self._executions = 0
        self._refusal: RunEnvelope | None = None
        self._lock = threading.Lock()

    @cached_property
    def run_id(self) -> str:
        """Identifies the result wherever it is told of."""
        return uuid.uuid4().hex

    def is_plan(self, text: str, lane: str) -> None:
        """Note that there is no text of a query, but a plan, which shows its values and is not told."""
        self._query = text
        self._has_text = False
        self.lane = lane

    def passed(self) -> None:
        """Note that the query was checked, and is planned from here on."""
        self._gate = time.perf_counter_ns() - self._clock

    def looked_up(self, inputs: PlanInputs | None, kept: Query | None) -> None:
        """Note whether a plan was looked for, and found."""
        if inputs is not None and inputs.reusable:
            self.cache = "miss" if kept is None else "hit"

    def planned(self, query: Query, datasets: Iterable[DatasetIdentity]) -> None:
        """Note that there is a plan; each of its runs is watched if anybody listens."""
        self._plan = time.perf_counter_ns() - self._clock - self._gate
        self._identities = datasets
        # A plan that was kept may still be watched for the result that used it before.
        query.watch(self._ended if self._observer.listens else None)

    @contextmanager
    def starting(self, last_run: Callable[[], Mapping[str, Any] | None] = lambda: None) -> Generator[None]:
        """Watch the start of one more run: a plan can fail before there is a stream.

        What fails later is told by the run itself, where `last_run` shows that there was one.
        """
        before = _start_of(last_run())
        with self._lock:
            self._executions += 1
            self._refusal = None
        try:
            yield
        except EngineError as error:
            if _start_of(last_run()) != before:
                raise
            self._refusal = self._failed(error.code, self._executions)
            if self._observer.listens:
                self._observer.tell(self._refusal, self.parent)
            raise

    def envelope(self, run: Mapping[str, Any] | None) -> RunEnvelope:
        """Put together what is known by now."""
        if self._refusal is not None:
            return self._refusal
        if run is None:
            timings = Timings(gate=self._seconds_of_gate, plan=self._plan / _SECOND)
            return self._told("planned", 0, {}, timings)
        until = run["finished"] or time.time_ns()
        timings = Timings(
            gate=self._seconds_of_gate,
            plan=(self._plan + run["planning"]) / _SECOND,
            execute=run["waiting"] / _SECOND,
            fetch=max(until - run["started"] - run["waiting"], 0) / _SECOND,
        )
        outcome: Outcome = "cancelled" if run["error_code"] in _CANCELLED else run["outcome"]
        return self._told(outcome, self._executions, run, timings)

    def refused(self, code: str) -> RunEnvelope:
        """Put together what is known of a query that got no plan."""
        if not self._gate:
            self.passed()
        else:
            self._plan = time.perf_counter_ns() - self._clock - self._gate
        return self._failed(code, 0)

    def _failed(self, code: str, execution: int) -> RunEnvelope:
        timings = Timings(gate=self._seconds_of_gate, plan=self._plan / _SECOND)
        outcome: Outcome = "cancelled" if code in _CANCELLED else "failed"
        return self._told(outcome, execution, {"error_code": code, "finished": time.time_ns()}, timings)

    @property
    def _seconds_of_gate(self) -> float:
        return self._gate / _SECOND

    def _ended(self, run: Mapping[str, Any]) -> None:
        self._observer.tell(self.envelope(run), self.parent)

    def _told(
        self, outcome: Outcome, execution: int, run: Mapping[str, Any], timings: Timings
    ) -> RunEnvelope:
        metrics: Mapping[str, int] = run.get("metrics", {})
        return RunEnvelope(
            run_id=self.run_id,
            execution=execution,
            session_id=self._observer.session_id,
            lane=self.lane,
            query_hash=_sanitise.fingerprint(self._query),
            query_text=self._observer.text(self._query) if self._has_text else None,
            started=_moment(self._asked),
            finished=_moment(run["finished"]) if run.get("finished") else None,
            outcome=outcome,
            error_code=_code_of(run.get("error_code")),
            timings=timings,
            rows=run.get("rows", 0),
            batches=run.get("batches", 0),
            bytes=run.get("bytes", 0),
            bytes_scanned=metrics.get("bytes_scanned", 0),
            spills=metrics.get("spill_count", 0),
            spilled_bytes=metrics.get("spilled_bytes", 0),
            files_read=metrics.get("files_planned", 0),
            files_pruned=max(metrics.get("files_total", 0) - metrics.get("files_planned", 0), 0)
            + metrics.get("files_ranges_pruned_statistics_pruned", 0),
            row_groups_pruned=metrics.get("row_groups_pruned_statistics_pruned", 0)
            + metrics.get("row_groups_pruned_bloom_filter_pruned", 0),
            cache=self.cache,
            datasets=tuple(map(_told_dataset, self._identities)),
        )


def _start_of(run: Mapping[str, Any] | None) -> int | None:
    return None if run is None else run["started"]


def _told_dataset(identity: DatasetIdentity) -> RunDataset:
    place = _sanitise.place(identity.uri)
    return RunDataset(name=identity.name, kind=identity.kind, uri=place, version=identity.version)


def _code_of(code: str | None) -> str | None:
    """Tell what failed in the engine by the code of the error that the user sees."""
    if code is None or not code.startswith("engine-"):
        return code
    return execution_error(code, "").code


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / _SECOND, UTC)


def _sentence(envelope: RunEnvelope) -> str:
    error = "" if envelope.error_code is None else f" with {envelope.error_code}"
    return (
        f"run {envelope.run_id} {envelope.outcome}{error} after {envelope.timings.total:.6f} s: "
        f"{envelope.rows} rows, {envelope.bytes_scanned} bytes read, query {envelope.query_hash[:12]}"
    )
