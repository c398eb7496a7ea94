"""Images as OpenAI gives them: one pixel each, counted in tokens by the models that do so.

Shapes as documented: https://platform.openai.com/docs/api-reference/images
"""

from typing import Any

import msgspec

from callmeter.testing.scripts import Answer, Tokens, Wish

CREATED = 1_750_000_000
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
URL = "https://images.test/pixel.png"
TOKENS_EACH = 272
"""Output tokens of an image: what `gpt-image-1` takes for one of low quality. Source: OpenAI's guide to images."""


class _Body(msgspec.Struct):
    model: str
    prompt: str
    n: int = 1
    size: str = "1024x1024"
    quality: str = "low"
    response_format: str = "url"


_body = msgspec.json.Decoder(_Body)


def answer(body: bytes, wish: Wish) -> Answer:
    """As many images as were asked for. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    if not asked.model.startswith("gpt-image"):
        image = {"b64_json": PIXEL} if asked.response_format == "b64_json" else {"url": URL}
        whole: dict[str, Any] = {"created": CREATED, "data": [{**image, "revised_prompt": asked.prompt}] * asked.n}
        return Answer(wire="image", model=asked.model, pieces=(msgspec.json.encode(whole),))
    tokens = Tokens(
        prompt_tokens=-(-len(asked.prompt) // 4) if wish.prompt_tokens is None else wish.prompt_tokens,
        completion_tokens=TOKENS_EACH * asked.n if wish.completion_tokens is None else wish.completion_tokens,
    )
    whole = {
        "created": CREATED,
        "background": "opaque",
        "data": [{"b64_json": PIXEL}] * asked.n,
        "output_format": "png",
        "quality": asked.quality,
        "size": asked.size,
        "usage": {
            "input_tokens": tokens.prompt_tokens,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": tokens.prompt_tokens},
            "output_tokens": tokens.completion_tokens,
            "output_tokens_details": {"image_tokens": tokens.completion_tokens, "text_tokens": 0},
            "total_tokens": tokens.prompt_tokens + tokens.completion_tokens,
        },
    }
    return Answer(wire="image", model=asked.model, pieces=(msgspec.json.encode(whole),), tokens=tokens)
