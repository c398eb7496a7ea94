"""Models found by name, and names that are near to one that was not found."""

import difflib
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from callmeter.cli.prices._read import Reading
from callmeter.pricing.match import canonical, find, undated
from callmeter.pricing.table import Model, Table

NEAR = 5
"""Names to suggest at most."""


class Found(Struct, frozen=True, kw_only=True):
    """A model with the provider it is at."""

    provider: str
    model: Model
    table: Table

    @property
    def aliases(self) -> list[str]:
        """Its other names."""
        mine = self.table.names.get(canonical(self.model.id))
        own = canonical(self.model.id)
        return [name for name, position in self.table.names.items() if position == mine and name != own]


def addressed(reading: Reading, name: str, provider: str | None) -> tuple[str, str | None]:
    """A name and the provider it is asked at: the one that is named, or the one before the name."""
    prefix, slash, rest = name.partition("/")
    if provider is None and slash and rest and reading.providers(prefix):
        return rest, prefix
    return name, provider


def named(reading: Reading, name: str, provider: str | None) -> list[Found]:
    """The model of that name at every provider that has it, its maker first, or at the one that is named."""
    if provider is not None:
        return list(_at(reading, reading.providers(provider), name))
    index, forms = reading.shelf.index(), (canonical(name), undated(canonical(name)) or "")
    makers = (index.makers[form] for form in forms if form in index.makers)
    owners = (owner for form in forms for owner in index.owners.get(form, ()))
    listed = dict.fromkeys((*makers, *owners))
    # Most names are found without reading every table there is.
    return list(_at(reading, listed, name)) or list(_at(reading, reading.providers(), name))


def _at(reading: Reading, providers: Iterable[str], name: str) -> Iterator[Found]:
    for provider in providers:
        table = reading.shelf.table(provider)
        position = find(name, table)[0] if table is not None else None
        if table is not None and position is not None:
            yield Found(provider=provider, model=table.models[position], table=table)


def free_whatever(reading: Reading, provider: str | None) -> list[str]:
    """Of the providers named, those at which every model is free, listed or not."""
    if provider is None:
        return []
    tables = (reading.shelf.table(slug) for slug in reading.providers(provider))
    return [table.provider for table in tables if table is not None and table.free]


def near(reading: Reading, name: str, provider: str | None) -> list[str]:
    """Names that are like one, best first, with who has them."""
    wanted = canonical(name)
    index = reading.shelf.index()
    slugs = set(reading.providers(provider)) or set(reading.providers())
    names = {known: owners for known, owners in index.owners.items() if slugs.intersection(owners)}
    close = difflib.get_close_matches(wanted, names, NEAR, 0.6)
    close += [known for known in sorted(names, key=len) if wanted and wanted in known and known not in close]
    return [f"{known} ({_some([slug for slug in names[known] if slug in slugs])})" for known in close[:NEAR]]


def _some(providers: Sequence[str]) -> str:
    more = len(providers) - NEAR
    return ", ".join((*providers[:NEAR], *([f"{more} more"] if more > 0 else ())))
