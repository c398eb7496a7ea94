"""Cohere's stream of events as chunks.

Source: https://docs.cohere.com/reference/chat-stream
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.cohere_answer import (
    WireLogprob,
    WirePart,
    WireToolCall,
    annotations,
    failed,
    finished,
    logprobs,
    meter,
    sources,
    thought,
)
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s, tool_call_id
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage
from callmeter.shapes import Chunk, Delta, Function, StreamChoice, ToolCall
from callmeter.types import Call, Deployment

NONE: Sequence[Chunk] = ()


class WireAdded(Struct):
    """What an event adds to the message. What is an object here is a list in whole answers, and at the start."""

    content: WirePart | list[Any] | str | None = None
    tool_calls: WireToolCall | list[Any] | None = None
    tool_plan: str | None = None
    citations: JSON | list[JSON] | None = None


class WireDelta(Struct):
    message: WireAdded | None = None
    finish_reason: str | None = None
    usage: Any = None
    error: str | None = None


class WireEvent(Struct):
    """Any event, told by `type`. One struct for all, so that a frame is parsed once."""

    type: str = ""
    id: str = ""
    index: int = 0
    delta: WireDelta | None = None
    logprobs: WireLogprob | None = None


_read = msgspec.json.Decoder(WireEvent).decode


class CohereDecoder:
    """Folds one stream. Tool calls are numbered in the order they begin."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._id = completion_id(call)
        self._created = created_s(call)
        self._tools: dict[int, int] = {}
        self._bare: set[int] = set()
        self._thoughts: dict[int, list[str]] = {}
        self._plan: list[str] = []
        self._citations: list[JSON] = []

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for kinds unknown, and anything after the end."""
        if self.ended or frame.data == b"[DONE]":
            return NONE
        try:
            event = _read(frame.data)
            return self._said(event) if event.type == "content-delta" else self._rare(event, frame)
        except UNREADABLE as problem:
            raise bad_frame("an event of a chat stream", frame.data, problem, self._deployment) from problem

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` unless `message-end` was seen."""
        if not self.ended:
            raise broken_off("before message-end", self._deployment)
        return NONE

    def _rare(self, event: WireEvent, frame: Frame) -> Sequence[Chunk]:
        delta = event.delta or WireDelta()
        added = delta.message or WireAdded()
        match event.type:
            case "message-start":
                self._id = event.id or self._id
                return self._chunk(Delta(role="assistant"))
            case "content-start":
                return self._said(event)
            case "content-end":
                return self._thought_whole(event.index)
            case "tool-plan-delta" if added.tool_plan:
                self._plan.append(added.tool_plan)
                return self._chunk(Delta(reasoning_content=added.tool_plan))
            case "tool-call-start" if isinstance(added.tool_calls, WireToolCall):
                return self._tool_begun(event.index, added.tool_calls)
            case "tool-call-delta" if isinstance(added.tool_calls, WireToolCall):
                return self._tool_added(event.index, added.tool_calls.function.arguments)
            case "tool-call-end" if event.index in self._bare:
                return self._tool_added(event.index, "{}")
            case "citation-start" if added.citations:
                return self._cited(added.citations)
            case "message-end":
                return self._finished(delta)
        if frame.event == "error" or event.type in ("", "error"):
            payload, where = msgspec.json.decode(frame.data), self._deployment
            raise failure_from_payload(payload, provider=where.provider, model=where.model)
        return NONE

    def _said(self, event: WireEvent) -> Sequence[Chunk]:
        part = event.delta.message.content if event.delta is not None and event.delta.message is not None else None
        if not isinstance(part, WirePart):
            return NONE
        if part.thinking:
            self._thoughts.setdefault(event.index, []).append(part.thinking)
            return self._chunk(Delta(reasoning_content=part.thinking))
        if not part.text:
            return NONE
        likely = logprobs([event.logprobs]) if event.logprobs else None
        return (self._with([StreamChoice(delta=Delta(content=part.text), logprobs=likely)]),)

    def _thought_whole(self, index: int) -> Sequence[Chunk]:
        pieces = self._thoughts.pop(index, None)
        return self._chunk(Delta(thinking_blocks=[thought("".join(pieces))])) if pieces else NONE

    def _tool_begun(self, index: int, tool: WireToolCall) -> Sequence[Chunk]:
        number = self._tools[index] = len(self._tools)
        if not tool.function.arguments:
            self._bare.add(index)
        call_id = tool.id or tool_call_id(self._call, number)
        function = Function(name=tool.function.name, arguments=tool.function.arguments)
        return self._chunk(Delta(tool_calls=[ToolCall(index=number, id=call_id, function=function)]))

    def _tool_added(self, index: int, fragment: str) -> Sequence[Chunk]:
        number = self._tools.get(index)
        if number is None or not fragment:
            return NONE
        self._bare.discard(index)
        return self._chunk(Delta(tool_calls=[ToolCall(index=number, function=Function(arguments=fragment))]))

    def _cited(self, given: JSON | list[JSON]) -> Sequence[Chunk]:
        citations = given if isinstance(given, list) else [given]
        self._citations += citations
        found = annotations(citations)
        return self._chunk(Delta(annotations=found)) if found else NONE

    def _finished(self, delta: WireDelta) -> Sequence[Chunk]:
        self.meter = meter(delta.usage)
        error = failed(delta.finish_reason or "", delta.error or "", self._deployment)
        if error is not None:
            raise error
        self.ended = True
        finish, notes = finished(delta.finish_reason or "")
        last = Delta(provider_specific_fields=sources(self._citations, "".join(self._plan)))
        chunks = [self._with([StreamChoice(finish_reason=finish, delta=last, provider_specific_fields=notes)])]
        if self.meter.usage is not None:
            usage = self._with([])
            usage.usage = completion_usage(self.meter.usage)
            chunks.append(usage)
        return chunks

    def _chunk(self, delta: Delta) -> Sequence[Chunk]:
        return (self._with([StreamChoice(delta=delta)]),)

    def _with(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=self._id, created=self._created, model=self._deployment.model, choices=choices)
