"""Which of several price lists holds for a model, and what the others add to it. Pure.

The rules, best first: a decision of ours; a collection that compared the price with the provider's page within 90
days; two collections that agree; the newer of two that name the provider's page; the only one there is. A price list is
taken whole: another one adds lines only where it agrees on what both state, so that no list is made of two days'
prices.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from callmeter.pricing.build.complete import CACHES, DECIDED, INFERRED, MAIN, Figure, completed, fine
from callmeter.pricing.build.join import Dossier
from callmeter.pricing.build.offers import Era, Offer, Rates, Slot, per_unit, printed, same
from callmeter.pricing.build.overrides import Decision
from callmeter.pricing.rates import OUTPUT_LINES, TOKEN_LINES, unit_of

RECENT = timedelta(days=90)

FIRST_PARTY = frozenset({"openai", "anthropic", "gemini", "vertex_ai", "xai"})
"""Providers whose prices genai-prices follows most closely."""

RULES: Mapping[str, str] = {
    DECIDED: "a decision of ours",
    "checked": "the source compared it with the provider's page within 90 days",
    "agreed": "two sources agree",
    "cited": "the newer source that names the provider's page",
    "newer": "the newer source; none names the provider's page",
    "listed": "the only source that lists this very name",
    "single": "the only source",
}


class Difference(NamedTuple):
    """A rate on which the sources differ."""

    slot: Slot
    says: Mapping[str, Decimal]


class Verdict(Struct, frozen=True, kw_only=True):
    """A model's prices as the table will have them."""

    dossier: Dossier
    rule: str
    figures: Mapping[Slot, Figure]
    """Today's."""
    since: date | None
    """The day today's prices begin; None where nobody says."""
    past: tuple[tuple[date | None, date, Mapping[Slot, Figure]], ...] = ()
    """Earlier price lists with their first day and the day after their last."""
    coming: tuple[tuple[date, Mapping[Slot, Figure]], ...] = ()
    """Announced price lists with their first day."""
    free: bool = False
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    """Of a decision of ours."""


def stated(offer: Offer) -> Rates:
    """An offer's prices without the zeros: beside prices they mean "does not apply", alone they mean nothing."""
    return {slot: price for slot, price in offer.rates.items() if price}


def is_free(dossier: Dossier) -> bool:
    """Whether the offering calls itself free and all that is said of its price is 0."""
    said = [price for offer in dossier.offers for price in offer.rates.values()]
    named = dossier.model.casefold().endswith((":free", "-free", "/free"))
    return named and bool(said) and not any(said)


def decide(dossier: Dossier, as_of: date, decision: Decision | None = None) -> Verdict | None:
    """The prices of a model; None where no source has any."""
    if is_free(dossier):
        return Verdict(dossier=dossier, rule="listed", figures={}, since=None, free=True)
    offers = [_elsewhere(offer, decision) for offer in dossier.offers if stated(offer)]
    if not offers or (decision is not None and not _can_take(decision, offers)):
        return None
    best, rule = _best(dossier, offers, as_of, decision)
    allies = [other for other in offers if other is not best and agree(best, other)]
    figures = _figures(best, sorted(allies, key=lambda o: o.exact, reverse=True))
    if decision is not None:
        figures = _corrected(figures, decision)
    figures = completed(figures, dossier.habits)
    if not figures:
        return None
    history = next((o for o in (best, *allies) if o.exact and len(o.eras) > 1), None)
    since = history.eras[-1].start if history is not None else None
    verdict = Verdict(
        dossier=dossier,
        rule=rule,
        figures=figures,
        since=since,
        past=_past(history, figures) if history is not None else (),
        coming=_coming((best, *allies), figures),
        differences=tuple(_differences(figures, offers)),
        reason=decision.reason if decision is not None and rule == DECIDED else "",
    )
    return _since_release(verdict, as_of)


def agree(one: Offer, other: Offer) -> bool:
    """Whether two price lists are of one price: all of input and output that both state, or all that both state.

    A list of regions alone contradicts none of ordinary prices.
    """
    first, second = stated(one), stated(other)
    if not (_ordinary(one) and _ordinary(other)):
        return True
    shared = [slot for slot in first if slot in second and slot.plain]
    main = [slot for slot in shared if slot.line in MAIN] or shared
    return bool(main) and all(same(first[slot], second[slot]) for slot in main)


def _ordinary(offer: Offer) -> bool:
    """Whether it states what an ordinary request pays."""
    return any(slot.plain for slot in stated(offer))


