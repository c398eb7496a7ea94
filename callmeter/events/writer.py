"""The process's one writer: commits what comes from whoever publishes to the journal, in groups.

`offer` is the caller's side and takes microseconds. Everything else happens in `step`, which a thread calls; the thread
is started by the first event of a process, and at exit the main thread calls the same `step` to write what is left.
While the journal cannot be written to, events wait in memory up to the hand-off's bound.
"""

import logging
import os
import threading
from collections.abc import Callable

from callmeter.clock import Clock, IdSource
from callmeter.errors import CallmeterError
from callmeter.events import lifecycle, spool
from callmeter.events.bounds import summed
from callmeter.events.handoff import GROUP_EVENTS, Handoff
from callmeter.events.housekeeping import Housekeeping
from callmeter.events.intake import Group, Intake, Wants
from callmeter.events.journal import START, Journal, Loss, Row
from callmeter.events.journal_schema import LEDGER
from callmeter.events.model import AnyEvent
from callmeter.events.recovery import Liveness
from callmeter.events.spool import Spool
from callmeter.events.stored import Redact
from callmeter.faultpoints import point
from callmeter.settings import Settings

log = logging.getLogger("callmeter")

OnLoss = Callable[[str, str, int, int], None]
"""Told of each loss: sink (empty for all), reason, how many events, about how many bytes."""

GROUP_NS = 10_000_000
"""A group is committed within 10 ms, if nothing keeps the writer from its turn; until then it is in the spool."""

GATHER_S = 0.001
"""How long the spool's thread lets events come together after it wrote some."""

RETRY_NS = 100_000_000
MAX_RETRY_NS = 10_000_000_000
REPORT_NS = 60_000_000_000
"""Losses are published as they begin, and then once a minute."""

_taken = point("writer.taken", "a group was taken from the hand-off and is not in the journal yet")
_committed = point("writer.committed", "a group is in the journal, nobody who waits for it was told yet")


