"""Anthropic Messages. Requests are written in `anthropic_request`, streams read in `anthropic_stream`.

Source: https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Mapping

import msgspec

from callmeter.client.codecs import anthropic_request
from callmeter.client.codecs.anthropic_answer import WireMessage, completion
from callmeter.client.codecs.anthropic_stream import AnthropicDecoder
from callmeter.client.codecs.base import Answer, Framing
from callmeter.client.codecs.schemas import wanted
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.errors import APIError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest


class Anthropic:
    """The Messages wire, as Anthropic and those who speak it too serve it.

    Quirks of a deployment: `max_output_tokens` (the default of `max_tokens`), `auth: "bearer"`, and `json_schema` and
    `adaptive_thinking` (bool), which tell what the model takes where its name does not.
    """

    framing: Framing = "sse"
    supported = anthropic_request.TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Anthropic has no words for."""
        return anthropic_request.request(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole message. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        try:
            message = _read(reply.body)
            if message.type != "message" or message.error is not None:
                payload = msgspec.json.decode(reply.body)
                raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
            return completion(message, call, by_tool=by_tool(call, deployment))
        except UNREADABLE as problem:
            raise not_the_shape("a message", reply.body, problem, deployment) from problem

    def decoder(self, call: Call, deployment: Deployment) -> AnthropicDecoder:
        """A fresh decoder for one stream."""
        return AnthropicDecoder(call, deployment, by_tool=by_tool(call, deployment))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


def by_tool(call: Call, deployment: Deployment) -> bool:
    """Whether the answer is JSON that a forced tool brings."""
    want = wanted(call.params.get("response_format"))
    return want is not None and anthropic_request.answers_by_tool(want, deployment)


_read = msgspec.json.Decoder(WireMessage).decode

CODEC = Anthropic()
