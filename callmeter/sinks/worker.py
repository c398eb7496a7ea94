"""From the outbox into one sink: lease, read, send, settle; wait while the destination is away.

A worker is a `step(now) → next wake`. It never gives an event up because its destination is away; what a destination
refuses is narrowed down to the event at fault, which becomes a dead letter, so that everything else gets through.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import NoReturn

import msgspec
from msgspec import Struct

from callmeter.clock import Clock, SystemClock
from callmeter.context import made_by
from callmeter.errors import CallmeterError, JournalError
from callmeter.events.journal import Journal
from callmeter.events.model import AnyEvent
from callmeter.events.stored import event_of
from callmeter.faultpoints import point
from callmeter.sinks.backoff import asked_s, full_jitter_s
from callmeter.sinks.base import Delivery, Misconfigured, Refused, RetryLater, Sink, TooLarge
from callmeter.sinks.breaker import Breaker
from callmeter.sinks.sending import Answer, Sender, deliver

LEASE_S = 4.0
TICK_NS = 900_000_000
"""How often a lease is renewed by its holder and tried for by the others: a holder that dies is followed within 5 s."""

JOURNAL_RETRY_NS = 5_000_000_000
"""How long an outbox that could not be used is left alone."""

CRASHES = 3
"""An event that was being sent when the worker's thread died this many times becomes a dead letter."""

LOG = logging.getLogger("callmeter")

_before_send = point("worker.send.before", "rows read under the lease, nothing sent")
_after_send = point("worker.send.after", "the destination answered, nothing settled")

_STATES = {"closed": "ok", "open": "failing", "parked": "parked"}
"""What the journal calls the breaker's states."""


class Item(Struct, frozen=True):
    """A row of the outbox, its body read."""

    seq: int
    attempts: int
    event: AnyEvent


class Cut(Struct, frozen=True):
    """What is to be sent in one turn."""

    items: list[Item]
    full: bool
    """Whether there may be as much again."""


class _Halted(Exception):
    """Nothing more goes out in this turn; what was not settled stays due."""


