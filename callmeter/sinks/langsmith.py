"""Calls as LangSmith runs, by its OTLP endpoint; nothing of its SDK runs here.

Source: https://docs.langchain.com/langsmith/trace-with-opentelemetry
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from callmeter.events.model import CallEnded
from callmeter.events.spans import Attributes, Span
from callmeter.settings import Settings
from callmeter.sinks.otlp.costs import sides
from callmeter.sinks.otlp.environ import Target, checked_url, require_packages, share
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces
from callmeter.sinks.registry import needed
from callmeter.types import Secret

CLOUD = "https://api.smith.langchain.com"

_KINDS = {"embedding": "embedding", "rerank": "retriever"}

_SAID = frozenset({"run_name", "project_name", "session_name"})
"""Keys of a call's metadata that name something else than the call."""


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what LangSmith reads: run type, usage with its cost, tags and metadata."""
    call = event.call
    known = {
        **{name: text for name, text in call.metadata.items() if name not in _SAID},
        "ls_provider": call.provider,
        "ls_model_name": event.response_model or call.model,
        "user_id": call.user,
        "session_id": call.session_id,
    }
    found: Attributes = {f"langsmith.metadata.{name}": text for name, text in known.items() if text}
    if call.tags:
        found["langsmith.span.tags"] = ",".join(call.tags)
    if span.attempt is not None:
        return replace(span, attributes={**span.attributes, **found, "langsmith.span.kind": "chain"})
    found["langsmith.span.kind"] = _KINDS.get(call.operation, "llm")
    found["gen_ai.system"] = str(span.attributes.get("gen_ai.provider.name", ""))
    if call.metadata.get("run_name"):
        found["langsmith.trace.name"] = call.metadata["run_name"]
    if usage := _usage(event):
        found["langsmith.usage_metadata"] = msgspec.json.encode(usage).decode()
    for old, new in (("gen_ai.prompt", "gen_ai.input.messages"), ("gen_ai.completion", "gen_ai.output.messages")):
        if new in span.attributes:
            found[old] = span.attributes[new]
    return replace(span, attributes={**span.attributes, **found})


def _usage(event: CallEnded) -> dict[str, Any]:
    """LangSmith's usage, whose totals include their parts as ours do, and its costs."""
    found: dict[str, Any] = {}
    usage = event.usage
    if usage is not None:
        given = {
            "cache_read": usage.cache_read_tokens,
            "cache_creation": usage.cache_write_tokens + usage.cache_write_1h_tokens,
            "audio": usage.input_audio_tokens,
        }
        made = {"reasoning": usage.reasoning_tokens, "audio": usage.output_audio_tokens}
        found = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        found["total_tokens"] = usage.total_tokens
        found["input_token_details"] = {name: count for name, count in given.items() if count}
        found["output_token_details"] = {name: count for name, count in made.items() if count}
    if event.cost.total is not None:
        input_usd, output_usd = sides(event.cost)
        found |= {"input_cost": float(input_usd), "output_cost": float(output_usd)}
        found["total_cost"] = float(event.cost.total)
    return found


class LangSmith(OtlpTraces):
    """Runs of a project, with callmeter's cost in place of LangSmith's estimate."""

    name: ClassVar[str] = "langsmith"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self,
        api_key: str,
        *,
        url: str = CLOUD,
        project: str = "",
        workspace: str = "",
        capture_content: bool = False,
        sample: float = 1.0,
    ) -> None:
        """Raises `ConfigError` for a URL that is no address."""
        address = checked_url(url, "LANGSMITH_ENDPOINT").rstrip("/") + "/otel/v1/traces"
        headers = {"x-api-key": api_key, "langsmith-project": project, "x-tenant-id": workspace}
        super().__init__(
            Target(url=address, headers={name: Secret(text) for name, text in headers.items() if text}, gzip=True),
            {"service.name": "callmeter"},
            capture_content=capture_content,
            sample=sample,
        )


def make(settings: Settings, environ: Mapping[str, str]) -> LangSmith:
    """The sink `langsmith`, by the variables of its SDK, today's names before the older ones."""
    require_packages("langsmith", environ)

    def either(*names: str) -> str:
        return next((environ[name] for name in names if environ.get(name)), "")

    return LangSmith(
        either("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
        or needed(environ, "LANGSMITH_API_KEY", "langsmith", "an API key of the workspace"),
        url=either("LANGSMITH_ENDPOINT", "LANGSMITH_BASE_URL", "LANGCHAIN_ENDPOINT") or CLOUD,
        project=either("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT") or settings.project,
        workspace=either("LANGSMITH_WORKSPACE_ID", "LANGSMITH_TENANT_ID"),
        capture_content=settings.capture_content,
        sample=share("LANGSMITH_SAMPLING_RATE", environ),
    )
