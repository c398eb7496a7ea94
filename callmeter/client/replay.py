"""A stored answer as a stream: the chunks that add up to it, on a wire of our own that the one stream reader reads."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from callmeter.client.codecs.base import Frame, Framing, Meter
from callmeter.client.ready import ReadyStream
from callmeter.shapes import Chunk, Completion, Delta, StreamChoice, ToolCall

PIECE = 64
"""Characters of text in each chunk."""

_ONCE = tuple(name for name in Delta.__struct_fields__ if name not in ("content", "role", "tool_calls"))
"""What a message has besides its text and its tool calls, in one chunk."""


def pieces(text: str) -> Iterator[str]:
    """A text in the pieces that a replayed stream brings it in."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def chunks(completion: Completion) -> Iterator[Chunk]:
    """The answer in pieces: what each choice begins with, its text, its end; last of all, without a choice, usage."""

    def piece(choice: StreamChoice) -> Chunk:
        return Chunk(id=completion.id, created=completion.created, model=completion.model, choices=[choice])

    for choice in completion.choices:
        message, at = choice.message, choice.index
        once = {name: getattr(message, name) for name in _ONCE}
        yield piece(StreamChoice(index=at, delta=Delta(role=message.role, tool_calls=_numbered(message), **once)))
        for text in pieces(message.content or ""):
            yield piece(StreamChoice(index=at, delta=Delta(content=text)))
        yield piece(
            StreamChoice(
                index=at,
                finish_reason=choice.finish_reason,
                logprobs=choice.logprobs,
                provider_specific_fields=choice.provider_specific_fields,
            )
        )
    yield Chunk(
        id=completion.id,
        created=completion.created,
        model=completion.model,
        usage=completion.usage,
        system_fingerprint=completion.system_fingerprint,
        service_tier=completion.service_tier,
        citations=completion.citations,
        provider_specific_fields=completion.provider_specific_fields,
    )


def opened(completion: Completion) -> ReadyStream:
    """The answer as a stream that was opened, to be read by `CODEC`."""
    return ReadyStream(msgspec.json.encode(chunk) + b"\n" for chunk in chunks(completion))


def _numbered(message: Any) -> list[ToolCall] | None:
    calls = message.tool_calls
    return None if not calls else [msgspec.structs.replace(call, index=at) for at, call in enumerate(calls)]


_read = msgspec.json.Decoder(Chunk).decode


class Replay:
    """Chunks as they are, a line each."""

    framing: Framing = "ndjson"

    def decoder(self, call: Any, deployment: Any) -> "ReplayDecoder":
        """A decoder for one stream."""
        return ReplayDecoder()


class ReplayDecoder:
    """Reads one stream. Nothing is metered."""

    meter = Meter()
    ended = False

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunk of a line."""
        return (_read(frame.data),)

    def finish(self) -> Sequence[Chunk]:
        """Nothing is owed."""
        return ()


CODEC = Replay()
