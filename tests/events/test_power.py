"""Power loss at any instant: with `power` nothing acknowledged is lost; with `process` a tail at most, nothing torn."""

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from callmeter.events import store
from callmeter.events.journal import Journal
from callmeter.events.journal_schema import LEDGER
from tests.events.made import end
from tests.events.power import Op, after_power_loss, recorded

A = "webhook:a"


class Run(NamedTuple):
    """A journal's life on disk: its files at the beginning, all that was written, and when each group was durable."""

    before: Path
    ops: list[Op]
    acked: list[int]
    """For the n-th group, how many operations had been done when `append` came back."""
    checkpoints: int


def body(number: int) -> bytes:
    """A body that fills some of a page, so that groups take several."""
    return f'{{"number":{number},"pad":"{"x" * 900}"}}'.encode()


def life(tmp_path: Path, power: bool, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Forty groups of five events with checkpoints between; every third group is acknowledged by the sink."""
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", 30)
    home, before = tmp_path / "home", tmp_path / "before"
    Journal.open(home, power=power).close()
    shutil.copytree(home, before, ignore=shutil.ignore_patterns("*-shm"))
    with recorded() as ops:
        journal = Journal.open(home, power=power)
        acked = []
        for group in range(40):
            rows = [end(5 * group + n, A, ledger=True, body=body(5 * group + n)) for n in range(5)]
            assert journal.append(rows) == 5
            acked.append(len(ops))
            if group % 3 == 0:
                journal.sweep()
        written = list(ops)
        journal._abandon()  # no orderly close: that would move the log into the database
    moved = sum(op.file == "journal.sqlite3" and op.at == -1 for op in written)
    return Run(before, written, acked, moved)


@pytest.mark.parametrize("power", [True, False], ids=["power", "process"])
@pytest.mark.parametrize("cuts", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_after_a_power_loss_the_journal_is_whole_up_to_some_group(
    power: bool, cuts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = life(tmp_path, power, monkeypatch)
    assert run.checkpoints > 3, "the run never moved its log into the database"
    rng = random.Random(7)
    seen = Counter[str]()
    for cut in range(cuts):
        done = rng.randrange(run.acked[0], len(run.ops) + 1)
        home = tmp_path / f"cut{cut}"
        seen["spoiled"] += after_power_loss(run.before, run.ops[:done], home, rng)
        acked = sum(at <= done for at in run.acked)
        found = groups_in(home)
        if power:
            assert found >= acked, f"cut {cut} after {done} operations"
        seen["lost"] += max(0, acked - found)
        seen["beyond"] += found > acked
        shutil.rmtree(home)
    assert seen["spoiled"] > cuts, "no write was lost or torn: the fault did not happen"
    assert "quarantine" not in caplog.text
    print(f"{cuts} power losses, {seen['spoiled']} writes lost or torn, {seen['lost']} acknowledged groups lost")
    assert (seen["lost"] > 0) is not power


def groups_in(home: Path) -> int:
    """How many whole groups are there, in order and without a gap; every event as it was written."""
    journal = Journal.open(home)
    try:
        bodies = [queued.body for queued in journal.due(A, 1000, 1 << 30)]
        assert bodies == [body(number) for number in range(len(bodies))]
        assert len(bodies) % 5 == 0, "half a group is there"
        accounts = journal.accounts()
        assert {account.sink for account in accounts} == ({A, LEDGER} if bodies else set())
        assert all((account.accepted, account.missing) == (len(bodies), 0) for account in accounts)
        return len(bodies) // 5
    finally:
        journal.close()
