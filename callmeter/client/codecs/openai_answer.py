"""An OpenAI-shaped answer read: typed and fast where it is the documented shape, patiently where it is nearly that."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from callmeter.client.codecs.base import Answer
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.openai_usage import openai_meter, raw_usage, shown_usage
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_from_payload
from callmeter.errors import APIError, APIResponseValidationError
from callmeter.shapes import Choice, Completion, Function, Message, ToolCall
from callmeter.types import Call, Deployment

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

NATIVE_FINISH: Mapping[str, str] = {
    "max_tokens": "length",
    "model_length": "length",  # Mistral: the window is full
    "insufficient_system_resource": "length",  # DeepSeek: cut short by the server
    "time_limit": "length",  # watsonx.ai: its own deadline came first
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "sensitive": "content_filter",  # Z.ai
    "refusal": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "blacklist": "content_filter",  # GigaChat
}
"""What servers say in place of OpenAI's five words, lower-cased; every other word (`eos`, `end_turn`, …) is a stop."""


class _Wire(Struct):
    """The documented answer. What is not listed is not ours to show."""

    id: str | None = None
    created: int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    choices: list[Choice] = []
    usage: Raw = Raw()
    citations: list[Any] | None = None


NOT_READ = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises: no JSON or another shape, broken UTF-8, thousands of brackets."""

_read_wire = msgspec.json.Decoder(_Wire).decode


def answer(body: bytes, call: Call, deployment: Deployment, *, text: bool = False) -> Answer:
    """A whole answer of 200; `text`: one of legacy completions.

    Raises `APIResponseValidationError`, or the error the answer hides.
    """
    try:
        wire = _Wire() if text else _read_wire(body)
        raw = msgspec.json.decode(wire.usage) if wire.usage else None
    except NOT_READ:
        wire, raw = _Wire(), None
    if not wire.choices or raw is None or b'"native_finish_reason"' in body or not _plain(wire.choices):
        wire, raw = _read_patiently(body, call, deployment)
    for choice in wire.choices:
        if choice.message.reasoning is not None and choice.message.reasoning_content is None:
            choice.message.reasoning_content = choice.message.reasoning
    meter = openai_meter(raw, deployment, wire.service_tier or "")
    completion = Completion(
        id=wire.id or completion_id(call),
        created=wire.created or created_s(call),
        model=wire.model or deployment.model,
        system_fingerprint=wire.system_fingerprint,
        choices=wire.choices,
        usage=shown_usage(meter),
        service_tier=wire.service_tier,
        citations=wire.citations,
    )
    return Answer(completion, meter)


def _plain(choices: list[Choice]) -> bool:
    return all(choice.finish_reason in FINISH_REASONS for choice in choices)


def _read_patiently(body: bytes, call: Call, deployment: Deployment) -> tuple[_Wire, Any]:
    payload = loads(body)
    if hides_error(payload):
        raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise not_the_shape("no chat completion", body, deployment)
    wire = _Wire(
        id=text(payload.get("id")),
        created=whole(payload.get("created")),
        model=text(payload.get("model")),
        system_fingerprint=text(payload.get("system_fingerprint")),
        service_tier=text(payload.get("service_tier")),
        choices=[_choice(choice, n, deployment) for n, choice in enumerate(choices)],
        citations=items(payload.get("citations")),
    )
    return wire, raw_usage(payload)


def _choice(wire: JSON, position: int, deployment: Deployment) -> Choice:
    index, message = whole(wire.get("index")), wire.get("message")
    said = Message(**message_fields(message if isinstance(message, dict) else {"content": wire.get("text")}))
    finish_reason, notes = finish(wire, deployment, bool(said.tool_calls))
    return Choice(
        finish_reason=unsaid_finish(bool(said.tool_calls)) if wire.get("finish_reason") == "" else finish_reason,
        index=position if index is None else index,
        message=said,
        logprobs=wire.get("logprobs"),
        provider_specific_fields=notes,
    )


def not_the_shape(what: str, data: bytes, deployment: Deployment) -> APIResponseValidationError:
    """The error for a success that is not the documented shape; quotes its first 200 characters."""
    shown = data[:800].decode("utf-8", "replace")[:200]
    return APIResponseValidationError(
        f"{deployment.provider} answered {what}: {shown!r}; check api_base {deployment.api_base!r}",
        deployment.provider,
        deployment.model,
    )


def loads(data: bytes) -> Any:
    """JSON as servers write it: lone surrogates, broken UTF-8 and NaN included. None where it is no JSON."""
    try:
        return msgspec.json.decode(data)
    except NOT_READ:
        pass
    try:
        return _scrubbed(json.loads(data.decode("utf-8", "replace"), strict=False))
    except (ValueError, RecursionError):
        return None


def _scrubbed(value: Any) -> Any:
    """Without lone surrogates, which no UTF-8 can carry further."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
    return value


