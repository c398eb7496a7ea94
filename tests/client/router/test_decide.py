"""Which deployments may take a call, and in which order."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.router.decide import Need, decide, fitting, in_region, over, tagged
from callmeter.client.router.load import IDLE, Cooldown, Load
from callmeter.client.router.members import Member
from callmeter.client.router.strategies import SimpleShuffle, Strategy
from tests.client.router.made import STRATEGIES, loads, member, members

known = st.dictionaries(st.sampled_from([f"m{at}" for at in range(5)]), loads)
strategies = st.sampled_from(STRATEGIES)
tried = st.frozensets(st.sampled_from([f"m{at}" for at in range(5)]))


@given(members(), known, strategies, tried, st.integers(0, 6), st.randoms(use_true_random=False))
def test_every_deployment_can_be_taken_or_has_something_in_its_way(
    group: list[Member], seen: dict[str, Load], strategy: Strategy, been: frozenset[str], tokens: int, chance: Random
) -> None:
    found = decide(group, Need(tokens=tokens), seen, strategy, chance.random, tried=been)
    barred = [obstacle.member for obstacle in found.obstacles]
    assert sorted(m.id for m in (*found.ranked, *barred)) == sorted(m.id for m in group)
    assert all(str(obstacle).startswith(obstacle.member.id) for obstacle in found.obstacles)


@given(members(), known, strategies, tried, st.integers(0, 6), st.randoms(use_true_random=False))
def test_none_is_taken_that_cools_down_or_is_at_a_limit(
    group: list[Member], seen: dict[str, Load], strategy: Strategy, been: frozenset[str], tokens: int, chance: Random
) -> None:
    for taken in decide(group, Need(tokens=tokens), seen, strategy, chance.random, tried=been).ranked:
        load = seen.get(taken.id, IDLE)
        assert load.cooldown is None
        assert taken.rpm is None or load.requests < taken.rpm
        assert taken.tpm is None or load.tokens + min(tokens, taken.tpm) <= taken.tpm
        assert taken.parallel is None or load.in_flight < taken.parallel


@given(members(), known, strategies, tried, st.randoms(use_true_random=False))
def test_whoever_was_not_tried_comes_first_and_then_the_lower_order(
    group: list[Member], seen: dict[str, Load], strategy: Strategy, been: frozenset[str], chance: Random
) -> None:
    ranked = decide(group, Need(), seen, strategy, chance.random, tried=been).ranked
    places = [(m.id in been, m.order) for m in ranked]
    assert places == sorted(places)


@given(members(most=1), loads)
def test_a_lone_deployment_is_never_kept_back_by_a_cooldown(group: list[Member], load: Load) -> None:
    found = decide(group, Need(), {"m0": load}, SimpleShuffle(), lambda: 0.0, alone=True)
    assert not any(obstacle.kind == "cooldown" for obstacle in found.obstacles)
    assert bool(found.ranked) is (over(group[0], 0, load) is None)


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    small = member("a", tpm=100)
    assert over(small, 5_000, IDLE) is None
    assert over(small, 5_000, Load(tokens=1)) == "tpm"


def test_the_last_request_within_a_limit_is_allowed() -> None:
    assert over(member("a", rpm=10), 0, Load(requests=9)) is None
    assert over(member("a", rpm=10), 0, Load(requests=10)) == "rpm"


FREE, PAID = member("free", tags=frozenset({"free", "eu"})), member("paid", tags=frozenset({"paid"}))
DEFAULT, PLAIN = member("default", tags=frozenset({"default"})), member("plain")


@pytest.mark.parametrize(
    ("group", "tags", "all_of_them", "expected"),
    [
        ([FREE, PAID, DEFAULT], {"free"}, False, [FREE]),
        ([FREE, PAID, DEFAULT], {"free", "paid"}, False, [FREE, PAID]),
        ([FREE, PAID, DEFAULT], {"free", "paid"}, True, [DEFAULT]),
        ([FREE, PAID, DEFAULT], {"free", "eu"}, True, [FREE]),
        ([FREE, PAID, DEFAULT], {"nobody"}, False, [DEFAULT]),
        ([FREE, PAID], {"nobody"}, False, []),
        ([FREE, PAID, DEFAULT, PLAIN], set(), False, [DEFAULT]),
        ([FREE, PAID, PLAIN], set(), False, [PLAIN]),
        ([FREE, PAID], set(), False, [FREE, PAID]),
    ],
)
def test_tags_choose(group: list[Member], tags: set[str], all_of_them: bool, expected: list[Member]) -> None:
    assert tagged(group, tags, all_of_them) == expected


@pytest.mark.parametrize(
    ("name", "eu", "us"),
    [
        ("eu", True, False),
        ("europe-west4", True, False),
        ("eu-central-1", True, False),
        ("Sweden Central", True, False),
        ("europe-west2", False, False),
        ("eu-west-2", False, False),
        ("us-east-1", False, True),
        ("East US 2", False, True),
        ("australiaeast", False, False),
        ("", False, False),
    ],
)
def test_regions_are_told_apart(name: str, eu: bool, us: bool) -> None:
    assert (in_region(name, "eu"), in_region(name, "us")) == (eu, us)
    assert in_region(name, name) is bool(name)


def test_a_long_prompt_fits_only_where_the_window_is_not_smaller() -> None:
    small, large, unknown = member("small", window=4_096), member("large", window=128_000), member("unknown")
    fit, obstacles = fitting([small, large, unknown], Need(prompt_tokens=5_000))
    assert fit == [large, unknown]
    assert [(obstacle.kind, obstacle.member) for obstacle in obstacles] == [("window", small)]


def test_an_obstacle_says_what_it_is() -> None:
    group = [member("a", rpm=1), member("b"), member("c", parallel=2)]
    seen = {
        "a": Load(requests=1, frees_s=12.0),
        "b": Load(cooldown=Cooldown(1, "AuthenticationError", 401), cooldown_s=3.0),
        "c": Load(in_flight=2),
    }
    found = decide(group, Need(), seen, SimpleShuffle(), lambda: 0.0)
    assert [str(obstacle) for obstacle in found.obstacles] == [
        "a was sent 1 of its 1 requests a minute",
        "b is cooling down for 3.0 s after AuthenticationError (401)",
        "c has 2 of 2 calls in flight",
    ]
    assert [obstacle.wait_s for obstacle in found.obstacles] == [12.0, 3.0, None]
