"""Ollama's embeddings. Source: https://docs.ollama.com/api/embed"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from callmeter.client.codecs import vectors
from callmeter.client.codecs.base import Answered
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.ollama import endpoint
from callmeter.client.codecs.openai_chat import with_extra
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.failures import failure_at
from callmeter.client.operations import EMBEDDING
from callmeter.client.usage import metered, required
from callmeter.errors import APIError
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest


class _Wire(Struct):
    embeddings: list[list[float]]
    model: str = ""
    prompt_eval_count: int | None = None


_read = msgspec.json.Decoder(_Wire).decode


class OllamaEmbedding:
    """`POST {api_base}/api/embed`. `truncate`, `keep_alive` and `options` pass as they are."""

    supported = EMBEDDING.params

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for tokens."""
        body: JSON = {"model": deployment.model, "input": vectors.texts(call, deployment)}
        if call.params.get("dimensions") is not None:
            body["dimensions"] = call.params["dimensions"]
        return WireRequest(
            url=endpoint(deployment.api_base, "embed"),
            body=encode_body(with_extra(body, call)),
            headers={"content-type": "application/json", **bearer(deployment), **given(call, deployment)},
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`."""
        try:
            wire = _read(reply.body)
        except UNREADABLE as problem:
            raise not_the_shape("an answer of embeddings", reply.body, problem, deployment) from problem
        raw = None if wire.prompt_eval_count is None else {"prompt_eval_count": wire.prompt_eval_count}
        meter = metered(raw, lambda counts: Usage(input_tokens=required(counts, "prompt_eval_count")))
        return vectors.answer(wire.embeddings, meter, call, deployment, wire.model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return failure_at(status, headers, body, deployment)


CODEC = OllamaEmbedding()
