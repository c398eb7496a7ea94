"""What the writer does beside writing: keep the journal within its bounds, close dead calls, sweep."""

import logging

from callmeter.clock import Clock
from callmeter.events.bounds import AsRow
from callmeter.events.journal import Journal
from callmeter.events.recovery import recover
from callmeter.settings import Settings

log = logging.getLogger("callmeter")

BOUNDS_NS = 1_000_000_000
CHORES_NS = 60_000_000_000
LOW_DISK_BYTES = 64 << 20
"""The journal may always be this big, however full the disk: a machine that is always full still gets its accounts."""

MAX_STEPS = 20
"""Transactions spent on one look at the bounds."""


class Housekeeping:
    """Called by the writer after each group; does something once a second and once a minute."""

    def __init__(self, settings: Settings, clock: Clock, as_row: AsRow) -> None:
        self._settings, self._clock, self._as_row = settings, clock, as_row
        self._bounds_ns = self._chores_ns = 0
        self._shed_after = 0
        self.next_ns = 0
        """When there is something to do again although no event comes."""
        self.tight = False
        """The journal is nearly full: content of new events is not kept."""

    def step(self, journal: Journal, now_ns: int, owner: str) -> None:
        """Do what is due. Raises `JournalError` where the journal fails."""
        if now_ns >= self._chores_ns:
            self._chores_ns = self.next_ns = now_ns + CHORES_NS
            closed = recover(journal, self._clock, owner)
            if closed:
                log.info("closed %d calls of processes that died", closed)
            journal.sweep()
            self._bound_sinks(journal)
        if now_ns >= self._bounds_ns:
            self._bounds_ns = now_ns + BOUNDS_NS
            self._bound_journal(journal)

    def _bound_journal(self, journal: Journal) -> None:
        used, free = journal.size()
        limit = self._settings.max_journal_bytes
        if free < self._settings.min_free_disk:
            limit = min(limit, LOW_DISK_BYTES)
        self.tight = used > limit * 0.9
        if used <= limit:
            self._shed_after = 0
            return
        for _ in range(MAX_STEPS):
            after = journal.shed_content(self._as_row, self._shed_after)
            if after is not None:
                self._shed_after = after
            elif not journal.drop_oldest(self._as_row, enough_bytes=int(used - limit * 0.9)):
                return
            used = journal.size()[0]
            if used <= limit * 0.9:
                return

    def _bound_sinks(self, journal: Journal) -> None:
        settings = self._settings
        if journal.size()[0] <= min(settings.max_sink_bytes, settings.max_dead_bytes):
            return
        for identity, (waiting, dead) in journal.queued_bytes().items():
            while waiting > settings.max_sink_bytes:
                if not journal.drop_oldest(self._as_row, identity, "sink_full", waiting - settings.max_sink_bytes):
                    break
                waiting = journal.queued_bytes()[identity][0]
            if dead > settings.max_dead_bytes:
                journal.drop_dead(self._as_row, identity, settings.max_dead_bytes)
