"""When to stop trying a destination, and how to find out that it is back. Pure: state in, state out."""

from typing import Literal

from msgspec import Struct

State = Literal["closed", "open", "parked"]

STREAK = 5
"""Failures in a row that open the breaker."""

WINDOW = 20
"""Half of so many last exports failing opens it too."""

PROBE_NS = 60_000_000_000
"""While not closed, one event is sent a minute to see whether anything changed."""


class Breaker(Struct, frozen=True):
    """closed: send. open: the destination is away. parked: it refuses us until somebody changes the configuration."""

    state: State = "closed"
    recent: tuple[bool, ...] = ()
    """The last outcomes while closed, oldest first; True is a success."""
    streak: int = 0
    """Failures since the last success."""
    probe_at_ns: int = 0
    """When the next probe may go, on the clock of the `now_ns` that came in."""

    def admits(self, now_ns: int, most: int) -> int:
        """How many events may be sent now: `most`, 1 for a probe, or 0."""
        if self.state == "closed":
            return most
        return 1 if now_ns >= self.probe_at_ns else 0

    def succeeded(self) -> "Breaker":
        """After the destination took something."""
        if self.state != "closed":
            return Breaker()
        return Breaker(recent=(*self.recent, True)[-WINDOW:])

    def failed(self, now_ns: int) -> "Breaker":
        """After the destination was away, busy or broken."""
        streak = self.streak + 1
        if self.state != "closed":
            return Breaker(state=self.state, streak=streak, probe_at_ns=now_ns + PROBE_NS)
        recent = (*self.recent, False)[-WINDOW:]
        if streak >= STREAK or (len(recent) == WINDOW and recent.count(False) * 2 >= WINDOW):
            return Breaker(state="open", streak=streak, probe_at_ns=now_ns + PROBE_NS)
        return Breaker(recent=recent, streak=streak)

    def parked(self, now_ns: int) -> "Breaker":
        """After the destination refused us as such: a wrong key, a wrong address."""
        return Breaker(state="parked", streak=self.streak + 1, probe_at_ns=now_ns + PROBE_NS)
