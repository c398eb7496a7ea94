"""Calls as Langfuse generations, by its own OTLP endpoint: nothing of its SDK runs here.

Source: https://langfuse.com/integrations/native/opentelemetry#property-mapping
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.events.model import CallEnded
from callmeter.events.spans import Attributes, Span, by_line, first_chunk_ns
from callmeter.events.trace import is_span_id, trace_id_of
from callmeter.pricing.quantities import InvalidUsage, disjoint
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target, checked_url, require_packages, seconds, share
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces, captures
from callmeter.sinks.registry import needed
from callmeter.types import Secret

CLOUD = "https://cloud.langfuse.com"

_BUCKETS = {
    "input": "input",
    "cache_read": "input_cached_tokens",
    "cache_write_5m": "input_cache_creation",
    "cache_write_1h": "input_cache_creation_1h",
    "audio_in": "input_audio_tokens",
    "cache_read_audio": "input_cached_audio_tokens",
    "image_in": "input_image_tokens",
    "video_in": "input_video_tokens",
    "output": "output",
    "reasoning": "output_reasoning_tokens",
    "audio_out": "output_audio_tokens",
    "image_out": "output_image_tokens",
}
"""Langfuse's names for lines. Its buckets are disjoint: it takes their sum for the total."""

_TYPES = {"chat": "generation", "text_completion": "generation", "embedding": "embedding"}

_TRACE_KEYS = {
    "trace_name": "langfuse.trace.name",
    "trace_user_id": "user.id",
    "trace_version": "langfuse.version",
    "trace_release": "langfuse.release",
    "version": "langfuse.version",
}
"""Keys of a call's metadata that say something about its trace, as existing code writes them."""

_OTHER_KEYS = frozenset(
    """existing_trace_id generation_name generation_id parent_observation_id trace_metadata update_trace_keys
    mask_input mask_output debug_langfuse prompt""".split()
)

_NO_COST = '{"unpriced":0}'
"""Said in place of a cost that is not known, and shown as none: without any, Langfuse would make one up."""

_MASK = "redacted"


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what Langfuse reads.

    What belongs to the trace is on every span: since its version 4 there is no other place for it.
    """
    found = {**span.attributes, **_trace(event), **_metadata(event)}
    if span.attempt is None:
        found |= _generation(event)
        found |= _content(event, found)
    else:
        found["langfuse.observation.type"] = "span"
    if span.error is not None:
        found["langfuse.observation.level"] = "ERROR"
        found["langfuse.observation.status_message"] = span.error.message
    return replace(_placed(event, span), attributes={name: value for name, value in found.items() if value != ""})


def _placed(event: CallEnded, span: Span) -> Span:
    """The span where the caller's metadata put it: in an existing trace, below an observation, under a name."""
    keys, own = event.call.metadata, span.attempt is None
    if keys.get("existing_trace_id"):
        span = replace(span, trace_id=trace_id_of(keys["existing_trace_id"]))
    if own and is_span_id(keys.get("parent_observation_id", "")):
        span = replace(span, parent_id=keys["parent_observation_id"])
    if is_span_id(keys.get("generation_id", "")):
        span = replace(span, **{"span_id" if own else "parent_id": keys["generation_id"]})
    return replace(span, name=keys["generation_name"]) if own and keys.get("generation_name") else span


def _trace(event: CallEnded) -> Attributes:
    """What is said of the trace; of an existing one only what the caller lists as to be changed."""
    call, keys = event.call, event.call.metadata
    said: dict[str, Attributes] = {key: {name: keys[key]} for key, name in _TRACE_KEYS.items() if keys.get(key)}
    about = _object(keys.get("trace_metadata"))
    said["trace_metadata"] = {f"langfuse.trace.metadata.{key}": text for key, text in about.items()}
    if call.tags:
        said["trace_tags"] = {"langfuse.trace.tags": call.tags}
    if "existing_trace_id" in keys:
        listed = {f"trace_{key.removeprefix('trace_')}" for key in _list(keys.get("update_trace_keys"))}
        said = {key: attributes for key, attributes in said.items() if key in listed}
    found: Attributes = {"langfuse.environment": call.environment.lower()}
    for attributes in said.values():
        found |= attributes
    return found


def _metadata(event: CallEnded) -> Attributes:
    """The caller's other metadata, as the observation's."""
    call = event.call
    said = _OTHER_KEYS | _TRACE_KEYS.keys()
    found: Attributes = {
        f"langfuse.observation.metadata.{key}": text for key, text in call.metadata.items() if key not in said
    }
    return found


