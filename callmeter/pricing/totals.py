"""A call's usage and cost as the sums over its attempts."""

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from functools import reduce
from typing import Protocol

import msgspec

from callmeter.types import Cost, CostStatus, Usage


class Priced(Protocol):
    """An attempt, as far as money is concerned."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def cost(self) -> Cost | None: ...


_EXACT = Context(prec=80)
"""The caller's own decimal context must not round our sums."""

_COUNTS = tuple(name for name in Usage.__struct_fields__ if name not in ("units", "reasoning_tokens"))


def add_usages(attempts: Sequence[Priced], last: Usage | None) -> Usage | None:
    """Everything the attempts consumed; None where none of them said. `last` is the last attempt's own."""
    known = [attempt.usage for attempt in attempts if attempt.usage is not None]
    if len(known) < 2:
        return known[0] if known else last
    total = {name: sum(getattr(usage, name) for usage in known) for name in _COUNTS}
    reasoning = [usage.reasoning_tokens for usage in known]
    units = dict(known[0].units)
    for usage in known[1:]:
        for line, quantity in usage.units.items():
            units[line] = units.get(line, 0) + quantity
    hidden = None if None in reasoning else sum(tokens or 0 for tokens in reasoning)
    return Usage(**total, reasoning_tokens=hidden, units=units)


def add_costs(attempts: Sequence[Priced], last: Cost) -> Cost:
    """What the attempts cost together. An attempt that consumed nothing we know of adds nothing.

    The sum is `partial` where one of several priced attempts is not fully known; its band is there where one attempt's
    was estimated.
    """
    known = [attempt.cost for attempt in attempts if attempt.cost is not None and attempt.cost.status != "no_usage"]
    if len(known) < 2:
        return known[0] if known else last
    total, estimated = _sum(cost.total for cost in known), any(cost.estimated for cost in known)
    lows = [cost.low if cost.estimated else cost.total for cost in known]
    highs = [cost.high if cost.estimated else cost.total for cost in known]
    return msgspec.structs.replace(
        known[-1],
        total=total,
        status=known[-1].status if total is None else _status(known),
        items=tuple(item for cost in known for item in cost.items),
        reason="; ".join(cost.reason for cost in known if cost.reason),
        estimated=estimated,
        low=_sum(lows) if estimated else None,
        # Without the most that one attempt can have cost there is no most for all of them.
        high=_sum(highs) if estimated and None not in highs else None,
        reported=_sum(cost.reported for cost in known),
        saved=_sum(cost.saved for cost in known),
    )


def _status(costs: Sequence[Cost]) -> CostStatus:
    if any(cost.status not in ("priced", "free") for cost in costs):
        return "partial"
    return "priced" if any(cost.status == "priced" for cost in costs) else "free"


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """What is known of the amounts; None where nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return reduce(_EXACT.add, known) if known else None
