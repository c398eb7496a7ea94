"""Memory while much waits: rows with captured content are held a part at a time, by compactor and reader alike."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from callmeter.events.journal import Journal
from callmeter.events.journal_schema import LedgerFile
from callmeter.sinks.duckdb import compactor as compacting
from callmeter.sinks.duckdb import connect as connecting
from callmeter.sinks.duckdb import lines, parquet
from callmeter.sinks.duckdb.compactor import Compactor, LeaseLost
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.sinks.duckdb.export import export
from callmeter.sinks.duckdb.lines import Lines, Rows
from callmeter.sinks.duckdb.merging import MAX_CONTENT_ROWS, MAX_FILES, to_merge
from callmeter.sinks.duckdb.parquet import digest_of
from callmeter.sinks.duckdb.staging import stage
from tests.sinks.duckdb.conftest import FixedClock
from tests.sinks.duckdb.made import FEMTO, call_with_content, plain_call, row

CALLS, TEXT = 60, "x" * 10_000
LIMIT = 100_000
"""So a part is ten of these rows, or eleven."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows and bytes of each part that was held in memory, with a limit that is small enough for a test."""
    parts: list[tuple[int, int]] = []

    def counting(connection: Any, events: Sequence[tuple[int, bytes]], scratch: Path) -> None:
        parts.append((len(events), sum(len(body) for _, body in events)))
        stage(connection, events, scratch)

    def adding(self: Lines, rows: Rows) -> None:
        parts.append((len(rows), sum(len(body) for _, body in rows)))
        add(self, rows)

    add = Lines.add
    monkeypatch.setattr(compacting, "PAGE_BYTES", LIMIT)
    monkeypatch.setattr(lines, "MAX_BYTES", LIMIT)
    monkeypatch.setattr(connecting, "PART_BYTES", LIMIT)
    monkeypatch.setattr(connecting, "stage", counting)
    monkeypatch.setattr(Lines, "add", adding)
    return parts


@pytest.fixture
def waiting(journal: Journal) -> Journal:
    journal.append([row(call_with_content(n, TEXT)) for n in range(CALLS)])
    return journal


def test_a_snapshot_ends_where_its_limit_is_and_goes_on_from_there(waiting: Journal) -> None:
    first = waiting.snapshot(limit_rows=25)
    assert (len(first.hot), first.more, first.read_seq, first.last_seq) == (25, True, 25, CALLS)
    second = waiting.snapshot(first.read_seq, limit_bytes=LIMIT)
    assert second.more
    assert LIMIT <= sum(len(body) for _, body in second.hot) < LIMIT + 2 * len(TEXT)
    rest = waiting.snapshot(second.read_seq, limit_rows=CALLS, limit_bytes=CALLS * LIMIT)
    assert not rest.more
    assert first.hot + second.hot + rest.hot == waiting.snapshot().hot


def test_a_row_larger_than_the_limit_comes_alone(waiting: Journal) -> None:
    assert len(waiting.snapshot(limit_bytes=1).hot) == 1


def test_a_damaged_row_does_not_hide_those_after_it(waiting: Journal) -> None:
    waiting._db.execute("UPDATE events SET body = x'00' WHERE seq <= 30")
    found = waiting.snapshot(limit_rows=10)
    assert [seq for seq, _ in found.hot] == list(range(31, 41))


def test_the_compactor_holds_a_part_at_a_time_and_registers_each(
    waiting: Journal, home: Path, compactor: Compactor, held: list[tuple[int, int]]
) -> None:
    assert compactor.compact() == CALLS
    assert len(held) >= 5
    assert max(size for _, size in held) < LIMIT + 2 * len(TEXT)
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchone() == (CALLS, CALLS)
        assert ledger.execute("SELECT count(DISTINCT call_id) FROM content").fetchone() == (CALLS,)
        assert ledger.execute("SELECT count(*), sum(cost) FROM calls").fetchone() == (CALLS, CALLS * 10**9 * FEMTO)


def test_what_was_moved_before_a_failure_stays_moved(
    waiting: Journal, home: Path, compactor: Compactor, clock: FixedClock, held: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    registered = waiting.register_files
    steps: list[int] = []

    def lose_the_third(
        self: Journal, owner: str, files: Sequence[LedgerFile], upto: int, replaces: Sequence[str] = ()
    ) -> bool:
        steps.append(upto)
        return len(steps) < 3 and registered(owner, files, upto, replaces)

    monkeypatch.setattr(Journal, "register_files", lose_the_third)
    with pytest.raises(LeaseLost):
        compactor.compact()
    assert len(steps) == 3
    assert waiting.snapshot().compacted_seq == steps[1]
    assert len(waiting.snapshot().hot) == CALLS - steps[1]
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*), count(DISTINCT call_id) FROM content").fetchone() == (CALLS, CALLS)


