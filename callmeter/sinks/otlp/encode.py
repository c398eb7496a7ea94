"""Spans, log records and metrics as OTLP protobuf, by OpenTelemetry's own model and encoder. Imported on first use."""

from collections.abc import Mapping, Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from callmeter import __version__
from callmeter.events.spans import Span
from callmeter.sinks.otlp.measures import Points
from callmeter.sinks.otlp.points import as_metrics

SCOPE = InstrumentationScope("callmeter", __version__, None, {"callmeter.conventions": "gen_ai 2026-11"})

SAMPLED = TraceFlags(TraceFlags.SAMPLED)

EVENT_NAME = "gen_ai.client.inference.operation.details"
"""Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-events.md"""


class Encoder:
    """Encodes for one resource: this program, as `OTEL_RESOURCE_ATTRIBUTES` and the detectors describe it."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.resource = Resource.create(dict(attributes))

    def spans(self, spans: Sequence[Span]) -> bytes:
        """An `ExportTraceServiceRequest`."""
        return bytes(encode_spans([self._readable(span) for span in spans]).SerializeToString())

    def logs(self, spans: Sequence[Span]) -> bytes:
        """An `ExportLogsServiceRequest` with a record of each call's span."""
        return bytes(encode_logs([self._record(span) for span in spans]).SerializeToString())

    def metrics(self, points: Points, *, delta: bool) -> bytes:
        """An `ExportMetricsServiceRequest`."""
        scope = ScopeMetrics(SCOPE, as_metrics(points, delta=delta), "")
        return bytes(encode_metrics(MetricsData([ResourceMetrics(self.resource, [scope], "")])).SerializeToString())

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=self.resource,
            attributes=span.attributes,
            events=_exceptions(span),
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error.message),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=SCOPE,
        )

    def _record(self, span: Span) -> ReadableLogRecord:
        record = LogRecord(
            timestamp=span.end_ns,
            observed_timestamp=span.end_ns,
            context=set_span_in_context(NonRecordingSpan(_context(span.trace_id, span.span_id)), Context()),
            severity_number=SeverityNumber.INFO if span.error is None else SeverityNumber.ERROR,
            severity_text="INFO" if span.error is None else "ERROR",
            body=span.name if span.error is None else span.error.message,
            attributes=span.attributes,
            event_name=EVENT_NAME,
        )
        return ReadableLogRecord(record, self.resource, SCOPE)


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=SAMPLED)


def _exceptions(span: Span) -> list[Event]:
    if span.error is None:
        return []
    told = {"exception.type": span.error.error_class, "exception.message": span.error.message}
    return [Event("exception", told, span.end_ns)]
