"""How charges differ from those of a baseline, by cause and in words. Pure."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from callmeter.cli._figures import money, trimmed
from callmeter.pricing import PriceBook
from callmeter.pricing.causes import Cause, Part, Side, parts
from callmeter.pricing.rates import EXACT
from callmeter.testing.charges import Charge, price_like

Pair = tuple[Charge, Charge]
"""Before and now."""


class Difference(Struct, frozen=True, kw_only=True):
    """The causes' amounts add up to `new - old`."""

    old: Decimal
    new: Decimal
    causes: list[tuple[str, Decimal]]
    """What changed, and USD; what weighs most comes first."""
    repriced: Decimal
    """USD of the difference that come from other prices for the same thing."""

    @property
    def rise(self) -> Decimal:
        """USD by which the calls themselves got dearer, whatever prices do."""
        return EXACT.subtract(EXACT.subtract(self.new, self.old), self.repriced)

    def __str__(self) -> str:
        lines = [f"  {'+' if usd > 0 else '-'}${money(abs(usd))}  {said}" for said, usd in self.causes]
        return "\n".join([f"{self._head()} (${money(self.old)} → ${money(self.new)}):", *lines])

    def _head(self) -> str:
        if self.new == self.old:
            return "as dear as its baseline, made up otherwise"
        by = ""
        if self.old:
            share = EXACT.divide(EXACT.multiply(EXACT.subtract(self.new, self.old), Decimal(100)), self.old)
            by = f"{abs(share).quantize(Decimal('0.1'), context=EXACT)}% "
        return f"{by}{'dearer' if self.new > self.old else 'cheaper'} than its baseline"


def compare(old: Sequence[Charge], new: Sequence[Charge], book: PriceBook) -> Difference | None:
    """How the charges differ from the baseline's; None where they do not."""
    pairs, gone, added = _pairs(old, new)
    sums: dict[tuple[Cause, ...], Decimal] = defaultdict(Decimal)
    for before, now in pairs:
        for part in _parts(before, now, book):
            sums[part.causes] = EXACT.add(sums[part.causes], part.usd)
    causes = [(" and ".join(_said(cause, pairs) for cause in key), usd) for key, usd in sums.items() if usd]
    causes += [(f"a call to {charge.name} was added", charge.cost) for charge in added]
    causes += [(f"a call to {charge.name} is gone", -charge.cost) for charge in gone]
    if not causes:
        return None
    return Difference(
        old=_sum(charge.cost for charge in old),
        new=_sum(charge.cost for charge in new),
        causes=sorted(causes, key=lambda cause: -abs(cause[1])),
        repriced=sums.get(("price",), Decimal(0)),
    )


def _pairs(old: Sequence[Charge], new: Sequence[Charge]) -> tuple[list[Pair], list[Charge], list[Charge]]:
    """Charges that belong together, and those of before and now that have no counterpart.

    First those that consumed the same, so that a call put before others is the one that was added; then those of one
    model, then any, in order.
    """
    pairs = list[Pair]()
    for likeness in (_name_and_usage, _name, _anything):
        waiting: dict[object, deque[Charge]] = defaultdict(deque)
        for charge in old:
            waiting[likeness(charge)].append(charge)
        unmet = list[Charge]()
        for charge in new:
            if same := waiting[likeness(charge)]:
                pairs.append((same.popleft(), charge))
            else:
                unmet.append(charge)
        old, new = [charge for charges in waiting.values() for charge in charges], unmet
    return pairs, list(old), list(new)


def _name_and_usage(charge: Charge) -> object:
    return charge.name, msgspec.json.encode(charge.usage, order="sorted")


def _name(charge: Charge) -> object:
    return charge.name


def _anything(charge: Charge) -> object:
    return None


def _parts(old: Charge, new: Charge, book: PriceBook) -> list[Part]:
    same = old.name == new.name
    return parts(
        _side(old, book, new.at_ns, old.rates | new.rates if same else old.rates),
        _side(new, book, new.at_ns, old.rates | new.rates if same else new.rates),
    )


def _side(charge: Charge, book: PriceBook, at_ns: int, rates: Mapping[str, Decimal]) -> Side:
    price = price_like(charge, book, at_ns, rates)
    return Side(model=charge.name, tier=charge.tier, usage=charge.usage, cost=charge.cost, price=price)


# --- in words


def _said(cause: Cause, pairs: Sequence[Pair]) -> str:
    """What changed, with the totals over all pairs."""
    match cause:
        case "price":
            return f"the price of {_names({old.name for old, _ in pairs})} changed"
        case "model":
            return f"the model changed: {_names({f'{a.name} → {b.name}' for a, b in pairs if a.name != b.name})}"
        case "tier":
            tiers = {(old.tier or "standard", new.tier or "standard") for old, new in pairs if old.tier != new.tier}
            return f"the service tier changed: {_names(f'{old} → {new}' for old, new in tiers)}"
        case "answer":
            return f"the answer {_grew(pairs, 'output_tokens')}"
        case "prompt":
            return f"the prompt {_grew(pairs, 'input_tokens')}"
        case "cache":
            return _cache(pairs)
        case "fees":
            return f"fees changed: {_fees(pairs)}"


def _grew(pairs: Sequence[Pair], count: str) -> str:
    old, new = _totals(pairs, count)
    if old == new:
        return f"is {new:,} tokens as before, of other kinds"
    return f"{'grew' if new > old else 'shrank'} from {old:,} to {new:,} tokens"


def _cache(pairs: Sequence[Pair]) -> str:
    old, new = _totals(pairs, "cache_read_tokens")
    if old and not new:
        return f"the cache was lost: {old:,} tokens were read from it, none are now"
    if old != new:
        return f"{'more' if new > old else 'less'} is read from the cache: {old:,} → {new:,} tokens"
    old, new = _totals(pairs, "cache_write_tokens", "cache_write_1h_tokens")
    return f"{'more' if new > old else 'less'} is written to the cache: {old:,} → {new:,} tokens"


def _fees(pairs: Sequence[Pair]) -> str:
    lines = sorted({line for pair in pairs for charge in pair for line in charge.usage.units})
    changes = [(line, _units(pairs, 0, line), _units(pairs, 1, line)) for line in lines]
    return ", ".join(f"{line} {trimmed(old)} → {trimmed(new)}" for line, old, new in changes if old != new)


def _units(pairs: Sequence[Pair], side: int, line: str) -> Decimal:
    return _sum(Decimal(pair[side].usage.units.get(line, 0)) for pair in pairs)


def _totals(pairs: Sequence[Pair], *counts: str) -> tuple[int, int]:
    old, new = (sum(getattr(pair[side].usage, count) for pair in pairs for count in counts) for side in (0, 1))
    return old, new


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
