"""Cohere's v2 embeddings. Source: https://docs.cohere.com/reference/embed"""

from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs import vectors
from callmeter.client.codecs.base import Answered
from callmeter.client.codecs.cohere import CohereEndpoint
from callmeter.client.codecs.messages import JSON
from callmeter.client.codecs.openai_chat import with_extra
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.operations import EMBEDDING
from callmeter.client.usage import at, count, metered, required
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply

STORED = "search_document"
"""What texts are embedded for where the caller does not say; Cohere's models want to be told."""


class _Vectors(Struct):
    float: list[list[float]]


class _Wire(Struct):
    embeddings: _Vectors
    meta: Any = None


_read = msgspec.json.Decoder(_Wire).decode


class CohereEmbedding(CohereEndpoint):
    """`POST {api_base}/v2/embed`. `input_type`, `truncate`, `images` and the rest pass as they are."""

    path = "embed"
    supported = EMBEDDING.params

    def body(self, call: Call, deployment: Deployment) -> JSON:
        """The body. Raises `BadRequestError` for tokens."""
        body: JSON = {"model": deployment.model, "input_type": STORED, "embedding_types": ["float"]}
        if texts := vectors.texts(call, deployment):
            body["texts"] = texts
        if call.params.get("dimensions") is not None:
            body["output_dimension"] = call.params["dimensions"]
        return with_extra(body, call)

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`."""
        try:
            wire = _read(reply.body)
        except UNREADABLE as problem:
            raise not_the_shape("an answer of embeddings", reply.body, problem, deployment) from problem
        meter = metered(at(wire.meta, "billed_units"), _usage)
        return vectors.answer(wire.embeddings.float, meter, call, deployment)


CODEC = CohereEmbedding()


def _usage(billed: Any) -> Usage:
    """Texts are billed by token, images by image tokens. Raises `InvalidUsage`."""
    images = count(billed, "image_tokens") or 0
    text = count(billed, "input_tokens") if images else required(billed, "input_tokens")
    return Usage(input_tokens=(text or 0) + images, input_image_tokens=images)
