"""Calls as spans at Traceloop, in the words of its OpenLLMetry; nothing of its SDK runs here.

Source: https://www.traceloop.com/docs/openllmetry/contributing/semantic-conventions
"""

from collections.abc import Mapping
from typing import ClassVar

from msgspec.structs import replace

from callmeter.events.model import CallEnded
from callmeter.events.spans import Attributes, Span
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target, checked_url, require_packages, secret_headers
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces, captures
from callmeter.sinks.registry import needed
from callmeter.types import Secret

CLOUD = "https://api.traceloop.com"


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what Traceloop reads: properties to filter by, and names from before the conventions."""
    call = event.call
    about = {**call.metadata, "user_id": call.user, "session_id": call.session_id, "tags": ",".join(call.tags)}
    found: Attributes = {f"traceloop.association.properties.{name}": text for name, text in about.items() if text}
    if span.attempt is None:
        found |= {"gen_ai.system": str(span.attributes.get("gen_ai.provider.name", ""))}
        found |= {"llm.request.type": call.operation, "llm.is_streaming": call.stream}
        if event.usage is not None:
            found["gen_ai.usage.total_tokens"] = event.usage.total_tokens
    return replace(span, attributes={**span.attributes, **found})


class Traceloop(OtlpTraces):
    """Spans of the project that the key belongs to. Traceloop prices calls itself, from the token counts."""

    name: ClassVar[str] = "traceloop"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self,
        api_key: str,
        *,
        url: str = CLOUD,
        headers: Mapping[str, Secret] | None = None,
        capture_content: bool = False,
    ) -> None:
        """Raises `ConfigError` for a URL that is no address."""
        address = checked_url(url, "TRACELOOP_BASE_URL").rstrip("/") + "/v1/traces"
        super().__init__(
            Target(url=address, headers={"authorization": Secret(f"Bearer {api_key}"), **(headers or {})}, gzip=True),
            {"service.name": "callmeter"},
            capture_content=capture_content,
        )


def make(settings: Settings, environ: Mapping[str, str]) -> Traceloop:
    """The sink `traceloop`, by the variables of its SDK."""
    require_packages("traceloop", environ)
    return Traceloop(
        needed(environ, "TRACELOOP_API_KEY", "traceloop", "an API key of the project"),
        url=environ.get("TRACELOOP_BASE_URL") or CLOUD,
        headers=secret_headers(environ.get("TRACELOOP_HEADERS", ""), "TRACELOOP_HEADERS"),
        capture_content=captures(settings, environ, "TRACELOOP_TRACE_CONTENT"),
    )
