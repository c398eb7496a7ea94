"""Amazon Bedrock's Converse and ConverseStream: one wire for every maker's models.

Requests are written in `bedrock_request`, answers and streams read in `bedrock_stream`.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Mapping

import msgspec

from callmeter.client.codecs import bedrock_request
from callmeter.client.codecs.aws_errors import aws_failure
from callmeter.client.codecs.base import Answer, Framing
from callmeter.client.codecs.bedrock_answer import WireAnswer
from callmeter.client.codecs.bedrock_stream import BedrockDecoder
from callmeter.client.codecs.schemas import wanted
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.error_bodies import hides_error
from callmeter.client.fold import Fold
from callmeter.errors import APIError
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply, WireRequest


class Bedrock:
    """The Converse wire.

    Variables: `model_id`, what is called where the model's name says only what it costs. Quirks of a deployment:
    `json_schema`, `tool_choice` and `adaptive_thinking` (bool), which tell what the model takes where its name cannot.
    """

    framing: Framing = "eventstream"
    supported = bedrock_request.TRANSLATED

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Converse has no words for."""
        return bedrock_request.request(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        try:
            answer = _read(reply.body)
            content = None if answer.output is None or answer.output.message is None else answer.output.message.content
            if content is None:
                if hides_error(msgspec.json.decode(reply.body)):
                    raise aws_failure(500, reply.headers, reply.body, deployment)
                raise msgspec.ValidationError("it has no output.message.content")
            answer_id = reply.headers.get("x-amzn-requestid", "")
            decoder = BedrockDecoder(call, deployment, by_tool=_by_tool(call, deployment), answer_id=answer_id)
            fold = Fold()
            for chunk in decoder.whole(answer, content):
                fold.add(chunk)
        except UNREADABLE as problem:
            raise not_the_shape("an answer of Converse", reply.body, problem, deployment) from problem
        return Answer(fold.completion(), decoder.meter)

    def decoder(self, call: Call, deployment: Deployment) -> BedrockDecoder:
        """A fresh decoder for one stream."""
        return BedrockDecoder(call, deployment, by_tool=_by_tool(call, deployment))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return aws_failure(status, headers, body, deployment)


def _by_tool(call: Call, deployment: Deployment) -> bool:
    want = wanted(call.params.get("response_format"))
    return want is not None and bedrock_request.answers_by_tool(want, deployment)


_read = msgspec.json.Decoder(WireAnswer).decode

CODEC = Bedrock()