def _elsewhere(offer: Offer, decision: Decision | None) -> Offer:
    """An offer that lists another place's prices, as those of this one."""
    factor = Decimal(decision.times.get(offer.source, "1")) if decision is not None else Decimal(1)
    if factor == 1:
        return offer
    eras = tuple(
        Era(
            era.start,
            {s: p * factor if s.line in TOKEN_LINES and not s.region else p for s, p in era.rates.items()},
        )
        for era in offer.eras
    )
    return replace(offer, eras=eras)


def _can_take(decision: Decision, offers: Iterable[Offer]) -> bool:
    """Whether the decision leaves a price: `nothing` does not, nor a source that has none."""
    return decision.take == "rules" or any(offer.source == decision.take for offer in offers)


def _corrected(figures: Mapping[Slot, Figure], decision: Decision) -> dict[Slot, Figure]:
    """The figures without the lines and long contexts a decision drops, and with the lines it sets."""
    without = {*decision.drop, *decision.set}
    kept = {
        slot: figure
        for slot, figure in figures.items()
        if slot.line not in without and not (decision.flat and slot.floor)
    }
    for line, text in decision.set.items():
        price = per_unit(Decimal(text), 10**6 if unit_of(line) in ("token", "character") else 1)
        kept[Slot(line)] = Figure(price, DECIDED, note=decision.reason)
    return {slot: _placed(slot, figure, decision) for slot, figure in kept.items()}


def _placed(slot: Slot, figure: Figure, decision: Decision) -> Figure:
    """A figure that is another place's price times a factor says so."""
    if figure.source not in decision.times or slot.line not in TOKEN_LINES or slot.region:
        return figure
    return figure._replace(note=f"{decision.times[figure.source]} times what it lists, which is another place's price")


def _best(dossier: Dossier, offers: Sequence[Offer], as_of: date, decision: Decision | None) -> tuple[Offer, str]:
    if decision is not None:
        chosen = next((offer for offer in offers if offer.source == decision.take), None)
        if chosen is not None:
            return chosen, DECIDED
    if len(offers) == 1:
        return offers[0], "single"
    ranked = sorted(offers, key=lambda offer: _rank(dossier, offer, offers, as_of), reverse=True)
    best, second = (_rank(dossier, offer, offers, as_of) for offer in ranked[:2])
    if best[0]:
        return ranked[0], "checked"
    if best[1]:
        return ranked[0], "agreed"
    if best[2] != second[2]:
        return ranked[0], "listed"
    return ranked[0], "cited" if ranked[0].cites else "newer"


def _rank(dossier: Dossier, offer: Offer, offers: Iterable[Offer], as_of: date) -> tuple[bool, bool, bool, bool, int]:
    if not _ordinary(offer):
        return False, False, False, False, 0
    checked = offer.exact and offer.checked is not None and timedelta(0) <= as_of - offer.checked <= RECENT
    backed = any(other is not offer and agree(offer, other) for other in offers)
    return checked, backed and offer.exact, offer.exact, offer.cites, _preference(dossier, offer)


def _preference(dossier: Dossier, offer: Offer) -> int:
    """Between collections of one age: each for what it follows best. models.dev is the oldest here."""
    if offer.source == "models.dev":
        return 0
    first = "genai-prices" if dossier.provider in FIRST_PARTY and dossier.mode in ("chat", "responses") else "litellm"
    return 2 if offer.source == first else 1


def _figures(best: Offer, allies: Sequence[Offer]) -> dict[Slot, Figure]:
    """The best list's rates and what its allies add; each line with all its lengths of context from one of them."""
    figures: dict[Slot, Figure] = {}
    lists = [(best.source, stated(best)), *((ally.source, _added(best, ally)) for ally in allies)]
    everyone = {offer.source: stated(offer) for offer in (best, *allies)}
    windows = next((rates for _, rates in lists if any(slot.window for slot in rates)), None)
    for place in dict.fromkeys(slot._replace(floor=0) for _, rates in lists for slot in rates):
        if place.window and lists and windows is not None and place not in windows:
            continue
        source, rates = _fullest(place, lists)
        for slot, price in rates.items():
            if slot._replace(floor=0) == place:
                agreed = _agreeing(slot, price, source, everyone)
                shortest = min(
                    (price, *(everyone[other][slot] for other in agreed)), key=lambda p: len(_shown(slot, p))
                )
                figures[slot] = Figure(shortest, source, agreed)
    return {
        slot: figure
        for slot, figure in figures.items()
        # A line that has a price for long contexts only is left out: what a short one costs is not known.
        if slot._replace(floor=0) in figures and not _same_as_parent(slot, figure, figures)
    }


def _added(best: Offer, ally: Offer) -> Rates:
    """What an ally may add: all it states, or of a name that only fits its pattern the rates of the cache."""
    whole = stated(ally)
    if ally.exact:
        return whole
    both = all(Slot(line) in stated(best) and Slot(line) in whole for line in MAIN)
    return {slot: price for slot, price in whole.items() if both and slot.plain and slot.line in CACHES}


