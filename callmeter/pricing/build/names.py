"""Providers under their many names, and models without the provider before them. `providers.toml` has the rows."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from callmeter.errors import ConfigError

HERE = Path(__file__).parent


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider as the tables know it. Our names are the client's, and further ones for those it does not call yet."""

    id: str
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    litellm: tuple[str, ...] = ()
    """Its names in a collection, where they are not among its own."""
    genai: tuple[str, ...] = ()
    models_dev: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    """How the names of its own models begin: a bare name that many hosts offer means the maker's."""
    currency: str = "USD"
    """What it prints its prices in."""
    plan: bool = False
    """Sold by subscription: what a call costs is not in any table."""
    local: bool = False
    """Runs on the caller's own machine, where calls cost nothing."""
    elsewhere: str = ""
    """The condition of every region but `global`, where all of them cost alike."""
    short_only: tuple[str, ...] = ()
    """Service tiers that are not sold for long contexts: those are served, and charged, as standard."""
    cached_input: str = ""
    """The part of its input's price that cached input costs where no source has a rate for it."""
    inclusive: bool = False
    """A longer context's price begins at the threshold itself, not above it."""

    def names(self) -> Iterator[str]:
        yield from (self.id, *self.aliases)


@cache
def providers(path: Path = HERE / "providers.toml") -> Mapping[str, Provider]:
    """All rows by id."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["provider"]
    return {row["id"]: _row(row) for row in rows}


@cache
def by_name(collection: str) -> Mapping[str, str]:
    """A collection's names of providers, and ours, to our id. `collection` is a field of `Provider`."""
    found: dict[str, str] = {}
    for row in providers().values():
        for name in row.names():
            found[name] = row.id
    for row in providers().values():
        for name in getattr(row, collection):
            found[name] = row.id
    return found


def bare(name: str, *prefixes: str) -> str:
    """A model's name without the first of the prefixes it begins with."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(f"{prefix}/") and len(name) > len(prefix) + 1:
            return name[len(prefix) + 1 :]
    return name


def _row(row: Mapping[str, Any]) -> Provider:
    try:
        return msgspec.convert(row, Provider)
    except msgspec.ValidationError as error:
        raise ConfigError(f"providers.toml: {row.get('id')}: {error}") from None
