"""Time and identity, passed in wherever they matter so that tests own them."""

import os
import time
import weakref
from itertools import count
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for durations. Both in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...

    def mono_ns(self) -> int:
        """Nanoseconds since some fixed instant; never runs backwards."""
        ...


class SystemClock:
    """The machine's clocks."""

    wall_ns = staticmethod(time.time_ns)
    mono_ns = staticmethod(time.monotonic_ns)


class IdSource:
    """Mints 128-bit ids as 32 hex digits: unique across processes and forks, time-ordered within a process.

    64 bits of wall time in nanoseconds, never behind the last one; 40 random bits, drawn again in a forked child;
    24 bits of a counter. It takes no lock: an id may be minted by a finaliser that interrupts this very function,
    and the counter, which is atomic, keeps the two apart.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._now = (clock or SystemClock()).wall_ns
        self._latest = 0
        self._reseed()
        _alive.add(self)

    def _reseed(self) -> None:
        self._process = os.urandom(5).hex()
        self._next = count().__next__

    def __call__(self) -> str:
        now = self._now()
        if now < self._latest:
            now = self._latest
        else:
            self._latest = now
        return f"{now:016x}{self._process}{self._next() & 0xFFFFFF:06x}"


_alive: "weakref.WeakSet[IdSource]" = weakref.WeakSet()


def _reseed_all() -> None:
    for source in list(_alive):
        source._reseed()


os.register_at_fork(after_in_child=_reseed_all)
