"""The plug-in zoo: whatever a third party's sink does, its events are kept and nothing else notices (faults 14, 37)."""

import logging
from collections.abc import Sequence

import msgspec
import pytest

from callmeter.context import made_by
from callmeter.errors import APIConnectionError, JournalError, MissingExtraError
from callmeter.events.journal import Journal, Row
from callmeter.events.journal_schema import END
from callmeter.events.model import AnyEvent
from callmeter.sinks.base import Batch, Delivery, RetryLater
from callmeter.sinks.worker import Worker
from callmeter.testing.host import Host, ids
from callmeter.wire import WireReply, WireRequest
from tests.sinks.rig import OneEach, Scripted

MINUTE = 60.0


def taken(events: Sequence[AnyEvent]) -> Delivery:
    return Delivery(accepted=[event.id for event in events])


class Fails:
    """Does as told the first times, then takes everything."""

    def __init__(self, *first: object) -> None:
        self.first = list(first)
        self.count = len(first)

    def __call__(self, events: Sequence[AnyEvent]) -> object:
        if not self.first:
            return taken(events)
        outcome = self.first.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.mark.parametrize(
    "outcome",
    [
        ValueError("odd"),
        RecursionError("deep"),
        MemoryError(),
        StopIteration(),
        TimeoutError("slow"),
        APIConnectionError("its own call failed"),
        None,
        True,
        "ok",
        {"accepted": ids(range(10))},
        [ids([1])],
    ],
    ids=repr,
)
def test_what_a_sink_should_not_do_is_a_retry_that_names_it(host: Host, outcome: object) -> None:
    sink = Scripted(Fails(outcome))
    worker = host.worker(sink)
    host.publish(sink, range(10))
    host.turn(worker)
    accounts = host.accounts(sink)
    assert (accounts.waiting, accounts.dead) == (10, 0)
    assert "scripted" in accounts.last_error
    assert sink.batches == [ids(range(10))]
    host.run(worker, 2 * MINUTE)
    assert host.accounts(sink).delivered == 10


def test_an_answer_about_events_it_was_never_given_changes_nothing(host: Host) -> None:
    sink = Scripted(Fails(Delivery(accepted=ids([77]), refused={"nobody": "x"}, retry={"nothing": 3.0})))
    worker = host.worker(sink)
    host.publish(sink, range(3))
    host.turn(worker)
    assert host.accounts(sink).waiting == 3
    host.run(worker, MINUTE)
    assert host.accounts(sink).delivered == 3


def test_each_event_goes_where_the_answer_sends_it(host: Host) -> None:
    said = Delivery(accepted=ids([0]), retry={ids([1])[0]: 600.0}, refused={ids([2])[0]: "no such project"})
    sink = Scripted(Fails(said))
    worker = host.worker(sink)
    host.publish(sink, range(4))
    host.run(worker, 500)
    accounts = host.accounts(sink)
    assert (accounts.delivered, accounts.waiting, accounts.dead) == (2, 1, 1)
    assert host.dead(sink) == {ids([2])[0]: "refused: no such project"}
    assert sink.batches[1:] == [ids([3])]
    host.run(worker, 200)
    assert host.accounts(sink).delivered == 3


@pytest.mark.parametrize("wait_s", [float("nan"), float("inf"), -1.0, 1e300])
def test_absurd_waits_are_tamed(host: Host, wait_s: float) -> None:
    sink = Scripted(Fails(RetryLater("busy", wait_s), Delivery(retry=dict.fromkeys(ids(range(3)), wait_s))))
    worker = host.worker(sink)
    host.publish(sink, range(3))
    host.run(worker, 40 * MINUTE)
    assert len(sink.batches) == 3
    assert host.accounts(sink).delivered == 3


def test_an_event_that_breaks_the_sink_ends_up_alone_and_the_others_get_through(host: Host) -> None:
    def export(events: Sequence[AnyEvent]) -> Delivery:
        if any(int(event.id, 16) == 137 for event in events):
            raise KeyError("unexpected field")
        return taken(events)

    sink = Scripted(export)
    worker = host.worker(sink)
    host.publish(sink, range(300))
    host.run(worker, 10 * MINUTE)
    assert host.accounts(sink).delivered == 299
    assert host.accounts(sink).waiting == 1
    assert sink.batches[-1] == ids([137])


