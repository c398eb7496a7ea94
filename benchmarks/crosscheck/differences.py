"""What two engines differ in: a difference of totals taken apart into lines by asking the peer for each alone. Pure.

Within one length of context a cost is a sum of quantities times rates. So the rate by which a peer charges a line is
what its cost grows by when text becomes that line, or when that much output is added, divided by the tokens.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.crosscheck.calls import Asked, holding, moved
from callmeter.pricing import PriceBook
from callmeter.pricing.build.offers import SOURCES
from callmeter.pricing.origins import Origin, origins
from callmeter.pricing.plan import STANDARD, Charge, Sheet, build, rfc3339
from callmeter.pricing.quantities import disjoint
from callmeter.pricing.rates import EXACT, INPUT_LINES, OUTPUT_LINES, Rate
from callmeter.types import Cost, Usage

FLOAT = Decimal("1e-9")
"""Relative: two totals this near are one number, one of them summed in binary fractions."""

NEAR = Decimal("1e-8")
"""The same for a rate that was found by subtracting two totals."""

SAME_FIGURE = Decimal("0.0005")
"""Relative: two rates this near are one figure, written with more or fewer digits."""

FEE = "request"
"""What a peer charges for a call of nothing."""

WHOLE = "whole"
"""In place of a line: the totals differ by what no line accounts for."""


class Difference(Struct, frozen=True, kw_only=True):
    """A line that two engines charge by different rates."""

    peer: str
    provider: str
    model: str
    shape: str
    line: str
    ours: Decimal | None
    """USD a unit; None where we have no price for the line."""
    theirs: Decimal
    tier: str = ""
    region: str = ""
    floor: int = 0
    """The least total of input tokens of our rate."""
    at_s: int = 0
    """The instant, where it is not the one that all other calls are asked for."""
    charged_as: str = ""
    """Which of our rates the peer's is: `nothing`, `standard`, `short input`, …; empty where it is none of them."""
    origin: Origin | None = None
    """Who states our rate."""
    via: str = ""
    """The line of ours whose rate stands in."""
    blank: bool = False
    """The peer says 0 to the whole call."""

    @property
    def stated(self) -> frozenset[str]:
        """Who has our rate: `itself`, `another` or `others` than the peer, `checked` with the provider's page, …"""
        if self.origin is None:
            return frozenset({"nobody"})
        sources = {self.origin.source, *self.origin.agreed}
        collections = sources & SOURCES.keys()
        who = "itself" if self.peer in sources else "others" if len(collections) > 1 else "another"
        return frozenset({who if collections else self.origin.source, *(("checked",) if self.origin.checked else ())})

    @property
    def same_figure(self) -> bool:
        """Whether both rates are one figure, written with more or fewer digits."""
        return self.ours is not None and alike(self.ours, self.theirs, SAME_FIGURE)


def price(book: PriceBook, call: Asked) -> Cost:
    """What we say."""
    return book.price(
        call.model,
        call.usage,
        provider=call.provider,
        at=call.at_s * 10**9,
        service_tier=call.tier or None,
        region=call.region or None,
    )


def alike(one: Decimal, other: Decimal, tolerance: Decimal) -> bool:
    """Whether two amounts differ by no more than a share of the larger."""
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def probes(call: Asked) -> dict[str, Asked]:
    """Calls that tell the peer's rates apart: nothing at all, its text alone, and each line that is added to that."""
    inputs = call.usage.input_tokens
    base = Usage(input_tokens=inputs)
    found = {FEE: replace(call, usage=Usage()), **({"base": replace(call, usage=base)} if inputs else {})}
    for line, quantity in disjoint(call.usage):
        if line in OUTPUT_LINES:
            found[line] = replace(call, usage=holding(line, int(quantity), base))
        elif line not in INPUT_LINES:
            found[line] = replace(call, usage=replace(base, units={line: quantity}))
        elif line != "input":
            found[line] = replace(call, usage=moved(line, int(quantity), base))
    return found


