"""Prices that come with one call: `input_cost_per_token=…` and kin, as a model's entry for that call alone. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache, reduce
from typing import Any

from callmeter.errors import ConfigError
from callmeter.pricing import price_map
from callmeter.pricing.rates import EXACT, USER
from callmeter.pricing.table import Model

BY_THE_SECOND = ("input_cost_per_second", "output_cost_per_second", "cost_per_second")
"""Prices of the time that a call takes; two of them add up."""

CALL_SECOND = "call_second"
"""The line of that time, and the unit it is counted by in `Usage.units`."""

ARGUMENTS = price_map.KEYS
"""Arguments of a call that are prices, never part of a request body."""

_LIKE_TEXT: Mapping[str, str] = {
    "input_cost_per_audio_token": "input_cost_per_token",
    "input_cost_per_image_token": "input_cost_per_token",
    "input_cost_per_video_token": "input_cost_per_token",
    "output_cost_per_audio_token": "output_cost_per_token",
    "output_cost_per_image_token": "output_cost_per_token",
}
"""Who gives one price for a token means every token, unless he says another for some kind."""


def given_prices(*places: Mapping[str, Any] | None) -> dict[str, Any]:
    """The prices among arguments; earlier places win. Those that are None are not given."""
    found: dict[str, Any] = {}
    for place in reversed(places):
        found |= {name: value for name, value in (place or {}).items() if name in ARGUMENTS and value is not None}
    return found


def own_price(name: str, prices: Mapping[str, Any]) -> Model | None:
    """A model's entry with these prices and no others; None where there are none.

    A float counts as its shortest text. Cache and reasoning tokens without a price cost what their kind costs, audio
    and images what text costs; any other line without one leaves the cost `partial`. Raises `ConfigError` naming the
    model and the argument for a price that is none: negative, NaN, text, 1e308.
    """
    if not prices:
        return None
    try:
        # With their classes: True is no price, and equal to 1.
        return _remembered(name, tuple((key, value.__class__, value) for key, value in prices.items()))
    except TypeError:
        return _made(name, prices)


@lru_cache(1024)
def _remembered(name: str, prices: tuple[tuple[str, type, Any], ...]) -> Model:
    return _made(name, {key: value for key, _, value in prices})


def _made(name: str, prices: Mapping[str, Any]) -> Model:
    from callmeter.pricing import authored

    seconds = {key: prices[key] for key in BY_THE_SECOND if key in prices}
    rest = {key: value for key, value in prices.items() if key not in seconds}
    for key, text in _LIKE_TEXT.items():
        if text in rest:
            rest.setdefault(key, rest[text])
    entry = price_map.authored(name, rest)
    if seconds:
        entry = _timed(name, entry, _sum(name, seconds.items()))
    if entry is None:
        raise ConfigError(f"{name}: callmeter has no line for {', '.join(prices)}; give a price it has one for")
    return authored.model(entry, source=USER)


def _timed(name: str, entry: dict[str, Any] | None, second: Decimal) -> dict[str, Any]:
    """The entry with a price for each second; where that is the only price, tokens are part of it."""
    rates = (entry or {}).get("rates")
    if rates is None and not second:
        return {"id": name, "free": True}
    tokens_included = [{"input": "0", "output": "0"}]
    return {"id": name, "rates": [*(rates or tokens_included), {CALL_SECOND: str(second)}]}


def _sum(name: str, prices: Iterable[tuple[str, Any]]) -> Decimal:
    return reduce(EXACT.add, (price_map.price(value, f"{name}: {key}") for key, value in prices))
