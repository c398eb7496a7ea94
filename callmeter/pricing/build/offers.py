"""What one collection says of one model, in our lines and units: the form all readers produce. Pure."""

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from msgspec import Struct

from callmeter.pricing.rates import EXACT, unit_of


class Slot(NamedTuple):
    """What a rate is for: a line, and the conditions under which it holds."""

    line: str
    tier: str = ""
    region: str = ""
    window: str = ""
    """Weekly hours in UTC, as `plan.weekly` reads them; empty for any time."""
    floor: int = 0
    """The least total of input tokens."""

    @property
    def plain(self) -> bool:
        """Whether it is what an ordinary request pays."""
        return not (self.tier or self.region or self.window or self.floor)


Rates = Mapping[Slot, Decimal]
"""USD for one unit (token, second, image, …)."""


class Era(Struct, frozen=True):
    """A price list and the day it begins; it ends where the next one begins."""

    start: date | None
    rates: Rates


class Offer(Struct, frozen=True, kw_only=True):
    """One collection's word on one model of one provider."""

    source: str
    provider: str
    model: str
    eras: tuple[Era, ...] = ()
    """In order of time; the last one is today's."""
    coming: tuple[Era, ...] = ()
    """Price lists that are announced for later."""
    exact: bool = True
    """False where the collection does not list this name, but has a pattern that it fits."""
    alias_of: str = ""
    """The name under which the collection lists it, where that is another one."""
    mode: str = ""
    limits: Mapping[str, int] = {}
    features: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    """Kinds of input beside text: `image`, `audio`, `video`."""
    released: date | None = None
    checked: date | None = None
    """The day the collection says it compared the price with the provider's page."""
    cites: bool = False
    """Whether it names a page of the provider's."""
    free: bool = False
    """The collection says in words that it is free of charge."""

    @property
    def rates(self) -> Rates:
        """Today's."""
        return self.eras[-1].rates if self.eras else {}


SOURCES: Mapping[str, str] = {
    "genai-prices": "https://github.com/pydantic/genai-prices",
    "litellm": "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json",
    "models.dev": "https://models.dev",
}
"""The collections and where they are published."""

ALIKE = Decimal("0.0005")
"""Relative difference below which two figures are one price, written with more or fewer digits."""

NOISE = Decimal("0.000001")
"""Relative difference that rounding may make in what is written: what is left of a binary fraction."""

_SECOND_NOISE = Decimal("0.0003")
"""The same for prices by the hour or minute, which are often written by the second with three digits."""

_PER: Mapping[str, Decimal] = {"1M": Decimal(10**6), "1k": Decimal(1000), "1": Decimal(1)}
_TIMES: Mapping[str, Decimal] = {"1": Decimal(1), "1min": Decimal(60), "1h": Decimal(3600)}


def per_unit(price: Decimal, per: int) -> Decimal:
    """A price for `per` units as that of one, exact to 40 digits."""
    return EXACT.divide(price, Decimal(per))


def same(one: Decimal, other: Decimal) -> bool:
    """Whether two prices are the same figure, written with more or fewer digits."""
    return abs(one - other) <= ALIKE * max(abs(one), abs(other))


def printed(price: Decimal, line: str) -> tuple[str, str]:
    """A price for one unit as a provider prints it: the decimal and its `per`. Noise is rounded away."""
    if line.startswith("audio_second"):
        choices = [(_clean(price * times, _SECOND_NOISE), per) for per, times in _TIMES.items()]
        best = min(choices, key=lambda choice: len(_digits(choice[0])))
        return _text(best[0]), best[1]
    per = "1M" if unit_of(line) in ("token", "character") else "1"
    return _text(_clean(price * _PER[per], NOISE, 9 if per == "1M" else 15)), per


def _clean(value: Decimal, noise: Decimal, places: int = 12) -> Decimal:
    """The shortest decimal that is the same figure."""
    if not value:
        return Decimal(0)
    for digits in range(1, 13):
        short = value.quantize(Decimal(1).scaleb(value.adjusted() - digits + 1), ROUND_HALF_EVEN)
        if abs(short - value) <= noise * value and -int(short.as_tuple().exponent) <= places:
            return short
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)


def _digits(value: Decimal) -> str:
    return str(value.normalize().as_tuple().digits)


def _text(value: Decimal) -> str:
    text = f"{value.normalize():f}"
    return text if text != "-0" else "0"
