"""A whole price table as one JSON file, which is how it travels: what `export` writes and `update` takes.

    {"format": 1, "version": 2026112500, "made_at": "2026-11-25T00:00:00Z", "names": {"oai": "openai", …},
     "hosts": {"api.openai.com": "openai"}, "sources": {"openai": {…}}, "providers": {"openai": {compiled table}}}

Nothing in it is believed before `checked` has looked at it: names become file names, positions are followed.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from callmeter.errors import ConfigError, PriceTableError
from callmeter.pricing import authored
from callmeter.pricing.match import canonical
from callmeter.pricing.rates import MAX_FEMTOS, Rate, unit_of
from callmeter.pricing.shelf import Tables
from callmeter.pricing.sources import Source
from callmeter.pricing.table import Index, Table

FORMAT = 1
"""What this release reads and writes. A later one that older releases would misread has a higher number."""

MAX_VERSION = 9_999_999_999
"""A day and a number of two digits; one typed with a digit too many would end all updates."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_RESERVED = frozenset({"index", "sources", "current"})
_HASH = re.compile(r"[0-9a-f]{16}")
_OVER = re.compile(r"(>=?[1-9][0-9]{0,17})?")


class Document(Struct, frozen=True, kw_only=True):
    """All tables of one issue, with what belongs to them."""

    version: int
    made_at: str
    """RFC 3339, UTC."""
    providers: dict[str, Table]
    names: dict[str, str] = {}
    """Provider, or another name of it, to provider."""
    hosts: dict[str, str] = {}
    sources: dict[str, dict[str, Source]] = {}
    """By provider and id."""
    format: int = FORMAT

    def index(self) -> Index:
        """The index of these tables."""
        return index_of(self.providers.values(), self.names, self.hosts, self.version)

    def table(self, provider: str) -> Table | None:
        """A provider's table; None where there is none."""
        return self.providers.get(provider)

    def sources_of(self, provider: str) -> dict[str, Source]:
        """The sources of a provider's rates, by id."""
        return self.sources.get(provider, {})


def encoded(value: object) -> bytes:
    """The one spelling of a table, index or document, so that equal ones have equal bytes."""
    return msgspec.json.encode(value, order="sorted") + b"\n"


def hash_of(body: bytes) -> str:
    """Names a table in a call's `price_table`."""
    return hashlib.sha256(body).hexdigest()[:16]


def hashed(table: Table) -> Table:
    """The table with its own hash in it."""
    return replace(table, hash=hash_of(encoded(replace(table, hash=""))))


def index_of(tables: Iterable[Table], names: Mapping[str, str], hosts: Mapping[str, str], version: int) -> Index:
    """The index of some tables: who offers which name."""
    ordered = sorted(tables, key=lambda table: f"{table.provider}.json")
    owners: dict[str, list[str]] = {}
    made_by: dict[str, list[str]] = {}
    for table in ordered:
        for name in table.names:
            owners.setdefault(name, []).append(table.provider)
            if name.startswith(table.makes):
                made_by.setdefault(name, []).append(table.provider)
    return Index(
        providers=dict(names),
        hosts=dict(hosts),
        owners={name: tuple(owned) for name, owned in owners.items()},
        makers={name: by[0] for name, by in made_by.items() if len(by) == 1 and len(owners[name]) > 1},
        version=version,
        hash=hash_of(b"".join(map(encoded, ordered))),
    )


