"""Converse's answers as chunks: the events of a stream, or a whole answer taken for one.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.anthropic_answer import arguments
from callmeter.client.codecs.anthropic_request import JSON_TOOL
from callmeter.client.codecs.aws_errors import error_within
from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.bedrock_answer import (
    WireAnswer,
    WireBlock,
    WireReasoning,
    WireTold,
    annotation,
    finish,
    notes,
)
from callmeter.client.codecs.bedrock_answer import meter as metered
from callmeter.client.codecs.bedrock_messages import redacted
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off
from callmeter.client.usage import completion_usage
from callmeter.shapes import Chunk, Delta, Function, StreamChoice, ToolCall
from callmeter.types import Call, Deployment

NONE: Sequence[Chunk] = ()


class WireToolInput(Struct, gc=False):
    input: str = ""


class WireDelta(Struct, rename="camel", gc=False):
    """What an event adds to a block, one member of which is there."""

    text: str | None = None
    tool_use: WireToolInput | None = None
    tool_result: list[JSON] | None = None
    reasoning_content: WireReasoning | None = None
    citation: JSON | None = None
    image: JSON | None = None


class WireEvent(WireTold, rename="camel"):
    """Any event of a stream; which one it is, the frame's name tells."""

    content_block_index: int = 0
    start: WireBlock | None = None
    delta: WireDelta | None = None
    stop_reason: str = ""
    additional_model_response_fields: Any = None


_read = msgspec.json.Decoder(WireEvent).decode


class Block:
    """A block still being sent: how it began, and the pieces it has so far."""

    __slots__ = ("citations", "image", "pieces", "redacted", "results", "signature", "starts_at", "tool", "use")

    def __init__(self, starts_at: int) -> None:
        self.starts_at = starts_at
        """Characters of content before it."""
        self.use: JSON = {}
        """The tool use it is."""
        self.tool: int | None = None
        """The number of its tool call; None where it is none of the caller's, or carries the answer."""
        self.pieces: list[str] = []
        self.signature = ""
        self.redacted: list[bytes] = []
        self.citations: list[JSON] = []
        self.results: JSON | None = None
        """What a tool of Bedrock's own brought."""
        self.image: JSON | None = None

    @property
    def is_bedrock_s(self) -> bool:
        """Whether it uses a tool that runs at Bedrock."""
        return self.use.get("type") == "server_tool_use"


