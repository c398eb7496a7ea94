"""Whole answers through pyreqwest, for half the CPU; everything it does not do well goes through httpx2.

What it does not do well, as of 0.15: a stream is held back until 64 KB or its end have come, or else costs twice what
httpx2's does; a blocked read cannot be ended from another thread; cancelling a coroutine leaves the request running; a
forked child whose parent used it is refused; and there is one limit on silence a client, none for the head alone.
"""

import os
from datetime import timedelta
from typing import Any

from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import BuilderError, ConnectError, ReadTimeoutError, RequestError, RequestTimeoutError

from callmeter.errors import APIConnectionError
from callmeter.transport import ByteStream, Transport
from callmeter.transport.bodies import ACCEPTED, BadEncoding, inflater_for
from callmeter.transport.deadlines import Deadline
from callmeter.transport.failures import bad_header, bad_url, broken, no_connection, too_large, undecodable
from callmeter.transport.httpx2 import IDLE_CONNECTIONS, IDLE_S
from callmeter.types import Timeouts
from callmeter.wire import WireReply, WireRequest

MAX_CLIENTS = 8
"""Distinct pairs of connect and silence limits that get a client; a program that uses more than these gains nothing."""

_Limits = tuple[float | None, float | None]


class PyreqwestTransport:
    """Sync, for all threads of a process. `other` does what pyreqwest is not asked to do."""

    def __init__(self, max_reply_bytes: int, other: Transport) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._other = other
        self._clients: dict[_Limits, SyncClient] = {}
        self._pid: int | None = None

    def send(self, request: WireRequest) -> WireReply:
        """The whole answer."""
        # Text beyond ASCII it would send as UTF-8, which no other client does.
        plain = all(map(str.isascii, request.headers.values()))
        client = self._client_for(request.timeouts) if plain else None
        if client is None:
            return self._other.send(request)
        deadline = Deadline(request.timeouts)
        built = _built(client, request)
        try:
            with built as response:
                deadline.begin("between chunks")
                headers = _joined(response.headers)
                body = self._body(response.body_reader, headers.get("content-encoding"), request.url)
                return WireReply(status=response.status, headers=headers, body=body)
        except BuilderError:
            raise bad_url(request.url) from None
        except RequestError as error:
            raise _explained(error, request.url, deadline) from None

    def open(self, request: WireRequest) -> ByteStream:
        """The head of the answer, and its body to be read."""
        return self._other.open(request)

    def close(self) -> None:
        """Close every connection. A later call opens new ones."""
        self._other.close()
        if self._pid == os.getpid():
            clients, self._clients = self._clients, {}
            for client in clients.values():
                client.close()

    def _client_for(self, times: Timeouts) -> SyncClient | None:
        """The client with these limits; None where the request is better sent by httpx2."""
        if self._pid not in (None, os.getpid()) or times.first_byte_s != times.between_chunks_s:
            return None
        limits = times.connect_s, times.first_byte_s
        client = self._clients.get(limits)
        if client is None and len(self._clients) < MAX_CLIENTS:
            try:
                client = self._clients.setdefault(limits, _client(*limits))
            except RuntimeError:
                # Something else in our parent used pyreqwest before it forked us.
                self._pid = -1
            else:
                self._pid = os.getpid()
        return client

    def _body(self, reader: Any, encoding: str | None, url: str) -> bytes:
        pieces, size, limit = [], 0, self._max_reply_bytes
        try:
            inflater = inflater_for(encoding)
            while (raw := reader.read_chunk()) is not None:
                for piece in (bytes(raw),) if inflater is None else inflater.feed(bytes(raw)):
                    size += len(piece)
                    if size > limit:
                        raise too_large(url, limit)
                    pieces.append(piece)
            if inflater is not None:
                inflater.finish()
        except BadEncoding as error:
            raise undecodable(url, str(error)) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _client(connect_s: float | None, silence_s: float | None) -> SyncClient:
    builder = SyncClientBuilder().follow_redirects(False).referer(False)
    # Decoding is ours, since ours is bounded.
    builder = builder.gzip(False).deflate(False).brotli(False).zstd(False)
    builder = builder.pool_idle_timeout(timedelta(seconds=IDLE_S)).pool_max_idle_per_host(IDLE_CONNECTIONS)
    if connect_s is not None:
        builder = builder.connect_timeout(timedelta(seconds=connect_s))
    if silence_s is not None:
        builder = builder.read_timeout(timedelta(seconds=silence_s))
    return builder.build()


def _built(client: SyncClient, request: WireRequest) -> Any:
    try:
        builder = client.request(request.method, request.url)
    except ValueError:
        raise bad_url(request.url) from None
    try:
        builder = builder.headers(request.headers).header("accept-encoding", ACCEPTED).body_bytes(request.body)
        if request.timeouts.total_s is not None:
            builder = builder.timeout(timedelta(seconds=request.timeouts.total_s))
        return builder.build_streamed()
    except BuilderError:
        raise bad_url(request.url) from None
    except ValueError:
        raise bad_header(request.url) from None


def _joined(pairs: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _explained(error: RequestError, url: str, deadline: Deadline) -> APIConnectionError:
    # The last cause is the operating system's or the protocol's word; earlier ones quote the URL.
    causes = error.details["causes"] or [{"message": error.message}]
    cause = causes[-1]["message"]
    if isinstance(error, RequestTimeoutError):
        if isinstance(error, ReadTimeoutError):
            deadline.mark("between chunks")
        elif not deadline.passed:
            # Only the limit on connecting can have run out before ours.
            deadline.mark("connect")
        return deadline.timeout(url)
    connecting = isinstance(error, ConnectError) and any("(Connect)" in told["message"] for told in causes)
    return no_connection(url, cause) if connecting else broken(url, cause)
