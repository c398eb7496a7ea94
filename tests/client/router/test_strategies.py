"""The order in which deployments are taken, strategy by strategy."""

from collections import Counter
from decimal import Decimal
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.router.load import Load
from callmeter.client.router.members import Member
from callmeter.client.router.strategies import (
    CostBased,
    LatencyBased,
    LeastBusy,
    SimpleShuffle,
    Strategy,
    UsageBased,
    drawn,
    weights_of,
)
from tests.client.router.made import STRATEGIES, member


def first(strategy: Strategy, group: list[Member], draw: float = 0.0, **loads: Load) -> str:
    return next(strategy.ranked(group, loads, lambda: draw)).id


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
def test_each_deployment_is_drawn_exactly_as_often_as_its_weight_says(weights: list[int]) -> None:
    total = sum(weights)
    group = [member(str(at), weight=weight) for at, weight in enumerate(weights)]
    seen = Counter(first(SimpleShuffle(), group, (mark + 0.5) / total) for mark in range(total))
    assert seen == Counter({str(at): weight for at, weight in enumerate(weights) if weight})


@given(st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(lambda weights: sum(map(bool, weights)) > 1))
def test_if_the_first_cannot_be_taken_the_second_is_drawn_by_the_weights_of_the_others(weights: list[int]) -> None:
    group = [member(str(at), weight=weight) for at, weight in enumerate(weights)]
    total = sum(weights)
    for mark in range(total):
        left = [m for m in group if m.id != first(SimpleShuffle(), group, (mark + 0.5) / total)]
        rest = sum(m.weight or 0 for m in left)
        draws = [(mark + 0.5) / total, 0.0]
        seen = Counter()
        for second in range(int(rest)):
            draws[1] = (second + 0.5) / rest
            turns = iter(draws)
            seen[list(SimpleShuffle().ranked(group, {}, lambda turns=turns: next(turns, 0.0)))[1].id] += 1
        assert seen == Counter({m.id: int(m.weight or 0) for m in left if m.weight})


def test_a_weight_of_zero_is_for_when_nobody_else_is_left() -> None:
    group = [member("spare", weight=0), member("a", weight=1)]
    assert [m.id for m in SimpleShuffle().ranked(group, {}, lambda: 0.0)] == ["a", "spare"]
    assert {first(SimpleShuffle(), [member("x", weight=0), member("y", weight=0)], u) for u in (0.0, 0.9)} == {"x", "y"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([{}, {}, {}], [1, 1, 1]),
        ([{}, {"weight": 3}], [1, 3]),
        ([{"rpm": 900}, {"rpm": 10}], [900, 10]),
        ([{}, {"rpm": 1000}, {"rpm": 500}], [1000, 1000, 500]),
        ([{"tpm": 5}, {"tpm": 1}], [5, 1]),
        ([{"rpm": 1, "tpm": 5}, {"rpm": 2, "tpm": 1}], [1, 2]),
        ([{"weight": 2, "rpm": 9}, {"rpm": 90}], [2, 1]),
    ],
)
def test_any_deployments_figure_is_enough_for_weights(fields: list[dict], expected: list[float]) -> None:
    for group in (fields, fields[::-1]):
        found = weights_of([member(str(at), **given) for at, given in enumerate(group)])
        assert found == (expected if group == fields else expected[::-1])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.floats(0, 1))
def test_a_draw_is_always_somebody_and_never_one_without_weight(weights: list[float], mark: float) -> None:
    at = drawn(weights, lambda: mark)
    assert 0 <= at < len(weights)
    assert weights[at] > 0 or sum(weights) == 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.lists(st.floats(0, 0.999), min_size=5, max_size=5))
def test_the_least_busy_and_the_least_used_come_first(figures: list[int], draws: list[float]) -> None:
    group = [member(str(at)) for at in range(len(figures))]
    turns = iter(draws)
    busy = {str(at): Load(in_flight=figure) for at, figure in enumerate(figures)}
    ranked = [figures[int(m.id)] for m in LeastBusy().ranked(group, busy, lambda: next(turns))]
    assert ranked == sorted(figures)
    turns = iter(draws)
    used = {str(at): Load(tokens=figure, requests=9 - figure) for at, figure in enumerate(figures)}
    assert [figures[int(m.id)] for m in UsageBased().ranked(group, used, lambda: next(turns))] == sorted(figures)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__)
def test_among_equals_each_is_as_likely(strategy: Strategy) -> None:
    group = [member(str(at)) for at in range(3)]
    seen = Counter()
    for draws in product((1 / 6, 3 / 6, 5 / 6), (1 / 4, 3 / 4)):
        turns = iter(draws)
        seen[next(strategy.ranked(group, {}, lambda turns=turns: next(turns))).id] += 1
    assert seen == {"0": 2, "1": 2, "2": 2}


def test_the_fastest_comes_first_and_calls_in_flight_slow_it_down() -> None:
    group = [member("fast"), member("slow")]
    fast, slow = Load(latency_s=0.1), Load(latency_s=0.5)
    assert first(LatencyBased(), group, fast=fast, slow=slow) == "fast"
    assert first(LatencyBased(), group, fast=Load(latency_s=0.1, in_flight=9), slow=slow) == "slow"


def test_an_unknown_deployment_is_tried_by_one_call_at_a_time() -> None:
    group = [member("known"), member("new")]
    known = Load(latency_s=0.5)
    assert first(LatencyBased(), group, known=known) == "new"
    assert first(LatencyBased(), group, known=known, new=Load(in_flight=1)) == "known"


def test_within_the_buffer_all_are_as_good() -> None:
    loads = {str(at): Load(latency_s=s) for at, s in enumerate([0.07, 0.1, 0.1, 0.1, 4.66])}
    group = [member(id) for id in loads]
    chance = Random(1).random
    assert {next(LatencyBased(0.5).ranked(group, loads, chance)).id for _ in range(50)} == {"0", "1", "2", "3"}
    assert {next(LatencyBased().ranked(group, loads, chance)).id for _ in range(50)} == {"0"}


def test_the_cheapest_comes_first_and_an_unknown_price_last() -> None:
    prices = {"free": Decimal(0), "cheap": Decimal("1e-7"), "dear": Decimal("1e-5"), "unknown": None}
    group = [member(id) for id in ("unknown", "dear", "free", "cheap")]
    ranked = CostBased(lambda m: prices[m.id]).ranked(group, {}, lambda: 0.5)
    assert [m.id for m in ranked] == ["free", "cheap", "dear", "unknown"]
