"""Calls of dead processes are closed once, by whoever comes first; calls of the living are left alone."""

from pathlib import Path

import msgspec
import pytest

from callmeter.events.journal import START, Journal, Row
from callmeter.events.model import AnyEvent, CallFailed
from callmeter.events.recovery import Liveness, derived_id, recover
from callmeter.testing.clocks import FixedClock
from tests.events.made import call_id, end, facts, started

A = "webhook:a"
_event = msgspec.json.Decoder(AnyEvent)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FixedClock) -> Journal:
    return Journal.open(tmp_path / "home", clock=clock)


def begin(number: int, owner: str, *sinks: str, ledger: bool = False) -> Row:
    event = started(number)
    return Row(event.id, call_id(number), START, number, msgspec.json.encode(event), ledger, (), owner, sinks)


def test_a_dead_processs_call_ends_as_process_died_where_its_end_was_wanted(
    journal: Journal, clock: FixedClock
) -> None:
    lock = Liveness(journal.home)
    journal.append([begin(1, lock.name, A, ledger=True), begin(2, lock.name), begin(3, lock.name, A), end(3, A)])
    lock.abandon()
    assert recover(journal, clock) == 2
    bodies = [queued.body for queued in journal.due(A, 10, 1 << 20)]
    (event,) = (_event.decode(body) for body in bodies if body != b"{}")
    assert isinstance(event, CallFailed)
    assert event.call == facts(1)
    assert event.id == derived_id(started(1).id)
    assert event.error is not None
    assert event.error.error_class == "process_died"
    assert (event.cost.status, event.cost.total, event.usage, event.usage_source) == ("no_usage", None, None, "none")
    assert len(journal.snapshot().hot) == 1
    assert journal.owners() == []
    assert not lock.path.exists()


def test_a_living_processs_calls_are_left_alone(journal: Journal, clock: FixedClock) -> None:
    lock = Liveness(journal.home)
    journal.append([begin(1, lock.name, A)])
    assert recover(journal, clock) == 0
    assert journal.owners() == [lock.name]
    lock.release()


def test_an_owner_without_a_lock_file_is_dead(journal: Journal, clock: FixedClock) -> None:
    journal.append([begin(1, "0" * 32, A), begin(2, "no/such/../name", A)])
    assert recover(journal, clock) == 2


def test_recovering_twice_or_at_once_gives_one_end(journal: Journal, clock: FixedClock) -> None:
    lock = Liveness(journal.home)
    journal.append([begin(1, lock.name, A)])
    calls = journal.open_calls([lock.name])
    lock.abandon()
    other = Journal.open(journal.home, clock=clock)
    assert recover(journal, clock) == 1
    assert recover(other, clock) == 0
    from callmeter.events.recovery import _ends

    assert other.close_calls(_ends(calls, clock)) == 0
    assert len(journal.due(A, 10, 1 << 20)) == 1


def test_a_damaged_start_is_counted_and_does_not_come_back(journal: Journal, clock: FixedClock) -> None:
    journal.append([Row("s", call_id(1), START, 1, b"not JSON", owner="0" * 32)])
    assert recover(journal, clock) == 0
    assert journal.owners() == []
    assert [(loss.reason, loss.count) for loss in journal.losses()] == [("corrupt", 1)]


def test_lock_files_of_the_dead_are_removed_and_those_of_the_living_kept(journal: Journal, clock: FixedClock) -> None:
    dead, living, own = (Liveness(journal.home) for _ in range(3))
    dead.abandon()
    recover(journal, clock, own.name)
    assert {path.name for path in (journal.home / "live").iterdir()} == {living.name, own.name}
    living.release()
    own.release()


def test_ids_of_ends_follow_from_starts_and_stay_in_order() -> None:
    assert derived_id("a" * 32) == derived_id("a" * 32) != derived_id("b" * 32)
    assert derived_id("a" * 32)[:16] == "a" * 16
    assert len(derived_id("a" * 32)) == 32
