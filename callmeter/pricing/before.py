"""The most a call can cost, known before it is made: what a budget has to reserve. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from callmeter.pricing.book import At, PriceBook, default_book
from callmeter.pricing.plan import STANDARD
from callmeter.pricing.rates import TOKEN_LINES
from callmeter.pricing.table import Limits

AUTO = "auto"
"""The service tier of a caller who leaves the choice to the provider."""


class Bound(Struct, frozen=True, kw_only=True):
    """What a call cannot exceed, and what that rests on."""

    high: Decimal | None = None
    """USD; None where no bound is known, which `reason` explains."""
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int | None = None
    """The most that all choices together may have; None where nobody says."""
    output_from: str = ""
    """Who says so: `max_tokens`, the model's `limits.output`, or what its `limits.context` leaves."""


def bound(
    model: str,
    *,
    input_tokens: int,
    max_tokens: int | None = None,
    n: int = 1,
    provider: str | None = None,
    at: At = None,
    service_tier: str | None = None,
    region: str | None = None,
    units: Mapping[str, Decimal | int] | None = None,
    book: PriceBook | None = None,
) -> Bound:
    """The most that a call with at most these tokens can cost.

    `max_tokens` bounds the output of each of `n` choices, hidden reasoning included; without it the model's longest
    answer is taken. `units` are the most of everything else: searches, images, … Every token is taken at the dearest
    line it can land on (a one-hour cache write, audio, the rate of a longer context) and, where no service tier or
    `auto` is asked for, at the dearest tier the model is sold under. Raises `ValueError` for counts that cannot be.
    """
    book = book or default_book()
    if type(n) is not int or n < 1:
        raise ValueError(f"n is {n!r}; ask for one choice or more")
    each, output_from = _longest_answer(max_tokens, input_tokens, book.limits(model, provider))
    known = Bound(input_tokens=input_tokens, output_tokens=None if each is None else each * n, output_from=output_from)
    if known.output_tokens is None:
        return _without(known, f"nobody says how long an answer of {model!r} may be; pass max_tokens")
    bounds = [
        book.bound(
            model,
            input_tokens=input_tokens,
            output_tokens=known.output_tokens,
            provider=provider,
            at=at,
            service_tier=tier,
            region=region,
            units=units,
        )
        for tier in _tiers(model, provider, service_tier, book)
    ]
    amounts = [amount for amount in bounds if amount is not None]
    if len(amounts) < len(bounds):
        return _without(known, f"a rate that a call to {model!r} may need is not known")
    return Bound(
        high=max(amounts), input_tokens=input_tokens, output_tokens=known.output_tokens, output_from=output_from
    )


def _without(known: Bound, reason: str) -> Bound:
    return Bound(
        reason=reason,
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        output_from=known.output_from,
    )


def _longest_answer(max_tokens: int | None, input_tokens: int, limits: Limits | None) -> tuple[int | None, str]:
    """Tokens of one choice at most, and who says so."""
    if max_tokens is not None:
        return max_tokens, "max_tokens"
    if limits is not None and limits.output is not None:
        return limits.output, "limits.output"
    if limits is not None and limits.context is not None:
        return max(0, limits.context - input_tokens), "limits.context"
    return None, ""


def _tiers(model: str, provider: str | None, asked: str | None, book: PriceBook) -> Iterable[str | None]:
    """The service tiers that may be charged. The provider says which only with its answer."""
    if asked and asked.casefold() != AUTO:
        return (asked,)
    entry = book.model(model, provider)
    sold = {rate.tier for rate in entry.rates if rate.tier and rate.line in TOKEN_LINES} if entry is not None else ()
    return (None, *sorted(set(sold) - {STANDARD}))
