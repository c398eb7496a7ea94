"""Writing behind: what is to be stored goes out from a thread of its own, so that no call waits for it."""

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

Write = Callable[[], None]

AT_EXIT_S = 1.0
"""How long an ending process waits for what is still to be stored."""


class Keeper:
    """Does what it is handed, in order. Beyond `max_bytes` waiting, more is refused."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reset()
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[tuple[Write, int]] = deque()
        self._bytes = 0
        self._thread: threading.Thread | None = None

    def put(self, write: Write, size: int) -> bool:
        """Have it done soon; False where too much waits already. `write` does not raise."""
        if self._pid != os.getpid():
            self._reset()  # in a forked child: neither the thread nor what waited is its own
        with self._changed:
            if self._bytes + size > self._max_bytes:
                return False
            self._waiting.append((write, size))
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="callmeter-cache", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is done that was put before; whether it is."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                write, size = self._waiting[0]
            write()
            with self._changed:
                self._waiting.popleft()
                self._bytes -= size
                self._changed.notify_all()


def _flush_at_exit(keeper: "weakref.ref[Keeper]") -> None:
    found = keeper()
    if found is not None:
        found.flush(AT_EXIT_S)
