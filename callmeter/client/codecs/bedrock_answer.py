"""What Converse's answers say, whole or streamed, and what its words mean in OpenAI's.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.usage import InvalidUsage, at, checked, count, metered, required
from callmeter.types import Usage

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "stop",
    "malformed_tool_use": "stop",
}

FREE = frozenset({"wordPolicyUnits", "sensitiveInformationPolicyFreeUnits"})
"""Units of a guardrail that nothing is charged for. Source: https://aws.amazon.com/bedrock/pricing/#Guardrails"""


class WireReasoningText(Struct, gc=False):
    text: str | None = None
    signature: str | None = None


class WireReasoning(Struct, rename="camel", gc=False):
    """Thinking: whole in `reasoning_text`, in pieces beside it; `redacted_content` is base64."""

    reasoning_text: WireReasoningText | None = None
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class WireCited(Struct, gc=False):
    """Text with what it rests on."""

    content: list[JSON] | None = None
    citations: list[JSON] | None = None


class WireBlock(Struct, rename="camel", gc=False):
    """A block of an answer, one member of which is there; blocks of other kinds are not looked into."""

    text: str | None = None
    tool_use: JSON | None = None
    tool_result: JSON | None = None
    reasoning_content: WireReasoning | None = None
    citations_content: WireCited | None = None
    image: JSON | None = None


class WireMessage(Struct):
    content: list[WireBlock] | None = None


class WireOutput(Struct):
    message: WireMessage | None = None


class WireTold(Struct, rename="camel", gc=False):
    """What is told of an answer beside its content: in its body, or in a stream's last event."""

    usage: Any = None
    trace: Any = None
    service_tier: Any = None
    performance_config: Any = None


class WireAnswer(WireTold, rename="camel"):
    """A whole answer."""

    output: WireOutput | None = None
    stop_reason: str = ""
    additional_model_response_fields: Any = None


def finish(reason: str, *, tools_called: bool) -> str:
    """OpenAI's word for a stop reason. A forced tool that only carried the answer was no tool call."""
    found = FINISH.get(reason, "stop")
    return "stop" if found == "tool_calls" and not tools_called else found


def notes(reason: str, fields: Any, trace: Any) -> JSON | None:
    """What is shown to the caller as it came: the stop reason, fields of the model's own, a guardrail's verdicts."""
    told = {"native_finish_reason": reason, "additional_model_response_fields": fields, "trace": trace}
    return {name: value for name, value in told.items() if value} or None


def meter(told: WireTold) -> Meter:
    """Counts, tier and units of an answer. Counts that make no sense are a problem and not a usage."""
    found = metered(told.usage, lambda raw: usage(raw, told.trace), service_tier=tier(told))
    model = at(told.trace, "promptRouter.invokedModelId")
    return msgspec.structs.replace(found, model=_priced_as(model)) if isinstance(model, str) else found


def tier(told: WireTold) -> str:
    """The tier that served the call; latency-optimised inference has a price of its own, as tiers have."""
    if at(told.performance_config, "latency") == "optimized":
        return "optimized"
    named = at(told.service_tier, "type")
    return named if isinstance(named, str) else ""


def _priced_as(model: str) -> str:
    """The name a price goes by, of a model or of its ARN."""
    return model.rpartition("/")[2]


def usage(raw: Any, trace: Any = None) -> Usage:
    """Converse's counts as ours. Raises `InvalidUsage` naming the count that is none.

    It counts uncached input, cache reads and cache writes apart; ours is their sum. Which writes live for an hour, a
    list beside them says.
    """
    read = count(raw, "cacheReadInputTokens") or 0
    written = count(raw, "cacheWriteInputTokens") or 0
    hour = _written_for_an_hour(raw)
    if hour > written:
        raise InvalidUsage(f"cacheDetails has {hour} tokens of an hour, of {written} written in all")
    return Usage(
        input_tokens=required(raw, "inputTokens") + read + written,
        output_tokens=required(raw, "outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written - hour,
        cache_write_1h_tokens=hour,
        units=_guarded(trace),
    )


def _written_for_an_hour(raw: JSON) -> int:
    listed = raw.get("cacheDetails")
    kept = (item for item in (listed if isinstance(listed, list) else ()) if at(item, "ttl") == "1h")
    return sum(checked(at(item, "inputTokens"), "cacheDetails.1h.inputTokens") for item in kept)


def _guarded(trace: Any) -> dict[str, int]:
    """What a guardrail looked at, in the units it is charged by; only a trace tells of it."""
    found: dict[str, int] = {}
    for assessment in _assessments(at(trace, "guardrail")):
        counts = at(assessment, "invocationMetrics.usage")
        for name, value in counts.items() if isinstance(counts, dict) else ():
            if value and name not in FREE:
                line = f"guardrail.{name}"
                found[line] = found.get(line, 0) + checked(value, f"trace.guardrail.{name}")
    return found


def _assessments(guardrail: Any) -> Iterator[Any]:
    """Those of the prompt, one a guardrail, and those of the answer, a list a guardrail."""
    inputs, outputs = (at(guardrail, name) for name in ("inputAssessment", "outputAssessments"))
    yield from inputs.values() if isinstance(inputs, dict) else ()
    for listed in outputs.values() if isinstance(outputs, dict) else ():
        yield from listed if isinstance(listed, list) else ()


def annotation(citation: JSON, start: int, end: int) -> JSON | None:
    """A citation of a page of the web as OpenAI has those; None for one of a document."""
    url = at(citation, "location.web.url")
    if not isinstance(url, str):
        return None
    span: JSON = {"start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": span | {"title": str(citation.get("title") or ""), "url": url}}
