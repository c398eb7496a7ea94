"""The hand-off: bounded in bytes and number, sheds content first and ends last, counts what it sheds."""

from hypothesis import given
from hypothesis import strategies as st

from callmeter.events.handoff import CORE_BYTES, Handoff
from callmeter.events.model import CallStarted, CallSucceeded, Content
from tests.events.made import started, succeeded

FAT = Content(messages="x")
ROOM = 1 << 30


def test_content_goes_first_then_starts_then_the_oldest_ends() -> None:
    handoff = Handoff(max_bytes=4 * CORE_BYTES)
    handoff.put(started(1), 100)
    handoff.put(succeeded(1, FAT), 3 * CORE_BYTES)
    assert not handoff.losses
    handoff.put(succeeded(2), 100)
    assert dict(handoff.losses) == {(CallSucceeded, "content_shed"): 1}
    handoff.put(succeeded(3), 100)
    handoff.put(succeeded(4), 100)
    assert handoff.losses[CallStarted, "memory_full"] == 1
    handoff.put(succeeded(5), 100)
    assert handoff.losses[CallSucceeded, "memory_full"] == 1
    taken = handoff.take(10, ROOM)
    assert [event.id for event in taken] == [succeeded(n).id for n in (2, 3, 4, 5)]
    assert all(getattr(event, "content", None) is None for event in taken)


def test_the_number_of_events_is_bounded_too() -> None:
    handoff = Handoff(max_bytes=1 << 30, max_events=10)
    for number in range(25):
        handoff.put(started(number), 10)
        handoff.put(succeeded(number), 10)
    assert handoff.count == 10
    assert [event.id for event in handoff.take(99, ROOM)] == [succeeded(n).id for n in range(15, 25)]
    assert handoff.dropped == 40


def test_no_more_bytes_are_taken_than_asked_for_but_one_event_at_least() -> None:
    handoff = Handoff(max_bytes=1 << 20)
    for number in range(4):
        handoff.put(succeeded(number, FAT), 100_000)
    assert len(handoff.take(10, 150_000)) == 2
    assert len(handoff.take(10, 1)) == 1


def test_what_is_taken_counts_until_it_is_finished() -> None:
    handoff = Handoff(max_bytes=1 << 20)
    handoff.put(succeeded(1, FAT), 100_000)
    assert len(handoff.take(1, ROOM)) == 1
    assert handoff.bytes == 100_000
    handoff.reweigh(3000)
    assert handoff.bytes == 3000
    assert not handoff.wait_done(1, 0, lambda: False)
    handoff.finish(1, 3000)
    assert handoff.wait_done(1, 0, lambda: False)
    assert (handoff.bytes, handoff.count) == (0, 0)


@given(
    events=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 9 * CORE_BYTES)), max_size=60),
    takes=st.sets(st.integers(0, 60)),
)
def test_whatever_comes_nothing_is_lost_uncounted_and_the_bounds_hold(
    events: list[tuple[bool, bool, int]], takes: set[int]
) -> None:
    handoff = Handoff(max_bytes=10 * CORE_BYTES, max_events=8)
    taken = 0

    def take(most: int) -> int:
        count = len(handoff.take(most, ROOM))
        handoff.reweigh(10 * count)
        handoff.finish(count, 10 * count)
        return count

    for number, (ends, fat, size) in enumerate(events):
        made = succeeded if ends else started
        handoff.put(made(number, FAT if fat else None), size)
        assert handoff.bytes <= handoff.max_bytes or handoff.count == 0
        assert handoff.count <= handoff.max_events
        if number in takes:
            taken += take(3)
    taken += take(99)
    lost = sum(count for (_, reason), count in handoff.losses.items() if reason == "memory_full")
    assert taken + lost == len(events) == handoff.offered == handoff.done
    assert (handoff.bytes, handoff.count) == (0, 0)
