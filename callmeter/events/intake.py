"""From the hand-off to rows: events are taken, made what is stored of them, and put beyond the reach of a kill.

Two threads do this, each when it comes to it: the one that does nothing else, so that it is done at once, and the
writer's own before it commits. What could not be kept is counted for everyone who would have got it.
"""

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from callmeter.clock import Clock, IdSource
from callmeter.events.handoff import GROUP_EVENTS, Handoff
from callmeter.events.journal import ATTEMPT, DROPPED, END, START, Loss, Row
from callmeter.events.journal_schema import LEDGER
from callmeter.events.model import AnyEvent, CallFacts, CallFailed, EventsDropped
from callmeter.events.spool import Spool, Spooled
from callmeter.events.stored import KINDS, Redact, stored_form
from callmeter.settings import Settings

log = logging.getLogger("callmeter")


class Want(NamedTuple):
    """A durable sink, by its identity, and what it is told of."""

    sink: str
    types: tuple[type, ...]
    takes: Callable[[CallFacts], bool] | None = None
    """Which calls; None for all."""


Wants = tuple[Want, ...]

GROUP_MAX_EVENTS = 1000
GROUP_MAX_BYTES = 1 << 20
"""A group is in memory several times over: encoded, in the record of the spool, in SQLite's pages."""


