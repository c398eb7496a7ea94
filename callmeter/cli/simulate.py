"""What your calls, or a CSV of token counts, would cost on other models.

Every request is priced on every --model at today's prices, with the same tokens: another model's tokenizer would count
a little differently. A request that a model cannot price is named and is in no sum, one that does not fit its context
window or features is named too. Differences are from what the calls cost, or for a CSV from the first --model.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec import Struct

from callmeter.cli import ExitCode
from callmeter.cli._figures import NO_MONEY, Unknown, money
from callmeter.cli._home import Home, opened_ledger
from callmeter.cli._instants import instant_called
from callmeter.cli._options import Csv, Json, Since, Until, Zone, first_day, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.cli._progress import progress
from callmeter.errors import ConfigError

if TYPE_CHECKING:
    from callmeter.cli._options import Period as When
    from callmeter.ledger import Ledger
    from callmeter.pricing.whatif import Outcome, Request, Simulation
    from callmeter.traffic import Period, StoredCall

ACTUAL = "(as it was)"

MODELS = ("model", "calls", "cost_usd", "per_day_usd", "difference_usd", "per_cent", "unpriced", "unfit", "fits")
DAYS = ("day", "model", "calls", "cost_usd")
BRIEF = ("model", "calls", "cost_usd", "difference_usd", "per_cent", "fits")

PROGRESS_EVERY = 500

SLOT_NS = 900 * 10**9
"""Every time zone's days are made of quarters of an hour."""

By = Literal["model", "day"]


