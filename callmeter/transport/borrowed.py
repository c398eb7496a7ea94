"""A transport over a client of httpx or httpx2, whichever package it is from: a caller's own, or one of ours.

One of ours is used where the environment names a proxy: httpx knows the rules for choosing one. Within such a client
timeouts are per read, so a total is looked at between reads; a read alone lasts no longer than what is left of it.
"""

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from callmeter.errors import APIConnectionError
from callmeter.transport.bodies import ACCEPTED
from callmeter.transport.deadlines import Deadline
from callmeter.transport.failures import bad_header, bad_url, broken, no_connection
from callmeter.transport.httpx2 import IDLE_CONNECTIONS, IDLE_S, joined
from callmeter.transport.loops import PerLoop
from callmeter.transport.streams import Head, OpenedAsyncStream, OpenedStream
from callmeter.wire import WireReply, WireRequest


class BorrowedTransport:
    """Over a caller's `Client`, which stays the caller's to close."""

    def __init__(self, client: Any, max_reply_bytes: int) -> None:
        self._package = _package_of(client, "Client")
        self._client = client
        self._max_reply_bytes = max_reply_bytes

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
        """Nothing: whoever made the client closes it."""

    def _open(self, request: WireRequest, deadline: Deadline) -> OpenedStream:
        explain = _Explainer(self._package)
        try:
            sent = _built(self._client, self._package, request, deadline)
            response = self._client.send(sent, stream=True, follow_redirects=False)
        except Exception as error:
            if explained := explain(error, request.url, deadline):
                raise explained from None
            raise
        return OpenedStream(
            _head(request, response, deadline),
            _pieces(response, deadline),
            release=response.close,
            abort=_Aborter(response),
            explain=explain,
        )


class BorrowedAsyncTransport:
    """Over a caller's `AsyncClient`, which stays the caller's to close, and to use on its own loop only."""

    def __init__(self, client: Any, max_reply_bytes: int) -> None:
        self._package = _package_of(client, "AsyncClient")
        self._client = client
        self._max_reply_bytes = max_reply_bytes

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
        """Nothing: whoever made the client closes it."""

    async def _open(self, request: WireRequest, deadline: Deadline) -> OpenedAsyncStream:
        explain = _Explainer(self._package)
        try:
            sent = _built(self._client, self._package, request, deadline)
            response = await self._client.send(sent, stream=True, follow_redirects=False)
        except Exception as error:
            if explained := explain(error, request.url, deadline):
                raise explained from None
            raise
        return OpenedAsyncStream(
            _head(request, response, deadline),
            _async_pieces(response, deadline),
            release=response.aclose,
            abort=_Aborter(response),
            explain=explain,
        )


class OwnClients:
    """Over an `httpx2.Client` of our own for each process."""

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._clients: dict[int, BorrowedTransport] = {}

    def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        return self._here().send(request)

    def open(self, request: WireRequest) -> OpenedStream:
        """The head of the answer, and its body to be read."""
        return self._here().open(request)

    def close(self) -> None:
        """Close every connection. A later call opens new ones."""
        mine = self._clients.pop(os.getpid(), None)
        if mine is not None:
            mine._client.close()

    def _here(self) -> BorrowedTransport:
        mine = self._clients.get(os.getpid())
        if mine is None:
            import httpx2

            fresh = BorrowedTransport(httpx2.Client(limits=_limits()), self._max_reply_bytes)
            mine = self._clients.setdefault(os.getpid(), fresh)
        return mine


class OwnAsyncClients:
    """Over an `httpx2.AsyncClient` of our own for each running loop."""

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._clients = PerLoop(self._make, lambda mine: mine._client.aclose())

    async def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        return await (await self._clients.get()).send(request)

    async def open(self, request: WireRequest) -> OpenedAsyncStream:
        """The head of the answer, and its body to be read."""
        return await (await self._clients.get()).open(request)

    async def aclose(self) -> None:
        """Close this loop's connections. A later call opens new ones."""
        await self._clients.aclose()

    def _make(self) -> BorrowedAsyncTransport:
        import httpx2

        return BorrowedAsyncTransport(httpx2.AsyncClient(limits=_limits()), self._max_reply_bytes)


def _limits() -> Any:
    import httpx2

    return httpx2.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS, keepalive_expiry=IDLE_S)


def _package_of(client: Any, kind: str) -> ModuleType:
    """The package, httpx or httpx2, whose client this is. Raises `TypeError` if it is neither's."""
    for name in ("httpx2", "httpx"):
        package = sys.modules.get(name)
        if package is not None and isinstance(client, getattr(package, kind)):
            return package
    raise TypeError(
        f"client is a {type(client).__module__}.{type(client).__qualname__}; give an httpx2.{kind} or httpx.{kind}"
    )


def _built(client: Any, package: ModuleType, request: WireRequest, deadline: Deadline) -> Any:
    left = deadline.left()
    connect = request.timeouts.connect_s
    timeout = package.Timeout(left, connect=connect if left is None else min(connect or left, left))
    headers = {}
    for name, value in request.headers.items():
        try:
            headers[name.encode("ascii")] = value.encode("latin-1")
        except UnicodeEncodeError:
            raise bad_header(request.url, name) from None
    headers[b"Accept-Encoding"] = ACCEPTED.encode()
    return client.build_request(request.method, request.url, content=request.body, headers=headers, timeout=timeout)


def _head(request: WireRequest, response: Any, deadline: Deadline) -> Head:
    headers = joined(response.headers.raw)
    return Head(url=request.url, status=response.status_code, headers=headers, deadline=deadline)


def _bound_reads(response: Any, deadline: Deadline) -> None:
    # The client looks this up when the body is first read.
    deadline.begin("between chunks")
    response.request.extensions["timeout"]["read"] = deadline.left()


def _pieces(response: Any, deadline: Deadline) -> Iterator[bytes]:
    _bound_reads(response, deadline)
    for piece in response.iter_raw():
        if deadline.passed:
            raise deadline.timeout(str(response.url))
        yield piece
        deadline.begin("between chunks")


async def _async_pieces(response: Any, deadline: Deadline) -> AsyncIterator[bytes]:
    _bound_reads(response, deadline)
    async for piece in response.aiter_raw():
        if deadline.passed:
            raise deadline.timeout(str(response.url))
        yield piece
        deadline.begin("between chunks")


class _Aborter:
    """Wakes whoever reads a response, by ending its connection under it."""

    def __init__(self, response: Any) -> None:
        self._stream = response.extensions.get("network_stream")

    def __call__(self) -> None:
        sock = self._stream.get_extra_info("socket") if self._stream is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Explainer:
    """What an exception of one package's means to a caller."""

    def __init__(self, package: ModuleType) -> None:
        self._package = package

    def __call__(self, error: Exception, url: str, deadline: Deadline) -> APIConnectionError | None:
        package = self._package
        if isinstance(error, package.ConnectTimeout):
            deadline.mark("connect")
        if isinstance(error, package.TimeoutException):
            return deadline.timeout(url)
        if isinstance(error, package.LocalProtocolError):
            return bad_header(url)
        if isinstance(error, (package.ConnectError, package.ProxyError)):
            return no_connection(url, str(error))
        if isinstance(error, (package.UnsupportedProtocol, package.InvalidURL)):
            return bad_url(url)
        return broken(url, str(error)) if isinstance(error, package.TransportError) else None
