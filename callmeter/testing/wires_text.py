"""Legacy text completions, out of chat's answers.

Shapes as documented: https://platform.openai.com/docs/api-reference/completions
"""

from collections.abc import Callable
from typing import Any

import msgspec

from callmeter.testing.scripts import Order

_FIELDS = ("id", "created", "model", "system_fingerprint", "usage")


def plain(openai: Callable[[Order], dict[str, Any]]) -> Callable[[Order], dict[str, Any]]:
    """Whole answers, out of chat's."""
    return lambda order: _text(openai(order), "message")


def streamed(openai: Callable[[Order], tuple[int, list[bytes]]]) -> Callable[[Order], tuple[int, list[bytes]]]:
    """Streams, out of chat's; there is no piece that only says whose turn it is."""

    def answer(order: Order) -> tuple[int, list[bytes]]:
        _, (_, *pieces, done) = openai(order)
        wires = [msgspec.json.decode(piece.removeprefix(b"data: ")) for piece in pieces]
        return 0, [*(b"data: " + msgspec.json.encode(_text(wire, "delta")) + b"\n\n" for wire in wires), done]

    return answer


def _text(wire: dict[str, Any], said: str) -> dict[str, Any]:
    choices = [
        {
            "text": choice[said].get("content") or "",
            "index": choice["index"],
            "logprobs": None,
            "finish_reason": choice["finish_reason"],
        }
        for choice in wire["choices"]
    ]
    return {"object": "text_completion", "choices": choices, **{n: wire[n] for n in _FIELDS if n in wire}}
