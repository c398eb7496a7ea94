"""Anthropic's answers: blocks to a message, stop reasons to OpenAI's five words, its counts to ours.

Source: https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.anthropic_request import JSON_TOOL
from callmeter.client.codecs.base import Answer, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.usage import InvalidUsage, completion_usage, count, metered, required
from callmeter.shapes import Choice, Completion, Function, Message, ToolCall
from callmeter.types import Call, Usage

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class WireMessage(Struct):
    """A message as it comes; `message_start` brings one too, without content. Also an error, told by `type`."""

    type: str = "message"
    id: str = ""
    model: str | None = None
    content: list[JSON] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    usage: Any = None
    error: Any = None


class WireBlock(Struct):
    """What is read of a content block, told by `type`; other members are of kinds that are not looked into."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    citations: list[JSON] | None = None


def as_block(raw: JSON) -> WireBlock:
    """A content block's known members. Raises `msgspec.ValidationError` where one has another type."""
    return msgspec.convert(raw, WireBlock)


class Stop(Struct, frozen=True):
    """Why an answer ended, in both tongues."""

    finish_reason: str
    details: JSON | None
    """`native_finish_reason` and, where there are any, `stop_sequence` and `stop_details`."""


def stop(reason: str | None, sequence: str | None, details: Any, *, tools_called: bool) -> Stop:
    """OpenAI's word for a stop reason. A forced tool that only carried the answer was no tool call."""
    finish = FINISH.get(reason or "", "stop")
    if finish == "tool_calls" and not tools_called:
        finish = "stop"
    told = {"native_finish_reason": reason, "stop_sequence": sequence, "stop_details": details}
    return Stop(finish, {key: value for key, value in told.items() if value is not None} or None)


def completion(message: WireMessage, call: Call, *, by_tool: bool) -> Answer:
    """A whole message as the caller sees it. `by_tool`: the input of the forced tool is the content.

    Raises `msgspec.ValidationError` where the content is missing or of another shape.
    """
    if message.content is None:
        raise msgspec.ValidationError("it has no content")
    said = _message(message.content, by_tool)
    end = stop(message.stop_reason, message.stop_sequence, message.stop_details, tools_called=bool(said.tool_calls))
    told = meter(message.usage)
    answer = Completion(
        id=message.id or completion_id(call),
        created=created_s(call),
        model=message.model,
        choices=[Choice(finish_reason=end.finish_reason, message=said, provider_specific_fields=end.details)],
        usage=completion_usage(told.usage, anthropic_keys=True) if told.usage else None,
    )
    return Answer(answer, told)


def _message(content: Iterable[JSON], by_tool: bool) -> Message:
    text, reasoning, length = list[str](), list[str](), 0
    tools, thinking, cited = list[ToolCall](), list[JSON](), Cited()
    json_answer: str | None = None
    for raw in content:
        block = as_block(raw)
        match block.type:
            case "text":
                piece = block.text or ""
                cited.add(block.citations or (), length, length + len(piece))
                length += len(piece)
                text.append(piece)
            case "tool_use" if by_tool and block.name == JSON_TOOL:
                json_answer = arguments(block.input)
            case "tool_use":
                tools.append(
                    ToolCall(id=block.id, function=Function(name=block.name, arguments=arguments(block.input)))
                )
            case "thinking" | "redacted_thinking":
                reasoning.append(block.thinking or "")
                thinking.append(raw)
    # What was said around the forced tool is no part of the JSON it brought.
    said, thought = "".join(text) if json_answer is None else json_answer, "".join(reasoning)
    return Message(
        content=said if said or not (tools or thought) else None,
        tool_calls=tools or None,
        reasoning_content=thought or None,
        thinking_blocks=thinking or None,
        annotations=cited.annotations or None,
        provider_specific_fields={"citations": cited.citations} if cited.citations else None,
    )


def arguments(tool_input: Any) -> str:
    """A tool's input as the JSON string OpenAI has; `{}` for none."""
    return msgspec.json.encode(tool_input or {}).decode()


class Cited:
    """Citations of one answer: all as they came, those of the web as OpenAI's annotations too."""

    __slots__ = ("annotations", "citations")

    def __init__(self) -> None:
        self.annotations: list[JSON] = []
        self.citations: list[JSON] = []

    def add(self, citations: Iterable[JSON], start: int, end: int) -> None:
        """The citations of the text block that spans these characters of the content."""
        for citation in citations:
            self.citations.append(citation)
            if citation.get("type") == "web_search_result_location":
                span: JSON = {"start_index": start, "end_index": end}
                link = {"title": citation.get("title") or "", "url": citation.get("url") or ""}
                self.annotations.append({"type": "url_citation", "url_citation": span | link})


def meter(raw: Any) -> Meter:
    """Anthropic's usage object, metered. Counts that make no sense are a problem and not a usage."""
    tier = raw.get("service_tier") if isinstance(raw, dict) else None
    return metered(raw, usage, service_tier=tier if isinstance(tier, str) else "")


def usage(raw: Any) -> Usage:
    """Anthropic's counts as ours. Raises `InvalidUsage` naming the count that is none.

    It counts uncached input, cache reads and cache writes apart; ours is their sum. One-hour writes are billed at
    their own rate, so they are kept apart. Source: https://docs.anthropic.com/en/api/messages#response-usage
    """
    read = count(raw, "cache_read_input_tokens") or 0
    hour = count(raw, "cache_creation.ephemeral_1h_input_tokens") or 0
    written = count(raw, "cache_creation_input_tokens")
    if written is None:
        written = hour + (count(raw, "cache_creation.ephemeral_5m_input_tokens") or 0)
    if hour > written:
        raise InvalidUsage(f"cache_creation.ephemeral_1h_input_tokens is {hour}, of {written} written in all")
    searches = count(raw, "server_tool_use.web_search_requests")
    return Usage(
        input_tokens=required(raw, "input_tokens") + read + written,
        output_tokens=required(raw, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written - hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=count(raw, "output_tokens_details.thinking_tokens"),
        units={"search.web": searches} if searches else {},
    )
