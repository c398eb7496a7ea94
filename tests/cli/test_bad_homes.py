"""Homes and ledgers that are missing, damaged or not ours: one sentence and an exit code, and the rest still shown."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

READERS = (
    ["spend"],
    ["calls"],
    ["explain", "last"],
    ["tail", "--once"],
    ["sql", "SELECT 1"],
    ["sinks"],
    ["dead-letters"],
)


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_missing_home_is_named_and_not_made(run: Run, tmp_path: Path, command: list[str]) -> None:
    done = run(*command, "--home", tmp_path / "none")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "none") in done.stderr
    assert "callmeter demo" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [*READERS, ["demo"], ["drain"]], ids=" ".join)
def test_a_file_instead_of_a_home_is_refused(run: Run, tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    done = run(*command, "--home", home)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert str(home) in done.stderr
    assert home.read_text() == "mine"


def test_an_empty_home_has_no_journal(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    done = run("spend", "--home", home)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"there is no journal in {home}" in done.stderr


def test_a_home_that_the_environment_names_is_read(run: Run, spent: Path) -> None:
    assert run("spend", CALLMETER_HOME=str(spent)).stdout == run("spend", "--home", spent).stdout


@pytest.mark.parametrize("command", [["spend"], ["demo"], ["sinks"]], ids=" ".join)
def test_a_wrong_setting_is_named_with_its_value(run: Run, spent: Path, tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "home" if command == ["demo"] else spent
    done = run(*command, "--home", home, CALLMETER_MAX_RETRIES="some")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "CALLMETER_MAX_RETRIES" in done.stderr
    assert "'some'" in done.stderr


def test_a_damaged_ledger_file_is_named_and_the_rest_is_shown(run: Run, spent: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    assert run("drain", "--home", home).returncode == 0
    (file,) = home.glob("ledger/*/*.parquet")
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    done = run("spend", "--home", home)
    assert done.returncode == 3
    assert file.name in done.stderr
    assert "9 rows are left out" in done.stderr
    assert "total" in done.stdout


def test_a_journal_that_is_no_database_is_put_aside_and_said(run: Run, spent: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(spent, home)
    for path in home.glob("journal.sqlite3*"):
        path.write_bytes(b"this is no database " * 500)
    done = run("spend", "--home", home)
    assert "was damaged" in done.stderr
    assert "quarantine" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(home.glob("quarantine/*/journal.sqlite3"))


def test_asking_twice_gives_one_answer(run: Run, spent: Path) -> None:
    first = run("spend", "--home", spent).stdout
    assert "gpt-4o" in first
    assert run("spend", "--home", spent).stdout == first
