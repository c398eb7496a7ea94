"""Calls as OpenTelemetry log records, one each: for those who keep logs but no traces."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from callmeter.events.model import CallEnded
from callmeter.events.spans import spans_of
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import require_packages, resource, target
from callmeter.sinks.otlp.sink import OtlpSink
from callmeter.sinks.otlp.traces import captures


class OtlpLogs(OtlpSink):
    """Each ended call as an event `gen_ai.client.inference.operation.details`, with the attributes of its span.

    A log record has no id that backends dedupe by: one of which it is not known whether it was taken becomes a dead
    letter. `callmeter.event.id` tells copies apart.
    """

    name: ClassVar[str] = "otlp_logs"

    rejected: ClassVar[str] = "rejected_log_records"
    response: ClassVar[str] = "opentelemetry.proto.collector.logs.v1.logs_service_pb2.ExportLogsServiceResponse"
    method: ClassVar[str] = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

    def payload(self, events: Sequence[CallEnded]) -> bytes:
        """An `ExportLogsServiceRequest`."""
        return self.encoder.logs([spans_of(event)[0] for event in events])


def make(settings: Settings, environ: Mapping[str, str]) -> OtlpLogs:
    """The sink `otlp_logs`, by OpenTelemetry's standard variables."""
    require_packages("otlp_logs", environ)
    return OtlpLogs(
        target("logs", environ),
        resource(settings, environ),
        capture_content=captures(settings, environ, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"),
    )
