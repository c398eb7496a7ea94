"""Calls as they end, one line each, until interrupted.

A line holds time, id, model, how the call ended, tokens in and out, cost and seconds; with --json it is one JSON
object. Calls that ran for more than a day are left out.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from callmeter.cli import ExitCode
from callmeter.cli._figures import plain, shown
from callmeter.cli._home import Home, exit_code, opened_ledger
from callmeter.cli._options import Json, Zone, period
from callmeter.cli.calls import rows

if TYPE_CHECKING:
    from callmeter.ledger import Ledger

POLL_S = 0.5
WINDOW = timedelta(days=1)
"""A call appears when it has ended and is found by when it began, so each look goes back this far."""

MOST = 100_000
"""Calls of that window that are looked at."""

WIDTHS = {"at": 19, "call_id": 32, "model": 20, "ended": 12}
FIGURES = {"input_tokens": 7, "output_tokens": 7, "cost": 12, "latency_s": 8}


def tail(
    once: Annotated[bool, typer.Option("--once", help="Show what is there and stop.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="Calls to begin with.", min=0)] = 10,
    zone: Zone = None,
    json: Json = False,
    home: Home = None,
) -> ExitCode:
    where = period(zone=zone).zone
    line = _json if json else _line
    with opened_ledger(home, since=(datetime.now(UTC) - WINDOW).date()) as ledger:
        ended = _ended(ledger)
        fresh = list(ended.values())[max(0, len(ended) - lines) :]
        while True:
            for call in fresh:
                print(line(call, where), flush=True)
            if once:
                return exit_code(ledger, ended)
            time.sleep(POLL_S)
            known, ended = ended, _ended(ledger)
            fresh = [call for id, call in ended.items() if id not in known]


def _ended(ledger: "Ledger") -> dict[str, Mapping[str, object]]:
    """The calls of the last day by id, oldest first."""
    from callmeter.dashboards import queries

    answer = queries.run(ledger, "calls_list", since=datetime.now(UTC) - WINDOW, limit=MOST)
    calls = [dict(zip(answer.columns, row, strict=True)) for row in rows(answer)]
    return {str(call["call_id"]): call for call in reversed(calls)}


def _json(call: Mapping[str, object], zone: tzinfo) -> str:
    return msgspec.json.encode({name: plain(value, zone) for name, value in call.items()}).decode()


def _line(call: Mapping[str, object], zone: tzinfo) -> str:
    left = (shown(call[name], zone).ljust(width) for name, width in WIDTHS.items())
    right = (shown(call[name], zone, column=name).rjust(width) for name, width in FIGURES.items())
    return "  ".join((*left, *right))
