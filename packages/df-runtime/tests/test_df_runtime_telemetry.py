"""Spans and metrics as a collector receives them: OTLP over HTTP, to a server that reads the protocol."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from df_runtime import DependencyError, Observability, RuntimeProfile, Session, SessionFactory, SqlError

SECRET = "s3cr3t-m4rker"


class Collector(ThreadingHTTPServer):
    """Takes what an exporter posts, and refuses what is not of the protocol."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.traces = trace_service_pb2.ExportTraceServiceRequest()
        self.metrics = metrics_service_pb2.ExportMetricsServiceRequest()
        self.raw = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Any]:
        return [
            span
            for resource in self.traces.resource_spans
            for scope in resource.scope_spans
            if scope.scope.name == "df_runtime"
            for span in scope.spans
        ]

    def figures(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for resource in self.metrics.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "df_runtime"
            for metric in scope.metrics
        }


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector = self.server
        assert isinstance(collector, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kinds = {
            "/v1/traces": (collector.traces, trace_service_pb2.ExportTraceServiceResponse),
            "/v1/metrics": (collector.metrics, metrics_service_pb2.ExportMetricsServiceResponse),
        }
        if self.headers["Content-Type"] != "application/x-protobuf" or self.path not in kinds:
            self.send_error(400)
            return
        request, response = kinds[self.path]
        request.MergeFromString(body)
        collector.raw += body
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(response().SerializeToString())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name it has
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def providers(collector: Collector, monkeypatch) -> Iterator[tuple[TracerProvider, MeterProvider]]:
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{collector.url}/v1/metrics"), export_interval_millis=3_600_000
    )
    meters = MeterProvider([reader])
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    yield tracers, meters
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture
def session(providers) -> Iterator[Session]:
    profile = RuntimeProfile(observability=Observability(opentelemetry=True))
    with SessionFactory(profile).open() as opened:
        yield opened


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_run_is_a_span_below_the_caller_s(session: Session, collector: Collector, providers):
    session.register("t", pa.table({"x": range(100)}))
    with providers[0].get_tracer("caller").start_as_current_span("work") as work:
        result = session.sql("SELECT x FROM t WHERE x >= 40")
    result.to_arrow()

    (query,) = [span for span in collector.spans() if span.name == "df_runtime.query"]
    told = attributes(query)
    assert query.parent_span_id == work.get_span_context().span_id.to_bytes(8, "big")
    assert query.trace_id == work.get_span_context().trace_id.to_bytes(16, "big")
    assert told["df_runtime.run_id"] == result.run_id == result.plan().run_id
    assert told["df_runtime.session_id"] == session.session_id
    assert told["db.query.text"] == "SELECT x FROM t WHERE x >= ?"
    assert told["db.response.returned_rows"] == 60
    assert told["df_runtime.outcome"] == "finished"
    phases = {span.name: span for span in collector.spans() if span.parent_span_id == query.span_id}
    assert set(phases) == {"df_runtime.gate", "df_runtime.plan", "df_runtime.execute"}
    assert query.start_time_unix_nano == phases["df_runtime.gate"].start_time_unix_nano
    assert query.end_time_unix_nano == phases["df_runtime.execute"].end_time_unix_nano
    assert query.end_time_unix_nano > query.start_time_unix_nano


def test_a_failure_is_an_error_of_its_code(session: Session, collector: Collector):
    with pytest.raises(SqlError):
        session.sql("SELECT nosuch")

    (query,) = [span for span in collector.spans() if span.name == "df_runtime.query"]
    assert query.status.code == query.status.STATUS_CODE_ERROR
    assert attributes(query)["error.type"] == "sql-column-unknown"


def test_metrics_add_up(session: Session, collector: Collector, providers):
    session.register("t", pa.table({"x": range(100)}))
    for _ in range(3):
        session.sql("SELECT x FROM t").to_arrow()
    with pytest.raises(SqlError):
        session.sql("SELECT nosuch")
    providers[1].force_flush()

    figures = collector.figures()
    rows = {
        attributes(point)["df_runtime.outcome"]: point.as_int
        for point in figures["df_runtime.rows"].sum.data_points
    }
    assert rows == {"finished": 300, "failed": 0}
    durations = figures["db.client.operation.duration"]
    assert durations.unit == "s"
    counts = {attributes(point).get("error.type"): point.count for point in durations.histogram.data_points}
    assert counts == {None: 3, "sql-column-unknown": 1}


def test_values_and_secrets_reach_no_collector(session: Session, collector: Collector, providers):
    session.register("t", pa.table({"word": [SECRET]}))
    session.sql("SELECT * FROM t WHERE word = $w", params={"w": SECRET}).to_arrow()
    session.sql(f"SELECT * FROM t WHERE word = '{SECRET}'").to_arrow()
    with pytest.raises(Exception, match=r"."):
        session.sql(f"SELECT CAST('{SECRET}' AS INT)").to_arrow()
    providers[1].force_flush()

    assert len([span for span in collector.spans() if span.name == "df_runtime.query"]) == 3
    assert SECRET.encode() not in collector.raw


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    profile = RuntimeProfile(observability=Observability(opentelemetry=True))

    with pytest.raises(DependencyError, match=r"df-runtime\[opentelemetry\]"):
        SessionFactory(profile).open()
