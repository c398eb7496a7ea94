"""Anthropic Messages on Vertex AI: the model stands in the address, the version in the body, and a token signs.

Source: https://docs.anthropic.com/en/api/claude-on-vertex-ai
"""

from collections.abc import Mapping

from callmeter.client.codecs.anthropic import Anthropic
from callmeter.client.codecs.anthropic_request import request_body, with_betas
from callmeter.client.codecs.gemini_errors import google_failure
from callmeter.client.codecs.gemini_request import model_path, vertex_base
from callmeter.client.codecs.headers import bearer
from callmeter.client.codecs.messages import encode_body
from callmeter.errors import APIError
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

VERSION = "vertex-2023-10-16"


class AnthropicOnVertex(Anthropic):
    """The Messages wire under a publisher's model of a Google Cloud project. Answers are Anthropic's own.

    Variables: `project` and `location`, where the address lacks them. Quirks are those of `Anthropic`.
    """

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for what Anthropic has no words for."""
        body, betas = request_body(call, deployment)
        del body["model"]
        body = {"anthropic_version": VERSION, **body}
        path = model_path(deployment.model, "publishers/anthropic/models/")
        return WireRequest(
            url=f"{vertex_base(deployment)}/{path}:{'streamRawPredict' if call.stream else 'rawPredict'}",
            body=encode_body(body),
            headers=with_betas({"content-type": "application/json", **bearer(deployment)}, betas, call, deployment),
            timeouts=call.timeouts,
        )

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for: Google's, or Anthropic's passed through."""
        return google_failure(status, headers, body, deployment)


CODEC = AnthropicOnVertex()
