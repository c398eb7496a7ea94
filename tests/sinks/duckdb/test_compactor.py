"""The compactor: rows move from the journal to Parquet, each once, whatever happens on the way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

import callmeter.sinks.duckdb.compactor  # noqa: F401  (declares its fault points)
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import LEDGER_LEASE, LedgerFile, Row
from callmeter.faultpoints import POINTS
from callmeter.sinks.duckdb.compactor import GRACE_NS, MAX_HOT_ROWS, Compactor
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.sinks.duckdb.merging import MAX_FILES, MAX_ROWS, to_merge
from tests.sinks.duckdb.conftest import FixedClock
from tests.sinks.duckdb.made import FEMTO, START_NS, call_with_content, plain_call, row

KILLED = 137


def calls_of(home: Path) -> tuple[int, int, Decimal]:
    """How many rows, how many different calls, and what they cost."""
    with Ledger(home) as ledger:
        assert ledger.problems == ()
        rows, ids, cost = ledger.execute("SELECT count(*), count(DISTINCT call_id), sum(cost) FROM calls").fetchone()
    return rows, ids, cost or Decimal()


def parquet_files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in (home / "ledger").rglob("*.parquet")}


def registered(journal: Journal) -> set[str]:
    return {file.path for file in journal.snapshot().files}


def test_rows_move_from_the_journal_to_one_file_a_day_and_are_still_counted_once(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    journal.append([row(plain_call(n, at_ns=START_NS + n * 43_200 * 10**9)) for n in range(6)])
    assert compactor.compact() == 6
    assert journal.snapshot().hot == []
    assert sorted(file.day for file in journal.snapshot().files) == ["2025-11-25", "2025-11-26", "2025-11-27"]
    assert calls_of(home) == (6, 6, 6 * 10**9 * FEMTO)


def test_files_are_for_their_owner_only(journal: Journal, home: Path, compactor: Compactor) -> None:
    journal.append([row(plain_call(1))])
    compactor.compact()
    (path,) = parquet_files(home)
    assert (home / path).stat().st_mode & 0o777 == 0o600
    assert (home / path).parent.stat().st_mode & 0o777 == 0o700


def test_nothing_happens_before_a_minute_or_ten_thousand_rows(
    journal: Journal, compactor: Compactor, clock: FixedClock
) -> None:
    young = plain_call(1, at_ns=clock.now_ns)
    journal.append([row(young)])
    compactor.step(clock.mono_ns())
    assert len(journal.snapshot().hot) == 1
    clock.forward(61)
    compactor.step(clock.mono_ns())
    assert journal.snapshot().hot == []
    journal.append([row(plain_call(n, at_ns=clock.now_ns)) for n in range(2, MAX_HOT_ROWS + 2)])
    compactor.step(clock.mono_ns())
    assert journal.snapshot().hot == []


def test_a_second_compactor_leaves_the_first_one_alone_and_takes_over_when_its_lease_lapses(
    journal: Journal, new_compactor: Callable[..., Compactor], clock: FixedClock
) -> None:
    journal.append([row(plain_call(1))])
    assert journal.lease(LEDGER_LEASE, "the dead one", 5.0)
    second = new_compactor("second")
    assert second.compact() == 0
    clock.forward(5.1)
    assert second.compact() == 1


def test_whoever_lost_the_lease_registers_nothing_and_its_file_is_swept(
    journal: Journal, home: Path, new_compactor: Callable[..., Compactor], clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    journal.append([row(plain_call(n)) for n in range(3)])
    slow, quick = new_compactor("slow"), new_compactor("quick")
    overtaken = []

    def overtake(name: str) -> None:
        if name == "ledger.rename.after" and not overtaken:
            overtaken.append(name)
            clock.forward(6)
            assert quick.compact() == 3
            assert len(parquet_files(home)) == 1

    monkeypatch.setattr("callmeter.faultpoints.handler", overtake)
    slow.step(clock.mono_ns())
    assert overtaken
    assert parquet_files(home) == registered(journal)
    assert calls_of(home) == (3, 3, 3 * 10**9 * FEMTO)


def test_small_files_of_a_day_become_one_and_the_old_ones_stay_for_a_while(
    journal: Journal, home: Path, compactor: Compactor, clock: FixedClock
) -> None:
    for n in range(MAX_FILES + 1):
        journal.append([row(plain_call(n))])
        compactor.compact()
    assert len(registered(journal)) == 1
    assert len(parquet_files(home)) == MAX_FILES + 2
    assert calls_of(home) == (MAX_FILES + 1, MAX_FILES + 1, (MAX_FILES + 1) * 10**9 * FEMTO)
    clock.now_ns += 2 * GRACE_NS
    compactor.compact()
    assert parquet_files(home) == registered(journal)


def test_a_damaged_file_is_not_merged_into_a_sound_one(journal: Journal, home: Path, compactor: Compactor) -> None:
    journal.append([row(plain_call(0))])
    compactor.compact()
    (damaged,) = registered(journal)
    data = bytearray((home / damaged).read_bytes())
    data[len(data) // 2] ^= 1
    (home / damaged).write_bytes(data)
    for n in range(1, MAX_FILES + 1):
        journal.append([row(plain_call(n))])
        compactor.compact()
    assert damaged in registered(journal)
    assert len(registered(journal)) == 2


def file(rows: int, day: str = "2025-11-25", kind: str = "calls") -> LedgerFile:
    return LedgerFile(f"{day}/{rows}", day, rows, 1, 2, rows * 100, kind)


def test_merging_leaves_few_large_and_foreign_files_alone() -> None:
    assert to_merge([file(10)] * MAX_FILES) == []
    assert to_merge([file(MAX_ROWS)] * 20) == []
    assert to_merge([file(1)] * 5 + [file(1, kind="adjustments")] * 5) == []
    assert to_merge([file(1)] * 5 + [file(1, day="2025-11-26")] * 5) == []


def test_a_merged_file_never_has_more_than_a_million_rows() -> None:
    (group,) = to_merge([file(300_000)] * 9)
    assert sum(f.rows for f in group) <= MAX_ROWS


def test_a_row_is_rewritten_seldom_however_many_files_a_day_gets() -> None:
    files: list[LedgerFile] = []
    written = 0
    for _ in range(1440):
        files.append(file(100))
        for group in to_merge(files):
            rows = sum(f.rows for f in group)
            written += rows
            files = [f for f in files if not any(f is g for g in group)] + [file(rows)]
    assert sum(f.rows for f in files) == 144_000
    assert len(files) <= 12
    assert written <= 8 * 144_000


def test_retention_drops_whole_days_and_no_others(
    journal: Journal, home: Path, new_compactor: Callable[..., Compactor], clock: FixedClock
) -> None:
    day_ns = 86_400 * 10**9
    journal.append([row(plain_call(n, at_ns=clock.now_ns - n * day_ns)) for n in range(5)])
    new_compactor(retention_days=2).compact()
    assert calls_of(home)[0] == 3
    clock.now_ns += 2 * GRACE_NS
    new_compactor(retention_days=2).compact()
    assert len(parquet_files(home)) == 3


@pytest.mark.parametrize(
    ("days", "content_days", "kept"), [(0, 2, (5, 3)), (3, 2, (4, 3)), (2, 4, (3, 3)), (2, 0, (3, 3))]
)
def test_prompts_and_answers_may_go_before_their_calls(
    journal: Journal, home: Path, new_compactor: Callable[..., Compactor], clock: FixedClock,
    days: int, content_days: int, kept: tuple[int, int],
) -> None:  # fmt: skip
    for n in range(5):
        call = call_with_content(n, "secret plans")
        at_ns = clock.now_ns - n * 86_400 * 10**9
        journal.append([row(replace(call, at_ns=at_ns, call=replace(call.call, at_ns=at_ns)))])
    new_compactor(retention_days=days, content_retention_days=content_days).compact()
    with Ledger(home) as ledger:
        found = ledger.execute("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM content)").fetchone()
    assert found == kept
    clock.now_ns += 2 * GRACE_NS
    new_compactor(retention_days=days, content_retention_days=content_days).compact()
    assert len([path for path in parquet_files(home) if "-content-" in path]) == kept[1]


def test_an_event_that_is_none_goes_to_quarantine_and_holds_up_nothing(
    journal: Journal, home: Path, compactor: Compactor
) -> None:
    journal.append([row(plain_call(1)), Row("x", "x", 2, START_NS, b'{"type":"call.succeeded","call":7', ledger=True)])
    assert compactor.compact() == 2
    assert calls_of(home) == (1, 1, 10**9 * FEMTO)
    assert [path.name for path in (home / "quarantine").glob("event-*")] == ["event-2.json"]


def test_a_disk_that_is_full_in_mid_file_loses_nothing_and_leaves_nothing(
    journal: Journal, home: Path, compactor: Compactor, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([row(plain_call(n)) for n in range(3)])
    full = []

    def fail(name: str) -> None:
        if name == "ledger.write.after" and not full:
            full.append(name)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("callmeter.faultpoints.handler", fail)
    compactor.step(clock.mono_ns())
    assert full
    assert list((home / "ledger").rglob("*.*")) == []
    assert calls_of(home) == (3, 3, 3 * 10**9 * FEMTO)
    compactor.step(clock.mono_ns())
    assert len(registered(journal)) == 1


KILLED_COMPACTOR = """
import os, sys
from pathlib import Path
import callmeter.faultpoints as faultpoints
from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import Compactor
home, wanted = Path(sys.argv[1]), sys.argv[2]
faultpoints.handler = lambda name: os._exit(137) if name == wanted else None
Compactor(lambda: Journal.open(home), home, owner="killed").compact()
"""

COMPACTING = sorted(
    name
    for name in POINTS
    if name.startswith(("ledger.", "journal.files.register", "journal.sweep")) and "restore" not in name
)


@pytest.mark.parametrize("point", COMPACTING)
def test_killed_at_any_step_it_loses_no_call_and_doubles_none(point: str, home: Path) -> None:
    expected = MAX_FILES + 6
    journal = Journal.open(home)
    first = Compactor(lambda: Journal.open(home), home, owner="first")
    for n in range(MAX_FILES):
        journal.append([row(plain_call(n))])
        first.compact()
    first.close()
    journal.append([row(plain_call(n)) for n in range(MAX_FILES, expected)])
    orphan = home / "ledger" / "day=2025-11-25" / ".old.unfinished"
    orphan.touch()
    os.utime(orphan, ns=(1, 1))
    command = [sys.executable, "-c", KILLED_COMPACTOR, str(home), point]
    assert subprocess.run(command, timeout=60, check=False).returncode == KILLED
    assert calls_of(home) == (expected, expected, expected * 10**9 * FEMTO)

    later = FixedClock()
    later.now_ns = max(p.stat().st_mtime_ns for p in (home / "ledger").rglob("*.*")) + 2 * GRACE_NS
    after = Compactor(lambda: Journal.open(home, clock=later), home, owner="after", clock=later)
    after.compact()
    assert calls_of(home) == (expected, expected, expected * 10**9 * FEMTO)
    assert parquet_files(home) <= registered(journal) | set(journal.retired())
    later.now_ns += 2 * GRACE_NS
    after.compact()
    after.close()
    assert {str(p.relative_to(home)) for p in (home / "ledger").rglob("*.*")} == registered(journal)
    assert journal.retired() == {}
    account = journal.accounts()[0]
    assert (account.accepted, account.delivered, account.waiting) == (expected, expected, 0)
    journal.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_forgets_files_it_deleted_the_next_one_goes_on(
    when: str, journal: Journal, home: Path, compactor: Compactor
) -> None:
    for n in range(MAX_FILES + 1):
        journal.append([row(plain_call(n))])
        compactor.compact()
    gone = set(journal.retired())
    assert len(gone) == MAX_FILES + 1
    command = [sys.executable, "-c", KILLED_COMPACTOR, str(home), f"journal.files.forget.{when}_commit"]
    assert subprocess.run(command, timeout=60, check=False).returncode == KILLED
    assert parquet_files(home) == registered(journal)
    assert set(journal.retired()) == (gone if when == "before" else set())
    # The clock of the one that goes on is later than the lease of the one that died.
    later = FixedClock()
    later.now_ns = time.time_ns() + 3600 * 10**9
    after = Compactor(lambda: Journal.open(home, clock=later), home, owner="after", clock=later)
    after.compact()
    after.close()
    assert journal.retired() == {}
    assert calls_of(home) == (MAX_FILES + 1, MAX_FILES + 1, (MAX_FILES + 1) * 10**9 * FEMTO)
