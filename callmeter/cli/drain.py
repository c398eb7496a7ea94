"""Deliver what waits and no live process can: ends of dead processes' calls, the ledger's newest rows, sinks' backlogs.

A sink is configured by the environment, as it was where its events came from. What waits for one that is not configured
here is named and stays. The exit code is 1 if anything is left waiting.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import msgspec
import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, open_journal, settings_for
from callmeter.cli._output import busy, print_report
from callmeter.cli.sinks import report
from callmeter.clock import SystemClock
from callmeter.errors import ConfigError
from callmeter.settings import Settings, home_of

if TYPE_CHECKING:
    from callmeter.events.journal import Accounts, Journal
    from callmeter.sinks.base import Sink


def drain(
    timeout: Annotated[float, typer.Option(help="Seconds to deliver for at most.", min=0)] = 30.0,
    home: Home = None,
) -> ExitCode:
    from callmeter.events.recovery import recover

    settings = settings_for(home)
    opening = partial(open_journal, home_of(settings).absolute())
    journal = opening()
    try:
        with busy("delivering"):
            closed = recover(journal, SystemClock())
            moved = _compact(opening, settings)
            sinks, obstacles = configured(journal.accounts(), settings)
            _deliver(opening, sinks, settings, timeout)
        accounts, losses = journal.accounts(), journal.losses()
    finally:
        journal.close()
    shown = report(accounts, losses)
    done = [f"{closed} calls of dead processes were ended, {moved} rows moved to the ledger's files"]
    print_report(msgspec.structs.replace(shown, notes=[*done, *obstacles, *shown.notes]))
    return ExitCode.NOTHING if any(account.waiting for account in accounts) else ExitCode.OK


def configured(accounts: "Sequence[Accounts]", settings: Settings) -> "tuple[list[Sink], list[str]]":
    """Those of the sinks with a backlog that the environment configures, and why the others are not among them."""
    from callmeter.sinks.registry import ELSEWHERE, make

    sinks: list[Sink] = []
    obstacles = []
    for account in accounts:
        if not account.waiting or account.name in ELSEWHERE:
            continue
        try:
            sink = make(account.name, settings, os.environ)
        except ConfigError as error:
            obstacles.append(f"{account.waiting} events wait for {account.sink}: {error}")
            continue
        if sink.identity() == account.sink:
            sinks.append(sink)
        else:
            obstacles.append(
                f"{account.waiting} events wait for {account.sink}, but the environment configures {sink.identity()};"
                " set its address and key as they were where the events came from"
            )
    return sinks, obstacles


def _compact(opening: "Callable[[], Journal]", settings: Settings) -> int:
    """Move the ledger's newest rows to its files; how many."""
    from callmeter.sinks.duckdb.compactor import Compactor

    compactor = Compactor(
        opening,
        home_of(settings).absolute(),
        owner=uuid4().hex,
        retention_days=settings.retention_days,
        content_retention_days=settings.content_retention_days,
    )
    try:
        return compactor.compact()
    finally:
        compactor.close()


def _deliver(opening: "Callable[[], Journal]", sinks: "Sequence[Sink]", settings: Settings, timeout_s: float) -> None:
    """Deliver to these sinks in this thread."""
    from callmeter.sinks.supervisor import Workers

    clock = SystemClock()
    owner = uuid4().hex
    workers = Workers(opening, owner=lambda: owner, sender=partial(_transport, settings), clock=clock)
    workers.start(sinks, threads=False)
    workers.stop(clock.mono_ns() + int(timeout_s * 1e9))


def _transport(settings: Settings) -> Any:
    from callmeter.transport import sync_transport

    return sync_transport(settings.transport)