class Group:
    """Rows that will be committed together, and how many events and bytes of the hand-off they stand for."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.events = 0
        self.size = 0
        self.spooled: Spooled | None = None
        """The file that holds the rows until they are committed."""

    @property
    def full(self) -> bool:
        """Whether it takes no more."""
        return self.events >= GROUP_MAX_EVENTS or self.size >= GROUP_MAX_BYTES


class Intake:
    """The group that is coming together. `gather` and `cut` may be called from any thread."""

    def __init__(
        self,
        handoff: Handoff,
        *,
        clock: Clock,
        ids: IdSource,
        settings: Settings,
        sinks: Callable[[], Wants],
        redact: Redact | None,
    ) -> None:
        self._handoff, self._clock, self._ids, self._settings = handoff, clock, ids, settings
        self._sinks, self._redact = sinks, redact
        self.ledger = False
        """Whether the ledger is to have what is taken from now on."""
        self.reset()

    def reset(self) -> None:
        """Begin anew: in a forked child, where what was taken is the parent's."""
        self._lock = threading.Lock()
        self.group = Group()
        self.losses: list[Loss] = []
        self.tight = False
        """The journal is nearly full: content of new events is not kept."""
        self._hash_key: bytes | None = None
        self._owner = ""
        self._spool: Spool | None = None
        self._wants: Wants = ()
        self._wanted: dict[type, Wants] = {}

    def begin(self, hash_key: bytes, owner: str, spool: Spool | None) -> None:
        """The journal is open: from now on events can be made rows."""
        if spool is not None:
            spool.prepare()
        with self._lock:
            self._hash_key, self._owner, self._spool = hash_key, owner, spool

    def gather(self) -> tuple[int, int]:
        """Take what waits into the group, as far as it has room; how many events the group held before, and holds now.

        Only here are the two of one group: another thread may cut it as soon as this returns.
        """
        with self._lock:
            before = self.group.events
            if self._hash_key is not None:
                self._note_sinks()
                rows = self._taken_rows(self._hash_key)
                if rows and self._spool is not None:
                    self._spool.append(rows)
            return before, self.group.events

    def cut(self) -> Group:
        """The group as it is, to be committed; another begins."""
        if self._spool is not None:
            self._spool.prepare()
        with self._lock:
            group, self.group = self.group, Group()
            if self._spool is not None:
                group.spooled = self._spool.cut()
            return group

    def end(self) -> None:
        """Nothing more comes, and everything is committed."""
        with self._lock:
            if self._spool is not None:
                self._spool.close()
                self._spool = None

    def forget_parent(self) -> None:
        """In a forked child: leave the parent's files alone and begin anew."""
        if self._spool is not None:
            self._spool.forget_parent()
        self.reset()

    # --- making rows

    def _taken_rows(self, hash_key: bytes) -> list[Row]:
        group, rows = self.group, list[Row]()
        while not group.full:
            events = self._handoff.take(GROUP_EVENTS, GROUP_MAX_BYTES - group.size)
            if not events:
                break
            made = [row for event in events if (row := self._row_or_loss(event, hash_key)) is not None]
            size = sum(len(row.body) for row in made)
            self._handoff.reweigh(size)
            group.events, group.size = group.events + len(events), group.size + size
            rows += made
        group.rows += rows
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
        if self.tight and self._settings.capture_content and getattr(kept, "content", None) is not None:
            self.losses.append(Loss("", "content_shed", 1))
        body = stored_form(kept, hash_key=hash_key, max_content_bytes=self._content_bytes())
        if kind != START:
            return Row(event.id, call_id, kind, event.at_ns, body, ledger, sinks)
        ends = self._told(event, CallFailed)
        return Row(event.id, call_id, kind, event.at_ns, body, self.ledger, sinks, self._owner, ends)

    def _told(self, event: AnyEvent, kind: type) -> tuple[str, ...]:
        """The sinks that want this kind of event of this call, but not the one that made the call itself."""
        call = getattr(event, "call", None)
        return tuple(w.sink for w in self._wanted.get(kind, ()) if call is None or _takes(w, call))

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
        keep = self._settings.capture_content and not self.tight
        return self._settings.max_content_bytes if keep else None

    # --- losses

    def lost(self, loss: Loss) -> None:
        """Note a loss that the writer met."""
        with self._lock:
            self.losses.append(loss)

    def take_losses(self) -> list[Loss]:
        """Losses since the last time, those of the hand-off among them, for each sink that would have got the event."""
        with self._lock:
            self._note_sinks()
            for kind, reason, count, size in self._handoff.take_losses():
                if reason == "content_shed":
                    self.losses.append(Loss("", reason, count, size))
                else:
                    self._lose(kind, reason, count, size)
            found, self.losses = self.losses, []
            return found

    def as_row(self, loss: Loss) -> Row:
        """The event that tells of a loss. Not through the transforms: no sampling may hide that something was lost."""
        event = EventsDropped(
            id=self._ids(),
            at_ns=self._clock.wall_ns(),
            sink=loss.sink,
            reason=loss.reason,
            count=loss.count,
            bytes=loss.bytes,
        )
        body = stored_form(event, hash_key=b"", max_content_bytes=None)
        return Row(event.id, "", DROPPED, event.at_ns, body, self.ledger, self._told(event, EventsDropped))

    def _note_sinks(self) -> None:
        wants = self._sinks()
        if wants is not self._wants:
            self._wants = wants
            self._wanted = {kind: tuple(want for want in wants if kind in want.types) for kind in KINDS}

    def _lose(self, kind: type, reason: str, count: int, size: int) -> None:
        ledger = (LEDGER,) if self.ledger and KINDS.get(kind) not in (START, ATTEMPT) else ()
        for sink in (*(want.sink for want in self._wanted.get(kind, ())), *ledger):
            self.losses.append(Loss(sink, reason, count, size))


def _call_id(event: AnyEvent) -> str:
    if isinstance(event, EventsDropped):
        return ""
    call = getattr(event, "call", None)
    return call.call_id if call is not None else getattr(event, "call_id", "")


def _takes(want: Want, call: CallFacts) -> bool:
    if call.made_by and call.made_by == want.sink:
        return False
    if want.takes is None:
        return True
    try:
        return want.takes(call)
    except Exception:
        # A sink is somebody's code, and this is the thread that everything goes through.
        log.debug("sink %s: takes() raised; the event is kept for it", want.sink, exc_info=True)
        return True
