"""Who states a rate, who agrees and when it was compared with the provider's page: what stands beside it in the data.

Read from `data/<provider>.toml`, as it ships; not needed to price a call.
"""

import pkgutil
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from msgspec import Struct

from callmeter.pricing import authored
from callmeter.pricing.rates import Rate


class Origin(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where one rate is from."""

    source: str
    """The id of a source of the provider's table."""
    agreed: tuple[str, ...] = ()
    """Sources that have the same figure."""
    checked: date | None = None
    """The day the source compared it with the provider's page; None where it does not say."""
    single: bool = False
    """Nobody else has it."""
    note: str = ""


@lru_cache(4)
def origins(provider: str) -> Mapping[tuple[str, Rate], Origin]:
    """The origin of every rate of a provider's packaged table, by model and rate; empty where there is no table."""
    try:
        body = pkgutil.get_data("callmeter.pricing", f"data/{provider}.toml")
    except FileNotFoundError:
        body = None
    entries = tomllib.loads(body.decode()).get("model", ()) if body else ()
    return {(entry["id"], rate): _origin(rate, block) for entry in entries for rate, block in authored.traced(entry)}


def _origin(rate: Rate, block: Mapping[str, Any]) -> Origin:
    return Origin(
        source=rate.source,
        agreed=tuple(block.get("agreed", ())),
        checked=block.get("checked"),
        single=block.get("confidence") == "single",
        note=block.get("note", ""),
    )