class BedrockDecoder:
    """Folds one answer. Blocks are told apart by their index, tool calls numbered in the order they begin."""

    def __init__(self, call: Call, deployment: Deployment, *, by_tool: bool, answer_id: str = "") -> None:
        self.meter = Meter()
        self.ended = False
        self._deployment = deployment
        self._by_tool = by_tool
        self._id = answer_id or completion_id(call)
        self._created = created_s(call)
        self._blocks: dict[int, Block] = {}
        self._tools = 0
        self._length = 0
        self._images = 0
        self._held: list[str] = []
        self._answered = False
        self._citations: list[JSON] = []
        self._ran: list[JSON] = []

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks an event adds: none for kinds unknown. Usage comes after the end, in an event of its own."""
        if frame.failed or not frame.event:
            raise error_within(frame, self._deployment)
        try:
            event = _read(frame.data)
            if frame.event == "contentBlockDelta":
                return self._added(event.content_block_index, event.delta or WireDelta())
            return list(self._rare(frame.event, event))
        except UNREADABLE as problem:
            raise bad_frame("an event of ConverseStream", frame.data, problem, self._deployment) from problem

    def finish(self) -> Sequence[Chunk]:
        """The body has ended: the usage. Raises `APIConnectionError` unless the stop reason was seen."""
        if not self.ended:
            raise broken_off("before messageStop", self._deployment)
        used = self.meter.usage
        if used is None:
            return NONE
        chunk = self._with([])
        chunk.usage = completion_usage(used, anthropic_keys=True)
        return (chunk,)

    def whole(self, answer: WireAnswer, content: Sequence[WireBlock]) -> Iterator[Chunk]:
        """The chunks of a whole answer, which has the events of a stream in its blocks."""
        yield from self._chunk(Delta(role="assistant"))
        for index, block in enumerate(content):
            yield from self._begun(index, block)
            for delta in _deltas(block):
                yield from self._added(index, delta)
            yield from self._closed(index)
        self.meter = metered(answer)
        yield from self._stopped(answer.stop_reason, answer.additional_model_response_fields, answer.trace)
        yield from self.finish()

    def _rare(self, kind: str, event: WireEvent) -> Iterator[Chunk]:
        match kind:
            case "messageStart":
                yield from self._chunk(Delta(role="assistant"))
            case "contentBlockStart" if event.start is not None:
                yield from self._begun(event.content_block_index, event.start)
            case "contentBlockStop":
                yield from self._closed(event.content_block_index)
            case "messageStop":
                yield from self._stopped(event.stop_reason, event.additional_model_response_fields, None)
            case "metadata":
                self.meter = metered(event)
                if event.trace:
                    yield self._with([StreamChoice(provider_specific_fields={"trace": event.trace})])

    def _begun(self, index: int, start: WireBlock) -> Sequence[Chunk]:
        block = self._blocks[index] = Block(self._length)
        if start.tool_result is not None:
            block.results = {**start.tool_result, "content": []}
        if start.image is not None:
            block.image = {"format": start.image.get("format")}
        if start.tool_use is None:
            return NONE
        block.use = start.tool_use
        name, call_id = (msgspec.convert(block.use.get(key), str | None) for key in ("name", "toolUseId"))
        if block.is_bedrock_s or (self._by_tool and name == JSON_TOOL):
            return NONE
        block.tool = self._tools
        self._tools += 1
        return self._tool(block.tool, Function(name=name), call_id)

    def _added(self, index: int, delta: WireDelta) -> Sequence[Chunk]:
        block = self._blocks.get(index)
        if block is None:  # only the blocks of tools and images are begun by an event
            block = self._blocks[index] = Block(self._length)
        if delta.text is not None:
            return self._text(delta.text)
        if delta.tool_use is not None:
            return self._input(block, delta.tool_use.input)
        if delta.reasoning_content is not None:
            return self._thought(block, delta.reasoning_content)
        if delta.citation is not None:
            block.citations.append(delta.citation)
        if delta.tool_result is not None and block.results is not None:
            block.results["content"] += delta.tool_result
        if delta.image is not None and block.image is not None:
            block.pieces.append(_bytes_in(delta.image))
        return NONE

    def _closed(self, index: int) -> Sequence[Chunk]:
        """What only the end of a block tells: arguments that never came, signed thinking, where a citation ends."""
        block = self._blocks.pop(index, None)
        if block is None:
            return NONE
        if block.is_bedrock_s:
            self._ran.append({"toolUse": {**block.use, "input": _parsed("".join(block.pieces))}})
        elif block.use and not block.pieces:
            return self._input(block, arguments(block.use.get("input")))
        if block.results is not None:
            self._ran.append({"toolResult": block.results})
        if block.redacted:
            data = redacted(b"".join(block.redacted))
            return self._chunk(Delta(thinking_blocks=[{"type": "redacted_thinking", "data": data}]))
        if block.signature:
            thought = {"type": "thinking", "thinking": "".join(block.pieces), "signature": block.signature}
            return self._chunk(Delta(thinking_blocks=[thought]))
        if block.image is not None and block.pieces:
            return self._image(block)
        return self._cited(block) if block.citations else NONE

    def _text(self, text: str) -> Sequence[Chunk]:
        if self._by_tool:
            # It may be said around the tool that brings the JSON; the end will tell.
            self._held.append(text)
            return NONE
        return self._said(text)

    def _said(self, text: str) -> Sequence[Chunk]:
        self._length += len(text)
        return self._chunk(Delta(content=text)) if text else NONE

    def _thought(self, block: Block, wire: WireReasoning) -> Sequence[Chunk]:
        if wire.redacted_content is not None:
            block.redacted.append(_unwrapped(wire.redacted_content))
        if wire.signature is not None:
            block.signature += wire.signature
        if not wire.text:
            return NONE
        block.pieces.append(wire.text)
        return self._chunk(Delta(reasoning_content=wire.text))

    def _input(self, block: Block, fragment: str) -> Sequence[Chunk]:
        """A fragment of a tool's input; those of Bedrock's own tools are not the caller's."""
        if not fragment:
            return NONE
        block.pieces.append(fragment)
        if block.is_bedrock_s:
            return NONE
        if block.tool is None:
            self._answered = True
            return self._said(fragment)
        return self._tool(block.tool, Function(arguments=fragment))

    def _image(self, block: Block) -> Sequence[Chunk]:
        data = b64encode(b"".join(map(_unwrapped, block.pieces))).decode()
        url = f"data:image/{(block.image or {}).get('format') or 'png'};base64,{data}"
        image = {"type": "image_url", "image_url": {"url": url}, "index": self._images}
        self._images += 1
        return self._chunk(Delta(images=[image]))

    def _cited(self, block: Block) -> Sequence[Chunk]:
        self._citations += block.citations
        found = (annotation(citation, block.starts_at, self._length) for citation in block.citations)
        annotations = [item for item in found if item is not None]
        return self._chunk(Delta(annotations=annotations)) if annotations else NONE

    def _stopped(self, reason: str, fields: Any, trace: Any) -> Sequence[Chunk]:
        self.ended = True
        kept = {"citations": self._citations, "server_tools": self._ran}
        delta = Delta(provider_specific_fields={name: value for name, value in kept.items() if value} or None)
        end = StreamChoice(
            finish_reason=finish(reason, tools_called=self._tools > 0),
            delta=delta,
            provider_specific_fields=notes(reason, fields, trace),
        )
        # What was said around the forced tool is no part of the JSON it brought.
        return [*(NONE if self._answered else self._said("".join(self._held))), self._with([end])]

    def _tool(self, number: int, function: Function, call_id: str | None = None) -> Sequence[Chunk]:
        return self._chunk(Delta(tool_calls=[ToolCall(index=number, id=call_id, function=function)]))

    def _chunk(self, delta: Delta) -> Sequence[Chunk]:
        return (self._with([StreamChoice(delta=delta)]),)

    def _with(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=self._id, created=self._created, model=self._deployment.model, choices=choices)


