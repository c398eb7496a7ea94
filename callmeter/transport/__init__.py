"""The only client-side sockets: a `WireRequest` goes in, a `WireReply` or an open stream of bytes comes out.

Two libraries lie underneath, and any httpx or httpx2 client that a caller hands in; each is imported by the first call
that needs it. What is raised: `errors.APIConnectionError`, naming the host, the cause and what to do, and
`errors.Timeout`, naming the phase that took too long. A status is not an error here, redirects are not followed (they
would carry the key to another host), certificates are always verified, and nothing is retried.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, Protocol

from callmeter.errors import MissingExtraError
from callmeter.wire import WireReply, WireRequest

MAX_REPLY_BYTES = 64 << 20
"""How large a whole answer may be, in bytes after decompression."""

Prefer = Literal["auto", "httpx2", "pyreqwest"]


class ByteStream(Protocol):
    """An open answer."""

    status: int
    headers: Mapping[str, str]
    """Names are lower case; of repeated headers the values are joined by `, `."""

    def __iter__(self) -> Iterator[bytes]:
        """The body as it arrives, content-encoding undone, in no particular pieces. Closes the stream at its end."""
        ...

    def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it; closes the stream."""
        ...

    def close(self) -> None:
        """Give the connection back, or drop it. Safe at any time, from any thread, more than once."""
        ...


class AsyncByteStream(Protocol):
    """An open answer, for a coroutine."""

    status: int
    headers: Mapping[str, str]
    """Names are lower case; of repeated headers the values are joined by `, `."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it arrives, content-encoding undone, in no particular pieces. Closes the stream at its end."""
        ...

    async def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it; closes the stream."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or drop it. Safe at any time, more than once, and while another task reads."""
        ...


class Transport(Protocol):
    """Sends requests, from any thread, in any process it was forked into."""

    def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        ...

    def open(self, request: WireRequest) -> ByteStream:
        """The head of the answer, and its body to be read."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use. A later call opens new ones."""
        ...


class AsyncTransport(Protocol):
    """Sends requests, from any event loop."""

    async def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        ...

    async def open(self, request: WireRequest) -> AsyncByteStream:
        """The head of the answer, and its body to be read."""
        ...

    async def aclose(self) -> None:
        """Close the running loop's connections. A later call opens new ones."""
        ...


def sync_transport(prefer: Prefer = "auto", *, client: Any = None, max_reply_bytes: int = MAX_REPLY_BYTES) -> Transport:
    """A transport for plain calls.

    `client` is an `httpx.Client` or `httpx2.Client` of the caller's, which is used as it is and never closed. `auto` is
    httpx2. `pyreqwest` costs half the CPU for whole answers, but a wait in it cannot be interrupted, not even by
    Ctrl-C; streams go through httpx2 all the same.
    Raises `MissingExtraError` where pyreqwest is asked for and not installed, `TypeError` for a client of another kind.
    """
    if client is not None:
        from callmeter.transport.borrowed import BorrowedTransport

        return BorrowedTransport(client, max_reply_bytes)
    if prefer == "pyreqwest":
        return _pyreqwest(max_reply_bytes)
    return _httpx2(max_reply_bytes)


def async_transport(
    prefer: Prefer = "auto", *, client: Any = None, max_reply_bytes: int = MAX_REPLY_BYTES
) -> AsyncTransport:
    """A transport for coroutines, on any number of event loops.

    `client` is an `httpx.AsyncClient` or `httpx2.AsyncClient` of the caller's, which is used as it is and never closed.
    Always httpx2, whatever is preferred: pyreqwest leaves a request running, and billed, that was cancelled before its
    answer began.
    Raises `TypeError` for a client of another kind.
    """
    del prefer
    if client is None and not _proxied():
        from callmeter.transport.httpx2 import AsyncHttpx2Transport

        return AsyncHttpx2Transport(max_reply_bytes)
    from callmeter.transport.borrowed import BorrowedAsyncTransport, OwnAsyncClients

    if client is None:
        return OwnAsyncClients(max_reply_bytes)
    return BorrowedAsyncTransport(client, max_reply_bytes)


def _httpx2(max_reply_bytes: int) -> Transport:
    if _proxied():
        from callmeter.transport.borrowed import OwnClients

        return OwnClients(max_reply_bytes)
    from callmeter.transport.httpx2 import Httpx2Transport

    return Httpx2Transport(max_reply_bytes)


def _pyreqwest(max_reply_bytes: int) -> Transport:
    try:
        from callmeter.transport.pyreqwest import PyreqwestTransport
    except ImportError:
        raise MissingExtraError("transport='pyreqwest' needs a package: pip install 'callmeter[fast]'") from None
    transport: Transport = PyreqwestTransport(max_reply_bytes, _httpx2(max_reply_bytes))
    return transport


def _proxied() -> bool:
    """Whether the environment, or on macOS and Windows the system's settings, name a proxy."""
    from urllib.request import getproxies

    return bool({"http", "https", "all"} & getproxies().keys())
