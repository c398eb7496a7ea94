"""Homes that cannot be written, and homes whose names look like patterns: the ledger is read all the same."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import callmeter.ledger
from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import Compactor
from tests.sinks.duckdb.made import call_with_content, plain_call, row

CAPBSET_DROP, DAC_OVERRIDE, DAC_READ_SEARCH = 24, 1, 2
"""Linux's prctl(2): without these two a program that root starts is refused what a file's mode refuses."""


def without_roots_rights() -> None:
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None).prctl
        if prctl(CAPBSET_DROP, DAC_OVERRIDE, 0, 0, 0) or prctl(CAPBSET_DROP, DAC_READ_SEARCH, 0, 0, 0):
            os._exit(77)


def ordinary(*command: object) -> subprocess.CompletedProcess[str]:
    """A Python command that may do no more than the modes of files allow."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        preexec_fn=without_roots_rights,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("running as root, and not allowed to give up its rights")
    return done


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A home with two calls in a file and one in the journal, which nobody may change from the `with` on."""
    home = tmp_path / "home"
    journal = Journal.open(home)
    compactor = Compactor(lambda: Journal.open(home), home, owner="c")
    journal.append([row(plain_call(n)) for n in range(2)])
    compactor.compact()
    compactor.close()
    journal.append([row(plain_call(2))])
    journal.close()
    yield home
    allow(home)


def forbid(home: Path) -> None:
    for path in [home, *home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def allow(home: Path) -> None:
    home.chmod(0o700)
    for path in home.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


COUNT = """
import sys, callmeter.ledger
with callmeter.ledger.connect(sys.argv[1]) as ledger:
    print(ledger.execute("SELECT count(*) FROM calls").fetchone(), ledger.problems)
"""


def test_a_read_only_home_is_read_without_a_word(read_only: Path) -> None:
    forbid(read_only)
    refused = ordinary("-c", "import sys; open(sys.argv[1], 'w')", read_only / "x")
    assert "PermissionError" in refused.stderr
    spend = ordinary("-m", "callmeter", "spend", "--home", read_only)
    assert (spend.returncode, spend.stderr) == (0, "")
    assert "total       3" in spend.stdout
    assert ordinary("-c", COUNT, read_only).stdout == "(3,) ()\n"


def test_so_is_one_whose_writer_was_killed(read_only: Path, tmp_path: Path) -> None:
    journal = Journal.open(read_only)
    journal.append([row(plain_call(3))])
    copy = tmp_path / "copy"
    shutil.copytree(read_only, copy)
    journal.close()
    assert (copy / "journal.sqlite3-wal").stat().st_size
    forbid(copy)
    found = ordinary("-m", "callmeter", "spend", "--home", copy)
    assert (found.returncode, found.stderr) == (0, "")
    assert "total       4" in found.stdout
    allow(copy)


def test_where_the_log_cannot_be_read_one_message_says_what_to_do(read_only: Path, tmp_path: Path) -> None:
    journal = Journal.open(read_only)
    journal.append([row(plain_call(3))])
    copy = tmp_path / "copy"
    shutil.copytree(read_only, copy)
    journal.close()
    (copy / "journal.sqlite3-shm").unlink()
    forbid(copy)
    found = ordinary("-m", "callmeter", "spend", "--home", copy)
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr.count("\n") == 1
    assert str(copy) in found.stderr
    assert "writable" in found.stderr
    allow(copy)


def test_files_that_cannot_be_restored_there_are_named_once(read_only: Path) -> None:
    journal = Journal.open(read_only)
    journal._db.execute("DELETE FROM files")
    journal.close()
    forbid(read_only)
    found = ordinary("-m", "callmeter", "spend", "--home", read_only)
    assert found.returncode == 3
    assert found.stderr.count("\n") == 1
    assert "in no list and are left out" in found.stderr
    allow(read_only)
    assert ordinary("-c", COUNT, read_only).stdout == "(3,) ()\n"


@pytest.mark.parametrize("name", ["a[bc]d", "*", "who?", "{a,b}", "it's", "[", "ü ber"])
def test_a_home_may_be_called_anything(tmp_path: Path, name: str) -> None:
    beside = tmp_path / "abd"
    home = tmp_path / name / "home"
    for each, calls in ((beside, 5), (home, 3)):
        each.parent.mkdir(exist_ok=True)
        journal = Journal.open(each)
        compactor = Compactor(lambda each=each: Journal.open(each), each, owner="c")  # type: ignore[misc]
        for n in range(calls):
            journal.append([row(call_with_content(n, "text"))])
            if n != calls - 1:
                compactor.compact()
        compactor.close()
        journal.close()
    counts = "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM content)"
    for guarded in (False, True):
        with callmeter.ledger.connect(home, guarded=guarded) as ledger:
            assert ledger.execute(counts).fetchone() == (3, 3)
            assert ledger.problems == ()
    target = tmp_path / name / "out.parquet"
    assert callmeter.ledger.export(target, home=home) == 3


def test_many_small_files_are_merged_in_a_home_of_an_odd_name(tmp_path: Path) -> None:
    home = tmp_path / "[x]*" / "home"
    home.parent.mkdir()
    journal = Journal.open(home)
    compactor = Compactor(lambda: Journal.open(home), home, owner="c")
    for n in range(9):
        journal.append([row(plain_call(n))])
        compactor.compact()
    compactor.close()
    assert len(journal.snapshot().files) == 1
    journal.close()
    with callmeter.ledger.connect(home) as ledger:
        assert ledger.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchone() == (9, 9)
