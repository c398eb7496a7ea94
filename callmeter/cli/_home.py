"""The home that a command reads: its settings, its journal, its ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.errors import JournalError
from callmeter.settings import Settings, home_of, load

if TYPE_CHECKING:
    from callmeter.events.journal import Journal
    from callmeter.ledger import Ledger

Home = Annotated[
    str | None, typer.Option(help="Home to read, instead of CALLMETER_HOME.", metavar="DIR", show_default=False)
]


def settings_for(home: str | None) -> Settings:
    """The settings in force, with this home if one is named. Raises `ConfigError`."""
    return load({"home": home} if home else None)


def path_of(home: str | None) -> Path:
    """The home that is meant."""
    return home_of(settings_for(home)).absolute()


def open_journal(home: Path) -> "Journal":
    """The journal of a home, read-only where it cannot be written. Raises `JournalError`."""
    from callmeter.events.journal import Journal
    from callmeter.sinks.duckdb.restoring import has_files

    if not home.exists():
        raise JournalError(
            f"there is no home {home} yet; make a call with success_callback = ['duckdb'], or see `callmeter demo`"
        )
    try:
        if not (home / "journal.sqlite3").exists() and has_files(home):
            Journal.open(home).close()
        return Journal.open(home, create=False)
    except JournalError:
        if not (home / "journal.sqlite3").exists():
            raise
        return Journal.open(home, create=False, read_only=True)


@contextmanager
def opened_ledger(home: str | None, *, since: date | None = None, guarded: bool = False) -> Iterator["Ledger"]:
    """The ledger, for the time of a `with`. Raises `JournalError` where there is none or it cannot be read."""
    from callmeter import ledger
    from callmeter.sinks.duckdb import import_duckdb

    path = path_of(home)
    failures = import_duckdb().Error
    open_journal(path).close()
    with ledger.connect(path, since=since, guarded=guarded) as opened:
        try:
            yield opened
        except failures as error:
            reason = str(error).partition("\n")[0]
            raise JournalError(f"the ledger in {path} cannot answer: {reason}; see `callmeter doctor`") from error


def exit_code(ledger: "Ledger", found: object) -> ExitCode:
    """How a question to the ledger ended. An incomplete ledger is said first: its sums are not to be relied on."""
    if ledger.problems:
        return ExitCode.BROKEN
    return ExitCode.OK if found else ExitCode.NOTHING
