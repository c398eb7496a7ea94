"""The ledger's disk: full, gone or damaged. One clear message each, nothing lost, and it goes on when the disk does."""

import logging
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from callmeter.events.journal import Journal
from callmeter.sinks.duckdb.compactor import RETRY_NS, Compactor
from callmeter.sinks.duckdb.connect import Ledger
from callmeter.sinks.duckdb.lines import Lines, Rows
from tests.sinks.duckdb.conftest import FixedClock
from tests.sinks.duckdb.made import FEMTO, plain_call, row
from tests.sinks.duckdb.test_compactor import calls_of, parquet_files, registered

CALLS = 40
WHOLE = (CALLS, CALLS, CALLS * 10**9 * FEMTO)


@pytest.fixture
def waiting(journal: Journal) -> Journal:
    journal.append([row(plain_call(n)) for n in range(CALLS)])
    return journal


@contextmanager
def file_size() -> Iterator[Callable[[int], None]]:
    """Gives a function that lets every write beyond an offset of a file fail, as on a full disk; until the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WHERE = (
    "ledger.write.before",  # DuckDB writes Parquet
    "journal.files.register.before_commit",  # SQLite commits
)


@pytest.mark.parametrize("where", WHERE)
def test_a_full_disk_while_compacting_is_said_once_and_loses_nothing(
    waiting: Journal, home: Path, compactor: Compactor, clock: FixedClock, where: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    hits: list[str] = []
    with file_size() as limit, caplog.at_level(logging.WARNING):

        def fill(name: str) -> None:
            if name == where:
                hits.append(name)
                limit(64)

        monkeypatch.setattr("callmeter.faultpoints.handler", fill)
        for _ in range(3):
            assert compactor.step(clock.mono_ns()) == clock.mono_ns() + RETRY_NS
            limit(resource.RLIM_INFINITY)
    monkeypatch.setattr("callmeter.faultpoints.handler", None)
    assert len(hits) == 3
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 1
    assert "the ledger's compactor failed and tries again" in warnings[0]
    assert str(home) in warnings[0]
    assert "disk" in warnings[0]
    assert registered(waiting) == set()
    assert calls_of(home) == WHOLE
    compactor.step(clock.mono_ns())
    assert len(registered(waiting)) == 1
    assert parquet_files(home) == registered(waiting)
    assert calls_of(home) == WHOLE


def test_a_disk_with_no_room_for_the_events_as_lines_is_no_other(
    waiting: Journal, home: Path, compactor: Compactor, clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with file_size() as limit, caplog.at_level(logging.WARNING), monkeypatch.context() as patched:

        def fill(self: Lines, rows: Rows) -> None:
            limit(1_000)
            add(self, rows)

        add = Lines.add
        patched.setattr(Lines, "add", fill)
        for _ in range(2):
            assert compactor.step(clock.mono_ns()) == clock.mono_ns() + RETRY_NS
            limit(resource.RLIM_INFINITY)
    assert len(caplog.records) == 1
    assert "File too large" in caplog.text
    assert [path for path in (home / "ledger").rglob("*") if path.is_file()] == []
    assert calls_of(home) == WHOLE
    compactor.step(clock.mono_ns())
    assert calls_of(home) == WHOLE
    assert len(registered(waiting)) == 1


def test_a_home_that_vanishes_under_a_reader_is_an_empty_ledger_that_says_so_once(
    waiting: Journal, home: Path, compactor: Compactor, caplog: pytest.LogCaptureFixture
) -> None:
    compactor.compact()
    waiting.append([row(plain_call(CALLS))])
    with Ledger(home) as ledger, caplog.at_level(logging.WARNING):
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (CALLS + 1,)
        away = home.with_name("away")
        home.rename(away)
        for _ in range(2):
            assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        (problem,) = ledger.problems
        assert str(home) in problem
        assert [record.message for record in caplog.records] == [f"ledger: {problem}"]
        away.rename(home)
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (CALLS + 1,)
        assert ledger.problems == ()


def test_a_home_that_vanishes_under_the_compactor_is_said_once_and_nobody_dies(
    waiting: Journal, home: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    compactor = Compactor(lambda: Journal.open(home, clock=clock, create=False), home, owner="c", clock=clock)
    compactor.compact()
    waiting.append([row(plain_call(CALLS))])
    away = home.with_name("away")
    home.rename(away)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert compactor.step(clock.mono_ns()) > clock.mono_ns()
    assert len(caplog.records) == 1
    assert f"the home {home} does not exist" in caplog.text
    away.rename(home)
    compactor.step(clock.mono_ns())
    compactor.close()
    assert calls_of(home)[0] == CALLS + 1
    assert waiting.snapshot().hot == []


def test_a_ledger_folder_that_vanishes_names_every_file_and_shows_the_rest(
    waiting: Journal, home: Path, compactor: Compactor, caplog: pytest.LogCaptureFixture
) -> None:
    compactor.compact()
    waiting.append([row(plain_call(CALLS))])
    (path,) = registered(waiting)
    shutil.rmtree(home / "ledger")
    with caplog.at_level(logging.WARNING), Ledger(home) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        assert ledger.problems == (
            f"{home / path} is missing; its {CALLS} rows are left out: restore it from a backup",
        )
    assert compactor.compact() == 1
    assert len(caplog.records) == 1
    assert len(registered(waiting)) == 2
