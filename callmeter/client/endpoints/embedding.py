"""`embedding()` and `aembedding()`: texts as vectors."""

from typing import Any

import msgspec

from callmeter.client.making import Made, make
from callmeter.client.mock import USAGE, Mock, Mocked
from callmeter.client.operations import EMBEDDING
from callmeter.client.running import arun, run
from callmeter.results import EmbeddingResponse


def embedding(
    model: str,
    input: Any = (),
    dimensions: int | None = None,
    encoding_format: str | None = None,
    **params: Any,
) -> EmbeddingResponse:
    """Turn texts into vectors, in OpenAI's format whoever serves it.

    `input` is a text, a list of texts, a list of tokens or a list of such lists; `data` of the answer has one vector
    for each, in their order. `encoding_format="base64"` leaves the vectors as the provider packed them.

    Everything about the call itself (`api_key`, `timeout`, `num_retries`, `fallbacks`, `metadata`, prices of your own,
    …) is as in `completion()`, and so are the errors. `mock_response` is the vector that every input gets.
    """
    return run(_made("embedding", model, input, dimensions, encoding_format, params))  # type: ignore[no-any-return]


async def aembedding(
    model: str,
    input: Any = (),
    dimensions: int | None = None,
    encoding_format: str | None = None,
    **params: Any,
) -> EmbeddingResponse:
    """`embedding()` for event loops: the same arguments, results and errors."""
    made = _made("aembedding", model, input, dimensions, encoding_format, params)
    return await arun(made)  # type: ignore[no-any-return]


def _made(
    call_type: str, model: str, input: Any, dimensions: int | None, encoding_format: str | None, params: dict[str, Any]
) -> Made:
    given = {"input": input, "dimensions": dimensions, "encoding_format": encoding_format, **params}
    return make(EMBEDDING, call_type, model, (), given, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    inputs = asked["input"]
    one = isinstance(inputs, str) or (inputs and isinstance(inputs[0], int))
    data = [{"index": at, "embedding": mock.response} for at in range(1 if one else len(inputs))]
    usage = {"prompt_tokens": USAGE["prompt_tokens"], "total_tokens": USAGE["prompt_tokens"]}
    return msgspec.json.encode({"model": asked["model"], "data": data, "usage": usage})
