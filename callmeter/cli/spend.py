"""What calls cost, by model, provider, user, project, tag, day and more.

Calls without a known price are never counted as 0: they are named beneath the table, as are those whose tokens we
counted ourselves. A call with several tags counts under each of them; the total counts it once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callmeter.cli import ExitCode
from callmeter.cli._figures import NO_MONEY, Unknown, money
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._options import Csv, Json, Period, Since, Until, Zone, first_day, period
from callmeter.cli._output import Report, form_of, print_report

if TYPE_CHECKING:
    from callmeter.ledger import Ledger

COUNTS = ("calls", "failures", "input_tokens", "output_tokens")


def spend(
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="model (default), provider, user, project, team, customer, feature, tag, key, day, hour, month, …; "
            "repeat for one table by all of them.",
            metavar="WHAT",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    limit: Annotated[int | None, typer.Option(help="Rows at most.", min=1)] = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(since, until, zone)
    with opened_ledger(home, since=first_day(when)) as ledger:
        found = report(ledger, by or ["model"], when, limit)
        print_report(found, form)
        return exit_code(ledger, found.rows)


def report(ledger: "Ledger", by: Sequence[str], when: Period, limit: int | None = None) -> Report:
    """Spend by one dimension or several together, with totals and with what is not known."""
    from callmeter.dashboards import queries

    bounds: dict[str, Any] = {"since": when.since, "until": when.until}
    answer = queries.run(ledger, "spend_by", by=by, zone=when.zone_name, limit=limit, **bounds)
    named = tuple(dict.fromkeys(by))
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    # Every call has one model, so these add up to all calls; by tag they would not, nor with a limit.
    models = queries.run(ledger, "spend_by", by="model", **bounds)
    all_rows = [dict(zip(models.columns, row, strict=True)) for row in models.rows]
    unpriced = queries.run(ledger, "unpriced", **bounds)
    adjusted = queries.run(ledger, "adjusted", **bounds)
    mocked = queries.run(ledger, "mocked", **bounds)
    return Report(
        title=f"{answer.title}, {when}",
        columns=(*named, *COUNTS, "cost_usd", "unpriced", "estimated"),
        rows=[_row(row, answer.columns[: len(named)]) for row in rows],
        totals=("total", *[Unknown("")] * (len(named) - 1), *_totals(all_rows)),
        notes=[
            *_notes([dict(zip(unpriced.columns, row, strict=True)) for row in unpriced.rows], all_rows),
            *_priced_anew([dict(zip(adjusted.columns, row, strict=True)) for row in adjusted.rows]),
            *_never_sent([dict(zip(mocked.columns, row, strict=True)) for row in mocked.rows]),
        ],
        zone=when.zone,
        zone_name=when.zone_name,
    )


def _row(row: dict[str, Any], named: Sequence[str]) -> tuple[object, ...]:
    names = (Unknown("(none)") if row[name] is None else row[name] for name in named)
    return *names, *(row[count] for count in COUNTS), _cost(row), row["incomplete"], row["estimated"]


def _cost(row: dict[str, Any]) -> object:
    if row["cost"] is not None:
        return row["cost"]
    return Unknown("unpriced" if row["incomplete"] else "no usage")


def _totals(rows: Sequence[dict[str, Any]]) -> tuple[object, ...]:
    summed: dict[str, Any] = {
        name: sum(row[name] or 0 for row in rows) for name in (*COUNTS, "incomplete", "estimated")
    }
    known = [row["cost"] for row in rows if row["cost"] is not None]
    summed["cost"] = sum(known, NO_MONEY) if known or not rows else None
    return *(summed[count] for count in COUNTS), _cost(summed), summed["incomplete"], summed["estimated"]


def _notes(unpriced: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    if unpriced:
        named = ", ".join(f"{r['model']} ({r['calls']}: {r['cost_reason'] or r['cost_status']})" for r in unpriced)
        notes.append(f"without a complete price, and so not wholly in the total: {_calls(unpriced)}: {named}")
    estimated = [row for row in models if row["estimated"]]
    if estimated:
        named = ", ".join(f"{row['name']} ({row['estimated']})" for row in estimated)
        notes.append(f"estimated, because we counted the tokens: {_calls(estimated, 'estimated')}: {named}")
    if not models:
        notes.append("no calls in this time")
    return notes


def _priced_anew(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    difference = sum((row["difference"] for row in rows), NO_MONEY)
    charged = sum((row["charged"] for row in rows if row["charged"] is not None), NO_MONEY)
    return [
        f"priced anew since: {_calls(rows)}, counted at the last price; {money(charged)} USD when made, "
        f"{money(charged + difference)} USD now; `callmeter explain` shows both"
    ]


def _never_sent(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    cost = sum((row["cost"] for row in rows if row["cost"] is not None), NO_MONEY)
    return [f"made with mock_response and so never charged: {_calls(rows)}, {money(cost)} USD of the total"]


def _calls(rows: Sequence[dict[str, Any]], counted: str = "calls") -> str:
    count = sum(row[counted] for row in rows)
    return f"{count} call" if count == 1 else f"{count} calls"
