"""Carries to Redis what nobody waits for: ends of calls, cooldowns, and that calls go on."""

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any

from msgspec import Struct

from callmeter.client.router.load import MINUTE

log = logging.getLogger("callmeter")

MOST = 10_000
"""Notes kept while Redis is away; older ones are of a minute that is over."""

JOIN_S = 2.0
"""How long the thread may take for what it is just carrying."""

AT_ONCE = 500
"""Notes in one round trip."""

RENEW = """
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], 'XX', until_ms, ARGV[i + 1])
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
"""
"""Lets leases that are still there last longer. Keys: each lease's deployment; arguments: milliseconds, the leases."""


LINGER_S = 0.02
"""How long a note waits for others that can go with it, where nobody waits for what it says."""


class Release(Struct, frozen=True):
    """A call is over."""

    member_id: str
    lease_id: str
    second: int
    """In which it was counted, by Redis's clock."""
    more_tokens: int
    """What it used beyond what was counted for it."""
    urgent: bool = False
    """Whether others may wait for its place."""


class Rest(Struct, frozen=True):
    """A deployment cools down."""

    member_id: str
    ms: int
    said: str


class Courier:
    """A thread that is there while there is something to carry or to renew. Notes may come from finalisers."""

    def __init__(self, client: Any, prefix: str, lease_s: float, errors: tuple[type[BaseException], ...]) -> None:
        self._client = client
        self._prefix = prefix
        self._lease_s = lease_s
        self._errors = errors
        self._renew = client.register_script(RENEW)
        self._notes: deque[Release | Rest] = deque(maxlen=MOST)
        self._held: dict[str, str] = {}
        self._renew_at = 0.0
        self._begin_anew()
        _alive.add(self)

    def _begin_anew(self) -> None:
        """In a forked child, which has neither the thread nor the calls."""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        # Bare locks as signals: nothing of Python's own is held while they are opened, maybe by a finaliser.
        self._idle, self._lingering = threading.Lock(), threading.Lock()
        self._idle.acquire()
        self._lingering.acquire()
        self._over = False
        self._notes.clear()
        self._held.clear()

    def holds(self, member_id: str, lease_id: str) -> None:
        """A call is in flight."""
        self._held[lease_id] = member_id
        if self._thread is None:
            # Only here, before a call is sent: a note may come from a finaliser, which must not start a thread.
            self._start()
        elif len(self._held) == 1:
            _open(self._idle)

    def carry(self, note: Release | Rest) -> None:
        """Have a note carried, soon. Never blocks."""
        if isinstance(note, Release):
            self._held.pop(note.lease_id, None)
        self._notes.append(note)
        _open(self._idle)
        if isinstance(note, Rest) or note.urgent:
            _open(self._lingering)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._over:
                thread = threading.Thread(target=self._run, name="callmeter-router", daemon=True)
                with suppress(RuntimeError):  # the interpreter is ending: `close` carries what there is
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while not self._over:
            self._idle.acquire(timeout=self._lease_s / 3 if self._held else -1)
            self._lingering.acquire(timeout=LINGER_S)
            try:
                self.step(monotonic())
            except Exception:
                log.exception("what a router has to tell its Redis could not be told; the router goes on")

    def step(self, now_s: float) -> None:
        """Carry what there is, and renew what is held if it is time to. `now_s` is monotonic."""
        try:
            while notes := self._taken():
                self._carried(notes)
            if self._held and now_s >= self._renew_at:
                self._renew_at = now_s + self._lease_s / 3
                held = list(self._held.items())
                keys = [f"{self._prefix}flight:{member_id}" for _, member_id in held]
                self._renew(keys=keys, args=[int(self._lease_s * 1000), *(lease_id for lease_id, _ in held)])
        except self._errors:
            # What cannot be carried ends by itself: leases after theirs, counts after a minute.
            self._notes.clear()

    def _taken(self) -> list[Release | Rest]:
        notes: list[Release | Rest] = []
        with suppress(IndexError):
            while len(notes) < AT_ONCE:
                notes.append(self._notes.popleft())
        return notes

    def _carried(self, notes: list[Release | Rest]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for note in notes:
                if isinstance(note, Rest):
                    key = f"{self._prefix}rest:{note.member_id}"
                    pipeline.set(key, note.said, px=note.ms, nx=True)
                    pipeline.pexpire(key, note.ms, gt=True)  # before Redis 7 the first one's time stands
                    continue
                pipeline.zrem(f"{self._prefix}flight:{note.member_id}", note.lease_id)
                if note.more_tokens:
                    key = f"{self._prefix}usage:{note.member_id}"
                    pipeline.hincrby(key, f"t{note.second}", note.more_tokens)
                    pipeline.expire(key, 2 * MINUTE)
            pipeline.execute(raise_on_error=False)

    def close(self) -> None:
        """Stop the thread, and carry what it left. A call that comes after it starts another."""
        self._over = True
        _open(self._idle)
        _open(self._lingering)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN_S)
        self._over = False
        self.step(monotonic())


def _open(lock: threading.Lock) -> None:
    with suppress(RuntimeError):  # another thread was quicker
        if lock.locked():
            lock.release()


_alive: "weakref.WeakSet[Courier]" = weakref.WeakSet()


def _begin_anew() -> None:
    for courier in list(_alive):
        courier._begin_anew()


def _close_all() -> None:
    for courier in list(_alive):
        if courier._thread is not None:
            courier.close()


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_close_all)
