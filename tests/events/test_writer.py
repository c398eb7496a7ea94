"""The writer: groups, bounds, losses that are counted, and journals that fail for a while. `step` is called by hand."""

import logging
import os
import resource
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from callmeter.errors import JournalError
from callmeter.events.handoff import GROUP_EVENTS
from callmeter.events.intake import Want
from callmeter.events.journal import Journal, Row
from callmeter.events.model import AnyEvent, CallStarted, CallSucceeded, Content, EventsDropped
from callmeter.events.writer import GROUP_NS, Writer
from callmeter.settings import Settings
from callmeter.testing.clocks import FixedClock, FixedIds
from tests.events.made import call_id, end, started, succeeded

A, B = "webhook:a", "webhook:b"
_event = msgspec.json.Decoder(AnyEvent)


class Rig:
    """A writer that is stepped by hand, and the journal it writes to."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.clock = FixedClock()
        self.home, self.losses = home, []  # type: ignore[var-annotated]
        wants = (Want(A, (CallSucceeded,)), Want(B, (CallSucceeded, CallStarted, EventsDropped)))
        settings = Settings(**options.pop("settings", {}))
        options = {"sinks": lambda: wants, "ledger": True, "open_journal": self.open, **options}
        opener = options.pop("open_journal")
        self.writer = Writer(
            opener,
            clock=self.clock,
            ids=FixedIds(),
            settings=settings,
            on_loss=lambda *loss: self.losses.append(loss),
            **options,
        )

    def open(self) -> Journal:
        return Journal.open(self.home, clock=self.clock)

    def put(self, *events: AnyEvent, size: int = 500) -> None:
        for event in events:
            self.writer.handoff.put(event, size)

    def step(self, seconds: float = 0.0) -> float:
        """Let time pass and take a turn; seconds until the next."""
        self.clock.advance(seconds)
        return (self.writer.step(self.clock.mono_ns()) - self.clock.mono_ns()) / 1e9

    def stored(self, sink: str = A) -> list[str]:
        with_journal = self.open()
        ids = [queued.id for queued in with_journal.due(sink, 20_000, 1 << 30)]
        assert all(account.missing == 0 for account in with_journal.accounts())
        with_journal.close()
        return ids


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "home")
    yield rig
    rig.writer.stop(5)


def test_a_lone_event_is_committed_within_ten_milliseconds(rig: Rig) -> None:
    rig.step()
    rig.put(succeeded(1))
    assert rig.step() == GROUP_NS / 1e9
    assert rig.stored() == []
    rig.step(0.010)
    assert rig.stored() == [succeeded(1).id]


def test_a_full_group_does_not_wait(rig: Rig) -> None:
    rig.put(*(succeeded(n) for n in range(GROUP_EVENTS)))
    rig.step()
    assert len(rig.stored()) == GROUP_EVENTS


def test_the_first_event_after_a_group_was_cut_rouses_the_writer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, intake = rig.writer, rig.writer.intake
    rig.step()
    rig.put(succeeded(1))
    assert intake.gather() == (0, 1)
    gather = intake.gather

    def cut_before() -> tuple[int, int]:
        """The writer takes the group at the last moment; then comes an event."""
        writer._group = intake.cut()
        rig.put(succeeded(2))
        return gather()

    monkeypatch.setattr(intake, "gather", cut_before)
    monkeypatch.setattr(writer.handoff, "sleep", lambda *_: setattr(writer, "_stopped", True))
    writer._run_spool()
    assert writer._called.is_set()
    monkeypatch.undo()
    assert writer.stop(5)
    assert rig.stored() == [succeeded(1).id, succeeded(2).id]


def test_each_sink_gets_what_it_wants_and_the_ledger_the_ends(rig: Rig) -> None:
    rig.put(started(1), succeeded(1))
    assert rig.writer.commit(5)
    assert rig.stored(A) == [succeeded(1).id]
    assert rig.stored(B) == [started(1).id, succeeded(1).id]
    journal = rig.open()
    assert [_event.decode(body).id for _, body in journal.snapshot().hot] == [succeeded(1).id]


def test_commit_says_whether_everything_is_in_the_journal(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home", settings={"max_memory_bytes": 4096})
    rig.put(succeeded(1))
    assert rig.writer.commit(5)
    for number in range(2, 9):
        rig.put(succeeded(number))
    dropped = rig.writer.handoff.dropped
    assert dropped == 5
    assert rig.writer.commit(5)  # What is left is in the journal; those were lost before it was asked.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_thread_is_started_by_the_first_event_and_again_if_it_dies(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home")
    assert rig.writer._thread is None
    rig.writer.offer(succeeded(1), 500)
    assert rig.writer.commit(10)
    thread = rig.writer._thread
    assert thread is not None
    step, died = rig.writer.step, threading.Event()

    def die(now_ns: int) -> int:
        rig.writer.step = step  # type: ignore[method-assign]
        died.set()
        raise SystemExit("on purpose")

    rig.writer.step = die  # type: ignore[method-assign]
    rig.writer.offer(succeeded(2), 500)
    thread.join(10)
    assert died.is_set()
    assert not thread.is_alive()
    rig.writer.offer(succeeded(3), 500)
    assert rig.writer.commit(10)
    assert rig.stored() == [succeeded(n).id for n in (1, 2, 3)]
    rig.writer.stop(5)


def test_content_is_shed_before_anything_else_while_the_journal_is_blocked(tmp_path: Path) -> None:
    blocked = True

    def open_journal() -> Journal:
        if blocked:
            raise JournalError("the disk hangs")
        return rig.open()

    rig = Rig(tmp_path / "home", open_journal=open_journal)
    tracemalloc.start()
    try:
        for number in range(1000):
            rig.put(succeeded(number, Content(request_body=os.urandom(100_000))), size=100_500)
            rig.step(0.002)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert rig.writer.handoff.bytes <= 32 << 20
    assert held < 50 << 20
    blocked = False
    rig.step(60)
    assert rig.writer.commit(5)
    assert rig.stored() == [succeeded(n).id for n in range(1000)]
    (loss,) = rig.losses
    assert loss[:2] == ("", "content_shed")
    assert loss[2] > 600


def test_what_is_lost_in_memory_is_in_each_sinks_accounts_and_published(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home", settings={"max_memory_bytes": 10 * 2048})
    rig.put(*(succeeded(n) for n in range(30)))
    assert rig.writer.commit(5)
    assert len(rig.stored()) == 10
    journal = rig.open()
    accounts = {a.sink: (a.accepted, a.waiting, a.dropped) for a in journal.accounts()}
    assert accounts[A] == (30, 10, 20)
    assert accounts["duckdb"] == (30 + 3, 10 + 3, 20)
    reports = [e for _, body in journal.snapshot().hot if isinstance(e := _event.decode(body), EventsDropped)]
    assert {(report.sink, report.reason, report.count) for report in reports} == {
        (sink, "memory_full", 20) for sink in (A, B, "duckdb")
    }
    assert sorted(rig.losses) == sorted((sink, "memory_full", 20, 20 * 2048) for sink in (A, B, "duckdb"))


def test_a_transform_may_change_or_drop_an_event_and_what_it_breaks_is_not_stored(tmp_path: Path) -> None:
    def redact(event: AnyEvent) -> AnyEvent | None:
        if event.id == succeeded(2).id:
            return None
        if event.id == succeeded(3).id:
            raise ValueError("on purpose")
        return msgspec.structs.replace(event, at_ns=77)  # type: ignore[type-var]

    rig = Rig(tmp_path / "home", redact=redact)
    rig.put(*(started(n) for n in (1, 2, 3)), *(succeeded(n) for n in (1, 2, 3)))
    assert rig.writer.commit(5)
    assert rig.stored() == [succeeded(1).id]
    journal = rig.open()
    assert journal.owners() == []
    assert {loss.reason: loss.count for loss in journal.losses() if loss.sink == A} == {"transform": 2}
    assert b'"at_ns":77' in journal.due(A, 1, 9999)[0].body


def test_a_home_that_cannot_be_written_to_gives_one_warning_and_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    rig = Rig(home)
    for number in range(50):
        rig.put(started(number), succeeded(number))
        rig.step(1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(home) in caplog.text
    assert not rig.writer.commit(5)
    home.unlink()
    rig.step(60)
    assert rig.writer.commit(5)
    assert len(rig.stored()) == 50
    assert rig.losses == []


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let every write beyond this offset of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_refuses_any_one_write_costs_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="callmeter")  # A log file of the test's own could not grow either.
    rig.put(succeeded(0))
    assert rig.writer.commit(5)
    wal = rig.home / "journal.sqlite3-wal"
    refused = 0
    for number in range(1, 60):
        body = Content(messages="x")
        rig.put(started(number), *(succeeded(number * 100 + n, body) for n in range(5)))
        with file_size_limit(wal.stat().st_size + number * 700 - 4000):
            rig.step(20)
            rig.step(20)
            refused += bool(rig.writer.failing)
        rig.step(20)
        assert rig.writer.commit(5)
    assert 10 < refused < 60
    expected = [succeeded(0).id] + [succeeded(number * 100 + n).id for number in range(1, 60) for n in range(5)]
    assert rig.stored() == expected
    assert rig.losses == []


def test_a_full_disk_gives_one_warning_loses_nothing_and_recovers(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(small_disk / "home", settings={"min_free_disk": 0.0})
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    number = 0
    while not rig.writer.failing:
        number += 1
        assert number < 5000, "the disk was never full"
        rig.put(succeeded(number))
        rig.step(1)
    for _ in range(20):
        number += 1
        rig.put(succeeded(number))
        rig.step(1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "full" in caplog.text
    ballast.unlink()
    rig.step(60)
    assert rig.writer.commit(5)
    assert len(rig.stored()) == number
    assert rig.losses == []
    rig.writer.stop(5)


def test_a_journal_at_its_bound_sheds_content_and_then_the_oldest_events(tmp_path: Path) -> None:
    settings = {"max_journal_bytes": 1_000_000, "capture_content": True, "min_free_disk": 0.0}
    rig = Rig(tmp_path / "home", settings=settings)
    big = Content(messages="x" * 20_000)
    for number in range(100):
        rig.put(succeeded(number, big))
        rig.step(2)
        rig.step(2)
    journal = rig.open()
    assert journal.size()[0] <= 1_100_000
    assert {loss.reason for loss in journal.losses()} == {"content_shed"}
    assert len(rig.stored()) == 100
    for number in range(100, 2500, 50):
        rig.put(*(succeeded(number + n) for n in range(50)))
        rig.step(2)
        rig.step(2)
    assert journal.size()[0] <= 1_100_000
    reasons = {(loss.sink, loss.reason) for loss in journal.losses()}
    assert {(A, "journal_full"), (B, "journal_full")} <= reasons
    assert all(account.missing == 0 for account in journal.accounts())


def test_an_event_sqlite_cannot_take_costs_nobody_else(rig: Rig) -> None:
    poison = msgspec.structs.replace(succeeded(2), id="\ud800")
    late = msgspec.structs.replace(succeeded(3), at_ns=1 << 70)
    rig.put(succeeded(1), poison, late, succeeded(4))
    assert rig.writer.commit(5)
    assert rig.stored() == [succeeded(1).id, succeeded(4).id]
    assert {loss[:3] for loss in rig.losses} == {(sink, "unstorable", 2) for sink in (A, B, "duckdb")}


def test_a_transform_that_drops_everything_hides_no_loss(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home", redact=lambda event: None)
    rig.put(*(succeeded(n) for n in range(10)))
    assert rig.writer.commit(5)
    reports = [_event.decode(body) for _, body in rig.open().snapshot().hot]
    assert {(r.sink, r.reason, r.count) for r in reports} == {(s, "transform", 10) for s in (A, B, "duckdb")}


def test_what_the_writer_did_not_expect_does_not_end_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.step()
    rig.put(succeeded(1))
    append, rig.writer._append = rig.writer._append, None  # type: ignore[assignment, method-assign]
    rig.step(1)
    rig.step(1)
    rig.writer._append = append  # type: ignore[method-assign]
    rig.step(60)
    assert "did not expect" in caplog.text
    assert rig.stored() == [succeeded(1).id]


def test_a_sink_at_its_own_bound_loses_its_oldest_and_no_other_sink_does(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home", settings={"max_sink_bytes": 100_000, "max_dead_bytes": 100_000, "min_free_disk": 0.0})
    rig.step()
    journal = rig.open()
    journal.append([end(n, "webhook:away", body=b"x" * 1000) for n in range(900)])
    rig.put(succeeded(5000))
    rig.step(61)
    rig.step(1)
    waiting = {account.sink: (account.waiting, account.dropped) for account in journal.accounts()}
    assert waiting["webhook:away"] == (100, 800)
    assert waiting[A] == (1, 0)
    assert all(account.missing == 0 for account in journal.accounts())


def test_a_disk_that_is_always_nearly_full_still_gets_its_accounts(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home", settings={"min_free_disk": 0.999})
    for number in range(200):
        rig.put(succeeded(number))
        rig.step(1)
    assert rig.writer.commit(5)
    assert len(rig.stored()) == 200
    assert rig.losses == []


def test_many_threads_hand_over_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "home")

    def publish(first: int) -> None:
        for number in range(first, first + 500):
            rig.writer.offer(succeeded(number), 500)

    threads = [threading.Thread(target=publish, args=(n * 500,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.writer.commit(30)
    assert sorted(rig.stored()) == [succeeded(n).id for n in range(4000)]
    assert rig.writer.stop(10)


def test_stopping_with_a_journal_that_fails_says_so_and_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    rig = Rig(tmp_path / "home")
    rig.writer.offer(succeeded(1), 500)
    assert not rig.writer.stop(5)


def test_calls_of_dead_processes_are_closed_when_the_journal_opens(rig: Rig) -> None:
    journal = rig.open()
    start = started(1)
    journal.append([Row(start.id, call_id(1), 0, 1, msgspec.json.encode(start), True, (), "0" * 32, (A,))])
    rig.step()
    assert len(rig.stored()) == 1
    journal.append([end(2, A)])
    assert journal.owners() == []


def test_what_happens_after_stop_is_written_at_once(rig: Rig) -> None:
    rig.writer.offer(succeeded(1), 500)
    assert rig.writer.stop(5)
    rig.writer.offer(succeeded(2), 500)
    assert rig.stored() == [succeeded(1).id, succeeded(2).id]
