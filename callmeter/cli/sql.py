"""Ask the ledger in SQL, or ask one of the questions that come with callmeter.

TEXT is a SELECT over the views calls, attempts, cost_items, daily_spend, adjustments and events_dropped, in DuckDB's
SQL, or the name of a question that --list shows. It reads nothing but the ledger and changes nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._options import Csv, Json, Zone, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from callmeter.ledger import Ledger


def sql(
    text: Annotated[str | None, typer.Argument(help="SQL, or a question's name.", show_default=False)] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Parameter of a question: model=gpt-4o, by=day.", metavar="NAME=VALUE")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the questions and their parameters.")] = False,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    if list_:
        print_report(questions(), form)
        return ExitCode.OK
    if not text:
        raise ConfigError("no SQL is given; write it after `callmeter sql`, in quotes, or see `callmeter sql --list`")
    with opened_ledger(home, guarded=True) as ledger:
        title, columns, rows = _asked(ledger, text, param or ())
        shown = Report(title=title, columns=columns, rows=rows, zone=when.zone, zone_name=when.zone_name)
        print_report(shown, form)
        return exit_code(ledger, rows)


def questions() -> Report:
    """The questions that come with callmeter."""
    from callmeter.dashboards import queries

    found = [queries.load(name) for name in queries.names()]
    rows = [(q.name, q.title, q.unit, [*(["by"] if q.dimensions else []), *q.parameters]) for q in found]
    return Report(title="Questions", columns=("name", "title", "unit", "parameters"), rows=rows)


def _asked(ledger: "Ledger", text: str, given: Sequence[str]) -> tuple[str, Sequence[str], Sequence[Sequence[object]]]:
    """Title, columns and rows of an answer. Raises `ConfigError` for what is not to be answered."""
    from callmeter.dashboards import queries
    from callmeter.sinks.duckdb import import_duckdb

    name = text.strip()
    if name in queries.names():
        answer = queries.run(ledger, name, **_parameters(given))
        return answer.title, answer.columns, answer.rows
    if given:
        raise ConfigError(f"--param {given[0]!r} belongs to a question; {text!r} is none, see `callmeter sql --list`")
    duckdb = import_duckdb()
    try:
        result = ledger.execute(text)
        return "Answer", [column[0] for column in result.description or ()], result.fetchall()
    except duckdb.IOException:
        raise
    except duckdb.Error as error:
        # DuckDB's message goes on with the statement and a caret under the place.
        raise ConfigError(f"DuckDB does not take {text!r}: {str(error).partition(chr(10))[0]}") from None
    except JournalError as error:
        raise ConfigError(str(error)) from None


def _parameters(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--param {text!r} has no value; write it as name=value")
        found[name] = value
    return found