def test_a_reader_holds_a_part_at_a_time_and_sees_everything_once(
    waiting: Journal, home: Path, compactor: Compactor, held: list[tuple[int, int]]
) -> None:
    with Ledger(home) as ledger:
        totals = "SELECT count(*), count(DISTINCT call_id), sum(cost) FROM calls"
        content = "SELECT count(*), count(DISTINCT call_id), min(len(messages)), max(len(messages)) FROM content"
        expected: tuple[int, int, Decimal] = (CALLS, CALLS, CALLS * 10**9 * FEMTO)
        length = len(TEXT) + len('[{"role":"user","content":""}]')
        assert len(held) >= 5
        assert max(size for _, size in held) < LIMIT + 2 * len(TEXT)
        for _ in range(2):
            assert ledger.execute(totals).fetchone() == expected
            assert ledger.execute(content).fetchone() == (CALLS, CALLS, length, length)
            compactor.compact()


def test_rows_that_are_compacted_between_two_parts_of_a_read_are_counted_once(
    waiting: Journal, home: Path, compactor: Compactor, held: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    takes: list[int] = []
    take = Ledger._take

    def take_while_compacting(self: Ledger, part: Any) -> None:
        take(self, part)
        takes.append(part.read_seq)
        if len(takes) == 2:
            assert compactor.compact() == CALLS

    monkeypatch.setattr(Ledger, "_take", take_while_compacting)
    with Ledger(home) as ledger:
        assert len(takes) >= 3
        assert ledger.connection.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchone() == (60, 60)
        assert ledger.execute("SELECT count(*), count(DISTINCT call_id) FROM content").fetchone() == (60, 60)


def test_many_bytes_are_reason_enough_to_compact(
    journal: Journal, compactor: Compactor, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "MAX_HOT_BYTES", LIMIT)
    young = [row(call_with_content(n, TEXT)) for n in range(20)]
    clock.now_ns = young[0].at_ns
    for each in young[:5]:
        journal.append([each])
        compactor.step(clock.mono_ns())
    assert len(journal.snapshot().hot) == 5
    for each in young[5:]:
        journal.append([each])
        compactor.step(clock.mono_ns())
    assert 0 < len(journal.snapshot().hot) < 15


def test_a_journal_made_anew_is_read_from_its_beginning(journal: Journal, home: Path) -> None:
    journal.append([row(plain_call(n)) for n in range(5)])
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (5,)
        journal.close()
        for path in home.glob("journal.sqlite3*"):
            path.unlink()
        journal.append([row(plain_call(7))])
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (1,)


def test_merging_keeps_files_of_content_small() -> None:
    def content(rows: int) -> LedgerFile:
        return LedgerFile(f"d/{rows}", "2025-11-25", rows, 1, 2, 100, "content")

    assert to_merge([content(MAX_CONTENT_ROWS)] * 20) == []
    (group,) = to_merge([content(MAX_CONTENT_ROWS // 4)] * (MAX_FILES + 1))
    assert sum(file.rows for file in group) <= MAX_CONTENT_ROWS


def test_files_too_large_to_merge_stay_and_hold_up_nothing(
    journal: Journal, home: Path, compactor: Compactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory = []

    def fail(self: Compactor, journal: Journal, files: Sequence[LedgerFile]) -> LedgerFile:
        out_of_memory.append(len(files))
        raise duckdb.OutOfMemoryException("Out of Memory Error")

    monkeypatch.setattr(Compactor, "_merged", fail)
    for n in range(MAX_FILES + 2):
        journal.append([row(plain_call(n))])
        assert compactor.compact() == 1
    assert out_of_memory == [MAX_FILES + 1, MAX_FILES + 2]
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (MAX_FILES + 2,)


def test_prompts_and_answers_are_read_and_checked_only_when_they_are_asked_for(
    waiting: Journal, home: Path, compactor: Compactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    compactor.compact()
    (damaged,) = (file for file in waiting.snapshot().files if file.kind == "content")
    data = bytearray((home / damaged.path).read_bytes())
    data[len(data) // 2] ^= 1
    (home / damaged.path).write_bytes(data)
    read: list[str] = []

    def counting(path: Path) -> str:
        read.append(path.name)
        return digest_of(path)

    monkeypatch.setattr(parquet, "digest_of", counting)
    with Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (CALLS,)
        assert [name for name in read if "-content-" in name] == []
        assert ledger.problems == ()
        assert ledger.execute("SELECT count(*) FROM Content").fetchone() == (0,)
        assert "is damaged" in ledger.problems[0]
        assert ledger.execute("SELECT count(*) FROM content JOIN calls USING (call_id)").fetchone() == (0,)
        assert sum("-content-" in name for name in read) == 1
    with Ledger(home) as ledger:
        export(ledger, home.with_name("own.duckdb"))
        assert "is damaged" in ledger.problems[0]
