"""Routing strategies: deployments that can all be taken, in the order in which one would have them. Pure.

Chance comes in as `draw`, which gives numbers in 0..1; a strategy draws only where it has to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from callmeter.client.router.load import IDLE, Load
from callmeter.client.router.members import Member

Draw = Callable[[], float]
Loads = Mapping[str, Load]

UNKNOWN_PRICE = Decimal(1)
"""USD a token that a deployment without a known price counts as, so that it is the last to be taken."""


class Strategy(Protocol):
    """Puts deployments into an order."""

    by_load: bool
    """Whether it looks at what is known of the deployments."""

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """The members, the one to take first. What is not in `loads` is idle."""
        ...


class SimpleShuffle:
    """By chance, in proportion to `weight`, else to `rpm`, else to `tpm`, else all alike.

    It is enough that one deployment has the figure. One without `weight` has 1; one without a limit counts as the
    largest that has one. A weight of 0 is for when nobody else is left.
    """

    by_load = False

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """See `Strategy`: the first is drawn by the weights, the next of the others by theirs, and so on."""
        left = list(members)
        while len(left) > 1:
            yield left.pop(drawn(weights_of(left), draw))
        yield from left


def weights_of(members: Sequence[Member]) -> list[float]:
    """The weight of each of these deployments among each other."""
    given = [member.weight for member in members]
    if any(weight is not None for weight in given):
        return [1.0 if weight is None else weight for weight in given]
    for limits in ([member.rpm for member in members], [member.tpm for member in members]):
        known = [limit for limit in limits if limit is not None]
        if known:
            return [float(max(known) if limit is None else limit) for limit in limits]
    return [1.0] * len(members)


def drawn(weights: Sequence[float], draw: Draw) -> int:
    """A place among the weights, each as likely as its weight is part of the sum."""
    total = sum(weights)
    if total <= 0:
        return min(int(draw() * len(weights)), len(weights) - 1)
    mark = draw() * total
    for at, weight in enumerate(weights):
        if mark < weight:
            return at
        mark -= weight
    # Only by rounding, or for a draw of exactly 1.
    return max(at for at, weight in enumerate(weights) if weight > 0)


class LeastBusy:
    """The fewest calls in flight; by chance among equals."""

    by_load = True

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """See `Strategy`."""
        return iter(sorted(_shuffled(members, draw), key=lambda member: loads.get(member.id, IDLE).in_flight))


class UsageBased:
    """The fewest tokens in the last minute, then the fewest requests; by chance among equals."""

    by_load = True

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """See `Strategy`."""

        def used(member: Member) -> tuple[int, int]:
            load = loads.get(member.id, IDLE)
            return load.tokens, load.requests

        return iter(sorted(_shuffled(members, draw), key=used))


class LatencyBased:
    """The least latency times calls in flight, by peak EWMA; one that is not known yet is tried by one call first.

    All within `buffer` of the best (0.5: half as much again) are as good, and taken by chance.
    """

    by_load = True

    def __init__(self, buffer: float = 0.0) -> None:
        self._buffer = buffer

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """See `Strategy`."""
        cost = {member.id: _expected_s(loads.get(member.id, IDLE)) for member in members}
        within = min(cost.values(), default=0.0) * (1 + self._buffer)
        return iter(sorted(_shuffled(members, draw), key=lambda member: max(cost[member.id], within)))


UNPROVEN_S = 1e6
"""What a deployment counts as that has been asked and has not answered yet: one call at a time finds out."""


def _expected_s(load: Load) -> float:
    if load.latency_s is None:
        return UNPROVEN_S + load.in_flight if load.in_flight else 0.0
    return load.latency_s * (load.in_flight + 1)


class CostBased:
    """The cheapest first, for as many tokens in as out; one without a known price counts as 1 USD a token."""

    by_load = False

    def __init__(self, price_of: Callable[[Member], Decimal | None]) -> None:
        self._price_of = price_of

    def ranked(self, members: Sequence[Member], loads: Loads, draw: Draw) -> Iterator[Member]:
        """See `Strategy`."""
        price = {member.id: self._price_of(member) for member in members}

        def usd(member: Member) -> Decimal:
            known = price[member.id]
            return UNKNOWN_PRICE if known is None else known

        return iter(sorted(_shuffled(members, draw), key=usd))


def _shuffled(members: Sequence[Member], draw: Draw) -> list[Member]:
    """The members in an order of chance, for sorting that keeps equals as they stand."""
    left = list(members)
    for end in range(len(left) - 1, 0, -1):
        at = min(int(draw() * (end + 1)), end)
        left[at], left[end] = left[end], left[at]
    return left
