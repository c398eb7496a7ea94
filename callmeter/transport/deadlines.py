"""By when each phase of an attempt must be over, and the errors that say which one was not."""

import math
from contextvars import ContextVar
from time import monotonic
from typing import Literal

from callmeter.errors import Timeout
from callmeter.transport.failures import host_of
from callmeter.types import Timeouts

Phase = Literal["connect", "first byte", "between chunks"]


_TIMERS_ARE_EARLY_S = 0.002


class Deadline:
    """The instant by which the present phase of one attempt must be over."""

    __slots__ = ("_at", "_times", "_total_at", "phase")

    def __init__(self, times: Timeouts) -> None:
        self._times = times
        self._total_at = math.inf if times.total_s is None else monotonic() + times.total_s
        self.begin("first byte")

    def begin(self, phase: Phase) -> None:
        """Enter a phase; its time runs from now."""
        self.phase: Phase = phase
        seconds = self._seconds(phase)
        self._at = self._total_at if seconds is None else min(monotonic() + seconds, self._total_at)

    def mark(self, phase: Phase) -> None:
        """Say which phase this is, without giving it time of its own."""
        self.phase = phase

    def forget_total(self) -> None:
        """From here on only the phases count: a stream may run for as long as chunks keep coming."""
        self._total_at = math.inf

    def left(self) -> float | None:
        """Seconds left in this phase, at least 0; None means for ever."""
        return None if self._at == math.inf else max(0.0, self._at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether the phase has taken too long."""
        return monotonic() + _TIMERS_ARE_EARLY_S >= self._at

    def timeout(self, url: str) -> Timeout:
        """The error for this phase having taken too long."""
        if monotonic() + _TIMERS_ARE_EARLY_S >= self._total_at:
            error = Timeout(
                f"{host_of(url)} had not answered in full within {self._times.total_s:g} s (total); "
                "raise timeout= if its answers take that long"
            )
            error.sent = self.phase != "connect"
            return error
        what, cure = _STORIES[self.phase]
        seconds = self._seconds(self.phase)
        error = Timeout(f"{host_of(url)} {what} within {seconds:g} s ({self.phase}); {cure}")
        error.sent = self.phase != "connect"
        return error

    def _seconds(self, phase: Phase) -> float | None:
        times = self._times
        if phase == "connect":
            return times.connect_s
        return times.first_byte_s if phase == "first byte" else times.between_chunks_s


_STORIES = {
    "connect": ("took no connection", "check api_base, the network and any proxy"),
    "first byte": ("sent no answer", "raise timeout= if the model needs longer"),
    "between chunks": ("fell silent and sent nothing more", "retry, or raise timeout= if the model pauses that long"),
}

current: ContextVar[Deadline | None] = ContextVar("callmeter.deadline", default=None)
"""The deadline of the attempt that this thread or task is working on: how sockets under a connection pool learn it."""
