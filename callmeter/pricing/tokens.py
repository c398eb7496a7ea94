"""Counting the tokens of text and messages: by the model's own tokenizer if it is here, else about right and saying so.

Nothing is downloaded. An estimate never falls when text is added, and never exceeds the text's bytes: a byte-level
tokenizer makes at least one byte of each token.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.errors import BadRequestError
from callmeter.pricing.book import PriceBook, default_book
from callmeter.pricing.tokenizers import Method, Tokenizer, custom, needed, tokenizer_of

PER_MESSAGE = 3
PER_NAME = 1
TO_ANSWER = 3
"""Tokens around each message, for a name in it, and those that begin the answer.

Source: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
"""

PER_IMAGE = {"low": 85}
PER_DETAILED_IMAGE = 765
"""A 1024×1024 image at high detail: 85 + 4 × 170. Source: OpenAI vision guide, calculating costs."""

DEFAULT_IMAGE = 250
"""What existing code expects of an image with `use_default_image_token_count`."""

PIECE = 50_000
"""Characters a tokenizer is given at once: its time can grow with the square of a run without blanks."""


class TokenCount(Struct, frozen=True):
    """How many tokens, and by which method; `estimate` means that nothing here knows the model's vocabulary."""

    tokens: int
    method: Method

    @property
    def estimated(self) -> bool:
        """Whether it is only about right."""
        return self.method == "estimate"


def tokens_in(chars: int, size: int) -> int:
    """About how many tokens `chars` characters that take `size` bytes of UTF-8 are; never more than `size`.

    The usual ratio: four characters a token for Latin text, more tokens where UTF-8 spends more bytes on a character.
    """
    extra = size - chars
    return min(size, -(-(10 * chars + 11 * extra) // 40))


def count_tokens(
    model: str,
    text: str | Sequence[Any] | None = None,
    messages: Sequence[Any] | None = None,
    *,
    tools: Sequence[Any] | None = None,
    custom_tokenizer: Any = None,
    answer_follows: bool = True,
    image_tokens: int | None = None,
    book: PriceBook | None = None,
) -> TokenCount:
    """Tokens of a text (or a list of texts), or of messages in OpenAI's format with the tools offered beside them.

    Messages are framed as OpenAI does. Raises `BadRequestError` where neither or both are given.
    """
    if (text is None) is (messages is None):
        raise BadRequestError("count_tokens takes either text or messages", model=model)
    found = custom(custom_tokenizer) if custom_tokenizer is not None else tokenizer_of(model, book or default_book())
    count = _Counter(found)
    if messages is None:
        texts = (text,) if isinstance(text, str) else text or ()
        return TokenCount(sum(count(str(part)) for part in texts), count.method)
    total = sum(_message(count, message, image_tokens) for message in messages) + (TO_ANSWER if answer_follows else 0)
    if tools:
        total += count(msgspec.json.encode(tools, enc_hook=str).decode())
    return TokenCount(total, count.method)


def token_counter(
    model: str = "",
    custom_tokenizer: Any = None,
    text: str | Sequence[str] | None = None,
    messages: Sequence[Any] | None = None,
    count_response_tokens: bool = False,
    tools: Sequence[Any] | None = None,
    tool_choice: Any = None,
    use_default_image_token_count: bool = False,
    default_token_count: int | None = None,
) -> int:
    """Tokens of a text or of messages for a model, as LiteLLM's helper of that name.

    `count_response_tokens` leaves out the tokens that begin an answer; `default_token_count` is what is returned where
    there is nothing to count. By which method they were counted, `callmeter.pricing.count_tokens` says.
    """
    if text is None and messages is None and default_token_count is not None:
        return default_token_count
    if isinstance(tool_choice, Mapping) and tools:
        tools = [*tools, tool_choice]
    return count_tokens(
        model,
        text,
        messages if text is None else None,
        tools=tools,
        custom_tokenizer=custom_tokenizer,
        answer_follows=not count_response_tokens,
        image_tokens=DEFAULT_IMAGE if use_default_image_token_count else None,
    ).tokens


def encode(model: str = "", text: str = "", custom_tokenizer: Any = None) -> list[int]:
    """The text's tokens. Raises `MissingExtraError` or `BadRequestError` where the model's tokenizer is not here."""
    return _chosen(model, custom_tokenizer).encode(text)


def decode(model: str = "", tokens: Sequence[int] = (), custom_tokenizer: Any = None) -> str:
    """The text of tokens; raises as `encode`."""
    return _chosen(model, custom_tokenizer).decode(tokens)


def _chosen(model: str, given: Any) -> Tokenizer:
    return custom(given) if given is not None else needed(model, default_book())


class _Counter:
    """Tokens of one text after another, all by one method."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self.method: Method = "estimate" if tokenizer is None else tokenizer.method

    def __call__(self, text: str) -> int:
        if self._tokenizer is None:
            return tokens_in(len(text), len(text.encode("utf-8", "surrogatepass")))
        if not text.isascii():
            # Half a character pair is no text to a tokenizer.
            text = text.encode("utf-8", "replace").decode()
        encode = self._tokenizer.encode
        return sum(len(encode(text[at : at + PIECE])) for at in range(0, len(text), PIECE))


def _message(count: _Counter, message: Any, image_tokens: int | None) -> int:
    get = message.get if hasattr(message, "get") else lambda name: getattr(message, name, None)
    total = PER_MESSAGE + count(str(get("role") or ""))
    if get("name"):
        total += PER_NAME + count(str(get("name")))
    for text in _texts(get):
        total += count(text)
    for detail in _images(get("content")):
        total += image_tokens if image_tokens is not None else PER_IMAGE.get(detail, PER_DETAILED_IMAGE)
    return total


def _texts(get: Any) -> Iterable[str]:
    content = get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list | tuple) else ():
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and part.get("text"):
            yield str(part["text"])
    for call in get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else getattr(call, "function", None)
        for name in ("name", "arguments"):
            yield str((function.get(name) if isinstance(function, Mapping) else getattr(function, name, "")) or "")


def _images(content: Any) -> Iterable[str]:
    """The detail asked for of each image."""
    for part in content if isinstance(content, list | tuple) else ():
        if isinstance(part, Mapping) and part.get("type") in ("image_url", "image", "input_image"):
            url = part.get("image_url")
            yield str((url.get("detail") if isinstance(url, Mapping) else None) or "")