def _generation(event: CallEnded) -> Attributes:
    found: Attributes = {
        "langfuse.observation.type": _TYPES.get(event.call.operation, "generation"),
        "langfuse.observation.model.name": event.response_model or event.call.model,
        "langfuse.observation.usage_details": _usage(event),
        "langfuse.observation.cost_details": _cost(event),
    }
    if event.call.parameters:
        found["langfuse.observation.model.parameters"] = _json(event.call.parameters)
    first_ns = first_chunk_ns(event)
    if first_ns is not None:
        instant = datetime.fromtimestamp(first_ns // 1000 / 1e6, UTC)
        found["langfuse.observation.completion_start_time"] = instant.isoformat().replace("+00:00", "Z")
    prompt = _object(event.call.metadata.get("prompt"))
    if prompt.get("name"):
        found["langfuse.observation.prompt.name"] = prompt["name"]
        found["langfuse.observation.prompt.version"] = (
            int(prompt["version"]) if prompt.get("version", "").isdigit() else 1
        )
    return found


def _content(event: CallEnded, found: Attributes) -> Attributes:
    """Captured messages as OpenAI has them, which Langfuse shows as a conversation; masked where the caller says so."""
    content, keys = event.content, event.call.metadata
    asked, answered = found.pop("gen_ai.input.messages", ""), found.pop("gen_ai.output.messages", "")
    if content is None or not (asked or answered):
        return {}
    choices = content.completion.get("choices") if isinstance(content.completion, dict) else None
    only = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    answer = only["message"] if isinstance(only, dict) and only.get("message") else content.completion
    shown = {"input": content.messages, "output": answer}
    return {
        f"langfuse.observation.{side}": _MASK if keys.get(f"mask_{side}", "").lower() == "true" else _json(value)
        for side, value in shown.items()
        if value is not None
    }


def _usage(event: CallEnded) -> str:
    """Counts by bucket; empty where nothing is known, so that Langfuse does not read it as none."""
    if event.usage is None:
        return ""
    try:
        lines = disjoint(event.usage)
    except InvalidUsage:
        return ""
    counts = {_BUCKETS[line]: quantity for line, quantity in lines if line in _BUCKETS}
    return _json(counts) if counts else ""


def _cost(event: CallEnded) -> str:
    """USD by bucket, and in all: a breakdown without its total shows an empty cost."""
    if event.cost.total is None:
        return _NO_COST
    parts = {_BUCKETS.get(line, line): float(usd) for line, usd in by_line(event.cost).items()}
    return _json({**parts, "total": float(event.cost.total)})


def _object(text: str | None) -> dict[str, str]:
    """Members of a JSON object in the metadata, each as text; none for anything else."""
    found = _decoded(text)
    members = found.items() if isinstance(found, dict) else ()
    return {key: value if isinstance(value, str) else _json(value) for key, value in members}


def _list(text: str | None) -> list[str]:
    """Texts of a JSON list in the metadata; none for anything else."""
    found = _decoded(text)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def _decoded(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "null")
    except msgspec.DecodeError:
        return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Langfuse(OtlpTraces):
    """Generations with their tokens, cost by bucket, time to the first token, user, session and tags.

    200 means queued: what Langfuse cannot convert later it does not report. 400 names a malformed span and refuses the
    whole request, which is then searched for it. Re-sent spans are merged by trace, span and start.
    """

    name: ClassVar[str] = "langfuse"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(
        self,
        public_key: str,
        secret_key: str,
        *,
        host: str = CLOUD,
        environment: str = "",
        release: str = "",
        capture_content: bool = False,
        sample: float = 1.0,
        timeout_s: float = 10.0,
    ) -> None:
        """Raises `ConfigError` for a host that is no address."""
        pair = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
        headers = {
            "authorization": Secret(f"Basic {pair}"),
            "x-langfuse-public-key": Secret(public_key),
            # Without it, spans go through a slow path that takes up to ten minutes to show them.
            "x-langfuse-ingestion-version": Secret("4"),
        }
        url = checked_url(host, "LANGFUSE_HOST").rstrip("/") + "/api/public/otel/v1/traces"
        named = {"langfuse.environment": environment, "langfuse.release": release, "service.name": "callmeter"}
        super().__init__(
            Target(url=url, headers=headers, gzip=True, timeout_s=timeout_s),
            {name: text for name, text in named.items() if text},
            capture_content=capture_content,
            sample=sample,
        )


def make(settings: Settings, environ: Mapping[str, str]) -> Langfuse:
    """The sink `langfuse`, by the variables of its SDK."""
    require_packages("langfuse", environ)
    if environ.get("LANGFUSE_TRACING_ENABLED", "").strip().lower() in ("false", "0"):
        raise ConfigError("LANGFUSE_TRACING_ENABLED is false; unset it to turn the sink 'langfuse' on")
    public = needed(environ, "LANGFUSE_PUBLIC_KEY", "langfuse", "the project's public key (pk-lf-…)")
    secret = needed(environ, "LANGFUSE_SECRET_KEY", "langfuse", "the project's secret key (sk-lf-…)")
    hosts = ("LANGFUSE_BASE_URL", "LANGFUSE_HOST", "LANGFUSE_OTEL_HOST")
    return Langfuse(
        public,
        secret,
        host=next((environ[name] for name in hosts if environ.get(name)), CLOUD),
        environment=environ.get("LANGFUSE_TRACING_ENVIRONMENT") or settings.environment,
        release=environ.get("LANGFUSE_RELEASE", ""),
        capture_content=captures(settings, environ, "LANGFUSE_CAPTURE_CONTENT"),
        sample=share("LANGFUSE_SAMPLE_RATE", environ),
        timeout_s=seconds("LANGFUSE_TIMEOUT", environ.get("LANGFUSE_TIMEOUT", "")),
    )
