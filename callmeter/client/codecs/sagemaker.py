"""Endpoints of Amazon SageMaker whose containers speak OpenAI's chat, as TGI, vLLM and DJL do.

InvokeEndpoint hands a container the body as it is; InvokeEndpointWithResponseStream wraps what the container streams
in events, whose bytes are server-sent events cut anywhere.
Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
"""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from msgspec.structs import replace

from callmeter.client.codecs.aws_errors import aws_failure, error_within
from callmeter.client.codecs.base import Frame, Framing, Meter
from callmeter.client.codecs.openai_chat import OpenAIChat
from callmeter.client.codecs.openai_stream import OpenAIChatDecoder
from callmeter.client.framing import SSE
from callmeter.errors import APIError
from callmeter.shapes import Chunk
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

COMPONENT = "x-amzn-sagemaker-inference-component"

ACCEPT_STREAMED = "x-amzn-sagemaker-accept"
"""What the container is asked for; `accept` itself is about Amazon's wrapping."""


class SageMaker(OpenAIChat):
    """`POST /endpoints/{endpoint}/invocations`, or `…/invocations-response-stream`.

    The model is the endpoint's name. Variables: `model_id`, one of several models (inference components) behind it.
    """

    framing: Framing = "eventstream"

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for a message or format that is no JSON object."""
        request = super().request(call, deployment)
        headers = dict(request.headers)
        if component := deployment.variables.get("model_id"):
            headers.setdefault(COMPONENT, component)
        if call.stream:
            headers.setdefault(ACCEPT_STREAMED, headers.pop("accept"))
        operation = "invocations-response-stream" if call.stream else "invocations"
        endpoint = quote(deployment.model, safe="")
        url = f"{deployment.api_base.rstrip('/')}/endpoints/{endpoint}/{operation}"
        return replace(request, url=url, headers=headers)

    def decoder(self, call: Call, deployment: Deployment) -> "SageMakerDecoder":
        """A fresh decoder for one stream."""
        return SageMakerDecoder(call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for: Amazon's, or the container's within it."""
        return aws_failure(status, headers, body, deployment)


class SageMakerDecoder:
    """OpenAI's decoder over what the parts of the stream hold, put together."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self._deployment = deployment
        self._container = OpenAIChatDecoder(call, deployment)
        self._parts = SSE()
        self.ended = False

    @property
    def meter(self) -> Meter:
        """The last word on usage."""
        return self._container.meter

    def chunks(self, frame: Frame) -> Sequence[Chunk]:
        """The chunks a part completes."""
        if frame.failed or not frame.event:
            raise error_within(frame, self._deployment)
        if frame.event != "PayloadPart":
            return ()
        return self._read(self._parts.feed(frame.data))

    def finish(self) -> Sequence[Chunk]:
        """The body has ended: what its last part left open, and the usage."""
        return [*self._read(self._parts.close()), *self._container.finish()]

    def _read(self, frames: Iterable[Frame]) -> list[Chunk]:
        found = [chunk for frame in frames for chunk in self._container.chunks(frame)]
        self.ended = self._container.ended
        return found


CODEC = SageMaker()
