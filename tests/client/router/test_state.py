"""What is known of deployments: limits that hold over any minute, leases that all come back, places in line."""

import asyncio
import gc
import os
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.router.line import Line
from callmeter.client.router.load import MINUTE, Cooldown, Latency, Window
from callmeter.client.router.members import Member
from callmeter.client.router.policy import Record
from callmeter.client.router.state import Ended, Lease, State
from callmeter.testing import FixedClock
from tests.client.router.made import deciding, member, want

OK = Ended(False, tokens=None, latency_s=0.1)


def claimed(state: State, *group: Member, **fields: Any) -> Lease | None:
    asked = want(*group, **fields)
    return state.claim(asked, deciding(asked))[0]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 4)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("pass"), st.floats(0, 40)),
    ),
    max_size=60,
)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), steps)
def test_no_minute_has_more_than_the_limits_and_no_instant_more_in_flight(
    rpm: int, tpm: int, parallel: int, steps: list[tuple[str, float]]
) -> None:
    clock = FixedClock()
    state, one = State(clock.mono_ns), member("a", rpm=rpm, tpm=tpm, parallel=parallel)
    sent: list[tuple[int, int]] = []
    flying: list[Lease] = []
    for what, figure in steps:
        if what == "claim":
            tokens = int(figure)
            lease = claimed(state, one, tokens=tokens)
            if lease is not None:
                sent.append((clock.mono_ns(), min(tokens, tpm)))
                flying.append(lease)
        elif what == "end" and flying:
            state.give_back(flying.pop(int(figure) % len(flying)), OK)
        elif what == "pass":
            clock.advance(figure)
        assert len(flying) <= parallel
        assert state.loads([one]).get("a") is None or state.loads([one])["a"].in_flight == len(flying)
    for start, _ in sent:
        within = [tokens for at, tokens in sent if start <= at < start + MINUTE * 10**9]
        assert len(within) <= rpm
        assert sum(within) <= tpm


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 5)), max_size=50), st.integers(0, 300))
def test_a_window_is_the_sum_of_its_minute(added: list[tuple[int, int]], then: int) -> None:
    window, added = Window(), sorted(added)
    for second, amount in added:
        window.add(second, amount)
    then += added[-1][0] if added else 0
    assert window.total(then) == sum(amount for second, amount in added if second >= then - MINUTE)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(0, 30), st.integers(-3, 5))
def test_a_correction_goes_to_the_second_it_is_about(seconds: list[int], wrong: int, more: int) -> None:
    window = Window()
    for second in sorted(seconds):
        window.add(second, 3)
    window.correct(wrong, more)
    assert window.total(30) == 3 * len(seconds) + (more if wrong in seconds else 0)
    assert window.total(91 + 30) == 0


def test_what_a_call_used_is_counted_in_place_of_what_was_expected() -> None:
    clock = FixedClock()
    state, one = State(clock.mono_ns), member("a", tpm=1_000)
    lease = claimed(state, one, tokens=100)
    assert lease is not None
    clock.advance(10)
    state.give_back(lease, Ended(False, tokens=950))
    assert state.loads([one])["a"].tokens == 950
    assert claimed(state, one, tokens=51) is None
    assert claimed(state, one, tokens=50) is not None
    clock.advance(51)
    assert state.loads([one])["a"].tokens == 50


def test_latency_jumps_up_and_sinks_as_time_passes() -> None:
    latency = Latency()
    assert latency.now(0, 60) is None
    latency.observe(0.5, 0, 60)
    latency.observe(10.0, 1, 60)
    assert latency.now(1, 60) == 10.0
    assert latency.now(61, 60) == pytest.approx(10 / 2.718281828, rel=1e-6)
    latency.observe(0.5, 61, 60)
    assert latency.now(61, 60) == pytest.approx(10 * 0.36788 + 0.5 * 0.63212, rel=1e-4)


def test_a_cooldown_ends_and_a_longer_one_stands() -> None:
    clock = FixedClock()
    state, group = State(clock.mono_ns), [member("a"), member("b")]
    state.rest("a", Cooldown(clock.mono_ns() + 5 * 10**9, "RateLimitError", 429))
    state.rest("a", Cooldown(clock.mono_ns() + 2 * 10**9, "RateLimitError", 429))
    assert state.loads(group)["a"].cooldown_s == 5.0
    assert {claimed(state, *group).member.id for _ in range(9)} == {"b"}  # type: ignore[union-attr]
    clock.advance(5)
    assert state.loads(group)["a"].cooldown is None


def test_a_failure_is_judged_by_the_last_minute() -> None:
    clock = FixedClock()
    state, one = State(clock.mono_ns), member("a")
    records: list[Record] = []
    for kind, failed in (
        ("", False),
        ("Timeout", True),
        ("RateLimitError", True),
        ("RateLimitError", True),
        ("", None),
    ):
        lease = claimed(state, one)
        assert lease is not None
        state.give_back(lease, Ended(failed, kind), lambda record: records.append(record))  # type: ignore[func-returns-value]
        clock.advance(1)
    assert records == [Record(2, 1, 1), Record(3, 2, 1), Record(4, 3, 2)]
    clock.advance(MINUTE)
    state.give_back(claimed(state, one), Ended(True, "RateLimitError"), lambda r: records.append(r))  # type: ignore[arg-type, func-returns-value]
    assert records[-1] == Record(1, 1, 1)


