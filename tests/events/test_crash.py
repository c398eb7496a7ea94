"""Kill -9 at random instants and at every fault point: nothing acknowledged is lost, nothing is there twice."""

from pathlib import Path

import pytest

from callmeter import faultpoints
from callmeter.events import writer  # noqa: F401 - declares the fault points
from tests.events.crash_runner import Outcome, check, kill_at_random, start_child

OURS = ("journal.", "writer.", "recovery.", "spool.")
POINTS = sorted(name for name in faultpoints.POINTS if name.startswith(OURS))
ELSEWHERE = {"journal.set_aside", "journal.hot.set_aside", "journal.files.drop", "journal.files.forget"}
"""Passed only with damaged rows or by the compactor's tidying; a crash there is like one at any other commit."""


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_instants_one_home_keeps_every_acknowledged_end(kills: int, tmp_path: Path) -> None:
    home, acks = tmp_path / "home", tmp_path / "acks"
    outcomes: list[Outcome] = []
    for seed in range(kills):
        kill_at_random(home, acks, seed)
        outcomes.append(check(home, acks))
    last = outcomes[-1]
    print(f"{kills} kills: {last.acknowledged} acknowledged, {last.ended} ends, {last.died} process_died")
    print(f"slowest opening {max(outcome.open_s for outcome in outcomes):.3f} s")
    assert last.acknowledged > 10 * kills
    assert last.died >= kills


@pytest.mark.parametrize("point", [name for name in POINTS if name.rpartition(".")[0] not in ELSEWHERE])
def test_killed_at_a_fault_point_the_next_process_finds_everything(point: str, tmp_path: Path) -> None:
    home, acks = tmp_path / "home", tmp_path / "acks"
    recovering = point.startswith(("recovery.", "journal.close_calls."))
    for count in ("1",) if recovering else ("1", "3"):
        if recovering:
            kill_at_random(home, acks, 1)
        run_to_its_end(home, acks, point, count)
        check(home, acks)


def run_to_its_end(home: Path, acks: Path, point: str, count: str) -> None:
    child = start_child(home, acks, 2, point, count)
    try:
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 137, errors.decode()
