"""Where durable events go from here: one writer into the journal, a worker for each sink, a compactor for the ledger.

Nothing is opened and no thread runs until the first event. In a forked child everything starts anew, with the child's
own connections and threads.
"""

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from callmeter.clock import Clock, IdSource
from callmeter.errors import HomeError, JournalError
from callmeter.events.intake import Want
from callmeter.events.journal import Accounts, Journal
from callmeter.events.model import END_TYPES, AnyEvent, CallStarted
from callmeter.events.opening import import_apsw
from callmeter.events.transforms import Transform, chain
from callmeter.events.writer import Writer
from callmeter.settings import Settings, home_of
from callmeter.sinks.base import Sink
from callmeter.sinks.duckdb import require_duckdb
from callmeter.sinks.sending import Sender
from callmeter.sinks.supervisor import Flushed, Workers

if TYPE_CHECKING:
    from callmeter.sinks.duckdb.compactor import Compactor

log = logging.getLogger("callmeter")

COMMIT_TIMEOUT_S = 30.0
"""With `durability="sync"`, how long a call waits for the disk before it goes on and says so."""


class Delivery:
    """The bus's queue for everything that has to survive the process."""

    def __init__(
        self, settings: Settings, clock: Clock, ids: Callable[[], str], on_loss: Callable[[str, str, int, int], None]
    ) -> None:
        import_apsw()
        self.home = home_of(settings)
        self._settings, self._clock, self._ids, self._on_loss = settings, clock, ids, on_loss
        self._waits = settings.durability in ("sync", "power")
        self._sinks: tuple[Sink, ...] = ()
        self._wants: tuple[Want, ...] = ()
        self._transforms: tuple[Transform, ...] = ()
        self._transformed: Transform = chain(())
        self._temporary: Path | None = None
        self._said_slow = False
        self.writer = self._new_writer()
        self.workers = Workers(self.open_journal, owner=self._owner, sender=self._sender, clock=clock)
        self._fresh()

    def _fresh(self) -> None:
        self._pid = os.getpid()
        self._name = uuid4().hex
        self._running = False
        self._opening = threading.Lock()
        self._compacting: threading.Thread | None = None
        self._ended = threading.Event()
        self._transport: Sender | None = None

    def _new_writer(self) -> Writer:
        return Writer(
            self.open_journal,
            clock=self._clock,
            ids=self._ids if isinstance(self._ids, IdSource) else IdSource(self._clock),
            settings=self._settings,
            sinks=lambda: self._wants,
            redact=lambda event: self._transformed(event),
            on_loss=self._on_loss,
        )

    def add(self, sinks: Sequence[Sink], *, ledger: bool) -> None:
        """Deliver to these sinks too, from the next event on. Raises `MissingExtraError` where a package is missing."""
        if ledger and not self.writer.intake.ledger:
            require_duckdb()
            self.writer.intake.ledger = True
        known = {want.sink for want in self._wants}
        fresh = [sink for sink in sinks if sink.identity() not in known]
        self._sinks = (*self._sinks, *fresh)
        self._wants = (*self._wants, *(Want(sink.identity(), sink.wants, sink.takes) for sink in fresh))
        self._running = False

    def transform(self, transforms: Sequence[Transform]) -> None:
        """Apply these to every event before it is stored, after those already there."""
        self._transforms = (*self._transforms, *transforms)
        self._transformed = chain(self._transforms)

    def offer(self, event: AnyEvent, size: int) -> None:
        """Hand an event to the writer; with `durability="sync"` wait until it is committed."""
        self.writer.offer(event, size)
        if self._pid != os.getpid():
            self._fresh()
        if not self._running:
            self._run()
        if self._waits and isinstance(event, (CallStarted, *END_TYPES)) and not self.writer.commit(COMMIT_TIMEOUT_S):
            self._say_slow()

    def flush(self, timeout_s: float) -> tuple[bool, Mapping[str, Flushed], list[Accounts]]:
        """Commit everything and deliver what time allows.

        Returns whether all is committed, what the flush saw of this process's own sinks, and every sink's account.
        """
        deadline_ns = self._clock.mono_ns() + int(timeout_s * 1e9)
        if not self.writer.handoff.offered:
            return True, {}, []
        journalled = self.writer.commit(timeout_s)
        return journalled, self.workers.flush(deadline_ns), self.accounts()

    def accounts(self) -> list[Accounts]:
        """The account of every sink in this home; none where the journal cannot be read."""
        try:
            journal = self.open_journal()
        except JournalError:
            return []
        try:
            return journal.accounts()
        finally:
            journal.close()

    def close(self, timeout_s: float) -> None:
        """Commit everything, deliver until time is up, stop the threads. What is left stays in the journal."""
        deadline_ns = self._clock.mono_ns() + int(timeout_s * 1e9)
        self._ended.set()
        # Committing comes first and is not bounded by what the sinks need.
        if not self.writer.stop(max(timeout_s, self._settings.exit_timeout_s)):
            log.warning("some events could not be written to the journal in %s before the end", self.home)
        self.workers.stop(deadline_ns)
        if self._compacting is not None:
            self._compacting.join(max(0.0, (deadline_ns - self._clock.mono_ns()) / 1e9))
        if self._temporary is not None:
            self._discard(self._temporary)

    def open_journal(self) -> Journal:
        """A connection to the home's journal, or to a temporary one where the home can never hold any.

        Raises `JournalError` for what may pass, a full disk or a lock held elsewhere: the writer keeps the events and
        tries again.
        """
        with self._opening:
            if self._temporary is None:
                try:
                    return Journal.open(self.home, clock=self._clock, power=self._settings.durability == "power")
                except HomeError as error:
                    self._temporary = self._make_temporary(error)
            return Journal.open(self._temporary, clock=self._clock)

    def _make_temporary(self, error: HomeError) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="callmeter-"))
        log.warning(
            "%s. Until this process ends its events are kept in %s only, and delivered from there; the ledger will not "
            "have them",
            error,
            folder,
        )
        return folder

    # -- threads

    def _run(self) -> None:
        """Start what runs beside the writer, once a process and again when a sink was added."""
        self._running = True
        self.workers.start(self._sinks)
        if self.writer.intake.ledger and self._compacting is None:
            thread = threading.Thread(target=self._compact, name="callmeter-compactor", daemon=True)
            self._compacting = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: another process compacts later
                self._compacting = None

    def _compact(self) -> None:
        ended, compactor = self._ended, self._compactor()
        while not ended.is_set():
            now_ns = self._clock.mono_ns()
            try:
                wake_ns = compactor.step(now_ns)
            except Exception:
                log.exception("the ledger could not be compacted; the calls stay in the journal and it is tried again")
                wake_ns = now_ns + 60_000_000_000
            ended.wait(max(0.0, (wake_ns - now_ns) / 1e9))

    def _compactor(self) -> "Compactor":
        from callmeter.sinks.duckdb.compactor import Compactor

        return Compactor(
            self.open_journal,
            self._temporary or self.home,
            clock=self._clock,
            owner=self._owner(),
            retention_days=self._settings.retention_days,
            content_retention_days=self._settings.content_retention_days,
        )

    # -- what the parts ask for

    def _owner(self) -> str:
        if self._pid != os.getpid():
            self._fresh()
        return self._name

    def _sender(self) -> Sender:
        if self._transport is None:
            from callmeter.transport import sync_transport

            self._transport = sync_transport(self._settings.transport)
        return self._transport

    def _say_slow(self) -> None:
        if not self._said_slow:
            self._said_slow = True
            log.warning("durability=%r could not be kept: %s", self._settings.durability, self.writer.failing or "slow")

    def _discard(self, folder: Path) -> None:
        # That the ledger gets nothing was said when the home could not be used.
        waiting = {a.sink: a.waiting for a in self.accounts() if a.waiting and a.sink != "duckdb"}
        if waiting:
            log.warning("lost with the temporary journal %s: %s", folder, waiting)
            for sink, count in waiting.items():
                self._on_loss(sink, "no_home", count, 0)
        shutil.rmtree(folder, ignore_errors=True)
