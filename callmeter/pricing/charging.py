"""From quantities and a plan to a cost with its items. Pure."""

from collections.abc import Mapping
from decimal import Decimal

from callmeter.pricing.plan import Charge, Plan, rfc3339
from callmeter.pricing.quantities import Quantities
from callmeter.pricing.rates import EXACT, FEMTO, TEN_USD, USER, charge, unit_of, usd
from callmeter.types import Cost, CostItem

times, normal = EXACT.multiply, EXACT.normalize


def cost_of(plan: Plan, table: str, quantities: Quantities, input_tokens: int, at_ns: int) -> Cost:
    """What the quantities cost under a plan at an instant, with the stamp of the table the plan is from.

    The whole request is charged by one sheet: that of the longest context it reaches.
    """
    if plan.free:
        return _free(quantities, table)
    for floor, charges in plan.in_force(at_ns):
        if input_tokens >= floor:
            return _charged(quantities, charges, table)
    return _out_of_force(plan, at_ns, table)


def _charged(quantities: Quantities, charges: Mapping[str, Charge], table: str) -> Cost:
    # The one loop that every call runs through: it calls nothing that an operator can do.
    items: list[CostItem] = []
    missing: list[str] = []
    total, saved = 0, None
    for line, quantity in quantities:
        found = charges.get(line) or of_family(charges, line)
        if found is None:
            missing.append(line)
            continue
        rate, price, unit, source, since, via, tier, saves = found
        if quantity.__class__ is int:
            amount = quantity * rate
            exact = normal(times(price, quantity)) if amount < TEN_USD else usd(amount)
            if saves is not None:
                saved = quantity * saves if saved is None else saved + quantity * saves
        else:
            amount = charge(quantity, rate)
            exact = usd(amount)
            if saves is not None:
                saved = (saved or 0) + charge(quantity, saves)
        total += amount
        items.append(CostItem(line, quantity, unit, price, exact, source, since, via, tier))
    if missing:
        return _partial(items, total, saved, missing, table)
    return Cost(
        total=normal(times(FEMTO, total)) if total < TEN_USD else usd(total),
        status="priced",
        items=tuple(items),
        saved=None if saved is None else usd(saved),
        table=table,
    )


def of_family(charges: Mapping[str, Charge], line: str) -> Charge | None:
    """The charge of a line's family, where the variety has none of its own: `image` for `image.hd.1024x1024`."""
    family, dot, _ = line.rpartition(".")
    if not dot:
        return None
    found = charges.get(family)
    return of_family(charges, family) if found is None else found._replace(via=family)


def _partial(items: list[CostItem], total: int, saved: int | None, missing: list[str], table: str) -> Cost:
    reason = f"no rate for {', '.join(missing)}"
    if not items:
        return Cost(status="unpriced", reason=reason, table=table)
    return Cost(
        total=usd(total),
        status="partial",
        items=tuple(items),
        reason=reason,
        saved=None if saved is None else usd(saved),
        table=table,
    )


def _free(quantities: Quantities, table: str) -> Cost:
    nothing = Decimal(0)
    source = USER if table == USER else ""
    items = (CostItem(line, quantity, unit_of(line) or "", nothing, nothing, source) for line, quantity in quantities)
    return Cost(total=nothing, status="free", items=tuple(items), table=table)


def _out_of_force(plan: Plan, at_ns: int, table: str) -> Cost:
    first = rfc3339(plan.starts_ns[0] // 10**9)
    reason = f"no price of {plan.model!r} is in force at {rfc3339(at_ns // 10**9)}; the first is from {first}"
    return Cost(status="unpriced", reason=reason, table=table)
