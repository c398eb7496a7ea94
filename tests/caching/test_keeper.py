"""Writing behind: in order, bounded, and waited for only where somebody asks."""

import threading

from callmeter.caching.keeper import Keeper


def test_it_does_what_it_is_handed_in_order_and_on_a_thread_of_its_own() -> None:
    keeper, done = Keeper(1000), list[tuple[int, bool]]()
    for n in range(5):
        assert keeper.put(lambda n=n: done.append((n, threading.current_thread() is threading.main_thread())), 1)  # type: ignore[misc]
    assert keeper.flush(5)
    assert done == [(n, False) for n in range(5)]


def test_beyond_its_bound_more_is_refused_and_nobody_waits() -> None:
    keeper, go = Keeper(10), threading.Event()
    assert keeper.put(lambda: bool(go.wait(5)) and None, 10)
    assert not keeper.put(lambda: None, 1)
    assert not keeper.flush(0)
    go.set()
    assert keeper.flush(5)
    assert keeper.put(lambda: None, 10)
    assert keeper.flush(5)
