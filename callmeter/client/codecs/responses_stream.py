"""The Responses API's stream of events as chunks; a native call finds each event at `native_event(chunk)`.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.openai_answer import text, whole
from callmeter.client.codecs.responses_answer import (
    SUMMARY_BREAK,
    WHOLE,
    annotation,
    failed,
    finished,
    images,
    meter,
    objects,
    tool_call,
)
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage
from callmeter.records import ResponsesEvent
from callmeter.shapes import Chunk, Delta, Function, StreamChoice, ToolCall
from callmeter.types import Call, Deployment

NONE: Sequence[Chunk] = ()

_NATIVE = "_native"


class WireEvent(Struct):
    """Any event, told by `type`. One struct for all, so that a frame is parsed once."""

    type: str = ""
    delta: Any = None
    output_index: int = 0
    summary_index: int = -1
    content_index: int = -1
    item: JSON | None = None
    annotation: JSON | None = None
    response: JSON | None = None
    logprobs: list[JSON] | None = None


_read = msgspec.json.Decoder(WireEvent).decode


def native_event(chunk: Chunk) -> ResponsesEvent | None:
    """The event that a chunk of a `responses` call stands for; None where it stands for a part of one."""
    event: ResponsesEvent | None = chunk.__dict__.get(_NATIVE)
    return event


class ResponsesDecoder:
    """Folds one stream. Tool calls are numbered in the order they begin."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._deployment = deployment
        self._native = call.operation == "responses"
        self._id = completion_id(call)
        self._created = created_s(call)
        self._model: str | None = deployment.model
        self._tier: str | None = None
        self._role: str | None = "assistant"
        self._calls: dict[int, int] = {}
        self._bare: set[int] = set()
        self._thought: tuple[int, int, int] | None = None
        self._items: list[JSON] = []

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for kinds unknown, and anything after the end.

        A native call gets at least one for every event.
        """
        if self.ended or frame.data == b"[DONE]":
            return NONE
        try:
            event = _read(frame.data)
            chunks = self._read(event, frame)
            return self._with_event(chunks, frame) if self._native else chunks
        except UNREADABLE as problem:
            raise bad_frame("an event of a response", frame.data, problem, self._deployment) from problem

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` unless the response was seen to end."""
        if not self.ended:
            raise broken_off("before the response was completed", self._deployment)
        return NONE

    def _with_event(self, chunks: Sequence[Chunk], frame: Frame) -> Sequence[Chunk]:
        if not (chunks and chunks[0].choices):
            chunks = [self._with([StreamChoice(delta=Delta())]), *chunks]
        chunks[0].__dict__[_NATIVE] = event = ResponsesEvent(msgspec.json.decode(frame.data))
        if self.ended:
            chunks[-1].__dict__[WHOLE] = event["response"]
        return chunks

    def _read(self, event: WireEvent, frame: Frame) -> Sequence[Chunk]:
        kind, delta = event.type, event.delta
        if kind == "response.output_text.delta":
            return self._said(delta, event.logprobs) if isinstance(delta, str) and delta else NONE
        match kind:
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                return self._argued(event, kind, delta) if isinstance(delta, str) else NONE
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._reasoned(event, delta) if isinstance(delta, str) and delta else NONE
            case "response.refusal.delta":
                return self._chunk(Delta(refusal=text(delta)))
            case "response.output_text.annotation.added" if event.annotation is not None:
                return self._chunk(Delta(annotations=[annotation(event.annotation)]))
            case "response.output_item.added" if event.item is not None:
                return self._begun(event.output_index, event.item)
            case "response.output_item.done" if event.item is not None:
                return self._done(event.output_index, event.item)
            case "response.created" if event.response is not None:
                return self._started(event.response)
            case "response.completed" | "response.incomplete" | "response.failed" if event.response is not None:
                return self._finished(event.response)
            case "error" | "":
                payload, where = msgspec.json.decode(frame.data), self._deployment
                raise failure_from_payload(payload, provider=where.provider, model=where.model)
        return NONE

    def _started(self, response: JSON) -> Sequence[Chunk]:
        self._id = text(response.get("id")) or self._id
        self._created = whole(response.get("created_at")) or self._created
        self._model = text(response.get("model")) or self._model
        return self._chunk(Delta())

    def _said(self, delta: str, likely: list[JSON] | None) -> Sequence[Chunk]:
        logprobs = {"content": likely, "refusal": None} if likely else None
        return (self._with([StreamChoice(delta=Delta(content=delta), logprobs=logprobs)]),)

    def _reasoned(self, event: WireEvent, delta: str) -> Sequence[Chunk]:
        part = (event.output_index, event.summary_index, event.content_index)
        between = SUMMARY_BREAK if self._thought not in (None, part) else ""
        self._thought = part
        return self._chunk(Delta(reasoning_content=between + delta))

    def _begun(self, index: int, item: JSON) -> Sequence[Chunk]:
        if item.get("type") not in ("function_call", "custom_tool_call"):
            return NONE
        number = self._calls[index] = len(self._calls)
        self._bare.add(index)
        return self._chunk(Delta(tool_calls=[tool_call(item, index=number, begun=True)]))

    def _argued(self, event: WireEvent, kind: str, delta: str) -> Sequence[Chunk]:
        number = self._calls.get(event.output_index)
        if number is None or not delta:
            return NONE
        self._bare.discard(event.output_index)
        return self._chunk(Delta(tool_calls=[_fragment(number, delta, custom="custom" in kind)]))

    def _done(self, index: int, item: JSON) -> Sequence[Chunk]:
        """What only the end of an item tells: reasoning to be sent back, what the API's own tools did."""
        self._items.append(item)
        match item.get("type"):
            case "reasoning":
                return self._chunk(Delta(reasoning_details=[item]))
            case "message":
                return NONE
            case "function_call" | "custom_tool_call":
                return self._call_done(index, item)
        found = images(item)
        return self._chunk(Delta(images=found)) if found else NONE

    def _call_done(self, index: int, item: JSON) -> Sequence[Chunk]:
        """A call of which nothing, or only the beginning, was told before."""
        begun = NONE if index in self._calls else self._begun(index, item)
        if index not in self._bare:
            return begun
        self._bare.discard(index)
        custom = item.get("type") == "custom_tool_call"
        given = text(item.get("input")) or "" if custom else text(item.get("arguments")) or "{}"
        return [*begun, *self._chunk(Delta(tool_calls=[_fragment(self._calls[index], given, custom=custom)]))]

    def _finished(self, response: JSON) -> Sequence[Chunk]:
        self.meter = meter(response, self._deployment, self._items)
        if (error := failed(response, self._deployment)) is not None:
            raise error
        self.ended = True
        self._tier = text(response.get("service_tier"))
        finish, notes = finished(response, called=bool(self._calls))
        others = [
            item
            for item in objects(response.get("output")) or self._items
            if item.get("type") not in ("message", "reasoning", "function_call", "custom_tool_call")
        ]
        last = Delta(provider_specific_fields={"output": others} if others else None)
        chunks = [self._with([StreamChoice(finish_reason=finish, delta=last, provider_specific_fields=notes)])]
        chunks[0].service_tier = self._tier
        if self.meter.usage is not None:
            usage = self._with([])
            usage.usage = completion_usage(self.meter.usage)
            chunks.append(usage)
        return chunks

    def _chunk(self, delta: Delta) -> Sequence[Chunk]:
        return (self._with([StreamChoice(delta=delta)]),)

    def _with(self, choices: list[StreamChoice]) -> Chunk:
        if choices and self._role:
            choices[0].delta.role, self._role = self._role, None
        return Chunk(id=self._id, created=self._created, model=self._model, choices=choices)


def _fragment(number: int, given: str, *, custom: bool) -> ToolCall:
    if custom:
        return ToolCall(index=number, type="custom", custom={"input": given})
    return ToolCall(index=number, function=Function(arguments=given))
