"""Files that no journal knows come back into the ledger, each row once, whatever became of the journal."""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import callmeter.sinks.duckdb.compactor  # noqa: F401  (declares its fault points)
from callmeter.events.journal import Journal
from callmeter.events.model import EventsDropped
from callmeter.faultpoints import POINTS
from callmeter.sinks.duckdb.compactor import GRACE_NS, Compactor
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.sinks.duckdb.merging import MAX_FILES
from tests.sinks.duckdb.conftest import FixedClock
from tests.sinks.duckdb.made import FEMTO, START_NS, adjusted, call_with_content, plain_call, row
from tests.sinks.duckdb.test_compactor import KILLED, KILLED_COMPACTOR, calls_of, parquet_files, registered


def cost_of(calls: int) -> tuple[int, int, Decimal]:
    return calls, calls, calls * 10**9 * FEMTO


def compacted(home: Path, *groups: Sequence[int]) -> None:
    """A ledger of these calls, each group compacted by itself."""
    journal = Journal.open(home)
    compactor = Compactor(lambda: Journal.open(home), home, owner="first")
    for group in groups:
        journal.append([row(plain_call(n)) for n in group])
        compactor.compact()
    compactor.close()
    journal.close()


def lose_journal(home: Path) -> None:
    for path in home.glob("journal.sqlite3*"):
        path.unlink()