def test_a_sink_cannot_change_an_event(host: Host) -> None:
    def export(events: Sequence[AnyEvent]) -> Delivery:
        events[0].id = "mine"  # type: ignore[misc]
        return taken(events)

    mutating, second = Scripted(export), Scripted(project="second")
    host.publish(mutating, [1])
    row_ids = host.journal.due(mutating.identity(), 10, 1 << 20)
    host.turn(host.worker(mutating))
    assert "AttributeError" in host.accounts(mutating).last_error
    assert host.journal.due(second.identity(), 10, 1 << 20) == []
    assert msgspec.json.decode(row_ids[0].body)["id"] == ids([1])[0]


def test_opening_is_done_once_on_the_workers_thread_and_retried_until_it_works(host: Host) -> None:
    opened = []

    class Slow(Scripted):
        def open(self) -> None:
            opened.append(made_by.get())
            if len(opened) < 3:
                raise ConnectionError("not yet")

    sink = Slow()
    worker = host.worker(sink)
    host.publish(sink, range(3))
    host.run(worker, MINUTE)
    host.publish(sink, range(3, 6))
    host.run(worker, MINUTE)
    assert opened == [sink.identity()] * 3
    assert host.accounts(sink).delivered == 6


def test_a_sink_whose_package_is_missing_is_parked_and_says_which(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    class Needy(Scripted):
        def open(self) -> None:
            raise MissingExtraError("install callmeter[mlflow]")

    sink = Needy()
    worker = host.worker(sink)
    host.publish(sink, range(3))
    with caplog.at_level(logging.INFO, "callmeter"):
        host.run(worker, 10 * MINUTE)
    assert len(caplog.messages) == 1
    assert "install callmeter[mlflow]" in caplog.messages[0]
    assert host.accounts(sink).state == "parked"
    assert host.accounts(sink).waiting == 3


def test_a_paused_sink_keeps_its_events_until_it_is_resumed(host: Host) -> None:
    sink = Scripted()
    worker = host.worker(sink)
    host.publish(sink, [1, 2])
    host.journal.set_state(sink.identity(), "paused")
    host.run(worker, MINUTE)
    assert (host.accounts(sink).waiting, host.accounts(sink).state) == (2, "paused")
    host.journal.set_state(sink.identity(), "ok")
    host.run(worker, 5)
    assert host.accounts(sink).delivered == 2


def test_calls_made_by_a_sink_can_see_that_they_are(host: Host) -> None:
    seen = []

    def export(events: Sequence[AnyEvent]) -> Delivery:
        seen.append(made_by.get())
        return taken(events)

    sink = Scripted(export)
    host.publish(sink, [1])
    host.turn(host.worker(sink))
    assert seen == [sink.identity()]
    assert made_by.get() == ""


def test_an_event_that_kills_the_thread_three_times_is_a_dead_letter(host: Host) -> None:
    def export(events: Sequence[AnyEvent]) -> Delivery:
        if any(int(event.id, 16) == 5 for event in events):
            raise SystemExit("gone")
        return taken(events)

    sink = Scripted(export)
    worker = host.worker(sink)
    host.publish(sink, range(10))
    deaths = 0
    for _ in range(30):
        try:
            host.turn(worker)
        except SystemExit:
            deaths += 1
        host.clock.advance(1)
    assert deaths == 3
    assert host.dead(sink) == {ids([5])[0]: "crashed: SystemExit: gone"}
    assert host.accounts(sink).delivered == 9


def test_ctrl_c_in_the_middle_of_a_send_is_nobodys_fault(host: Host) -> None:
    sink = Scripted(Fails(*(KeyboardInterrupt() for _ in range(5))))
    worker = host.worker(sink)
    host.publish(sink, range(3))
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            host.turn(worker)
    host.turn(worker)
    accounts = host.accounts(sink)
    assert (accounts.delivered, accounts.dead) == (3, 0)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"type":"unheard.of","id":"x"}', b'{"type":"call.succeeded"}', b"[" * 9999]
)
def test_what_is_no_event_is_a_dead_letter_and_holds_nothing_up(host: Host, body: bytes) -> None:
    sink = Scripted()
    worker = host.worker(sink)
    bad = Row(id="f" * 32, call_id="bad", kind=END, at_ns=1, body=body, ledger=False, sinks=(sink.identity(),))
    assert host.journal.append([bad]) == 1
    host.publish(sink, [1])
    host.turn(worker)
    assert sink.batches == [ids([1])]
    assert host.dead(sink)["f" * 32].startswith("corrupt: ")


