"""Keeps forks and SQLite apart."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_S = 5.0
"""How long a fork waits for threads to come out."""


class Gate:
    """Keeps a fork from happening while a thread is inside SQLite, whose locks the child would inherit locked."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child, where nobody is inside."""
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside SQLite. May be nested."""
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until nobody is inside, at most `WAIT_S`, and let nobody in."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside == 0, WAIT_S)

    def open(self) -> None:
        """Let threads in again."""
        self._changed.release()


gate = Gate()


os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=gate.reset)