def test_what_is_forgotten_stays_in_flight() -> None:
    state, one = State(FixedClock().mono_ns), member("a", rpm=1)
    lease = claimed(state, one)
    assert lease is not None
    state.forget()
    assert (state.loads([one])["a"].in_flight, state.loads([one])["a"].requests) == (1, 0)
    state.give_back(lease, OK)
    assert state.loads([one])["a"].in_flight == 0


def test_threads_never_have_more_than_there_is() -> None:
    state = State()
    group = [member("a", rpm=60, parallel=2), member("b", rpm=40, parallel=3)]
    sent, most, flying, lock = Counter[str](), Counter[str](), Counter[str](), threading.Lock()

    def work() -> None:
        for _ in range(60):
            lease = claimed(state, *group)
            if lease is None:
                continue
            with lock:
                sent[lease.member.id] += 1
                flying[lease.member.id] += 1
                most[lease.member.id] = max(most[lease.member.id], flying[lease.member.id])
            with lock:
                flying[lease.member.id] -= 1
            state.give_back(lease, OK)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sent["a"], sent["b"]) == (60, 40)
    assert most["a"] <= 2
    assert most["b"] <= 3
    assert {id: load.in_flight for id, load in state.loads(group).items()} == {"a": 0, "b": 0}


class Dropped:
    """Gives its lease back when it is collected, as a stream that nobody reads does."""

    def __init__(self, state: State, lease: Lease) -> None:
        self.state, self.lease, self.itself = state, lease, self

    def __del__(self) -> None:
        self.state.give_back(self.lease, OK)


def test_a_lease_can_be_given_back_by_a_finaliser_in_the_middle_of_a_claim() -> None:
    state, one = State(), member("a")
    for _ in range(10):
        lease = claimed(state, one)
        assert lease is not None
        Dropped(state, lease)
    asked = want(one)
    rank, seen = deciding(asked), []

    def collecting(loads: Any) -> Any:
        gc.collect()
        seen.append(loads["a"].in_flight)
        return rank(loads)

    lease, _ = state.claim(asked, collecting)
    assert lease is not None
    assert seen == [10]
    assert state.loads([one])["a"].in_flight == 1


def test_a_forked_child_has_none_of_its_parents_calls() -> None:
    state, one = State(), member("a", parallel=1)
    lease = claimed(state, one)
    assert lease is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if claimed(state, one) is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert state.loads([one])["a"].in_flight == 1


# --- in line


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10))
def test_those_in_line_go_by_priority_and_then_as_they_came(priorities: list[int]) -> None:
    line = Line()
    tickets = [line.join("g", None, priority) for priority in priorities]
    served = []
    while tickets:
        able = [ticket for ticket in tickets if not line.holds_back("g", None, ticket.key[0], ticket)]
        assert len(able) == 1
        served.append(able[0].key)
        tickets.remove(able[0])
        line.leave(able[0])
    assert served == sorted(served)


def test_a_newcomer_waits_behind_its_own_kind_and_no_other() -> None:
    line = Line()
    line.join("g", "free", 1)
    assert line.holds_back("g", "free", 1, None)
    assert line.holds_back("g", "free", 2, None)
    assert not line.holds_back("g", "free", 0, None)
    assert not line.holds_back("g", "paid", 1, None)
    assert not line.holds_back("other", "free", 1, None)


def test_a_place_that_is_freed_goes_to_the_first_in_line() -> None:
    state, one = State(), member("a", parallel=1)
    lease = claimed(state, one)
    assert lease is not None
    asked = want(one)
    first, second = state.join(asked), state.join(asked)
    threading.Timer(0.0, lambda: state.give_back(lease, OK)).start()
    assert first.wait(10)
    assert state.claim(asked, deciding(asked), second)[0] is None
    assert state.claim(asked, deciding(asked))[0] is None
    mine, _ = state.claim(asked, deciding(asked), first)
    assert mine is not None
    state.leave(first)
    state.give_back(mine, OK)
    assert second.wait(10)
    assert state.claim(asked, deciding(asked), second)[0] is not None


def test_a_task_in_line_is_woken_and_one_that_leaves_lets_the_next_have_a_look() -> None:
    async def main() -> None:
        state, one = State(), member("a", parallel=1)
        lease = claimed(state, one)
        assert lease is not None
        asked = want(one)
        first, second = state.join(asked), state.join(asked)
        waiting = [asyncio.create_task(ticket.await_turn(10)) for ticket in (first, second)]
        await asyncio.sleep(0)
        threading.Thread(target=lambda: state.give_back(lease, OK)).start()
        assert await waiting[0]
        state.leave(first)
        assert await waiting[1]

    asyncio.run(main())


def test_waiting_ends_when_its_time_is_over() -> None:
    ticket = State().join(want(member("a")))
    assert not ticket.wait(0)
    assert not asyncio.run(ticket.await_turn(0))


def test_who_was_woken_before_it_waits_does_not_wait() -> None:
    state = State()
    ticket = state.join(want(member("a")))
    ticket.wake()
    assert ticket.wait(10)
    ticket.wake()
    assert asyncio.run(ticket.await_turn(10))