def simulate(
    model: Annotated[
        list[str] | None, typer.Option(help="Model to price on, like anthropic/claude-sonnet-4-5; repeat for more.")
    ] = None,
    since: Since = None,
    until: Until = None,
    of: Annotated[str | None, typer.Option(help="Calls that were made to this model only.", metavar="MODEL")] = None,
    from_csv: Annotated[
        Path | None, typer.Option("--from-csv", help="Token counts from this file instead.", metavar="FILE")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="What the file's columns hold: input=NAME,output=NAME,at=NAME.", metavar="MAP")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Prices of: now, then (each call's own instant), or a date.", metavar="WHEN")
    ] = "now",
    tier: Annotated[str | None, typer.Option(help="Service tier, like batch, instead of each call's own.")] = None,
    by: Annotated[By, typer.Option(help="One row a model, or one a day and model.")] = "model",
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when, models = form_of(json=json, csv=csv), period(since, until, zone), list(dict.fromkeys(model or ()))
    if not models:
        raise ConfigError("--model is missing; name at least one, such as --model gpt-4o-mini")
    if from_csv and (since or until or of or home):
        raise ConfigError("--from-csv takes the whole file; leave out --since, --until, --of and --home")
    if columns and not from_csv:
        raise ConfigError("--columns describes a file; give the file with --from-csv")
    priced_ns, said_at = _prices_of(at, when)
    asked, broken = _Asked(models, priced_ns, tier, when.zone), False
    if from_csv:
        found, notes = _of_file(from_csv, columns, asked)
        title = f"{from_csv.name} on other models, {said_at}, days in {when.zone_name}"
    else:
        found, notes, broken = _of_ledger(home, when, of, asked)
        title = f"Calls on other models, {said_at}, {when}"
    rows = _days_rows(found) if by == "day" else _rows(found)
    report = Report(
        title=title,
        columns=DAYS if by == "day" else MODELS,
        rows=rows if found.requests else (),
        notes=(*_notes(found), *notes),
        zone=when.zone,
        zone_name=when.zone_name,
        brief=() if by == "day" else BRIEF,
    )
    print_report(report, form)
    if broken:
        return ExitCode.BROKEN
    return ExitCode.OK if any(outcome.priced.calls for outcome in found.outcomes) else ExitCode.NOTHING


class _Asked(Struct, frozen=True):
    """On which models, at which prices (None: of each call's own instant) and tier, in whose days."""

    models: list[str]
    at_ns: int | None
    tier: str | None
    zone: tzinfo

    def of(self, requests: "Iterable[Request]", *, actual: bool) -> "Simulation":
        """What these requests would cost. `actual` tells whether it is known what they did cost."""
        from callmeter.pricing import default_book
        from callmeter.pricing.whatif import simulate as simulated

        return simulated(
            requests,
            self.models,
            default_book(),
            at_ns=self.at_ns,
            service_tier=self.tier,
            day_of=_Days(self.zone),
            actual=actual,
        )


class _Days:
    """The reader's day of an instant."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone, self._known = zone, dict[int, date]()

    def __call__(self, at_ns: int) -> date:
        slot = at_ns // SLOT_NS
        if slot not in self._known:
            # Added to the epoch, so that an instant far off is an error of ours to name and not of the platform's.
            began = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=slot * 900)
            self._known[slot] = began.astimezone(self._zone).date()
        return self._known[slot]


def _prices_of(at: str, when: "When") -> tuple[int | None, str]:
    """The instant of the prices in nanoseconds, None for each call's own; and how the title says it."""
    if at == "then":
        return None, "at the prices of then"
    now = datetime.now(UTC)
    instant = now if at == "now" else instant_called(at, "--at", when.zone, now)
    return int(instant.timestamp()) * 10**9, f"at the prices of {instant.astimezone(when.zone):%Y-%m-%d}"


def _of_file(path: Path, columns: str | None, asked: "_Asked") -> "tuple[Simulation, list[str]]":
    from callmeter.pricing.token_csv import TokenCsv, parse_columns

    file = TokenCsv(path, parse_columns(columns) if columns else None)
    with progress("pricing", None) as advance:
        found = asked.of(_counted(file, advance), actual="cost" in file.columns)
    notes = [f"columns: {', '.join(f'{what}={name}' for what, name in file.columns.items())}"]
    if file.without_usage:
        notes.append(f"left out, because they name no token counts: {_calls(file.without_usage)}")
    return found, notes


def _of_ledger(home: str | None, when: "When", of: str | None, asked: "_Asked") -> "tuple[Simulation, list[str], bool]":
    from callmeter.traffic import Period, days

    meant = Period(since=when.since, until=when.until, model=of)
    with opened_ledger(home, since=first_day(when)) as ledger:
        total = sum(count for _day, count in days(ledger, meant))
        without: list[int] = [0]
        with progress("pricing", total) as advance:
            found = asked.of(_counted(_stored(ledger, meant, without), advance), actual=True)
        left = [f"left out, because nothing is known to have been used: {_calls(without[0])}"] if without[0] else []
        return found, left, bool(ledger.problems)


def _stored(ledger: "Ledger", meant: "Period", without: list[int]) -> "Iterator[Request]":
    """The ledger's calls as requests; counts those without usage."""
    from callmeter.traffic import calls_of, days

    for day, _count in days(ledger, meant):
        for page in calls_of(ledger, day, meant):
            for call in page:
                request = _request(call)
                if request is None:
                    without[0] += 1
                else:
                    yield request


def _request(call: "StoredCall") -> "Request | None":
    from callmeter.pricing.fit import features_used
    from callmeter.pricing.whatif import Request

    if call.usage is None:
        return None
    return Request(
        usage=call.usage,
        at_ns=call.at_ns,
        cost=call.cost if call.cost_status in ("priced", "free") else None,
        service_tier=call.service_tier,
        operation=call.operation,
        uses=features_used(call.usage, call.finish_reason),
    )


def _counted(requests: "Iterable[Request]", advance: Callable[[int], None]) -> "Iterator[Request]":
    for number, request in enumerate(requests, 1):
        yield request
        if number % PROGRESS_EVERY == 0:
            advance(PROGRESS_EVERY)


# --- what is shown


def _rows(found: "Simulation") -> list[tuple[object, ...]]:
    rows = [_row(outcome, found) for outcome in found.outcomes]
    if not found.actual.calls and not found.unpriced_then:
        return rows
    known = found.actual.cost if found.actual.calls else None
    actual = (ACTUAL, found.requests, _usd(known), _per_day(known, found), None, None, found.unpriced_then, None, None)
    return [actual, *rows]


def _row(outcome: "Outcome", found: "Simulation") -> tuple[object, ...]:
    total = outcome.priced.cost if outcome.priced.calls else None
    return (
        outcome.model,
        found.requests,
        _usd(total),
        _per_day(total, found),
        None if outcome.difference is None else _usd(outcome.difference),
        outcome.per_cent,
        sum(outcome.unpriced.values()),
        sum(outcome.misfits.values()),
        "no" if outcome.misfits else Unknown("not known") if outcome.unknown else "yes",
    )


def _days_rows(found: "Simulation") -> list[tuple[object, ...]]:
    tables = [(ACTUAL, found.actual_by_day)] if found.actual_by_day else []
    tables += [(outcome.model, outcome.by_day) for outcome in found.outcomes]
    days = sorted(found.days) + ([None] if any(None in by_day for _, by_day in tables) else [])
    return [
        (Unknown("(no date)") if day is None else day, name, by_day[day].calls, _usd(by_day[day].cost))
        for day in days
        for name, by_day in tables
        if day in by_day
    ]


def _per_day(total: Decimal | None, found: "Simulation") -> object:
    """The average over the days from the first call to the last, to 1e-15 USD."""
    if total is None or not found.days:
        return None
    from callmeter.pricing.rates import EXACT

    return _usd(EXACT.divide(total, Decimal((max(found.days) - min(found.days)).days + 1)))


def _usd(amount: Decimal | None) -> object:
    from callmeter.pricing.rates import EXACT

    return Unknown("unpriced") if amount is None else amount.quantize(NO_MONEY, context=EXACT)


def _notes(found: "Simulation") -> list[str]:
    from callmeter.pricing.whatif import most

    if not found.requests:
        return ["there are no calls with usage to price"]
    notes = []
    for outcome in found.outcomes:
        notes += [f"{outcome.model} cannot price {_calls(n)}, in no sum: {why}" for why, n in most(outcome.unpriced)]
        notes += [f"{outcome.model} does not fit {_calls(n)}: {why}" for why, n in most(outcome.misfits)]
        if outcome.unknown:
            notes.append(f"{outcome.model}: the price table does not say {outcome.unknown}")
        if found.actual.calls and outcome.compared < found.requests:
            notes.append(f"{outcome.model}: the difference is over the {_calls(outcome.compared)} priced then and now")
    return [*notes, _verdict(found)]


def _verdict(found: "Simulation") -> str:
    best = found.cheapest()
    if best is None:
        return "cheapest that fits: none of these can price and serve every request"
    said = f"cheapest that fits: {best.model}, {money(best.priced.cost)} USD for {_calls(best.priced.calls)}"
    return f"{said}, as far as the price table says" if best.unknown else said


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
