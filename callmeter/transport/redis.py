"""Clients of Redis, or of whatever speaks its protocol: a blocking one, and one for each event loop."""

from collections.abc import Mapping
from typing import Any

from callmeter.errors import MissingExtraError
from callmeter.transport.loops import PerLoop


class Clients:
    """The clients of one Redis. They connect when they are first used, and wait `timeout_s` for an answer."""

    def __init__(self, where: Mapping[str, Any], *, timeout_s: float, purpose: str) -> None:
        """`where` is what redis-py's client takes, or `url` and what else it takes; it goes before what is set here."""
        try:
            import redis
            import redis.asyncio
            import redis.asyncio.retry
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise MissingExtraError(f"{purpose} needs redis: pip install 'callmeter[redis]'") from None
        options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **where}
        url = options.pop("url", None)

        def client(kind: Any, retry: Any) -> Any:
            # A connection that was closed while it was idle is worth a second one, and nothing is worth waiting for.
            with_retry = {"retry": retry(NoBackoff(), 1), **options}
            return kind(**with_retry) if url is None else kind.from_url(url, **with_retry)

        self.errors: tuple[type[BaseException], ...] = (redis.RedisError, OSError)
        """What they raise when it is away, or is not as it should be."""
        self.blocking = client(redis.Redis, Retry)
        self._loops: PerLoop[Any] = PerLoop(
            lambda: client(redis.asyncio.Redis, redis.asyncio.retry.Retry), lambda made: made.aclose()
        )

    async def awaited(self) -> Any:
        """The client of the running event loop."""
        return await self._loops.get()
