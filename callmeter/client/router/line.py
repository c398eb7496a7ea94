"""Calls that wait until a deployment is free, by priority and then in the order they came."""

import asyncio
from bisect import insort
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import count
from threading import Lock


class Ticket:
    """One call's place in the line. It can be waited for by a thread or by a task."""

    def __init__(self, group: str, kind: Hashable, priority: int, number: int) -> None:
        self.group = group
        self.kind = kind
        """Calls of one kind can go to the same deployments of the group."""
        self.key = (priority, number)
        # A bare lock, for nothing of Python's own runs inside of it: whoever wakes may be a finaliser on this thread.
        self._asleep = Lock()
        self._asleep.acquire()
        self._notify: Callable[[], None] | None = None

    def wait(self, seconds: float) -> bool:
        """Wait until woken, or so long; whether woken."""
        return self._asleep.acquire(timeout=seconds)

    async def await_turn(self, seconds: float) -> bool:
        """The same for tasks."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def resolve() -> None:
            if not future.done():
                future.set_result(None)

        def notify() -> None:
            with suppress(RuntimeError):  # the loop is closed, and the waiter with it
                loop.call_soon_threadsafe(resolve)

        self._notify = notify
        try:
            # Whoever wakes opens the lock first and then looks for somebody to notify: one of the two sees the other.
            if self._asleep.locked():
                await asyncio.wait_for(future, seconds)
        except TimeoutError:
            pass
        finally:
            self._notify = None
            woken = self._asleep.acquire(blocking=False)
        return woken

    def wake(self) -> None:
        """End the waiting, now or before it has begun. Only one thread at a time may call this."""
        if self._asleep.locked():
            self._asleep.release()
            if (notify := self._notify) is not None:
                notify()


class Line:
    """The tickets of each group, first come first served within a priority; the lower number goes first.

    Not thread-safe: its owner has a lock.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Ticket]] = {}
        self._number = count().__next__

    def join(self, group: str, kind: Hashable, priority: int) -> Ticket:
        """A place in the line."""
        ticket = Ticket(group, kind, priority, self._number())
        insort(self._waiting.setdefault(group, []), ticket, key=lambda other: other.key)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up the place, or the need for it; whoever is next has a look."""
        waiting = self._waiting.get(ticket.group, [])
        if ticket in waiting:
            waiting.remove(ticket)
        if waiting:
            self.freed(ticket.group)
        else:
            self._waiting.pop(ticket.group, None)

    def holds_back(self, group: str, kind: Hashable, priority: int, ticket: Ticket | None) -> bool:
        """Whether others of its kind go before a call of this priority that has this ticket, or has none yet."""
        for other in self._waiting.get(group, ()):
            if other is ticket:
                return False
            if other.kind == kind:
                return ticket is not None or other.key[0] <= priority
        return False

    def freed(self, group: str) -> None:
        """A place in this group may be free."""
        waiting = self._waiting.get(group)
        if not waiting:
            return
        seen = set()
        for ticket in waiting:
            if ticket.kind not in seen:
                seen.add(ticket.kind)
                ticket.wake()