def finish(wire: JSON, deployment: Deployment, called: bool) -> tuple[str | None, JSON | None]:
    """A choice's finish reason in OpenAI's words, with the server's own word kept where it differs.

    Raises `InternalServerError` for `error`, which is no way to finish.
    """
    said = text(wire.get("finish_reason"))
    native = text(wire.get("native_finish_reason")) or said
    if not said:
        return None, None
    if said == "error":
        raise _ended_in_error(deployment)
    reason = said if said in FINISH_REASONS else NATIVE_FINISH.get(said.lower(), unsaid_finish(called))
    return reason, None if native == reason else {"native_finish_reason": native}


def unsaid_finish(called: bool) -> str:
    """The reason of an end that is told in no word we know, or is left blank as Snowflake does."""
    return "tool_calls" if called else "stop"


def _ended_in_error(deployment: Deployment) -> APIError:
    payload = {"error": {"message": "the answer ended with finish_reason 'error'", "code": "server_error"}}
    return failure_from_payload(payload, provider=deployment.provider, model=deployment.model)


def message_fields(wire: JSON) -> JSON:
    """A message's or delta's fields but its role, each in the type our shapes have."""
    content, thought = _content(wire.get("content"))
    reasoning = text(wire.get("reasoning"))
    calls, function = wire.get("tool_calls"), wire.get("function_call")
    notes = wire.get("provider_specific_fields")
    return {
        "content": content,
        # Old text-generation-inference streams one call as an object.
        "tool_calls": [_tool_call(call) for call in _objects([calls] if isinstance(calls, dict) else calls) or ()]
        or None,
        "function_call": _function(function) if isinstance(function, dict) else None,
        "refusal": text(wire.get("refusal")),
        "reasoning_content": text(wire.get("reasoning_content")) or thought or reasoning,
        "reasoning": reasoning,
        "audio": wire.get("audio"),
        "provider_specific_fields": notes if isinstance(notes, dict) else None,
        "thinking_blocks": _objects(wire.get("thinking_blocks")),
        "reasoning_details": _objects(wire.get("reasoning_details")),
        "annotations": items(wire.get("annotations")) or _references(wire.get("content")),
        "images": items(wire.get("images")),
    }


def _content(value: Any) -> tuple[str | None, str | None]:
    """Text and reasoning of a content in parts, as Mistral and Databricks have it.

    Source: https://docs.mistral.ai/capabilities/reasoning,
    https://docs.databricks.com/en/machine-learning/model-serving/query-reason-models.html
    """
    if not isinstance(value, list):
        return text(value), None
    said, thought = [], []
    for part in value:
        if isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            inner = part.get("thinking") or part.get("summary")
            thought += [text(inner) or ""] if not isinstance(inner, list) else [_content(inner)[0] or ""]
        else:
            said.append((text(part.get("text")) if isinstance(part, dict) else text(part)) or "")
    return "".join(said) if said else None, "".join(thought) or None


def _references(content: Any) -> list[JSON] | None:
    """The parts of a content that name its sources, as Mistral has them: `{type: reference, reference_ids}`."""
    listed = _objects(content) if isinstance(content, list) else None
    return [part for part in listed or () if part.get("type") == "reference"] or None


def _tool_call(wire: JSON) -> ToolCall:
    function = wire.get("function")
    return ToolCall(
        id=text(wire.get("id")),
        type=text(wire.get("type")) or "function",
        function=_function(function) if isinstance(function, dict) else None,
        custom=wire.get("custom"),
        index=whole(wire.get("index")),
    )


def _function(wire: JSON) -> Function:
    return Function(name=text(wire.get("name")), arguments=text(wire.get("arguments")) or "")


def text(value: Any) -> str | None:
    """A string, whatever was sent in its place; null stays null."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def whole(value: Any) -> int | None:
    """A whole number, also out of `1.0` and `"1"`; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else None


def items(value: Any) -> list[Any] | None:
    """A list, or None."""
    return value if isinstance(value, list) else None


def _objects(value: Any) -> list[JSON] | None:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else None
