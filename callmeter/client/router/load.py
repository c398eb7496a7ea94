"""How busy a deployment is: what was sent there in the last minute, what is in flight, how fast it answers."""

from collections import deque
from math import exp

from msgspec import Struct

MINUTE = 60
"""Seconds that limits by the minute are about."""

LATENCY_MEMORY_S = 60.0
"""Seconds after which a latency counts for little more than a third of a new one."""


class Cooldown(Struct, frozen=True):
    """A deployment's rest after a failure: until when, and what the failure was."""

    until_ns: int
    """Monotonic time of this process."""
    error_class: str
    status: int
    message: str = ""

    @property
    def refused(self) -> bool:
        """Whether the failure was about credentials: waiting will not mend it."""
        return self.status in (401, 403)


class Load(Struct, frozen=True):
    """What is known of a deployment at one moment. Counts are of the last minute."""

    in_flight: int = 0
    requests: int = 0
    tokens: int = 0
    latency_s: float | None = None
    """Peak EWMA of the kind of call in question; None before the first answer."""
    cooldown: Cooldown | None = None
    cooldown_s: float = 0.0
    """What is left of the cooldown."""
    frees_s: float = 0.0
    """Until the first of the last minute's requests is older than that."""


IDLE = Load()


class Window:
    """A sum over the last minute, kept by the second: no minute, wherever it begins, has more than the sum says.

    A second counts until all of it is more than a minute ago, so what was added is counted for 60 to 61 seconds.
    """

    __slots__ = ("_seconds", "_total")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()
        self._total = 0

    def add(self, second: int, amount: int) -> None:
        """Count something that happens in this second."""
        seconds = self._seconds
        if seconds and seconds[-1][0] >= second:
            seconds[-1][1] += amount
        else:
            seconds.append([second, amount])
        self._total += amount

    def correct(self, second: int, amount: int) -> None:
        """Count more or less for what was counted in a second; nothing if that is more than a minute ago."""
        for entry in reversed(self._seconds):
            if entry[0] <= second:
                if entry[0] == second:
                    entry[1] += amount
                    self._total += amount
                return

    def total(self, second: int) -> int:
        """The sum over the minute that ends in this second."""
        seconds = self._seconds
        while seconds and seconds[0][0] < second - MINUTE:
            self._total -= seconds.popleft()[1]
        return self._total

    def frees_s(self, now_s: float) -> float:
        """Seconds until the oldest of the sum leaves it; 0 where there is nothing."""
        return max(0.0, self._seconds[0][0] + MINUTE + 1 - now_s) if self._seconds else 0.0


class Latency:
    """Peak EWMA: a slower answer counts at once and in full, faster ones bring the figure down as time passes.

    Source: Finagle's `PeakEwma` load balancer, https://twitter.github.io/finagle/guide/Clients.html#load-balancing
    """

    __slots__ = ("_at_s", "_cost_s")

    def __init__(self) -> None:
        self._cost_s: float | None = None
        self._at_s = 0.0

    def observe(self, seconds: float, now_s: float, memory_s: float) -> None:
        """An answer took so long."""
        known = self._cost_s
        if known is None or seconds >= known:
            self._cost_s = seconds
        else:
            weight = exp(-max(0.0, now_s - self._at_s) / memory_s)
            self._cost_s = known * weight + seconds * (1 - weight)
        self._at_s = now_s

    def now(self, now_s: float, memory_s: float) -> float | None:
        """The figure now. It sinks while nobody asks, so that who was slow once is tried again; None if unknown."""
        if self._cost_s is None:
            return None
        return self._cost_s * exp(-max(0.0, now_s - self._at_s) / memory_s)
