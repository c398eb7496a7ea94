"""What requests would cost on other models, summed exactly in one pass, with memory for sums and days alone. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Struct

from callmeter.errors import ConfigError
from callmeter.pricing.book import PriceBook
from callmeter.pricing.fit import misfit, unknowns
from callmeter.pricing.rates import EXACT
from callmeter.types import Cost, Usage

DayOf = Callable[[int], date]
"""The reader's day of an instant in nanoseconds."""

_PROBE = Usage(input_tokens=1, output_tokens=1)


class Request(Struct, frozen=True, kw_only=True):
    """One request that was made: what it used, when, and what it cost if that is known."""

    usage: Usage
    at_ns: int | None = None
    """Nanoseconds since the epoch; None where nobody says."""
    cost: Decimal | None = None
    service_tier: str = ""
    operation: str = ""
    uses: frozenset[str] = frozenset()
    """What a model has to be capable of for it: see `fit.features_used`."""


class Sum(Struct):
    """Requests and their cost, USD."""

    calls: int = 0
    cost: Decimal = Decimal(0)

    def add(self, cost: Decimal) -> None:
        """Count one in."""
        self.calls += 1
        self.cost = EXACT.add(self.cost, cost)


class Outcome(Struct, kw_only=True):
    """All requests on one model. What it cannot price whole is in no sum."""

    model: str
    priced: Sum
    by_day: dict[date | None, Sum] = {}
    unpriced: dict[str, int] = {}
    """Requests it cannot price, by the reason why."""
    misfits: dict[str, int] = {}
    """Requests it cannot serve, by the reason why. They are priced all the same."""
    unknown: str = ""
    """What the table does not say about whether the requests fit."""
    compared: int = 0
    """Requests whose cost is known here and there, which alone make up the difference."""
    here: Decimal = Decimal(0)
    there: Decimal = Decimal(0)
    """What those cost on this model, and what they are compared with, USD."""

    @property
    def difference(self) -> Decimal | None:
        """USD dearer than what it is compared with; None where nothing can be compared."""
        return EXACT.subtract(self.here, self.there) if self.compared else None

    @property
    def per_cent(self) -> Decimal | None:
        """The difference in per cent of what it is compared with."""
        if not self.compared or not self.there:
            return None
        share = EXACT.divide(EXACT.multiply(EXACT.subtract(self.here, self.there), Decimal(100)), self.there)
        return share.quantize(Decimal("0.1"), context=EXACT)


class Simulation(Struct, kw_only=True):
    """What came of it."""

    requests: int = 0
    outcomes: list[Outcome] = []
    actual: Sum
    """What the requests cost when they were made, where that is known."""
    actual_by_day: dict[date | None, Sum] = {}
    days: set[date] = set()
    unpriced_then: int = 0
    """Requests whose cost at the time is not known."""

    def cheapest(self) -> Outcome | None:
        """The cheapest model that can price and serve every request, as far as is known."""
        able = [one for one in self.outcomes if self.requests and not one.unpriced and not one.misfits]
        return min(able, key=lambda one: one.priced.cost, default=None)


def simulate(
    requests: Iterable[Request],
    models: Sequence[str],
    book: PriceBook,
    *,
    at_ns: int | None = None,
    service_tier: str | None = None,
    day_of: DayOf | None = None,
    actual: bool = True,
) -> Simulation:
    """Price every request on every model, named as calls name them: `gpt-4o`, `anthropic/claude-sonnet-4-5`.

    Prices are those in force at `at_ns`; None takes each request's own instant. `service_tier` stands for the tier of
    each request. Differences are from what the requests cost or, without `actual`, from the first model. The same
    tokens are assumed, whatever the model. Raises `ConfigError` for a model nobody has a price of.
    """
    known = [_known(name, book) for name in models]
    found = Simulation(outcomes=[Outcome(model=name, priced=Sum()) for name in models], actual=Sum())
    uses: set[str] = set()
    for request in requests:
        uses |= request.uses
        day = _day(request, day_of)
        costs = [
            book.price(
                name,
                request.usage,
                at=request.at_ns if at_ns is None else at_ns,
                service_tier=(request.service_tier if service_tier is None else service_tier) or None,
            )
            for name in models
        ]
        _count(found, request, day, actual=actual)
        reference = request.cost if actual else _whole(costs[0])
        for outcome, model, cost in zip(found.outcomes, known, costs, strict=True):
            _add(outcome, cost, day, reference)
            why = misfit(model, request.usage, request.uses, request.operation)
            if why:
                outcome.misfits[why] = outcome.misfits.get(why, 0) + 1
    for outcome, model in zip(found.outcomes, known, strict=True):
        outcome.unknown = unknowns(model, uses)
    return found


def _known(name: str, book: PriceBook) -> Any:
    """The model's entry; None for one of a provider whose models are all free."""
    model = book.model(name)
    if model is None:
        cost = book.price(name, _PROBE)
        if cost.total is None:
            why = cost.reason.partition(";")[0]
            raise ConfigError(f"nothing can be priced on {name!r}: {why}; write it as provider/model")
    return model


def _day(request: Request, day_of: DayOf | None) -> date | None:
    return None if day_of is None or request.at_ns is None else day_of(request.at_ns)


def _count(found: Simulation, request: Request, day: date | None, *, actual: bool) -> None:
    found.requests += 1
    if day is not None:
        found.days.add(day)
    if not actual:
        return
    if request.cost is None:
        found.unpriced_then += 1
        return
    found.actual.add(request.cost)
    found.actual_by_day.setdefault(day, Sum()).add(request.cost)


def _add(outcome: Outcome, cost: Cost, day: date | None, reference: Decimal | None) -> None:
    amount = _whole(cost)
    if amount is None:
        reason = cost.reason or cost.status
        outcome.unpriced[reason] = outcome.unpriced.get(reason, 0) + 1
        return
    outcome.priced.add(amount)
    outcome.by_day.setdefault(day, Sum()).add(amount)
    if reference is not None:
        outcome.compared += 1
        outcome.here, outcome.there = EXACT.add(outcome.here, amount), EXACT.add(outcome.there, reference)


def _whole(cost: Cost) -> Decimal | None:
    """The total, where it is all of the cost."""
    return cost.total if cost.status in ("priced", "free") else None


def most(reasons: "Counter[str] | dict[str, int]") -> list[tuple[str, int]]:
    """Reasons by how often they hold, the most frequent first."""
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