def test_a_lease_lost_over_damaged_rows_is_no_trouble_of_the_journals(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Scripted()
    worker = host.worker(sink)
    host.turn(worker)
    host.clock.advance(5)
    assert host.journal.lease(sink.identity(), "live/rival", 4.0)
    worker._renew_at_ns = host.clock.mono_ns() + 1  # Paused between the check of the lease and the reading.
    bad = Row(id="f" * 32, call_id="bad", kind=END, at_ns=1, body=b"{", ledger=False, sinks=(sink.identity(),))
    host.journal.append([bad])
    host.turn(worker)
    assert caplog.messages == []
    assert host.accounts(sink).waiting == 1


def test_two_accounts_on_one_host_never_deliver_each_others_events(host: Host) -> None:
    mine, yours = Scripted(project="mine"), Scripted(project="yours")
    host.publish(mine, range(10))
    host.publish(yours, range(100, 110))
    host.publish(mine, range(10, 20))
    first, second = host.worker(mine, "live/a"), host.worker(yours, "live/b")
    host.run(first, 10)
    host.run(second, 10)
    assert [i for batch in mine.batches for i in batch] == ids(range(20))
    assert [i for batch in yours.batches for i in batch] == ids(range(100, 110))


def test_events_of_a_trickle_are_sent_together_and_a_full_batch_at_once(host: Host) -> None:
    class Slowish(Scripted):
        batch = Batch(max_events=10, max_wait_s=2.0)

    sink = Slowish()
    worker = host.worker(sink)
    wake_s = host.turn(worker)
    for number in range(60):
        host.publish(sink, [number] if number < 20 else range(100, 125) if number == 20 else [])
        host.clock.advance(0.2)
        wake_s -= 0.2
        if wake_s <= 0:
            wake_s = host.turn(worker)
    sizes = [len(batch) for batch in sink.batches]
    assert sizes[:1] == [10]
    assert max(sizes) == 10
    assert sum(sizes) == 45
    assert len(sizes) <= 7


def test_an_outbox_that_cannot_be_used_is_said_once_and_tried_again(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [JournalError("the home is away; mount it")] * 4

    def open_journal() -> Journal:
        if failures:
            raise failures.pop()
        return host.open()

    sink = Scripted()
    worker = Worker(sink, open_journal, owner="live/one", sender=host.sender, clock=host.clock)
    host.workers.append(worker)
    host.publish(sink, range(3))
    with caplog.at_level(logging.INFO, "callmeter"):
        host.run(worker, MINUTE)
    assert not failures
    assert len(caplog.messages) == 1
    assert "the home is away; mount it" in caplog.messages[0]
    assert host.accounts(sink).delivered == 3


def test_an_outbox_that_opens_but_fails_is_said_once_too(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    opened = []

    class Failing:
        """A connection whose every use fails, as on a disk that went away."""

        def __init__(self, journal: Journal) -> None:
            self.close = journal.close

        def register(self, *_: str) -> None:
            opened.append(1)

        def lease(self, *_: object) -> bool:
            raise JournalError("disk I/O error; check the disk")

    sink = Scripted()
    failing = lambda: Failing(host.open()) if len(opened) < 5 else host.open()  # noqa: E731
    worker = Worker(sink, failing, owner="live/one", sender=host.sender, clock=host.clock)  # type: ignore[arg-type]
    host.workers.append(worker)
    host.publish(sink, range(3))
    host.run(worker, MINUTE)
    assert len(opened) == 5
    assert len(caplog.messages) == 1
    assert host.accounts(sink).delivered == 3


def test_on_the_way_out_everything_due_is_delivered_without_waiting(host: Host) -> None:
    sink = Scripted()
    worker = host.worker(sink)
    host.publish(sink, range(1700))
    worker.finish(host.clock.mono_ns() + 2 * 10**9)
    worker.close()
    worker.close()
    assert host.accounts(sink).delivered == 1700
    assert host.accounts(sink).lease_owner == ""


def test_on_the_way_out_a_destination_that_is_away_is_tried_once(host: Host) -> None:
    sink = Scripted(Fails(*[RetryLater("down")] * 100))
    worker = host.worker(sink)
    host.publish(sink, range(1700))
    worker.finish(host.clock.mono_ns() + 2 * 10**9)
    assert len(sink.batches) == 1
    assert host.accounts(sink).waiting == 1700


def test_a_sink_whose_close_raises_still_gives_its_lease_back(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    class Sticky(Scripted):
        def close(self) -> None:
            raise OSError("stuck")

    sink = Sticky()
    worker = host.worker(sink)
    host.publish(sink, [1])
    host.turn(worker)
    worker.close()
    assert "close() raised OSError: stuck" in caplog.text
    assert host.accounts(sink).lease_owner == ""


def test_a_lost_lease_leaves_the_events_to_whoever_took_it(host: Host) -> None:
    """Paused in the middle of a send for longer than the lease, as by SIGSTOP or a laptop's lid (fault 13)."""
    second = Scripted()

    def export(events: Sequence[AnyEvent]) -> Delivery:
        host.clock.advance(60)
        host.turn(taker)
        return taken(events)

    first = Scripted(export)
    assert first.identity() == second.identity()
    holder, taker = host.worker(first, "live/a"), host.worker(second, "live/b")
    host.publish(first, range(10))
    host.turn(holder)
    assert first.batches == second.batches == [ids(range(10))]
    accounts = host.accounts(first)
    assert (accounts.delivered, accounts.lease_owner) == (10, "live/b")
    host.publish(first, range(10, 20))
    host.turn(holder)
    assert len(first.batches) == 1
    host.run(taker, 10)
    assert host.accounts(first).delivered == 20


def test_a_lease_lost_between_two_requests_of_a_batch_stops_the_second(host: Host) -> None:
    class Pausing:
        """The process is paused while the first answer is on its way."""

        def send(self, request: WireRequest) -> WireReply:
            sent.append(request)
            host.clock.advance(60)
            assert rival.lease(sink.identity(), "live/rival", 4.0)
            return WireReply(status=200)

    sent: list[WireRequest] = []
    sink, rival = OneEach("https://example.com/"), host.journal
    host.sender = Pausing()
    worker = host.worker(sink)
    host.publish(sink, range(3))
    host.turn(worker)
    assert len(sent) == 1
    assert host.accounts(sink).waiting == 3


def test_only_the_holder_of_the_lease_delivers_and_a_lapsed_lease_is_taken_over(host: Host) -> None:
    sinks = [Scripted() for _ in range(3)]
    workers = [host.worker(sink, f"live/{n}") for n, sink in enumerate(sinks)]
    for second in range(0, 40, 1):
        host.publish(sinks[0], range(second * 10, second * 10 + 10))
        for worker in workers:
            host.turn(worker)
        host.clock.advance(1)
    assert [len(sink.batches) for sink in sinks] == [40, 0, 0]
    host.publish(sinks[0], range(1000, 1010))
    lapsed_s = 0
    while not (sinks[1].batches or sinks[2].batches):
        for worker in workers[1:]:
            host.turn(worker)
        host.clock.advance(1)
        lapsed_s += 1
        assert lapsed_s <= 5
    assert host.accounts(sinks[0]).delivered == 410
