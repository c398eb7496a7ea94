"""Where the Redis is that routers share their state in."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from callmeter.errors import ConfigError


class Place(Struct, frozen=True, kw_only=True):
    """Where Redis is, as `Router(…)` was told."""

    where: Mapping[str, Any]
    """What the client takes: `url`, or `host` and the like, and what was given beside them."""
    namespace: str = "callmeter"


def place_of(settings: dict[str, Any]) -> Place | None:
    """Takes what says where Redis is out of a router's arguments; None where nothing does. Raises `ConfigError`."""
    url, host, port, password, db = (settings.pop(f"redis_{name}", None) for name in _FIELDS)
    more = dict(settings.pop("cache_kwargs", None) or {})
    if url is None and host is None:
        return None
    if url is not None and not str(url).startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("Router: redis_url is no address of a Redis; it looks like 'redis://host:6379/0'")
    try:
        number = None if port is None else int(port)
    except ValueError:
        raise ConfigError(f"Router: redis_port is {port!r}; it takes a number") from None
    namespace = str(more.pop("namespace", None) or "callmeter")
    named = {"url": url} if url is not None else {"host": host, "port": number, "password": password, "db": db}
    where = {name: value for name, value in named.items() if value is not None}
    return Place(where={**where, **more}, namespace=namespace)


_FIELDS = ("url", "host", "port", "password", "db")
