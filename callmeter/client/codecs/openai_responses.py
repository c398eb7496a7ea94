"""OpenAI's Responses API, two ways in: a chat call for models that are served there alone, and native calls.

A call of the operation `responses` has its `input`, `instructions` and so on among its parameters; its answer is the
API's own, `responses_answer.native(completion)`, its stream's events `responses_stream.native_event(chunk)`. Both are
metered, folded and accounted for as chat.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from callmeter.client.codecs import openai_paths, responses_answer, responses_request
from callmeter.client.codecs.base import Answer
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.client.codecs.responses_stream import ResponsesDecoder
from callmeter.client.operations import RESPONSES
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply


class OpenAIResponses(OpenAIChat):
    """`POST {api_base}/responses`."""

    supported: frozenset[str] = responses_request.TRANSLATED | RESPONSES.params

    def url(self, deployment: Deployment) -> str:
        """The address of responses at this deployment."""
        return openai_paths.address(deployment, "responses")

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded."""
        return responses_request.body(call, deployment)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answer:
        """A whole answer. Raises `APIResponseValidationError`, or the error an answer of 200 hides."""
        return responses_answer.answer(reply.body, call, deployment)

    def decoder(self, call: Call, deployment: Deployment) -> ResponsesDecoder:
        """A fresh decoder for one stream."""
        return ResponsesDecoder(call, deployment)


CODEC = OpenAIResponses()
