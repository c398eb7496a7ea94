"""A stream whose chunks are shown in another operation's form. Reading, closing and dropping stay the stream's own."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from callmeter.client.streaming import AsyncStream, Stream
from callmeter.shapes import Chunk

T = TypeVar("T")

Show = Callable[[Chunk], T | None]
"""A chunk in that form; None where it has none and is passed over."""


class StreamView(Generic[T]):
    """To read with `for piece in …`; closing it, or dropping it, ends the call. Raises as `Stream` does."""

    def __init__(self, stream: Stream, show: Show[T]) -> None:
        self._stream = stream
        self._show = show
        self._hidden_params: dict[str, Any] = stream._hidden_params

    def __iter__(self) -> "StreamView[T]":
        return self

    def __next__(self) -> T:
        while True:
            shown = self._show(next(self._stream))
            if shown is not None:
                return shown

    def close(self) -> None:
        """Stop reading; see `Stream.close`."""
        self._stream.close()

    def __enter__(self) -> "StreamView[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStreamView(Generic[T]):
    """To read with `async for piece in …`; closing it, dropping it or cancelling ends the call."""

    def __init__(self, stream: AsyncStream, show: Show[T]) -> None:
        self._stream = stream
        self._show = show
        self._hidden_params: dict[str, Any] = stream._hidden_params

    def __aiter__(self) -> "AsyncStreamView[T]":
        return self

    async def __anext__(self) -> T:
        while True:
            shown = self._show(await self._stream.__anext__())
            if shown is not None:
                return shown

    async def aclose(self) -> None:
        """Stop reading; see `AsyncStream.aclose`."""
        await self._stream.aclose()

    async def __aenter__(self) -> "AsyncStreamView[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
