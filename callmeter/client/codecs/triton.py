"""NVIDIA Triton's generate extension: text in, text out, with the sampling parameters of the model's backend.

Triton's own OpenAI-compatible server is spoken to as any: `custom_openai/MODEL` with its address. A stream has no mark
of its end but that of the body.
Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer, Frame, Meter
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.transcripts import transcript
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, broken_off, not_the_shape
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.errors import APIError
from callmeter.shapes import Choice, Chunk, Completion, Delta, Message, StreamChoice
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest

SAME = ("frequency_penalty", "presence_penalty", "seed", "temperature", "top_p")

TRANSLATED = frozenset({*SAME, "max_completion_tokens", "max_tokens", "stop", "stream", "stream_options", "user"})
"""Parameters this wire can carry; `user` is taken for our own account and not sent.

What else a caller passes becomes an input of the model, or one of its parameters where it is within `parameters`.
"""


class _Wire(Struct):
    """A whole answer, or one piece of a stream."""

    text_output: str | list[str] | None = None
    error: str | None = None


_read = msgspec.json.Decoder(_Wire).decode


class Triton:
    """`POST {api_base}/v2/models/{model}/generate`, and `…/generate_stream`."""

    framing: Literal["sse", "ndjson"] = "sse"
    supported = TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what is not text."""
        return WireRequest(
            url=endpoint(deployment, stream=call.stream),
            body=encode_body(_body(call)),
            headers={"content-type": "application/json", **bearer(deployment), **given(call, deployment)},
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        try:
            text = _text(_read(reply.body), deployment)
            if text is None:
                raise msgspec.ValidationError("it has no text_output")
        except UNREADABLE as problem:
            raise not_the_shape("an answer of /generate", reply.body, problem, deployment) from problem
        completion = Completion(
            id=completion_id(call),
            created=created_s(call),
            model=deployment.model,
            choices=[Choice(finish_reason="stop", message=Message(content=text))],
        )
        return Answer(completion, Meter())

    def decoder(self, call: Call, deployment: Deployment) -> "TritonDecoder":
        """A fresh decoder for one stream."""
        return TritonDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = Triton()


def endpoint(deployment: Deployment, *, stream: bool) -> str:
    """The address, out of a server's base or of that of the operation itself."""
    base = deployment.api_base.rstrip("/").removesuffix("_stream")
    if not base.endswith("/generate"):
        base = f"{base.removesuffix('/v2')}/v2/models/{deployment.model}/generate"
    return base + ("_stream" if stream else "")


def _body(call: Call) -> JSON:
    said = transcript(call.messages, "Triton")
    params = call.params
    sampling: JSON = {"stream": call.stream}
    sampling |= {name: params[name] for name in SAME if params.get(name) is not None}
    if (most := params.get("max_completion_tokens") or params.get("max_tokens")) is not None:
        sampling["max_tokens"] = most
    if stop := params.get("stop"):
        sampling["stop"] = stop
    sampling |= {name: value for name, value in params.items() if name not in TRANSLATED}
    extra = dict(call.extra)
    sampling |= extra.pop("parameters", None) or {}
    more = extra.pop("extra_body", None) or {}
    prompt = "\n\n".join(filter(None, (said.system, said.prompt)))
    return {"text_input": prompt, "parameters": sampling, **extra, **more}


def _text(wire: _Wire, deployment: Deployment) -> str | None:
    if wire.error is not None:
        payload = {"error": wire.error}
        raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
    return "".join(wire.text_output) if isinstance(wire.text_output, list) else wire.text_output


class TritonDecoder:
    """Folds one stream of texts."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self.meter = Meter()
        self.ended = False
        self._call = call
        self._deployment = deployment
        self._begun = False

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunk that a frame adds, if it says something."""
        try:
            text = _text(_read(frame.data), self._deployment)
        except UNREADABLE as problem:
            raise bad_frame("a piece of a stream", frame.data, problem, self._deployment) from problem
        if not text:
            return ()
        role, self._begun = None if self._begun else "assistant", True
        return (self._chunk(StreamChoice(delta=Delta(role=role, content=text))),)

    def finish(self) -> Sequence[Chunk]:
        """The body has ended, and with it the answer. Raises `APIConnectionError` where nothing had come."""
        if not self._begun:
            raise broken_off("before its first text", self._deployment)
        self.ended = True
        return (self._chunk(StreamChoice(finish_reason="stop", delta=Delta())),)

    def _chunk(self, choice: StreamChoice) -> Chunk:
        where = self._deployment.model
        return Chunk(id=completion_id(self._call), created=created_s(self._call), model=where, choices=[choice])
