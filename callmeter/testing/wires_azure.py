"""Azure's answers: OpenAI's with the verdicts of content filters, and first of all those on the prompt.

Shapes as documented: https://learn.microsoft.com/en-us/azure/ai-services/openai/concepts/content-filter-annotations
"""

from collections.abc import Callable
from typing import Any

import msgspec

from callmeter.testing.scripts import Order

SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
PROMPT = [{"prompt_index": 0, "content_filter_results": SAFE | {"jailbreak": {"filtered": False, "detected": False}}}]

_FIRST = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": PROMPT}


def plain(openai: Callable[[Order], dict[str, Any]]) -> Callable[[Order], dict[str, Any]]:
    """Whole answers, out of OpenAI's."""

    def answer(order: Order) -> dict[str, Any]:
        whole = openai(order)
        choices = [{"content_filter_results": SAFE, **choice} for choice in whole["choices"]]
        return {**whole, "choices": choices, "prompt_filter_results": PROMPT}

    return answer


def streamed(openai: Callable[[Order], tuple[int, list[bytes]]]) -> Callable[[Order], tuple[int, list[bytes]]]:
    """Streams, out of OpenAI's: verdicts come with every piece of text."""
    verdicts = b'"content_filter_results":' + msgspec.json.encode(SAFE) + b',"index":0'

    def answer(order: Order) -> tuple[int, list[bytes]]:
        lead, pieces = openai(order)
        said = [piece.replace(b'"index":0', verdicts, 1) if b'"content":"' in piece else piece for piece in pieces]
        return lead + 1, [b"data: " + msgspec.json.encode(_FIRST) + b"\n\n", *said]

    return answer
