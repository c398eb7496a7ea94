"""Anthropic's stream of events as chunks.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.anthropic_answer import Cited, WireBlock, WireMessage, arguments, as_block, meter, stop
from callmeter.client.codecs.anthropic_request import JSON_TOOL
from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage
from callmeter.shapes import Chunk, Delta, Function, StreamChoice, ToolCall
from callmeter.types import Call, Deployment

NONE: Sequence[Chunk] = ()


class WireDelta(Struct):
    """What an event adds: a block's next piece, told by `type`, or the end of the message."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: JSON | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class WireEvent(Struct):
    """Any event of the stream, told by `type`. One struct for all, so that a frame is parsed once."""

    type: str = ""
    index: int = 0
    delta: WireDelta | None = None
    content_block: JSON | None = None
    message: WireMessage | None = None
    usage: Any = None


_read = msgspec.json.Decoder(WireEvent).decode


class Block(Struct):
    """A content block still being sent."""

    first: WireBlock
    """The block as it began."""
    raw: JSON
    """The same as it came: all there is of kinds that come whole."""
    starts_at: int
    """Characters of content before it."""
    tool: int | None = None
    """The number of its tool call; None where it is none, or is the one that carries the answer."""
    pieces: list[str] = []
    signature: str = ""
    citations: list[JSON] = []


