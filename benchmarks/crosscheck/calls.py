"""The calls of the cross-check: for every model of the tables, what its prices tell apart. Seeded and pure.

Counts are drawn by provider, model and shape, so a model that is added changes no other model's calls.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from callmeter.pricing.hours import WEEK, covers, minute_of_week
from callmeter.pricing.plan import STANDARD
from callmeter.pricing.rates import TOKEN_LINES, Rate
from callmeter.pricing.table import Model
from callmeter.types import Usage

PAST_FROM = datetime(2023, 1, 1, tzinfo=UTC)
"""No list of prices is asked for its rates before this day."""

_COUNTS = {
    "cache_read": ("cache_read_tokens",),
    "cache_read_audio": ("cache_read_tokens", "input_audio_tokens", "cache_read_audio_tokens"),
    "cache_write_5m": ("cache_write_tokens",),
    "cache_write_1h": ("cache_write_1h_tokens",),
    "audio_in": ("input_audio_tokens",),
    "image_in": ("input_image_tokens",),
    "video_in": ("input_video_tokens",),
    "reasoning": ("reasoning_tokens",),
    "audio_out": ("output_audio_tokens",),
    "image_out": ("output_image_tokens",),
}
"""The counts of `Usage` that hold a line's tokens, beside the total they are part of."""

_OUTPUTS = ("output", "reasoning", "audio_out", "image_out")
_ONCE = frozenset({"search.web", "search.maps"})
"""What older models of Gemini charge by the prompt, however many queries it took: our count is of what is charged."""

_SOLD_BY_PIECE = frozenset(
    "image_generation image_edit video_generation audio_speech audio_transcription rerank ocr search".split()
)


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call as all engines are asked about it."""

    provider: str
    model: str
    mode: str
    shape: str
    """What it is there to try."""
    usage: Usage
    at_s: int
    tier: str = ""
    region: str = ""


def holding(line: str, tokens: int, usage: Usage) -> Usage:
    """A usage with that many tokens of one line more, its totals with them."""
    total = "output_tokens" if line in _OUTPUTS else "input_tokens"
    names = (total, *_COUNTS.get(line, ()))
    return replace(usage, **{name: (getattr(usage, name) or 0) + tokens for name in names})


def moved(line: str, tokens: int, usage: Usage) -> Usage:
    """The same total input with so much of its text as another line."""
    return replace(usage, **{name: getattr(usage, name) + tokens for name in _COUNTS.get(line, ())})


def calls(provider: str, model: Model, now: datetime, seed: int) -> Iterator[Asked]:
    """Every call that is asked of a model, each with counts of its own."""
    now_s = int(now.timestamp())
    for shape, usage, tier, region, at_s in _shapes(model, now_s, _Draw(f"{seed}/{provider}/{model.id}")):
        yield Asked(
            provider=provider,
            model=model.id,
            mode=model.mode,
            shape=shape,
            usage=usage,
            at_s=at_s,
            tier=tier,
            region=region,
        )


class _Draw:
    """Numbers of one model's own."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def tokens(self, most: int = 4000) -> int:
        return self._random.randint(1, most)

    def pieces(self) -> int:
        return self._random.randint(1, 5)

    def seconds(self) -> Decimal:
        return Decimal(self._random.randint(20_0, 900_0)) / 10


_Shape = tuple[str, Usage, str, str, int]


def _shapes(model: Model, now_s: int, draw: _Draw) -> Iterator[_Shape]:
    rates = [r for r in model.rates if r.start_s <= now_s and (r.until_s is None or now_s < r.until_s)]
    lines = {rate.line for rate in rates}
    tokens = [line for line in sorted(lines & TOKEN_LINES) if line in _COUNTS]
    if lines & {"input", "output"}:
        yield from _by_token(rates, tokens, now_s, draw)
        yield from _elsewhere(rates, tokens, now_s, draw)
        yield from _hours(rates, now_s, draw)
        yield from _past(model, now_s, draw)
    for line in sorted(lines - TOKEN_LINES):
        yield from _by_piece(model, line, lines, now_s, draw)


def _plain(draw: _Draw, rates: Sequence[Rate]) -> Usage:
    lines = {rate.line for rate in rates}
    usage = Usage()
    if "input" in lines:
        usage = holding("input", 500 + draw.tokens(), usage)
    return holding("output", draw.tokens(), usage) if "output" in lines else usage


