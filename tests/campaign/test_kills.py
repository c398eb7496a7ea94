"""Clients that die amid real calls: what was acknowledged is in the ledger, exactly once and to the digit.

The window is wide here, since a busy machine keeps a thread from its turn; `benchmarks/kill_campaign.py` measures it.
"""

from pathlib import Path

import pytest

from benchmarks.kill_campaign import OUT_OF_REACH, at_instant, at_point, points
from benchmarks.replay_check import verdict

WINDOW_MS = 2_000.0

FAST = ("writer.taken", "writer.committed", "journal.append.before_commit", "journal.append.after_commit")
"""Fault points between an event and its being kept; the others are the slow lane's."""


def _survives_an_instant(folder: Path, seed: int) -> int:
    durability = ("process", "sync")[seed % 2]
    found = at_instant(folder, seed, durability, WINDOW_MS)
    print(found)
    assert found.report.sound, f"seed {seed}, {durability}: {verdict(found.report)}"
    return found.acknowledged


def test_nothing_acknowledged_is_lost_or_doubled_at_twenty_random_instants(tmp_path: Path) -> None:
    acknowledged = [_survives_an_instant(tmp_path / str(seed), seed) for seed in range(1, 21)]
    assert sum(acknowledged) > 0


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_at_two_hundred_random_instants(tmp_path: Path) -> None:
    acknowledged = [_survives_an_instant(tmp_path / str(seed), seed) for seed in range(1_001, 1_201)]
    assert sum(acknowledged) > 1_000


def _survives_a_point(folder: Path, point: str, durability: str) -> None:
    found = at_point(folder, point, 1, durability, WINDOW_MS)
    print(found)
    assert found is not None, f"no client ever passed {point}; is it out of reach?"
    assert found.report.sound, verdict(found.report)


@pytest.mark.parametrize("durability", ["process", "sync"])
@pytest.mark.parametrize("point", FAST)
def test_a_client_may_die_between_an_event_and_its_being_kept(tmp_path: Path, point: str, durability: str) -> None:
    _survives_a_point(tmp_path, point, durability)


@pytest.mark.slow
@pytest.mark.parametrize("point", [point for point in points() if point not in FAST])
def test_a_client_may_die_at_any_other_fault_point(tmp_path: Path, point: str) -> None:
    _survives_a_point(tmp_path, point, ("process", "sync")[len(point) % 2])


def test_only_fault_points_that_exist_are_left_out() -> None:
    from callmeter.faultpoints import POINTS

    assert all(any(name.startswith(left_out) for name in POINTS) for left_out in OUT_OF_REACH)
