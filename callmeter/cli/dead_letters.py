"""Events that a sink refused for good: list them, or queue them again.

`callmeter dead-letters list` shows the newest with the reason. `callmeter dead-letters replay --sink NAME` queues them
for that sink again, all or those whose --id is given; they go out with the next process that has the sink configured,
or with `callmeter drain`. Damaged ones stay.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, open_journal, path_of
from callmeter.cli._options import Csv, Json, Zone, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.errors import ConfigError

if TYPE_CHECKING:
    from callmeter.events.journal import Journal


def dead_letters(
    action: Annotated[Literal["list", "replay"], typer.Argument(help="list or replay.")] = "list",
    sink: Annotated[str | None, typer.Option(help="The sink, by name or by name and hash.", metavar="NAME")] = None,
    id: Annotated[list[str] | None, typer.Option("--id", help="Event to replay; repeat for more.")] = None,
    limit: Annotated[int, typer.Option(help="Dead letters to list at most.", min=1)] = 100,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    if action == "replay" and sink is None:
        raise ConfigError("replay needs --sink NAME; `callmeter sinks` shows the names")
    journal = open_journal(path_of(home))
    try:
        identity = identity_of(journal, sink) if sink else None
        if action == "replay" and identity is not None:
            count = journal.revive(identity, id or None)
            print(f"{count} events queued again for {identity}")
            return ExitCode.OK if count else ExitCode.NOTHING
        letters = journal.dead_letters(identity, limit)
    finally:
        journal.close()
    rows = [(datetime.fromtimestamp(d.at_ns / 1e9, UTC), d.sink, d.id, d.reason, len(d.body)) for d in letters]
    report = Report(
        title=f"Dead letters, newest first, {when}",
        columns=("at", "sink", "id", "reason", "bytes"),
        rows=rows,
        notes=() if rows else ("no dead letters",),
        zone=when.zone,
        zone_name=when.zone_name,
    )
    print_report(report, form)
    return ExitCode.OK if rows else ExitCode.NOTHING


def identity_of(journal: "Journal", name: str) -> str:
    """The identity of the sink of that name. Raises `ConfigError` where there is none, or more than one."""
    accounts = journal.accounts()
    found = [account.sink for account in accounts if name in (account.sink, account.name)]
    if len(found) == 1:
        return found[0]
    choice = ", ".join(found or [account.sink for account in accounts]) or "none yet"
    problem = f"{name!r} means several sinks" if found else f"there is no sink {name!r} in {journal.home}"
    raise ConfigError(f"{problem}; give one of: {choice}")
