"""Calls through a router, over real sockets: where they go, what follows a failure, what is recorded of it."""

import asyncio
import gc
import json
import threading
from collections import Counter
from typing import Any

import pytest

import callmeter
from callmeter import CustomRoutingStrategyBase, Router
from callmeter.events.model import AttemptFailed, CallFailed
from callmeter.integrations.custom_logger import CustomLogger
from callmeter.testing import FixedClock
from tests.client.endpoints.asked import OPERATIONS, Asked
from tests.client.router.conftest import Ask, M, Three, async_ask, both, streamed_or_not, sync_ask, text_of


def attempts(events: list[Any]) -> list[tuple[str, str, str, str]]:
    return [(a.model_group, a.deployment, a.status, a.reason) for a in events[-1].attempts]


# --- where calls go


@both
@streamed_or_not
def test_a_call_goes_to_a_deployment_of_its_group(
    ask: Ask, stream: bool, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    router = Router([three.entry("a"), three.entry("b", "other")], clock=clock)
    answer = ask(router, stream=stream, x_fake={"text": "one two"})
    assert text_of(answer) == "one two"
    assert three.asked == {"a": 1, "b": 0, "c": 0}
    assert json.loads(three.a.requests[0].body)["model"] == "gpt-4o"
    end = events[-1]
    assert (end.call.deployment, end.call.model_requested, end.call.api_base) == ("a", "g", three.a.openai_base)
    assert attempts(events) == [("g", "a", "success", "first")]
    assert end.cost.status == "priced"


def test_an_answer_tells_which_deployment_gave_it(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", id="x1")], model_group_alias={"alias": "g"})
    answer = router.completion("alias", M)
    assert answer._hidden_params["model_id"] == "x1"
    headers = answer._hidden_params["additional_headers"]
    assert headers["x-litellm-model-group"] == "alias"
    assert (headers["x-litellm-attempted-retries"], headers["x-litellm-attempted-fallbacks"]) == (0, 0)


def test_a_deployment_brings_arguments_and_the_call_has_the_last_word(three: Three, events: list[Any]) -> None:
    router = Router(
        [three.entry("a", temperature=0.5, top_p=0.1, extra_headers={"x-team": "blue"}, some_extra=1)],
        default_litellm_params={"seed": 7, "top_p": 0.9},
    )
    router.completion("g", M, temperature=1)
    heard = three.a.requests[0]
    body = json.loads(heard.body)
    assert (body["temperature"], body["top_p"], body["seed"], body["some_extra"]) == (1, 0.1, 7, 1)
    assert heard.headers["x-team"] == "blue"
    assert not {"rpm", "_router", "model_info", "weight", "order"}.intersection(body)


def test_a_patterns_deployment_is_asked_for_what_the_caller_named(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", "openai/*", model="openai/*")])
    router.completion("openai/gpt-4.1", M)
    assert json.loads(three.a.requests[0].body)["model"] == "gpt-4.1"
    assert (events[-1].call.model, events[-1].attempts[0].model_group) == ("gpt-4.1", "openai/*")


def test_a_deployments_own_price_is_what_its_calls_cost(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", input_cost_per_token=1, output_cost_per_token=2)])
    router.completion("g", M, x_fake={"prompt_tokens": 3, "completion_tokens": 4})
    assert events[-1].cost.total == 11


def test_the_cheapest_deployment_is_taken_by_cost_based_routing(three: Three, events: list[Any]) -> None:
    router = Router(
        [three.entry("a"), three.entry("b", input_cost_per_token=1e-9, output_cost_per_token=1e-9), three.entry("c")],
        routing_strategy="cost-based-routing",
    )
    for _ in range(5):
        router.completion("g", M)
    assert three.asked == {"a": 0, "b": 5, "c": 0}


@pytest.mark.parametrize("twin", ["", "a"], ids=["sync", "async"])
@pytest.mark.parametrize("asked", OPERATIONS, ids=repr)
def test_every_operation_goes_through_the_router(asked: Asked, twin: str, three: Three, events: list[Any]) -> None:
    three.a.answer(503)
    router = Router([three.entry(server, model=asked.model, order=at) for at, server in enumerate("ab")])
    answer = getattr(router, twin + asked.name)(model="g", **asked.given)
    if twin:
        answer = asyncio.run(answer)
    assert answer._hidden_params["model_id"] == "b"
    assert attempts(events) == [("g", "a", "failure", "first"), ("g", "b", "success", "retry")]
    assert events[-1].call.operation == asked.name


def test_a_list_of_deployments_may_come_with_the_call(three: Three, events: list[Any]) -> None:
    callmeter.completion("g", M, model_list=[three.entry("a")])
    assert three.asked["a"] == 1


@both
def test_tags_choose_the_deployment(ask: Ask, three: Three, events: list[Any]) -> None:
    router = Router(
        [three.entry("a", tags=["free"]), three.entry("b", tags=["paid"]), three.entry("c", tags=["default"])],
        enable_tag_filtering=True,
    )
    ask(router, metadata={"tags": ["free"]})
    ask(router, tags=["paid"])
    ask(router)
    assert three.asked == {"a": 1, "b": 1, "c": 1}
    with callmeter.tags("paid"):
        ask(router)
    assert three.asked["b"] == 2


def test_tags_that_nobody_has_are_refused_without_asking_anyone(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", tags=["free"])], enable_tag_filtering=True)
    with pytest.raises(callmeter.RejectedRequestError, match="Not allowed to access model due to tags"):
        router.completion("g", M, tags=["gold"])
    assert three.asked["a"] == 0
    assert isinstance(events[-1], CallFailed)


def test_a_long_prompt_goes_where_it_fits_and_else_to_the_fallback_for_long_ones(
    three: Three, events: list[Any]
) -> None:
    small = three.entry("a", info={"max_input_tokens": 50})
    large = three.entry("b", "large", info={"max_input_tokens": 100_000})
    long = [{"role": "user", "content": "What is the meaning of 42? " * 100}]
    router = Router([small, {**large, "model_name": "g"}], enable_pre_call_checks=True)
    for _ in range(4):
        router.completion("g", long)
    assert three.asked == {"a": 0, "b": 4, "c": 0}
    router = Router([small, large], enable_pre_call_checks=True, context_window_fallbacks=[{"g": ["large"]}])
    router.completion("g", long)
    assert three.asked == {"a": 0, "b": 5, "c": 0}
    assert "too many for every deployment" in events[-1].attempts[0].because
    with pytest.raises(callmeter.ContextWindowExceededError):
        Router([small], enable_pre_call_checks=True).completion("g", long)


def test_a_region_that_is_asked_for_is_kept_to(three: Three, events: list[Any]) -> None:
    group = [three.entry("a", region_name="us-east-1"), three.entry("b", region_name="eu-west-1")]
    for _ in range(3):
        Router(group).completion("g", M, allowed_model_region="eu")
    assert three.asked == {"a": 0, "b": 3, "c": 0}


# --- retries


@both
@streamed_or_not
def test_a_failure_is_retried_at_another_deployment_at_once(
    ask: Ask, stream: bool, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(503, times=None)
    router = Router([three.entry("a", order=1), three.entry("b", order=2)], clock=clock)
    ask(router, stream=stream)
    assert attempts(events) == [("g", "a", "failure", "first"), ("g", "b", "success", "retry")]
    end = events[-1]
    assert end.attempts[1].because == "ServiceUnavailableError (503) at a"
    assert end.retry_wait_s == 0
    assert [event.attempt.deployment for event in events if isinstance(event, AttemptFailed)] == ["a"]
    assert end.cost.total == sum(a.cost.total for a in end.attempts if a.cost.total is not None)


@both
def test_a_lone_deployment_is_retried_after_a_pause(
    ask: Ask, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(429, headers={"retry-after": "3"})
    three.a.answer(500)
    router = Router([three.entry("a")], clock=clock)
    ask(router)
    assert [(a.status, a.wait_s) for a in events[-1].attempts] == [("failure", 0.0), ("failure", 3.0), ("success", 1.0)]


def test_deployments_that_share_a_limit_are_waited_for_as_long_as_it_says(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(429, headers={"retry-after": "30"})
    three.b.answer(429, headers={"retry-after": "20"})
    router = Router([three.entry("a", order=1), three.entry("b", order=2)], clock=clock)
    router.completion("g", M)
    assert attempts(events) == [
        ("g", "a", "failure", "first"),
        ("g", "b", "failure", "retry"),
        ("g", "b", "success", "retry"),
    ]
    assert events[-1].attempts[2].wait_s == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2), (4, 5)])
def test_retries_are_as_many_as_were_asked_for(
    retries: int, asked: int, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(500, times=None)
    with pytest.raises(callmeter.InternalServerError) as caught:
        Router([three.entry("a")], num_retries=9, clock=clock).completion("g", M, num_retries=retries)
    assert three.asked["a"] == asked
    assert (caught.value.num_retries, caught.value.max_retries) == (retries, retries)
    three.a.requests.clear()
    with pytest.raises(callmeter.InternalServerError):
        Router([three.entry("a", max_retries=retries)], num_retries=9, clock=clock).completion("g", M)
    assert three.asked["a"] == asked


def test_a_policy_gives_each_kind_of_failure_its_retries(three: Three, clock: FixedClock, events: list[Any]) -> None:
    policy = callmeter.RetryPolicy(BadRequestErrorRetries=1, TimeoutErrorRetries=0, RateLimitErrorRetries=3)
    router = Router(
        [three.entry("a")], retry_policy=policy, model_group_retry_policy={"h": {"DefaultRetries": 1}}, clock=clock
    )
    router.add_deployment(three.entry("b", "h"))
    for status, asked in ((400, 2), (408, 1), (429, 4), (500, 3)):
        three.a.reset()
        three.a.answer(status, times=None)
        with pytest.raises(callmeter.OpenAIError):
            router.completion("g", M)
        assert three.asked["a"] == asked
    three.b.answer(500, times=None)
    with pytest.raises(callmeter.InternalServerError):
        router.completion("h", M)
    assert three.asked["b"] == 2


def test_the_next_order_is_tried_even_without_retries(three: Three, events: list[Any]) -> None:
    three.a.answer(500, times=None)
    three.b.answer(404, times=None)
    router = Router([three.entry("c", order=3), three.entry("a", order=1), three.entry("b", order=2)], num_retries=0)
    router.completion("g", M)
    assert [deployment for _, deployment, _, _ in attempts(events)] == ["a", "b", "c"]


def test_a_request_that_is_wrong_is_not_sent_to_others(three: Three, events: list[Any]) -> None:
    three.a.answer(400, times=None)
    three.b.answer(400, times=None)
    with pytest.raises(callmeter.BadRequestError):
        Router([three.entry("a"), three.entry("b")]).completion("g", M)
    assert sum(three.asked.values()) == 1


def test_a_deployment_that_cannot_be_asked_is_passed_over(
    three: Three, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_key = {
        "model_name": "g",
        "litellm_params": {"model": "openai/gpt-4o", "order": 1},
        "model_info": {"id": "k"},
    }
    router = Router([without_key, three.entry("b", order=2)])
    router.completion("g", M)
    assert attempts(events) == [("g", "b", "success", "first")]
    assert events[-1].attempts[0].because == "AuthenticationError (401) at k"
    assert router.state.loads(router.catalogue.members)["k"].in_flight == 0
    with pytest.raises(callmeter.AuthenticationError, match="no key for openai"):
        Router([without_key]).completion("g", M)


# --- fallbacks


@both
@streamed_or_not
def test_another_group_answers_for_one_that_fails(
    ask: Ask, stream: bool, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(500, times=None)
    router = Router([three.entry("a"), three.entry("b", "h")], fallbacks=[{"g": ["h"]}], num_retries=1, clock=clock)
    answer = ask(router, stream=stream, x_fake={"text": "fine"})
    assert text_of(answer) == "fine"
    assert attempts(events) == [
        ("g", "a", "failure", "first"),
        ("g", "a", "failure", "retry"),
        ("h", "b", "success", "fallback"),
    ]
    end = events[-1]
    assert end.attempts[2].because == "InternalServerError (500) at a"
    assert (end.call.model_requested, end.call.deployment) == ("g", "b")
    if not stream:
        headers = answer._hidden_params["additional_headers"]
        assert (headers["x-litellm-attempted-retries"], headers["x-litellm-attempted-fallbacks"]) == (1, 1)


def test_fallbacks_are_followed_in_depth_and_no_group_is_asked_twice(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    for server in three.servers.values():
        server.answer(500, times=None)
    router = Router(
        [three.entry("a", "A"), three.entry("b", "B"), three.entry("c", "C"), three.entry("a", "D", id="d")],
        fallbacks=[{"A": ["B", "C"]}, {"B": ["D", "A"]}, {"C": ["A", "B"]}],
        num_retries=0,
        clock=clock,
    )
    with pytest.raises(callmeter.InternalServerError) as caught:
        router.completion("A", M)
    assert [group for group, *_ in attempts(events)] == ["A", "B", "D", "C"]
    assert "model group 'A' failed (InternalServerError (500) at a), and so did: 'B'" in caught.value.message


@pytest.mark.parametrize(("most", "groups"), [(0, ["A"]), (1, ["A", "B"]), (5, ["A", "B", "C"])])
def test_there_are_no_more_fallbacks_than_allowed(
    most: int, groups: list[str], three: Three, clock: FixedClock, events: list[Any]
) -> None:
    for server in three.servers.values():
        server.answer(500, times=None)
    entries = [three.entry("a", "A"), three.entry("b", "B"), three.entry("c", "C")]
    router = Router(entries, default_fallbacks=["B", "C"], max_fallbacks=most, num_retries=0, clock=clock)
    with pytest.raises(callmeter.InternalServerError):
        router.completion("A", M)
    assert [group for group, *_ in attempts(events)] == groups
    three.a.requests.clear()
    with pytest.raises(callmeter.InternalServerError, match="No fallback was attempted: they are disabled"):
        router.completion("A", M, disable_fallbacks=True)
    assert len(events[-1].attempts) == 1


CONTEXT = (
    b'{"error": {"message": "This model\'s maximum context length is 8 tokens", "code": "context_length_exceeded"}}'
)
POLICY = b'{"error": {"message": "Your request was rejected as a result of our safety system", "code": "content_policy_violation"}}'


@pytest.mark.parametrize(("body", "served"), [(CONTEXT, "b"), (POLICY, "c")], ids=["context", "policy"])
def test_long_prompts_and_refused_content_have_fallbacks_of_their_own(
    body: bytes, served: str, three: Three, events: list[Any]
) -> None:
    three.a.answer(400, body=body)
    router = Router(
        [three.entry("a"), three.entry("b", "long"), three.entry("c", "lenient")],
        fallbacks=[{"g": ["nowhere"]}],
        context_window_fallbacks=[{"g": ["long"]}],
        content_policy_fallbacks=[{"g": ["lenient"]}],
    )
    router.completion("g", M)
    assert events[-1].call.deployment == served


def test_a_prompt_too_long_for_one_model_is_tried_with_another_of_the_group(three: Three, events: list[Any]) -> None:
    three.a.answer(400, body=CONTEXT, times=None)
    router = Router([three.entry("a", order=1), three.entry("b", order=2, model="openai/gpt-4.1")])
    router.completion("g", M)
    assert [deployment for _, deployment, _, _ in attempts(events)] == ["a", "b"]


def test_a_call_brings_fallbacks_of_its_own_with_changes(three: Three, events: list[Any]) -> None:
    three.a.answer(500, times=None)
    router = Router([three.entry("a"), three.entry("b", "h")], num_retries=0, fallbacks=[{"g": ["nowhere"]}])
    other = [{"role": "user", "content": "Shorter."}]
    router.completion(
        "g",
        M,
        api_key="sk-mine",
        fallbacks=["nobody", {"model": "h", "messages": other, "temperature": 0, "extra_headers": {"x-b": "1"}}],
    )
    heard = three.b.requests[0]
    assert json.loads(heard.body)["messages"] == other
    assert json.loads(heard.body)["temperature"] == 0
    assert heard.headers["x-b"] == "1"
    assert three.a.requests[0].headers["authorization"] == "Bearer sk-mine"
    assert heard.headers["authorization"] == "Bearer sk-test"


def test_a_fallback_may_be_one_deployment(three: Three, events: list[Any]) -> None:
    three.a.answer(500, times=None)
    router = Router(
        [three.entry("a"), three.entry("b", "h", id="x7"), three.entry("c", "h")],
        fallbacks=[{"g": ["x7"]}],
        num_retries=0,
    )
    router.completion("g", M)
    assert events[-1].call.deployment == "x7"


def test_an_unknown_group_has_the_default_fallbacks_and_else_an_error_that_lists_the_groups(
    three: Three, events: list[Any]
) -> None:
    router = Router([three.entry("a")], default_fallbacks=["g"])
    router.completion("bad-model", M)
    assert attempts(events) == [("g", "a", "success", "fallback")]
    with pytest.raises(callmeter.BadRequestError, match=r"no 'model_name' with this string.*it has 'g'"):
        Router([three.entry("a")]).completion("bad-model", M)


@pytest.mark.parametrize(
    ("switch", "groups"),
    [
        ("mock_testing_fallbacks", ["g", "h"]),
        ("mock_testing_context_window_fallbacks", ["g", "h"]),
        ("mock_testing_content_policy_fallbacks", ["g", "h"]),
        ("mock_testing_rate_limit_error", ["g", "g"]),
    ],
)
@both
def test_a_configuration_can_be_tried_out(
    ask: Ask, switch: str, groups: list[str], three: Three, clock: FixedClock, events: list[Any]
) -> None:
    lists = {name: [{"g": ["h"]}] for name in ("context_window_fallbacks", "content_policy_fallbacks")}
    general = [{"g": ["h"]}] if switch == "mock_testing_fallbacks" else []
    router = Router([three.entry("a"), three.entry("b", "h")], fallbacks=general, clock=clock, **lists)
    ask(router, **{switch: True})
    assert [group for group, *_ in attempts(events)] == groups
    assert b"mock_testing" not in three.servers["b" if "h" in groups else "a"].requests[0].body


# --- cooldowns


def test_a_deployment_that_failed_rests_while_another_is_there(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(429)
    router = Router([three.entry("a", order=1), three.entry("b", order=2)], clock=clock)
    for _ in range(3):
        router.completion("g", M)
    assert three.asked == {"a": 1, "b": 3, "c": 0}
    clock.advance(5)
    router.completion("g", M)
    assert three.asked["a"] == 2


@both
def test_a_lone_deployment_is_asked_whatever_it_answered(
    ask: Ask, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    router = Router([three.entry("a")], num_retries=0, clock=clock)
    for status, error in (
        (401, callmeter.AuthenticationError),
        (429, callmeter.RateLimitError),
        (404, callmeter.NotFoundError),
    ):
        three.a.answer(status)
        with pytest.raises(error):
            ask(router)
    ask(router)
    assert three.asked["a"] == 4


def test_a_bad_key_is_told_as_that_and_not_as_a_rate_limit(three: Three, clock: FixedClock, events: list[Any]) -> None:
    three.a.answer(401, times=None)
    three.b.answer(401, times=None)
    router = Router([three.entry("a", order=1), three.entry("b", order=2)], clock=clock)
    for asked in (2, 2):
        with pytest.raises(callmeter.AuthenticationError) as caught:
            router.completion("g", M)
        assert sum(three.asked.values()) == asked
    assert "every deployment of model group 'g' had its credentials refused" in caught.value.message
    clock.advance(5)
    three.b.reset()
    router.completion("g", M)
    assert attempts(events)[-1] == ("g", "b", "success", "retry")


def test_the_callers_own_bad_key_is_not_the_deployments(three: Three, clock: FixedClock, events: list[Any]) -> None:
    three.a.answer(401)
    router = Router([three.entry("a", order=1), three.entry("b", order=2)], num_retries=0, clock=clock)
    router.completion("g", M, api_key="sk-bad")
    router.completion("g", M)
    assert three.asked == {"a": 2, "b": 1, "c": 0}


def test_where_all_rest_the_caller_is_told_for_how_long(three: Three, clock: FixedClock, events: list[Any]) -> None:
    three.a.answer(429)
    three.b.answer(429)
    router = Router([three.entry("a"), three.entry("b")], num_retries=1, cooldown_time=60, clock=clock)
    with pytest.raises(callmeter.RateLimitError, match="RateLimitError") as caught:
        router.completion("g", M)
    assert not isinstance(caught.value, callmeter.RouterRateLimitError)
    clock.advance(10)
    with pytest.raises(callmeter.RouterRateLimitError, match="Try again in 50 seconds") as told:
        router.completion("g", M)
    assert (told.value.status_code, told.value.cooldown_time) == (429, pytest.approx(50, abs=0.1))
    assert sorted(told.value.cooldown_list) == ["a", "b"]
    assert sum(three.asked.values()) == 2


def test_a_resting_group_is_passed_over_for_its_fallback_and_the_reason_is_recorded(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(500, times=None)
    router = Router(
        [three.entry("a"), three.entry("b", "h")],
        fallbacks=[{"g": ["h"]}],
        allowed_fails=0,
        cooldown_time=30,
        num_retries=0,
        clock=clock,
    )
    for _ in range(4):
        router.completion("g", M)
    assert three.asked == {"a": 1, "b": 4, "c": 0}
    assert attempts(events) == [("h", "b", "success", "fallback")]
    assert "a is cooling down for 30.0 s after InternalServerError (500)" in events[-1].attempts[0].because


def test_one_model_that_a_pattern_does_not_have_is_no_reason_to_rest(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.answer(404)
    router = Router(
        [
            three.entry("a", "openai/*", model="openai/*", order=1),
            three.entry("b", "openai/*", model="openai/*", order=2),
        ],
        num_retries=0,
        clock=clock,
    )
    router.completion("openai/typo", M)
    router.completion("openai/gpt-4o", M)
    assert three.asked["a"] == 2


# --- limits


def test_requests_beyond_the_limit_go_elsewhere_and_then_nowhere(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    router = Router(
        [three.entry("a", rpm=1, order=1), three.entry("b", rpm=2, order=2)],
        routing_strategy="usage-based-routing-v2",
        clock=clock,
    )
    for _ in range(3):
        router.completion("g", M)
    assert three.asked == {"a": 1, "b": 2, "c": 0}
    with pytest.raises(callmeter.RouterRateLimitError, match="a was sent 1 of its 1 requests a minute") as caught:
        router.completion("g", M)
    assert 60 <= caught.value.cooldown_time <= 61
    clock.advance(61)
    router.completion("g", M)
    assert three.asked["a"] == 2


def test_tokens_are_counted_as_the_provider_does(three: Three, clock: FixedClock, events: list[Any]) -> None:
    router = Router([three.entry("a", tpm=1_000)], clock=clock)
    router.completion("g", M, x_fake={"prompt_tokens": 600, "completion_tokens": 395})
    assert router.get_model_group_usage("g") == (995, 1)
    with pytest.raises(callmeter.RouterRateLimitError, match="has used 995 of its 1000 tokens"):
        router.completion("g", M)


def test_calls_beyond_the_parallel_limit_wait_their_turn(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", max_parallel_requests=2)])
    three.a.stall(times=None)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(router.completion("g", M))) for _ in range(5)]
    for thread in threads:
        thread.start()
    three.a.wait_for(lambda server: len(server.requests) == 2)
    load = router.state.loads(router.catalogue.members)["a"]
    assert (load.in_flight, len(three.a.requests)) == (2, 2)
    three.a.reset()
    three.a.release()
    for thread in threads:
        thread.join(10)
    assert len(results) == 5
    assert max(a.wait_s for event in events if hasattr(event, "attempts") for a in event.attempts) > 0


def test_tasks_beyond_the_parallel_limit_wait_their_turn_by_priority(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", max_parallel_requests=1)])

    async def main() -> list[str]:
        order: list[str] = []

        async def ask(name: str, priority: int | None) -> None:
            call = router.acompletion("g", M) if priority is None else router.schedule_acompletion("g", M, priority)
            await call
            order.append(name)

        three.a.stall(seconds=0.05)
        first = asyncio.create_task(ask("first", None))
        while not three.a.requests:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(ask(f"p{priority}", priority)) for priority in (3, 1, 2)]
        await asyncio.gather(first, *rest)
        return order

    assert asyncio.run(main()) == ["first", "p1", "p2", "p3"]


@streamed_or_not
def test_a_call_that_is_cancelled_or_dropped_gives_its_place_back(
    stream: bool, three: Three, events: list[Any]
) -> None:
    router = Router([three.entry("a", max_parallel_requests=1)])

    async def main() -> None:
        if stream:
            answer = await router.acompletion("g", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 2})
            await anext(answer)
            del answer
        else:
            three.a.stall()
            task = asyncio.create_task(router.acompletion("g", M))
            while not three.a.requests:
                await asyncio.sleep(0.001)
            waiting = asyncio.create_task(router.acompletion("g", M))
            await asyncio.sleep(0.01)
            for cancelled in (waiting, task):
                cancelled.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
        gc.collect()
        await router.acompletion("g", M)

    asyncio.run(main())
    assert router.state.loads(router.catalogue.members)["a"].in_flight == 0


def test_a_call_does_not_wait_longer_than_it_may(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a", max_parallel_requests=1)])
    lease = router.completion("g", M, stream=True, x_fake={"text": "one two", "stall_after_chunks": 1})
    with pytest.raises(callmeter.RouterRateLimitError, match="a has 1 of 1 calls in flight"):
        router.completion("g", M, timeout=0.05)
    lease.close()
    router.completion("g", M)


def test_the_least_busy_deployment_is_taken(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a"), three.entry("b")], routing_strategy="least-busy")
    stall = {"text": "one two", "stall_after_chunks": 2}
    open_streams = [router.completion("g", M, stream=True, x_fake=stall) for _ in range(4)]
    assert three.asked == {"a": 2, "b": 2, "c": 0}
    busy = [stream for stream in open_streams if stream._core.target.deployment.id == "a"]
    for stream in busy:
        stream.close()
    for _ in range(3):
        router.completion("g", M)
    assert three.asked["a"] == 5
    for stream in open_streams:
        stream.close()


def test_the_fastest_deployment_is_taken(three: Three, clock: FixedClock, events: list[Any]) -> None:
    def slow(_: Any, script: Any) -> Any:
        clock.advance(3)
        return script

    three.a.script(slow, times=None)
    router = Router([three.entry("a"), three.entry("b")], routing_strategy="latency-based-routing", clock=clock)
    for _ in range(8):
        router.completion("g", M)
    assert three.asked == {"a": 1, "b": 7, "c": 0}


# --- streams


@both
def test_a_stream_that_breaks_before_its_first_word_goes_on_elsewhere(
    ask: Ask, three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.raw(b'data: {"error": {"message": "overloaded", "type": "overloaded_error"}}\n\n', times=None)
    router = Router([three.entry("a"), three.entry("b", "h")], fallbacks=[{"g": ["h"]}], num_retries=1, clock=clock)
    chunks = ask(router, stream=True, x_fake={"text": "one two three"})
    assert text_of(chunks) == "one two three"
    assert attempts(events) == [
        ("g", "a", "failure", "first"),
        ("g", "a", "failure", "retry"),
        ("h", "b", "success", "fallback"),
    ]
    end = events[-1]
    assert end.cost.total == sum(attempt.cost.total for attempt in end.attempts)
    assert router.state.loads(router.catalogue.members)["a"].in_flight == 0


@both
def test_a_stream_that_breaks_later_is_not_begun_again(ask: Ask, three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a"), three.entry("b", "h")], fallbacks=[{"g": ["h"]}])
    with pytest.raises(callmeter.APIConnectionError):
        ask(router, stream=True, x_fake={"text": "one two three", "cut_after_chunks": 3})
    assert three.asked == {"a": 1, "b": 0, "c": 0}
    assert router.state.loads(router.catalogue.members)["a"].in_flight == 0


# --- the caller's own strategy


class Pinned(CustomRoutingStrategyBase):
    def __init__(self, router: Router, id: str) -> None:
        self.router, self.id, self.asked = router, id, list[Any]()

    def get_available_deployment(self, model: str, messages: Any = None, **given: Any) -> Any:
        self.asked.append((model, messages, given["request_kwargs"].get("metadata")))
        return next((entry for entry in self.router.model_list if entry["model_info"]["id"] == self.id), None)

    async def async_get_available_deployment(self, model: str, messages: Any = None, **given: Any) -> Any:
        await asyncio.sleep(0)
        return self.get_available_deployment(model, messages, **given)


@both
def test_the_callers_own_strategy_chooses(ask: Ask, three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a"), three.entry("b")])
    strategy = Pinned(router, "b")
    router.set_custom_routing_strategy(strategy)
    for _ in range(3):
        ask(router, metadata={"who": "me"})
    assert three.asked == {"a": 0, "b": 3, "c": 0}
    assert strategy.asked[0] == ("g", M, {"who": "me"})
    strategy.id = "nobody"
    with pytest.raises(callmeter.ConfigError, match="Pinned chose None, which is no deployment of the group"):
        ask(router)


def test_a_strategy_for_awaited_calls_alone_says_so(three: Three, events: list[Any]) -> None:
    class AsyncOnly(CustomRoutingStrategyBase):
        async def async_get_available_deployment(self, model: str, *_: Any, **given: Any) -> Any:
            return router.model_list[0]

    router = Router([three.entry("a")])
    router.set_custom_routing_strategy(AsyncOnly())
    async_ask(router)
    with pytest.raises(NotImplementedError, match="AsyncOnly has no get_available_deployment; awaited calls only"):
        sync_ask(router)
    assert isinstance(events[-1], CallFailed)


# --- several calls at once


def test_calls_can_be_made_at_once(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a"), three.entry("b", "h")])

    async def main() -> None:
        answers = await router.abatch_completion(["g", "h", "nope"], M)
        assert [type(answer).__name__ for answer in answers] == ["Completion", "Completion", "BadRequestError"]
        nested = await router.abatch_completion(["g", "h"], [M, M, M])
        assert [len(answers) for answers in nested] == [2, 2, 2]
        assert len(await router.abatch_completion_one_model_multiple_requests("g", [M, M])) == 2

    asyncio.run(main())


def test_the_fastest_of_several_groups_answers_and_the_others_are_cancelled(three: Three, events: list[Any]) -> None:
    three.a.stall(times=None)
    router = Router([three.entry("a"), three.entry("b", "h")])

    async def main() -> None:
        answer = await router.abatch_completion_fastest_response("g, h", M, x_fake={"text": "quick"})
        assert text_of(answer) == "quick"
        with pytest.raises(callmeter.BadRequestError, match="There is no 'model_name'"):
            await router.abatch_completion_fastest_response(["x", "y"], M)

    asyncio.run(main())
    ends = [event for event in events if hasattr(event, "attempts")]
    assert Counter(end.error.error_class if end.error else "" for end in ends)["cancelled"] == 1
    assert all(load.in_flight == 0 for load in router.state.loads(router.catalogue.members).values())


# --- what is offered, and changing it


def test_deployments_come_and_go_while_the_router_is_in_use(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a")])
    assert router.add_deployment(three.entry("b"))["model_info"]["id"] == "b"  # type: ignore[index]
    assert router.add_deployment(three.entry("b")) is None
    router.upsert_deployment(three.entry("b", "h"))
    assert (router.get_model_ids("g"), router.get_model_ids("h"), router.get_model_names()) == (
        ["a"],
        ["b"],
        ["g", "h"],
    )
    assert router.delete_deployment("a").model_name == "g"  # type: ignore[union-attr]
    assert router.delete_deployment("a") is None
    with pytest.raises(callmeter.BadRequestError):
        router.completion("g", M)
    router.set_model_list([three.entry("c")])
    router.completion("g", M)
    assert three.asked["c"] == 1
    with pytest.raises(callmeter.ConfigError, match=r"model_list\[1\]"):
        router.set_model_list([three.entry("a"), {"model_name": "x"}])
    assert router.get_model_ids() == ["c"]


def test_a_call_under_way_ends_where_it_is(three: Three, events: list[Any]) -> None:
    router = Router([three.entry("a")])
    stream = router.completion("g", M, stream=True, x_fake={"text": "one two three"})
    router.set_model_list([three.entry("b")])
    assert text_of(list(stream)) == "one two three"


def test_a_provider_that_nobody_knows_is_refused_at_once() -> None:
    bad = [{"model_name": "g", "litellm_params": {"model": "bogus/x"}}]
    with pytest.raises(callmeter.ConfigError, match=r"model_list\[0\] \('g'\): LLM Provider NOT provided"):
        Router(bad)
    assert Router(bad, ignore_invalid_deployments=True).model_list == []


def test_what_is_offered_is_listed(three: Three) -> None:
    router = Router(
        [three.entry("a", rpm=3), three.entry("b", rpm=4), three.entry("c", "openai/*", model="openai/*")],
        model_group_alias={"open": "g", "secret": {"model": "g", "hidden": True}},
    )
    assert [entry["model_name"] for entry in router.get_model_list()] == ["g", "g", "openai/*", "open", "open"]
    assert [entry["model_info"]["id"] for entry in router.get_model_list("secret")] == ["a", "b"]
    assert router.get_model_list("openai/o3")[0]["litellm_params"]["model"] == "openai/o3"
    assert router.model_names == {"g", "openai/*"}
    assert router.has_model_id("a")
    assert router.get_deployment("a").litellm_params.model == "openai/gpt-4o"  # type: ignore[union-attr]
    assert router.get_deployment("x") is router.get_model_info("x") is router.get_model_group_info("x") is None
    info = router.get_model_group_info("g")
    assert info is not None
    assert (info.rpm, info.tpm, info.providers, info.max_input_tokens) == (7, None, ["openai"], 128_000)
    assert "temperature" in info.supported_openai_params


def test_the_deployment_that_a_call_would_have_is_told_without_a_call(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    router = Router([three.entry("a", order=1, rpm=1), three.entry("b", order=2)], clock=clock)
    assert [router.get_available_deployment("g")["model_info"]["id"] for _ in range(3)] == ["a"] * 3
    router.completion("g", M)
    assert asyncio.run(router.async_get_available_deployment("g"))["model_info"]["id"] == "b"
    with pytest.raises(callmeter.BadRequestError):
        router.get_available_deployment("nope")


def test_settings_can_be_read_and_changed(three: Three, clock: FixedClock, events: list[Any]) -> None:
    router = Router([three.entry("a"), three.entry("b", "h")], clock=clock)
    assert (router.num_retries, router.allowed_fails, router.cooldown_time, router.max_fallbacks) == (2, 3, 5.0, 5)
    router.update_settings(num_retries=0, fallbacks=[{"g": ["h"]}])
    assert router.get_settings()["fallbacks"] == [{"g": ["h"]}]
    three.a.answer(500, times=None)
    router.completion("g", M)
    assert three.asked == {"a": 1, "b": 1, "c": 0}
    with pytest.raises(callmeter.ConfigError):
        router.update_settings(num_retries=-1)
    assert router.num_retries == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        router.nothing  # noqa: B018


def test_what_is_known_can_be_forgotten(three: Three, clock: FixedClock, events: list[Any]) -> None:
    router = Router([three.entry("a", rpm=1)], clock=clock)
    router.completion("g", M)
    router.flush_cache()
    router.completion("g", M)
    assert three.asked["a"] == 2


def test_timeouts_are_the_calls_else_the_deployments_else_the_routers(
    three: Three, clock: FixedClock, events: list[Any]
) -> None:
    three.a.stall(times=None)
    for settings, entry, call in (
        ({"timeout": 0.05}, {}, {}),
        ({"timeout": 60}, {"timeout": 0.05}, {}),
        ({"timeout": 60}, {"timeout": 60}, {"timeout": 0.05}),
        ({"stream_timeout": 0.05}, {}, {"stream": True}),
        ({"stream_timeout": 60}, {"stream_timeout": 0.05}, {"stream": True}),
    ):
        router = Router([three.entry("a", **entry)], num_retries=0, **settings)
        with pytest.raises(callmeter.Timeout):
            sync_ask(router, **call)


class Fallbacks(CustomLogger):
    def __init__(self) -> None:
        super().__init__()
        self.told = list[Any]()

    async def log_success_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
        self.told.append(("success", original_model_group, kwargs["model_id"], original_exception))

    async def log_failure_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
        self.told.append(("failure", original_model_group, kwargs["model_id"], original_exception))


def test_callbacks_hear_of_fallbacks(
    three: Three, clock: FixedClock, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Fallbacks()
    monkeypatch.setattr(callmeter, "callbacks", [heard])
    router = Router(
        [three.entry("a"), three.entry("b", "h")], fallbacks=[{"g": ["h"]}], num_retries=0, allowed_fails=0, clock=clock
    )
    router.completion("h", M)
    three.a.answer(500, times=None)
    router.completion("g", M)
    router.completion("g", M)
    three.b.answer(401, times=None)
    with pytest.raises(callmeter.AuthenticationError):
        router.completion("g", M)
    callmeter.flush(5)
    assert [told[:3] for told in heard.told] == [("success", "g", "b"), ("success", "g", "b"), ("failure", "g", "b")]
    errors = [told[3] for told in heard.told]
    assert [type(error).__name__ for error in errors] == [
        "InternalServerError",
        "RouterRateLimitError",
        "RouterRateLimitError",
    ]
    assert errors[0].status_code == 500
    assert "a is cooling down" in errors[1].message
