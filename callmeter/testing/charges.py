"""What each attempt of a call consumed and cost, such that a later one can be compared with it."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from callmeter.events.model import Attempt
from callmeter.pricing import PriceBook
from callmeter.pricing.causes import Price
from callmeter.pricing.quantities import disjoint
from callmeter.pricing.rates import EXACT, FEMTOS, charge, usd
from callmeter.testing.tally import COMPLETE, Ended
from callmeter.types import Usage


class Charge(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt that is charged for."""

    provider: str = ""
    model: str
    """As the price table knows it, which for a private deployment is not the name that was called."""
    tier: str = ""
    region: str = ""
    usage: Usage
    cost: Decimal
    """USD."""
    rates: dict[str, Decimal] = {}
    """USD for one unit, by line, where they are in no table: the caller's own, or those of an unknown host."""
    at_ns: int = 0
    """When the call was made; not kept in files."""

    @property
    def name(self) -> str:
        """The model for people."""
        return f"{self.provider}/{self.model}" if self.provider else self.model


def charges_of(ended: Iterable[Ended], book: PriceBook) -> list[Charge]:
    """What the calls are charged for, in the order in which they began.

    Raises `ValueError` saying for which call the cost is not known, and why.
    """
    # A call's id grows with the time of its beginning, which parallel calls have in an order of their own.
    calls = sorted(ended, key=lambda end: end.call.call_id)
    attempts = ((end, attempt) for end in calls for attempt in end.attempts)
    return [_charge(end, attempt, attempt.usage, book) for end, attempt in attempts if attempt.usage is not None]


def _charge(end: Ended, attempt: Attempt, usage: Usage, book: PriceBook) -> Charge:
    cost, call = attempt.cost, end.call
    served = attempt is end.attempts[-1]
    if cost is None or cost.total is None or cost.status not in COMPLETE:
        why = cost.reason if cost is not None else "it has no cost"
        raise ValueError(f"the cost of a call to {attempt.provider}/{attempt.model} is not known: {why}")
    base = call.base_model if served else ""
    names = [(base, attempt.provider), (base, "")] if base else []
    names += [(attempt.model, attempt.provider), (end.response_model, attempt.provider)]
    found = Charge(
        provider=attempt.provider,
        model=attempt.model,
        tier=end.service_tier or call.service_tier,
        region=call.region if served else "",
        usage=usage,
        cost=cost.total,
        rates={item.line: item.rate for item in cost.items},
        at_ns=call.at_ns,
    )
    for model, provider in names:
        # The event does not say whose price it was, and need not: the name that gives this cost is the one.
        priced = replace(found, provider=provider, model=model, rates={})
        if model and price_like(priced, book, priced.at_ns)(usage) == cost.total:
            return priced
    return found


def price_like(like: Charge, book: PriceBook, at_ns: int, rates: Mapping[str, Decimal] | None = None) -> Price:
    """What a usage would cost under a charge's conditions at an instant; `rates` are taken where no table has its."""
    known = rates or {}

    def by_table(usage: Usage) -> Decimal | None:
        cost = book.price(
            like.model,
            usage,
            provider=like.provider or None,
            at=at_ns,
            service_tier=like.tier or None,
            region=like.region or None,
        )
        return cost.total if cost.status in COMPLETE else None

    def by_rates(usage: Usage) -> Decimal | None:
        lines = disjoint(usage)
        if any(line not in known for line, _ in lines):
            return None
        return usd(sum(charge(quantity, _femtos(known[line])) for line, quantity in lines))

    return by_rates if like.rates else by_table


def _femtos(rate: Decimal) -> int:
    return int(EXACT.multiply(rate, Decimal(FEMTOS)))
