"""Gemini's embeddings on AI Studio, and those of Vertex AI, which has another method for them.

Sources: https://ai.google.dev/api/embeddings,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs import vectors
from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.gemini_errors import google_failure
from callmeter.client.codecs.gemini_request import camel, headers, method_url, model_path, on_vertex
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.operations import EMBEDDING
from callmeter.client.usage import metered, required
from callmeter.errors import APIError
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

SETTINGS = frozenset({"outputDimensionality", "autoTruncate"})
"""What Vertex AI takes for a whole request. All else is said of each text, with underscores."""


class _Vector(Struct):
    values: list[float]


class _Studio(Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: Any = None


class _Embedded(Struct):
    values: list[float]
    statistics: Any = None


class _Prediction(Struct):
    embeddings: _Embedded


class _Vertex(Struct):
    predictions: list[_Prediction]


_read_studio = msgspec.json.Decoder(_Studio).decode
_read_vertex = msgspec.json.Decoder(_Vertex).decode


class GeminiEmbedding:
    """`:batchEmbedContents` on AI Studio, `:predict` on Vertex AI. `task_type`, `title` and `auto_truncate` pass."""

    supported = EMBEDDING.params

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for tokens."""
        body = _predict(call, deployment) if on_vertex(deployment) else _batch(call, deployment)
        return WireRequest(
            url=method_url(deployment, "predict" if on_vertex(deployment) else "batchEmbedContents"),
            body=encode_body(body | (call.extra.get("extra_body") or {})),
            headers=headers(call, deployment),
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`."""
        try:
            found, meter = _on_vertex(reply.body) if on_vertex(deployment) else _on_studio(reply.body)
        except UNREADABLE as problem:
            raise not_the_shape("an answer of embeddings", reply.body, problem, deployment) from problem
        return vectors.answer(found, meter, call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return google_failure(status, headers, body, deployment)


CODEC = GeminiEmbedding()


def _options(call: Call) -> JSON:
    """What the caller says beside the texts, under Google's names."""
    said = {camel(name): value for name, value in call.extra.items() if name != "extra_body"}
    size = call.params.get("dimensions")
    return said if size is None else {"outputDimensionality": size, **said}


def _batch(call: Call, deployment: Deployment) -> JSON:
    said, model = _options(call), model_path(deployment.model, "models/")
    contents = [{"role": "user", "parts": [{"text": text}]} for text in vectors.texts(call, deployment)]
    return {"requests": [{"model": model, "content": content, **said} for content in contents]}


def _predict(call: Call, deployment: Deployment) -> JSON:
    said = _options(call)
    settings = {name: said.pop(name) for name in SETTINGS & said.keys()}
    of_each = {{"taskType": "task_type"}.get(name, name): value for name, value in said.items()}
    body: JSON = {"instances": [{"content": text, **of_each} for text in vectors.texts(call, deployment)]}
    return body | ({"parameters": settings} if settings else {})


def _on_studio(body: bytes) -> tuple[list[list[float]], Meter]:
    wire = _read_studio(body)
    meter = metered(wire.usage_metadata, lambda counts: Usage(input_tokens=required(counts, "promptTokenCount")))
    return [vector.values for vector in wire.embeddings], meter


def _on_vertex(body: bytes) -> tuple[list[list[float]], Meter]:
    """Each vector brings its own count; the raw usage is their list."""
    found = [prediction.embeddings for prediction in _read_vertex(body).predictions]
    told = [embedded.statistics for embedded in found]
    if any(statistics is None for statistics in told):
        return [embedded.values for embedded in found], Meter()
    meter = metered({"statistics": told}, lambda raw: Usage(input_tokens=sum(map(_tokens, raw["statistics"]))))
    return [embedded.values for embedded in found], meter


def _tokens(statistics: Any) -> int:
    return required(statistics, "token_count")
