"""Where events wait between the thread that made them and the writer's: bounded, counted, and never in anyone's way."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from callmeter.events.model import END_TYPES, AnyEvent

MAX_EVENTS = 10_000
CORE_BYTES = 2048
"""About what an event keeps alive without its content."""

GROUP_EVENTS = 64
"""About 64 KB once encoded: enough to be committed before its 10 ms are over."""


class Held:
    """An event that waits. `event` becomes None when it is taken or dropped."""

    __slots__ = ("event", "size")

    def __init__(self, event: AnyEvent, size: int) -> None:
        self.event: AnyEvent | None = event
        self.size = size


class Handoff:
    """A queue of events with a bound in bytes and in number.

    Beyond the bound the content of the oldest goes first, then the oldest events that are not ends, then the oldest
    ends. `losses` counts them by event type and reason. The lock is held for microseconds and is re-entrant, because a
    finaliser that publishes may interrupt a publish on the same thread.
    """

    def __init__(self, max_bytes: int, max_events: int = MAX_EVENTS) -> None:
        self.max_bytes, self.max_events = max_bytes, max_events
        self.reset()

    def reset(self) -> None:
        """Forget everything, with a new lock: in a forked child these events are the parent's to write."""
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._queue: deque[Held] = deque()
        self._fat: deque[Held] = deque()
        self._others: deque[Held] = deque()
        self._asleep_below = 0
        self.bytes = self.count = 0
        self.offered = self.done = self.dropped = 0
        """Events put, events that are dealt with, and those of them that were lost. All only grow."""
        self._taken_bytes = 0
        self.losses: Counter[tuple[type, str]] = Counter()
        self.lost_bytes: Counter[tuple[type, str]] = Counter()

    def put(self, event: AnyEvent, size: int) -> None:
        """Add an event that keeps about `size` bytes alive."""
        with self.lock:
            held = Held(event, size if size > CORE_BYTES else CORE_BYTES)
            self._queue.append(held)
            if size > CORE_BYTES and getattr(event, "content", None) is not None:
                self._fat.append(held)
            if not isinstance(event, END_TYPES):
                self._others.append(held)
            self.bytes += held.size
            self.count += 1
            self.offered += 1
            if self.bytes > self.max_bytes or self.count > self.max_events:
                self._make_room()
            if len(self._queue) <= self._asleep_below:
                return
            self._asleep_below = len(self._queue) + self.max_events
            self._changed.notify_all()

    def take(self, max_events: int, max_bytes: int) -> list[AnyEvent]:
        """The oldest events; one at least if there is any. They count as held until `finish` is called."""
        with self.lock:
            taken: list[AnyEvent] = []
            size = 0
            while self._queue and len(taken) < max_events and size < max_bytes:
                held = self._queue.popleft()
                if held.event is None:
                    continue
                taken.append(held.event)
                held.event = None
                size += held.size
            self._taken_bytes += size
            for waiting in (self._fat, self._others):
                while waiting and waiting[0].event is None:
                    waiting.popleft()
            return taken

    def reweigh(self, size: int) -> None:
        """What was taken since the last time keeps only so many bytes alive now that it is encoded."""
        with self.lock:
            self.bytes += size - self._taken_bytes
            self._taken_bytes = 0

    def finish(self, events: int, size: int) -> None:
        """So many of the events that were taken, which keep so many bytes alive, are dealt with."""
        with self.lock:
            self.bytes -= size
            self.count -= events
            self.done += events
            self._changed.notify_all()

    def waiting(self) -> int:
        """How many events are in the queue, not counting those taken."""
        return len(self._queue)

    def take_losses(self) -> list[tuple[type, str, int, int]]:
        """Losses since the last time: event type, reason, how many, about how many bytes."""
        with self.lock:
            found = [(*key, count, self.lost_bytes[key]) for key, count in self.losses.items()]
            self.losses.clear()
            self.lost_bytes.clear()
            return found

    def sleep(self, timeout_s: float | None, wake_above: int, unless: Callable[[], bool]) -> None:
        """Wait until more than `wake_above` events are in the queue, `wake` is called, or time is up."""
        with self.lock:
            if len(self._queue) > wake_above or unless():
                return
            self._asleep_below = wake_above
            self._changed.wait(timeout_s)
            self._asleep_below = len(self._queue) + self.max_events

    def wake(self) -> None:
        """Rouse the writer and whoever waits for it."""
        with self.lock:
            self._changed.notify_all()

    def wait_done(self, number: int, timeout_s: float | None, unless: Callable[[], bool]) -> bool:
        """Wait until as many events as `number` are dealt with; False if time was up or `unless` holds first."""
        with self.lock:
            self._changed.wait_for(lambda: self.done >= number or unless(), timeout_s)
            return self.done >= number

    def _make_room(self) -> None:
        while self.bytes > self.max_bytes and self._fat:
            held = self._fat.popleft()
            if held.event is not None:
                self._thin(held)
        while self._is_over() and self._others:
            self._drop(self._others.popleft())
        while self._is_over() and self._queue:
            self._drop(self._queue.popleft())
        if len(self._queue) > self.count + self.max_events:
            self._queue = deque(held for held in self._queue if held.event is not None)

    def _is_over(self) -> bool:
        return self.bytes > self.max_bytes or self.count > self.max_events

    def _thin(self, held: Held) -> None:
        event: Any = held.event
        self._count(event, "content_shed", held.size - CORE_BYTES)
        held.event = replace(event, content=None)
        self.bytes -= held.size - CORE_BYTES
        held.size = CORE_BYTES

    def _drop(self, held: Held) -> None:
        if held.event is None:
            return
        self._count(held.event, "memory_full", held.size)
        held.event = None
        self.bytes -= held.size
        self.count -= 1
        self.done += 1
        self.dropped += 1

    def _count(self, event: AnyEvent, reason: str, size: int) -> None:
        self.losses[type(event), reason] += 1
        self.lost_bytes[type(event), reason] += size
