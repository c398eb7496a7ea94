"""Fetch a newer price table, check who signed it, show what changes, and install it.

SOURCE is a file or a URL of a table as `callmeter prices export` writes it; its Ed25519 signature lies beside it, as
SOURCE.sig. Without SOURCE the setting price_source is used; there is none by default, and nothing is ever fetched by
itself. The signature has to be of the pinned key: the setting price_key, or --key.

Changes that are big (a price that more than doubles or halves, one that becomes nothing, models that are gone) are
installed with --accept only. The table before is kept: see `callmeter prices rollback`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home, path_of
from callmeter.cli._options import Csv, Json, Period, Zone, period
from callmeter.cli._output import Report, busy, form_of, print_report
from callmeter.cli.prices import _changes, _fetch, _read
from callmeter.cli.prices._read import Reading
from callmeter.errors import ConfigError, PriceTableError
from callmeter.pricing import signing
from callmeter.pricing.difference import Change, big, upcoming
from callmeter.pricing.document import Document, decode, document_of, issued
from callmeter.pricing.installing import install
from callmeter.pricing.shelf import FOLDER

MOST_SAID = 10
"""Big changes that are named one by one."""


def update(
    source: Annotated[str | None, typer.Argument(help="File or URL of the table.", show_default=False)] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Install big changes too.")] = False,
    key: Annotated[str | None, typer.Option(help="Public key, in place of the setting's.", metavar="BASE64")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and install nothing.")] = False,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    reading = _read.reading(home)
    where, pinned = _source(reading, source), _pinned(reading, key)
    with busy(f"fetching {where}"):
        document = _verified(where, pinned)
    tables = reading.sound()
    old, said = document_of(tables), _read.said(tables)
    if not _newer(document, old, where):
        same = f"nothing to do: {where} has the table that is in use"
        print_report(_report(f"Prices in USD: {said}", [same], (), when), form)
        return ExitCode.OK
    changes = upcoming(old, document, int(datetime.now(UTC).timestamp()))
    alarms = [*_early(document), *big(changes, old)]
    refused = bool(alarms) and not accept
    if not refused and not dry_run:
        install(path_of(home) / FOLDER, document)
    done = "not installed" if refused else "would be installed" if dry_run else "installed"
    title = f"Prices in USD: from {said} to {document.version}, {done}"
    print_report(_report(title, _notes(changes, alarms, refused), changes, when), form)
    return ExitCode.NOTHING if refused else ExitCode.OK


def _source(reading: Reading, given: str | None) -> str:
    """Where to fetch from. Raises `ConfigError` where nobody said."""
    source = given or reading.settings.price_source
    if not source:
        raise ConfigError(
            "no source of price tables is set, and none is by default; give a file or URL, or set price_source "
            "(CALLMETER_PRICE_SOURCE)"
        )
    return source


def _pinned(reading: Reading, given: str | None) -> bytes:
    """The key that has to have signed. Raises `ConfigError` where none is pinned, or it is none."""
    text = given or reading.settings.price_key
    if not text:
        raise ConfigError(
            "no key is pinned, so nobody's table can be trusted; set price_key (CALLMETER_PRICE_KEY) to the public key "
            "of its publisher, or give it with --key"
        )
    return signing.public_key(text, "--key" if given else "price_key")


def _verified(where: str, key: bytes) -> Document:
    """The table at a source, once its signature and its form have been looked at; in that order."""
    body, signed = _fetch.fetched(where)
    signing.verify(body, signing.signature(signed, f"{where}.sig"), key, where)
    return decode(body, where)


def _newer(document: Document, old: Document, where: str) -> bool:
    """Whether there is something to install. Raises `PriceTableError` for a table that must not follow the old one."""
    if document.version > old.version:
        return True
    if document.version < old.version:
        raise PriceTableError(
            f"{where} has version {document.version}, older than {old.version}, which is in use; nothing was installed"
        )
    if document.index().hash != old.index().hash:
        raise PriceTableError(
            f"{where} has version {document.version}, which is in use with other prices; a changed table needs a "
            "higher version; nothing was installed"
        )
    return False


def _early(document: Document) -> list[str]:
    """A version of a day to come would end all updates until that day."""
    day = issued(document.version)
    if day > datetime.now(UTC) + timedelta(days=1):
        return [f"version {document.version} is of {day:%Y-%m-%d}, which is to come: older ones could not follow it"]
    return []


def _notes(changes: Sequence[Change], alarms: Sequence[str], refused: bool) -> list[str]:
    notes = [_changes.summary(changes), *alarms[:MOST_SAID]]
    if len(alarms) > MOST_SAID:
        notes.append(f"and {len(alarms) - MOST_SAID} more big changes")
    if refused:
        notes.append("nothing was installed: look at the big changes, and give --accept if they are right")
    return notes


def _report(title: str, notes: Sequence[str], changes: Sequence[Change], when: Period) -> Report:
    return Report(
        title=title,
        columns=_changes.COLUMNS,
        rows=_changes.rows(changes),
        notes=notes,
        zone=when.zone,
        zone_name=when.zone_name,
        brief=_changes.BRIEF,
    )
