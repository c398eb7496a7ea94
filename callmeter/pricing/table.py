"""A provider's prices as they ship: compiled, one JSON file a provider and an index of names."""

import pkgutil

import msgspec
from msgspec import Struct

from callmeter.pricing.rates import Rate

FEATURES = frozenset(
    """audio_input audio_output computer_use embedding_image_input function_calling native_streaming
    parallel_function_calling pdf_input prompt_caching reasoning response_schema system_messages tool_choice url_context
    video_input vision web_search""".split()
)
"""What a model can be said to do; `supports_vision()` and kin ask for these."""


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
    tokenizer: str = ""
    features: tuple[str, ...] = ()
    """Of `FEATURES`. One that is not listed is not known to be there."""


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
    makes: tuple[str, ...] = ()
    """Beginnings of the names of its own models: of those who offer such a name, it is the maker."""
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
    version: int = 0
    """Grows with every issue of the table: the day it is of, and a number, as in 2026112500."""
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
