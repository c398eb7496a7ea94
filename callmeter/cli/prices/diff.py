"""Compare two price tables, or one at two instants: what is new, gone, dearer or cheaper, and by how many percent.

Without arguments: the package's table and the one that is installed. With one FILE: the table in use and the file's.
With two: theirs. With --at twice: the table in use (or the file's) at two instants. Overrides have no part in it. The
exit code is 0, whether or not there is a difference.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from callmeter.cli import ExitCode
from callmeter.cli._home import Home
from callmeter.cli._options import Csv, Json, Period, Zone, period
from callmeter.cli._output import Report, form_of, print_report
from callmeter.cli.prices import _changes, _read
from callmeter.cli.prices._read import Provider, Reading
from callmeter.errors import ConfigError
from callmeter.pricing.difference import Change, differences, upcoming
from callmeter.pricing.document import Document, document_of
from callmeter.pricing.installed import Installed
from callmeter.pricing.shelf import Packaged


def diff(
    files: Annotated[list[Path] | None, typer.Argument(help="One or two tables in files.", show_default=False)] = None,
    at: Annotated[list[str] | None, typer.Option(help="Twice: two instants to compare.", metavar="WHEN")] = None,
    provider: Provider = None,
    zone: Zone = None,
    json: Json = False,
    csv: Csv = False,
    home: Home = None,
) -> ExitCode:
    form, when = form_of(json=json, csv=csv), period(zone=zone)
    reading = _read.reading(home)
    what, changes = _asked(reading, files or (), at or (), when)
    if provider is not None:
        slugs = reading.providers(provider) or [provider.casefold()]
        changes = [change for change in changes if change.provider in slugs]
    report = Report(
        title=f"Prices in USD: {what}",
        columns=_changes.COLUMNS,
        rows=_changes.rows(changes),
        notes=[_changes.summary(changes)],
        zone=when.zone,
        zone_name=when.zone_name,
        brief=_changes.BRIEF,
    )
    print_report(report, form)
    return ExitCode.OK


def _asked(reading: Reading, files: Sequence[Path], at: Sequence[str], when: Period) -> tuple[str, list[Change]]:
    """What is compared, in words, and what is different."""
    if len(files) > 2:
        raise ConfigError(f"{len(files)} files are given; a comparison is of two at most")
    if at:
        return _at_two_instants(reading, files, at, when)
    now = int(datetime.now(UTC).timestamp())
    (first, old), (second, new) = _two(reading, files)
    return f"from {first} to {second}", upcoming(old, new, now)


def _at_two_instants(
    reading: Reading, files: Sequence[Path], at: Sequence[str], when: Period
) -> tuple[str, list[Change]]:
    if len(at) != 2 or len(files) > 1:
        raise ConfigError("--at compares one table at two instants: give it twice, with one file or none")
    first, second = (_read.asked_instant(text, "--at", when) for text in at)
    name, table = _of_file(files[0]) if files else _in_use(reading)
    changes = differences(table, table, int(first.timestamp()), int(second.timestamp()))
    shown = [f"{instant.astimezone(when.zone):%Y-%m-%d %H:%M}" for instant in (first, second)]
    return f"from {shown[0]} to {shown[1]}, times in {when.zone_name}, {name}", changes


def _two(reading: Reading, files: Sequence[Path]) -> tuple[tuple[str, Document], tuple[str, Document]]:
    if len(files) == 2:
        return _of_file(files[0]), _of_file(files[1])
    if files:
        return _in_use(reading), _of_file(files[0])
    if not isinstance(reading.tables, Installed):
        raise ConfigError(
            f"no newer table is installed, {reading.said} is in use; give one or two files, or --at with two instants"
        )
    packaged = Packaged()
    return (_read.said(packaged), document_of(packaged)), _in_use(reading)


def _in_use(reading: Reading) -> tuple[str, Document]:
    tables = reading.sound()
    return _read.said(tables), document_of(tables)


def _of_file(path: Path) -> tuple[str, Document]:
    return path.name, _read.document_at(path)
