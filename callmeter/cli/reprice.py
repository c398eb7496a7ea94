"""Price stored usage again with today's table: calls that had no price get one, and corrected prices take effect.

Each call is priced at the instant it was made. What changed is appended as an adjustment and nothing is overwritten:
`spend` shows the last, `explain` both. Rates you gave for a call stay. With --check nothing is changed: every stored
cost is computed again with the table its row names; the exit code is 1 where one differs.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._figures import NO_MONEY, Unknown
from callmeter.cli._home import Home, opened_ledger
from callmeter.cli._options import Csv, Json, Since, Until, Zone, first_day, period
from callmeter.cli._output import Form, Report, form_of, print_report
from callmeter.cli._progress import progress
from callmeter.errors import ConfigError

if TYPE_CHECKING:
    from callmeter.cli._options import Period as When
    from callmeter.ledger import Ledger
    from callmeter.repricing import Group, Repriced, Verified
    from callmeter.traffic import Period

CHANGED = ("provider", "model", "calls", "newly_priced", "old_usd", "new_usd", "difference_usd")
DIFFERING = ("call_id", "table", "stored_usd", "computed_usd", "why")


def reprice(
    since: Since = None,
    until: Until = None,
    model: Annotated[str | None, typer.Option(help="Calls of this model only.")] = None,
    provider: Annotated[str | None, typer.Option(help="Calls to this provider only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, kept with each adjustment.", metavar="TEXT")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare stored costs with their own tables.")] = False,
    tables: Annotated[
        list[Path] | None, typer.Option(help="Folder with price tables of earlier versions, for --check.")
    ] = None,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    from callmeter.traffic import Period

    form, when = form_of(json=json, csv=csv), period(since, until, zone)
    if tables and not check:
        raise ConfigError("--tables is for --check: prices are taken from today's table")
    if check and (dry_run or reason):
        raise ConfigError("--check changes nothing; leave out --dry-run and --reason")
    if not (check or since):
        raise ConfigError("--since is missing; give the first instant to price anew, such as 30d or 2026-11-01")
    meant = Period(since=when.since, until=when.until, model=model, provider=provider)
    with opened_ledger(home, since=first_day(when)) as ledger:
        if check:
            return _check(ledger, meant, when, tables or (), form)
        return _reprice(ledger, meant, when, form, dry_run=dry_run, reason=reason)


def _reprice(
    ledger: "Ledger", meant: "Period", when: "When", form: Form, *, dry_run: bool, reason: str | None
) -> ExitCode:
    from callmeter import repricing

    _refuse_incomplete(ledger)
    with progress("pricing", _count(ledger, meant)) as advance:
        found = repricing.reprice(
            ledger, meant, reason=reason or repricing.DEFAULT_REASON, dry_run=dry_run, on_progress=advance
        )
    title = "Would be priced anew" if dry_run else "Priced anew"
    rows = [(*key, *_row(group)) for key, group in sorted(found.groups.items())]
    print_report(
        Report(
            title=f"{title}, {when}",
            columns=CHANGED,
            rows=rows,
            totals=("total", Unknown(""), *_row(repricing.together(found.groups.values()))) if rows else None,
            notes=_said(found, dry_run=dry_run),
            zone=when.zone,
            zone_name=when.zone_name,
        ),
        form,
    )
    return ExitCode.OK if found.looked_at else ExitCode.NOTHING


def _row(group: "Group") -> tuple[object, ...]:
    difference = group.new - group.old
    return group.calls, group.newly_priced, _usd(group.old), _usd(group.new), _usd(difference)


def _refuse_incomplete(ledger: "Ledger") -> None:
    """An incomplete ledger may lack adjustments that were made: pricing it anew would make them twice."""
    from callmeter.errors import JournalError

    if ledger.problems:
        raise JournalError(f"the ledger is not complete, so nothing is priced anew: {ledger.problems[0]}")


def _said(found: "Repriced", *, dry_run: bool) -> list[str]:
    changed = sum(group.calls for group in found.groups.values())
    done = "nothing was written" if dry_run else f"{found.appended} adjustments were appended"
    notes = [f"{found.looked_at} calls looked at, {changed} cost something else now; {done}"]
    return notes + [f"left as they are: {_calls(count)}: {why}" for why, count in _most(found.left)]


def _check(ledger: "Ledger", meant: "Period", when: "When", tables: "list[Path] | tuple[()]", form: Form) -> ExitCode:
    from callmeter import repricing
    from callmeter.pricing.archive import Archive

    archive = Archive(repricing.folders_of(ledger.home, tables))
    with progress("checking", _count(ledger, meant)) as advance:
        found = repricing.verify(ledger, meant, archive, on_progress=advance)
    print_report(
        Report(
            title=f"Costs that their own price table does not give, {when}",
            columns=DIFFERING,
            rows=[
                (each.call_id, each.table, _usd(each.stored), _usd(each.computed), each.reason)
                for each in found.disagreements
            ],
            notes=_verdict(found),
            zone=when.zone,
            zone_name=when.zone_name,
        ),
        form,
    )
    if ledger.problems:
        return ExitCode.BROKEN
    return ExitCode.NOTHING if found.disagreed or not found.looked_at else ExitCode.OK


def _verdict(found: "Verified") -> list[str]:
    said = f"{found.looked_at} calls looked at: {found.agreed} costs agree with their table, {found.disagreed} do not"
    if found.disagreed > len(found.disagreements):
        said += f", of which the first {len(found.disagreements)} are shown"
    return [said, *(f"not checked: {count}: {why}" for why, count in _most(found.not_checked))]


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))


def _count(ledger: "Ledger", meant: "Period") -> int:
    from callmeter.traffic import days

    return sum(count for _day, count in days(ledger, meant))


def _usd(amount: Decimal | None) -> object:
    return Unknown("unpriced") if amount is None else amount.quantize(NO_MONEY)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
