"""Routed calls with a response cache: a group's answers are the group's, whichever of its deployments gave them."""

from collections.abc import Callable
from typing import Any

import pytest

from callmeter import Router
from callmeter.caching import Cache
from callmeter.events.model import CallSucceeded, StreamCompleted
from tests.client.router.conftest import Ask, M, Three, async_ask, both, streamed_or_not, sync_ask, text_of


@pytest.fixture
def cache(switched_on: Any) -> Cache:
    """A cache in memory, switched on."""
    return switched_on(Cache())  # type: ignore[no-any-return]


def least_busy(three: Three) -> Router:
    return Router([three.entry("a"), three.entry("b")], routing_strategy="least-busy")


@both
@streamed_or_not
def test_the_answer_of_one_deployment_is_the_answer_of_its_group(
    ask: Ask, stream: bool, three: Three, cache: Cache, events: list[Any]
) -> None:
    first = ask(least_busy(three), stream=stream)
    assert cache.flush()
    again = ask(least_busy(three), stream=stream)
    assert text_of(again) == text_of(first)
    assert sum(three.asked.values()) == 1
    miss, hit = (event for event in events if isinstance(event, CallSucceeded | StreamCompleted))
    assert (miss.cache_hit, hit.cache_hit) == (False, True)
    assert (hit.attempts, hit.cost.total, hit.cost.saved) == ((), 0, miss.cost.total)


def test_a_hit_takes_no_place_in_a_limit(three: Three, cache: Cache, events: list[Any]) -> None:
    router = Router([three.entry("a", rpm=1)])
    for ask in (sync_ask, async_ask, sync_ask):
        ask(router)
        assert cache.flush()
    assert three.asked["a"] == 1


@pytest.mark.parametrize(
    "changed",
    [
        lambda three: three.entry("a", model="openai/gpt-4o-mini"),
        lambda three: three.entry("a", temperature=0),
        lambda three: three.entry("b", id="a"),
    ],
    ids=["model", "argument", "place"],
)
def test_a_group_of_the_same_name_with_something_else_in_it_is_another(
    changed: Callable[[Three], dict[str, Any]], three: Three, cache: Cache, events: list[Any]
) -> None:
    for entry in (three.entry("a"), changed(three)):
        Router([entry]).completion("g", M)
        assert cache.flush()
    assert sum(three.asked.values()) == 2


def test_another_key_is_no_other_group(three: Three, cache: Cache, events: list[Any]) -> None:
    for key in ("sk-1", "sk-2"):
        Router([three.entry("a", api_key=key)]).completion("g", M)
        assert cache.flush()
    assert three.asked["a"] == 1


@both
def test_a_fallbacks_answer_is_not_kept_as_the_groups(ask: Ask, three: Three, cache: Cache, events: list[Any]) -> None:
    three.a.answer(400)
    router = Router([three.entry("a"), three.entry("b", "other")], fallbacks=[{"g": ["other"]}], num_retries=0)
    ask(router)
    assert cache.flush()
    assert three.asked == {"a": 1, "b": 1, "c": 0}
    ask(router)
    assert three.asked == {"a": 2, "b": 1, "c": 0}


@both
def test_a_retrys_answer_is_the_groups(ask: Ask, three: Three, cache: Cache, events: list[Any]) -> None:
    three.a.answer(500)
    router = Router([three.entry("a", order=1), three.entry("b", order=2)])
    ask(router)
    assert cache.flush()
    ask(router)
    assert three.asked == {"a": 1, "b": 1, "c": 0}
