"""List what your own calls could not be priced for: models, how often, how many tokens, why, and when.

Read from the ledger. The exit code is 1 if every call has a complete price, as nothing was found.
"""

from typing import TYPE_CHECKING

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._options import Csv, Json, Since, Until, Zone, first_day, period
from callmeter.cli._output import Report, form_of, print_report

if TYPE_CHECKING:
    from callmeter.dashboards.queries import Answer

BRIEF = ("provider", "model", "cost_status", "cost_reason", "calls", "percent_of_calls", "last_at")

NOTHING = "every call has a complete price"
ADVICE = (
    "to price them: `callmeter prices update` for a newer table, or prices of your own, see `callmeter prices override "
    "--help`"
)


def missing(
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    from callmeter.dashboards import queries

    form, when = form_of(json=json, csv=csv), period(since, until, zone)
    with opened_ledger(home, since=first_day(when)) as ledger:
        answer = queries.run(ledger, "unpriced", since=when.since, until=when.until)
        report = Report(
            title=f"{answer.title}, {when}",
            columns=answer.columns,
            rows=answer.rows,
            notes=_notes(answer),
            zone=when.zone,
            zone_name=when.zone_name,
            brief=BRIEF,
        )
        print_report(report, form)
        return exit_code(ledger, answer.rows)


def _notes(answer: "Answer") -> list[str]:
    if not answer.rows:
        return [NOTHING]

    def total(column: str) -> int:
        at = answer.columns.index(column)
        return sum(row[at] or 0 for row in answer.rows)

    counted = f"{total('calls')} calls, {total('input_tokens')} tokens in and {total('output_tokens')} out"
    return [f"{counted}: {total('percent_of_calls')} % of all calls", ADVICE]