def _fullest(place: Slot, lists: Sequence[tuple[str, Rates]]) -> tuple[str, Rates]:
    """The first list with the place, or a later one that has the same price and more lengths of context."""
    having = [(source, rates) for source, rates in lists if place in rates]
    if not having:
        return next((source, rates) for source, rates in lists if any(s._replace(floor=0) == place for s in rates))
    first = having[0]
    alike = [item for item in having if same(item[1][place], first[1][place])]
    return max(alike, key=lambda item: sum(slot._replace(floor=0) == place for slot in item[1]))


def _shown(slot: Slot, price: Decimal) -> str:
    return printed(price, slot.line)[0]


def _agreeing(slot: Slot, price: Decimal, source: str, everyone: Mapping[str, Rates]) -> tuple[str, ...]:
    return tuple(
        sorted(
            other for other, rates in everyone.items() if other != source and slot in rates and same(rates[slot], price)
        )
    )


def _same_as_parent(slot: Slot, figure: Figure, figures: Mapping[Slot, Figure]) -> bool:
    """Whether it says no more than the output's rate: reasoning is charged as output anyway."""
    if slot.line != "reasoning":
        return False
    everywhere = [s for s in figures if s.line == "reasoning"]
    outputs = [s for s in figures if s.line == "output"]
    return len(everywhere) <= len(outputs) and all(
        s._replace(line="output") in figures and same(figures[s].price, figures[s._replace(line="output")].price)
        for s in everywhere
    )


def _past(offer: Offer, today: Mapping[Slot, Figure]) -> tuple[tuple[date | None, date, Mapping[Slot, Figure]], ...]:
    eras = [(era, after) for era, after in zip(offer.eras, offer.eras[1:], strict=False) if after.start is not None]
    return tuple(
        (era.start, after.start, _then(era, offer.source, today)) for era, after in eras if after.start is not None
    )


def _coming(offers: Iterable[Offer], today: Mapping[Slot, Figure]) -> tuple[tuple[date, Mapping[Slot, Figure]], ...]:
    offer = next((offer for offer in offers if offer.exact and offer.coming), None)
    if offer is None:
        return ()
    return tuple((era.start, _later(era, offer.source, today)) for era in offer.coming if era.start is not None)


def _later(era: Era, source: str, today: Mapping[Slot, Figure]) -> dict[Slot, Figure]:
    """An announced list; what it does not name moves with the input or output it is part of, or stays."""
    listed = {slot: Figure(price, source) for slot, price in era.rates.items() if price}
    figures = dict(listed)
    for slot, figure in today.items():
        main = Slot("output" if slot.line in OUTPUT_LINES else "input")
        moves = slot.line in TOKEN_LINES and main in listed and main in today
        if slot in listed:
            continue
        if not moves:
            figures[slot] = figure
            continue
        price = figure.price * listed[main].price / today[main].price
        figures[slot] = Figure(fine(price), INFERRED, note="the same part of the price as before")
    return figures


def _then(era: Era, source: str, today: Mapping[Slot, Figure]) -> dict[Slot, Figure]:
    """A past list, with today's service tiers at the part of the ordinary price that they are of today's."""
    figures = {slot: Figure(price, source) for slot, price in era.rates.items() if price}
    for slot, figure in today.items():
        ordinary = slot._replace(tier="")
        if not slot.tier or slot.region or slot.window or ordinary not in today or ordinary not in figures:
            continue
        price = figures[ordinary].price * figure.price / today[ordinary].price
        figures[slot] = Figure(fine(price), INFERRED, note="the same part of the price as today")
    return figures


def _since_release(verdict: Verdict, as_of: date) -> Verdict:
    """The first list begins with the model's release, where that is known and comes before what follows."""
    released = verdict.dossier.released
    limit = verdict.past[0][1] if verdict.past else as_of
    if released is None or released >= limit:
        return verdict
    if not verdict.past:
        return replace(verdict, since=released) if verdict.since is None else verdict
    (start, end, figures), *later = verdict.past
    return replace(verdict, past=((start or released, end, figures), *later))


def _differences(figures: Mapping[Slot, Figure], offers: Sequence[Offer]) -> Iterable[Difference]:
    slots = dict.fromkeys(slot for offer in offers for slot in stated(offer))
    for slot in slots:
        says = {offer.source: stated(offer)[slot] for offer in offers if slot in stated(offer)}
        prices = list(says.values())
        if any(not same(prices[0], price) for price in prices[1:]):
            yield Difference(slot, says)
