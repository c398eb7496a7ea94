"""A model's rates under given conditions, laid out in time: which sheet of prices is in force when. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from callmeter.errors import ConfigError
from callmeter.pricing.hours import covers, minute_of_week, minutes
from callmeter.pricing.rates import PARENTS, Rate, unit_of, usd
from callmeter.pricing.table import Model

STANDARD = "standard"
"""The tier of a request that names none, or one that its model is not sold under."""


class Charge(NamedTuple):
    """How one line is charged: its rate and all that a cost's item says about it."""

    femtos: int
    rate: Decimal
    unit: str
    source: str
    since: str
    via: str
    tier: str
    saves: int | None = None
    """Femtos a unit is cheaper than the line it spares; None for lines that spare none."""


class Sheet(NamedTuple):
    """The prices of one instant for requests of at least `floor` input tokens; parents' rates are filled in."""

    floor: int
    charges: Mapping[str, Charge]


class Week(NamedTuple):
    """Sheets that change with the hours of the week: `sheets[i]` from the minute `starts[i]` on."""

    starts: Sequence[int]
    sheets: Sequence[tuple[Sheet, ...]]


class Plan(NamedTuple):
    """A model under a tier and region. `sheets[i]` is in force from `starts_ns[i]`, dearest context first."""

    model: str
    starts_ns: Sequence[int]
    sheets: Sequence[tuple[Sheet, ...]]
    free: bool = False
    weeks: Mapping[int, Week] = {}
    """Positions in `sheets` whose prices change with the hours of the week."""

    def in_force(self, at_ns: int) -> tuple[Sheet, ...]:
        """The sheets of an instant; empty before the first price and where there is a gap."""
        position = bisect_right(self.starts_ns, at_ns) - 1
        if self.weeks and position in self.weeks:
            week = self.weeks[position]
            return week.sheets[bisect_right(week.starts, minute_of_week(at_ns)) - 1]
        return self.sheets[position] if position >= 0 else ()


def build(model: Model, tier: str, region: str) -> Plan:
    """The plan of a model. Raises `ConfigError` where two equally specific rates are in force at once."""
    starts = sorted({rate.start_s for rate in model.rates} | {r.until_s for r in model.rates if r.until_s is not None})
    eras = [[rate for rate in model.rates if _covers(rate, start)] for start in starts]
    sheets = [_sheets(model.id, [rate for rate in era if not rate.window], tier, region) for era in eras]
    weeks = {
        position: _week(model.id, era, tier, region)
        for position, era in enumerate(eras)
        if any(rate.window for rate in era)
    }
    return Plan(model.id, [start * 10**9 for start in starts], sheets, model.free, weeks)


def rfc3339(seconds: float) -> str:
    """An instant as text, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _covers(rate: Rate, at_s: int) -> bool:
    return rate.start_s <= at_s and (rate.until_s is None or at_s < rate.until_s)


def _week(model: str, rates: Sequence[Rate], tier: str, region: str) -> Week:
    edges = {minute for rate in rates if rate.window for span in minutes(rate.window) for minute in span}
    starts = sorted({0, *edges})
    return Week(
        starts,
        [
            _sheets(model, [r for r in rates if not r.window or covers(r.window, minute)], tier, region)
            for minute in starts
        ],
    )


def _sheets(model: str, rates: Sequence[Rate], tier: str, region: str) -> tuple[Sheet, ...]:
    """The sheets for one instant's rates, highest floor first."""
    tier = tier if any(rate.tier == tier for rate in rates) else STANDARD
    region = region if any(rate.region == region for rate in rates) else ""
    matching = [r for r in rates if r.tier in ("", tier) and r.region in ("", region)]
    current: dict[str, Rate] = {}
    found: list[Sheet] = []
    for floor in sorted({rate.floor for rate in matching}):
        chosen = _most_specific(model, (rate for rate in matching if rate.floor == floor))
        # A longer context's rate does not displace one that is made for this very tier or region.
        current |= {
            line: rate
            for line, rate in chosen.items()
            if line not in current or _specificity(rate) >= _specificity(current[line])
        }
        found.append(Sheet(floor, _with_parents(current)))
    return tuple(reversed(found))


def _specificity(rate: Rate) -> int:
    return bool(rate.tier) + bool(rate.region) + bool(rate.window)


def _most_specific(model: str, rates: Iterable[Rate]) -> dict[str, Rate]:
    best: dict[str, Rate] = {}
    tied: dict[str, int] = {}
    for rate in rates:
        rival = best.get(rate.line)
        if rival is not None and _specificity(rival) == _specificity(rate):
            tied[rate.line] = max(rival.start_s, rate.start_s)
        elif rival is None or _specificity(rival) < _specificity(rate):
            best[rate.line] = rate
            tied.pop(rate.line, None)
    if tied:
        raise ConfigError(
            f"{model}: two equally specific rates for {', '.join(sorted(tied))} are in force from "
            f"{rfc3339(max(tied.values()))}; end one with `until`, or give one of them a `when`"
        )
    return best


def _with_parents(rates: Mapping[str, Rate]) -> dict[str, Charge]:
    charges = {line: _charge(line, rate, "") for line, rate in rates.items()}
    for line, parents in PARENTS.items():
        parent = next((p for p in parents if p in rates), None)
        if line not in rates and parent is not None:
            charges[line] = _charge(line, rates[parent], parent)
    for line, spared in (("cache_read", "input"), ("cache_read_audio", "audio_in")):
        if line in charges and spared in charges:
            charges[line] = charges[line]._replace(saves=charges[spared].femtos - charges[line].femtos)
    return charges


def _charge(line: str, rate: Rate, via: str) -> Charge:
    tier = "" if rate.tier == STANDARD else rate.tier
    conditions = " ".join(part for part in (tier, rate.region, rate.window, rate.over) if part)
    price, unit, since = usd(rate.femtos), unit_of(line) or "", rfc3339(rate.start_s)
    return Charge(rate.femtos, price, unit, rate.source, since, via, conditions)