def issued(version: int) -> datetime:
    """The day a version is of, at its beginning, UTC. Raises `PriceTableError` for a number that holds none."""
    day = str(version // 100)
    try:
        if len(day) == 8:
            return datetime.fromisoformat(f"{day}T000000Z")
    except ValueError:
        pass
    raise PriceTableError(f"{version} is no version: write the day and two digits, as in 2026112500")


def decode(body: bytes, where: str) -> Document:
    """A document from its bytes, checked. Raises `PriceTableError` naming `where` it is from and what is wrong."""
    try:
        found = msgspec.json.decode(body, type=_Head)
        if found.format != FORMAT:
            raise PriceTableError(
                f"{where} is a price table of format {found.format}, this callmeter reads {FORMAT}; upgrade callmeter"
            )
        document = msgspec.json.decode(body, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PriceTableError(f"{where} is no price table: {error}") from None
    try:
        checked(document)
    except (ConfigError, PriceTableError) as error:
        raise PriceTableError(f"{where}: {error}") from None
    return document


def document_of(tables: Tables) -> Document:
    """Everything in some tables, as it travels. Raises `PriceTableError` where a part of it is damaged."""
    index = tables.index()
    slugs = sorted(set(index.providers.values()))
    found = {slug: tables.table(slug) for slug in slugs}
    return Document(
        version=index.version,
        made_at=issued(index.version).isoformat().replace("+00:00", "Z"),
        providers={slug: table for slug, table in found.items() if table is not None},
        names=index.providers,
        hosts=index.hosts,
        sources={slug: tables.sources_of(slug) for slug in slugs},
    )


class _Head(Struct):
    format: int


def checked(document: Document) -> None:
    """Raises `PriceTableError` or `ConfigError` naming the first thing in a document that cannot be right."""
    if not 0 < document.version <= MAX_VERSION:
        raise PriceTableError(f"version is {document.version}; it has to be from 1 to {MAX_VERSION}")
    issued(document.version)
    _instant(document.made_at)
    if not document.providers:
        raise PriceTableError("it has no providers")
    for what, places in (("names", document.names), ("hosts", document.hosts)):
        for name, slug in places.items():
            if slug not in document.providers:
                raise PriceTableError(f"{what} sends {name!r:.80} to {slug!r:.80}, which has no table in it")
    for slug, table in document.providers.items():
        for problem in _problems(slug, table, document):
            raise PriceTableError(f"{slug!r:.80}: {problem}")
        for model in table.models:
            authored.check(model)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise PriceTableError(f"made_at is {text!r:.80}, which is no time with its offset from UTC")
    return at


def _problems(slug: str, table: Table, document: Document) -> Iterator[str]:
    if not _SLUG.fullmatch(slug) or slug in _RESERVED or ".." in slug:
        yield "is no provider's name; write letters, digits, '.', '_' and '-'"
    if table.provider != slug:
        yield f"its table says it is of {table.provider!r:.80}"
    if document.names.get(slug) != slug:
        yield "is not among the names"
    if not _HASH.fullmatch(table.hash):
        # Not computed again: a later release's table may have fields that this one does not know.
        yield f"its hash is {table.hash!r:.40}, which is none"
    for name, position in table.names.items():
        if not 0 <= position < len(table.models) or name != canonical(name):
            yield f"the name {name!r:.80} at {position} leads nowhere"
    sources = document.sources.get(slug, {})
    for model in table.models:
        if not model.rates and not model.free:
            yield f"{model.id!r:.80} has no rates and is not free"
        if model.id and canonical(model.id) not in table.names:
            yield f"{model.id!r:.80} is not among its names"
        for rate in model.rates:
            if wrong := _wrong(rate, sources):
                yield f"{model.id!r:.80}: {rate.line!r:.80}: {wrong}"


def _wrong(rate: Rate, sources: Mapping[str, Source]) -> str:
    """What cannot be about a rate; nothing for a good one."""
    if unit_of(rate.line) is None:
        return "is no line that can be priced; upgrade callmeter"
    if not 0 <= rate.femtos < MAX_FEMTOS:
        return f"{rate.femtos} is no price in 1e-15 USD a unit"
    if rate.until_s is not None and rate.until_s <= rate.start_s:
        return "ends before it begins"
    if not _OVER.fullmatch(rate.over):
        return f"over is {rate.over!r:.40}"
    if rate.source not in sources:
        return f"its source {rate.source!r:.80} is not listed"
    return ""
