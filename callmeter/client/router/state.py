"""What the router knows of its deployments, in this process. Thread-safe, and safe to tell from a finaliser."""

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

from msgspec import Struct

from callmeter.client.router.decide import Decision
from callmeter.client.router.line import Line, Ticket
from callmeter.client.router.load import LATENCY_MEMORY_S, Cooldown, Latency, Load, Window
from callmeter.client.router.members import Member
from callmeter.client.router.policy import Record


class Want(Struct, frozen=True, kw_only=True):
    """What a call wants: one of these deployments, before or after others that want one too."""

    group: str
    members: tuple[Member, ...]
    tokens: int = 0
    streamed: bool = False
    kind: Hashable = None
    """Equal for calls that can go to the same deployments of the group."""
    priority: int = 0
    ranked_by_load: bool = True
    """Whether more is to be told of the deployments than what stands in the call's way."""
    alone: bool = False
    """Whether there is nowhere else to go, so that a cooldown keeps nobody back."""


class Lease(Struct, frozen=True, eq=False):
    """One call in flight at one deployment."""

    member: Member
    second: int
    """When it was given, on the monotonic clock."""
    tokens: int
    """How many it was counted for."""
    streamed: bool


class Ended(NamedTuple):
    """How an attempt went, as far as the router has to know."""

    failed: bool | None
    """None: it says nothing about the deployment, for the request was wrong or its caller left."""
    kind: str = ""
    tokens: int | None = None
    """How many it used; None where nobody knows."""
    latency_s: float | None = None
    """To the first chunk of a stream, or to the end of a plain answer."""


class _Track:
    """The counters of one deployment."""

    __slots__ = ("cooldown", "ended", "failed", "in_flight", "kinds", "plain", "requests", "streamed", "tokens")

    def __init__(self) -> None:
        self.in_flight = 0
        self.requests = Window()
        self.tokens = Window()
        self.ended = Window()
        self.failed = Window()
        self.kinds: dict[str, Window] = {}
        self.plain = Latency()
        self.streamed = Latency()
        self.cooldown: Cooldown | None = None


Decide = Callable[[Mapping[str, Load]], Decision]

Judge = Callable[[Record], Cooldown | None]
"""Says by a deployment's last minute whether its failure begins a cooldown."""

_alive: "weakref.WeakSet[State]" = weakref.WeakSet()


