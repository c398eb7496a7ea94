"""Answers in Redis, or in whatever speaks its protocol, for all processes that share it."""

import os
from collections.abc import Mapping
from typing import Any

from callmeter.clock import Clock
from callmeter.transport.redis import Clients


def place(given: Mapping[str, Any]) -> dict[str, Any]:
    """Where Redis is: what was given, else `REDIS_URL`, else `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD`."""
    named = {name: value for name, value in given.items() if value is not None}
    if "url" in named or "host" in named:
        return named
    if os.environ.get("REDIS_URL"):
        return {"url": os.environ["REDIS_URL"], **named}
    variables = {"host": "REDIS_HOST", "port": "REDIS_PORT", "username": "REDIS_USERNAME", "password": "REDIS_PASSWORD"}
    return {name: os.environ[variable] for name, variable in variables.items() if os.environ.get(variable)} | named


class RedisStore:
    """Each answer is one key that Redis forgets by itself."""

    waits = True

    def __init__(self, where: Mapping[str, Any], clock: Clock, *, timeout_s: float) -> None:
        self._clock = clock
        self._clients = Clients(place(where), timeout_s=timeout_s, purpose="a cache in Redis")
        self._redis = self._clients.blocking

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        found: bytes | None = self._redis.get(key)
        return found

    async def aget(self, key: str) -> bytes | None:
        """See `Store`."""
        client = await self._clients.awaited()
        found: bytes | None = await client.get(key)
        return found

    def put(self, key: str, value: bytes, until_ns: int | None) -> None:
        """See `Store`."""
        left_ms = None if until_ns is None else (until_ns - self._clock.wall_ns()) // 1_000_000
        if left_ms is None or left_ms > 0:
            self._redis.set(key, value, px=left_ms)

    def delete(self, key: str) -> None:
        """See `Store`."""
        self._redis.delete(key)

    def clear(self, namespace: str) -> None:
        """See `Store`."""
        pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in namespace.replace("\\", "\\\\"))
        for key in self._redis.scan_iter(match=pattern + ":*", count=1000):
            self._redis.delete(key)
