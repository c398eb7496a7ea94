"""The sockets under httpcore's connection pools: they keep the current attempt's deadline to the read.

Above the pool a timeout can only be given per phase, and is taken anew at every read, so an answer that trickles would
never be late. Here every wait ends when the attempt's present phase does.
"""

import asyncio
import contextlib
import os
import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2

from callmeter.transport.deadlines import Deadline, current

_CORK_BYTES = 64 * 1024
"""A request of up to this size leaves in one send, however many events it is made of."""

_HIGH_WATER_BYTES = 256 * 1024
"""More than this is not read ahead of the reader."""

Options = Iterable[Any] | None


def _left(deadline: Deadline | None, fallback: float | None) -> float | None:
    return fallback if deadline is None else deadline.left()


def _told(error: Exception) -> str:
    # asyncio words its own; the system's word for a number is the same everywhere.
    if isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror)) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _connecting() -> Deadline | None:
    deadline = current.get()
    if deadline is not None:
        deadline.begin("connect")
    return deadline


def _receiving() -> Deadline | None:
    """The current deadline. Between chunks every wait has the whole of its time: what is bounded is silence."""
    deadline = current.get()
    if deadline is not None and deadline.phase == "between chunks":
        deadline.begin("between chunks")
    return deadline


def _sending() -> None:
    deadline = current.get()
    if deadline is not None and deadline.phase == "connect":
        deadline.begin("first byte")


class SyncStream(httpcore2.NetworkStream):
    """A connected socket, plain or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._corked: list[bytes] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        deadline = _receiving()
        if self._corked:
            # A server may answer and hang up before it has read everything; then its answer is what counts.
            with contextlib.suppress(httpcore2.WriteError):
                self._flush(deadline, timeout)
        try:
            self._allow(_left(deadline, timeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout from error
        except OSError as error:
            raise httpcore2.ReadError(_told(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        _sending()
        self._corked.append(buffer)
        if len(buffer) > _CORK_BYTES:
            self._flush(current.get(), timeout)

    def _flush(self, deadline: Deadline | None, timeout: float | None) -> None:
        view = memoryview(b"".join(self._corked) if len(self._corked) > 1 else self._corked[0])
        self._corked.clear()
        try:
            while view:
                self._allow(_left(deadline, timeout))
                view = view[self._sock.send(view) :]
        except TimeoutError as error:
            raise httpcore2.WriteTimeout from error
        except OSError as error:
            raise httpcore2.WriteError(_told(error)) from error

    def _allow(self, seconds: float | None) -> None:
        if seconds == 0:
            raise TimeoutError
        self._sock.settimeout(seconds)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "SyncStream":
        try:
            self._allow(_left(current.get(), timeout))
            return SyncStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            self.close()
            raise httpcore2.ConnectError(_told(error)) from error

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """Wake whoever waits on this socket, from any thread: it will read an end."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return _is_readable(self._sock)
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        return self._sock if info == "socket" else None


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class SyncBackend(httpcore2.NetworkBackend):
    """Connects."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> SyncStream:
        deadline = _connecting()
        try:
            sock = socket.create_connection((host, port), _left(deadline, timeout))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise httpcore2.ConnectError(_told(error)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return SyncStream(sock)


class AsyncStream(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """A connected transport of asyncio, plain or TLS. What has arrived is read without a timer or a task switch."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._corked: list[bytes] = []
        self._ended = False
        self._lost: Exception | None = None
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused_reading = False

    # What asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport: asyncio.Transport | None = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _HIGH_WATER_BYTES and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        _wake(self._readable)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._readable)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._lost = exc
        _wake(self._readable)
        _wake(self._writable)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    # What the pool asks

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._corked:
            with contextlib.suppress(httpcore2.WriteError):
                await self._flush(current.get(), timeout)
        received = self._received
        if not received and not self._ended:
            deadline = _receiving()
            self._readable = self._loop.create_future()
            try:
                await self._until(self._readable, _left(deadline, timeout), httpcore2.ReadTimeout)
            finally:
                self._readable = None
        if received:
            data = bytes(received[:max_bytes])
            del received[:max_bytes]
            if self._paused_reading and not received and self._transport is not None:
                self._paused_reading = False
                self._transport.resume_reading()
            return data
        if self._lost is not None:
            raise httpcore2.ReadError(_told(self._lost))
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        _sending()
        self._corked.append(buffer)
        if len(buffer) > _CORK_BYTES:
            await self._flush(current.get(), timeout)

    async def _flush(self, deadline: Deadline | None, timeout: float | None) -> None:
        data = b"".join(self._corked) if len(self._corked) > 1 else self._corked[0]
        self._corked.clear()
        if self._ended or self._transport is None:
            raise httpcore2.WriteError("the connection is closed")
        self._transport.write(data)
        if self._writable is not None:
            await self._until(self._writable, _left(deadline, timeout), httpcore2.WriteTimeout)

    async def _until(
        self, future: "asyncio.Future[None]", seconds: float | None, late: type[httpcore2.TimeoutException]
    ) -> None:
        if seconds is None:
            await future
            return
        timer = self._loop.call_later(seconds, _expire, future, late)
        try:
            await future
        finally:
            timer.cancel()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "AsyncStream":
        assert self._transport is not None
        try:
            async with asyncio.timeout(_left(current.get(), timeout)):
                transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            self.abort()
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            self.abort()
            raise httpcore2.ConnectError(_told(error)) from error
        except BaseException:
            self.abort()
            raise
        if transport is None:
            raise httpcore2.ConnectError("the connection was closed during the TLS handshake")
        self._transport = transport
        return self

    async def aclose(self) -> None:
        if self._transport is not None and not self._loop.is_closed():
            # Not an orderly end, which for TLS would wait for the peer; nothing is owed to it any more.
            self._transport.abort()

    def abort(self) -> None:
        """Drop the connection; whoever waits on it reads an end. Needs no await."""
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()
        self._ended = True
        _wake(self._readable)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._ended or bool(self._received) or self._transport is None or self._transport.is_closing()
        return None if self._transport is None else self._transport.get_extra_info(info)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _expire(future: "asyncio.Future[None]", late: type[httpcore2.TimeoutException]) -> None:
    if not future.done():
        future.set_exception(late())


class AsyncBackend(httpcore2.AsyncNetworkBackend):
    """Connects on the running loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> AsyncStream:
        deadline = _connecting()
        try:
            async with asyncio.timeout(_left(deadline, timeout)):
                _, stream = await asyncio.get_running_loop().create_connection(AsyncStream, host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise httpcore2.ConnectError(_told(error)) from error
        return stream
