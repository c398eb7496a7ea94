"""Why one call cost more than another: the difference in parts, each with its cause, that add up to it exactly. Pure.

The first call is changed into the second in steps, one cause at a time, and priced after each; a part is what a step
changed. So the parts depend on the order of the steps, which is the order of `Cause`, and their sum does not: each
step begins where the last one ended.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from callmeter.pricing.rates import EXACT
from callmeter.types import Usage

Cause = Literal["price", "model", "tier", "answer", "prompt", "cache", "fees"]
"""What can change. `fees` is everything that is not counted in tokens: searches, images, seconds, …"""

Price = Callable[[Usage], Decimal | None]
"""USD of a usage under the conditions of one of the calls by today's rates; None where a rate is not known."""

_OUTPUT = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")
_INPUT = ("input_tokens", "input_audio_tokens", "input_image_tokens", "input_video_tokens")


class Side(Struct, frozen=True, kw_only=True):
    """One of the two calls."""

    model: str
    tier: str = ""
    usage: Usage
    cost: Decimal
    """USD: what it did cost."""
    price: Price


class Part(Struct, frozen=True):
    """A part of the difference. It has several causes where a price between them is not known."""

    causes: tuple[Cause, ...]
    usd: Decimal


def parts(old: Side, new: Side) -> list[Part]:
    """The parts of `new.cost - old.cost`, in the order of `Cause`, without those that are zero."""
    found: list[Part] = []
    causes: tuple[Cause, ...] = ()
    before = old.cost
    for cause, after in _steps(old, new):
        causes = (*causes, cause)
        if after is None:
            continue
        if after != before:
            found.append(Part(causes, EXACT.subtract(after, before)))
        causes, before = (), after
    if before != new.cost:
        # The last step's price was not known, or today's rates do not give what the call did cost.
        found.append(Part(causes or ("price",), EXACT.subtract(new.cost, before)))
    return found


def _steps(old: Side, new: Side) -> Iterator[tuple[Cause, Decimal | None]]:
    """What changed, step by step, and the price after each."""
    yield "price", old.price(old.usage)
    if old.model != new.model:
        yield "model", new.price(old.usage)
    elif old.tier != new.tier:
        yield "tier", new.price(old.usage)
    usage = old.usage
    for cause, step in _STEPS:
        changed = step(usage, new.usage)
        if changed != usage:
            yield cause, new.cost if changed == new.usage else new.price(changed)
        usage = changed


def _answered(usage: Usage, new: Usage) -> Usage:
    return replace(usage, **{name: getattr(new, name) for name in _OUTPUT})


def _prompted(usage: Usage, new: Usage) -> Usage:
    """The new prompt, as much of it cached as there was before, as far as it has room for that."""
    text = new.input_tokens - new.input_audio_tokens - new.input_image_tokens - new.input_video_tokens
    read_audio = min(usage.cache_read_audio_tokens, new.input_audio_tokens)
    read = min(usage.cache_read_tokens - usage.cache_read_audio_tokens, text)
    written = min(usage.cache_write_tokens, text - read)
    return replace(
        usage,
        **{name: getattr(new, name) for name in _INPUT},
        cache_read_audio_tokens=read_audio,
        cache_read_tokens=read + read_audio,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(usage.cache_write_1h_tokens, text - read - written),
    )


def _cached(usage: Usage, new: Usage) -> Usage:
    return replace(new, units=usage.units)


def _charged(usage: Usage, new: Usage) -> Usage:
    return new


_STEPS: tuple[tuple[Cause, Callable[[Usage, Usage], Usage]], ...] = (
    ("answer", _answered),
    ("prompt", _prompted),
    ("cache", _cached),
    ("fees", _charged),
)
