"""NLP Cloud's text generation: a prompt in, text out, and the tokens of both.

Source: https://docs.nlpcloud.com/#generation
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from callmeter.client.codecs.base import Answer
from callmeter.client.codecs.headers import given
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.minted import completion_id, created_s
from callmeter.client.codecs.transcripts import transcript
from callmeter.client.codecs.unreadable import UNREADABLE, bad_frame, not_the_shape
from callmeter.client.codecs.whole import WholeDecoder
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.client.usage import completion_usage, count, metered, required
from callmeter.errors import APIError
from callmeter.shapes import Choice, Completion, Message
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

RENAMED = {
    "max_completion_tokens": "max_length",
    "max_tokens": "max_length",
    "temperature": "temperature",
    "top_p": "top_p",
}

TRANSLATED = frozenset({*RENAMED, "stop", "stream", "stream_options", "user"})
"""Parameters this wire can carry; of `stop`, one. `user` is taken for our own account and not sent."""


class _Wire(Struct):
    generated_text: str


_read = msgspec.json.Decoder(_Wire).decode


class NLPCloud:
    """`POST {api_base}/{model}/generation`. Streams are whole answers, handed out at once."""

    framing: Literal["sse", "ndjson"] = "sse"
    supported = TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what is not text."""
        key = {"authorization": f"Token {deployment.api_key.reveal()}"} if deployment.api_key else {}
        return WireRequest(
            url=f"{deployment.api_base.rstrip('/')}/{deployment.model}/generation",
            body=encode_body(_body(call)),
            headers={"content-type": "application/json", **key, **given(call, deployment)},
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return _answer(reply.body, call, deployment, whole=True)

    def decoder(self, call: Call, deployment: Deployment) -> WholeDecoder:
        """A fresh decoder for one stream."""
        return WholeDecoder(lambda body: _answer(body, call, deployment, whole=False), deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = NLPCloud()


def _body(call: Call) -> JSON:
    said = transcript(call.messages, "NLP Cloud")
    params = call.params
    body: JSON = {"text": "\n\n".join(filter(None, (said.system, said.prompt))), "remove_input": True}
    body |= {theirs: params[ours] for ours, theirs in RENAMED.items() if params.get(ours) is not None}
    if stop := params.get("stop"):
        body["end_sequence"] = stop if isinstance(stop, str) else stop[0]
    body |= {name: value for name, value in params.items() if name not in TRANSLATED}
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    return {**body, **extra, **more}


def _answer(body: bytes, call: Call, deployment: Deployment, *, whole: bool) -> Answer:
    try:
        payload = msgspec.json.decode(body)
        if hides_error(payload) and "generated_text" not in payload:
            raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
        wire = msgspec.convert(payload, _Wire)
    except UNREADABLE as problem:
        broken = not_the_shape if whole else bad_frame
        raise broken("an answer of /generation", body, problem, deployment) from problem
    told = metered(payload if "nb_generated_tokens" in payload else None, _usage)
    completion = Completion(
        id=completion_id(call),
        created=created_s(call),
        model=deployment.model,
        choices=[Choice(finish_reason="stop", message=Message(content=wire.generated_text))],
        usage=completion_usage(told.usage) if told.usage else None,
    )
    return Answer(completion, told)


def _usage(raw: Any) -> Usage:
    return Usage(input_tokens=required(raw, "nb_input_tokens"), output_tokens=count(raw, "nb_generated_tokens") or 0)
