"""`image_generation()` and `aimage_generation()`: a prompt as images."""

from typing import Any

import msgspec

from callmeter.client.making import Made, make
from callmeter.client.mock import Mock, Mocked
from callmeter.client.operations import IMAGE_GENERATION
from callmeter.client.running import arun, run
from callmeter.results import ImageResponse

DEFAULT_MODEL = "openai/dall-e-2"
"""The model of a call that names none, as existing code expects."""


def image_generation(prompt: str, model: str | None = None, **params: Any) -> ImageResponse:
    """Make images of a text, in OpenAI's format whoever serves it.

    Parameters of OpenAI's API are taken by name: `n`, `size`, `quality`, `style`, `response_format`, `background`,
    `output_format`, `user`, …. Each of the answer's `data` has a `url` or `b64_json`. OpenAI has retired the default
    model, so name one.

    Models that count tokens are charged by them, others by the piece, size and quality.

    Everything about the call itself is as in `completion()`, and so are the errors. `mock_response` is a URL.
    """
    return run(_made("image_generation", prompt, model, params))  # type: ignore[no-any-return]


async def aimage_generation(prompt: str, model: str | None = None, **params: Any) -> ImageResponse:
    """`image_generation()` for event loops: the same arguments, results and errors."""
    return await arun(_made("aimage_generation", prompt, model, params))  # type: ignore[no-any-return]


def _made(call_type: str, prompt: str, model: str | None, params: dict[str, Any]) -> Made:
    return make(IMAGE_GENERATION, call_type, model or DEFAULT_MODEL, (), {"prompt": prompt, **params}, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"created": mock.created, "data": [{"url": mock.text()}] * mock.choices})
