"""An ended call as spans with OpenTelemetry's GenAI attributes: one for it, one for each of several attempts. Pure.

The names are those of the GenAI semantic conventions as of November 2026, which are in development and keep moving;
this module is the only one that knows them. What they have no name for stands under `callmeter.`, costs above all.
Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from callmeter.events.messages import input_messages, output_messages
from callmeter.events.model import Attempt, CallEnded, CallFacts, Content, ErrorFacts
from callmeter.events.trace import is_span_id, span_id, span_id_of, trace_id
from callmeter.types import Cost, Usage

Value = str | bool | int | float | Sequence[str]
"""What an attribute can hold."""

Attributes = dict[str, Value]

COST = "gen_ai.usage.cost"
"""USD. No convention yet, but the name that most readers know."""


class Span(Struct, frozen=True, kw_only=True):
    """One span, as any exporter needs it. Times are ns since the epoch UTC."""

    name: str
    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str = ""
    """16 hex digits, or empty at a trace's root."""
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    error: ErrorFacts | None = None
    attempt: Attempt | None = None
    """The attempt this is about; None on the call's own span."""


def spans_of(event: CallEnded) -> tuple[Span, ...]:
    """The call's span, then its attempts', in order. Prompts and answers are on the call's if the event has them.

    A call of one attempt is that attempt, so it has one span. Usage and cost stand on the call's span alone: readers
    add up what the spans of a trace say.
    """
    call = event.call
    whole = Span(
        name=f"{_operation(call)} {call.model or call.model_requested}".rstrip(),
        trace_id=trace_id(call),
        span_id=span_id(call),
        parent_id=call.parent_id if is_span_id(call.parent_id) else "",
        start_ns=call.at_ns,
        end_ns=call.at_ns + round(event.latency_s * 1e9),
        attributes=call_attributes(event),
        error=event.error,
    )
    attempts = event.attempts if len(event.attempts) > 1 else ()
    return (whole, *(_attempt_span(whole, event, attempt) for attempt in attempts))


def first_chunk_ns(event: CallEnded) -> int | None:
    """When a stream's first chunk with content came, ns since the epoch UTC; None where there was none."""
    if event.time_to_first_chunk_s is None:
        return None
    sent_ns = event.attempts[-1].at_ns if event.attempts else event.call.at_ns
    return sent_ns + round(event.time_to_first_chunk_s * 1e9)


def call_attributes(event: CallEnded) -> Attributes:
    """Everything that is said about a call as a whole."""
    found = dict(_shared(event.call))
    found |= _named(event)
    found |= _usage(event.usage)
    found |= _cost(event.cost)
    found |= _ours(event)
    if event.error is not None:
        found |= _error(event.error)
    if event.content is not None:
        found |= _content(event.content)
    return {name: value for name, value in found.items() if value not in ("", ())}


# --- what the model of events names itself


def _attribute_names(kind: type) -> Mapping[str, str]:
    """Attribute by field, for the fields that the struct marks with `otel(…)`."""
    names = {}
    for field, hint in get_type_hints(kind, include_extras=True).items():
        marks = get_args(hint)[1:] if get_origin(hint) is not None else ()
        extra = next((mark.extra for mark in marks if isinstance(mark, Meta) and mark.extra), {})
        if "otel" in extra:
            names[field] = extra["otel"]
    return MappingProxyType(names)


_NAMES = {kind: _attribute_names(kind) for kind in (CallFacts, CallEnded, ErrorFacts)}

_AS_METRIC = frozenset({"latency_s"})
"""Marked with the metric it becomes; a span has its own times."""


def _named(of: CallEnded | CallFacts | ErrorFacts) -> Attributes:
    kind = next(kind for kind in _NAMES if isinstance(of, kind))
    found: Attributes = {}
    for field, name in _NAMES[kind].items():
        value = getattr(of, field)
        if value is None or field in _AS_METRIC:
            continue
        found |= _SHAPED[name](value) if name in _SHAPED else {name: value}
    return found


_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_anthropic": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Our names for providers that the conventions name otherwise; ours stays in `callmeter.provider`."""

_OPERATIONS = {"embedding": "embeddings", "image_generation": "generate_content", "responses": "chat"}

_OUTPUTS = {"image_generation": "image", "speech": "speech", "transcription": "text"}


def _operation(call: CallFacts) -> str:
    return _OPERATIONS.get(call.operation, call.operation)


def _server(url: str) -> Attributes:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return {}
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname else {}


_SHAPED: Mapping[str, Callable[[Any], Attributes]] = {
    "gen_ai.operation.name": lambda name: {"gen_ai.operation.name": _OPERATIONS.get(name, name)},
    "gen_ai.provider.name": lambda name: {"gen_ai.provider.name": _PROVIDERS.get(name, name)},
    "gen_ai.response.finish_reasons": lambda reason: {"gen_ai.response.finish_reasons": (reason,) if reason else ()},
    "server.address": _server,
}


# --- one function for each subject


def _shared(call: CallFacts) -> Iterator[tuple[str, Value]]:
    """Who asked whom for what: on the call's span and on those of its attempts."""
    yield from _named(call).items()
    if call.stream:
        yield "gen_ai.request.stream", True
    yield "gen_ai.output.type", _OUTPUTS.get(call.operation, "")
    for name, value in call.parameters.items():
        yield _PARAMETERS.get(name, f"callmeter.request.{name}"), value
    yield "user.id", call.user
    yield "session.id", call.session_id
    yield "gen_ai.conversation.id", call.session_id
    for name in _LABELS:
        yield f"callmeter.{name}", getattr(call, name)
    for name, text in call.metadata.items():
        yield f"callmeter.metadata.{name}", text


