"""Time and ids that a test owns."""

from callmeter.testing import FixedClock, FixedIds


def test_a_fixed_clock_moves_only_when_told_to() -> None:
    clock = FixedClock(wall_ns=10, mono_ns=20)
    assert (clock.wall_ns(), clock.mono_ns()) == (10, 20)
    clock.advance(1.5)
    assert (clock.wall_ns(), clock.mono_ns()) == (1_500_000_010, 1_500_000_020)


def test_fixed_ids_come_in_order() -> None:
    ids = FixedIds()
    assert [ids(), ids()] == ["0" * 31 + "1", "0" * 31 + "2"]