def rates(call: Asked, said: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The rate by which the peer charges each line, from its answers to the probes."""
    inputs, fee = call.usage.input_tokens, said.get(FEE, Decimal(0))
    base = said.get("base", fee)
    text = EXACT.divide(base - fee, Decimal(inputs)) if inputs else Decimal(0)
    found = {"input": text} if inputs and "base" in said else {}
    for line, quantity in disjoint(call.usage):
        if line != "input" and line in said:
            more = EXACT.divide(said[line] - base, Decimal(quantity))
            found[line] = _tidy(more + text if line in INPUT_LINES else more, base)
    return {**found, FEE: fee} if fee and FEE not in found else found


def _tidy(rate: Decimal, base: Decimal) -> Decimal:
    """Nothing, where a rate is only what subtracting two binary fractions left."""
    return Decimal(0) if abs(rate) <= FLOAT * max(base, Decimal("1e-9")) else rate


class Ours:
    """Our prices of one model, under the conditions of a call and under others."""

    def __init__(self, book: PriceBook, call: Asked, now_s: int) -> None:
        self._model, self._call, self._now_s = book.model(call.model, call.provider), call, now_s

    def rate(self, line: str) -> Charge | None:
        """By which we charge a line of the call."""
        sheet = self._sheet(self._call.tier, self._call.region, self._call.at_s, self._call.usage.input_tokens)
        return sheet.charges.get(line) if sheet is not None else None

    def floor(self) -> int:
        """The length of context whose prices the call pays."""
        sheet = self._sheet(self._call.tier, self._call.region, self._call.at_s, self._call.usage.input_tokens)
        return sheet.floor if sheet is not None else 0

    def difference(self, peer: str, line: str, theirs: Decimal, *, blank: bool) -> Difference:
        """What there is to say of a line that the peer charges so."""
        call, charge = self._call, self.rate(line)
        return Difference(
            peer=peer,
            provider=call.provider,
            model=call.model,
            shape=call.shape,
            line=line,
            ours=charge.rate if charge is not None else None,
            theirs=theirs,
            tier=call.tier,
            region=call.region,
            floor=self.floor(),
            at_s=call.at_s if call.at_s != self._now_s else 0,
            charged_as=self.called(line, theirs),
            origin=self.origin(line, charge) if charge is not None else None,
            via=charge.via if charge is not None else "",
            blank=blank,
        )

    def called(self, line: str, theirs: Decimal) -> str:
        """Which rate of ours another one is: that of the line, or of a line it might be taken for, elsewhere."""
        if not theirs:
            return "nothing"
        for words, charges in self._elsewhere():
            for other in (line, *_TAKEN_FOR.get(line, ())):
                charge = charges.get(other)
                found = " ".join((*words, *(() if other == line else (other,))))
                if charge is None or not found:
                    continue
                if alike(charge.rate, theirs, NEAR):
                    return found
                if "standard" in words and alike(charge.rate / 2, theirs, NEAR):
                    return f"half of {found}"
        return ""

    def _elsewhere(self) -> Iterator[tuple[tuple[str, ...], Mapping[str, Charge]]]:
        """Our prices with fewer and fewer of the call's conditions, and what was left out."""
        call = self._call
        choices = {
            "standard": bool(call.tier),
            "global": bool(call.region),
            "short": bool(self.floor()),
            "now": call.at_s != self._now_s,
        }
        there = [word for word, possible in choices.items() if possible]
        for count in range(len(there) + 1):
            for words in combinations(there, count):
                sheet = self._sheet(
                    "" if "standard" in words else call.tier,
                    "" if "global" in words else call.region,
                    self._now_s if "now" in words else call.at_s,
                    0 if "short" in words else call.usage.input_tokens,
                )
                if sheet is not None:
                    yield words, sheet.charges

    def _sheet(self, tier: str, region: str, at_s: int, inputs: int) -> Sheet | None:
        if self._model is None:
            return None
        sheets = build(self._model, tier or STANDARD, region).in_force(at_s * 10**9)
        return next((sheet for sheet in sheets if inputs >= sheet.floor), None)

    def origin(self, line: str, charge: Charge) -> Origin | None:
        """Who states the rate by which we charge a line."""
        assert self._model is not None
        for (model, rate), origin in origins(self._call.provider).items():
            if model == self._model.id and _charges(rate, charge, charge.via or line):
                return origin
        return None


def _charges(rate: Rate, charge: Charge, line: str) -> bool:
    """Whether a rate of the table is the one that a charge was made of."""
    tier = "" if rate.tier == STANDARD else rate.tier
    conditions = " ".join(part for part in (tier, rate.region, rate.window, rate.over) if part)
    return (rate.line, rate.femtos, conditions) == (line, charge.femtos, charge.tier) and (
        rfc3339(rate.start_s) == charge.since
    )


_TAKEN_FOR: Mapping[str, tuple[str, ...]] = {
    "input": ("output",),
    "output": ("input",),
    **dict.fromkeys(INPUT_LINES[1:], ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in")),
    **dict.fromkeys(OUTPUT_LINES[1:], ("output", "image_out", "audio_out")),
}


def differences(
    peer: str, call: Asked, said: Mapping[str, Decimal], total: Decimal, book: PriceBook, now_s: int
) -> list[Difference]:
    """The lines of a call that the peer charges by another rate than we do.

    `said` are its answers to the probes, `total` the one to the call. What its rates do not add up to is a difference
    of the line `whole`.
    """
    ours, theirs = Ours(book, call, now_s), rates(call, said)
    blank = not total and not any(said.values())
    found = [
        ours.difference(peer, line, rate, blank=blank)
        for line, rate in theirs.items()
        if not _charged(ours.rate(line), rate)
    ]
    quantities = {FEE: 1, **dict(disjoint(call.usage))}
    sum_of_lines = sum(
        (EXACT.multiply(rate, Decimal(quantities.get(line, 0))) for line, rate in theirs.items()), Decimal(0)
    )
    if not alike(sum_of_lines, total, NEAR):
        found.append(ours.difference(peer, WHOLE, total - sum_of_lines, blank=blank))
    return found


def _charged(charge: Charge | None, theirs: Decimal) -> bool:
    return charge is not None and alike(charge.rate, theirs, NEAR)
