"""Options that several commands share."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer
from msgspec import Struct

from callmeter.cli._instants import instant_called, zone_called

Since = Annotated[
    str | None, typer.Option(help="Calls that began at or after: 7d, 24h, today, 2026-11-01.", metavar="WHEN")
]
Until = Annotated[str | None, typer.Option(help="Calls that began before: the same forms.", metavar="WHEN")]
Zone = Annotated[
    str | None, typer.Option(help="Time zone of days and times, like Europe/Berlin; default: yours.", metavar="NAME")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, money as text.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV, money as text.")]


class Period(Struct, frozen=True, kw_only=True):
    """The time a question is about, in the reader's zone."""

    zone_name: str
    zone: tzinfo
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        parts = [f"{word} {at.astimezone(self.zone):%Y-%m-%d %H:%M}" for word, at in self._bounds() if at is not None]
        return ", ".join((*parts, f"times in {self.zone_name}"))

    def _bounds(self) -> tuple[tuple[str, datetime | None], ...]:
        return ("since", self.since), ("until", self.until)


def period(since: str | None = None, until: str | None = None, zone: str | None = None) -> Period:
    """What the options mean. Raises `ConfigError` for one that means nothing."""
    name, where = zone_called(zone)
    now = datetime.now(UTC)
    return Period(
        zone_name=name,
        zone=where,
        since=instant_called(since, "--since", where, now) if since else None,
        until=instant_called(until, "--until", where, now) if until else None,
    )


def first_day(period: Period) -> "datetime | None":
    """The earliest UTC day of a period, from which ledger files are opened; None for all."""
    return period.since.astimezone(UTC) if period.since else None
