"""Replicate's predictions read: their output as an answer, and the stream of an output.

An output is a text, or the fragments of one. `metrics` counts tokens for Replicate's own language models; a stream
tells no counts, so that those of a streamed call are ours.
Source: https://replicate.com/docs/reference/http, https://replicate.com/docs/topics/predictions/streaming
"""

from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Frame, Meter
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off, not_the_shape
from callmeter.client.failures import failure_from_payload
from callmeter.client.usage import completion_usage, metered, required
from callmeter.errors import APIError
from callmeter.shapes import Choice, Chunk, Completion, Delta, Message, StreamChoice
from callmeter.types import Call, Deployment, Usage

GOING_ON = frozenset({"starting", "processing", "queued"})

Unreadable = Callable[[str, bytes, Exception, Deployment], APIError]

NONE: Sequence[Chunk] = ()


class Prediction(Struct):
    """A prediction in any state."""

    id: str
    status: str
    output: Any = None
    error: Any = None
    metrics: Any = None
    urls: dict[str, str] = {}


_read = msgspec.json.Decoder(Prediction).decode


def predicted(body: bytes, deployment: Deployment, unreadable: Unreadable = not_the_shape) -> Prediction:
    """The prediction that a body holds. Raises `unreadable`'s error, or the error that it failed with."""
    try:
        prediction = _read(body)
    except UNREADABLE as problem:
        raise unreadable("a prediction", body, problem, deployment) from problem
    if prediction.status == "failed":
        raise _failed(prediction.error or "the prediction failed and does not say why", deployment)
    if prediction.status in ("canceled", "aborted"):
        raise _canceled(deployment)
    return prediction


def answer(prediction: Prediction, call: Call, deployment: Deployment) -> Answer:
    """A prediction that succeeded, as an answer."""
    told = meter(prediction.metrics)
    completion = Completion(
        id=prediction.id or completion_id(call),
        created=created_s(call),
        model=deployment.model,
        choices=[Choice(finish_reason="stop", message=Message(content=_text(prediction.output)))],
        usage=completion_usage(told.usage) if told.usage else None,
    )
    return Answer(completion, told)


def meter(metrics: Any) -> Meter:
    """What `metrics` say: token counts where there are any; of other models they tell the time they ran alone."""
    if not isinstance(metrics, dict) or "input_token_count" not in metrics:
        return Meter(raw=metrics)
    return metered(metrics, _usage)


def _usage(raw: Any) -> Usage:
    return Usage(input_tokens=required(raw, "input_token_count"), output_tokens=required(raw, "output_token_count"))


def _text(output: Any) -> str:
    """An output as text: a string, or fragments of one; anything else in JSON, as its model means it."""
    if isinstance(output, str):
        return output
    if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
        return "".join(output)
    return "" if output is None else msgspec.json.encode(output).decode()


def _failed(error: Any, deployment: Deployment) -> APIError:
    return failure_from_payload({"error": error}, provider=deployment.provider, model=deployment.model)


def _canceled(deployment: Deployment) -> APIError:
    """The error for a prediction that somebody ended: to make it again would be against their will."""
    error = _failed("the prediction was canceled before it had an answer", deployment)
    error.retryable = False
    return error


class ReplicateDecoder:
    """Folds one stream: `output` events are text, `done` ends it, `logs` are for nobody here."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._begun = False
        self._utf8 = getincrementaldecoder("utf-8")("replace")

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks of an event, or of a whole prediction where the model does not stream."""
        if self.ended:
            return NONE
        match frame.event:
            case "output":
                return self._output(frame.data)
            case "error":
                raise _failed(_detail(frame.data), self._deployment)
            case "done":
                return self._done(frame)
            case "" if frame.data.startswith(b"{"):
                return self._whole(frame)
        return NONE

    def finish(self) -> Sequence[Chunk]:
        """The body has ended. Raises `APIConnectionError` unless `done` was seen."""
        if not self.ended:
            raise broken_off("before its event `done`", self._deployment)
        return NONE

    def _output(self, data: bytes) -> Sequence[Chunk]:
        """Text as it came; a character that breaks off is held until the rest of it comes."""
        text = self._utf8.decode(data)
        return self._said(text) if text else NONE

    def _said(self, text: str) -> Sequence[Chunk]:
        role, self._begun = None if self._begun else "assistant", True
        return (self._chunk(StreamChoice(delta=Delta(role=role, content=text))),)

    def _done(self, frame: Frame) -> Sequence[Chunk]:
        try:
            told = msgspec.json.decode(frame.data)
        except UNREADABLE as problem:
            raise bad_frame("the end of a prediction's stream", frame.data, problem, self._deployment) from problem
        reason = told.get("reason") if isinstance(told, dict) else None
        if reason == "canceled":
            raise _canceled(self._deployment)
        if reason == "error":
            raise _failed("the prediction failed in the middle of its stream", self._deployment)
        return self._end()

    def _whole(self, frame: Frame) -> Sequence[Chunk]:
        prediction = predicted(frame.data, self._deployment, unreadable=bad_frame)
        whole = answer(prediction, self._call, self._deployment)
        self.meter = whole.meter
        text = whole.completion.choices[0].message.content or ""
        return [*(self._said(text) if text else NONE), *self._end()]

    def _end(self) -> Sequence[Chunk]:
        self.ended = True
        rest = self._utf8.decode(b"", final=True)
        return [*(self._said(rest) if rest else NONE), self._chunk(StreamChoice(finish_reason="stop", delta=Delta()))]

    def _chunk(self, choice: StreamChoice) -> Chunk:
        return Chunk(
            id=completion_id(self._call),
            created=created_s(self._call),
            model=self._deployment.model,
            choices=[choice],
        )


def _detail(data: bytes) -> Any:
    """What an error event says: JSON with a `detail`, or a text."""
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        return data.decode("utf-8", "replace")
