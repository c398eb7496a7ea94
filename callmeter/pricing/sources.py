"""Where the rates of a table come from: each source's page and the day it was read. Not needed to price a call."""

import pkgutil
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from msgspec import Struct

_FIRST_MODEL = re.compile(r"^\[\[model\]\]", re.MULTILINE)


class Source(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A page or collection that rates were taken from."""

    kind: str = ""
    """`provider` for a page of the provider's own, `collection` for other people's tables."""
    url: str = ""
    checked: date | None = None
    """The day it was read; None where nobody wrote that down."""
    note: str = ""


def packaged(provider: str) -> dict[str, Source]:
    """The sources of a provider's table that ships with the package, by id; empty where there is no such table."""
    try:
        body = pkgutil.get_data("callmeter.pricing", f"data/{provider}.toml")
    except FileNotFoundError:
        body = None
    return listed(heading(body.decode())) if body else {}


def heading(text: str) -> dict[str, Any]:
    """What stands before the first model of a provider's file: a hundredth of it, and all that names sources."""
    import tomllib

    first = _FIRST_MODEL.search(text)
    return tomllib.loads(text[: first.start()] if first else text)


def listed(document: Mapping[str, Any]) -> dict[str, Source]:
    """The sources of a provider's document, by id."""
    return {
        entry["id"]: Source(
            kind=entry.get("kind", ""),
            url=entry.get("url", ""),
            checked=entry.get("checked"),
            note=entry.get("note", ""),
        )
        for entry in document.get("source", ())
    }


def newest(sources: Mapping[str, Source]) -> date | None:
    """The last day on which any of the sources was read."""
    return max((source.checked for source in sources.values() if source.checked is not None), default=None)
