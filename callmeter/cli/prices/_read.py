"""The prices that a command is about, and how they are written for people: USD for a million tokens."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from callmeter.cli._home import settings_for
from callmeter.cli._instants import instant_called
from callmeter.cli._options import Period
from callmeter.errors import PriceTableError
from callmeter.pricing.contracts import Overrides
from callmeter.pricing.document import Document, decode
from callmeter.pricing.installed import Installed, sound
from callmeter.pricing.rates import TOKEN_LINES, Rate, unit_of, usd
from callmeter.pricing.shelf import Packaged, Shelf, Tables, check_overrides, place_of
from callmeter.settings import Settings

Provider = Annotated[
    str | None, typer.Option(help="This provider only, by any of its names.", metavar="NAME", show_default=False)
]

MILLION = 10**6
MAX_DOCUMENT = 256 << 20
"""Bytes of a table in a file: many times what there is."""


class Reading(Struct, frozen=True, kw_only=True):
    """The tables in use at a home, with the overrides in them."""

    shelf: Shelf
    settings: Settings

    @property
    def tables(self) -> Tables:
        """The tables without the overrides."""
        return self.shelf.opened.tables

    def sound(self) -> Tables:
        """The tables without the overrides, every file of them looked at: for work on the whole of them."""
        tables = self.tables
        if isinstance(tables, Installed):
            try:
                sound(tables.root, tables.entry)
            except PriceTableError as error:
                typer.echo(f"callmeter: {error}; until then prices are those of the package", err=True)
                return Packaged()
        return tables

    @property
    def overrides(self) -> Overrides | None:
        """The overrides; None where there are none."""
        return self.shelf.opened.overrides

    @property
    def said(self) -> str:
        """Which tables these are."""
        return said(self.tables)

    def providers(self, named: str | None = None) -> list[str]:
        """The providers that have a table, or the one that is named. An unknown one is nobody's."""
        index = self.shelf.index()
        if named is None:
            return sorted(set(index.providers.values()))
        slug = index.providers.get(named.strip().casefold())
        return [slug] if slug is not None else []


def reading(home: str | None) -> Reading:
    """The prices of the home that a command is about. Raises `ConfigError` for wrong settings or overrides."""
    settings = settings_for(home)
    place = place_of(settings)
    check_overrides(place)
    return Reading(shelf=Shelf(lambda: place), settings=settings)


def said(tables: Tables) -> str:
    """A table's version and where it is from, in a few words."""
    where = "installed" if isinstance(tables, Installed) else "packaged" if isinstance(tables, Packaged) else "file"
    return f"table {tables.index().version} ({where})"


def document_at(path: Path) -> Document:
    """The table in a file. Raises `PriceTableError` for a file that holds none."""
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            raise PriceTableError(f"{path} has more than {MAX_DOCUMENT >> 20} MB, which no price table has")
        body = path.read_bytes()
    except OSError as error:
        raise PriceTableError(f"cannot read {path}: {error.strerror}; give the file of a price table") from None
    return decode(body, str(path))


def per_unit(line: str) -> tuple[int, str]:
    """How many units people's prices of a line are for, and what that is called."""
    unit = unit_of(line) or "unit"
    return (MILLION, "1M tokens") if line in TOKEN_LINES or line == "citation" else (1, unit.replace("_", " "))


def price_of(line: str, femtos: int | None) -> Decimal | None:
    """A rate in USD for what `per_unit` says."""
    return None if femtos is None else usd(femtos * per_unit(line)[0])


def condition(rate: Rate) -> str:
    """What a rate is for, apart from its line: service tier, region, hours, length of context."""
    over = f"input {rate.over}" if rate.over else ""
    return ", ".join(part for part in (rate.tier, rate.region, rate.window, over) if part)


def instant(seconds: int | None) -> datetime | None:
    """A rate's instant; None for an open end, and for a beginning that nobody wrote down."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def asked_instant(text: str | None, option: str, when: Period) -> datetime:
    """The instant an option means; now without one. Raises `ConfigError` for what is none."""
    now = datetime.now(UTC)
    return now if text is None else instant_called(text, option, when.zone, now)
