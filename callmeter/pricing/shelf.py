"""Which tables a book reads: the installed ones where they are newer, else those that ship; with the overrides in them.

Nothing is read before the first price is asked for. What is damaged or mistaken is said once, in a warning, and prices
go on without it: no call fails for a price table.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from callmeter.errors import CallmeterError, ConfigError, PriceTableError
from callmeter.pricing.table import Index, Table, load_index, load_table

if TYPE_CHECKING:
    from pathlib import Path

    from callmeter.pricing.contracts import Overrides
    from callmeter.pricing.installed import Installed
    from callmeter.pricing.sources import Source
    from callmeter.settings import Settings

FOLDER = "prices"
"""Of a home: installed tables, and overrides."""

POINTER = "current.json"
OVERRIDES = "overrides.toml"

Say = Callable[[str], None]


class Place(Struct, frozen=True, kw_only=True):
    """Where prices beyond the package's may lie."""

    home: "Path | None" = None
    overrides: "Path | None" = None
    """The file that a setting names; None for the home's own, which need not be there."""


def place_of(settings: "Settings") -> Place:
    """The place that settings mean."""
    from pathlib import Path

    from callmeter.settings import home_of

    named = settings.price_overrides
    return Place(home=home_of(settings).absolute(), overrides=Path(named).expanduser() if named else None)


def default_place() -> Place:
    """The place that the environment and the config file mean. Raises `ConfigError`."""
    from callmeter.settings import load

    return place_of(load())


class Tables(Protocol):
    """Prices of many providers. Each method raises `PriceTableError` for what is damaged."""

    def index(self) -> Index: ...

    def table(self, provider: str) -> Table | None: ...

    def sources_of(self, provider: str) -> "dict[str, Source]": ...


class Packaged:
    """The tables that ship with the package."""

    def index(self) -> Index:
        """The index of their names."""
        return load_index()

    def table(self, provider: str) -> Table | None:
        """A provider's table; None where there is none."""
        try:
            return load_table(provider)
        except FileNotFoundError:
            return None

    def sources_of(self, provider: str) -> "dict[str, Source]":
        """The sources of a provider's rates, by id."""
        from callmeter.pricing.sources import packaged

        return packaged(provider)


class Opened(Struct, frozen=True, kw_only=True):
    """What a shelf found. `index` is the tables' with the overrides' names in it."""

    tables: "Packaged | Installed"
    overrides: "Overrides | None"
    index: Index


class Shelf:
    """The tables of a place, read when they are first asked for. Without a place, those of the package.

    Safe to share between threads: two may open it at once, and both find the same.
    """

    def __init__(self, place: Callable[[], Place] = Place) -> None:
        self._place = place
        self._opened: Opened | None = None
        self._said: dict[str, object] = {}

    @property
    def opened(self) -> Opened:
        """The tables in use and the overrides, without those that are damaged or mistaken."""
        found = self._opened
        if found is None:
            found = self._opened = self._open()
        return found

    def index(self) -> Index:
        """Names and providers of all there is a price for."""
        return self.opened.index

    def table(self, provider: str) -> Table | None:
        """A provider's table, with the overrides in it; None where there is none."""
        found = self.opened
        try:
            table = found.tables.table(provider)
        except PriceTableError as error:
            self._opened = self._again(found, error)
            return self.table(provider)
        if found.overrides is None:
            return table
        try:
            return found.overrides.table(provider, table)
        except ConfigError as error:
            self._say(f"{found.overrides.path}: {error}; prices of {provider} go on without it")
            return table

    def _again(self, before: Opened, error: PriceTableError) -> Opened:
        """What is there now: the table may have been replaced twice, so that its files are gone."""
        found = self._open()
        if isinstance(found.tables, Packaged) or found.tables == before.tables:
            self._say(f"{error}; until then prices are those of the package")
            return self._open(Packaged())
        return found

    def _open(self, only: Packaged | None = None) -> Opened:
        place = self._placed()
        tables, index = chosen(place, self._say) if only is None else (only, load_index())
        try:
            overrides = overrides_of(place)
            overrides = overrides.resolved(index) if overrides is not None else None
        except ConfigError as error:
            self._say(f"{error}; prices go on without them")
            overrides = None
        if overrides is not None:
            index = overrides.index(index)
        return Opened(tables=tables, overrides=overrides, index=index)

    def _placed(self) -> Place:
        try:
            return self._place()
        except CallmeterError as error:
            self._say(f"{error}; prices are those of the package")
            return Place()

    def _say(self, sentence: str) -> None:
        mine = object()
        if self._said.setdefault(sentence, mine) is mine:
            warn(sentence)


def warn(sentence: str) -> None:
    """Say it in the library's log."""
    # Loading it takes longer than all of this module, and hardly anybody needs it.
    import logging

    logging.getLogger("callmeter").warning("%s", sentence)


def chosen(place: Place, say: Say) -> "tuple[Packaged | Installed, Index]":
    """The tables in use at a place: those installed if they are newer than the package's and sound, else these."""
    shipped = load_index()
    if place.home is None or not (place.home / FOLDER / POINTER).exists():
        return Packaged(), shipped
    from callmeter.pricing.installed import Installed, state

    root = place.home / FOLDER
    try:
        entry = state(root).current
        if entry is not None and entry.version > shipped.version:
            installed = Installed(root, entry)
            return installed, installed.index()
    except PriceTableError as error:
        say(f"{error}; until then prices are those of the package")
    return Packaged(), shipped


def overrides_of(place: Place) -> "Overrides | None":
    """The overrides of a place; None where it has none. Raises `ConfigError` for a file that cannot be used."""
    path = place.overrides
    if path is None and place.home is not None and (place.home / FOLDER / OVERRIDES).is_file():
        path = place.home / FOLDER / OVERRIDES
    if path is None:
        return None
    from callmeter.pricing.overrides import load

    return load(path)


def check_overrides(place: Place) -> None:
    """Raises `ConfigError` for overrides that cannot be used, or do not fit the tables of the place."""
    overrides = overrides_of(place)
    if overrides is not None:
        tables, _ = chosen(place, warn)
        fitted(overrides, tables)


def fitted(overrides: "Overrides", tables: Tables) -> "Overrides":
    """The overrides with providers named as the tables name them. Raises `ConfigError` where they do not fit."""
    index = tables.index()
    resolved = overrides.resolved(index)
    for provider in sorted(resolved.providers):
        try:
            resolved.table(provider, tables.table(provider) if provider in index.providers else None)
        except ConfigError as error:
            raise ConfigError(f"{resolved.path}: {error}") from None
    return resolved
