"""Cohere's whole answers, and what they share with its streams: finish reasons, usage, citations.

`message.provider_specific_fields` keeps Cohere's `citations` as they came, and its `tool_plan`.
Source: https://docs.cohere.com/reference/chat
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s, tool_call_id
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage, count, metered, required
from callmeter.errors import APIError
from callmeter.shapes import Choice, Completion, Function, Message, ToolCall
from callmeter.types import Call, Deployment, Usage

FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}

FAILED = {"ERROR": "server_error", "TIMEOUT": "timeout_error"}
"""Finish reasons that are no way to finish, and the code of the error that each is."""


class WireFunction(Struct):
    name: str | None = None
    arguments: str = ""


class WireToolCall(Struct):
    id: str | None = None
    function: WireFunction = msgspec.field(default_factory=WireFunction)


class WirePart(Struct):
    type: str = "text"
    text: str | None = None
    thinking: str | None = None


class WireMessage(Struct):
    content: list[WirePart] | str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_plan: str | None = None
    citations: list[JSON] | None = None


class WireLogprob(Struct):
    """A text and the log probability of each token it is made of."""

    text: str | None = None
    logprobs: list[float] | None = None


class WireAnswer(Struct):
    """A whole answer; an error has text where the message is, and no `finish_reason`."""

    id: str = ""
    message: WireMessage | str | None = None
    finish_reason: str = ""
    usage: Any = None
    logprobs: list[WireLogprob] | None = None


_read = msgspec.json.Decoder(WireAnswer).decode


def answer(body: bytes, call: Call, deployment: Deployment) -> Answer:
    """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
    try:
        wire = _read(body)
        if isinstance(wire.message, str):
            payload = msgspec.json.decode(body)
            raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
        if wire.message is None:
            raise msgspec.ValidationError("it has no message")
    except UNREADABLE as problem:
        raise not_the_shape("an answer of /v2/chat", body, problem, deployment) from problem
    if (error := failed(wire.finish_reason, "", deployment)) is not None:
        raise error
    told = meter(wire.usage)
    finish, notes = finished(wire.finish_reason)
    choice = Choice(
        finish_reason=finish,
        message=_message(wire.message, call),
        logprobs=logprobs(wire.logprobs),
        provider_specific_fields=notes,
    )
    completion = Completion(
        id=wire.id or completion_id(call),
        created=created_s(call),
        model=deployment.model,
        choices=[choice],
        usage=completion_usage(told.usage) if told.usage else None,
    )
    return Answer(completion, told)


def _message(wire: WireMessage, call: Call) -> Message:
    parts = [WirePart(text=wire.content)] if isinstance(wire.content, str) else wire.content or []
    text = "".join(part.text or "" for part in parts if part.type == "text")
    thoughts = [part.thinking for part in parts if part.type == "thinking" and part.thinking]
    called = [
        ToolCall(
            id=tool.id or tool_call_id(call, at),
            function=Function(name=tool.function.name, arguments=tool.function.arguments or "{}"),
        )
        for at, tool in enumerate(wire.tool_calls or ())
    ]
    reasoning = "".join([*thoughts, wire.tool_plan or ""])
    return Message(
        content=text if text or not (called or reasoning) else None,
        tool_calls=called or None,
        reasoning_content=reasoning or None,
        thinking_blocks=[thought(text) for text in thoughts] or None,
        annotations=annotations(wire.citations or ()) or None,
        provider_specific_fields=sources(wire.citations or (), wire.tool_plan or ""),
    )


def thought(text: str) -> JSON:
    """A thinking block, to be sent back as it is."""
    return {"type": "thinking", "thinking": text}


def sources(citations: Sequence[JSON], plan: str) -> JSON | None:
    """What OpenAI's message has no place for."""
    notes = ({"citations": list(citations)} if citations else {}) | ({"tool_plan": plan} if plan else {})
    return notes or None


def annotations(citations: Iterable[JSON]) -> list[JSON]:
    """The citations of documents that have an address, as OpenAI has those of the web."""
    found: list[JSON] = []
    for citation in citations:
        span = {"start_index": citation.get("start"), "end_index": citation.get("end")}
        listed = citation.get("sources")
        for source in listed if isinstance(listed, list) else ():
            document = source.get("document") if isinstance(source, dict) else None
            if isinstance(document, dict) and isinstance(document.get("url"), str):
                link = {"title": str(document.get("title") or ""), "url": document["url"]}
                found.append({"type": "url_citation", "url_citation": span | link})
    return found


def logprobs(wire: Sequence[WireLogprob] | None) -> JSON | None:
    """Cohere's log probabilities in OpenAI's form; where a text is several tokens they are those of the whole text."""
    if not wire:
        return None
    content = [
        {
            "token": item.text or "",
            "logprob": sum(item.logprobs or ()),
            "bytes": list((item.text or "").encode()),
            "top_logprobs": [],
        }
        for item in wire
    ]
    return {"content": content, "refusal": None}


def finished(reason: str) -> tuple[str, JSON | None]:
    """OpenAI's word for a finish reason, and Cohere's own beside it."""
    return FINISH.get(reason, "stop"), {"native_finish_reason": reason} if reason else None


def failed(reason: str, text: str, deployment: Deployment) -> APIError | None:
    """The error that an answer ended in, if it did."""
    if reason not in FAILED and not text:
        return None
    code = FAILED.get(reason, "server_error")
    payload = {"error": {"message": text or f"the answer ended with finish_reason {reason!r}", "code": code}}
    return failure_from_payload(payload, provider=deployment.provider, model=deployment.model)


def meter(raw: Any) -> Meter:
    """Cohere's usage object, metered: what was consumed, and what of it is billed.

    Billed units leave out the preamble that Cohere itself puts before a conversation.
    Source: https://docs.cohere.com/docs/how-does-cohere-pricing-work
    """
    consumed = metered(raw, _consumed)
    billed = metered(raw, _billed).usage if consumed.usage is not None else None
    return msgspec.structs.replace(consumed, billed=billed)


def _consumed(raw: Any) -> Usage:
    return _counts(raw, "tokens" if isinstance(raw.get("tokens"), dict) else "billed_units")


def _billed(raw: Any) -> Usage:
    return _counts(raw, "billed_units" if isinstance(raw.get("billed_units"), dict) else "tokens")


def _counts(raw: Any, box: str) -> Usage:
    """The counts of one kind, which Cohere writes as floats. Raises `InvalidUsage` where one is none."""
    inputs = required(raw, f"{box}.input_tokens")
    return Usage(
        input_tokens=inputs,
        output_tokens=count(raw, f"{box}.output_tokens") or 0,
        # Which part of the billed input was read from a cache, Cohere does not say.
        cache_read_tokens=min(count(raw, "cached_tokens") or 0, inputs),
    )
