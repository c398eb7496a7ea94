"""Price tables of earlier versions, found by the stamp that every priced call carries: `openai@35be1c3e91d24f0a`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from callmeter.errors import ConfigError
from callmeter.pricing.book import PriceBook
from callmeter.pricing.table import Table, load_index, load_table


class Archive:
    """The tables at hand: those that ship, and those in the folders named, which are read when first asked for.

    A file is one provider's compiled table, or a document whose `providers` holds several by name. What is neither is
    passed over: the folders may hold other things.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._books: dict[str, PriceBook | None] = {}
        self._found: dict[str, Table] | None = None

    def book(self, stamp: str) -> PriceBook | None:
        """A book in which that provider's prices are those of the stamp's table; None where it is not at hand."""
        if stamp not in self._books:
            self._books[stamp] = self._made(stamp)
        return self._books[stamp]

    def _made(self, stamp: str) -> PriceBook | None:
        provider, at, hash = stamp.partition("@")
        table = self._shipped(provider, hash) if at and hash else None
        if table is None:
            self._found = _tables(self._folders) if self._found is None else self._found
            table = self._found.get(stamp)
        if table is None:
            return None
        book = PriceBook()
        book.use(table)
        return book

    def _shipped(self, provider: str, hash: str) -> Table | None:
        if load_index().providers.get(provider) != provider:
            return None
        table = load_table(provider)
        return table if table.hash == hash else None


def _tables(folders: Iterable[Path]) -> dict[str, Table]:
    """Every table in the folders, by stamp. Raises `ConfigError` for a folder that cannot be read."""
    found: dict[str, Table] = {}
    for folder in folders:
        try:
            files = sorted(folder.rglob("*.json"))
            bodies = [file.read_bytes() for file in files]
        except OSError as error:
            raise ConfigError(f"the price tables in {folder} cannot be read: {error.strerror}") from None
        for body in bodies:
            found |= {f"{table.provider}@{table.hash}": table for table in _in(body)}
    return found


def _in(body: bytes) -> Iterator[Table]:
    try:
        document: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return
    if not isinstance(document, dict):
        return
    several = document.get("providers")
    candidates = several.values() if isinstance(several, dict) else (document,)
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate.get("hash") and "models" in candidate:
            try:
                yield msgspec.convert(candidate, Table)
            except msgspec.ValidationError:
                continue
