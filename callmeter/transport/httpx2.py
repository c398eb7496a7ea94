"""The default transport: httpx2's connection pool (httpcore2), without httpx2's request and response objects.

Those cost as much again as the pool itself. Where the environment names a proxy, an httpx2 client is used whole, since
it knows the rules for choosing one.
"""

import os
import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import httpcore2

from callmeter.errors import APIConnectionError
from callmeter.transport.bodies import ACCEPTED
from callmeter.transport.deadlines import Deadline, current
from callmeter.transport.failures import bad_header, bad_url, broken, no_connection
from callmeter.transport.loops import PerLoop
from callmeter.transport.sockets import AsyncBackend, SyncBackend
from callmeter.transport.streams import Head, OpenedAsyncStream, OpenedStream
from callmeter.wire import WireReply, WireRequest

IDLE_CONNECTIONS = 100
IDLE_S = 30.0
"""How many unused connections to keep, and for how long: shorter than any provider's own limit that we know of."""


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Verifying, with the machine's certificates; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured."""
    import httpx2

    return httpx2.create_ssl_context()


def _pool_options() -> dict[str, Any]:
    return {
        "ssl_context": tls_context(),
        # A call waits for a provider, not for a place in a queue of ours.
        "max_connections": None,
        "max_keepalive_connections": IDLE_CONNECTIONS,
        "keepalive_expiry": IDLE_S,
    }


class Httpx2Transport:
    """Sync, for all threads of a process."""

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        # By process id. A forked child shares its parent's sockets: its entry keeps them from use and from closing.
        self._pools: dict[int, httpcore2.ConnectionPool] = {}

    def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        opened = self._open(request, Deadline(request.timeouts))
        return WireReply(status=opened.status, headers=opened.headers, body=opened.collect(self._max_reply_bytes))

    def open(self, request: WireRequest) -> OpenedStream:
        """The head of the answer, and its body to be read."""
        deadline = Deadline(request.timeouts)
        opened = self._open(request, deadline)
        deadline.forget_total()
        return opened

    def close(self) -> None:
        """Close every connection. A later call opens new ones."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.close()

    def _open(self, request: WireRequest, deadline: Deadline) -> OpenedStream:
        wire = _request(request)
        current.set(deadline)
        try:
            response = self._pool_here().handle_request(wire)
        except Exception as error:
            if explained := explain(error, request.url, deadline):
                raise explained from None
            raise
        deadline.begin("between chunks")
        return OpenedStream(
            Head(url=request.url, status=response.status, headers=joined(response.headers), deadline=deadline),
            iter(cast("Any", response.stream)),
            release=response.close,
            abort=response.extensions["network_stream"].abort,
            explain=explain,
        )

    def _pool_here(self) -> httpcore2.ConnectionPool:
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            # Of two threads that come here at once one wins, and both use its pool.
            fresh = httpcore2.ConnectionPool(network_backend=SyncBackend(), **_pool_options())
            pool = self._pools.setdefault(pid, fresh)
        return pool


class AsyncHttpx2Transport:
    """Async, with a pool of connections for each running loop."""

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._pools = PerLoop(_async_pool, httpcore2.AsyncConnectionPool.aclose)

    async def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        opened = await self._open(request, Deadline(request.timeouts))
        body = await opened.collect(self._max_reply_bytes)
        return WireReply(status=opened.status, headers=opened.headers, body=body)

    async def open(self, request: WireRequest) -> OpenedAsyncStream:
        """The head of the answer, and its body to be read."""
        deadline = Deadline(request.timeouts)
        opened = await self._open(request, deadline)
        deadline.forget_total()
        return opened

    async def aclose(self) -> None:
        """Close this loop's connections. A later call opens new ones."""
        await self._pools.aclose()

    async def _open(self, request: WireRequest, deadline: Deadline) -> OpenedAsyncStream:
        wire = _request(request)
        pool = await self._pools.get()
        current.set(deadline)
        try:
            response = await pool.handle_async_request(wire)
        except Exception as error:
            if explained := explain(error, request.url, deadline):
                raise explained from None
            raise
        deadline.begin("between chunks")
        return OpenedAsyncStream(
            Head(url=request.url, status=response.status, headers=joined(response.headers), deadline=deadline),
            aiter(cast("Any", response.stream)),
            release=response.aclose,
            abort=response.extensions["network_stream"].abort,
            explain=explain,
        )


def _async_pool() -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(network_backend=AsyncBackend(), **_pool_options())


@lru_cache(maxsize=512)
def _address(url: str) -> tuple[httpcore2.URL, bytes]:
    """The URL as the pool wants it, and the `Host` header for it. Raises `APIConnectionError` for what is none."""
    try:
        parsed = httpcore2.URL(url)
    except (ValueError, TypeError):
        raise bad_url(url) from None
    if parsed.scheme not in (b"http", b"https") or not parsed.host:
        raise bad_url(url)
    host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    if parsed.port is None or parsed.port == (443 if parsed.scheme == b"https" else 80):
        return parsed, host
    return parsed, b"%b:%d" % (host, parsed.port)


def _request(request: WireRequest) -> httpcore2.Request:
    url, host = _address(request.url)
    pairs = [(b"Host", host)]
    for name, value in request.headers.items():
        try:
            pairs.append((name.encode("ascii"), value.encode("latin-1")))
        except UnicodeEncodeError:
            raise bad_header(request.url, name) from None
    pairs += ((b"Accept-Encoding", ACCEPTED.encode()), (b"Content-Length", b"%d" % len(request.body)))
    return httpcore2.Request(request.method, url, headers=pairs, content=request.body)


def joined(pairs: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Header names in lower case; the values of repeated ones joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def explain(error: Exception, url: str, deadline: Deadline) -> APIConnectionError | None:
    """What an exception of the pool's means to a caller."""
    match error:
        case httpcore2.TimeoutException():
            return deadline.timeout(url)
        case httpcore2.ConnectError() | httpcore2.ProxyError():
            return no_connection(url, str(error))
        case httpcore2.LocalProtocolError():
            return bad_header(url)
        case httpcore2.NetworkError() | httpcore2.RemoteProtocolError():
            return broken(url, str(error))
    return None
