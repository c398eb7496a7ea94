"""The latest calls, newest first: who asked what of whom, how it ended, what it cost."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from callmeter.cli import ExitCode
from callmeter.cli._figures import Unknown
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._options import Csv, Json, Since, Until, Zone, first_day, period
from callmeter.cli._output import Report, form_of, print_report

if TYPE_CHECKING:
    from callmeter.dashboards.queries import Answer

BRIEF = ("call_id", "at", "model", "ended", "input_tokens", "output_tokens", "cost", "latency_s")
Status = Literal["success", "failure"]


def calls(
    model: Annotated[str | None, typer.Option(help="This model only.")] = None,
    provider: Annotated[str | None, typer.Option(help="This provider only.")] = None,
    status: Annotated[Status | None, typer.Option(help="Those that ended so.")] = None,
    user: Annotated[str | None, typer.Option(help="This user's only.")] = None,
    project: Annotated[str | None, typer.Option(help="This project's only.")] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag only.")] = None,
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    limit: Annotated[int, typer.Option(help="Calls at most.", min=1)] = 20,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    from callmeter.dashboards import queries

    form, when = form_of(json=json, csv=csv), period(since, until, zone)
    asked = {"model": model, "provider": provider, "status": status, "user": user, "project": project, "tag": tag}
    with opened_ledger(home, since=first_day(when)) as ledger:
        answer = queries.run(ledger, "calls_list", since=when.since, until=when.until, limit=limit, **asked)
        report = Report(
            title=f"{answer.title}, newest first, {when}",
            columns=answer.columns,
            rows=rows(answer),
            notes=() if answer.rows else ("no calls match",),
            zone=when.zone,
            zone_name=when.zone_name,
            brief=BRIEF,
        )
        print_report(report, form)
        return exit_code(ledger, answer.rows)


def rows(answer: "Answer") -> list[tuple[object, ...]]:
    """Rows of the query `calls_list`, in which a cost that is not known says why."""
    at = {name: i for i, name in enumerate(answer.columns)}

    def row(values: tuple[Any, ...]) -> tuple[object, ...]:
        if values[at["cost"]] is not None:
            return values
        why = Unknown(str(values[at["cost_status"]]).replace("_", " "))
        return tuple(why if name == "cost" else value for name, value in zip(answer.columns, values, strict=True))

    return [row(values) for values in answer.rows]
