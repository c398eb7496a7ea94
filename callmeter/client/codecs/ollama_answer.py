"""Ollama's answers, whole and streamed: both are the same object, the stream's last one with `done` and counts.

Source: https://docs.ollama.com/api/chat
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Frame, Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.minted import completion_id, created_s, tool_call_id
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off, not_the_shape
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage, count, metered
from callmeter.errors import APIError
from callmeter.shapes import Choice, Chunk, Completion, Delta, Function, Message, StreamChoice, ToolCall
from callmeter.types import Call, Deployment, Usage

DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
"""Nanoseconds, kept under their own names in `provider_specific_fields`."""

COUNTS = ("prompt_eval_count", "eval_count")


class WireFunction(Struct):
    name: str = ""
    arguments: Any = None


class WireToolCall(Struct):
    function: WireFunction
    id: str | None = None


class WireText(Struct):
    """What a line says."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireLine(Struct):
    """A whole answer, or a line of a stream."""

    model: str | None = None
    created_at: str = ""
    message: WireText | None = None
    done: bool = False
    done_reason: str | None = None
    logprobs: list[Any] | None = None
    error: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    total_duration: Any = None
    load_duration: Any = None
    prompt_eval_duration: Any = None
    eval_duration: Any = None


_decode = msgspec.json.Decoder(WireLine).decode


def read(data: bytes) -> WireLine:
    """A line. Raises one of `UNREADABLE` when it is no line of Ollama's."""
    line = _decode(data)
    if line.error is None and line.message is None:
        raise msgspec.ValidationError("it has no message")
    return line


def failed(data: bytes, deployment: Deployment) -> APIError:
    """The error that a line carries."""
    return failure_from_payload(msgspec.json.decode(data), provider=deployment.provider, model=deployment.model)


def answer(body: bytes, call: Call, deployment: Deployment) -> Answer:
    """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
    try:
        line = read(body)
    except UNREADABLE as problem:
        raise not_the_shape("an answer of /api/chat", body, problem, deployment) from problem
    if line.error is not None:
        raise failed(body, deployment)
    said = line.message or WireText()
    called = [_tool_call(call, at, wire) for at, wire in enumerate(said.tool_calls or ())]
    told = meter(line, spoke=bool(said.content or said.thinking or called))
    message = Message(
        content=(said.content or "") if said.content or not (called or said.thinking) else None,
        tool_calls=called or None,
        reasoning_content=said.thinking or None,
    )
    finish = finish_reason(line.done_reason, tools_called=bool(called))
    choice = Choice(
        finish_reason=finish,
        message=message,
        logprobs=_logprobs(line),
        provider_specific_fields=_native(line.done_reason, finish),
    )
    completion = Completion(
        id=completion_id(call),
        created=_created(line.created_at) or created_s(call),
        model=line.model,
        choices=[choice],
        usage=completion_usage(told.usage) if told.usage else None,
        provider_specific_fields=_durations(line),
    )
    return Answer(completion, told)


class OllamaDecoder:
    """Folds one stream. Tool calls come whole, one line may bring several."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._id = completion_id(call)
        self._created: int | None = None
        self._model: str | None = None
        self._tools = 0
        self._spoke = False

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks of a line: its text or calls, and at the end the finish and the usage."""
        if self.ended:
            return ()
        try:
            line = read(frame.data)
        except UNREADABLE as problem:
            raise bad_frame("a line of /api/chat", frame.data, problem, self._deployment) from problem
        if line.error is not None:
            raise failed(frame.data, self._deployment)
        first = self._created is None
        if first:
            self._created = _created(line.created_at) or created_s(self._call)
            self._model = line.model
        delta = self._delta(line.message or WireText(), "assistant" if first else None)
        logprobs = _logprobs(line)
        said: list[Chunk] = []
        if delta is not None or logprobs is not None:
            said.append(self._chunk([StreamChoice(delta=delta or Delta(), logprobs=logprobs)]))
        if line.done:
            said += self._finished(line)
        return said

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` unless a line was `done`."""
        if not self.ended:
            raise broken_off("before a line was done", self._deployment)
        return ()

    def _delta(self, said: WireText, role: str | None) -> Delta | None:
        """What a line says; None where it says nothing."""
        calls = None
        if said.tool_calls:
            calls = [
                _tool_call(self._call, self._tools + n, wire, indexed=True) for n, wire in enumerate(said.tool_calls)
            ]
            self._tools += len(calls)
        if not (said.content or said.thinking or calls or role):
            return None
        self._spoke = self._spoke or bool(said.content or said.thinking or calls)
        return Delta(content=said.content or None, role=role, tool_calls=calls, reasoning_content=said.thinking or None)

    def _finished(self, line: WireLine) -> list[Chunk]:
        self.ended = True
        self.meter = meter(line, spoke=self._spoke)
        finish = finish_reason(line.done_reason, tools_called=self._tools > 0)
        last = self._chunk(
            [StreamChoice(finish_reason=finish, provider_specific_fields=_native(line.done_reason, finish))]
        )
        last.provider_specific_fields = _durations(line)
        if self.meter.usage is None:
            return [last]
        usage = self._chunk([])
        usage.usage = completion_usage(self.meter.usage)
        return [last, usage]

    def _chunk(self, choices: list[StreamChoice]) -> Chunk:
        return Chunk(id=self._id, created=self._created or 0, model=self._model, choices=choices)


def finish_reason(done_reason: str | None, *, tools_called: bool) -> str:
    """OpenAI's word. Ollama says `stop` also when it called tools, and `load` or `unload` for an empty prompt."""
    if done_reason == "length":
        return "length"
    return "tool_calls" if tools_called else "stop"


def meter(line: WireLine, *, spoke: bool) -> Meter:
    """The counts of the last line. A count of 0 is left out there, so none at all after text means not counted."""
    raw = {name: value for name in COUNTS if (value := getattr(line, name)) is not None}
    return metered(raw if raw or not spoke else None, _usage)


def _usage(raw: Any) -> Usage:
    return Usage(
        input_tokens=count(raw, "prompt_eval_count") or 0,
        output_tokens=count(raw, "eval_count") or 0,
    )


def _native(done_reason: str | None, finish: str) -> JSON | None:
    return {"native_finish_reason": done_reason} if done_reason and done_reason != finish else None


def _durations(line: WireLine) -> JSON | None:
    return {name: value for name in DURATIONS if (value := getattr(line, name)) is not None} or None


def _logprobs(line: WireLine) -> JSON | None:
    return {"content": line.logprobs, "refusal": None} if line.logprobs else None


def _tool_call(call: Call, at: int, wire: WireToolCall, *, indexed: bool = False) -> ToolCall:
    given = wire.function.arguments
    text = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
    function = Function(name=wire.function.name, arguments=text)
    return ToolCall(id=wire.id or tool_call_id(call, at), function=function, index=at if indexed else None)


def _created(created_at: str) -> int:
    """Seconds since the epoch of an RFC 3339 time with up to nine fractional digits; 0 where it is none."""
    try:
        moment = datetime.fromisoformat(created_at)
    except ValueError:
        return 0
    return int(moment.timestamp()) if moment.tzinfo else 0