class State:
    """Counts calls by deployment, gives leases and takes them back.

    Taking one back may be a finaliser's doing, which can run inside any of our own code on the same thread. So it only
    leaves a note, and whoever has the lock, or gets it at once, works it in.
    """

    def __init__(
        self, mono_ns: Callable[[], int] = time.monotonic_ns, latency_memory_s: float = LATENCY_MEMORY_S
    ) -> None:
        self._mono_ns = mono_ns
        self._memory_s = latency_memory_s
        self._tracks: dict[str, _Track] = {}
        self._notes: deque[Callable[[], None]] = deque()
        self._line = Line()
        self._begin_anew()
        _alive.add(self)

    def _begin_anew(self) -> None:
        """In a forked child, where nobody holds the lock and none of the parent's calls will ever end."""
        self._lock = Lock()
        self._line = Line()
        self._notes.clear()
        for track in self._tracks.values():
            track.in_flight = 0

    def claim(self, want: Want, decide: Decide, ticket: Ticket | None = None) -> tuple[Lease | None, Decision]:
        """Decide by what is known at this moment, and take what was decided for before anybody else can.

        The lease is None where nothing could be taken; the decision then says why, or has somebody to take, and others
        are in line before this call.
        """
        with self._lock:
            self._work_in()
            now_ns = self._mono_ns()
            decision = decide(self._loads(want.members, now_ns, want.streamed, all_of_them=want.ranked_by_load))
            lease = None
            if decision.ranked and not self._line.holds_back(want.group, want.kind, want.priority, ticket):
                lease = self._taken(decision.ranked[0], now_ns, want)
        if self._notes:
            self._settle_notes()
        return lease, decision

    def held_back(self, want: Want, ticket: Ticket | None) -> bool:
        """Whether others are in line before this call."""
        with self._working():
            return self._line.holds_back(want.group, want.kind, want.priority, ticket)

    def join(self, want: Want) -> Ticket:
        """Stand in line for a deployment of the group."""
        with self._working():
            return self._line.join(want.group, want.kind, want.priority)

    def leave(self, ticket: Ticket) -> None:
        """Leave the line, with a deployment or without. Never blocks."""
        self._notes.append(lambda: self._line.leave(ticket))
        self._settle_notes()

    def loads(self, members: Sequence[Member], streamed: bool = False) -> dict[str, Load]:
        """What is known of these deployments now."""
        with self._working():
            return self._loads(members, self._mono_ns(), streamed)

    def take(self, member: Member, want: Want) -> Lease:
        """Count a call for a deployment that somebody else has decided for."""
        with self._working():
            return self._taken(member, self._mono_ns(), want)

    def give_back(self, lease: Lease, ended: Ended, judge: Judge | None = None) -> None:
        """The attempt is over. `judge` says whether its failure begins a cooldown, by the last minute's record.

        Never blocks, and may be called from anywhere.
        """
        self._notes.append(lambda: self._given_back(lease, ended, judge))
        self._settle_notes()

    def rest(self, member_id: str, cooldown: Cooldown) -> None:
        """Let a deployment cool down, if it does not longer already."""
        self._notes.append(lambda: self._rest(member_id, cooldown))
        self._settle_notes()

    def forget(self, member_ids: Sequence[str] | None = None) -> None:
        """Know nothing of these deployments any more, or of all; what is in flight stays counted."""

        def forgotten() -> None:
            for member_id in list(self._tracks) if member_ids is None else member_ids:
                known = self._tracks.pop(member_id, None)
                if known is not None and known.in_flight:
                    self._track(member_id).in_flight = known.in_flight

        self._notes.append(forgotten)
        self._settle_notes()

    # -- under the lock

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Have the lock, with everything worked in that was noted before."""
        with self._lock:
            self._work_in()
            yield
        self._settle_notes()

    def _settle_notes(self) -> None:
        # Whoever holds the lock comes by here once it is free, so a note that finds it taken is not forgotten.
        while self._notes and self._lock.acquire(blocking=False):
            try:
                self._work_in()
            finally:
                self._lock.release()

    def _work_in(self) -> None:
        while self._notes:
            self._notes.popleft()()

    def _track(self, member_id: str) -> _Track:
        track = self._tracks.get(member_id)
        if track is None:
            track = self._tracks[member_id] = _Track()
        return track

    def _loads(
        self, members: Sequence[Member], now_ns: int, streamed: bool, *, all_of_them: bool = True
    ) -> dict[str, Load]:
        found = {}
        for member in members:
            track = self._tracks.get(member.id)
            if track is not None and (all_of_them or member.limited or track.cooldown is not None):
                found[member.id] = self._load(track, now_ns, streamed)
        return found

    def _load(self, track: _Track, now_ns: int, streamed: bool) -> Load:
        now_s, second = now_ns / 1e9, now_ns // 1_000_000_000
        cooldown = track.cooldown
        if cooldown is not None and cooldown.until_ns <= now_ns:
            cooldown = track.cooldown = None
        latency = track.streamed if streamed else track.plain
        return Load(
            track.in_flight,
            track.requests.total(second),
            track.tokens.total(second),
            latency.now(now_s, self._memory_s),
            cooldown,
            0.0 if cooldown is None else (cooldown.until_ns - now_ns) / 1e9,
            track.requests.frees_s(now_s),
        )

    def _taken(self, member: Member, now_ns: int, want: Want) -> Lease:
        second = now_ns // 1_000_000_000
        counted = want.tokens if member.tpm is None else min(want.tokens, member.tpm)
        track = self._track(member.id)
        track.in_flight += 1
        track.requests.add(second, 1)
        track.tokens.add(second, counted)
        return Lease(member, second, counted, want.streamed)

    def _given_back(self, lease: Lease, ended: Ended, judge: Judge | None) -> None:
        now_ns = self._mono_ns()
        second = now_ns // 1_000_000_000
        track = self._track(lease.member.id)
        track.in_flight = max(0, track.in_flight - 1)
        if ended.tokens is not None:
            track.tokens.correct(lease.second, ended.tokens - lease.tokens)
        if ended.latency_s is not None:
            latency = track.streamed if lease.streamed else track.plain
            latency.observe(ended.latency_s, now_ns / 1e9, self._memory_s)
        if ended.failed is not None:
            track.ended.add(second, 1)
        if ended.failed:
            track.failed.add(second, 1)
            kind = track.kinds.setdefault(ended.kind, Window())
            kind.add(second, 1)
            record = Record(track.ended.total(second), track.failed.total(second), kind.total(second))
            if judge is not None and (cooldown := judge(record)) is not None:
                self._rest(lease.member.id, cooldown)
        self._line.freed(lease.member.group)

    def _rest(self, member_id: str, cooldown: Cooldown) -> None:
        track = self._track(member_id)
        if track.cooldown is None or track.cooldown.until_ns < cooldown.until_ns:
            track.cooldown = cooldown


def _begin_anew() -> None:
    for state in list(_alive):
        state._begin_anew()


os.register_at_fork(after_in_child=_begin_anew)
