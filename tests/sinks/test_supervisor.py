"""A process's workers: their threads, flush, fork, exit. Real threads; a sink that blocks, blocks only itself."""

import itertools
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from callmeter.clock import Clock
from callmeter.errors import JournalError
from callmeter.events.journal import Accounts, Journal
from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Delivery, Misconfigured, Sink
from callmeter.sinks.supervisor import SLOW_NS, STUCK_NS, Flushed, Workers
from callmeter.testing.clocks import FixedClock
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER, ended, ids, row
from tests.sinks.rig import Hook, Scripted, soon, until


class Home:
    """A home directory and the process's workers on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal.open(path)
        self.made: list[Workers] = []

    def workers(self, owner: str = "live/one", clock: Clock | None = None) -> Workers:
        workers = Workers(
            lambda: Journal.open(self.path, clock=clock),
            owner=lambda: f"{owner}-{os.getpid()}",
            sender=lambda: SENDER,
            clock=clock,
        )
        self.made.append(workers)
        return workers

    def publish(self, sink: Sink, numbers: Sequence[int] | range) -> None:
        self.journal.append([row(ended(n), sink.identity()) for n in numbers])

    def accounts(self, sink: Sink) -> Accounts:
        (found,) = [a for a in self.journal.accounts() if a.sink == sink.identity()]
        assert found.accepted == found.delivered + found.waiting + found.dead + found.dropped
        return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    one = Home(tmp_path)
    yield one
    for workers in one.made:
        workers.stop(soon(0.5))
    one.journal.close()


class Blocking(Scripted):
    """Takes nothing until let go."""

    name = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()

    def export(self, events: Sequence[AnyEvent]) -> Delivery:
        self.entered.set()
        self.gate.wait()
        return super().export(events)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    sink = Blocking()
    yield sink
    sink.gate.set()


def ours() -> list[str]:
    """The threads of workers; another test of the process may have left some of other kinds."""
    kinds = ("callmeter-sink-", "callmeter-workers")
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(kinds))


def test_nothing_runs_before_start_and_two_sinks_with_one_identity_share_a_worker(home: Home) -> None:
    workers = home.workers()
    assert ours() == []
    sinks = [Scripted(), Scripted(), Scripted(project="other")]
    workers.start(sinks)
    workers.start(sinks)
    assert ours() == ["callmeter-sink-scripted", "callmeter-sink-scripted", "callmeter-workers"]
    workers.stop(soon())
    until(lambda: ours() == [], "threads to end")


def test_a_started_sink_gets_its_events_without_being_asked(home: Home, server: FaultServer) -> None:
    sink = Hook(server.url)
    home.workers().start([sink])
    home.publish(sink, range(20))
    until(lambda: home.accounts(sink).delivered == 20, "delivery")
    assert server.taken == dict.fromkeys(ids(range(20)), 1)


@pytest.mark.parametrize("threads", [True, False])
def test_flush_says_what_was_delivered_and_what_waits(home: Home, threads: bool) -> None:
    def refuse(events: Sequence[AnyEvent]) -> Delivery:
        raise Misconfigured("401; set a valid key")

    good, bad, poor = Scripted(), Scripted(refuse, project="bad"), Scripted(project="idle")
    workers = home.workers()
    workers.start([good, bad, poor], threads=threads)
    home.publish(good, range(1700))
    home.publish(bad, range(3000, 3007))
    home.journal.register(poor.identity(), poor.name)
    assert workers.flush(soon(1.5)) == {
        good.identity(): Flushed(1700, 0),
        bad.identity(): Flushed(0, 7),
        poor.identity(): Flushed(0, 0),
    }
    assert workers.flush(soon(0.1))[good.identity()] == Flushed(0, 0)


@pytest.mark.parametrize("threads", [True, False])
def test_flush_does_not_wait_for_what_is_appended_meanwhile(home: Home, threads: bool) -> None:
    more = itertools.count(1000)
    other = Journal.open(home.path)

    def steady(events: Sequence[AnyEvent]) -> Delivery:
        other.append([row(ended(next(more)), sink.identity()) for _ in events])
        return Delivery(accepted=[event.id for event in events])

    sink = Scripted(steady)
    workers = home.workers()
    home.publish(sink, range(10))
    workers.start([sink], threads=threads)
    seen = workers.flush(soon(20.0 if threads else 0.2))[sink.identity()]
    assert seen.waiting == 0
    assert seen.delivered >= (0 if threads else 10)
    assert next(more) > 1000, "nothing was appended while it waited"
    assert home.accounts(sink).waiting > 0


def test_flush_says_so_where_the_journal_cannot_be_read(home: Home) -> None:
    sink = Scripted()
    workers = home.workers()
    workers.start([sink], threads=False)

    def refuse() -> Journal:
        raise JournalError("another process keeps it locked")

    workers._open_journal = refuse
    assert workers.flush(soon()) == {sink.identity(): Flushed(0, 0, "another process keeps it locked")}


def test_flush_of_no_sinks_is_empty(home: Home) -> None:
    assert home.workers().flush(soon()) == {}


def test_a_sink_that_blocks_holds_up_neither_the_others_nor_the_exit(
    home: Home, blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    other = Scripted()
    workers = home.workers()
    workers.start([blocking, other])
    home.publish(blocking, range(5))
    until(blocking.entered.is_set, "the sink to block")
    home.publish(other, range(100, 400))
    until(lambda: home.accounts(other).delivered == 300, "the other sink's delivery")
    home.publish(other, range(500, 510))
    workers.stop(soon(0.5))
    assert home.accounts(other).delivered == 310
    assert home.accounts(other).lease_owner == ""
    assert home.accounts(blocking).waiting == 5
    assert "blocking is still sending" in caplog.text


def test_a_slow_export_is_named_once_and_keeps_its_lease_for_a_while(
    home: Home, blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FixedClock()
    workers = home.workers(clock=clock)
    workers._ended.set()  # The watch thread ends at once: this test looks after the workers itself.
    home.publish(blocking, range(5))
    workers.start([blocking])
    until(blocking.entered.is_set, "the sink to block")
    began_ns = clock.mono_ns()
    rival = Journal.open(home.path, clock=clock)
    with caplog.at_level(logging.INFO, "callmeter"):
        while clock.mono_ns() - began_ns < STUCK_NS:
            workers.step(clock.mono_ns())
            assert not rival.lease(blocking.identity(), "live/rival", 4.0)
            clock.advance(3)
    assert STUCK_NS > SLOW_NS
    assert [message for message in caplog.messages if "has been sending one batch" in message] == caplog.messages
    assert len(caplog.messages) == 1
    workers.step(clock.mono_ns())
    clock.advance(3)
    assert rival.lease(blocking.identity(), "live/rival", 4.0)
    blocking.gate.set()
    until(lambda: blocking.batches, "the export to return")
    workers.stop(soon())
    rival.close()
    assert home.accounts(blocking).waiting == 5


def test_a_worker_whose_thread_dies_starts_again_at_once_and_then_once_a_minute(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    deaths = []

    def export(events: Sequence[AnyEvent]) -> Delivery:
        if len(deaths) < 2:
            deaths.append(clock.mono_ns())
            raise SystemExit("gone")
        return Delivery(accepted=[event.id for event in events])

    clock = FixedClock()
    sink = Scripted(export)
    workers = home.workers(clock=clock)
    home.publish(sink, range(5))
    workers.start([sink])
    until(lambda: len(deaths) == 2, "the second death")
    assert deaths[0] == deaths[1]
    until(lambda: "starts again in 60 s" in caplog.text, "the message")
    assert "starts again in 0 s" in caplog.text
    assert home.accounts(sink).waiting == 5
    workers.stop(soon(5.0))
    assert home.accounts(sink).delivered == 5


def test_a_sink_that_would_end_the_process_does_not_on_the_way_out(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    def export(events: Sequence[AnyEvent]) -> Delivery:
        raise SystemExit("gone")

    deadly, other = Scripted(export), Scripted(project="other")
    workers = home.workers()
    workers.start([deadly, other], threads=False)
    home.publish(deadly, range(5))
    home.publish(other, range(10, 15))
    workers.stop(soon())
    assert "raised SystemExit: gone" in caplog.text
    assert home.accounts(deadly).waiting == 5
    assert home.accounts(other).delivered == 5


class Deadly(threading.Event):
    """Kills the thread that waits for it, as an exception from outside does between two turns."""

    def wait(self, timeout: float | None = None) -> bool:
        raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_killed_from_outside_is_replaced(home: Home) -> None:
    sink = Scripted()
    workers = home.workers()
    workers.start([sink])
    (seat,) = workers._seats.values()
    first, waited, seat.kicked = seat.thread, seat.kicked, Deadly()
    waited.set()
    until(lambda: not seat.driven, "the thread's death")
    seat.kicked = threading.Event()
    until(lambda: seat.driven, "another thread")
    assert seat.thread is not first
    home.publish(sink, range(3))
    until(lambda: home.accounts(sink).delivered == 3, "delivery")


def test_the_way_out_needs_no_threads(home: Home) -> None:
    sink = Scripted()
    workers = home.workers()
    workers.start([sink], threads=False)
    home.publish(sink, range(1200))
    workers.stop(soon())
    assert ours() == []
    assert home.accounts(sink).delivered == 1200
    assert home.accounts(sink).lease_owner == ""
    workers.start([sink])
    assert ours() == []


def test_a_forked_child_has_workers_of_its_own_and_leaves_the_parents_alone(home: Home, server: FaultServer) -> None:
    sink, childs = Hook(server.url), Hook(server.url, secret="child")
    workers = home.workers()
    workers.start([sink])
    home.publish(sink, range(10))
    until(lambda: home.accounts(sink).delivered == 10, "the parent's delivery")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal = Journal.open(home.path)
            journal.append([row(ended(n), childs.identity()) for n in range(100, 120)])
            clean = workers.flush(soon()) == {}
            workers.start([childs])
            done = workers.flush(soon())
            workers.stop(soon())
            # How many were delivered while it waited is left open: the thread may have been faster.
            code = 0 if clean and [*done] == [childs.identity()] and done[childs.identity()].waiting == 0 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert home.accounts(childs).delivered == 20
    home.publish(sink, range(200, 210))
    until(lambda: home.accounts(sink).delivered == 20, "the parent's delivery after the fork")
    assert server.taken == dict.fromkeys(ids([*range(10), *range(100, 120), *range(200, 210)]), 1)
