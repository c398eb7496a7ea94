"""The process's one writer: takes events from whoever publishes, makes them stored, and commits them in groups.

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
from callmeter.events import lifecycle
from callmeter.events.bounds import summed
from callmeter.events.handoff import GROUP_EVENTS, Handoff
from callmeter.events.housekeeping import Housekeeping
from callmeter.events.journal import ATTEMPT, DROPPED, END, START, Journal, Loss, Row
from callmeter.events.journal_schema import LEDGER
from callmeter.events.model import AnyEvent, CallFailed, EventsDropped
from callmeter.events.recovery import Liveness
from callmeter.events.stored import KINDS, Redact, stored_form
from callmeter.faultpoints import point
from callmeter.settings import Settings

log = logging.getLogger("callmeter")

Wants = tuple[tuple[str, tuple[type, ...]], ...]
"""Each durable sink's identity and the event types it wants."""

OnLoss = Callable[[str, str, int, int], None]
"""Told of each loss: sink (empty for all), reason, how many events, about how many bytes."""

GROUP_NS = 10_000_000
"""An event is committed within 10 ms."""

GROUP_MAX_EVENTS = 1000
GROUP_MAX_BYTES = 4 << 20
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
        self._open_journal, self._clock, self._ids, self._settings = open_journal, clock, ids, settings
        self.ledger = ledger
        """Whether the ledger is to have what is written from now on."""
        self._sinks, self._redact, self._on_loss = sinks, redact, on_loss
        self.handoff = Handoff(settings.max_memory_bytes)
        self._liveness: Liveness | None = None
        self._begin()
        lifecycle.watch(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._journal: Journal | None = None
        self._chores = Housekeeping(self._settings, self._clock, self._as_row)
        self._rows: list[Row] = []
        self._losses: list[Loss] = []
        self._wants: Wants = ()
        self._sinks_of: dict[type, tuple[str, ...]] = {}
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
        self.handoff.wake()
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
            due = now_ns if self.handoff.waiting() else now_ns + GROUP_NS
        self._report_losses(journal, now_ns)
        if self.failing:
            log.warning("the journal works again; nothing was lost but what was reported")
            self.failing, self._backoff_ns = "", RETRY_NS
        self._chores.step(journal, now_ns, self._owner())
        idle = not self.handoff.waiting() and not self._rows
        return self._chores.next_ns if idle else due

    def _due(self, now_ns: int) -> int:
        """When the group that gathers has to be written."""
        waiting = self.handoff.waiting()
        if self._rows or waiting >= GROUP_EVENTS or (waiting and self._hurries()):
            return now_ns
        if not waiting:
            self._window_ns = 0
            return self._chores.next_ns
        self._window_ns = self._window_ns or now_ns + GROUP_NS
        return self._window_ns

    def _hurries(self) -> bool:
        return self._stopped or self.handoff.done < self._urgent

    def _write_group(self, journal: Journal) -> None:
        if not self._rows:
            self._rows = self._taken_rows(journal)
        _taken()
        self._append(journal, self._rows)
        _committed()
        self._rows = []
        self.handoff.finish()

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
            self._losses += [Loss(sink, "unstorable", 1, len(rows[0].body)) for sink in sinks]

    def _taken_rows(self, journal: Journal) -> list[Row]:
        """Take and encode events until there are enough for a group."""
        key = journal.hash_key
        self._note_sinks()
        rows: list[Row] = []
        size = 0
        while len(rows) < GROUP_MAX_EVENTS and size < GROUP_MAX_BYTES:
            events = self.handoff.take(GROUP_EVENTS)
            if not events:
                break
            made = [row for event in events if (row := self._row_or_loss(event, key)) is not None]
            rows += made
            size += sum(len(row.body) for row in made)
            self.handoff.reweigh(size)
        return rows

    def _row_or_loss(self, event: AnyEvent, hash_key: bytes) -> Row | None:
        try:
            return self._row(event, hash_key)
        except Exception:
            log.exception("the event %r cannot be stored and is dropped", event.id)
            self._lose(type(event), "unstorable", 1, 0)
            return None

    def _row(self, event: AnyEvent, hash_key: bytes) -> Row | None:
        """The event as the journal takes it; None where nobody wants it."""
        kind = KINDS[type(event)]
        sinks, ledger = self._told(event, type(event)), self.ledger and kind not in (START, ATTEMPT)
        if kind == ATTEMPT and not sinks:
            return None
        call_id = _call_id(event)
        kept = self._redacted(event)
        if kept is None:
            self._lose(type(event), "transform", 1, 0)
            # The end itself is not stored, but its call must not look as if it had died.
            return Row(event.id, call_id, END, event.at_ns, b"") if kind == END else None
        if self._chores.tight and self._settings.capture_content and getattr(kept, "content", None) is not None:
            self._losses.append(Loss("", "content_shed", 1))
        body = stored_form(kept, hash_key=hash_key, max_content_bytes=self._content_bytes())
        if kind != START:
            return Row(event.id, call_id, kind, event.at_ns, body, ledger, sinks)
        ends = self._told(event, CallFailed)
        return Row(event.id, call_id, kind, event.at_ns, body, self.ledger, sinks, self._owner(), ends)

    def _told(self, event: AnyEvent, kind: type) -> tuple[str, ...]:
        """The sinks that want this kind of event, but not the one that made the call itself."""
        sinks, maker = self._sinks_of.get(kind, ()), _maker(event)
        return tuple(sink for sink in sinks if sink != maker) if maker else sinks

    def _redacted(self, event: AnyEvent) -> AnyEvent | None:
        if self._redact is None:
            return event
        try:
            return self._redact(event)
        except Exception:
            # What could not be redacted must not be stored.
            log.exception("a transform raised on %s; the event is dropped and counted", type(event).__name__)
            return None

    def _content_bytes(self) -> int | None:
        keep = self._settings.capture_content and not self._chores.tight
        return self._settings.max_content_bytes if keep else None

    # --- losses

    def _note_sinks(self) -> None:
        wants = self._sinks()
        if wants is not self._wants:
            self._wants = wants
            self._sinks_of = {kind: tuple(name for name, types in wants if kind in types) for kind in KINDS}

    def _lose(self, kind: type, reason: str, count: int, size: int) -> None:
        """Note a loss of whole events for each sink that would have got them, and for the ledger."""
        ledger = (LEDGER,) if self.ledger and KINDS.get(kind) not in (START, ATTEMPT) else ()
        for sink in (*self._sinks_of.get(kind, ()), *ledger):
            self._losses.append(Loss(sink, reason, count, size))

    def _report_losses(self, journal: Journal, now_ns: int) -> None:
        self._note_sinks()
        for kind, reason, count, size in self.handoff.take_losses():
            if reason == "content_shed":
                self._losses.append(Loss("", reason, count, size))
            else:
                self._lose(kind, reason, count, size)
        if self._losses and (now_ns >= self._report_ns or self._stopped):
            losses = summed(self._losses)
            journal.report(losses, self._as_row)
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

    def _as_row(self, loss: Loss) -> Row:
        event = EventsDropped(
            id=self._ids(),
            at_ns=self._clock.wall_ns(),
            sink=loss.sink,
            reason=loss.reason,
            count=loss.count,
            bytes=loss.bytes,
        )
        # Not through the transforms: no sampling may hide that something was lost.
        body = stored_form(event, hash_key=b"", max_content_bytes=None)
        return Row(event.id, "", DROPPED, event.at_ns, body, self.ledger, self._sinks_of.get(EventsDropped, ()))

    # --- the journal

    def _opened(self) -> Journal:
        if self._journal is None:
            journal = self._open_journal()
            if self._liveness is None:
                self._liveness = Liveness(journal.home)
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
        self.handoff.wake()
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
                self.handoff.sleep(
                    max(0, wake - now) / 1e9, self._wake_above(), lambda: self._stopped or self._hurries()
                )
        finally:
            # After a crash of this thread, the next event starts another.
            self._thread = None

    def _wake_above(self) -> int:
        if self.failing:
            return self.handoff.max_events
        return GROUP_EVENTS - 1 if self.handoff.waiting() else 0

    def stop(self, timeout_s: float | None = None) -> bool:
        """End the thread, write what is left on this one, and close the journal; whether everything was written."""
        limit = self._settings.exit_timeout_s if timeout_s is None else timeout_s
        self._stopped = True
        self.handoff.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(limit)
            if thread.is_alive():
                return False
        written = self._drain(limit)
        if written:
            self._close()
        return written

    def _drain(self, timeout_s: float | None) -> bool:
        """Write everything on the calling thread."""
        deadline = None if timeout_s is None else self._clock.mono_ns() + int(timeout_s * 1e9)
        while self.handoff.waiting() or self._rows or self._losses:
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
        if self._liveness is not None:
            self._liveness.abandon()
            self._liveness = None
        self._begin()


def _call_id(event: AnyEvent) -> str:
    if isinstance(event, EventsDropped):
        return ""
    call = getattr(event, "call", None)
    return call.call_id if call is not None else getattr(event, "call_id", "")


def _maker(event: AnyEvent) -> str:
    call = getattr(event, "call", None)
    return call.made_by if call is not None else ""