_LABELS = (
    "call_id provider model_requested deployment region project team key_id customer feature environment tags".split()
)

_PARAMETERS = {
    "n": "gen_ai.request.choice.count",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "reasoning_effort": "gen_ai.request.reasoning.level",
} | {
    name: f"gen_ai.request.{name}"
    for name in "temperature top_p top_k max_tokens frequency_penalty presence_penalty seed".split()
}


def _usage(usage: Usage | None) -> Attributes:
    """Counts. What is not known is left out, so that nobody reads it as none."""
    if usage is None:
        return {}
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    parts = {
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_write.input_tokens": written,
        # The name before 2026, which half of the readers still look for; the others take either.
        "cache_creation.input_tokens": written,
        "reasoning.output_tokens": usage.reasoning_tokens,
        "audio.input_tokens": usage.input_audio_tokens,
        "audio.output_tokens": usage.output_audio_tokens,
        "audio.cache_read.input_tokens": usage.cache_read_audio_tokens,
        "image.input_tokens": usage.input_image_tokens,
        "image.output_tokens": usage.output_image_tokens,
        "video.input_tokens": usage.input_video_tokens,
    }
    found: Attributes = {"gen_ai.usage.input_tokens": usage.input_tokens}
    found["gen_ai.usage.output_tokens"] = usage.output_tokens
    found |= {f"gen_ai.usage.{name}": count for name, count in parts.items() if count}
    return found | {f"callmeter.usage.{line}": float(quantity) for line, quantity in usage.units.items()}


def _cost(cost: Cost) -> Attributes:
    """The cost in USD: as a float, which readers add up, and as exact text, which agrees with the ledger."""
    found: Attributes = {"callmeter.cost.status": cost.status, "callmeter.cost.reason": cost.reason}
    if cost.total is not None:
        found |= {COST: float(cost.total), "callmeter.cost.total": float(cost.total)}
        found |= {"callmeter.cost.exact": format(cost.total, "f"), "callmeter.cost.currency": cost.currency}
        found |= {f"callmeter.cost.line.{line}": float(usd) for line, usd in by_line(cost).items()}
    for name in ("low", "high", "reported", "saved"):
        amount = getattr(cost, name)
        if amount is not None:
            found[f"callmeter.cost.{name}"] = float(amount)
    if cost.estimated:
        found["callmeter.cost.estimated"] = True
    found["callmeter.cost.table"] = cost.table
    return found


def by_line(cost: Cost) -> dict[str, Decimal]:
    """USD by line, lines of the same name together."""
    sums: dict[str, Decimal] = {}
    for item in cost.items:
        sums[item.line] = sums.get(item.line, Decimal(0)) + item.amount
    return sums


def _ours(event: CallEnded) -> Attributes:
    """What the conventions have no name for."""
    found: Attributes = {
        "callmeter.event.id": event.id,
        "callmeter.attempts": len(event.attempts),
        "callmeter.service_tier": event.service_tier or event.call.service_tier,
        "callmeter.usage.source": event.usage_source,
        "callmeter.usage.problem": event.usage_problem,
        "callmeter.prompt_hash": event.prompt_hash,
        "callmeter.overhead_s": event.overhead_s,
        "callmeter.retry_wait_s": event.retry_wait_s,
        "callmeter.prompt_bytes": event.call.prompt_bytes,
        "callmeter.answer_bytes": event.answer_bytes,
    }
    if event.cache_hit is not None:
        found["callmeter.cache.hit"] = event.cache_hit
    return found


def _error(error: ErrorFacts) -> Attributes:
    found = _named(error)
    if error.http_status is not None:
        found["http.response.status_code"] = error.http_status
    found["callmeter.error.code"] = error.code
    found["callmeter.error.request_id"] = error.request_id
    return found


def _content(content: Content) -> Attributes:
    found: Attributes = {}
    if content.messages is not None:
        found["gen_ai.input.messages"] = input_messages(content.messages)
    if content.completion is not None:
        found["gen_ai.output.messages"] = output_messages(content.completion)
    return found


# --- attempts


def _attempt_span(whole: Span, event: CallEnded, attempt: Attempt) -> Span:
    found = dict(_shared(event.call))
    found |= {
        **_SHAPED["gen_ai.provider.name"](attempt.provider),
        **_server(attempt.api_base),
        "gen_ai.request.model": attempt.model,
        "callmeter.provider": attempt.provider,
        "callmeter.deployment": attempt.deployment,
        "callmeter.attempt.number": attempt.number,
        "callmeter.attempt.reason": attempt.reason,
        "callmeter.attempt.wait_s": attempt.wait_s,
    }
    # An operation would make readers count the attempt as another call of the model.
    del found["gen_ai.operation.name"]
    if attempt.billable is not None:
        found["callmeter.attempt.billable"] = attempt.billable
    if attempt.cost is not None and attempt.cost.total is not None:
        found["callmeter.attempt.cost"] = float(attempt.cost.total)
    if attempt.usage is not None:
        found["callmeter.attempt.input_tokens"] = attempt.usage.input_tokens
        found["callmeter.attempt.output_tokens"] = attempt.usage.output_tokens
    if attempt.error is not None:
        found |= _error(attempt.error)
    return Span(
        name=f"attempt {attempt.number} {attempt.model}",
        trace_id=whole.trace_id,
        span_id=span_id_of(event.call.call_id, attempt.number),
        parent_id=whole.span_id,
        start_ns=attempt.at_ns or whole.start_ns,
        end_ns=(attempt.at_ns or whole.start_ns) + round(attempt.latency_s * 1e9),
        attributes={name: value for name, value in found.items() if value not in ("", ())},
        error=attempt.error,
        attempt=attempt,
    )