def _deltas(block: WireBlock) -> Iterator[WireDelta]:
    """What a stream would have said of a whole block once it was begun."""
    if block.text is not None:
        yield WireDelta(text=block.text)
    if block.tool_use is not None and block.tool_use.get("input"):
        yield WireDelta(tool_use=WireToolInput(arguments(block.tool_use["input"])))
    if block.tool_result is not None:
        yield WireDelta(tool_result=msgspec.convert(block.tool_result.get("content") or [], list[JSON]))
    if block.reasoning_content is not None:
        whole = block.reasoning_content.reasoning_text
        told = block.reasoning_content if whole is None else WireReasoning(text=whole.text, signature=whole.signature)
        yield WireDelta(reasoning_content=told)
    if block.citations_content is not None:
        for part in block.citations_content.content or ():
            yield WireDelta(text=msgspec.convert(part.get("text", ""), str))
        for citation in block.citations_content.citations or ():
            yield WireDelta(citation=citation)
    if block.image is not None:
        yield WireDelta(image=block.image)


def _bytes_in(image: JSON) -> str:
    source = image.get("source")
    return msgspec.convert(source.get("bytes") or "" if isinstance(source, dict) else "", str)


def _unwrapped(data: str) -> bytes:
    try:
        return b64decode(data)
    except (NotBase64, ValueError):
        raise msgspec.ValidationError("it is not base64") from None


def _parsed(text: str) -> Any:
    return msgspec.json.decode(text) if text else {}
