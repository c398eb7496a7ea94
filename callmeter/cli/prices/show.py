"""Show what a model costs: every rate with its conditions, from when to when, and the source it was taken from.

MODEL is a name as calls use it, with or without its provider before it. --tier and --region show what a request under
them is charged, rates that stand in for missing ones among them. The exit code is 1 for a name without a price.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home
from callmeter.cli._options import Csv, Json, Period, Zone, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.cli.prices import _names, _read
from callmeter.cli.prices._read import Provider, Reading
from callmeter.pricing.plan import STANDARD, Charge, Sheet, build
from callmeter.pricing.rates import Rate
from callmeter.pricing.sources import Source

COLUMNS = ("provider", "model", "line", "price", "per", "condition", "from", "until", "source", "checked")
BRIEF = ("provider", "line", "price", "per", "condition", "from", "until", "source")


def show(
    model: Annotated[str, typer.Argument(help="Model, like gpt-4o or anthropic/claude-sonnet-4-5.")],
    provider: Provider = None,
    at: Annotated[str | None, typer.Option(help="Prices of this instant; default: now.", metavar="WHEN")] = None,
    region: Annotated[str | None, typer.Option(help="What this region is charged.", metavar="NAME")] = None,
    tier: Annotated[str | None, typer.Option(help="What this service tier is charged.", metavar="NAME")] = None,
    history: Annotated[bool, typer.Option("--history", help="Past and coming rates too.")] = False,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    instant = _read.asked_instant(at, "--at", when)
    reading = _read.reading(home)
    model, provider = _names.addressed(reading, model, provider)
    found = _names.named(reading, model, provider)
    if tier or region:
        rows = [row for one in found for row in _charged(reading, one, instant, tier, region)]
    else:
        rows = [row for one in found for row in _listed(reading, one, None if history else instant)]
    report = Report(
        title=f"Prices of {model} in USD, {_of(instant, when, history)}, {reading.said}",
        columns=COLUMNS,
        rows=rows,
        notes=_notes(reading, model, provider, found, instant, history),
        zone=when.zone,
        zone_name=when.zone_name,
        brief=BRIEF,
    )
    print_report(report, form)
    return ExitCode.OK if rows or _names.free_whatever(reading, provider) else ExitCode.NOTHING


def _of(instant: datetime, when: Period, history: bool) -> str:
    return "past and to come" if history else f"{instant.astimezone(when.zone):%Y-%m-%d %H:%M} {when.zone_name}"


Row = tuple[object, ...]


def _listed(reading: Reading, found: _names.Found, instant: datetime | None) -> Iterator[Row]:
    """The rates of an instant, or all, as the table has them."""
    if found.model.free:
        yield _free(found)
    sources = reading.tables.sources_of(found.provider)
    for rate in sorted(found.model.rates, key=lambda rate: (_conditions(rate), rate.start_s, rate.line)):
        if instant is None or _covers(rate, instant):
            price, per = _read.price_of(rate.line, rate.femtos), _read.per_unit(rate.line)[1]
            span = (_read.instant(rate.start_s), _read.instant(rate.until_s))
            checked = _checked(rate.source, sources)
            yield (
                found.provider,
                found.model.id,
                rate.line,
                price,
                per,
                _read.condition(rate),
                *span,
                rate.source,
                checked,
            )


def _charged(
    reading: Reading, found: _names.Found, instant: datetime, tier: str | None, region: str | None
) -> Iterator[Row]:
    """What a request under a tier and region is charged, by the length of its context."""
    if found.model.free:
        yield _free(found)
    known = (tier or STANDARD).casefold()
    plan = build(found.model, found.table.tiers.get(known, known), (region or "").casefold())
    sources = reading.tables.sources_of(found.provider)
    for sheet in reversed(plan.in_force(int(instant.timestamp()) * 10**9)):
        for line, charge in sorted(sheet.charges.items()):
            price, per = _read.price_of(line, charge.femtos), _read.per_unit(line)[1]
            since = None if charge.since.startswith("1970-01-01") else datetime.fromisoformat(charge.since)
            checked = _checked(charge.source, sources)
            what = (found.provider, found.model.id, line, price, per, _under(sheet, charge))
            yield (*what, since, None, charge.source, checked)


def _free(found: _names.Found) -> Row:
    return (found.provider, found.model.id, "all", Decimal(0), "unit", "free", None, None, "", None)


def _under(sheet: Sheet, charge: Charge) -> str:
    length = f"input >={sheet.floor}" if sheet.floor else ""
    via = f"as {charge.via}" if charge.via else ""
    # A charge's own conditions end in its length of context, which is the sheet's here.
    conditions = [part for part in charge.tier.split() if not part.startswith(">")]
    return ", ".join(part for part in (*conditions, length, via) if part)


def _conditions(rate: Rate) -> tuple[str, str, int]:
    return ("" if rate.tier == STANDARD else rate.tier, rate.region, rate.floor)


def _covers(rate: Rate, instant: datetime) -> bool:
    at = instant.timestamp()
    return rate.start_s <= at and (rate.until_s is None or at < rate.until_s)


def _checked(source: str, sources: dict[str, Source]) -> date | None:
    """The day a rate's source was read. A discounted rate names its source before the discount."""
    known = sources.get(source) or sources.get(source.partition(", ")[0])
    return known.checked if known is not None else None


def _notes(
    reading: Reading,
    model: str,
    provider: str | None,
    found: Sequence[_names.Found],
    instant: datetime,
    history: bool,
) -> list[str]:
    if not found:
        return [*_unknown(reading, model, provider)]
    notes = [note for one in found for note in _about(one, instant, history)]
    cited = {(one.provider, rate.source.partition(", ")[0]) for one in found for rate in one.model.rates}
    for slug, source in sorted(cited):
        known = reading.tables.sources_of(slug).get(source)
        if known is not None:
            notes.append(f"source {source} of {slug}: {' '.join(filter(None, (known.url, known.note)))}")
    return notes


def _about(found: _names.Found, instant: datetime, history: bool) -> Iterator[str]:
    name = f"{found.provider}/{found.model.id}"
    if found.aliases:
        yield f"{name} is also called {', '.join(found.aliases)}"
    if found.model.free:
        yield f"{name} is free: the table says so"
    others = sum(not _covers(rate, instant) for rate in found.model.rates)
    if others and not history:
        yield f"{name} has {others} more rates, of the past or to come; --history shows them"
    if found.model.rates and others == len(found.model.rates):
        yield f"{name} has no price at that instant"


def _unknown(reading: Reading, model: str, provider: str | None) -> Iterator[str]:
    for slug in _names.free_whatever(reading, provider):
        yield f"{model!r} is not listed; at {slug} every model is free, whatever its name"
        return
    if provider is not None and not reading.providers(provider):
        known = ", ".join(reading.providers())
        yield f"there is no price table for the provider {provider!r}; there is one for {known}"
        return
    where = f" at {provider}" if provider else ""
    yield f"there is no price for {model!r}{where}: calls to it are unpriced, not free"
    near = _names.near(reading, model, provider)
    if near:
        yield f"names near to it: {', '.join(near)}"
    yield "prices of your own: see `callmeter prices override --help`"
