"""A provider's prices as they ship: compiled, one JSON file a provider and an index of names."""

import pkgutil

import msgspec
from msgspec import Struct

from callmeter.pricing.rates import Rate


class Limits(Struct, frozen=True, omit_defaults=True):
    """Token limits of a model; None where nobody says."""

    context: int | None = None
    input: int | None = None
    output: int | None = None


class Model(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model's prices, past ones included."""

    id: str
    mode: str = "chat"
    rates: tuple[Rate, ...] = ()
    free: bool = False
    same_when_dated: bool = False
    """A dated name that is not listed costs the same as this one."""
    limits: Limits | None = None
    features: tuple[str, ...] = ()
    """What it can do, by name: `vision`, `function_calling`, `reasoning`, …; empty where nobody says."""
    tokenizer: str = ""


class Source(Struct, frozen=True, omit_defaults=True):
    """Where rates come from."""

    kind: str = ""
    """`provider` (a page of its own), `collection`, or `reasoning` where no source states the figure."""
    url: str = ""
    checked: str = ""
    """The day it was read, `2026-11-25`; empty where it was not."""
    note: str = ""


class Table(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All of one provider."""

    provider: str
    prefixes: tuple[str, ...] = ()
    tiers: dict[str, str] = {}
    """Names of service tiers that are charged as another one."""
    free: bool = False
    """Whatever name it has, a model here costs nothing."""
    elsewhere: str = ""
    """The condition that stands for every region but `global`, where a provider charges all of them alike."""
    sources: dict[str, Source] = {}
    """What the rates' `source` names."""
    unpriced_suffixes: tuple[str, ...] = ()
    """Names that end so are charged elsewhere, so `free` does not hold for them."""
    names: dict[str, int] = {}
    """Canonical name (`match.canonical`) to position in `models`."""
    models: tuple[Model, ...] = ()
    hash: str = ""


class Index(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which tables there are, and who offers a bare name."""

    providers: dict[str, str] = {}
    """Provider, or another name of it, to provider."""
    hosts: dict[str, str] = {}
    owners: dict[str, tuple[str, ...]] = {}
    """Canonical name to the providers that list it."""
    makers: dict[str, str] = {}
    """Names that several list to the one among them whose own model it is: it is meant where none is said."""
    hash: str = ""


def load_index() -> Index:
    """The index that ships with the package."""
    return msgspec.json.decode(_read("index"), type=Index)


def load_table(provider: str) -> Table:
    """A provider's table that ships with the package."""
    return msgspec.json.decode(_read(provider), type=Table)


def _read(name: str) -> bytes:
    body = pkgutil.get_data("callmeter.pricing", f"compiled/{name}.json")
    if body is None:
        raise FileNotFoundError(f"callmeter was installed without its price table {name}.json; install it again")
    return body
