"""Embeddings as OpenAI gives them, made from the texts alone: the same text has the same vector.

Shapes as documented: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import struct
from hashlib import blake2b
from typing import Any

import msgspec

from callmeter.testing.scripts import Answer, Tokens, Wish

DIMENSIONS = 8
"""Numbers in a vector, unless the request says how many."""


class _Body(msgspec.Struct):
    model: str
    input: Any
    encoding_format: str = "float"
    dimensions: int = DIMENSIONS


_body = msgspec.json.Decoder(_Body)


def answer(body: bytes, wish: Wish) -> Answer:
    """One vector an input; four bytes of input are a token. Raises `msgspec.MsgspecError` for what is no request."""
    asked = _body.decode(body)
    one = isinstance(asked.input, str) or (asked.input and isinstance(asked.input[0], int))
    inputs = [asked.input] if one else asked.input
    written = len(msgspec.json.encode(asked.input))
    tokens = Tokens(prompt_tokens=-(-written // 4) if wish.prompt_tokens is None else wish.prompt_tokens)
    data = [{"object": "embedding", "index": at, "embedding": _vector(item, asked)} for at, item in enumerate(inputs)]
    whole: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
    if wish.usage:
        whole["usage"] = {"prompt_tokens": tokens.prompt_tokens, "total_tokens": tokens.prompt_tokens}
    return Answer(wire="embedding", model=asked.model, pieces=(msgspec.json.encode(whole),), tokens=tokens)


def _vector(item: Any, asked: _Body) -> list[float] | str:
    number = int.from_bytes(blake2b(msgspec.json.encode(item), digest_size=4).digest(), "big")
    # Sixteenths are the same in 32 and in 64 bits.
    numbers = [((number >> at % 29) % 32 - 16) / 16 for at in range(asked.dimensions)]
    if asked.encoding_format != "base64":
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
