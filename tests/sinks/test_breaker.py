"""The breaker opens on a streak or a bad average, probes once a minute, and closes on the first success."""

from hypothesis import given
from hypothesis import strategies as st

from callmeter.sinks.breaker import PROBE_NS, STREAK, WINDOW, Breaker

SECOND = 10**9


def test_five_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(STREAK - 1):
        breaker = breaker.failed(0)
        assert breaker.admits(0, 500) == 500
    breaker = breaker.failed(7)
    assert breaker.state == "open"
    assert breaker.admits(7 + PROBE_NS - 1, 500) == 0
    assert breaker.admits(7 + PROBE_NS, 500) == 1


def test_half_of_the_last_twenty_failing_opens_it() -> None:
    breaker = Breaker()
    for number in range(WINDOW - 1):
        breaker = breaker.succeeded() if number % 2 else breaker.failed(0)
        assert breaker.state == "closed"
    assert breaker.failed(0).state == "open"
    assert breaker.succeeded().succeeded().succeeded().state == "closed"


def test_the_first_success_closes_it_and_forgets_the_past() -> None:
    breaker = Breaker()
    for _ in range(STREAK):
        breaker = breaker.failed(0)
    assert breaker.succeeded() == Breaker()
    assert Breaker().parked(0).succeeded() == Breaker()


def test_a_parked_sink_whose_destination_is_also_down_stays_parked() -> None:
    breaker = Breaker().parked(0).failed(PROBE_NS)
    assert breaker.state == "parked"
    assert breaker.admits(2 * PROBE_NS - 1, 500) == 0
    assert breaker.admits(2 * PROBE_NS, 500) == 1


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["succeeded", "failed", "parked"]))))
def test_while_it_is_not_closed_at_most_one_event_a_minute_goes_out(turns: list[tuple[int, str]]) -> None:
    breaker, now_ns, last_probe_ns = Breaker(), 0, None
    for seconds, outcome in turns:
        now_ns += seconds * SECOND
        most = breaker.admits(now_ns, 500)
        if not most:
            continue
        if breaker.state != "closed":
            assert most == 1
            assert last_probe_ns is None or now_ns - last_probe_ns >= PROBE_NS
            last_probe_ns = now_ns
        breaker = breaker.succeeded() if outcome == "succeeded" else getattr(breaker, outcome)(now_ns)
        last_probe_ns = None if breaker.state == "closed" else now_ns
