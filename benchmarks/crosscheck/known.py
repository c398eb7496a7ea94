"""Models that a peer prices and we do not. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from callmeter.pricing import PriceBook


def unpriced(peer: str, known: Iterable[Mapping[str, Any]], book: PriceBook, now: datetime) -> list[str]:
    return []