class Writer:
    """Hands events to the journal. One a process; made before anything is published, costs nothing until then."""

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        clock: Clock,
        ids: IdSource,
        settings: Settings,
        sinks: Callable[[], Wants] = tuple,
        ledger: bool = False,
        redact: Redact | None = None,
        on_loss: OnLoss | None = None,
    ) -> None:
        self._open_journal, self._clock, self._settings, self._on_loss = open_journal, clock, settings, on_loss
        self.handoff = Handoff(settings.max_memory_bytes)
        self.intake = Intake(self.handoff, clock=clock, ids=ids, settings=settings, sinks=sinks, redact=redact)
        self.intake.ledger = ledger
        self._liveness: Liveness | None = None
        self._begin()
        lifecycle.watch(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._journal: Journal | None = None
        self._chores = Housekeeping(self._settings, self._clock, self.intake.as_row)
        self._group: Group | None = None
        self._losses: list[Loss] = []
        self._spooling: threading.Thread | None = None
        self._called = threading.Event()
        self._window_ns = self._retry_ns = self._report_ns = 0
        self._backoff_ns = RETRY_NS
        self._urgent = 0
        self.failing = ""
        """Why the journal cannot be written to just now; empty while it can."""

    # --- the caller's side

    def offer(self, event: AnyEvent, size: int) -> None:
        """Take an event that keeps about `size` bytes alive. Never blocks, never raises."""
        try:
            if self._pid != os.getpid():
                self.after_fork_in_child()
            self.handoff.put(event, size)
            if self._thread is None:
                self._start()
        except Exception:
            log.exception("an event was lost before it reached the writer; the call goes on")

    def commit(self, timeout_s: float | None = None) -> bool:
        """Wait until everything offered so far is in the journal. False if time was up, or it failed or lost any."""
        target, dropped = self.handoff.offered, self.handoff.dropped
        if self._pid != os.getpid() or self.failing:
            return False
        self._urgent = max(self._urgent, target)
        if self._thread is None and self.handoff.done < target:
            self._drain(timeout_s)
        self._wake()
        done = self.handoff.wait_done(target, timeout_s, lambda: bool(self.failing))
        return done and dropped == self.handoff.dropped

    # --- the writer's side

    def step(self, now_ns: int) -> int:
        """Write what is due; when to call again. `now_ns` and the answer are monotonic, in nanoseconds."""
        with self._turn:
            if now_ns < self._retry_ns:
                return self._retry_ns
            try:
                return self._step(now_ns)
            except CallmeterError as error:
                return self._failed(now_ns, error)
            except Exception as error:
                log.exception("the writer met what it did not expect and tries again")
                return self._failed(now_ns, error)

    def _step(self, now_ns: int) -> int:
        journal = self._opened()
        due = self._due(now_ns)
        if due <= now_ns:
            self._write_group(journal)
            self._window_ns = 0
            due = now_ns if self._waiting() else now_ns + GROUP_NS
        self._report_losses(journal, now_ns)
        if self.failing:
            log.warning("the journal works again; nothing was lost but what was reported")
            self.failing, self._backoff_ns = "", RETRY_NS
        self._chores.step(journal, now_ns, self._owner())
        self.intake.tight = self._chores.tight
        idle = not self._waiting() and self._group is None
        return self._chores.next_ns if idle else due

    def _due(self, now_ns: int) -> int:
        """When the group that gathers has to be written."""
        waiting = self._waiting()
        if self._group is not None or waiting >= GROUP_EVENTS or (waiting and self._hurries()):
            return now_ns
        if not waiting:
            self._window_ns = 0
            return self._chores.next_ns
        self._window_ns = self._window_ns or now_ns + GROUP_NS
        return self._window_ns

    def _waiting(self) -> int:
        """Events in the hand-off and in the group that gathers."""
        return self.handoff.waiting() + self.intake.group.events

    def _hurries(self) -> bool:
        return self._stopped or self.handoff.done < self._urgent

    def _write_group(self, journal: Journal) -> None:
        if self._group is None:
            self.intake.gather()
            self._group = self.intake.cut()
        group = self._group
        _taken()
        self._append(journal, group.rows)
        _committed()
        self._group = None
        spool.remove(group.spooled)
        self.handoff.finish(group.events, group.size)

    def _append(self, journal: Journal, rows: list[Row]) -> None:
        """Append, if need be one by one, so that a row SQLite cannot take costs nobody else."""
        try:
            journal.append(rows)
        except (ValueError, TypeError, OverflowError) as error:
            if len(rows) > 1:
                for row in rows:
                    self._append(journal, [row])
                return
            log.error("the event %r cannot be stored and is dropped: %s", rows[0].id, error)
            sinks = (*rows[0].sinks, *((LEDGER,) if rows[0].ledger and rows[0].kind != START else ()))
            for sink in sinks:
                self.intake.lost(Loss(sink, "unstorable", 1, len(rows[0].body)))

    # --- losses

    def _report_losses(self, journal: Journal, now_ns: int) -> None:
        self._losses += self.intake.take_losses()
        if self._losses and (now_ns >= self._report_ns or self._stopped):
            losses = summed(self._losses)
            journal.report(losses, self.intake.as_row)
            self._losses = []
            self._report_ns = now_ns + REPORT_NS
            for loss in losses:
                self._tell(loss)

    def _tell(self, loss: Loss) -> None:
        if self._on_loss is not None:
            try:
                self._on_loss(loss.sink, loss.reason, loss.count, loss.bytes)
            except Exception:
                log.exception("the handler of losses raised")

    # --- the journal

    def _opened(self) -> Journal:
        if self._journal is None:
            journal = self._open_journal()
            if self._liveness is None:
                self._liveness = Liveness(journal.home)
            # Where calls wait for their commit there is nothing to lose before it.
            spooled = self._settings.durability == "process"
            self.intake.begin(journal.hash_key, self._owner(), Spool(journal.home, self._owner()) if spooled else None)
            self._journal = journal
        return self._journal

    def _owner(self) -> str:
        return self._liveness.name if self._liveness else ""

    def _failed(self, now_ns: int, error: Exception) -> int:
        if not self.failing:
            log.warning("%s (events wait in memory, the oldest are dropped beyond max_memory_bytes)", error)
        self.failing = str(error)
        self._retry_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(2 * self._backoff_ns, MAX_RETRY_NS)
        self._wake()
        return self._retry_ns

    # --- thread, exit, fork

    def _start(self) -> None:
        """Start the thread, or write on this one where the interpreter is ending and allows no new thread."""
        thread = threading.Thread(target=self._run, name="callmeter-writer", daemon=True)
        with self.handoff.lock:
            if self._thread is not None:
                return
            if not self._stopped and threading.main_thread().is_alive():
                self._thread = thread
        if self._thread is thread:
            lifecycle.end_with_multiprocessing()
            try:
                thread.start()
                return
            except RuntimeError:
                self._thread = None
        self._stopped = True
        self._drain(self._settings.exit_timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopped:
                now = self._clock.mono_ns()
                wake = self.step(now)
                self._sleep(max(0, wake - now) / 1e9)
        finally:
            # After a crash of this thread, the next event starts another.
            self._thread = None

    def _wake_above(self) -> int:
        if self.failing:
            return self.handoff.max_events
        return GROUP_EVENTS - 1 if self.handoff.waiting() else 0

    def _sleep(self, seconds: float) -> None:
        """Until something is due: woken by the hand-off, or by the spool's thread where that one empties it."""
        if self._spooled():
            self._called.wait(seconds)
            self._called.clear()
        else:
            self.handoff.sleep(seconds, self._wake_above(), lambda: self._stopped or self._hurries())

    def _spooled(self) -> bool:
        """Whether a thread puts events into the spool; one is started once the journal is open."""
        if self._spooling is None and self._journal is not None and self._settings.durability == "process":
            self._spooling = threading.Thread(target=self._run_spool, name="callmeter-spool", daemon=True)
            try:
                self._spooling.start()
            except RuntimeError:
                pass  # the interpreter is ending: what is left is committed at once
        return self._spooling is not None and self._spooling.is_alive()

    def _run_spool(self) -> None:
        """Take events as they come. While the writer is held up, the group fills and the hand-off's bounds hold."""
        while not self._stopped:
            before, now = self.intake.gather()
            if not before or now >= GROUP_EVENTS or self._hurries():
                self._called.set()
            if now > before:
                self.handoff.sleep(GATHER_S, GROUP_EVENTS - 1, lambda: self._stopped)
            elif self.intake.group.full:
                self.handoff.sleep(GROUP_NS / 1e9, self.handoff.max_events, lambda: self._stopped)
            else:
                self.handoff.sleep(None, 0, lambda: self._stopped)

    def _wake(self) -> None:
        """Rouse the threads and whoever waits for them."""
        self.handoff.wake()
        self._called.set()

    def stop(self, timeout_s: float | None = None) -> bool:
        """End the thread, write what is left on this one, and close the journal; whether everything was written."""
        limit = self._settings.exit_timeout_s if timeout_s is None else timeout_s
        self._stopped = True
        self._wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(limit)
            if thread.is_alive():
                return False
        if self._spooling is not None and self._spooling is not threading.current_thread():
            self._spooling.join(limit)
        written = self._drain(limit)
        if written:
            self._close()
        return written

    def _drain(self, timeout_s: float | None) -> bool:
        """Write everything on the calling thread."""
        deadline = None if timeout_s is None else self._clock.mono_ns() + int(timeout_s * 1e9)
        while self._waiting() or self._group is not None or self._losses:
            now = self._clock.mono_ns()
            if self.step(now) > now and self.failing:
                return False
            if deadline is not None and now > deadline:
                return False
        return True

    def _close(self) -> None:
        with self._turn:
            if self._journal is None:
                return
            try:
                self.intake.end()
                if self._liveness is not None and self._owner() not in self._journal.owners():
                    self._liveness.release()
                    self._liveness = None
                self._journal.close()
            except CallmeterError as error:
                log.warning("closing the journal failed: %s", error)
            self._journal = None

    @property
    def lock(self) -> threading.RLock:
        """The hand-off's lock."""
        return self.handoff.lock

    @property
    def is_used(self) -> bool:
        """Whether anything was ever offered in this process."""
        return bool(self.handoff.offered)

    def after_fork_in_child(self) -> None:
        """Leave what waits to the parent, whose it is, and begin anew."""
        self.handoff.reset()
        self.intake.forget_parent()
        if self._liveness is not None:
            self._liveness.abandon()
            self._liveness = None
        self._begin()
