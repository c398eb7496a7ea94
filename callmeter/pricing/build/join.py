"""Brings together what the collections say of one model of one provider. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from callmeter.pricing.build.complete import Habits
from callmeter.pricing.build.genai_prices import Pattern
from callmeter.pricing.build.names import providers
from callmeter.pricing.build.offers import Offer
from callmeter.pricing.match import canonical


class Dossier(Struct, frozen=True, kw_only=True):
    """All that is said of one model of one provider, at most one offer a collection."""

    provider: str
    model: str
    offers: tuple[Offer, ...]
    mode: str

    @property
    def alias_of(self) -> str:
        """The model that it is another name of, where a collection says so."""
        return next((offer.alias_of for offer in self.offers if offer.alias_of), "")

    @property
    def habits(self) -> Habits:
        """What the provider says of all its prices."""
        row = providers().get(self.provider)
        if row is None:
            return Habits()
        part = Decimal(row.cached_input) if row.cached_input else None
        return Habits(short_only=row.short_only, cached_input=part)

    @property
    def released(self) -> date | None:
        """The first day it can have been called: the release day, or the earlier date in its name."""
        days = [offer.released for offer in self.offers if offer.released is not None]
        return min(days, default=None)


_KINDS: Sequence[tuple[str, str]] = (
    ("embed", "embedding"),
    ("rerank", "rerank"),
    ("whisper|transcri|[-_/]asr|scribe|speech-to-text", "audio_transcription"),
    ("[-_/]tts|text-to-speech|orpheus", "audio_speech"),
    ("moderation", "moderation"),
    ("dall-e|gpt-image|flux|stable-diffusion|sdxl|imagen|seedream|recraft", "image_generation"),
    ("veo-|sora-|kling|seedance|text-to-video", "video_generation"),
    ("[-_/]ocr", "ocr"),
)
"""What a name says of its model's use, for the collections that have no such field."""

_ORDER = ("litellm", "genai-prices", "models.dev")


def join(offers: Iterable[Offer], patterns: Iterable[Pattern]) -> list[Dossier]:
    """A dossier for every provider and model, sorted."""
    grouped: dict[tuple[str, str], dict[str, Offer]] = defaultdict(dict)
    for offer in offers:
        grouped[offer.provider, canonical(offer.model)].setdefault(offer.source, offer)
    listed = {(o.provider, o.model): o for found in grouped.values() for o in found.values()}
    by_provider: dict[str, list[Pattern]] = defaultdict(list)
    for pattern in patterns:
        by_provider[pattern.provider].append(pattern)
    modes = _modes(listed.values())
    return [
        _dossier(provider, found, by_provider[provider], listed, modes)
        for (provider, _), found in sorted(grouped.items(), key=lambda item: item[0])
    ]


def _dossier(
    provider: str,
    found: Mapping[str, Offer],
    patterns: Iterable[Pattern],
    listed: Mapping[tuple[str, str], Offer],
    modes: Mapping[str, str],
) -> Dossier:
    offers = [found[source] for source in _ORDER if source in found]
    name = offers[0].model
    if "genai-prices" not in found:
        fits = next((pattern for pattern in patterns if pattern.fits(name.casefold())), None)
        known = listed.get((provider, fits.model)) if fits is not None else None
        if known is not None and known.source == "genai-prices":
            offers.append(replace(known, model=name, alias_of="", exact=False, checked=None))
    mode = next((offer.mode for offer in offers if offer.mode), "") or _mode(name, modes)
    return Dossier(provider=provider, model=name, offers=tuple(offers), mode=mode)


def _modes(offers: Iterable[Offer]) -> dict[str, str]:
    """The use of a model under its last name, as the collection that has the field says."""
    return {_last(offer.model): offer.mode for offer in offers if offer.source == "litellm" and offer.mode}


def _mode(name: str, modes: Mapping[str, str]) -> str:
    known = modes.get(_last(name))
    if known:
        return known
    return next((mode for pattern, mode in _KINDS if re.search(pattern, name.casefold())), "chat")


def _last(name: str) -> str:
    return canonical(name.rpartition("/")[2])
