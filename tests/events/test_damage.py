"""Torn and corrupted journals: what was committed is there or counted, nothing wrong is delivered, opening succeeds."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from callmeter.events.journal import Journal
from callmeter.events.salvage import quarantine
from callmeter.testing.clocks import FixedClock
from tests.events.made import end, start

A = "webhook:a"


def body(number: int) -> bytes:
    return f'{{"number":{number},"pad":"{"x" * 300}"}}'.encode()


def copy_of(home: Path, to: Path) -> Path:
    """The home's files as they are on the disk, as a crash would leave them."""
    to.mkdir(mode=0o700)
    for path in home.glob("journal.sqlite3*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, to / path.name)
    return to


@pytest.fixture
def three_commits(tmp_path: Path) -> tuple[Path, list[int]]:
    """A home whose log holds three commits, and the log's size after each."""
    home = tmp_path / "home"
    Journal.open(home).close()
    journal = Journal.open(home)
    wal = home / "journal.sqlite3-wal"
    sizes = []
    for number in (1, 2, 3):
        journal.append([end(number, A, ledger=True, body=body(number))])
        sizes.append(wal.stat().st_size)
    torn = copy_of(home, tmp_path / "torn")
    journal.close()
    return torn, sizes


@pytest.mark.parametrize("stride", [1999, pytest.param(7, marks=pytest.mark.slow)])
def test_a_log_cut_at_any_byte_keeps_every_commit_before_the_cut(
    stride: int, three_commits: tuple[Path, list[int]], tmp_path: Path
) -> None:
    torn, sizes = three_commits
    # Every byte around the ends of commits, the ends of frames, and some between: a frame has 8,216 bytes.
    near = {size + offset for size in sizes for offset in range(-26, 27)}
    near |= {edge + offset for edge in range(32, sizes[-1], 8216) for offset in (-1, 0, 1)}
    cuts = sorted(cut for cut in near | set(range(0, sizes[-1], stride)) if 0 <= cut <= sizes[-1])
    seen = Counter()
    for cut in cuts:
        home = copy_of(torn, tmp_path / f"cut{cut}")
        wal = home / "journal.sqlite3-wal"
        wal.write_bytes(wal.read_bytes()[:cut])
        journal = Journal.open(home)
        numbers = [queued.body for queued in journal.due(A, 10, 9999)]
        expected = sum(size <= cut for size in sizes)
        assert numbers == [body(number + 1) for number in range(expected)], cut
        assert all(account.missing == 0 for account in journal.accounts())
        assert journal.append([end(9, A)]) == 1
        journal.close()
        shutil.rmtree(home)
        seen[expected] += 1
    assert set(seen) == {0, 1, 2, 3}


@pytest.mark.parametrize("flips", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_a_flipped_bit_anywhere_delivers_nothing_wrong_and_every_loss_is_counted(flips: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    journal = Journal.open(home)
    for number in range(0, 120, 10):
        journal.append(
            [start(number + 1000)] + [end(number + n, A, ledger=True, body=body(number + n)) for n in range(10)]
        )
    journal.lease(A, "me", 15)
    journal.settle(A, "me", accepted=[q.seq for q in journal.due(A, 20, 1 << 20)], dead={30: "bad"})
    journal.close()
    right = {end(number).id: body(number) for number in range(120)}
    data = (home / "journal.sqlite3").read_bytes()
    rng = random.Random(19)
    fates = Counter()
    for turn in range(flips):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        damaged = tmp_path / f"flip{turn}"
        damaged.mkdir(mode=0o700)
        (damaged / "journal.sqlite3").write_bytes(flipped)
        fates[_survives(damaged, right)] += 1
        shutil.rmtree(damaged)
    assert fates["quarantined"] > 10
    assert fates["set aside"] > 10


def _survives(home: Path, right: dict[str, bytes]) -> str:
    journal = Journal.open(home, clock=FixedClock())
    delivered = {queued.id: queued.body for queued in journal.due(A, 1000, 1 << 20)}
    hot = [stored for _, stored in journal.snapshot().hot]
    journal.append([end(999, A, ledger=True, body=body(999))])
    journal.sweep()
    accounts = {account.sink: account for account in journal.accounts()}
    assert all(account.missing == 0 for account in accounts.values()), accounts
    assert all(right[id] == stored for id, stored in delivered.items())
    assert set(hot) <= set(right.values())
    others = [account for account in accounts.values() if account.sink != "duckdb"]
    # Where the sink's own name was hit, its events wait under another.
    counted = sum(a.dead + a.dropped for a in others) - 1 + sum(a.waiting for a in others if a.sink != A)
    assert 99 - len(delivered) <= counted, others
    assert 120 - len(hot) <= sum(a.dead + a.dropped for a in (accounts["duckdb"],))
    quarantined = (home / "quarantine").exists()
    set_aside = any(letter.reason == "corrupt" for letter in journal.dead_letters())
    journal.close()
    return "quarantined" if quarantined else "set aside" if set_aside else "unharmed"


def test_a_flipped_bit_in_the_log_costs_the_commits_from_there_on_and_no_others(
    three_commits: tuple[Path, list[int]], tmp_path: Path
) -> None:
    torn, sizes = three_commits
    rng = random.Random(20)
    seen = Counter()
    for turn in range(100):
        home = copy_of(torn, tmp_path / f"log{turn}")
        wal = home / "journal.sqlite3-wal"
        data = bytearray(wal.read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        wal.write_bytes(data)
        journal = Journal.open(home)
        # SQLite checks its log: what follows a damaged frame was, as far as it can tell, never committed.
        expected = sum(size <= at for size in sizes)
        assert [queued.body for queued in journal.due(A, 10, 9999)] == [body(n + 1) for n in range(expected)]
        assert all(account.missing == 0 for account in journal.accounts())
        journal.close()
        seen[expected] += 1
    assert set(seen) >= {0, 1, 2}


def test_a_damaged_page_costs_its_own_rows_and_no_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    journal = Journal.open(home)
    for number in range(200):
        journal.append([end(number, A, ledger=True, body=body(number))])
    key = journal.hash_key
    journal.close()
    data = bytearray((home / "journal.sqlite3").read_bytes())
    at = data.index(body(100))
    page = at // 8192 * 8192
    data[page : page + 100] = bytes(100)
    (home / "journal.sqlite3").write_bytes(data)
    journal = Journal.open(home)
    delivered = journal.due(A, 1000, 1 << 20)
    assert 150 < len(delivered) < 200
    assert all(queued.body == body(int(queued.id[:-1], 16)) for queued in delivered)
    (ledger, account) = journal.accounts()
    assert account.dropped + account.dead == 200 - len(delivered)
    assert ledger.missing == account.missing == 0
    assert journal.hash_key == key
    assert next((home / "quarantine").glob("*/journal.sqlite3")).exists()


@pytest.mark.parametrize("text", [b"SQLite format 3", b"CREATE TABLE events", b"seq INTEGER PRIMARY KEY"])
def test_a_damaged_first_page_costs_nothing(tmp_path: Path, text: bytes) -> None:
    home = tmp_path / "home"
    journal = Journal.open(home)
    journal.append([end(number, A, body=body(number)) for number in range(50)])
    journal.close()
    data = bytearray((home / "journal.sqlite3").read_bytes())
    data[data.index(text) + 7] ^= 4
    (home / "journal.sqlite3").write_bytes(data)
    journal = Journal.open(home)
    assert [queued.body for queued in journal.due(A, 100, 1 << 20)] == [body(number) for number in range(50)]
    assert [account.dropped for account in journal.accounts()] == [0]


def test_a_file_that_is_no_database_is_moved_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "journal.sqlite3").write_bytes(b"not a database" * 1000)
    journal = Journal.open(home)
    assert journal.append([end(1, A)]) == 1
    assert next((home / "quarantine").glob("*/journal.sqlite3")).read_bytes().startswith(b"not a database")


def test_an_interrupted_quarantine_is_finished_and_who_had_the_old_file_open_goes_on_with_the_new_one(
    tmp_path: Path,
) -> None:
    journal = Journal.open(tmp_path / "home")
    journal.append([end(1, A)])
    quarantine(journal.home, FixedClock())
    other = Journal.open(journal.home)
    assert journal.append([end(2, A)]) == 1
    assert [queued.id for queued in other.due(A, 10, 9999)] == [end(1).id, end(2).id]


def test_a_log_of_another_database_or_a_stale_index_is_ignored(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "home")
    journal.append([end(1, A)])
    journal.close()
    other = Journal.open(tmp_path / "other")
    other.append([end(2, A)])
    for suffix in ("-wal", "-shm"):
        shutil.copy(other.home / f"journal.sqlite3{suffix}", journal.home / f"journal.sqlite3{suffix}")
    other.close()
    (journal.home / "journal.sqlite3-shm").write_bytes(b"\xff" * 32768)
    again = Journal.open(journal.home)
    assert again.append([end(3, A)]) == 1
    assert all(account.missing == 0 for account in again.accounts())
