"""What became of the events each sink was given.

For each sink, always: accepted = delivered + waiting + dead + dropped. The equation is checked, and the exit code is 1
if it does not hold, or if no sink was given anything yet. `lag_s` is the age of the oldest event that waits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, open_journal, path_of
from callmeter.cli._options import Csv, Json
from callmeter.cli._output import Report, form_of, print_report

if TYPE_CHECKING:
    from callmeter.events.journal import Accounts, Loss

COUNTS = ("accepted", "delivered", "waiting", "dead", "dropped")


def sinks(json: Json = False, csv: Csv = False, home: Home = None) -> ExitCode:
    form, where = form_of(json=json, csv=csv), path_of(home)
    journal = open_journal(where)
    try:
        accounts, losses = journal.accounts(), journal.losses()
    finally:
        journal.close()
    print_report(report(accounts, losses), form)
    return ExitCode.OK if accounts and not any(account.missing for account in accounts) else ExitCode.NOTHING


def report(accounts: "Sequence[Accounts]", losses: "Sequence[Loss]") -> Report:
    """The accounts as a table, with what is wrong beneath it."""
    notes = [
        f"{a.sink}: the account does not add up, {a.missing} of {a.accepted} accepted events are unexplained"
        for a in accounts
        if a.missing
    ]
    notes += [f"{a.sink} is {a.state}: {a.last_error or 'no reason given'}" for a in accounts if a.state != "ok"]
    notes += [f"lost{f' to {loss.sink}' if loss.sink else ''}: {loss.count} events ({loss.reason})" for loss in losses]
    if not accounts:
        notes.append("no sink was given any event yet")
    elif not any(a.missing for a in accounts):
        notes.append("every account adds up: accepted = delivered + waiting + dead + dropped")
    return Report(
        title="Sinks",
        columns=("sink", "name", "endpoint", *COUNTS, "lag_s", "state"),
        rows=[
            (a.sink, a.name, a.endpoint or None, *(getattr(a, c) for c in COUNTS), a.lag_s, a.state) for a in accounts
        ],
        notes=notes,
        brief=("sink", *COUNTS, "lag_s", "state"),
    )
