"""Embeddings as OpenAI and others give them, made from the texts alone: the same text has the same vector.

OpenAI's shape as documented: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from callmeter.testing.scripts import NUMBER, Answer, Tokens, Wish

DIMENSIONS = 8
"""Numbers in a vector, unless the request says how many."""


class _Body(msgspec.Struct):
    model: str
    input: Any
    encoding_format: str = "float"
    dimensions: int = DIMENSIONS
    output_dimension: int | None = None
    """Voyage AI's word for it."""


_body = msgspec.json.Decoder(_Body)


def answer(body: bytes, wish: Wish) -> Answer:
    """OpenAI's: one vector an input. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    one = isinstance(asked.input, str) or (asked.input and isinstance(asked.input[0], int))
    inputs = [asked.input] if one else asked.input
    tokens, size = _tokens(inputs, wish), asked.output_dimension or asked.dimensions
    data = [
        {"object": "embedding", "index": at, "embedding": _vector(item, size, asked.encoding_format)}
        for at, item in enumerate(inputs)
    ]
    whole: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
    if wish.usage:
        whole["usage"] = {"prompt_tokens": tokens.prompt_tokens, "total_tokens": tokens.prompt_tokens}
    return _told("embedding", asked.model, whole, tokens)


def ollama(body: bytes, wish: Wish) -> Answer:
    """Ollama's. Source: https://docs.ollama.com/api/embed"""
    asked = _body.decode(body)
    inputs = [asked.input] if isinstance(asked.input, str) else asked.input
    tokens = _tokens(inputs, wish)
    whole: dict[str, Any] = {"model": asked.model, "embeddings": [_vector(item, asked.dimensions) for item in inputs]}
    whole |= {"prompt_eval_count": tokens.prompt_tokens} if wish.usage else {}
    return _told("ollama_embedding", asked.model, whole, tokens)


class _CohereBody(msgspec.Struct):
    model: str
    texts: list[str]
    input_type: str
    output_dimension: int = DIMENSIONS


def cohere(body: bytes, wish: Wish) -> Answer:
    """Cohere's. Source: https://docs.cohere.com/reference/embed"""
    asked = msgspec.json.decode(body, type=_CohereBody)
    tokens = _tokens(asked.texts, wish)
    found = {"float": [_vector(text, asked.output_dimension) for text in asked.texts]}
    # Counts are floats there.
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(tokens.prompt_tokens)}}
    whole = {"id": NUMBER, "embeddings": found, "texts": asked.texts, "response_type": "embeddings_by_type"}
    return _told("cohere_embedding", asked.model, whole | ({"meta": meta} if wish.usage else {}), tokens)


class _Part(msgspec.Struct):
    text: str = ""


class _Content(msgspec.Struct):
    parts: list[_Part]


class _StudioRequest(msgspec.Struct, rename="camel"):
    content: _Content
    output_dimensionality: int = DIMENSIONS


class _StudioBody(msgspec.Struct):
    model: str
    requests: list[_StudioRequest]


def studio(body: bytes, wish: Wish) -> Answer:
    """Gemini's on AI Studio. Source: https://ai.google.dev/api/embeddings"""
    asked = msgspec.json.decode(body, type=_StudioBody)
    texts = ["".join(part.text for part in each.content.parts) for each in asked.requests]
    sizes = [each.output_dimensionality for each in asked.requests]
    tokens = _tokens(texts, wish)
    whole: dict[str, Any] = {"embeddings": [{"values": _vector(*each)} for each in zip(texts, sizes, strict=True)]}
    whole |= {"usageMetadata": {"promptTokenCount": tokens.prompt_tokens}} if wish.usage else {}
    return _told("gemini_embedding", asked.model, whole, tokens)


class _Instance(msgspec.Struct):
    content: str


class _Parameters(msgspec.Struct, frozen=True, rename="camel"):
    output_dimensionality: int = DIMENSIONS


class _VertexBody(msgspec.Struct):
    model: str
    instances: list[_Instance]
    parameters: _Parameters = _Parameters()


def vertex(body: bytes, wish: Wish) -> Answer:
    """Vertex AI's, where each vector has its own count.

    Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
    """
    asked = msgspec.json.decode(body, type=_VertexBody)
    texts = [each.content for each in asked.instances]
    tokens = _tokens(texts, wish)
    # All that was wished for stands at the first.
    counts = [tokens.prompt_tokens, *([0] * len(texts))]
    predictions = []
    for text, count in zip(texts, counts, strict=False):
        found: dict[str, Any] = {"values": _vector(text, asked.parameters.output_dimensionality)}
        found |= {"statistics": {"token_count": count, "truncated": False}} if wish.usage else {}
        predictions.append({"embeddings": found})
    return _told("vertex_embedding", asked.model, {"predictions": predictions}, tokens)


class _BedrockBody(msgspec.Struct):
    model: str
    input_text: str | None = msgspec.field(default=None, name="inputText")
    texts: list[str] = []
    dimensions: int = DIMENSIONS
    output_dimension: int = DIMENSIONS


def bedrock(body: bytes, wish: Wish) -> Answer:
    """Titan's on Bedrock for a text, Cohere's for texts; a header counts the tokens of both.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
    """
    asked = msgspec.json.decode(body, type=_BedrockBody)
    if asked.input_text is None:
        tokens = _tokens(asked.texts, wish)
        found = [_vector(text, asked.output_dimension) for text in asked.texts]
        whole: dict[str, Any] = {"id": NUMBER, "embeddings": found, "texts": asked.texts}
        whole["response_type"] = "embeddings_floats"
    else:
        tokens = _tokens([asked.input_text], wish)
        vector = _vector(asked.input_text, asked.dimensions)
        whole = {"embedding": vector, "embeddingsByType": {"float": vector}}
        whole |= {"inputTextTokenCount": tokens.prompt_tokens} if wish.usage else {}
    counted = (("x-amzn-bedrock-input-token-count", str(tokens.prompt_tokens)),) if wish.usage else ()
    return replace(_told("bedrock_embedding", asked.model, whole, tokens), headers=counted)


def _tokens(inputs: Sequence[Any], wish: Wish) -> Tokens:
    """Four bytes of input are a token."""
    written = sum(len(msgspec.json.encode(item)) for item in inputs)
    return Tokens(prompt_tokens=-(-written // 4) if wish.prompt_tokens is None else wish.prompt_tokens)


def _told(wire: str, model: str, whole: dict[str, Any], tokens: Tokens) -> Answer:
    return Answer(wire=wire, model=model, pieces=(msgspec.json.encode(whole),), tokens=tokens)


def _vector(item: Any, dimensions: int, form: str = "float") -> list[float] | str:
    number = int.from_bytes(blake2b(msgspec.json.encode(item), digest_size=4).digest(), "big")
    # Sixteenths are the same in 32 and in 64 bits.
    numbers = [((number >> at % 29) % 32 - 16) / 16 for at in range(dimensions)]
    return numbers if form != "base64" else base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
