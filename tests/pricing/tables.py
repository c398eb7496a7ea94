"""Price tables of their own for tests: a document, changed, signed and installed."""

import base64
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from callmeter.pricing.document import Document, document_of, encoded, hashed
from callmeter.pricing.match import find
from callmeter.pricing.rates import Rate
from callmeter.pricing.shelf import Packaged
from callmeter.pricing.table import Model, Table


@cache
def packaged() -> Document:
    """What ships with the package."""
    return document_of(Packaged())


def newer(document: Document, by: int = 1) -> Document:
    """The same prices, issued later."""
    return replace(document, version=document.version + by)


def changed(document: Document, provider: str, name: str, change: Callable[[Model], Model]) -> Document:
    """A document in which one model is another."""
    table = document.providers[provider]
    position, _ = find(name, table)
    assert position is not None
    models = list(table.models)
    models[position] = change(models[position])
    made = hashed(replace(table, models=tuple(models)))
    return replace(document, providers={**document.providers, provider: made})


def times(line: str, numerator: int, denominator: int = 1) -> Callable[[Model], Model]:
    """A line's rates times a fraction."""

    def scaled(rate: Rate) -> Rate:
        return replace(rate, femtos=rate.femtos * numerator // denominator) if rate.line == line else rate

    return lambda model: replace(model, rates=tuple(map(scaled, model.rates)))


def without(document: Document, share: float) -> Document:
    """A document that lacks a share of every provider's models."""
    return replace(document, providers={slug: _cut(table, share) for slug, table in document.providers.items()})


def _cut(table: Table, share: float) -> Table:
    kept = int(len(table.models) * (1 - share))
    names = {name: position for name, position in table.names.items() if position < kept}
    return hashed(replace(table, models=table.models[:kept], names=names))


class Publisher:
    """Whoever signs tables, with a throwaway key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def key(self) -> str:
        """The public key, as the setting has it."""
        return base64.b64encode(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def signature(self, body: bytes) -> bytes:
        """The content of the file beside a table."""
        return base64.b64encode(self._key.sign(body)) + b"\n"

    def publish(self, document: Document, path: Path) -> Path:
        """Write a table and its signature."""
        body = encoded(document)
        path.write_bytes(body)
        path.with_name(f"{path.name}.sig").write_bytes(self.signature(body))
        return path