class AnthropicDecoder:
    """Folds one stream. Blocks are told apart by their index, tool calls numbered in the order they begin."""

    def __init__(self, call: Call, deployment: Deployment, *, by_tool: bool) -> None:
        self.meter = Meter()
        self.ended = False
        self._deployment = deployment
        self._by_tool = by_tool
        self._id = completion_id(call)
        self._created = created_s(call)
        self._model: str | None = None
        self._blocks: dict[int, Block] = {}
        self._tools = 0
        self._length = 0
        self._usage: Any = None
        self._stop = WireDelta()
        self._cited = Cited()
        self._held: list[str] = []
        self._answered = False

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for pings, kinds unknown, and anything after the end."""
        if self.ended:
            return NONE
        try:
            return self._event(_read(frame.data), frame)
        except UNREADABLE as problem:
            raise bad_frame("an event of a Messages stream", frame.data, problem, self._deployment) from problem

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` unless `message_stop` was seen."""
        if not self.ended:
            raise broken_off("before message_stop", self._deployment)
        return NONE

    def _event(self, event: WireEvent, frame: Frame) -> Sequence[Chunk]:
        match event.type:
            case "content_block_delta" if event.delta is not None:
                return self._added(event.index, event.delta)
            case "content_block_start" if event.content_block is not None:
                return self._begun(event.index, event.content_block)
            case "content_block_stop":
                return self._closed(event.index)
            case "message_start" if event.message is not None:
                return self._started(event.message)
            case "message_delta":
                self._ending(event)
            case "message_stop":
                return self._finished()
            case "error":
                payload, where = msgspec.json.decode(frame.data), self._deployment
                raise failure_from_payload(payload, provider=where.provider, model=where.model)
        return NONE

    def _started(self, message: WireMessage) -> Sequence[Chunk]:
        self._id = message.id or self._id
        self._model = message.model
        self._count(message.usage)
        return self._chunk(Delta(role="assistant"))

    def _begun(self, index: int, raw: JSON) -> Sequence[Chunk]:
        first = as_block(raw)
        block = self._blocks[index] = Block(first, raw, self._length)
        match first.type:
            case "text":
                return self._text(first.text or "")
            case "thinking":
                return self._thought(block, first.thinking or "")
            case "tool_use" if not (self._by_tool and first.name == JSON_TOOL):
                block.tool = self._tools
                self._tools += 1
                return self._tool(block.tool, Function(name=first.name), first.id)
        return NONE

    def _added(self, index: int, delta: WireDelta) -> Sequence[Chunk]:
        if delta.type == "text_delta":
            return self._text(delta.text)
        block = self._blocks.get(index)
        if block is None:
            return NONE
        match delta.type:
            case "input_json_delta":
                return self._input(block, delta.partial_json)
            case "thinking_delta":
                return self._thought(block, delta.thinking)
            case "signature_delta":
                block.signature += delta.signature
            case "citations_delta" if delta.citation is not None:
                block.citations.append(delta.citation)
        return NONE

    def _closed(self, index: int) -> Sequence[Chunk]:
        """What only the end of a block tells: arguments that never came, signed thinking, where a citation ends."""
        block = self._blocks.pop(index, None)
        if block is None:
            return NONE
        match block.first.type:
            case "tool_use" if not block.pieces:
                return self._input(block, arguments(block.first.input))
            case "thinking":
                signature = block.signature or block.first.signature or ""
                whole = block.raw | {"thinking": "".join(block.pieces), "signature": signature}
                return self._chunk(Delta(thinking_blocks=[whole]))
            case "redacted_thinking":
                return self._chunk(Delta(thinking_blocks=[block.raw]))
            case "text" if block.citations:
                return self._citations(block)
        return NONE

    def _text(self, text: str) -> Sequence[Chunk]:
        if self._by_tool:
            # It may be said around the tool that brings the JSON; the end will tell.
            self._held.append(text)
            return NONE
        return self._said(text)

    def _said(self, text: str) -> Sequence[Chunk]:
        self._length += len(text)
        return self._chunk(Delta(content=text)) if text else NONE

    def _thought(self, block: Block, text: str) -> Sequence[Chunk]:
        block.pieces.append(text)
        return self._chunk(Delta(reasoning_content=text)) if text else NONE

    def _input(self, block: Block, fragment: str) -> Sequence[Chunk]:
        """A fragment of a tool's input; those of Anthropic's own tools are not the caller's."""
        if block.first.type != "tool_use" or not fragment:
            return NONE
        block.pieces.append(fragment)
        if block.tool is None:
            self._answered = True
            return self._said(fragment)
        return self._tool(block.tool, Function(arguments=fragment))

    def _citations(self, block: Block) -> Sequence[Chunk]:
        before = len(self._cited.annotations)
        self._cited.add(block.citations, block.starts_at, self._length)
        annotations = self._cited.annotations[before:]
        return self._chunk(Delta(annotations=annotations)) if annotations else NONE

    def _ending(self, event: WireEvent) -> None:
        self._count(event.usage)
        if event.delta is not None and event.delta.stop_reason is not None:
            self._stop = event.delta

    def _count(self, counts: Any) -> None:
        """Later counts replace earlier ones, for they are cumulative; null says nothing."""
        if isinstance(counts, dict) and isinstance(self._usage, dict):
            counts = self._usage | {key: value for key, value in counts.items() if value is not None}
        if counts is not None:
            self._usage = counts
            self.meter = meter(counts)

    def _finished(self) -> Sequence[Chunk]:
        self.ended = True
        told = self._stop
        end = stop(told.stop_reason, told.stop_sequence, told.stop_details, tools_called=self._tools > 0)
        sources = {"citations": self._cited.citations} if self._cited.citations else None
        delta = Delta(provider_specific_fields=sources)
        choice = StreamChoice(finish_reason=end.finish_reason, delta=delta, provider_specific_fields=end.details)
        chunks = [*(NONE if self._answered else self._said("".join(self._held))), self._with([choice])]
        if self.meter.usage is None:
            return chunks
        usage = self._with([])
        usage.usage = completion_usage(self.meter.usage, anthropic_keys=True)
        return [*chunks, usage]

    def _tool(self, number: int, function: Function, call_id: str | None = None) -> Sequence[Chunk]:
        return self._chunk(Delta(tool_calls=[ToolCall(index=number, id=call_id, function=function)]))

    def _chunk(self, delta: Delta) -> Sequence[Chunk]:
        return (self._with([StreamChoice(delta=delta)]),)

    def _with(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=self._id, created=self._created, model=self._model, choices=choices)
