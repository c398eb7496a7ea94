"""models.dev's catalogue as offers. USD per million tokens, release days, limits and modalities; no history.

Source: https://models.dev, its schema at https://github.com/sst/models.dev.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from callmeter.pricing.build.names import by_name, providers
from callmeter.pricing.build.offers import Era, Offer, Slot, per_unit

SOURCE = "models.dev"

# Keys without a clear unit are left out: `image`, and `request`, which may be one or a thousand.
_LINES: Mapping[str, str] = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cached_input": "cache_read",
    "cache_input": "cache_read",
    "cache_write": "cache_write_5m",
    "cached_write": "cache_write_5m",
    "reasoning": "reasoning",
    "input_audio": "audio_in",
    "output_audio": "audio_out",
    "citation": "citation",
}
_FEATURES: Mapping[str, str] = {
    "reasoning": "reasoning",
    "tool_call": "function_calling",
    "structured_output": "response_schema",
}
_INPUTS: Mapping[str, str] = {"image": "vision", "audio": "audio_input", "pdf": "pdf_input"}


def read(path: Path) -> Iterator[Offer]:
    """Every model of the catalogue that states a cost."""
    ids = by_name("models_dev")
    document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    for provider, about in document["providers"].items():
        slug = ids.get(provider, provider.replace("-", "_"))
        for model, entry in about["models"].items():
            if isinstance(entry.get("cost"), Mapping):
                yield _offer(slug, model, entry)


def _offer(slug: str, model: str, entry: Mapping[str, Any]) -> Offer:
    modalities = entry.get("modalities") or {}
    takes, gives = modalities.get("input", ()), modalities.get("output", ())
    return Offer(
        source=SOURCE,
        provider=slug,
        model=model,
        eras=(Era(None, _rates(slug, entry)),),
        mode=_mode(gives),
        limits={kind: tokens for kind, tokens in (entry.get("limit") or {}).items() if tokens},
        features=_features(entry, takes, gives),
        takes=frozenset(kind for kind in ("image", "audio", "video") if kind in takes),
        released=_day(entry.get("release_date")),
    )


def _rates(slug: str, entry: Mapping[str, Any]) -> dict[Slot, Decimal]:
    row = providers().get(slug)
    strict = 0 if row is not None and row.inclusive else 1
    rates = _lines(entry["cost"])
    for longer in entry["cost"].get("tiers", ()):
        rates |= _lines(longer, floor=int(longer["tier"]["size"]) + strict)
    for mode in (entry.get("experimental") or {}).get("modes", {}).values():
        tier = _tier((mode.get("provider") or {}).get("body") or {})
        if tier and isinstance(mode.get("cost"), Mapping):
            rates |= _lines(mode["cost"], tier=tier)
    return rates


def _lines(cost: Mapping[str, Any], tier: str = "", floor: int = 0) -> dict[Slot, Decimal]:
    return {
        Slot(_LINES[key], tier, floor=floor): per_unit(Decimal(price), 10**6)
        for key, price in cost.items()
        if key in _LINES
    }


def _tier(body: Mapping[str, Any]) -> str:
    return str(body.get("service_tier") or ("fast" if body.get("speed") == "fast" else ""))


def _mode(gives: Any) -> str:
    """What a model is for, where its output alone says so."""
    return {("image",): "image_generation", ("video",): "video_generation", ("audio",): "audio_speech"}.get(
        tuple(gives), ""
    )


def _features(entry: Mapping[str, Any], takes: Any, gives: Any) -> frozenset[str]:
    found = {name for key, name in _FEATURES.items() if entry.get(key) is True}
    found |= {name for kind, name in _INPUTS.items() if kind in takes}
    if "audio" in gives:
        found.add("audio_output")
    if Decimal(entry["cost"].get("cache_read", 0)):
        found.add("prompt_caching")
    return frozenset(found)


def _day(text: Any) -> date | None:
    """A day from `2025-06-17`, or the first of a month from `2025-06`."""
    parts = str(text or "").split("-")
    try:
        return date(int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) > 2 else 1)
    except (ValueError, IndexError):
        return None
