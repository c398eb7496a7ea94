"""Transports that answer from a cassette, and those that fill it. They stand before the real ones, if any is needed."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from callmeter.errors import NoRecordingError
from callmeter.testing.cassette import Cassette, Tape
from callmeter.testing.recordings import Reply
from callmeter.transport import AsyncByteStream, AsyncTransport, ByteStream, Transport
from callmeter.wire import WireReply, WireRequest


class CassetteTransport:
    """For plain calls. `own` gives the transport that recording needs."""

    def __init__(self, cassette: Cassette, own: Callable[[], Transport]) -> None:
        self._cassette, self._own = cassette, own

    def send(self, request: WireRequest) -> WireReply:
        """The whole answer. Raises `NoRecordingError` where none is recorded and nothing is to be."""
        found = self._cassette.find(request)
        if found is not None:
            return _whole(found)
        tape = self._cassette.tape(request)
        return _taken_down(tape, self._own().send(request))

    def open(self, request: WireRequest) -> ByteStream:
        """The head of the answer. Raises `NoRecordingError` where none is recorded and nothing is to be."""
        found = self._cassette.find(request)
        if found is not None:
            return Replayed(found)
        tape = self._cassette.tape(request)
        return Recorded(self._own().open(request), tape)

    def close(self) -> None:
        """Nothing: the runtime closes its own."""


class AsyncCassetteTransport:
    """For coroutines."""

    def __init__(self, cassette: Cassette, own: Callable[[], AsyncTransport]) -> None:
        self._cassette, self._own = cassette, own

    async def send(self, request: WireRequest) -> WireReply:
        """The whole answer. Raises `NoRecordingError` where none is recorded and nothing is to be."""
        found = self._cassette.find(request)
        if found is not None:
            return _whole(found)
        tape = self._cassette.tape(request)
        return _taken_down(tape, await self._own().send(request))

    async def open(self, request: WireRequest) -> AsyncByteStream:
        """The head of the answer. Raises `NoRecordingError` where none is recorded and nothing is to be."""
        found = self._cassette.find(request)
        if found is not None:
            return AsyncReplayed(found)
        tape = self._cassette.tape(request)
        return AsyncRecorded(await self._own().open(request), tape)

    async def aclose(self) -> None:
        """Nothing: the runtime closes its own."""


def _whole(reply: Reply) -> WireReply:
    return WireReply(status=reply.status, headers=reply.headers, body=b"".join(reply.pieces))


def _taken_down(tape: Tape, reply: WireReply) -> WireReply:
    # In lines, which a person can compare.
    tape.end(reply.status, reply.headers, reply.body.splitlines(keepends=True))
    return reply


# --- streams


class _Replay:
    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self._reply = reply

    def _pieces(self) -> Iterator[bytes]:
        yield from self._reply.pieces
        if self._reply.cut:
            raise NoRecordingError(
                "the recorded stream ends here: its reader stopped at this point. To record more of it: "
                "`pytest --callmeter-record=all`"
            )

    def _rest(self, limit: int) -> bytes:
        return b"".join(self._reply.pieces)[:limit]


class Replayed(_Replay):
    """A recorded stream."""

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()

    def read(self, limit: int = 1 << 20) -> bytes:
        """The body, at most `limit` bytes of it."""
        return self._rest(limit)

    def close(self) -> None:
        """Nothing to close."""


class AsyncReplayed(_Replay):
    """A recorded stream, for a coroutine."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece

    async def read(self, limit: int = 1 << 20) -> bytes:
        """The body, at most `limit` bytes of it."""
        return self._rest(limit)

    async def aclose(self) -> None:
        """Nothing to close."""


class _Record:
    """What is read of a stream is taken down; one that breaks off is not."""

    def __init__(self, inner: Any, tape: Tape) -> None:
        self.status, self.headers = inner.status, inner.headers
        self._inner, self._tape = inner, tape
        self._pieces: list[bytes] = []
        self._over = False

    def _end(self, *, cut: bool = False, broken: bool = False) -> None:
        if not self._over:
            self._over = True
            if not broken:
                self._tape.end(self.status, self.headers, self._pieces, cut=cut)


class Recorded(_Record):
    """A stream that is taken down as it is read."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._inner:
                self._pieces.append(piece)
                yield piece
        except Exception:
            self._end(broken=True)
            raise
        self._end()

    def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it."""
        rest: bytes = self._inner.read(limit)
        self._pieces.append(rest)
        self._end()
        return rest

    def close(self) -> None:
        """Give the connection back; what was read is what is recorded."""
        self._end(cut=True)
        self._inner.close()


class AsyncRecorded(_Record):
    """A stream that is taken down as it is read, for a coroutine."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._inner:
                self._pieces.append(piece)
                yield piece
        except Exception:
            self._end(broken=True)
            raise
        self._end()

    async def read(self, limit: int = 1 << 20) -> bytes:
        """What is left of the body, at most `limit` bytes of it."""
        rest: bytes = await self._inner.read(limit)
        self._pieces.append(rest)
        self._end()
        return rest

    async def aclose(self) -> None:
        """Give the connection back; what was read is what is recorded."""
        self._end(cut=True)
        await self._inner.aclose()
