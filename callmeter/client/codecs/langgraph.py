"""A LangGraph server: the model is an assistant, a call is a run of its graph, the answer what its models said last.

Extras: `thread_id` runs it on a thread of the server's; `config`, `context` and the like go along as they are. Of the
tools that a graph calls for itself nothing is shown.
Source: https://langchain-ai.github.io/langgraph/cloud/reference/api/, recorded from langgraph-api 0.16.7
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from callmeter.client.codecs.base import Answer, Frame, Meter
from callmeter.client.codecs.headers import given
from callmeter.client.codecs.messages import JSON, encode_body, plain_messages
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.openai_chat import authorization
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off, not_the_shape
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.client.usage import completion_usage, count, metered, required
from callmeter.errors import APIError
from callmeter.shapes import Choice, Chunk, Completion, Delta, Message, StreamChoice
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

SUPPORTED = frozenset({"metadata", "stream", "stream_options", "user"})
"""Parameters this wire can carry: a graph has its own. `user` is taken for our own account and not sent."""


class LangGraph:
    """`POST {api_base}/runs/wait`, and `…/runs/stream`."""

    framing: Literal["sse", "ndjson"] = "sse"
    supported = SUPPORTED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST."""
        extra = dict(call.extra)
        thread, more = extra.pop("thread_id", None), extra.pop("extra_body", None) or {}
        body: JSON = {"assistant_id": deployment.model, "input": {"messages": plain_messages(call.messages)}}
        if call.stream:
            body["stream_mode"] = ["messages-tuple"]
        body |= {name: value for name, value in call.params.items() if name not in SUPPORTED - {"metadata"}}
        runs = f"threads/{thread}/runs" if thread else "runs"
        return WireRequest(
            url=f"{deployment.api_base.rstrip('/')}/{runs}/{'stream' if call.stream else 'wait'}",
            body=encode_body({**body, **extra, **more}),
            headers={"content-type": "application/json", **authorization(deployment), **given(call, deployment)},
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """The state after a run, as an answer. Raises `APIResponseValidationError`, or the error a run ended in."""
        try:
            state = msgspec.json.decode(reply.body)
            if isinstance(state, dict) and (error := state.get("__error__")) is not None:
                raise _broke(error, deployment)
            said = _spoken(state)
        except UNREADABLE as problem:
            raise not_the_shape("the state after a run", reply.body, problem, deployment) from problem
        told = _meter(message.get("usage_metadata") for message in said)
        completion = Completion(
            id=str(said[-1].get("id") or completion_id(call)),
            created=created_s(call),
            model=deployment.model,
            choices=[Choice(finish_reason="stop", message=Message(content=_text(said[-1])))],
            usage=completion_usage(told.usage) if told.usage else None,
        )
        return Answer(completion, told)

    def decoder(self, call: Call, deployment: Deployment) -> "LangGraphDecoder":
        """A fresh decoder for one stream."""
        return LangGraphDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = LangGraph()


def _spoken(state: Any) -> list[JSON]:
    """What the graph's models said in this run: since the last human message. Raises `msgspec.ValidationError`."""
    values = state.get("values", state) if isinstance(state, dict) else {}
    listed = values.get("messages") if isinstance(values, dict) else None
    messages = [message for message in listed if isinstance(message, dict)] if isinstance(listed, list) else []
    asked = max((at for at, message in enumerate(messages) if message.get("type") == "human"), default=-1)
    said = [message for message in messages[asked + 1 :] if message.get("type") == "ai"]
    if not said:
        raise msgspec.ValidationError("it has no message of type ai after the last question")
    return said


def _text(message: JSON) -> str:
    """A message's text, out of a string or of parts."""
    content = message.get("content")
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    pieces = (part.get("text") if isinstance(part, dict) else part for part in content)
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _meter(counts: Iterable[Any]) -> Meter:
    """Usage of all the models that spoke; none where one does not tell."""
    raw = list(counts)
    told = [metered(count, _usage) for count in raw]
    problem = next((meter.problem for meter in told if meter.problem), "")
    usages = [meter.usage for meter in told]
    if problem or not usages or None in usages:
        return Meter(raw=raw, problem=problem)
    return Meter(usage=_sum([usage for usage in usages if usage is not None]), raw=raw)


def _sum(usages: Sequence[Usage]) -> Usage:
    thought = [usage.reasoning_tokens for usage in usages if usage.reasoning_tokens is not None]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in usages),
        cache_write_tokens=sum(usage.cache_write_tokens for usage in usages),
        input_audio_tokens=sum(usage.input_audio_tokens for usage in usages),
        output_audio_tokens=sum(usage.output_audio_tokens for usage in usages),
        reasoning_tokens=sum(thought) if thought else None,
    )


