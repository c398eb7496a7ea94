"""The spool: what was written there before a kill is in the journal afterwards, once; whatever else is there harms nobody."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.clock import IdSource
from callmeter.events import spool
from callmeter.events.intake import Want
from callmeter.events.journal import Journal, Row
from callmeter.events.journal_schema import LEDGER
from callmeter.events.model import CallSucceeded
from callmeter.events.recovery import Liveness, recover
from callmeter.events.spool import Spool
from callmeter.events.writer import Writer
from callmeter.settings import Settings
from callmeter.testing.clocks import FixedClock
from tests.events.made import end, start, started, succeeded

A = "webhook:a"
OWNER = "0" * 32


def written(home: Path, groups: list[list[Row]], owner: str = OWNER) -> Path:
    """A dead process's spool with these groups."""
    home.mkdir(mode=0o700, exist_ok=True)
    one = Spool(home, owner)
    one.prepare()
    assert all(one.append(rows) for rows in groups)
    ended = one.cut()
    assert ended is not None
    os.close(ended.fd)  # as the kernel does for a process that dies
    return ended.path


def waiting(home: Path) -> list[str]:
    journal = Journal.open(home)
    try:
        assert all(account.missing == 0 for account in journal.accounts())
        return [queued.id for queued in journal.due(A, 10_000, 1 << 30)]
    finally:
        journal.close()


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), data=st.data())
def test_cut_at_any_byte_a_file_gives_whole_groups_and_no_other(
    sizes: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    groups = [[end(10 * n + m, A, ledger=True, body=b"x" * m) for m in range(size)] for n, size in enumerate(sizes)]
    path = written(tmp_path_factory.mktemp("home"), groups)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    found = list(spool.read(path))
    assert found == groups[: len(found)]
    assert (len(found) == len(groups)) is (cut == len(whole))


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_no_wrong_row(at: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    groups = [[end(n, A, ledger=True)] for n in range(4)]
    path = written(tmp_path_factory.mktemp("home"), groups)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    found = list(spool.read(path))
    assert found == groups[: len(found)]
    assert len(found) < len(groups)


def test_what_a_dead_process_had_not_committed_is_appended_once_and_its_files_go(tmp_path: Path) -> None:
    home = tmp_path / "home"
    rows = [start(1, A, owner=OWNER), end(2, A, ledger=True), start(3, A, owner=OWNER), end(3, A, ledger=True)]
    path = written(home, [rows[:2], rows[2:]])
    journal = Journal.open(home)
    journal.append([rows[1]])
    assert recover(journal, FixedClock()) == 0
    # The start of call 1 cannot be decoded here, so that its end is counted as corrupt and not made up.
    assert journal.owners() == []
    assert waiting(home) == [rows[1].id, rows[3].id]
    assert not path.exists()
    assert recover(journal, FixedClock()) == 0
    assert len(waiting(home)) == 2
    journal.close()


def test_a_living_processs_spool_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    journal = Journal.open(home)
    alive = Liveness(home)
    path = written(home, [[end(1, A)]], alive.name)
    pid = os.fork()
    if not pid:
        recover(Journal.open(home), FixedClock())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert path.exists()
    assert waiting(home) == []
    alive.release()
    recover(journal, FixedClock())
    assert len(waiting(home)) == 1
    assert not path.exists()
    journal.close()


def test_a_recovery_that_dies_half_way_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    paths = [written(home, [[end(1, A)]]), written(home, [[end(2, A)]], "1" * 32)]

    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    monkeypatch.setattr(spool, "_before_remove", die)
    journal = Journal.open(home)
    with pytest.raises(Died):
        recover(journal, FixedClock())
    assert any(path.exists() for path in paths), "nothing was left to the next"
    monkeypatch.undo()
    recover(journal, FixedClock())
    assert sorted(waiting(home)) == sorted([end(1).id, end(2).id])
    assert not any(path.exists() for path in paths)
    journal.close()


def test_files_are_for_their_owner_only_and_foreign_names_are_no_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "home", [[end(1, A)]])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (path.parent / "notes.txt").write_text("mine")
    assert spool.owners(tmp_path / "home") == {OWNER}


def test_a_file_system_that_refuses_costs_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "spool").write_text("in the way")
    one = Spool(home, OWNER)
    one.prepare()
    assert not one.append([end(1, A)])
    assert not one.append([end(2, A)])
    assert one.cut() is None


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_the_thread_spools_what_the_writer_has_no_turn_to_commit(tmp_path: Path, durability: str) -> None:
    home = tmp_path / "home"
    writer = Writer(
        lambda: Journal.open(home),
        clock=(clock := FixedClock()),
        ids=IdSource(clock),
        settings=Settings(durability=durability),
        sinks=lambda: (Want(A, (CallSucceeded,)),),
        ledger=True,
    )
    writer.offer(started(1), 100)
    assert writer.commit(10)
    with writer._turn:  # the writer is busy with a commit that takes for ever
        writer.offer(succeeded(1), 100)
        left = threading.Event()
        while durability == "process" and not any(path.stat().st_size for path in (home / "spool").iterdir()):
            left.wait(0.001)
        spooled = [
            row.id
            for path in spool.files_of(home, *spool.owners(home) or ("-",))
            for r in spool.read(path)
            for row in r
        ]
        assert spooled == ([succeeded(1).id] if durability == "process" else [])
        assert waiting(home) == []
    assert writer.commit(10)
    assert waiting(home) == [succeeded(1).id]
    assert writer.stop(10)
    assert spool.owners(home) == set()


def test_accounts_add_up_after_a_spool_was_appended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    written(home, [[end(n, A, ledger=True) for n in range(50)]])
    journal = Journal.open(home)
    recover(journal, FixedClock())
    accounts = {account.sink: account for account in journal.accounts()}
    assert accounts[A].accepted == accounts[A].waiting == accounts[LEDGER].accepted == 50
    journal.close()
