"""The thread on which user callbacks run, so that none of them ever holds up a call.

One queue, one thread, started with the first event and again in a forked child. A callback that raises is named in the
log; one that hangs delays only the callbacks behind it, and the log says so once.
"""

import inspect
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from callmeter.clock import Clock
from callmeter.context import within
from callmeter.events.callbacks import Invocation, Registered, invocations, name_of
from callmeter.events.model import AnyEvent

log = logging.getLogger("callmeter")

MAX_EVENTS = 10_000

Loss = Callable[[str, str, int, int], None]
"""Told of every loss: sink, reason, events, bytes."""


class CallbackQueue:
    """Takes events from the bus with the callbacks then in force, and calls them one after another."""

    def __init__(
        self,
        registered: Callable[[AnyEvent], Registered],
        clock: Clock,
        *,
        max_bytes: int,
        timeout_s: float,
        on_loss: Loss,
    ) -> None:
        self._registered = registered
        self._clock = clock
        self._max_bytes = max_bytes
        self._timeout_ns = int(timeout_s * 1e9)
        self._on_loss = on_loss
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[tuple[AnyEvent, Registered, int]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._bytes = 0
        self._counting = threading.RLock()  # re-entrant: a finaliser may publish within a publish
        self._thread: threading.Thread | None = None
        self._loop: Any = None
        self._idle = threading.Event()
        self._idle.set()
        self._running = ""
        self._running_since_ns: int | None = None
        self._complained = False

    def offer(self, event: AnyEvent, size: int) -> None:
        """Take an event for whoever is registered now. Over the bounds the newest is lost, and counted."""
        if self._pid != os.getpid():
            self._reset()
        registered = self._registered(event)
        if not registered:
            return
        if len(self._waiting) >= MAX_EVENTS or (self._waiting and self._bytes + size > self._max_bytes):
            self._complain_of_hang()
            self._on_loss("callbacks", "queue_full", 1, size)
            return
        with self._counting:
            self._bytes += size
        self._waiting.append((event, registered, size))
        self._idle.clear()
        # The token comes last: the turn it causes sets `idle` again, whatever happened in between.
        self._wake.put(None)
        if self._thread is None:
            self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every callback offered so far has run; False if time was up first."""
        if self._pid != os.getpid() or (not self._waiting and self._idle.is_set()):
            return True
        if self._thread is None or not self._thread.is_alive():
            return self._run_here(timeout_s)
        return self._idle.wait(timeout_s)

    def waiting(self) -> int:
        """Events whose callbacks have not run yet."""
        return len(self._waiting) + (self._running_since_ns is not None)

    def _start(self) -> None:
        if not threading.main_thread().is_alive():
            # An exit handler made this call: a thread begun now would be cut off, so the callbacks run here.
            self._run_here(self._timeout_ns / 1e9)
            return
        thread = threading.Thread(target=self._run, name="callmeter-callbacks", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down: the exit path runs what is left
            self._thread = None

    def _run(self) -> None:
        while True:
            self._wake.get()
            self._turn()

    def _run_here(self, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while self._waiting and time.monotonic() < until:
            self._turn()
        return not self._waiting

    def _turn(self) -> None:
        """Run the callbacks of everything that waits."""
        try:
            while True:
                event, registered, size = self._waiting.popleft()
                for target, invoke in invocations(event, registered):
                    self._call(target, invoke, event, registered.within)
                with self._counting:
                    self._bytes -= size
        except IndexError:
            self._idle.set()

    def _call(self, target: Any, invoke: Invocation, event: AnyEvent, outer: tuple[Any, ...]) -> None:
        name = name_of(target)
        self._running, self._running_since_ns = name, self._clock.mono_ns()
        token = within.set((*outer, target))
        try:
            result = invoke()
            if inspect.isawaitable(result):
                self._await(result)
        except Exception:
            log.exception("callback %s raised on %s; the call and other callbacks go on", name, type(event).__name__)
        finally:
            within.reset(token)
            self._running_since_ns, self._complained = None, False

    def _await(self, awaitable: Any) -> None:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(_awaited(awaitable))

    def _complain_of_hang(self) -> None:
        since = self._running_since_ns
        if since is None or self._complained or self._clock.mono_ns() - since < self._timeout_ns:
            return
        self._complained = True
        log.warning(
            "callback %s has been running for %.0f s; %d events wait for it",
            self._running,
            (self._clock.mono_ns() - since) / 1e9,
            len(self._waiting),
        )


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
