"""Gemini's generateContent on AI Studio and on Vertex AI.

Requests are written in `gemini_request`, answers and streams read in `gemini_stream`.
Source: https://ai.google.dev/api/generate-content
"""

from collections.abc import Mapping

import msgspec

from callmeter.client.codecs import gemini_request
from callmeter.client.codecs.base import Answer, Framing
from callmeter.client.codecs.gemini_answer import WireAnswer
from callmeter.client.codecs.gemini_errors import error_within, google_failure
from callmeter.client.codecs.gemini_stream import GeminiDecoder, read
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.fold import Fold
from callmeter.client.usage import completion_usage
from callmeter.errors import APIError
from callmeter.shapes import Choice
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest


class Gemini:
    """The generateContent wire. Which of its two surfaces is called, the provider's name tells.

    Variables: `project` and `location`, where the address lacks them. Quirks of a deployment: `thinking_level` (bool),
    which tells whether the model takes a level or a budget where its name does not.
    """

    framing: Framing = "sse"
    supported = gemini_request.TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Gemini has no words for."""
        return gemini_request.request(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        try:
            answer = read(reply.body)
            if answer.error is not None:
                raise error_within(msgspec.json.decode(reply.body), deployment)
            if answer.candidates is None and answer.prompt_feedback is None and answer.usage_metadata is None:
                raise msgspec.ValidationError("it has no candidates")
            return _whole(answer, call, deployment)
        except UNREADABLE as problem:
            raise not_the_shape("a Gemini answer", reply.body, problem, deployment) from problem

    def decoder(self, call: Call, deployment: Deployment) -> GeminiDecoder:
        """A fresh decoder for one stream."""
        return GeminiDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return google_failure(status, headers, body, deployment)


def _whole(answer: WireAnswer, call: Call, deployment: Deployment) -> Answer:
    """A whole answer, which is a stream of one event; one that was cut off has no finish reason, but is one."""
    decoder, fold = GeminiDecoder(call, deployment), Fold()
    for chunk in decoder.event(answer):
        fold.add(chunk)
    completion = fold.completion()
    completion.choices = completion.choices or [Choice(finish_reason="stop")]
    for choice in completion.choices:
        choice.finish_reason = choice.finish_reason or "stop"
        choice.message.content = choice.message.content or None
    told = decoder.meter
    if told.usage is not None:
        completion.usage = completion_usage(told.usage)
    return Answer(completion, told)


CODEC = Gemini()