def _usage(raw: Any) -> Usage:
    """LangChain's counts, whose totals include their parts. Source: langchain-core, `UsageMetadata`."""
    inputs, outputs = "input_token_details", "output_token_details"
    return Usage(
        input_tokens=required(raw, "input_tokens"),
        output_tokens=required(raw, "output_tokens"),
        cache_read_tokens=count(raw, f"{inputs}.cache_read") or 0,
        cache_write_tokens=count(raw, f"{inputs}.cache_creation") or 0,
        input_audio_tokens=count(raw, f"{inputs}.audio") or 0,
        output_audio_tokens=count(raw, f"{outputs}.audio") or 0,
        reasoning_tokens=count(raw, f"{outputs}.reasoning"),
    )


def _broke(error: Any, deployment: Deployment) -> APIError:
    """The error of a run: `{error: its class, message}`, where the class says no more than the message does."""
    told = error.get("message") or error.get("error") if isinstance(error, dict) else error
    return failure_from_payload({"error": str(told)}, provider=deployment.provider, model=deployment.model)


class LangGraphDecoder:
    """Folds one stream of `messages` events: a piece of a message, and about where it is from."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._id = ""
        self._begun = False
        self._counts: dict[str, list[Any]] = {}

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunk that an event adds; none for those that are not a model's words."""
        if frame.event not in ("messages", "error"):
            return ()
        try:
            data = msgspec.json.decode(frame.data)
        except UNREADABLE as problem:
            broken = broken_off("in the middle of an event", self._deployment)
            raise (
                broken
                if frame.data[:1] == b"["
                else bad_frame("an event of a run", frame.data, problem, self._deployment)
            ) from problem
        if frame.event == "error":
            raise _broke(data, self._deployment)
        message = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
        return self._said(message) if message.get("type") in ("AIMessageChunk", "ai") else ()

    def finish(self) -> Sequence[Chunk]:
        """The body has ended, and with it the run. Raises `APIConnectionError` where no model had spoken."""
        if not self._begun:
            raise broken_off("before a model spoke", self._deployment)
        self.ended = True
        counts = [count for pieces in self._counts.values() for count in (pieces or [None])]
        self.meter = _meter(counts)
        chunks = [self._chunk([StreamChoice(finish_reason="stop", delta=Delta())])]
        if self.meter.usage is not None:
            last = self._chunk([])
            last.usage = completion_usage(self.meter.usage)
            chunks.append(last)
        return chunks

    def _said(self, message: JSON) -> Sequence[Chunk]:
        """A piece's text; what it says of usage adds to that of its message."""
        source = str(message.get("id") or "")
        self._id = self._id or source
        counts = self._counts.setdefault(source, [])
        if (told := message.get("usage_metadata")) is not None:
            counts.append(told)
        role, self._begun = None if self._begun else "assistant", True
        text = _text(message)
        return (self._chunk([StreamChoice(delta=Delta(role=role, content=text))]),) if text or role else ()

    def _chunk(self, choices: list[StreamChoice]) -> Chunk:
        where, made = self._deployment.model, self._id or completion_id(self._call)
        return Chunk(id=made, created=created_s(self._call), model=where, choices=choices)
