"""An open answer, sync and async: deadlines, decoding and closing, the same over every HTTP library."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import NoReturn

from msgspec import Struct

from callmeter.errors import APIConnectionError
from callmeter.transport.bodies import BadEncoding, Inflater, inflater_for
from callmeter.transport.deadlines import Deadline, current
from callmeter.transport.failures import closed_while_read, too_large, undecodable

Explain = Callable[[Exception, str, Deadline], APIConnectionError | None]
"""What a library's exception means, given the URL and the deadline; None if it is none of ours."""


class Head(Struct, frozen=True, kw_only=True):
    """What is known of an answer before its body."""

    url: str
    status: int
    headers: Mapping[str, str]
    deadline: Deadline


class _Opened:
    """What the sync and the async kind share. `abort` wakes whoever waits for bytes, and needs no await."""

    def __init__(self, head: Head, explain: Explain, abort: Callable[[], None]) -> None:
        self.status = head.status
        self.headers = head.headers
        self._url = head.url
        self._deadline = head.deadline
        self._explain = explain
        self._abort = abort
        self._closed = False

    def _inflater(self) -> Inflater | None:
        try:
            return inflater_for(self.headers.get("content-encoding"))
        except BadEncoding as error:
            raise undecodable(self._url, str(error)) from None

    def _is_closed(self) -> bool:
        # A method, since to a type checker an attribute cannot change under another thread or task.
        return self._closed


class OpenedStream(_Opened):
    """A sync `ByteStream`. `release` gives the connection back, or drops it if the body was not read to its end."""

    def __init__(
        self,
        head: Head,
        pieces: Iterator[bytes],
        *,
        release: Callable[[], None],
        abort: Callable[[], None],
        explain: Explain,
    ) -> None:
        super().__init__(head, explain, abort)
        self._pieces = pieces
        self._release = release
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        try:
            inflater = self._inflater()
            if inflater is None:
                yield from self._arriving()
            else:
                for piece in self._arriving():
                    yield from inflater.feed(piece)
                inflater.finish()
        except BadEncoding as error:
            raise undecodable(self._url, str(error)) from None
        finally:
            self.close()

    def _arriving(self) -> Iterator[bytes]:
        pieces, deadline, reading = self._pieces, self._deadline, self._reading
        while True:
            with reading:
                if self._is_closed():
                    raise closed_while_read(self._url)
                current.set(deadline)
                try:
                    piece = next(pieces, None)
                except BaseException as error:
                    self._break(error)
            # Looked at after letting go: whoever closes now either sees the lock free, or has set the flag before.
            if self._is_closed():
                self._release()
                raise closed_while_read(self._url)
            if piece is None:
                return
            yield piece

    def _break(self, error: BaseException) -> NoReturn:
        self._release()
        if self._is_closed():
            raise closed_while_read(self._url) from None
        self._closed = True
        if isinstance(error, Exception) and (explained := self._explain(error, self._url, self._deadline)):
            raise explained from None
        raise error

    def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it; closes the stream."""
        body = bytearray()
        try:
            for piece in self:
                body += piece
                if len(body) >= limit:
                    break
        finally:
            self.close()
        return bytes(body[:limit])

    def collect(self, limit: int) -> bytes:
        """The whole body. Raises `APIConnectionError` if it is larger than `limit` bytes."""
        pieces, size = [], 0
        try:
            for piece in self:
                size += len(piece)
                if size > limit:
                    raise too_large(self._url, limit)
                pieces.append(piece)
        finally:
            self.close()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Give the connection back. Safe at any time, from any thread, more than once."""
        if self._is_closed():
            return
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()
        else:
            # A thread is waiting for bytes: wake it, and it releases.
            self._abort()


class OpenedAsyncStream(_Opened):
    """An `AsyncByteStream`. `release` gives the connection back, or drops it if the body was not read to its end."""

    def __init__(
        self,
        head: Head,
        pieces: AsyncIterator[bytes],
        *,
        release: Callable[[], Awaitable[None]],
        abort: Callable[[], None],
        explain: Explain,
    ) -> None:
        super().__init__(head, explain, abort)
        self._pieces = pieces
        self._release = release
        self._reading = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces, deadline = self._pieces, self._deadline
        try:
            inflater = self._inflater()
            while True:
                if self._is_closed():
                    raise closed_while_read(self._url)
                current.set(deadline)
                self._reading = True
                try:
                    piece = await anext(pieces, None)
                except BaseException as error:
                    await self._break(error)
                finally:
                    self._reading = False
                if self._is_closed():
                    await self._release()
                    raise closed_while_read(self._url)
                if piece is None:
                    break
                if inflater is None:
                    yield piece
                else:
                    for part in inflater.feed(piece):
                        yield part
            if inflater is not None:
                inflater.finish()
        except BadEncoding as error:
            raise undecodable(self._url, str(error)) from None
        finally:
            await self.aclose()

    async def _break(self, error: BaseException) -> NoReturn:
        # First without an await: a second cancellation could fall on the release.
        self._abort()
        await self._release()
        if self._is_closed() and isinstance(error, Exception):
            raise closed_while_read(self._url) from None
        self._closed = True
        if isinstance(error, Exception) and (explained := self._explain(error, self._url, self._deadline)):
            raise explained from None
        raise error

    async def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it; closes the stream."""
        body = bytearray()
        try:
            async for piece in self:
                body += piece
                if len(body) >= limit:
                    break
        finally:
            await self.aclose()
        return bytes(body[:limit])

    async def collect(self, limit: int) -> bytes:
        """The whole body. Raises `APIConnectionError` if it is larger than `limit` bytes."""
        pieces, size = [], 0
        try:
            async for piece in self:
                size += len(piece)
                if size > limit:
                    raise too_large(self._url, limit)
                pieces.append(piece)
        finally:
            await self.aclose()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Give the connection back. Safe at any time, more than once, and while another task reads."""
        if self._is_closed():
            return
        self._closed = True
        if self._reading:
            # Another task waits for bytes: wake it, and it releases.
            self._abort()
        else:
            await self._release()
