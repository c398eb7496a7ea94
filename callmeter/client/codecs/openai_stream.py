"""An OpenAI-shaped stream read, a frame at a time.

Deltas of text, the many, are decoded straight into the chunk the reader gets. Whatever is rare (the first chunk, finish
reasons, usage, errors, odd types) is decoded as plain JSON and looked at patiently. Of usage the last word counts; it
goes out once, at the end, in a chunk of its own.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from callmeter.client.codecs.base import Frame, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.openai_answer import (
    NOT_READ,
    finish,
    items,
    loads,
    message_fields,
    not_the_shape,
    text,
    unsaid_finish,
    whole,
)
from callmeter.client.codecs.openai_usage import openai_meter, raw_usage, shown_usage
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_from_payload
from callmeter.errors import APIConnectionError, APIResponseValidationError
from callmeter.shapes import Chunk, Delta, StreamChoice, ToolCall
from callmeter.types import Call, Deployment

_read_chunk = msgspec.json.Decoder(Chunk).decode


class OpenAIChatDecoder:
    """One stream. See `StreamDecoder`."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call, self._deployment = call, deployment
        self._wanted = _choices_wanted(call)
        self._id = ""
        self._created = 0
        self._model: str | None = None
        self._tier = ""
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._blank: set[int] = set()
        self._called: set[int] = set()
        self._placed: dict[int, list[str]] = {}
        self._broken: Frame | None = None

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a frame adds. Raises `APIError` for an error within the stream or a frame that is no chunk."""
        if self.ended:
            return ()
        if self._broken is not None:
            raise self._garbage(self._broken)
        try:
            chunk = _read_chunk(frame.data)
        except NOT_READ:
            return self._rare(frame)
        if frame.event == "error" or not self._is_plain(chunk):
            return self._rare(frame)
        choice = chunk.choices[0]
        delta = choice.delta
        if delta.tool_calls:
            self._place(choice.index, delta.tool_calls)
        if delta.reasoning is not None and delta.reasoning_content is None:
            delta.reasoning_content = delta.reasoning
        if chunk.service_tier is not None and chunk.service_tier != self._tier:
            self._retier(chunk.service_tier)
        delta.role = None
        chunk.id, chunk.created, chunk.model = self._id, self._created, self._model
        return (chunk,)

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. The usage chunk; raises `APIConnectionError` when the stream was cut short.

        Several servers leave out `[DONE]`, so a finish reason for every choice is an end too.
        """
        if self.ended:
            return ()
        if self._open or len(self._done) < self._wanted:
            where = "in the middle of a frame" if self._broken else "without a finish reason"
            raise APIConnectionError(
                f"the stream of {self._deployment.provider} broke off {where}; what had come was delivered",
                self._deployment.provider,
                self._deployment.model,
            )
        return self._usage_chunk()

    def _is_plain(self, chunk: Chunk) -> bool:
        """Whether a chunk only adds to one choice that has begun."""
        if len(chunk.choices) != 1 or chunk.usage is not None:
            return False
        choice = chunk.choices[0]
        delta = choice.delta
        speaks = delta.content or delta.tool_calls or delta.reasoning_content or delta.reasoning
        return bool(speaks) and choice.finish_reason is None and choice.index in self._open

    def _rare(self, frame: Frame) -> Sequence[Chunk]:
        if frame.data.strip() == b"[DONE]":
            self.ended = True
            return (*self._finish_unsaid(), *self._usage_chunk())
        payload = loads(frame.data)
        if isinstance(payload, dict):
            return self._read(payload, frame)
        lines = frame.data.split(b"\n")
        if len(lines) > 1 and isinstance(loads(lines[0]), dict):
            # Some servers forget the blank line between events.
            return [chunk for line in lines if line.strip() for chunk in self.chunks(Frame(line, frame.event))]
        if payload is None and (frame.data.startswith(b"{") or b"[DONE]".startswith(frame.data)):
            # A body that was cut ends in half a frame; whether this is its end, the next call tells.
            self._broken = frame
            return ()
        raise self._garbage(frame)

    def _read(self, payload: JSON, frame: Frame) -> Sequence[Chunk]:
        if hides_error(payload) or frame.event == "error":
            raise failure_from_payload(payload, provider=self._deployment.provider, model=self._deployment.model)
        listed = payload.get("choices")
        if listed is not None and not (isinstance(listed, list) and all(isinstance(item, dict) for item in listed)):
            raise self._garbage(frame)
        self._identify(payload)
        tier = text(payload.get("service_tier"))
        if tier is not None and tier != self._tier:
            self._retier(tier)
        usage = raw_usage(payload)
        if usage is not None:
            self.meter = openai_meter(usage, self._deployment, self._tier)
        choices = [choice for n, item in enumerate(listed or ()) if (choice := self._choice(item, n)) is not None]
        if not choices:
            return ()
        chunk = self._chunk(choices)
        chunk.system_fingerprint = text(payload.get("system_fingerprint"))
        chunk.service_tier, chunk.citations = tier, items(payload.get("citations"))
        return (chunk,)

    def _choice(self, wire: JSON, position: int) -> StreamChoice | None:
        """A choice's part of a chunk; None where it says nothing, as the choices beside a late usage object do."""
        at = whole(wire.get("index"))
        index = position if at is None else at
        # A whole message comes from servers that take no notice of `stream`.
        said = wire.get("delta") if wire.get("delta") is not None else wire.get("message")
        delta = Delta(**message_fields(said if isinstance(said, dict) else {"content": wire.get("text")}))
        reason, notes = finish(wire, self._deployment, bool(delta.tool_calls) or index in self._called)
        if wire.get("finish_reason") == "":
            self._blank.add(index)
        if delta.tool_calls:
            self._place(index, delta.tool_calls)
        if index not in self._open and index not in self._done:
            self._open.add(index)
            delta.role = "assistant"
        elif not _speaks(delta) and (index in self._done or (reason is None and not wire.get("logprobs"))):
            return None
        if reason is not None:
            self._open.discard(index)
            self._done.add(index)
        return StreamChoice(
            finish_reason=reason,
            index=index,
            delta=delta,
            logprobs=wire.get("logprobs"),
            provider_specific_fields=notes,
        )

    def _finish_unsaid(self) -> Sequence[Chunk]:
        """The finish reasons that a server left blank, now that its stream is over."""
        blank = sorted(self._blank & self._open)
        ends = [StreamChoice(index=index, finish_reason=unsaid_finish(index in self._called)) for index in blank]
        return (self._chunk(ends),) if ends else ()

    def _identify(self, payload: JSON) -> None:
        """The id, time and model of the first chunk that has choices are the stream's."""
        if self._id or not payload.get("choices"):
            return
        self._id = text(payload.get("id")) or completion_id(self._call)
        self._created = whole(payload.get("created")) or created_s(self._call)
        self._model = text(payload.get("model")) or self._deployment.model

    def _place(self, choice: int, calls: list[ToolCall]) -> None:
        """Give tool calls that came without an index the one their id has, or the next."""
        self._called.add(choice)
        for call in calls:
            if call.index is None:
                ids = self._placed.setdefault(choice, [])
                if not ids or (call.id and call.id not in ids):
                    ids.append(call.id or "")
                call.index = ids.index(call.id) if call.id else len(ids) - 1

    def _retier(self, tier: str) -> None:
        self._tier = tier
        self.meter = msgspec.structs.replace(self.meter, service_tier=tier)

    def _usage_chunk(self) -> Sequence[Chunk]:
        usage = shown_usage(self.meter)
        if usage is None:
            return ()
        chunk = self._chunk([])
        chunk.usage = usage
        return (chunk,)

    def _chunk(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(
            id=self._id or completion_id(self._call),
            created=self._created or created_s(self._call),
            model=self._model or self._deployment.model,
            choices=choices,
        )

    def _garbage(self, frame: Frame) -> APIResponseValidationError:
        return not_the_shape("a frame that is no chunk", frame.data, self._deployment)


def _speaks(delta: Delta) -> bool:
    return any(getattr(delta, name) for name in delta.__struct_fields__)


def _choices_wanted(call: Call) -> int:
    n: Any = call.params.get("n")
    return n if isinstance(n, int) and n > 0 else 1
