"""Embeddings on Bedrock: by InvokeModel, in each maker's own format.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.client.codecs import vectors
from callmeter.client.codecs.aws_errors import aws_failure
from callmeter.client.codecs.base import Answered, Meter
from callmeter.client.codecs.bedrock_models import model_of
from callmeter.client.codecs.bedrock_request import model_url
from callmeter.client.codecs.cohere_embedding import STORED
from callmeter.client.codecs.headers import bearer, given
from callmeter.client.codecs.messages import JSON, encode_body
from callmeter.client.codecs.unreadable import UNREADABLE, not_the_shape
from callmeter.client.operations import EMBEDDING
from callmeter.client.usage import metered, required
from callmeter.errors import APIError, BadRequestError
from callmeter.types import Call, Deployment, Usage
from callmeter.wire import WireReply, WireRequest

COUNTED = "x-amzn-bedrock-input-token-count"
"""The header that has the tokens of every model's input."""

TITAN, TITAN_OF_IMAGES, COHERE = "titan-embed", "titan-embed-image", "cohere.embed"


class _ByKind(Struct):
    float: list[list[float]]


class _Cohere(Struct):
    embeddings: list[list[float]] | _ByKind


class _Titan(Struct):
    embedding: list[float]
    input_text_token_count: Any = msgspec.field(default=None, name="inputTextTokenCount")


_read_cohere = msgspec.json.Decoder(_Cohere).decode
_read_titan = msgspec.json.Decoder(_Titan).decode


class BedrockEmbedding:
    """`POST /model/{model}/invoke` to a model of Titan, which takes one text a call, or of Cohere.

    What they know beyond OpenAI's parameters passes as it is: `normalize`, `inputImage`, `input_type`, `truncate`, …
    """

    supported = EMBEDDING.params

    def request(self, call: Call, deployment: Deployment) -> WireRequest:
        """The call as one POST. Raises `BadRequestError` for tokens, a second text for Titan, or another's model."""
        inputs = vectors.texts(call, deployment)
        size = call.params.get("dimensions")
        body = _for_cohere(inputs, size) if _is_cohere(deployment) else _for_titan(inputs, size, deployment)
        headers = {"content-type": "application/json", "accept": "application/json"}
        return WireRequest(
            url=model_url(deployment, "invoke"),
            body=encode_body(body | _beyond(call)),
            headers=headers | bearer(deployment) | given(call, deployment),
            timeouts=call.timeouts,
        )

    def response(self, reply: WireReply, call: Call, deployment: Deployment) -> Answered:
        """A whole answer. Raises `APIResponseValidationError`."""
        counted = _counted(reply.headers)
        images = 0
        try:
            if _is_cohere(deployment):
                told = _read_cohere(reply.body).embeddings
                found = told.float if isinstance(told, _ByKind) else told
            else:
                titan = _read_titan(reply.body)
                found, images = [titan.embedding], int("inputImage" in _beyond(call))
                if titan.input_text_token_count is not None:
                    counted = {"inputTextTokenCount": titan.input_text_token_count}
        except UNREADABLE as problem:
            raise not_the_shape("an answer of embeddings", reply.body, problem, deployment) from problem
        return vectors.answer(found, _meter(counted, images), call, deployment)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> APIError:
        """The error that a non-2xx answer stands for."""
        return aws_failure(status, headers, body, deployment)


CODEC = BedrockEmbedding()


def _beyond(call: Call) -> JSON:
    """What the caller says that OpenAI has no name for."""
    extra = dict(call.extra)
    more = extra.pop("extra_body", None) or {}
    return extra | more


def _is_cohere(deployment: Deployment) -> bool:
    """Whether to speak as Cohere's models do, and not as Titan. Raises `BadRequestError` where it is neither."""
    name = model_of(deployment)
    if COHERE in name:
        return True
    if TITAN in name:
        return False
    raise BadRequestError(
        f"{deployment.model} is no model of Titan's or Cohere's embeddings, the ones spoken to on Bedrock; where it is "
        "an ARN of one, pass base_model='amazon.titan-embed-text-v2:0' or as it is",
        deployment.model,
        deployment.provider,
    )


def _for_cohere(inputs: list[str], size: int | None) -> JSON:
    body: JSON = {"input_type": STORED}
    body |= {"texts": inputs} if inputs else {}
    return body if size is None else {**body, "output_dimension": size}


def _for_titan(inputs: list[str], size: int | None, deployment: Deployment) -> JSON:
    if len(inputs) > 1:
        raise BadRequestError(
            f"input has {len(inputs)} texts: {deployment.model} embeds one a call; make a call for each",
            deployment.model,
            deployment.provider,
        )
    body: JSON = {"inputText": inputs[0]} if inputs else {}
    if size is None:
        return body
    if TITAN_OF_IMAGES in model_of(deployment):
        return {**body, "embeddingConfig": {"outputEmbeddingLength": size}}
    return {**body, "dimensions": size}


def _counted(headers: Mapping[str, str]) -> dict[str, Any] | None:
    told = headers.get(COUNTED, "")
    return {"inputTextTokenCount": int(told)} if told.isdecimal() and len(told) < 20 else None


def _meter(counted: dict[str, Any] | None, images: int) -> Meter:
    """What the answer counts of the text; an image is billed by the piece."""
    units = {"image": Decimal(images)} if images else {}
    return metered(counted, lambda raw: Usage(input_tokens=required(raw, "inputTextTokenCount"), units=units))
