"""Runs as spans and metrics, through the API of OpenTelemetry."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from df_runtime.errors import DependencyError
from df_runtime.runs import RunEnvelope

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

_SECOND: Final = 1_000_000_000
_SYSTEM: Final = "datafusion"
_TOLD: Final = (
    "lane",
    "outcome",
    "cache",
    "execution",
    "bytes",
    "bytes_scanned",
    "spills",
    "spilled_bytes",
    "files_read",
    "files_pruned",
    "row_groups_pruned",
)


class Telemetry:
    """Reports to whatever provider the process has set up; without one, nothing happens."""

    def __init__(self) -> None:
        try:
            from opentelemetry import context, metrics, trace
        except ImportError as error:
            raise DependencyError(
                "`observability.opentelemetry` needs opentelemetry-api, which is not installed: "
                "pip install 'df-runtime[opentelemetry]'."
            ) from error
        own = version("df-runtime")
        self._trace = trace
        self.current = context.get_current
        self._tracer: Tracer = trace.get_tracer("df_runtime", own)
        meter = metrics.get_meter("df_runtime", own)
        self._duration = meter.create_histogram(
            "db.client.operation.duration", unit="s", description="Duration of queries, all phases."
        )
        self._counters = {
            name: meter.create_counter(f"df_runtime.{name}", unit=unit, description=description)
            for name, unit, description in (
                ("rows", "{row}", "Rows handed out."),
                ("bytes_scanned", "By", "Bytes read of files."),
                ("spilled_bytes", "By", "Bytes spilled."),
                ("files_read", "{file}", "Files planned to be read."),
                ("files_pruned", "{file}", "Files left out before reading."),
            )
        }

    def tell(self, envelope: RunEnvelope, parent: Context | None) -> None:
        """Report a run that has ended, below the span that was current when the session was asked."""
        self._tell_metrics(envelope)
        started = _nanoseconds(envelope.started.timestamp())
        attributes = _attributes(envelope)
        span = self._tracer.start_span(
            "df_runtime.query",
            context=parent,
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=started,
        )
        if envelope.outcome == "failed":
            span.set_status(self._trace.StatusCode.ERROR, envelope.error_code)
        inside = self._trace.set_span_in_context(span, parent)
        timings = envelope.timings
        at = started
        for phase, seconds in (
            ("gate", timings.gate),
            ("plan", timings.plan),
            ("execute", timings.execute + timings.fetch),
        ):
            ended = at + _nanoseconds(seconds)
            self._tracer.start_span(f"df_runtime.{phase}", context=inside, start_time=at).end(ended)
            at = ended
        span.end(at)

    def _tell_metrics(self, envelope: RunEnvelope) -> None:
        few = {
            "db.system.name": _SYSTEM,
            "df_runtime.lane": envelope.lane,
            "df_runtime.outcome": envelope.outcome,
        }
        if envelope.error_code is not None:
            few["error.type"] = envelope.error_code
        self._duration.record(envelope.timings.total, few)
        for name, counter in self._counters.items():
            counter.add(getattr(envelope, name), few)


def _attributes(envelope: RunEnvelope) -> dict[str, AttributeValue]:
    told: dict[str, AttributeValue | None] = {
        "db.system.name": _SYSTEM,
        "db.query.text": envelope.query_text,
        "error.type": envelope.error_code,
        "db.response.returned_rows": envelope.rows,
        "df_runtime.run_id": envelope.run_id,
        "df_runtime.session_id": envelope.session_id,
        "df_runtime.query_hash": envelope.query_hash,
        "df_runtime.datasets": [
            each.name if each.version is None else f"{each.name}@{each.version}" for each in envelope.datasets
        ],
        "df_runtime.fetch_seconds": envelope.timings.fetch,
    }
    for name in (
        "lane",
        "outcome",
        "cache",
        "execution",
        "bytes",
        "bytes_scanned",
        "spills",
        "spilled_bytes",
    ):
        told[f"df_runtime.{name}"] = getattr(envelope, name)
    for name in ("files_read", "files_pruned", "row_groups_pruned"):
        told[f"df_runtime.{name}"] = getattr(envelope, name)
    return {name: value for name, value in told.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _SECOND)
