"""What one call says about the cache: `cache={"ttl": 60, "no-store": True}`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from callmeter.errors import BadRequestError

SECONDS = ("ttl", "s-maxage")
SWITCHES = ("no-cache", "no-store", "use-cache")
NAMES = (*SECONDS, *SWITCHES, "namespace")


class Controls(Struct, frozen=True, kw_only=True):
    """The controls of one call. Each has the name that HTTP, or existing code, knows it by."""

    ttl_s: float | None = None
    """Keep this call's answer for so long."""
    max_age_s: float | None = None
    """Take no answer older than this."""
    read: bool = True
    store: bool = True
    asked: bool = False
    """The call wants the cache where calls do not use it unless they say so."""
    namespace: str | None = None


NO_CONTROLS = Controls()


def controls_of(given: Any) -> Controls:
    """A call's `cache=` argument, read. Raises `BadRequestError` naming what it does not know."""
    if given is None:
        return NO_CONTROLS
    if not isinstance(given, Mapping):
        raise BadRequestError(f"cache={given!r:.80} is not a dict; it takes {', '.join(NAMES)}")
    named = {str(name).replace("_", "-").replace("s-max-age", "s-maxage"): value for name, value in given.items()}
    for name, value in named.items():
        _check(name, value)
    namespace = named.get("namespace")
    return Controls(
        ttl_s=named.get("ttl"),
        max_age_s=named.get("s-maxage"),
        read=not named.get("no-cache"),
        store=not named.get("no-store"),
        asked=bool(named.get("use-cache")),
        namespace=None if namespace is None else str(namespace),
    )


def _check(name: str, value: Any) -> None:
    if name not in NAMES:
        raise BadRequestError(f"cache={{{name!r}: …}} is no control of the cache; it takes {', '.join(NAMES)}")
    if value is None:
        return
    if name in SECONDS and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        raise BadRequestError(f"cache={{{name!r}: {value!r}}} is not a number of seconds, 0 or more")
    if name in SWITCHES and not isinstance(value, bool):
        raise BadRequestError(f"cache={{{name!r}: {value!r}}} is neither True nor False")
