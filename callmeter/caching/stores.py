"""Where a cache keeps what it is given, and the one that keeps it in this process."""

import os
import threading
import weakref
from collections import OrderedDict
from typing import Protocol

from callmeter.clock import Clock


class Store(Protocol):
    """Bytes by key, each until an instant (wall clock, ns since the epoch), or for good where it is None."""

    waits: bool
    """Whether it does I/O: then what is put goes through a thread, and what is asked for is awaited."""

    def get(self, key: str) -> bytes | None:
        """What is kept for a key and not yet over."""
        ...

    async def aget(self, key: str) -> bytes | None:
        """`get` for event loops."""
        ...

    def put(self, key: str, value: bytes, until_ns: int | None) -> None:
        """Keep this for a key, in place of what was there."""
        ...

    def delete(self, key: str) -> None:
        """Forget what is kept for a key."""
        ...

    def clear(self, namespace: str) -> None:
        """Forget all keys that begin with the namespace and a colon."""
        ...


class LocalStore:
    """In this process: the newest used stay, within a number of entries and of bytes."""

    waits = False

    def __init__(self, clock: Clock, *, max_entries: int, max_bytes: int) -> None:
        self._clock = clock
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._unlock()
        _local.add(self)
        self._kept: OrderedDict[str, tuple[bytes, int | None]] = OrderedDict()
        self.bytes = 0
        """Size of the values and keys that are kept."""

    def _unlock(self) -> None:
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        with self._lock:
            held = self._kept.get(key)
            if held is None:
                return None
            value, until_ns = held
            if until_ns is not None and until_ns <= self._clock.wall_ns():
                self.delete(key)
                return None
            self._kept.move_to_end(key)
            return value

    async def aget(self, key: str) -> bytes | None:
        """See `Store`."""
        return self.get(key)

    def put(self, key: str, value: bytes, until_ns: int | None) -> None:
        """See `Store`. What is larger than all that may be kept is not."""
        with self._lock:
            self.delete(key)
            if len(value) + len(key) > self._max_bytes:
                return
            self._kept[key] = value, until_ns
            self.bytes += len(value) + len(key)
            while len(self._kept) > self._max_entries or self.bytes > self._max_bytes:
                self.delete(next(iter(self._kept)))

    def delete(self, key: str) -> None:
        """See `Store`."""
        with self._lock:
            held = self._kept.pop(key, None)
            if held is not None:
                self.bytes -= len(held[0]) + len(key)

    def clear(self, namespace: str) -> None:
        """See `Store`."""
        with self._lock:
            for key in [key for key in self._kept if key.startswith(namespace + ":")]:
                self.delete(key)


_local: "weakref.WeakSet[LocalStore]" = weakref.WeakSet()


def _unlock_all() -> None:
    # A lock that another thread held when the process forked is never given back in the child.
    for store in list(_local):
        store._unlock()


os.register_at_fork(after_in_child=_unlock_all)
