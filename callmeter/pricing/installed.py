"""A price table that was installed under a home, beside the one that ships: put there whole, and read part by part.

    prices/current.json           which table is in use, which was before, and the hash of each of their files
    prices/2026112500-x1y2z3/     index.json, sources.json, openai.json, …; never changed once it is named

`installing.py` writes it. A reader sees one table or the other, whole: `current.json` is replaced in one step, and the
files of the table before stay. Signatures are looked at when a table is installed; a reader checks the hash of each
file that it needs.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from callmeter.errors import PriceTableError
from callmeter.pricing.shelf import POINTER
from callmeter.pricing.table import Index, Table

if TYPE_CHECKING:
    from callmeter.pricing.sources import Source

_T = TypeVar("_T")


class Entry(Struct, frozen=True, kw_only=True):
    """A table that lies under the home."""

    version: int
    made_at: str
    folder: str
    files: dict[str, str]
    """SHA-256 of each file, by name."""


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is in use; None for the table that ships with the package."""

    current: Entry | None = None
    previous: Entry | None = None


class Installed(Struct, frozen=True):
    """The table of an entry, which lies under `root`. Every file is checked against its hash when it is read.

    Raises `PriceTableError` naming the file for one that is missing or is not what was installed.
    """

    root: Path
    entry: Entry

    def index(self) -> Index:
        """The index of its names."""
        return self._read("index.json", Index)

    def table(self, provider: str) -> Table | None:
        """A provider's table; None where it has none."""
        name = f"{provider}.json"
        return self._read(name, Table) if name in self.entry.files else None

    def sources_of(self, provider: str) -> "dict[str, Source]":
        """The sources of a provider's rates, by id."""
        return self.sources().get(provider, {})

    def sources(self) -> "dict[str, dict[str, Source]]":
        """The sources of its rates, by provider and id."""
        from callmeter.pricing.sources import Source

        return self._read("sources.json", dict[str, dict[str, Source]])

    def _read(self, name: str, kind: type[_T]) -> _T:
        path = self.root / self.entry.folder / name
        try:
            body = path.read_bytes()
        except OSError as error:
            raise PriceTableError(f"cannot read {path}: {error.strerror}; {_CURE}") from None
        if hashlib.sha256(body).hexdigest() != self.entry.files.get(name):
            raise PriceTableError(f"{path} is not what was installed; {_CURE}")
        return _decoded(body, kind, path)


_CURE = "run `callmeter prices update` again, or `callmeter prices rollback`"


def state(root: Path) -> State:
    """What is installed there; nothing where nothing is. Raises `PriceTableError` where that cannot be told."""
    path = root / POINTER
    try:
        body = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return State()
    except OSError as error:
        raise PriceTableError(f"cannot read {path}: {error.strerror}; make it readable") from None
    found = _decoded(body, State, path)
    for entry in (found.current, found.previous):
        if entry is not None and (Path(entry.folder).name != entry.folder or entry.folder.startswith(".")):
            raise PriceTableError(f"{path} names the folder {entry.folder!r:.80}; {_CURE}")
    return found


def sound(root: Path, entry: Entry) -> None:
    """Raises `PriceTableError` naming the first of a table's files that is not what was installed."""
    table = Installed(root, entry)
    table.index()
    table.sources()
    for name in entry.files.keys() - {"index.json", "sources.json"}:
        table.table(name.removesuffix(".json"))


def _decoded(body: bytes, kind: type[_T], path: Path) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PriceTableError(f"{path} is damaged: {error}; {_CURE}") from None
