"""Calls as spans, to an OpenTelemetry collector or any backend that takes OTLP."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import ClassVar

from callmeter.events.model import CallEnded, CallFacts
from callmeter.events.spans import Span, spans_of
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target, require_packages, resource, sample_rate, target
from callmeter.sinks.otlp.sink import OtlpSink

Dialect = Callable[[CallEnded, Span], Span]
"""Adds to a span what one backend reads. The span's attempt tells an attempt's span from the call's."""


class OtlpTraces(OtlpSink):
    """Each ended call as a span, with its attempts below it where there were several.

    Ids and times follow from the event, so what is sent twice is the same span. A call whose parent is not sampled is
    left out; of those without a parent, `sample` says the share that is sent.
    """

    name: ClassVar[str] = "otlp"
    dedupe_key: ClassVar[str] = "span id"
    dialects: ClassVar[tuple[Dialect, ...]] = ()

    rejected: ClassVar[str] = "rejected_spans"
    response: ClassVar[str] = "opentelemetry.proto.collector.trace.v1.trace_service_pb2.ExportTraceServiceResponse"
    method: ClassVar[str] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

    def __init__(
        self, target: Target, resource: Mapping[str, str], *, capture_content: bool = False, sample: float = 1.0
    ) -> None:
        super().__init__(target, resource, capture_content=capture_content)
        self._sample = sample

    def takes(self, call: CallFacts) -> bool:
        """Whether the call is among those that are traced; the same for every call of a trace."""
        if call.parent_id or not call.sampled or self._sample >= 1:
            return call.sampled
        drawn = int.from_bytes(sha256((call.trace_id or call.call_id).encode()).digest()[:8], "big")
        return drawn < int(self._sample * 2**64)

    def spans(self, event: CallEnded) -> list[Span]:
        """The spans of one call, as this backend reads them."""
        return [self._spoken(event, span) for span in spans_of(event)]

    def payload(self, events: Sequence[CallEnded]) -> bytes:
        """An `ExportTraceServiceRequest`."""
        return self.encoder.spans([span for event in events for span in self.spans(event)])

    def _spoken(self, event: CallEnded, span: Span) -> Span:
        for dialect in self.dialects:
            span = dialect(event, span)
        return span


def make(settings: Settings, environ: Mapping[str, str]) -> OtlpTraces:
    """The sink `otlp`, by OpenTelemetry's standard variables."""
    require_packages("otlp", environ)
    return OtlpTraces(
        target("traces", environ),
        resource(settings, environ),
        capture_content=captures(settings, environ, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"),
        sample=sample_rate(environ),
    )


def captures(settings: Settings, environ: Mapping[str, str], variable: str) -> bool:
    """Whether the sink is sent captured content: where it is captured at all, and the backend's own variable agrees."""
    off = environ.get(variable, "").strip().lower() in ("false", "0", "no", "no_content")
    return settings.capture_content and not off
