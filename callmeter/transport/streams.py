"""An open answer, sync and async: deadlines, decoding and closing, the same over every HTTP library."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

from callmeter.errors import APIConnectionError
from callmeter.transport.bodies import BadEncoding, Inflater, inflater_for
from callmeter.transport.deadlines import Deadline, current
from callmeter.transport.failures import closed_while_read, too_large, undecodable

Explain = Callable[[Exception, str, Deadline], APIConnectionError | None]
"""What a library's exception means, given the URL and the deadline; None if it is none of ours."""


class _Opened:
    """What the sync and the async kind share."""

    def __init__(
        self,
        *,
        url: str,
        status: int,
        headers: Mapping[str, str],
        deadline: Deadline,
        explain: Explain,
        abort: Callable[[], None],
    ) -> None:
        self.status = status
        self.headers = headers
        self._url = url
        self._deadline = deadline
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

    def __init__(self, pieces: Iterator[bytes], release: Callable[[], None], **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._pieces = pieces
        self._release = release
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        try:
            inflater = self._inflater()
            if inflater is None:
                while (piece := self._next()) is not None:
                    if piece:
                        yield piece
            else:
                while (piece := self._next()) is not None:
                    yield from inflater.feed(piece)
                inflater.finish()
        except BadEncoding as error:
            raise undecodable(self._url, str(error)) from None
        finally:
            self.close()

    def _next(self) -> bytes | None:
        with self._reading:
            if self._is_closed():
                raise closed_while_read(self._url)
            piece = self._read_piece()
        # Looked at after letting go: whoever closes now either sees the lock free, or has set the flag before.
        if self._is_closed():
            self._release()
            raise closed_while_read(self._url)
        if piece is not None and self._deadline.passed:
            self.close()
            raise self._deadline.timeout(self._url)
        return piece

    def _read_piece(self) -> bytes | None:
        deadline = self._deadline
        deadline.begin("between chunks")
        current.set(deadline)
        try:
            return next(self._pieces, None)
        except BaseException as error:
            self._release()
            if self._is_closed():
                raise closed_while_read(self._url) from None
            self._closed = True
            if isinstance(error, Exception) and (explained := self._explain(error, self._url, deadline)):
                raise explained from None
            raise

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

    def __init__(self, pieces: AsyncIterator[bytes], release: Callable[[], Awaitable[None]], **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._pieces = pieces
        self._release = release
        self._reading = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            inflater = self._inflater()
            while (piece := await self._next()) is not None:
                if inflater is None:
                    if piece:
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

    async def _next(self) -> bytes | None:
        if self._is_closed():
            raise closed_while_read(self._url)
        deadline = self._deadline
        deadline.begin("between chunks")
        current.set(deadline)
        self._reading = True
        try:
            piece = await anext(self._pieces, None)
        except BaseException as error:
            # First without an await: a second cancellation could fall on the release.
            self._abort()
            await self._release()
            if self._is_closed() and isinstance(error, Exception):
                raise closed_while_read(self._url) from None
            self._closed = True
            if isinstance(error, Exception) and (explained := self._explain(error, self._url, deadline)):
                raise explained from None
            raise
        finally:
            self._reading = False
        if self._is_closed():
            await self._release()
            raise closed_while_read(self._url)
        if piece is not None and deadline.passed:
            await self.aclose()
            raise deadline.timeout(self._url)
        return piece

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
