"""Counting what a provider did not report: an estimate, the band it lies in, and the most it can be.

A byte-level tokenizer makes at least one byte of each token, so bytes bound tokens from above. The estimate itself
(`pricing.tokens.tokens_in`) never falls when text is added, so a stream cut later never looks cheaper. Once enough
whole streams of a model were counted by its provider, their own ratio and its spread take the place of the usual ones.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from callmeter.client.operations import prompts
from callmeter.client.sounding import wav_seconds
from callmeter.client.uploads import Upload
from callmeter.pricing.calibration import Learned
from callmeter.pricing.tokens import PER_DETAILED_IMAGE as TOKENS_PER_IMAGE
from callmeter.pricing.tokens import tokens_in
from callmeter.types import Call, Cost, Usage

__all__ = ["NOTHING_COUNTED", "TOKENS_PER_IMAGE", "counted_usage", "estimated", "prompt_tokens", "tokens_in"]

TOKENS_PER_MESSAGE = 4
"""Role and separators of one chat message. Source: OpenAI cookbook, how to count tokens with tiktoken."""

MOST_TOKENS_PER_IMAGE = 3_000
"""More than the largest image of the models whose table gives no rate of its own."""

NOTHING_COUNTED = Usage()
"""The usage of a call of which nothing can be counted."""

LOW, HIGH = (6, 10), (16, 10)
"""The band around an estimate: six tenths to sixteen tenths of it, cut at the bound."""


def counted_usage(call: Call, output_chars: int, output_bytes: int, reported: Usage | None) -> tuple[Usage, Usage]:
    """The usage of a call whose provider reported none or only part of it, and the most it can have been.

    What was reported stands: a stream's first message may already count the prompt. Of an audio file the seconds are
    counted, if it tells them; where it does not, there is nothing to count.
    """
    output = tokens_in(output_chars, output_bytes)
    if reported is not None and reported.input_tokens:
        least = reported.output_tokens
        return (
            msgspec.structs.replace(reported, output_tokens=max(output, least), reasoning_tokens=None),
            msgspec.structs.replace(reported, output_tokens=max(output_bytes, least), reasoning_tokens=None),
        )
    if (file := call.params.get("file")) is not None and isinstance(file, Upload):
        seconds = wav_seconds(file.content)
        heard = NOTHING_COUNTED if seconds is None else Usage(units={"audio_second": seconds})
        return heard, heard
    chars, size, images = _prompt(call)
    known = TOKENS_PER_MESSAGE * len(call.messages) + _given_tokens(call)
    count = Usage(input_tokens=tokens_in(chars, size) + known + TOKENS_PER_IMAGE * images, output_tokens=output)
    most = Usage(input_tokens=size + known + MOST_TOKENS_PER_IMAGE * images, output_tokens=output_bytes)
    return count, most


def prompt_tokens(call: Call) -> int:
    """About how many tokens the prompt has."""
    return counted_usage(call, 0, 0, None)[0].input_tokens


def calibrated(
    call: Call,
    counted: tuple[Usage, Usage],
    learned: Learned,
    output_bytes: int,
    body_bytes: int,
    reported: Usage | None,
) -> tuple[Usage, Usage, Usage, Usage]:
    """`counted_usage`, corrected by what was learned of the model: the count, the most, and the band's two ends.

    Where too little was learned the band is the usual one. The prompt is not corrected where it holds images, of whose
    bytes no tokens are made, nor where it was reported.
    """
    count, most = counted
    low, high = _scaled(count, LOW, count), _scaled(count, HIGH, most)
    if learned.answer is not None:
        least = reported.output_tokens if reported is not None else 0
        ends = learned.answer.tokens(output_bytes)
        low, count, high = (
            msgspec.structs.replace(usage, output_tokens=max(tokens, least))
            for usage, tokens in zip((low, count, high), ends, strict=True)
        )
    prompt_is_ours = reported is None or not reported.input_tokens
    if learned.prompt is not None and prompt_is_ours and not _prompt(call)[2]:
        ends = learned.prompt.tokens(body_bytes)
        low, count, high = (
            msgspec.structs.replace(usage, input_tokens=min(tokens, most.input_tokens))
            for usage, tokens in zip((low, count, high), ends, strict=True)
        )
    return count, most, low, high


def estimated(
    price: Callable[[Usage], Cost], count: Usage, most: Usage, band: tuple[Usage, Usage] | None = None
) -> Cost:
    """The cost of counted usage with its band; the count is priced exactly, only the count is uncertain."""
    cost = price(count)
    least, dearest = band or (_scaled(count, LOW, count), _scaled(count, HIGH, most))
    low, high = price(least).total, price(dearest).total
    return msgspec.structs.replace(cost, estimated=True, low=_least(low, cost.total), high=high)


def _least(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    return a if b is None or (a is not None and a <= b) else b


def _scaled(count: Usage, by: tuple[int, int], cap: Usage) -> Usage:
    """Both totals scaled and capped; the parts that were reported stay within them."""
    if count.cache_read_tokens or count.cache_write_tokens or count.cache_write_1h_tokens:
        inputs = count.input_tokens
    else:
        inputs = min(cap.input_tokens, count.input_tokens * by[0] // by[1])
    return msgspec.structs.replace(
        count, input_tokens=inputs, output_tokens=min(cap.output_tokens, count.output_tokens * by[0] // by[1])
    )


def _prompt(call: Call) -> tuple[int, int, int]:
    """Characters, bytes and images of everything the model was given to read."""
    chars = size = images = 0
    for text in _texts(call):
        if text is None:
            images += 1
        else:
            chars += len(text)
            size += len(text.encode("utf-8", "surrogatepass")) if not text.isascii() else len(text)
    return chars, size, images


def _texts(call: Call) -> Iterable[str | None]:
    """Every text of the prompt; None for each image."""
    for message in call.messages:
        yield from _message_texts(message)
    for prompt in prompts(call).values():
        yield from (text for text in _flat(prompt) if isinstance(text, str))
    for name in ("tools", "functions", "response_format"):
        given = call.params.get(name)
        if given is not None:
            yield msgspec.json.encode(given, enc_hook=str).decode()


def _given_tokens(call: Call) -> int:
    """How many tokens stand in the prompt as such."""
    return sum(isinstance(item, int) for prompt in prompts(call).values() for item in _flat(prompt))


def _flat(prompt: Any) -> Iterable[Any]:
    """A prompt's texts and tokens, out of whatever lists they stand in."""
    if isinstance(prompt, list | tuple):
        for item in prompt:
            yield from _flat(item)
    elif isinstance(prompt, dict):
        yield from _flat([prompt.get(name) for name in ("text", "content", "output", "arguments")])
    else:
        yield prompt


def _message_texts(message: Any) -> Iterable[str | None]:
    get = message.get if hasattr(message, "get") else lambda name: getattr(message, name, None)
    content = get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list | tuple):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, dict):
                yield None if part.get("type") in ("image_url", "image") else str(part.get("text") or "")
    calls = get("tool_calls")
    if calls:
        yield str(calls)
