"""`moderation()` and `amoderation()`: whether content may be harmful."""

from typing import Any

import msgspec

from callmeter.client.making import Made, make
from callmeter.client.mock import Mock, Mocked
from callmeter.client.operations import MODERATION
from callmeter.client.running import arun, run
from callmeter.results import ModerationResponse

FLAGGED = "flagged"
"""The mocked verdict that flags."""

DEFAULT_MODEL = "openai/omni-moderation-latest"
"""OpenAI's own default. Source: https://platform.openai.com/docs/api-reference/moderations/create"""


def moderation(input: Any, model: str | None = None, **params: Any) -> ModerationResponse:
    """Have content judged: `results[0].flagged`, and the categories and scores behind it.

    `input` is a text, a list of texts, or a list of parts with text and images as OpenAI's API takes them.

    Everything about the call itself is as in `completion()`, and so are the errors. `mock_response` is `"flagged"`,
    or any other word for content that is not.
    """
    return run(_made("moderation", input, model, params))  # type: ignore[no-any-return]


async def amoderation(input: Any, model: str | None = None, **params: Any) -> ModerationResponse:
    """`moderation()` for event loops: the same arguments, results and errors."""
    return await arun(_made("amoderation", input, model, params))  # type: ignore[no-any-return]


def _made(call_type: str, input: Any, model: str | None, params: dict[str, Any]) -> Made:
    return make(MODERATION, call_type, model or DEFAULT_MODEL, (), {"input": input, **params}, Mocked(_mocked))


def _mocked(mock: Mock, asked: dict[str, Any]) -> bytes:
    inputs = asked["input"]
    # Parts of one input, as opposed to texts, are judged together.
    texts = len(inputs) if isinstance(inputs, list) and all(isinstance(item, str) for item in inputs) else 1
    verdict = {"flagged": mock.response == FLAGGED, "categories": {}, "category_scores": {}}
    return msgspec.json.encode({"model": asked["model"], "results": [verdict] * texts})
