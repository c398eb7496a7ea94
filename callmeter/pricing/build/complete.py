"""Figures that no source states and that follow from those it does, so that conditions combine. Pure.

A price list names what its provider's page has a column for. What a call of several conditions pays is then known only
by proportion: without that it would have two prices, or one of a long context the price of a short one.
"""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from callmeter.pricing.build.offers import Slot

MAIN = ("input", "output")

INFERRED = "inferred"
"""The source of figures that follow from others."""

DECIDED = "decided"
"""The source of a figure that `overrides.toml` sets; its note has the reason."""


class Figure(NamedTuple):
    """A rate that was decided, and who says so."""

    price: Decimal
    source: str
    agreed: tuple[str, ...] = ()
    note: str = ""


Figures = dict[Slot, Figure]

BATCH = "batch"

_AS_INPUT = "the batch has none: charged as input"
"""Of a line of the cache. It holds of each region's own price of input, and is carried to none by proportion."""

_FOLLOWERS: Mapping[str, tuple[str, ...]] = {
    "input": ("cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in", "video_in"),
    "output": ("reasoning",),
}
"""Lines that grow as input and output do where a context is long."""

_KINDS: Mapping[str, str] = {
    "audio_in": "input",
    "image_in": "input",
    "video_in": "input",
    "reasoning": "output",
    "audio_out": "output",
    "image_out": "output",
}
"""Kinds of token, and the text that a service tier makes cheaper or dearer together with them."""

CACHES: Mapping[str, tuple[str, str]] = {
    "cache_read": ("input", ""),
    "cache_write_5m": ("input", "cache_read"),
    "cache_write_1h": ("input", "cache_write_5m"),
    "cache_read_audio": ("audio_in", "cache_read"),
}
"""Lines of the cache: the line that is charged in their place, and one whose rate says how a tier treats the cache."""


class Habits(Struct, frozen=True, kw_only=True):
    """What a provider says of all its prices."""

    short_only: tuple[str, ...] = ()
    """Service tiers that are not sold for long contexts, which are served and charged as standard."""
    cached_input: Decimal | None = None
    """The part of its input's price that cached input costs where no source has a rate for it."""


def completed(figures: Mapping[Slot, Figure], habits: Habits = Habits()) -> Figures:
    """The figures with those that follow from them."""
    found = dict(figures)
    if habits.cached_input is not None:
        _cached_input(found, habits.cached_input)
    _standard_when_long(found, habits.short_only)
    _long_contexts(found)
    _tiers(found)
    _tiers_of_regions(found)
    _long_contexts_elsewhere(found)
    _tiers_in_regions(found)
    _tiers(found)
    return found


def _long_contexts(figures: Figures) -> None:
    """What a long context pays is for the whole request: its cache and reasoning grow as input and output do."""
    long = {slot._replace(floor=0) for slot in figures if slot.floor}
    for slot in [slot for slot in figures if slot.floor and slot.line in MAIN]:
        short = slot._replace(floor=0)
        for line in _FOLLOWERS[slot.line]:
            if short._replace(line=line) not in long:
                _follow(figures, slot._replace(line=line), slot, short._replace(line=line), short)


def _cached_input(figures: Figures, part: Decimal) -> None:
    """What a read of the cache costs by the provider's rule.

    One price for input and output is a price by the model's size, for which Fireworks says that there is no discount.
    """
    cached, text, answer = Slot("cache_read"), figures.get(Slot("input")), figures.get(Slot("output"))
    if cached not in figures and text is not None and answer is not None and text.price != answer.price:
        note = f"{part} of input, as the provider says of its models"
        figures[cached] = Figure(fine(text.price * part), INFERRED, note=note)


def _standard_when_long(figures: Figures, tiers: Collection[str]) -> None:
    """The price of long contexts in tiers that are for short ones only, where nobody states another."""
    for slot in [slot for slot in figures if slot.floor and not slot.tier]:
        for tier in tiers:
            there = slot._replace(tier=tier)
            if there not in figures and there._replace(floor=0) in figures:
                figures[there] = Figure(figures[slot].price, INFERRED, note="long contexts are served as standard")