def test_without_its_journal_the_history_is_there(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    compacted(home, range(3), range(3, 7))
    lose_journal(home)
    with caplog.at_level(logging.WARNING):
        assert calls_of(home) == cost_of(7)
    assert [record.message for record in caplog.records] == [
        f"ledger: 2 files in {home}/ledger were in no list, and are part of the ledger again with 7 rows"
    ]
    caplog.clear()
    assert calls_of(home) == cost_of(7)
    assert caplog.records == []


def test_a_process_that_goes_on_with_a_new_journal_keeps_the_history(home: Path, clock: FixedClock) -> None:
    compacted(home, range(3))
    lose_journal(home)
    journal = Journal.open(home, clock=clock)
    journal.append([row(plain_call(n)) for n in range(3, 5)])
    compactor = Compactor(lambda: Journal.open(home, clock=clock), home, owner="fresh", clock=clock)
    compactor.step(clock.mono_ns())
    compactor.close()
    assert parquet_files(home) == registered(journal)
    assert calls_of(home) == cost_of(5)
    account = journal.accounts()[0]
    assert (account.accepted, account.delivered, account.missing) == (2, 2, 0)
    journal.close()


def test_files_merged_into_others_come_back_once(home: Path) -> None:
    compacted(home, *([n] for n in range(MAX_FILES + 1)))
    assert len(parquet_files(home)) == MAX_FILES + 2
    lose_journal(home)
    assert calls_of(home) == cost_of(MAX_FILES + 1)
    assert len(parquet_files(home)) == 1
    assert len(list((home / "quarantine").glob("*.parquet"))) == MAX_FILES + 1


def test_a_list_of_files_that_was_cleared_is_made_again(journal: Journal, home: Path, compactor: Compactor) -> None:
    for n in range(MAX_FILES + 3):
        journal.append([row(plain_call(n))])
        compactor.compact()
    before = registered(journal)
    journal._db.execute("DELETE FROM files")
    assert calls_of(home) == cost_of(MAX_FILES + 3)
    assert registered(journal) == before
    journal._db.execute("UPDATE files SET crc = crc + 1")
    compactor.compact()
    assert calls_of(home) == cost_of(MAX_FILES + 3)


def test_rows_that_are_in_the_new_journal_too_are_there_once(home: Path, compactor: Compactor) -> None:
    compacted(home, range(5))
    lose_journal(home)
    journal = Journal.open(home)
    journal.append([row(plain_call(n)) for n in range(3, 8)])
    assert calls_of(home) == cost_of(8)
    compactor.compact()
    assert calls_of(home) == cost_of(8)
    assert parquet_files(home) == registered(journal)
    journal.close()


def test_every_table_comes_back(journal: Journal, home: Path, compactor: Compactor) -> None:
    call = call_with_content(1, "hello")
    lost = EventsDropped(id="d" * 32, at_ns=START_NS, sink="s", reason="r", count=3)
    events = [call, adjusted(1, call, Decimal(2)), adjusted(2, call, Decimal(3)), lost]
    journal.append([row(event) for event in events])
    compactor.compact()
    tables = ("calls", "attempts", "cost_items", "adjustments", "events_dropped", "content")

    def found() -> list[object]:
        with Ledger(home) as ledger:
            return [ledger.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables]

    before = found()
    assert all(before)
    compactor.close()
    journal.close()
    lose_journal(home)
    assert found() == before


def test_a_damaged_one_goes_to_quarantine_and_the_rest_comes_back(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    compacted(home, range(3), range(3, 7))
    lose_journal(home)
    (damaged,) = (path for path in (home / "ledger").rglob("1-3-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert calls_of(home) == (4, 4, 4 * 10**9 * FEMTO)
    assert (home / "quarantine" / damaged.name).exists()
    assert sum(damaged.name in record.message for record in caplog.records) == 1


def test_what_retention_dropped_stays_away(
    journal: Journal, home: Path, new_compactor: Callable[..., Compactor], clock: FixedClock
) -> None:
    journal.append([row(plain_call(n, at_ns=clock.now_ns - n * 86_400 * 10**9)) for n in range(5)])
    new_compactor(retention_days=2).compact()
    assert calls_of(home)[0] == 3
    new_compactor("another").compact()
    assert calls_of(home)[0] == 3
    clock.now_ns += 2 * GRACE_NS
    new_compactor("third", retention_days=2).compact()
    assert len(parquet_files(home)) == 3
    assert journal.retired() == {}


def test_while_another_process_is_at_it_the_reader_says_so_and_then_has_them(home: Path) -> None:
    compacted(home, range(3))
    lose_journal(home)
    journal = Journal.open(home)
    assert journal.lease("ledger", "busy", 60)
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        (problem,) = ledger.problems
        assert "another process is at it" in problem
        journal.release("ledger", "busy")
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (3,)
        assert ledger.problems == ()
    journal.close()


RESTORING = sorted(name for name in POINTS if name.startswith(("ledger.", "journal.files.register")))


@pytest.mark.parametrize("point", [name for name in RESTORING if name != "ledger.delete.before"])
def test_killed_at_any_step_it_is_done_by_the_next_one(point: str, home: Path) -> None:
    compacted(home, range(3), range(3, 6))
    lose_journal(home)
    journal = Journal.open(home)
    journal.append([row(plain_call(n)) for n in range(5, 8)])
    command = [sys.executable, "-c", KILLED_COMPACTOR, str(home), point]
    killed = subprocess.run(command, timeout=60, check=False).returncode
    assert killed == (0 if point.startswith("ledger.delete") else KILLED)
    journal.lease("ledger", "killed", 0)
    journal.release("ledger", "killed")
    assert calls_of(home) == cost_of(8)
    assert calls_of(home) == cost_of(8)
    journal.close()


@given(
    groups=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True), min_size=1, max_size=5),
    again=st.lists(st.integers(0, 30), max_size=8, unique=True),
    gone=st.sampled_from(("journal", "files", "nothing")),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_call_is_there_once_whatever_is_lost(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]], again: list[int], gone: str
) -> None:
    home = tmp_path_factory.mktemp("any") / "home"
    compacted(home, *groups)
    if gone == "journal":
        lose_journal(home)
    journal = Journal.open(home)
    if gone == "files":
        journal._db.execute("DELETE FROM files")
    journal.append([row(plain_call(n)) for n in again])
    journal.close()
    assert calls_of(home) == cost_of(len({n for group in groups for n in group} | set(again)))
