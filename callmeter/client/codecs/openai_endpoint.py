"""What OpenAI's operations other than chat have in common: a JSON body, an address beside chat's, one form of error."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.openai_answer import NOT_READ, loads, not_the_shape
from callmeter.client.codecs.openai_chat import model_name, request_headers, with_extra
from callmeter.client.codecs.openai_paths import address
from callmeter.client.error_bodies import hides_error
from callmeter.client.failures import failure_at, failure_from_payload
from callmeter.errors import APIError
from callmeter.types import Call, Deployment
from callmeter.wire import WireRequest

W = TypeVar("W")


class OpenAIEndpoint:
    """`POST {api_base}/{path}` with the call's parameters as they are."""

    path: str
    accept: str = "application/json"
    supported: frozenset[str]

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST."""
        return WireRequest(
            url=address(deployment, self.path),
            body=encode_body(self.body(call, deployment)),
            headers=request_headers(call, deployment, self.accept),
            timeouts=call.timeouts,
        )

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body before it is encoded."""
        return with_extra({"model": model_name(deployment), **call.params}, call)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


def read(body: bytes, wire: msgspec.json.Decoder[W], what: str, deployment: Deployment) -> W:
    """An answer of 200 that should be `what`, read by its decoder.

    Raises `APIResponseValidationError`, or the error the answer hides.
    """
    try:
        return wire.decode(body)
    except NOT_READ:
        payload: Any = loads(body)
    if hides_error(payload):
        raise failure_from_payload(payload, provider=deployment.provider, model=deployment.model)
    raise not_the_shape(f"no {what}", body, deployment)
