"""OTLP requests as OpenTelemetry's own protobufs read them."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def spans(body: bytes) -> list[Span]:
    """Every span of a request; none of what is no such request."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except Exception:
        return []
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def resource(body: bytes) -> dict[str, Any]:
    """The attributes of the request's only resource."""
    (only,) = ExportTraceServiceRequest.FromString(body).resource_spans
    return attributes(only.resource)


def attributes(of: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {pair.key: plain(pair.value) for pair in of.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def span_ids(body: bytes) -> list[str]:
    """The ids of the calls' own spans, which is what backends tell them by."""
    return [span.span_id.hex() for span in spans(body) if not span.name.startswith("attempt ")]