def _tiers(figures: Figures) -> None:
    """What a service tier's list leaves out of the ordinary one.

    What is left out is the same part of the ordinary price as its text, or as another line of the cache. Batches whose
    list has no rate for the cache have no discount for it, and charge it as input: so say OpenAI and Groq.
    Sources: https://platform.openai.com/docs/guides/prompt-caching, https://console.groq.com/docs/batch
    """
    for tier in _lists(figures):
        stated = {slot.line for slot in figures if _list_of(slot) == tier}
        for line, main in _KINDS.items():
            if main in stated:
                _as_in_tier(figures, tier._replace(line=line), main)
        for line, (main, sibling) in CACHES.items():
            slot, instead = tier._replace(line=line), tier._replace(line=main)
            if sibling in stated:
                _as_in_tier(figures, slot, sibling)
            elif tier.tier != BATCH:
                _as_in_tier(figures, slot, main)
            elif slot not in figures and slot._replace(tier="") in figures and instead in figures:
                figures[slot] = Figure(figures[instead].price, INFERRED, note=_AS_INPUT)


def _lists(figures: Figures) -> list[Slot]:
    """The price lists of service tiers, for short contexts at any hour; each as a slot without a line."""
    return sorted({tier for slot in figures if (tier := _list_of(slot)) is not None})


def _list_of(slot: Slot) -> Slot | None:
    return slot._replace(line="") if slot.tier and not (slot.window or slot.floor) else None


def _as_in_tier(figures: Figures, slot: Slot, other: str) -> None:
    """A line that is the same part of its ordinary price in a tier as another line is."""
    there = slot._replace(line=other)
    _follow(figures, slot, there, slot._replace(tier=""), there._replace(tier=""))


def _tiers_of_regions(figures: Figures) -> None:
    """A tier that is listed for regions only is the same part of the ordinary price elsewhere."""
    for slot in [s for s in figures if s.tier and s.region and not (s.window or s.floor)]:
        if figures[slot].note == _AS_INPUT:
            continue
        regional, plain = slot._replace(tier=""), slot._replace(tier="", region="")
        _follow(figures, slot._replace(region=""), slot, plain, regional)


def _long_contexts_elsewhere(figures: Figures) -> None:
    """A tier or region that is listed for short contexts only is the same part of the price of long ones."""
    for slot in [slot for slot in figures if slot.floor and not (slot.tier or slot.region or slot.window)]:
        for other in [s for s in figures if s.line == slot.line and (s.tier or s.region) and not s.floor]:
            _follow(figures, other._replace(floor=slot.floor), slot, other, slot._replace(floor=0))


def _tiers_in_regions(figures: Figures) -> None:
    """A tier in a region costs the tier's price times the region's surcharge."""
    for region, tier in _pairs(figures):
        both = tier._replace(region=region.region)
        _follow(figures, both, tier, region, tier._replace(tier=""))
        if both not in figures:
            dearer = max(figures[tier], figures[region], key=lambda figure: figure.price)
            figures[both] = Figure(dearer.price, INFERRED, note="the dearer of the two that apply")


def _pairs(figures: Figures) -> Iterator[tuple[Slot, Slot]]:
    regions = [s for s in figures if s.region and not (s.tier or s.window)]
    tiers = [s for s in figures if s.tier and not (s.region or s.window)]
    for region in regions:
        for tier in tiers:
            if (tier.line, tier.floor) == (region.line, region.floor) and figures[tier].note != _AS_INPUT:
                yield region, tier


def _follow(figures: Figures, slot: Slot, times: Slot, part: Slot, whole: Slot) -> None:
    """`slot` as `times` in the proportion of `part` to `whole`, where it is not known and they are."""
    if slot in figures or not {times, part, whole} <= figures.keys():
        return
    price = figures[times].price * figures[part].price / figures[whole].price
    figures[slot] = Figure(fine(price), INFERRED, note="in proportion to the rates that are listed")


def fine(price: Decimal) -> Decimal:
    """A price to the femto, which is as fine as they get."""
    return price.quantize(Decimal("1e-15"))
