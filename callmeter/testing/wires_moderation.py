"""Moderation as OpenAI answers it: whoever writes of harm is flagged for it.

Shapes as documented: https://platform.openai.com/docs/api-reference/moderations
"""

from typing import Any

import msgspec

from callmeter.testing.scripts import NUMBER, Answer, Wish

CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


class _Body(msgspec.Struct):
    input: Any
    model: str = "omni-moderation-latest"


_body = msgspec.json.Decoder(_Body)


def answer(body: bytes, wish: Wish) -> Answer:
    """A verdict on each text, or on all parts together. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    texts = isinstance(asked.input, list) and all(isinstance(item, str) for item in asked.input)
    results = [_verdict(item) for item in (asked.input if texts else [asked.input])]
    whole = {"id": f"modr-{NUMBER}", "model": asked.model, "results": results}
    return Answer(wire="moderation", model=asked.model, pieces=(msgspec.json.encode(whole),))


def _verdict(item: Any) -> dict[str, Any]:
    flagged = b"harm" in msgspec.json.encode(item)
    hit = {"self-harm", "violence"} if flagged else set[str]()
    return {
        "flagged": flagged,
        "categories": {name: name in hit for name in CATEGORIES},
        "category_scores": {name: 0.9 if name in hit else 0.0001 for name in CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
