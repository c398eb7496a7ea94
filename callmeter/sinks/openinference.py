"""Calls in the words of OpenInference, to Arize Phoenix and to Arize.

Phoenix ignores costs that are sent and prices calls by its own table, so what it shows may differ from callmeter's; the
exact cost is among the span's attributes. The environment is that of Phoenix's and Arize's own clients.
Sources: https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
and https://arize.com/docs/phoenix/tracing/how-to-tracing/setup-tracing
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from callmeter.events.model import CallEnded
from callmeter.events.spans import Attributes, Span, Value, by_line
from callmeter.settings import Settings
from callmeter.sinks.otlp.costs import sides
from callmeter.sinks.otlp.environ import Target, checked_url, require_packages, secret_headers
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces
from callmeter.sinks.registry import needed
from callmeter.types import Secret

LOCAL = "http://localhost:6006"
ARIZE = "https://otlp.arize.com/v1/traces"

_KINDS = {"chat": "LLM", "text_completion": "LLM", "embedding": "EMBEDDING", "rerank": "RERANKER"}

_DETAILS = {
    "cache_read": "prompt_details.cache_read",
    "cache_write_5m": "prompt_details.cache_write",
    "audio_in": "prompt_details.audio",
    "reasoning": "completion_details.reasoning",
    "audio_out": "completion_details.audio",
}
"""OpenInference's name for a line of the cost."""


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what Phoenix reads."""
    if span.attempt is not None:
        return replace(span, attributes={**span.attributes, "openinference.span.kind": "CHAIN"})
    found: Attributes = {"openinference.span.kind": _KINDS.get(event.call.operation, "LLM")}
    found |= dict(_asked(event))
    found |= dict(_counted(event))
    found |= dict(_charged(event))
    found |= dict(_said(span.attributes))
    return replace(
        span, attributes={**span.attributes, **{name: value for name, value in found.items() if value != ""}}
    )


def _asked(event: CallEnded) -> Iterator[tuple[str, Value]]:
    call = event.call
    yield "llm.model_name", event.response_model or call.model
    yield "llm.request.model_name", call.model
    yield "llm.response.model_name", event.response_model
    yield "llm.provider", call.provider
    yield "llm.finish_reason", event.finish_reason
    if call.parameters:
        yield "llm.invocation_parameters", msgspec.json.encode(call.parameters).decode()
    if call.tags:
        yield "tag.tags", call.tags
    if call.metadata:
        yield "metadata", msgspec.json.encode(call.metadata).decode()


def _counted(event: CallEnded) -> Iterator[tuple[str, Value]]:
    usage = event.usage
    if usage is None:
        return
    yield "llm.token_count.prompt", usage.input_tokens
    yield "llm.token_count.completion", usage.output_tokens
    yield "llm.token_count.total", usage.total_tokens
    details = {
        "prompt_details.cache_read": usage.cache_read_tokens,
        "prompt_details.cache_write": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "prompt_details.audio": usage.input_audio_tokens,
        "completion_details.reasoning": usage.reasoning_tokens,
        "completion_details.audio": usage.output_audio_tokens,
    }
    for name, count in details.items():
        if count:
            yield f"llm.token_count.{name}", count


def _charged(event: CallEnded) -> Iterator[tuple[str, Value]]:
    if event.cost.total is None:
        return
    given, made = sides(event.cost)
    yield "llm.cost.prompt", float(given)
    yield "llm.cost.completion", float(made)
    yield "llm.cost.total", float(event.cost.total)
    for line, usd in by_line(event.cost).items():
        if line in _DETAILS:
            yield f"llm.cost.{_DETAILS[line]}", float(usd)


def _said(attributes: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """The captured messages, whole and taken apart."""
    for side, prefix, value in (
        ("input", "llm.input_messages", "input.value"),
        ("output", "llm.output_messages", "output.value"),
    ):
        text = attributes.get(f"gen_ai.{side}.messages")
        if not isinstance(text, str):
            continue
        yield value, text
        yield f"{side}.mime_type", "application/json"
        for number, message in enumerate(msgspec.json.decode(text)):
            yield from _message(f"{prefix}.{number}.message", message)


def _message(prefix: str, message: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    yield f"{prefix}.role", str(message.get("role"))
    parts = message.get("parts") or ()
    texts = [part["content"] for part in parts if part.get("type") == "text"]
    texts += [_as_text(part.get("response")) for part in parts if part.get("type") == "tool_call_response"]
    if texts:
        yield f"{prefix}.content", "\n".join(texts)
    calls = [part for part in parts if part.get("type") == "tool_call"]
    for number, call in enumerate(calls):
        tool = f"{prefix}.tool_calls.{number}.tool_call"
        yield f"{tool}.id", call.get("id") or ""
        yield f"{tool}.function.name", call.get("name") or ""
        yield f"{tool}.function.arguments", _as_text(call.get("arguments"))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Phoenix(OtlpTraces):
    """Spans of a project of a Phoenix server. It acknowledges what it has queued, and ignores a span it has."""

    name: ClassVar[str] = "arize_phoenix"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self,
        url: str = LOCAL,
        *,
        api_key: str = "",
        project: str = "default",
        headers: Mapping[str, Secret] | None = None,
        capture_content: bool = False,
    ) -> None:
        """Raises `ConfigError` for a URL that is no address."""
        address = checked_url(url, "PHOENIX_COLLECTOR_ENDPOINT").rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
        secrets = {**(headers or {}), **({"authorization": Secret(f"Bearer {api_key}")} if api_key else {})}
        super().__init__(
            Target(url=address, headers=secrets, gzip=True),
            {"service.name": "callmeter", "openinference.project.name": project},
            capture_content=capture_content,
        )


class Arize(OtlpTraces):
    """Spans of a space of Arize. Written from its documentation alone."""

    name: ClassVar[str] = "arize"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self, space_id: str, api_key: str, *, url: str = ARIZE, project: str = "default", capture_content: bool = False
    ) -> None:
        """Raises `ConfigError` for a URL that is no address."""
        super().__init__(
            Target(
                url=checked_url(url, "ARIZE_HTTP_ENDPOINT"),
                headers={"space_id": Secret(space_id), "api_key": Secret(api_key)},
                gzip=True,
            ),
            {"service.name": "callmeter", "model_id": project, "openinference.project.name": project},
            capture_content=capture_content,
        )


def make(settings: Settings, environ: Mapping[str, str]) -> Phoenix:
    """The sink `arize_phoenix`, by the variables of Phoenix's client; without any, Phoenix on this machine."""
    require_packages("arize_phoenix", environ)
    urls = ("PHOENIX_COLLECTOR_HTTP_ENDPOINT", "PHOENIX_COLLECTOR_ENDPOINT")
    return Phoenix(
        next((environ[name] for name in urls if environ.get(name)), LOCAL),
        api_key=environ.get("PHOENIX_API_KEY", ""),
        project=environ.get("PHOENIX_PROJECT_NAME") or settings.project or "default",
        headers=secret_headers(environ.get("PHOENIX_CLIENT_HEADERS", ""), "PHOENIX_CLIENT_HEADERS"),
        capture_content=settings.capture_content,
    )


def make_arize(settings: Settings, environ: Mapping[str, str]) -> Arize:
    """The sink `arize`, by the variables of Arize's client."""
    require_packages("arize", environ)
    return Arize(
        needed(environ, "ARIZE_SPACE_ID", "arize", "the id of the space"),
        needed(environ, "ARIZE_API_KEY", "arize", "an API key of the space"),
        url=environ.get("ARIZE_HTTP_ENDPOINT") or environ.get("ARIZE_ENDPOINT") or ARIZE,
        project=environ.get("ARIZE_PROJECT_NAME") or settings.project or "default",
        capture_content=settings.capture_content,
    )
