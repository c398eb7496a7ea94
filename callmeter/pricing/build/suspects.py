"""What no rule may decide: figures that look like slips. Each blocks the build until a decision covers it. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from callmeter.pricing.build.complete import INFERRED, MAIN
from callmeter.pricing.build.decide import Verdict
from callmeter.pricing.build.join import Dossier
from callmeter.pricing.build.names import providers
from callmeter.pricing.build.offers import Offer, Slot, printed, same
from callmeter.pricing.rates import TOKEN_LINES

CEILING = Decimal("0.001")
"""USD a token, 1,000 a million: no model is sold so high; it is a price by the thousand, call or search."""

BOTTOM = Decimal("4e-9")
"""USD a token of input or output, 0.004 a million: none is sold so low; it is a price by the minute."""

_POWERS = tuple(Decimal(10) ** n for n in range(1, 10))

_EXCHANGE: Mapping[str, tuple[Decimal, Decimal]] = {
    "CNY": (Decimal("6.7"), Decimal("7.4")),
    "EUR": (Decimal("1.05"), Decimal("1.2")),
}
"""What a dollar, or for the euro its price in dollars, has been in other currencies since 2023."""

_NOT_EXCHANGE = frozenset({Decimal("1.1"), Decimal("1.15"), Decimal("1.2"), Decimal("7")})
"""Ratios that people set: a surcharge, not an exchange rate."""


class Suspect(NamedTuple):
    """A suspicion on one model."""

    kind: str
    provider: str
    model: str
    detail: str


def among(dossier: Dossier) -> Iterator[Suspect]:
    """What is suspicious in what the sources say."""
    for kind, detail in (*_zeros(dossier), *_powers(dossier), *_currencies(dossier)):
        yield Suspect(kind, dossier.provider, dossier.model, detail)


def within(verdict: Verdict, target: Verdict | None) -> Iterator[Suspect]:
    """What is suspicious in what was decided; `target` is the model that it is another name of."""
    dossier = verdict.dossier
    for kind, detail in (
        *_caches(verdict),
        *_contexts(verdict),
        *_kinds(verdict),
        *_units(verdict),
        *_alias(verdict, target),
    ):
        yield Suspect(kind, dossier.provider, dossier.model, detail)


def _zeros(dossier: Dossier) -> Iterator[tuple[str, str]]:
    for line in MAIN:
        says = _says(dossier, Slot(line))
        if any(says.values()) and not all(says.values()):
            yield "zero", _shown(line, says)


def _powers(dossier: Dossier) -> Iterator[tuple[str, str]]:
    for slot in sorted({slot for offer in dossier.offers for slot in offer.rates if slot.plain}):
        says = {source: price for source, price in _says(dossier, slot).items() if price}
        prices = list(says.values())
        ratios = [max(a, b) / min(a, b) for i, a in enumerate(prices) for b in prices[:i]]
        if any(same(ratio, power) for ratio in ratios for power in _POWERS):
            yield "power-of-ten", _shown(slot.line, says)


def _currencies(dossier: Dossier) -> Iterator[tuple[str, str]]:
    row = providers().get(dossier.provider)
    if row is not None and row.currency != "USD":
        if any(price for offer in dossier.offers for price in offer.rates.values()):
            yield "currency", f"{row.id} prints its prices in {row.currency}"
        return
    offers = [offer for offer in dossier.offers if all(offer.rates.get(Slot(line)) for line in MAIN)]
    for i, one in enumerate(offers):
        for other in offers[:i]:
            for currency in _converted(one, other):
                yield "currency", f"{one.source} and {other.source} differ by one factor, as {currency} and USD would"


def _converted(one: Offer, other: Offer) -> Iterator[str]:
    read, written = (one.rates[Slot(line)] / other.rates[Slot(line)] for line in MAIN)
    ratio = max(read, 1 / read)
    if abs(read - written) > Decimal("0.005") * read or any(same(ratio, set_by) for set_by in _NOT_EXCHANGE):
        return
    yield from (currency for currency, (low, high) in _EXCHANGE.items() if low <= ratio <= high)


def _caches(verdict: Verdict) -> Iterator[tuple[str, str]]:
    figures = verdict.figures
    for slot, figure in figures.items():
        ordinary = slot._replace(line="input")
        read = slot._replace(line="cache_read")
        if slot.line == "cache_read" and ordinary in figures and figure.price > figures[ordinary].price:
            yield "cache-read", f"{_at(slot)}: {_usd(figure.price)} against {_usd(figures[ordinary].price)} for input"
        if slot.line == "cache_write_5m" and read in figures and figure.price < figures[read].price:
            yield "cache-write", f"{_at(slot)}: {_usd(figure.price)} against {_usd(figures[read].price)} for a read"


def _contexts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    for slot, figure in verdict.figures.items():
        short = verdict.figures.get(slot._replace(floor=0))
        stated = figure.source != INFERRED
        if slot.floor and stated and short is not None and figure.price < short.price:
            yield "long-context", f"{_at(slot)} at {_usd(figure.price)}, else {_usd(short.price)}"


def _kinds(verdict: Verdict) -> Iterator[tuple[str, str]]:
    figures = verdict.figures
    if verdict.dossier.mode == "embedding" and Slot("output") in figures:
        yield "embedding-output", f"output at {_usd(figures[Slot('output')].price)}"
    image, text = figures.get(Slot("image_out")), figures.get(Slot("output"))
    if image is not None and text is not None and same(image.price, text.price):
        yield "image-text-rate", f"image_out and output are both {_usd(text.price)}"


def _units(verdict: Verdict) -> Iterator[tuple[str, str]]:
    for slot, figure in verdict.figures.items():
        low = slot.line in MAIN and figure.price < BOTTOM
        if slot.line in TOKEN_LINES and (low or figure.price >= CEILING):
            yield "unit", f"{_at(slot)} at {_usd(figure.price)} a million tokens"
        elif slot.line.startswith(("search", "request", "message")) and figure.price >= 1:
            yield "unit", f"{_at(slot)} at {figure.price} USD each"


def _alias(verdict: Verdict, target: Verdict | None) -> Iterator[tuple[str, str]]:
    if target is None:
        return
    for line in MAIN:
        own, other = verdict.figures.get(Slot(line)), target.figures.get(Slot(line))
        if own is not None and other is not None and not same(own.price, other.price):
            yield "alias", f"{line} at {_usd(own.price)}, {target.dossier.model} at {_usd(other.price)}"


def _says(dossier: Dossier, slot: Slot) -> dict[str, Decimal]:
    return {offer.source: offer.rates[slot] for offer in dossier.offers if slot in offer.rates}


def _shown(line: str, says: Mapping[str, Decimal]) -> str:
    return f"{line}: " + ", ".join(f"{source} {printed(price, line)[0]}" for source, price in says.items())


def _usd(price: Decimal) -> str:
    return printed(price, "input")[0]


def _at(slot: Slot) -> str:
    return " ".join(part for part in (slot.line, slot.tier, slot.region, slot.window) if part) + (
        f" from {slot.floor}" if slot.floor else ""
    )