def _by_token(rates: Sequence[Rate], tokens: Sequence[str], now_s: int, draw: _Draw) -> Iterator[_Shape]:
    """What a request at the ordinary tier can consist of: each line beside plain text, then all together."""
    plain = _plain(draw, rates)
    yield "plain", plain, "", "", now_s
    for line in tokens:
        yield line, holding(line, draw.tokens(), plain), "", "", now_s
    if "input" in {rate.line for rate in rates} and "cache_read" not in tokens:
        yield "cache_read", holding("cache_read", draw.tokens(), plain), "", "", now_s
    whole = plain
    for line in tokens:
        whole = holding(line, draw.tokens(), whole)
    if len(tokens) > 1:
        yield "everything", whole, "", "", now_s
    for floor in sorted({rate.floor for rate in rates if rate.over}):
        yield from _around(floor, plain, tokens, "", "", now_s, draw)


def _around(
    floor: int, plain: Usage, tokens: Sequence[str], tier: str, region: str, now_s: int, draw: _Draw
) -> Iterator[_Shape]:
    """A context one token short of a threshold, one at it, and a long one with all lines."""
    for name, total in (("below", floor - 1), ("at", floor)):
        yield f"context {name}", replace(plain, input_tokens=total), tier, region, now_s
    usage = replace(plain, input_tokens=floor + draw.tokens())
    for line in tokens:
        usage = holding(line, draw.tokens(), usage)
    yield "context above", usage, tier, region, now_s


def _elsewhere(rates: Sequence[Rate], tokens: Sequence[str], now_s: int, draw: _Draw) -> Iterator[_Shape]:
    """Tiers and regions, alone and together, also of long contexts."""
    tiers = sorted({rate.tier for rate in rates} - {"", STANDARD})
    regions = sorted({rate.region for rate in rates} - {""})
    floors = sorted({rate.floor for rate in rates if rate.over})
    places = [(tier, "") for tier in tiers] + [("", region) for region in regions]
    places += [(tier, region) for tier in tiers for region in regions]
    for tier, region in places:
        plain = _plain(draw, rates)
        yield "plain", plain, tier, region, now_s
        usage = plain
        for line in tokens:
            usage = holding(line, draw.tokens(), usage)
        if tokens:
            yield "everything", usage, tier, region, now_s
        for floor in floors[-1:]:
            yield "context above", replace(plain, input_tokens=floor + draw.tokens()), tier, region, now_s


def _hours(rates: Sequence[Rate], now_s: int, draw: _Draw) -> Iterator[_Shape]:
    """The last minute before each change of the week's prices, and the first one after."""
    windows = sorted({rate.window for rate in rates if rate.window})
    if not windows:
        return
    plain = _plain(draw, rates)
    week = now_s // 60 * 60 - minute_of_week(now_s * 10**9) * 60
    inside = [tuple(covers(window, minute) for window in windows) for minute in range(WEEK)]
    for minute in range(WEEK):
        if inside[minute] != inside[minute - 1]:
            for edge in ((minute - 1) % WEEK, minute):
                yield "hours", holding("cache_read", draw.tokens(), plain), "", "", week + edge * 60


def _past(model: Model, now_s: int, draw: _Draw) -> Iterator[_Shape]:
    """Noon of the first day and of the last day of each list of prices that has ended or is to come."""
    edges = {rate.start_s for rate in model.rates} | {r.until_s for r in model.rates if r.until_s is not None}
    half_a_day = 43_200
    for edge in sorted(edges):
        for at_s in (edge - half_a_day, edge + half_a_day):
            rates = [r for r in model.rates if r.start_s <= at_s and (r.until_s is None or at_s < r.until_s)]
            if rates and at_s >= PAST_FROM.timestamp() and edge != now_s:
                yield "past" if at_s < now_s else "to come", _plain(draw, rates), "", "", at_s


def _by_piece(model: Model, line: str, lines: set[str], now_s: int, draw: _Draw) -> Iterator[_Shape]:
    quantity = draw.seconds() if line.startswith("audio_second") else draw.pieces()
    if line == "character":
        quantity = draw.tokens()
    elif line in _ONCE and "gemini" in model.id:
        quantity = 1
    usage = Usage(units={line: quantity})
    if model.mode not in _SOLD_BY_PIECE and "input" in lines:
        usage = holding("output", draw.tokens(), holding("input", draw.tokens(), usage)) if "output" in lines else usage
    yield line, usage, "", "", now_s
