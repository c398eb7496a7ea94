"""`Cache`: which calls are answered from it, under which key, for how long, and what happens where it fails."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import callmeter as front_door
from callmeter.caching import entry as entries
from callmeter.caching import key as keys
from callmeter.caching.controls import Controls
from callmeter.caching.keeper import Keeper
from callmeter.caching.stores import LocalStore, Store
from callmeter.clock import Clock, SystemClock
from callmeter.errors import ConfigError
from callmeter.settings import home_of, load

log = logging.getLogger("callmeter")

CACHED = frozenset(
    """completion acompletion text_completion atext_completion responses aresponses embedding aembedding moderation
    amoderation transcription atranscription rerank arerank""".split()
)
"""The functions whose answers are cached unless told otherwise. Who asks for a picture again wants another one."""

TTL_S = 3600.0
AWAY_S = 5.0
"""How long a store that failed is left alone."""

PENDING_BYTES = 16 << 20
"""Answers that wait to be stored. Beyond it they are not stored."""

Type = Literal["local", "disk", "redis"]


class Cache:
    """Answers to calls, kept by what was asked: `callmeter.cache = callmeter.Cache(type="redis", host="…", ttl=600)`.

    `type` is `local` (this process; at most `max_entries` and `max_bytes`), `disk` (`disk_cache_dir`, shared by the
    processes of a host; at most `max_bytes`) or `redis` (`url`, or `host`, `port`, `password` and any other argument of
    redis-py; else the variables `REDIS_URL`, or `REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD`).

    `ttl` is seconds, None for ever; `default_in_memory_ttl` and `default_in_redis_ttl` win over it for their type.
    `supported_call_types` names the functions whose answers are cached (`completion`, `acompletion`, …; see `CACHED`).
    With `mode="default_off"` only calls that say `cache={"use-cache": True}` or `caching=True` take part. With
    `by_user`, the `user` of a call is part of its key. A store may take `timeout_s` to answer.

    A store that fails is named in the log once and left alone for a few seconds; calls go on without it. Raises
    `ConfigError` for arguments that cannot be, `MissingExtraError` where a package is missing.
    """

    def __init__(
        self,
        type: Type = "local",
        host: str | None = None,
        port: int | str | None = None,
        password: str | None = None,
        *,
        url: str | None = None,
        namespace: str | None = None,
        ttl: float | None = TTL_S,
        default_in_memory_ttl: float | None = None,
        default_in_redis_ttl: float | None = None,
        supported_call_types: Collection[str] | None = None,
        mode: Literal["default_on", "default_off"] = "default_on",
        by_user: bool = False,
        disk_cache_dir: str | Path | None = None,
        max_entries: int = 10_000,
        max_bytes: int | None = None,
        timeout_s: float = 0.5,
        clock: Clock | None = None,
        **redis: Any,
    ) -> None:
        if mode not in ("default_on", "default_off"):
            raise ConfigError(f"Cache(mode={mode!r}): it is 'default_on' or 'default_off'")
        self.type = type
        self.mode = mode
        self.namespace = namespace or "callmeter"
        own_ttl = {"local": default_in_memory_ttl, "redis": default_in_redis_ttl}.get(type)
        self.ttl_s = ttl if own_ttl is None else own_ttl
        if self.ttl_s is not None and not self.ttl_s > 0:
            raise ConfigError(f"Cache(ttl={self.ttl_s!r}): it is a number of seconds above 0, or None to keep for good")
        self.supported_call_types = CACHED if supported_call_types is None else frozenset(supported_call_types)
        self.by_user = by_user
        self._clock = clock or SystemClock()
        self._warned = False
        self._away_until_ns = 0
        where = {"host": host, "port": port, "password": password, "url": url, **redis}
        self.store = self._store(where, disk_cache_dir, max_entries, max_bytes, timeout_s)
        self._keeper = Keeper(PENDING_BYTES) if self.store.waits else None

    def _store(
        self,
        where: dict[str, Any],
        folder: str | Path | None,
        max_entries: int,
        max_bytes: int | None,
        timeout_s: float,
    ) -> Store:
        if self.type == "redis":
            from callmeter.caching.redis import RedisStore

            return RedisStore(where, self._clock, timeout_s=timeout_s)
        if self.type not in ("local", "disk"):
            raise ConfigError(f"Cache(type={self.type!r}): it is 'local', 'disk' or 'redis'")
        strange = [name for name, value in where.items() if value is not None]
        if strange:
            raise ConfigError(f"Cache(type={self.type!r}) takes no {strange[0]!r}; type='redis' may")
        if self.type == "disk":
            from callmeter.caching.disk import DiskStore

            place = home_of(load()) / "cache" if folder is None else Path(folder).expanduser()
            size = 1 << 30 if max_bytes is None else max_bytes
            return DiskStore(place, self._clock, max_bytes=size, timeout_s=timeout_s)
        size = 64 << 20 if max_bytes is None else max_bytes
        return LocalStore(self._clock, max_entries=max_entries, max_bytes=size)

    # -- what may be replaced: assign a function of yours to one of these names

    def get_cache_key(self, **request: Any) -> str:
        """The key of a request: `model`, `messages` and all else that changes its answer, by name.

        Raises `TypeError` for a request that has a part with no JSON form.
        """
        return keys.digest(request, by_user=self.by_user)

    def get_cache(self, *, cache_key: str) -> bytes | None:
        """What is stored for a key."""
        return self.store.get(cache_key)

    def add_cache(self, result: bytes, *, cache_key: str, ttl: float | None) -> None:
        """Store an answer, encoded, for `ttl` seconds (None: for good)."""
        until_ns = None if ttl is None else self._clock.wall_ns() + round(ttl * 1e9)
        self.store.put(cache_key, result, until_ns)

    # -- what calls do

    def wants(self, call_type: str, caching: bool | None, controls: Controls) -> bool:
        """Whether a call takes part."""
        if caching is False or call_type not in self.supported_call_types:
            return False
        return self.mode == "default_on" or controls.asked or bool(caching)

    def key(self, request: dict[str, Any], namespace: str | None) -> str | None:
        """The whole key of a request; None where it cannot have one, which is said once."""
        try:
            return f"{namespace or self.namespace}:{self.get_cache_key(**request)}"
        except Exception as error:
            self._warn("calls that no key can be made of are not cached", error)
            return None

    def find(self, key: str, max_age_s: float | None) -> entries.Found | None:
        """The stored answer; None where there is none, or the store does not answer."""
        if self._away():
            return None
        try:
            return self._read(self.get_cache(cache_key=key), max_age_s)
        except Exception as error:
            self._failed(error)
            return None

    async def afind(self, key: str, max_age_s: float | None) -> entries.Found | None:
        """The same for event loops, which it does not block."""
        if self._away():
            return None
        try:
            if self._own("get_cache"):
                stored = await asyncio.to_thread(self.get_cache, cache_key=key)
            else:
                stored = await self.store.aget(key)
            return self._read(stored, max_age_s)
        except Exception as error:
            self._failed(error)
            return None

    def keep(self, key: str, entry: entries.Entry, ttl_s: float | None) -> None:
        """Store an answer: at once where that takes no I/O, else from a thread."""
        if self._away():
            return
        ttl_s = self.ttl_s if ttl_s is None else ttl_s
        stored = entries.encode(entry)

        def write() -> None:
            try:
                self.add_cache(stored, cache_key=key, ttl=ttl_s)
            except Exception as error:
                self._failed(error)

        if self._own("add_cache") and self._keeper is None:
            self._keeper = Keeper(PENDING_BYTES)  # a function that we do not know may do I/O
        if self._keeper is None:
            write()
        elif not self._keeper.put(write, len(stored)):
            self._warn("answers are not stored", RuntimeError("too many of them wait"))

    # -- for people

    def delete(self, key: str) -> None:
        """Forget one answer, by the `cache_key` that its call had."""
        self.store.delete(key)

    def clear(self) -> None:
        """Forget all answers of this cache's namespace, and of namespaces below it (`namespace:…`)."""
        self.flush(AWAY_S)
        self.store.clear(self.namespace)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until what was to be stored is, `timeout` seconds at most; whether it is."""
        return self._keeper is None or self._keeper.flush(timeout)

    # -- how

    def _own(self, name: str) -> bool:
        """Whether somebody put a function of theirs in the place of ours."""
        return name in vars(self) or getattr(type(self), name) is not getattr(Cache, name)

    def _read(self, stored: bytes | None, max_age_s: float | None) -> entries.Found | None:
        if stored is None:
            return None
        found = entries.decode(stored)
        if max_age_s is not None and self._clock.wall_ns() - found.entry.stored_at_ns > max_age_s * 1e9:
            return None
        return found

    def _away(self) -> bool:
        return self._clock.mono_ns() < self._away_until_ns

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ValueError):  # an entry that cannot be read says nothing about the next one
            self._away_until_ns = self._clock.mono_ns() + round(AWAY_S * 1e9)
        self._warn("calls go on without it", error)

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("the response cache (type=%r) failed, %s: %s: %s", self.type, what, type(error).__name__, error)


def enable_cache(type: Type = "local", *args: Any, **options: Any) -> Cache:
    """Make a cache and switch it on for all calls from now on, unless there is one. Takes what `Cache` takes."""
    if front_door.cache is None:
        front_door.cache = Cache(type, *args, **options)
    return front_door.cache


def disable_cache() -> None:
    """Have no call use a cache from now on."""
    front_door.cache = None


def update_cache(type: Type = "local", *args: Any, **options: Any) -> Cache:
    """Put a new cache in the place of the one there is. Takes what `Cache` takes."""
    front_door.cache = Cache(type, *args, **options)
    return front_door.cache
