"""A usage object as disjoint lines to be charged, or the reason why it cannot be charged at all. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from callmeter.types import Usage

MAX_COUNT = 2**53
"""Beyond this a JSON number is no longer exact everywhere, and no call consumes that much."""

MAX_DECIMALS = 18
"""Digits after the point of a quantity that is not a token count, such as seconds."""

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "cache_read_audio_tokens",
    "input_image_tokens",
    "output_image_tokens",
    "input_video_tokens",
)

Quantities = list[tuple[str, int | Decimal]]
"""Lines and how much of each was consumed; none is zero, token lines add up to the inclusive totals."""


class InvalidUsage(ValueError):
    """Counts that cannot be. The message names the count and its value."""


def disjoint(usage: Usage) -> Quantities:
    """What was consumed, each unit under exactly one line.

    Raises `InvalidUsage` where a count is not a whole number from 0 to 2**53, a quantity is not a plain decimal of
    that size, or parts exceed their total.
    """
    if usage.__class__ is not Usage:
        raise InvalidUsage(f"usage is a {type(usage).__name__}, not a callmeter Usage")
    text_in, text_out, read, write, write_1h = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )
    reasoning = 0 if usage.reasoning_tokens is None else usage.reasoning_tokens
    audio, read_audio, audio_out = usage.input_audio_tokens, usage.cache_read_audio_tokens, usage.output_audio_tokens
    image, video, image_out = usage.input_image_tokens, usage.input_video_tokens, usage.output_image_tokens
    # bool is an int to isinstance; its class tells it apart. A negative among integers makes their union negative.
    # Parts need no maximum: they are within their totals.
    if (
        not (
            (text_in.__class__ is text_out.__class__ is read.__class__ is write.__class__ is write_1h.__class__ is int)
            and (reasoning.__class__ is audio.__class__ is read_audio.__class__ is audio_out.__class__ is int)
            and (image.__class__ is video.__class__ is image_out.__class__ is int)
        )
        or (
            (text_in | text_out | read | write | write_1h)
            | (reasoning | audio | read_audio | audio_out | image | video | image_out)
        )
        < 0
        or text_in > MAX_COUNT
        or text_out > MAX_COUNT
    ):
        raise InvalidUsage(_first_bad_count(usage))
    audio -= read_audio
    text_in -= read + write + write_1h + audio + image + video
    text_out -= reasoning + audio_out + image_out
    read -= read_audio
    if text_in < 0 or text_out < 0 or audio < 0 or read < 0:
        raise InvalidUsage(_first_bad_count(usage) or _first_excess(usage))
    found: Quantities = []
    if text_in:
        found.append(("input", text_in))
    if read:
        found.append(("cache_read", read))
    if write:
        found.append(("cache_write_5m", write))
    if write_1h:
        found.append(("cache_write_1h", write_1h))
    if audio or read_audio or image or video:
        found.extend(
            pair
            for pair in (
                ("audio_in", audio),
                ("cache_read_audio", read_audio),
                ("image_in", image),
                ("video_in", video),
            )
            if pair[1]
        )
    if text_out:
        found.append(("output", text_out))
    if reasoning or audio_out or image_out:
        found.extend(
            pair for pair in (("reasoning", reasoning), ("audio_out", audio_out), ("image_out", image_out)) if pair[1]
        )
    if usage.units or usage.units.__class__ is not dict:
        found.extend(pieces(usage.units))
    return found


def pieces(units: Any) -> Iterator[tuple[str, int | Decimal]]:
    """What is not counted in tokens, checked; lines with nothing consumed are left out."""
    if not isinstance(units, Mapping):
        raise InvalidUsage(f"units is {_shown(units)}, not a mapping of line to quantity")
    for line, quantity in units.items():
        if not isinstance(line, str):
            raise InvalidUsage(f"units has the line {_shown(line)}, which is not text")
        if not _is_quantity(quantity):
            raise InvalidUsage(f"units[{line!r:.60}] is {_shown(quantity)}, not a quantity from 0 to 2**53")
        if quantity:
            yield line, quantity


def _is_quantity(value: Any) -> bool:
    if value.__class__ is int:
        return bool(0 <= value <= MAX_COUNT)
    if value.__class__ is not Decimal or not value.is_finite():
        return False
    return bool(0 <= value <= MAX_COUNT) and value == round(value, MAX_DECIMALS)


def _first_bad_count(usage: Usage) -> str:
    for name in _COUNTS:
        value: Any = getattr(usage, name)
        if value is None and name == "reasoning_tokens":
            continue
        if value.__class__ is not int or not 0 <= value <= MAX_COUNT:
            return f"{name} is {_shown(value)}, not a whole number from 0 to 2**53"
    return ""


def _first_excess(usage: Usage) -> str:
    if usage.cache_read_audio_tokens > min(usage.cache_read_tokens, usage.input_audio_tokens):
        return f"cache_read_audio_tokens is {usage.cache_read_audio_tokens}, more than the cache reads or the audio"
    parts = usage.output_tokens - (usage.reasoning_tokens or 0) - usage.output_audio_tokens - usage.output_image_tokens
    if parts < 0:
        return f"the parts of output_tokens = {usage.output_tokens} exceed it by {-parts}"
    return f"the parts of input_tokens = {usage.input_tokens} exceed it"


def _shown(value: object) -> str:
    """A value for a message; a count of a million digits must not make one."""
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of more than 40 digits"
    try:
        return f"{value!r:.60}"
    except Exception:
        return f"a {type(value).__name__}"