class Worker:
    """Delivers to one sink. `step`, `finish` and `close` are for one thread at a time."""

    def __init__(
        self,
        sink: Sink,
        open_journal: Callable[[], Journal],
        *,
        owner: str,
        sender: Sender,
        clock: Clock | None = None,
        rng: Random | None = None,
        log: logging.Logger = LOG,
    ) -> None:
        self.sink = sink
        self.identity = sink.identity()
        self.owner = owner
        self.busy_since_ns: int | None = None
        """Monotonic time at which the export that is running began; may be read from any thread."""
        self._open_journal, self._sender, self._log = open_journal, sender, log
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or Random()
        self._journal: Journal | None = None
        self._journal_trouble = ""
        self._sink_open = False
        self._leased = False
        self._renew_at_ns = 0
        self._breaker = Breaker()
        self._state = ""
        self._hold_until_ns = 0
        self._look_at_ns = 0
        self._most = sink.batch.max_events
        self._settled = 0
        self._crashes: Counter[int] = Counter()
        self._finish_by_ns: int | None = None

    def step(self, now_ns: int) -> int:
        """One turn: hold the lease, read what is due, send it, settle it. Returns when the next turn is due.

        Both times are monotonic nanoseconds of the worker's clock. Only a `BaseException` gets out: whatever the
        sink, the destination or the journal does is contained, counted and retried.
        """
        self._settled = 0
        try:
            wake_ns = self._turn(now_ns)
        except Exception as error:
            self._lose_journal(error)
            return self._now() + JOURNAL_RETRY_NS
        self._journal_trouble = ""
        return wake_ns

    def hurry(self) -> None:
        """Look at the next step, however few events may have come together. May be called from any thread."""
        self._look_at_ns = 0

    def finish(self, until_ns: int) -> None:
        """Deliver what is due, in this thread and without waiting for anything, until `until_ns` at most."""
        self._finish_by_ns = until_ns
        try:
            while self._now() < until_ns:
                self.hurry()
                self.step(self._now())
                if not self._settled:
                    return
        finally:
            self._finish_by_ns = None

    def close(self) -> None:
        """Give the lease back, close the sink and the journal. Idempotent."""
        if self._sink_open:
            self._sink_open = False
            try:
                self.sink.close()
            except Exception as error:
                self._log.warning("sink %s: close() raised %s: %s", self.sink.name, type(error).__name__, error)
        if self._journal is not None:
            try:
                if self._leased:
                    self._journal.release(self.identity, self.owner)
                self._journal.close()
            except Exception as error:
                # The lease lapses by itself, so nothing is lost but the few seconds until then.
                self._log.debug("sink %s: lease not released", self.sink.name, exc_info=error)
            self._journal, self._leased = None, False

    # --- one turn

    def _turn(self, now_ns: int) -> int:
        journal = self._connected()
        if not self._holds_lease(journal, now_ns) or journal.is_paused(self.identity):
            return now_ns + TICK_NS
        most = self._breaker.admits(now_ns, self._most)
        if most == 0 or now_ns < max(self._hold_until_ns, self._look_at_ns):
            return self._next_try(now_ns)
        try:
            cut = self._cut(journal, most)
            if cut.items:
                _before_send()
                self._attempt(cut.items)
        except _Halted:
            return self._next_try(self._now())
        if not cut.full:
            self._look_at_ns = self._now() + self._batching_ns(journal)
        return self._next_try(self._now())

    def _next_try(self, now_ns: int) -> int:
        """When the next send is possible, but not after the lease has to be renewed."""
        probe_ns = 0 if self._breaker.state == "closed" else self._breaker.probe_at_ns
        return min(max(self._hold_until_ns, self._look_at_ns, probe_ns, now_ns), now_ns + TICK_NS)

    def _batching_ns(self, journal: Journal) -> int:
        """How long to let a batch come together; less where an event that waits for its retry is due before that."""
        wait_ns = int(self.sink.batch.max_wait_s * 1e9)
        due_ns = journal.next_due_ns(self.identity)
        until_due_ns = 0 if due_ns is None else due_ns - self._clock.wall_ns()
        return min(until_due_ns, wait_ns) if until_due_ns > 0 else wait_ns

    def _connected(self) -> Journal:
        if self._journal is None:
            self._journal = self._open_journal()
            self._journal.register(self.identity, self.sink.name, self.sink.endpoint)
        return self._journal

    def _lose_journal(self, error: Exception) -> None:
        """Start over with a new connection at the next turn, and say so once for each kind of trouble."""
        journal, self._journal, self._leased = self._journal, None, False
        kind = type(error).__name__
        if self._journal_trouble != kind:
            self._journal_trouble = kind
            expected = isinstance(error, JournalError)
            self._log.error(
                "sink %s cannot use its outbox (%s: %s); its events stay there and it tries again every %d s",
                self.sink.name, kind, error, JOURNAL_RETRY_NS // 10**9, exc_info=None if expected else error,
            )  # fmt: skip
        if journal is not None:
            with contextlib.suppress(Exception):
                journal.close()

    def _holds_lease(self, journal: Journal, now_ns: int) -> bool:
        if not self._leased or now_ns >= self._renew_at_ns:
            self._leased = journal.lease(self.identity, self.owner, LEASE_S)
            self._renew_at_ns = now_ns + TICK_NS
        return self._leased

    def _cut(self, journal: Journal, most: int) -> Cut:
        """What is due, at most so many. A sink that hangs keeps the events and not their bodies beside them."""
        rows = journal.due(self.identity, most, self.sink.batch.max_bytes)
        full = len(rows) == most or sum(len(row.body) for row in rows) * 2 >= self.sink.batch.max_bytes
        items, dead = [], {}
        for row in rows:
            try:
                items.append(Item(row.seq, row.attempts, event_of(row.body)))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                dead[row.seq] = f"corrupt: {error}"
        if dead:
            self._settle(dead=dead)
        return Cut(items, full)

    # --- sending

    def _attempt(self, items: Sequence[Item]) -> bool:
        """Send these together and settle every answer. Returns whether any of them was refused."""
        if not self._holds_lease(self._connected(), self._now()):
            raise _Halted
        left = {item.event.id: item for item in items}
        answers = deliver(self.sink, [i.event for i in items], self._sender, self._clock, self._time_left_s)
        refused = False
        while (answer := self._next_answer(answers, left)) is not None:
            _after_send()
            ids, said = answer
            named = [left.pop(event_id) for event_id in ids if event_id in left]
            refused |= self._take(named, said)
        if left:
            # Out of time on the way out of the process: the rest is the next holder's.
            raise _Halted
        return refused

    def _next_answer(self, answers: Iterator[Answer], left: Mapping[str, Item]) -> Answer | None:
        # Calls that the sink makes itself must not come back to it.
        token = made_by.set(self.identity)
        self.busy_since_ns = self._now()
        try:
            if not self._sink_open:
                self.sink.open()
                self._sink_open = True
            return next(answers, None)
        except Exception as error:
            self._broke(list(left.values()), error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._crashed(list(left.values()), error)
            raise
        finally:
            self.busy_since_ns = None
            made_by.reset(token)

    def _take(self, items: Sequence[Item], said: Delivery | Exception) -> bool:
        if isinstance(said, Delivery):
            return self._delivered(items, said)
        if isinstance(said, Refused):
            self._search(items, str(said))
            return True
        if isinstance(said, TooLarge):
            return self._shrink(items, str(said))
        if isinstance(said, Misconfigured):
            self._park(str(said))
        if isinstance(said, RetryLater):
            self._wait(items, said)
        return self._broke(items, said)

    def _delivered(self, items: Sequence[Item], said: Delivery) -> bool:
        taken = set(said.accepted)
        accepted = [i.seq for i in items if i.event.id in taken]
        rest = [i for i in items if i.event.id not in taken]
        dead = {i.seq: f"refused: {said.refused[i.event.id]}" for i in rest if i.event.id in said.refused}
        again = [i for i in rest if i.seq not in dead]
        if not accepted and not dead:
            self._wait(again, RetryLater(f"it confirmed none of {len(items)} events"), said.retry)
        error = next(iter(dead.values()), "")
        self._settle(accepted=accepted, retry=self._delays(again, said.retry), dead=dead, error=error)
        if not self._crashes:
            self._most = min(self._most * 2, self.sink.batch.max_events)
        self._move(self._breaker.succeeded(), "")
        return bool(dead)

    def _search(self, items: Sequence[Item], reason: str) -> None:
        """These were refused together. Halve until the one at fault is alone: at most 2·log2(n) more sends for one."""
        if len(items) == 1:
            self._settle(dead={items[0].seq: f"refused: {reason}"}, error=reason)
            return
        left, right = _halves(items)
        if self._attempt(left) or len(right) == 1:
            self._attempt(right)
        else:
            # Nothing is wrong with the left half, so the right one need not be asked about as a whole.
            self._search(right, reason)

    def _shrink(self, items: Sequence[Item], reason: str) -> bool:
        """These are too big together. Halve; one alone goes without its content, and is a dead letter after that."""
        if len(items) > 1:
            return any(self._attempt(half) for half in _halves(items))
        item = items[0]
        if getattr(item.event, "content", None) is not None:
            return self._attempt(
                [msgspec.structs.replace(item, event=msgspec.structs.replace(item.event, content=None))]
            )
        self._settle(dead={item.seq: f"too_large: {reason}"}, error=reason)
        return True

    # --- failing

    def _park(self, reason: str) -> NoReturn:
        """The destination refuses us as such. What was sent stays due; one event a minute asks again."""
        self._move(self._breaker.parked(self._now()), reason)
        raise _Halted

    def _wait(self, items: Sequence[Item], why: RetryLater, asked: Mapping[str, float] = {}) -> NoReturn:
        """The destination is away: nothing goes out until its own wait or our backoff has passed."""
        self._move(self._breaker.failed(self._now()), str(why))
        hold_s = max(asked_s(why.after_s or 0.0), full_jitter_s(self._breaker.streak, self._rng))
        self._hold_until_ns = self._now() + int(hold_s * 1e9)
        if why.uncertain and not self.sink.dedupe_key:
            self._settle(dead={i.seq: f"uncertain: {why}" for i in items}, error=str(why))
        else:
            self._settle(retry=self._delays(items, asked, hold_s), error=str(why))
        raise _Halted

    def _broke(self, items: Sequence[Item], error: Exception) -> NoReturn:
        """The sink raised something of its own, so nothing is known about the destination.

        Smaller batches follow, until an event that breaks the sink is alone and no longer holds up the others.
        """
        self._log.debug("sink %s raised", self.sink.name, exc_info=error)
        if isinstance(error, CallmeterError):
            self._park(str(error))
        self._most = max(1, len(items) // 2)
        self._wait(items, RetryLater(f"sink {self.sink.name} raised {type(error).__name__}: {error}"))

    def _crashed(self, items: Sequence[Item], error: BaseException) -> None:
        """The thread is about to die. Until all that were in the batch are settled, each goes alone."""
        self._most = 1
        seqs = [item.seq for item in items]
        self._crashes.update(seqs)
        dead = {seq: f"crashed: {type(error).__name__}: {error}" for seq in seqs if self._crashes[seq] >= CRASHES}
        if dead:
            with contextlib.suppress(_Halted):
                self._settle(dead=dead, error=f"{type(error).__name__}: {error}")

    def _delays(self, items: Sequence[Item], asked: Mapping[str, float], least_s: float = 0.0) -> dict[int, float]:
        """Seconds to wait, by seq. One backoff for all, so that what failed together is due together."""
        own_s = full_jitter_s(max((i.attempts for i in items), default=0) + 1, self._rng)
        return {i.seq: max(least_s, asked_s(asked.get(i.event.id, own_s))) for i in items}

    def _settle(
        self,
        *,
        accepted: Sequence[int] = (),
        retry: Mapping[int, float] = {},
        dead: Mapping[int, str] = {},
        error: str = "",
    ) -> None:
        journal = self._connected()
        if not journal.settle(self.identity, self.owner, accepted=accepted, retry=retry, dead=dead, error=error):
            # Somebody else holds the lease by now and sends the same events; the sink dedupes what went out twice.
            self._leased = False
            self._crashes.clear()
            raise _Halted
        self._settled += len(accepted) + len(dead)
        for seq in (*accepted, *dead):
            self._crashes.pop(seq, None)

    def _move(self, breaker: Breaker, error: str) -> None:
        """Enter the breaker's new state; one log line where it is another one."""
        before, self._breaker = self._breaker, breaker
        state = _STATES[breaker.state]
        if state == self._state:
            return
        self._state = state
        self._connected().set_state(self.identity, state, error)
        if breaker.state == before.state:
            return
        name = f"sink {self.sink.name} ({self.sink.endpoint})" if self.sink.endpoint else f"sink {self.sink.name}"
        if state == "ok":
            self._log.warning("%s takes events again", name)
        elif state == "failing":
            self._log.warning("%s fails: %s; its events are kept and it is tried once a minute", name, error)
        else:
            self._log.error("%s is parked: %s; its events are kept and it is tried once a minute", name, error)

    def _now(self) -> int:
        return self._clock.mono_ns()

    def _time_left_s(self) -> float:
        return float("inf") if self._finish_by_ns is None else (self._finish_by_ns - self._now()) / 1e9


def _halves(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    middle = len(items) // 2
    return items[:middle], items[middle:]
