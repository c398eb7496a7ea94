"""A tap on the calls of a whole process: what a test watches them by, and answers them from a recording.

It holds for every runtime, those that are made while it is there included, so that `configure()` within a test does
not send calls past it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from callmeter.events.model import AnyEvent

OFFLINE_KEY = "callmeter-offline"
"""The key of calls that go nowhere."""


class Tap(Protocol):
    """Stands between calls and the world."""

    @property
    def offline(self) -> bool:
        """Whether no request leaves the process: then nothing waits between attempts, and no key is needed."""
        ...

    def transport(self, own: Callable[[], Any]) -> Any:
        """The blocking transport to use; `own` gives the runtime's."""
        ...

    def async_transport(self, own: Callable[[], Any]) -> Any:
        """The awaited transport to use; `own` gives the runtime's."""
        ...

    def hear(self, event: AnyEvent) -> None:
        """Take note of an event, on the thread that publishes it; never raise and never wait."""
        ...


_tap: Tap | None = None


def current_tap() -> Tap | None:
    """The tap of this process, if there is one."""
    return _tap


@contextmanager
def tapped(tap: Tap | None) -> Iterator[None]:
    """Put a tap, or none, in the place of the one there is for a while. For tests."""
    global _tap
    previous, _tap = _tap, tap
    try:
        yield
    finally:
        _tap = previous


def offline_key() -> str | None:
    """A key for calls that go nowhere, which wins over any credentials there are; None where calls are real."""
    return OFFLINE_KEY if _tap is not None and _tap.offline else None


def no_wait(seconds: float) -> None:
    """Waiting for threads, offline."""


async def no_await(seconds: float) -> None:
    """Waiting for event loops, offline."""
