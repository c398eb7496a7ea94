"""What can be charged, for how much, from when and under which conditions; and the integers that make it exact.

Every rate is a whole number of *femtos*: 1e-15 USD for one unit. Quantity times rate is then an integer, and so is any
sum of them.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from callmeter.errors import ConfigError

FEMTOS = 10**15
"""Femtos in one USD."""

MAX_FEMTOS = 2**63
"""A rate is below this (9,223 USD a unit), so that it fits an integer everywhere."""

EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)
"""Wide enough for every product here; the caller's own decimal context must not round money."""

USER = "user"
"""The source of rates that somebody gave us and no table has; as a table's stamp, that all rates are such."""

INPUT_LINES = (
    "input",
    "cache_read",
    "cache_read_audio",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "image_in",
    "video_in",
)
OUTPUT_LINES = ("output", "reasoning", "audio_out", "image_out")
TOKEN_LINES = frozenset(INPUT_LINES + OUTPUT_LINES)

PARENTS: Mapping[str, tuple[str, ...]] = {
    "cache_read": ("input",),
    "cache_read_audio": ("audio_in",),
    "cache_write_5m": ("input",),
    "cache_write_1h": ("cache_write_5m", "input"),
    "reasoning": ("output",),
}
"""Lines that are charged like another one where they have no rate of their own.

A variety (`image.hd.1024x1024`) is charged like its family (`image`), no other line falls back.
"""

_normalize, _multiply = EXACT.normalize, EXACT.multiply
FEMTO: Any = Decimal(1).scaleb(-15)
"""One of them in USD."""

TEN_USD = 10 * FEMTOS
"""From here up the normal form of an amount may be 1E+1: the same number, and a surprise to read."""

_PIECES: Mapping[str, str] = {
    "image": "image",
    "character": "character",
    "audio_second": "second",
    "video_second": "second",
    "page": "page",
    "page_annotated": "page",
    "rerank": "request",
    "request": "request",
    "message": "message",
    "code_session": "session",
    "call_second": "second",
    "cache_storage": "token_hour",
    "citation": "token",
    "video_out": "token",
}
_FAMILIES: Mapping[str, str] = {"search": "search", "image": "image", "video_second": "second", "guardrail": "unit"}
"""Lines with a variety after a dot: `search.web`, `image.hd.1024x1792`, `video_second.720p`, `guardrail.topic`."""

_PER: Mapping[str, int] = {"1M": 10**6, "1k": 10**3, "1": 1, "1min": 60, "1h": 3600}


class Rate(Struct, frozen=True, array_like=True):
    """One line's price for one interval and one set of conditions: a row of the compiled table."""

    line: str
    femtos: int
    """1e-15 USD for one unit."""
    start_s: int
    """Seconds since the epoch from which it is in force."""
    until_s: int | None
    """Seconds since the epoch at which it ends; None while nobody has announced an end."""
    tier: str
    """The service tier it is for; empty for any."""
    region: str
    """The region it is for; empty for any."""
    over: str
    """`>272000` or `>=200000`: the total input from which the whole request is charged so; empty for any."""
    source: str
    window: str = ""
    """The weekly hours it is for, in the form of `hours`; empty for any."""

    @property
    def floor(self) -> int:
        """The least total of input tokens it applies to."""
        if not self.over:
            return 0
        return int(self.over[2:]) if self.over[1] == "=" else int(self.over[1:]) + 1


def unit_of(line: str) -> str | None:
    """What a line's quantity counts; None where there is no such line."""
    if line in TOKEN_LINES:
        return "token"
    family, dot, variety = line.partition(".")
    return _FAMILIES.get(family) if dot and variety else _PIECES.get(line)


def femtos(price: object, per: str, what: str) -> int:
    """A price such as `"0.25"` per `"1M"` as femtos for one unit.

    A price per minute or hour is rounded to one femto a second, half to even; any other has to fit exactly.
    Raises `ConfigError` naming `what` for what is no price: text, NaN, infinite, negative, too large or too fine.
    """
    if per not in _PER:
        raise ConfigError(f"{what}: per = {per!r} is no unit of price; use one of {', '.join(_PER)}")
    value = _decimal(price, what)
    scaled = EXACT.divide(EXACT.multiply(value, Decimal(FEMTOS)), Decimal(_PER[per]))
    whole = int(scaled.to_integral_value(context=EXACT))
    fits = per in ("1min", "1h") or scaled == whole
    if not fits or (value and not whole):
        raise ConfigError(f"{what}: {price} per {per} is finer than 1e-15 USD a unit; round it")
    return whole


def rounded(price: Decimal, what: str) -> Decimal:
    """A price for one unit at 1e-15 USD, half to even: what is left of the noise in a binary fraction.

    Raises `ConfigError` like `femtos`, and where a price above zero would be rounded to nothing.
    """
    value = _decimal(price, what)
    fine = value.quantize(Decimal(1).scaleb(-15), context=EXACT)
    if value and not fine:
        raise ConfigError(f"{what}: {price} is below 1e-15 USD a unit, the finest price there is; correct it")
    return fine


def _decimal(price: object, what: str) -> Decimal:
    if not isinstance(price, str | int | Decimal) or isinstance(price, bool):
        raise ConfigError(f'{what}: the price is {price!r}; write a decimal as text, such as "0.25"')
    try:
        value = EXACT.create_decimal(price)
    except InvalidOperation:
        raise ConfigError(f'{what}: {price!r:.60} is not a number; write a decimal as text, such as "0.25"') from None
    if not value.is_finite() or value.is_signed() or value * FEMTOS >= MAX_FEMTOS * 10**6:
        raise ConfigError(f"{what}: {price!r:.60} is no price; it has to be from 0 to 9,000 USD a unit")
    return value


def usd(amount: int) -> Decimal:
    """Femtos as USD, exact, without trailing zeros."""
    exact = _normalize(_multiply(FEMTO, amount))
    return exact if -TEN_USD < amount < TEN_USD else Decimal(f"{exact:f}")


def charge(quantity: int | Decimal, rate: int) -> int:
    """Femtos for a quantity. Only a fraction of a unit can need rounding: once, half to even, to one femto."""
    if type(quantity) is int:
        return quantity * rate
    return int(EXACT.multiply(Decimal(quantity), Decimal(rate)).to_integral_value(context=EXACT))
