"""The workers of one process: their threads, flushing, forking and the way out."""

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from random import Random

from msgspec import Struct

from callmeter.clock import Clock, SystemClock
from callmeter.errors import JournalError
from callmeter.events.journal import Journal
from callmeter.sinks.base import Sink
from callmeter.sinks.sending import Sender
from callmeter.sinks.worker import LEASE_S, LOG, TICK_NS, Worker

SLOW_NS = 30_000_000_000
"""An export that runs longer is named in the log, once."""

STUCK_NS = 300_000_000_000
"""An export that runs longer loses its lease, so that another process may try."""

RESTART_NS = 60_000_000_000
"""A worker whose thread died is started again at once, and after that once a minute."""

_POLL_S = 0.05
"""How often a flush looks: other processes' deliveries wake nobody here."""


class Flushed(Struct, frozen=True):
    """What a flush saw of one sink."""

    delivered: int
    """Events delivered or dead-lettered while it waited."""
    waiting: int
    """Events from before the flush that still wait."""
    problem: str = ""
    """Why nothing is known of them: the journal could not be read."""


class _Seat:
    """A worker and the thread that drives it, if one does."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.kicked = threading.Event()
        self.thread: threading.Thread | None = None
        self.crashed_at_ns: int | None = None
        self.slow_said = False

    @property
    def driven(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Workers:
    """Owns the workers of a process. Nothing is opened and no thread runs before `start`.

    `owner` and `sender` are asked again in a forked child, where nothing of the parent's is used.
    """

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        owner: Callable[[], str],
        sender: Callable[[], Sender],
        clock: Clock | None = None,
        log: logging.Logger = LOG,
    ) -> None:
        self._open_journal, self._owner, self._sender, self._log = open_journal, owner, sender, log
        self._clock: Clock = clock or SystemClock()
        self._inherited: list[object] = []
        self._fresh()
        _living.add(self)

    def _fresh(self) -> None:
        self._seats: dict[str, _Seat] = {}
        self._turned = threading.Condition()
        self._lock = threading.Lock()
        self._stopping = False
        self._journal: Journal | None = None
        self._watch: threading.Thread | None = None
        self._ended = threading.Event()

    def forget_parent(self) -> None:
        """In a forked child: start from nothing. The parent's connections are kept open, unused.

        Closing an SQLite connection that came through a fork would release the parent's locks.
        """
        self._inherited += [self._seats, self._journal]
        self._fresh()

    def start(self, sinks: Sequence[Sink], *, threads: bool = True) -> None:
        """Have a running worker for each of these sinks. Cheap to repeat, and revives what died.

        Two sinks with one identity share a worker. Without `threads`, `flush` and `stop` do the work inline.
        """
        with self._lock:
            if self._stopping:
                return
            for sink in sinks:
                identity = sink.identity()
                if identity not in self._seats:
                    self._seats[identity] = _Seat(self._new_worker(sink))
            if threads and self._seats:
                for seat in self._seats.values():
                    self._drive(seat)
                if self._watch is None or not self._watch.is_alive():
                    self._watch = _thread("callmeter-workers", self._run_watch)

    def step(self, now_ns: int) -> int:
        """Look after the workers: keep leases while exports run, name slow ones, restart dead threads."""
        for seat in list(self._seats.values()):
            if seat.thread is not None and not seat.driven and not self._stopping:
                self._drive(seat)
            busy_since = seat.worker.busy_since_ns
            busy_ns = 0 if busy_since is None else now_ns - busy_since
            if TICK_NS <= busy_ns < STUCK_NS:
                self._keep_lease(seat.worker)
            if busy_ns >= SLOW_NS and not seat.slow_said:
                seat.slow_said = True
                self._log.warning(
                    "sink %s has been sending one batch for %d s; its other events wait, nothing else does",
                    seat.worker.sink.name, busy_ns // 10**9,
                )  # fmt: skip
            elif busy_ns == 0:
                seat.slow_said = False
        return now_ns + TICK_NS

    def flush(self, deadline_ns: int) -> dict[str, Flushed]:
        """Deliver what was appended before now, waiting until `deadline_ns` (monotonic) at most.

        Tells the truth for each sink identity; what others append meanwhile is not waited for.
        """
        if not self._seats:
            return {}
        try:
            journal = self._open_journal()
            try:
                return self._flush(journal, deadline_ns)
            finally:
                journal.close()
        except JournalError as error:
            return {identity: Flushed(0, 0, str(error)) for identity in self._seats}

    def _flush(self, journal: Journal, deadline_ns: int) -> dict[str, Flushed]:
        mark, before = journal.mark(), self._settled(journal)
        while True:
            for seat in self._seats.values():
                seat.worker.hurry()
                seat.kicked.set()
                if not seat.driven:
                    self._finish(seat, deadline_ns)
            waiting = {sink: count for sink, count in journal.waiting(mark).items() if sink in self._seats}
            left_s = (deadline_ns - self._clock.mono_ns()) / 1e9
            if left_s <= 0 or not waiting or not self._any_driven():
                now = self._settled(journal)
                return {
                    sink: Flushed(now[sink] - before.get(sink, 0), waiting.get(sink, 0))
                    for sink in self._seats
                    if sink in now
                }
            with self._turned:
                self._turned.wait(min(left_s, _POLL_S))

    def stop(self, deadline_ns: int) -> None:
        """End all threads, then deliver inline what is due until `deadline_ns`. Starts no thread; the rest stays.

        A worker that is stuck in its sink is left where it is: its lease lapses and its events are safe.
        """
        self._stopping = True
        self._ended.set()
        left = list(self._seats.values())
        for seat in left:
            seat.kicked.set()
        while left:
            for seat in [seat for seat in left if not seat.driven]:
                left.remove(seat)
                self._finish(seat, deadline_ns)
                seat.worker.close()
            left_s = (deadline_ns - self._clock.mono_ns()) / 1e9
            if left_s <= 0:
                break
            if left:
                with self._turned:
                    self._turned.wait(min(left_s, _POLL_S))
        for seat in left:
            self._log.warning("sink %s is still sending; its events stay in the journal", seat.worker.sink.name)

    # --- threads

    def _new_worker(self, sink: Sink) -> Worker:
        return Worker(
            sink, self._open_journal, owner=self._owner(), sender=self._sender(), clock=self._clock, rng=Random(),
            log=self._log,
        )  # fmt: skip

    def _drive(self, seat: _Seat) -> None:
        if not seat.driven:
            seat.thread = _thread(f"callmeter-sink-{seat.worker.sink.name}", self._run, seat)

    def _run(self, seat: _Seat) -> None:
        while not self._stopping:
            wake_ns = self._turn(seat)
            with self._turned:
                self._turned.notify_all()
            seat.kicked.wait(max(0.0, (wake_ns - self._clock.mono_ns()) / 1e9))
            seat.kicked.clear()

    def _turn(self, seat: _Seat) -> int:
        """One step of a worker; what would have ended its thread is named, and followed by a fresh start."""
        now_ns = self._clock.mono_ns()
        try:
            return seat.worker.step(now_ns)
        except BaseException as error:
            last_ns, seat.crashed_at_ns = seat.crashed_at_ns, now_ns
            again_ns = now_ns if last_ns is None else max(now_ns, last_ns + RESTART_NS)
            self._log.error(
                "the worker of sink %s died of %s: %s; it starts again in %d s",
                seat.worker.sink.name, type(error).__name__, error, (again_ns - now_ns) // 10**9, exc_info=error,
            )  # fmt: skip
            return again_ns

    def _finish(self, seat: _Seat, deadline_ns: int) -> None:
        """Deliver in the caller's thread, which no sink may end; Ctrl-C is the caller's own and goes through."""
        try:
            seat.worker.finish(deadline_ns)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._log.error("sink %s raised %s: %s", seat.worker.sink.name, type(error).__name__, error)

    def _run_watch(self) -> None:
        while not self._ended.is_set():
            wake_ns = self.step(self._clock.mono_ns())
            self._ended.wait(max(0.0, (wake_ns - self._clock.mono_ns()) / 1e9))
        if self._journal is not None:
            self._journal.close()

    def _keep_lease(self, worker: Worker) -> None:
        try:
            if self._journal is None:
                self._journal = self._open_journal()
            self._journal.lease(worker.identity, worker.owner, LEASE_S)
        except Exception as error:
            self._log.debug("lease of %s not renewed", worker.identity, exc_info=error)
            self._journal = None

    def _any_driven(self) -> bool:
        return any(seat.driven for seat in self._seats.values())

    def _settled(self, journal: Journal) -> dict[str, int]:
        return {a.sink: a.delivered + a.dead for a in journal.accounts()}


def _thread(name: str, target: Callable[..., None], *args: object) -> threading.Thread | None:
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # The interpreter is ending and starts no more threads: `stop` delivers in the main one.
        return None
    return thread


_living: "weakref.WeakSet[Workers]" = weakref.WeakSet()


def _after_fork() -> None:
    for workers in list(_living):
        workers.forget_parent()


os.register_at_fork(after_in_child=_after_fork)
