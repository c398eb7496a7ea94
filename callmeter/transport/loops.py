"""One thing for each event loop, closed when its loop ends."""

import asyncio
import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes a T for the running loop when first asked there.

    `asyncio.run`, like everything that ends a loop in order, closes asynchronous generators that are still open; one of
    ours stands open on each loop and closes the loop's T. Of a loop closed without that, the T is dropped later.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = (
            WeakKeyDictionary()
        )

    async def get(self) -> T:
        """This loop's."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            self._drop_closed_loops()
            made = self._make()
            held = self._held[loop] = made, self._open_until_the_end(made)
            await anext(held[1])
        return held[0]

    async def aclose(self) -> None:
        """Close this loop's, if there is one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _open_until_the_end(self, made: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._held.pop(asyncio.get_running_loop(), None)
            await self._close(made)

    def _drop_closed_loops(self) -> None:
        closed = [loop for loop in self._held if loop.is_closed()]
        if not closed:
            return
        with warnings.catch_warnings():
            # Transports of a closed loop warn when they are finalised, and refer to themselves until collected.
            warnings.simplefilter("ignore", ResourceWarning)
            for loop in closed:
                del self._held[loop]
            del loop, closed
            gc.collect()
