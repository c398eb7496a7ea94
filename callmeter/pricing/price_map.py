"""Entries of LiteLLM's price map as ours: keys such as `input_cost_per_token_above_200k_tokens_batches`. Pure.

The key's name carries the line, the length of context and the service tier.
Source of the keys: https://docs.litellm.ai/docs/completion/token_usage, and the map the package bundles.
"""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from callmeter.errors import ConfigError
from callmeter.pricing.plan import STANDARD
from callmeter.pricing.rates import TOKEN_LINES, rounded
from callmeter.pricing.table import FEATURES

_log = logging.getLogger("callmeter")

LINES: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    # "above 1 hour" is the cache's life time, not a length of context.
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_image_token": "image_out",
    "input_cost_per_video_token": "video_in",
    "output_cost_per_reasoning_token": "reasoning",
    "citation_cost_per_token": "citation",
    "input_cost_per_request": "request",
    "ocr_cost_per_page": "page",
    "annotation_cost_per_page": "page_annotated",
    "code_interpreter_cost_per_session": "code_session",
    "output_cost_per_video_per_second": "video_second",
    "input_cost_per_audio_per_second": "audio_second",
}
"""Keys that mean the same line whatever the model is for."""

_LINES: Mapping[str, str] = {
    "input_cost_per_character": "character",
    "input_cost_per_second": "audio_second",
    "output_cost_per_second": "audio_second",
    "cost_per_second": "audio_second",
    "input_cost_per_image": "image",
    "output_cost_per_image": "image",
    "input_cost_per_query": "rerank",
    **LINES,
}
TIERS: Mapping[str, str] = {
    "batches": "batch",
    "flex": "flex",
    "priority": "priority",
    "balanced": "balanced",
    "ultrafast": "ultrafast",
}
LINE_KEYS: Mapping[str, str] = {line: key for key, line in tuple(_LINES.items())[::-1]} | {
    "image": "output_cost_per_image"
}
"""The key that says a line's price."""

TIER_SUFFIXES: Mapping[str, str] = {tier: f"_{suffix}" for suffix, tier in TIERS.items()}

_FLOORS = (100, 128, 200, 272, 512)
"""Thousands of tokens that keys speak of."""

_SEARCH = "search_context_cost_per_query"
_FILES = "file_search_cost_per_1k_calls"
_RANGES = "tiered_pricing"
_SEARCH_SIZE = "search_context_size_medium"
"""The size a request has that names none."""

KEYS = frozenset(
    f"{stem}{above}{tier}"
    for stem in _LINES
    for above in ("", *(f"_above_{floor}k_tokens" for floor in _FLOORS))
    for tier in ("", *(f"_{suffix}" for suffix in TIERS))
).union({_SEARCH, _FILES, _RANGES, "input_cost_per_pixel", "output_cost_per_pixel"})
"""Every key that is a price, those among them that have no line here."""


def authored(name: str, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """A map entry as a model's entry in our form; None where it has no prices at all.

    Raises `ConfigError` naming the model and the key for a price that is none: null, negative, NaN, 1e308. A price that
    has no line here is logged and left out, so that a call that needs it is `partial` and not silently cheaper.
    """
    prices = _prices(name, entry)
    if not prices:
        return None
    model: dict[str, Any] = {"id": name, "mode": str(entry.get("mode") or "chat")}
    limits = {"input": entry.get("max_input_tokens"), "output": entry.get("max_output_tokens", entry.get("max_tokens"))}
    known = {kind: int(tokens) for kind, tokens in limits.items() if isinstance(tokens, int | float) and tokens > 0}
    if known:
        model["limits"] = known
    features = [feature for feature in sorted(FEATURES) if entry.get(f"supports_{feature}") is True]
    if features:
        model["features"] = features
    if not any(prices.values()):
        return {**model, "free": True}
    return {**model, "rates": _blocks(prices)}


_Prices = dict[tuple[str, int, str], Decimal]
"""USD for one unit by tier, floor (`gt`, 0 for any length) and line."""


def _prices(name: str, entry: Mapping[str, Any]) -> _Prices:
    found: _Prices = {}
    for key, value in entry.items():
        what = f"{name}: {key}"
        if key == _SEARCH:
            if isinstance(value, Mapping) and _SEARCH_SIZE in value:
                found["", 0, "search.web"] = price(value[_SEARCH_SIZE], what)
        elif key == _FILES:
            found["", 0, "search.file"] = price(value, what) / 1000
        elif key == _RANGES:
            found |= _ranges(name, value)
        elif place := _place(key):
            found[place] = price(value, what)
        elif "_cost_per_" in key or key.endswith("_cost"):
            _log.warning("%s is a price callmeter has no line for; calls that need it will be partly priced", what)
    return found


def _place(key: str) -> tuple[str, int, str] | None:
    """Tier, floor and line of a key; None where it is not a price of ours."""
    stem, tier = key, ""
    for suffix, name in TIERS.items():
        if key.endswith(f"_{suffix}"):
            stem, tier = key.removesuffix(f"_{suffix}"), name
    floor = 0
    if stem.endswith("k_tokens"):
        stem, _, thousands = stem.removesuffix("k_tokens").rpartition("_above_")
        if not thousands.isdecimal():
            return None
        floor = int(thousands) * 1000
    line = _LINES.get(stem)
    return None if line is None else (tier, floor, line)


def _ranges(name: str, table: Any) -> _Prices:
    """`tiered_pricing`: rates by the length of the prompt, for all of its tokens."""
    if not isinstance(table, Sequence) or not all(isinstance(row, Mapping) and row.get("range") for row in table):
        raise ConfigError(f"{name}: tiered_pricing is {table!r:.80}; each of its rows needs a range and prices")
    return {
        ("", int(row["range"][0]), line): price(row[key], f"{name}: tiered_pricing: {key}")
        for row in table
        for key, line in _LINES.items()
        if key in row
    }


def _blocks(prices: _Prices) -> list[dict[str, Any]]:
    """Rates by tier. A tier's lines that are not restated keep the standard rate, as the map means it."""
    tiers = {tier for tier, _, _ in prices}
    blocks: list[dict[str, Any]] = []
    for tier in sorted(tiers):
        when = {"when": {"tier": tier or STANDARD}} if len(tiers) > 1 else {}
        plain = {line: price for (t, floor, line), price in prices.items() if t in ("", tier) and not floor}
        if tier:
            plain |= {line: price for (t, floor, line), price in prices.items() if t == tier and not floor}
        floors = sorted({floor for t, floor, _ in prices if t == tier and floor})
        over = [{"gt": floor, **_longer(prices, plain, tier, floor)} for floor in floors]
        tokens = {line: str(price) for line, price in plain.items() if line in TOKEN_LINES}
        if tokens:
            blocks.append({**when, **tokens, "over": over})
        pieces = {line: str(price) for line, price in plain.items() if line not in TOKEN_LINES}
        if pieces and not tier:
            blocks.append(pieces)
    return blocks


def _longer(prices: _Prices, plain: Mapping[str, Decimal], tier: str, floor: int) -> dict[str, str]:
    own = {line: price for (t, f, line), price in prices.items() if t == tier and f == floor}
    return {line: str(price) for line, price in {**plain, **own}.items() if line in TOKEN_LINES}


def price(value: Any, what: str) -> Decimal:
    """USD for one unit as it was written. Raises `ConfigError` naming `what` for what is no price."""
    if isinstance(value, float):
        # The shortest text of the float is what its author wrote.
        value = Decimal(repr(value))
    return rounded(value, what)
