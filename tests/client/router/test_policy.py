"""What follows from a failure: retries, cooldowns, fallbacks, and what the caller is told."""

import pytest

from callmeter import errors
from callmeter.client.router.decide import Need, Obstacle
from callmeter.client.router.elsewhere import Elsewhere, Fallbacks, asked_for, table_of
from callmeter.client.router.load import Cooldown, Load
from callmeter.client.router.options import Options, options_of
from callmeter.client.router.policy import (
    AllowedFailsPolicy,
    Record,
    RetryPolicy,
    Rules,
    cooldown_s,
    fails_for,
    kind_of,
    policy_of,
    retries_for,
)
from callmeter.client.router.refusals import refused, unknown
from callmeter.errors import ConfigError
from tests.client.router.made import member

ONE = Record(1, 1, 1)


@pytest.mark.parametrize(
    ("error", "record", "expected"),
    [
        (errors.RateLimitError("x"), ONE, 5.0),
        (errors.RateLimitError("x", retry_after_s=30), ONE, 30.0),
        (errors.RateLimitError("x", retry_after_s=1), ONE, 5.0),
        (errors.RateLimitError("x", retry_after_s=86_400), ONE, 120.0),
        (errors.AuthenticationError("x"), ONE, 5.0),
        (errors.PermissionDeniedError("x"), ONE, 5.0),
        (errors.NotFoundError("x"), ONE, 5.0),
        (errors.Timeout("x"), ONE, 5.0),
        (errors.Timeout("x", status_code=504), ONE, 5.0),
        (errors.BadRequestError("x"), Record(9, 9, 9), 0.0),
        (errors.ContextWindowExceededError("x"), Record(9, 9, 9), 0.0),
        (errors.UnsupportedParamsError("x"), Record(9, 9, 9), 0.0),
        (errors.UnprocessableEntityError("x"), Record(9, 9, 9), 0.0),
        (errors.InternalServerError("x"), ONE, 0.0),
        (errors.InternalServerError("x"), Record(3, 3, 3), 0.0),
        (errors.InternalServerError("x"), Record(4, 4, 4), 5.0),
        (errors.InternalServerError("x"), Record(5, 3, 3), 5.0),
        (errors.InternalServerError("x"), Record(6, 3, 3), 0.0),
        (errors.InternalServerError("x"), Record(10_000, 50, 50), 0.0),
        (errors.APIConnectionError("x"), Record(5, 5, 1), 5.0),
    ],
)
def test_the_usual_rules(error: errors.APIError, record: Record, expected: float) -> None:
    assert cooldown_s(error, record, Rules()) == expected


def test_a_number_of_allowed_failures_is_what_counts_where_somebody_chose_one() -> None:
    rules, limit = Rules(allowed_fails=1, cooldown_s=100), errors.RateLimitError("x")
    assert cooldown_s(limit, Record(1, 1, 1), rules) == 0
    assert cooldown_s(limit, Record(9, 2, 1), rules) == 100
    assert cooldown_s(limit, Record(9, 2, 1), rules, allowed_fails=5) == 0
    assert cooldown_s(limit, Record(9, 6, 1), rules, allowed_fails=5, own_s=7) == 7


def test_a_policy_goes_by_the_kind_of_failure() -> None:
    policy = AllowedFailsPolicy(ContentPolicyViolationErrorAllowedFails=2, RateLimitErrorAllowedFails=100)
    rules = Rules(policy=policy)
    assert cooldown_s(errors.RateLimitError("x"), Record(100, 100, 100), rules) == 0
    assert cooldown_s(errors.RateLimitError("x"), Record(101, 101, 101), rules) == 5
    assert cooldown_s(errors.ContentPolicyViolationError("x"), Record(9, 9, 2), rules) == 0
    assert cooldown_s(errors.ContentPolicyViolationError("x"), Record(9, 9, 3), rules) == 5
    assert cooldown_s(errors.AuthenticationError("x"), ONE, rules) == 5


def test_cooldowns_can_be_off_for_one_and_for_all() -> None:
    assert cooldown_s(errors.RateLimitError("x"), ONE, Rules(), own_s=0) == 0
    assert cooldown_s(errors.RateLimitError("x"), ONE, Rules(off=True)) == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ContentPolicyViolationError("x"), "ContentPolicyViolationError"),
        (errors.ContextWindowExceededError("x"), "BadRequestError"),
        (errors.Timeout("x"), "TimeoutError"),
        (errors.ServiceUnavailableError("x"), "ServiceUnavailableError"),
        (errors.BadGatewayError("x"), "BadGatewayError"),
        (errors.InternalServerError("x"), "InternalServerError"),
        (errors.RouterRateLimitError("x"), "RateLimitError"),
        (errors.APIConnectionError("x"), ""),
    ],
)
def test_policies_know_failures_by_the_nearest_name(error: errors.APIError, kind: str) -> None:
    assert kind_of(error) == kind
    assert retries_for(RetryPolicy(DefaultRetries=7), error) == 7
    if kind:
        assert retries_for(RetryPolicy(DefaultRetries=7, **{f"{kind}Retries": 1}), error) == 1
        assert fails_for(AllowedFailsPolicy(**{f"{kind}AllowedFails": 4}), error) == 4
    assert retries_for(None, error) is fails_for(None, error) is None


def test_a_policy_may_be_given_as_a_mapping() -> None:
    assert policy_of(RetryPolicy, {"TimeoutErrorRetries": 3}, "retry_policy") == RetryPolicy(TimeoutErrorRetries=3)
    with pytest.raises(ConfigError, match="retry_policy has no 'TimeoutRetries'"):
        policy_of(RetryPolicy, {"TimeoutRetries": 3}, "retry_policy")
    with pytest.raises(ConfigError, match=r"retry_policy is \{'TimeoutErrorRetries': 'x'\}"):
        policy_of(RetryPolicy, {"TimeoutErrorRetries": "x"}, "retry_policy")


# --- fallbacks

TABLES = Fallbacks(
    general=table_of([{"a": ["b", {"model": "c", "temperature": 0}]}], "fallbacks", ["z"]),
    context_window=table_of([{"a": ["long"]}], "context_window_fallbacks"),
    content_policy=table_of({"a": ["lenient"]}, "content_policy_fallbacks"),
)


@pytest.mark.parametrize(
    ("error", "group", "expected"),
    [
        (errors.InternalServerError("x"), "a", ["b", "c"]),
        (errors.ContextWindowExceededError("x"), "a", ["long"]),
        (errors.ContentPolicyViolationError("x"), "a", ["lenient"]),
        (errors.InternalServerError("x"), "b", ["z"]),
        (errors.ContextWindowExceededError("x"), "b", ["z"]),
    ],
)
def test_each_kind_of_failure_has_its_fallbacks(error: errors.APIError, group: str, expected: list[str]) -> None:
    assert [elsewhere.group for elsewhere in TABLES.after(error, [group])] == expected


def test_a_call_may_bring_fallbacks_of_its_own() -> None:
    assert asked_for(["b", {"model": "c", "n": 2}], "a", "fallbacks") == {
        "a": (Elsewhere("b"), Elsewhere("c", {"n": 2}))
    }
    assert asked_for([{"a": ["b"]}, {"x": ["y"]}], "a", "fallbacks") == {"a": (Elsewhere("b"),), "x": (Elsewhere("y"),)}
    assert asked_for("b", "a", "fallbacks") == {"a": (Elsewhere("b"),)}


@pytest.mark.parametrize("bad", [["a"], [{"a": "b"}], [{"a": [7]}], [{"a": [{"no": "model"}]}], 7])
def test_fallbacks_of_another_form_are_refused(bad: object) -> None:
    with pytest.raises((ConfigError, TypeError), match=r"fallbacks|iterable"):
        options_of({"fallbacks": bad})


# --- what the caller is told


def resting(id: str, status: int, seconds: float = 4.0) -> Obstacle:
    cooldown = Cooldown(1, "AuthenticationError" if status == 401 else "RateLimitError", status, f"{id} said no")
    return Obstacle("cooldown", member(id), seconds, Load(cooldown=cooldown, cooldown_s=seconds))


def test_deployments_that_rest_are_told_with_the_time_until_the_first_is_back() -> None:
    error = refused("g", Need(), [resting("a", 429), resting("b", 401, 3.0)])
    assert isinstance(error, errors.RouterRateLimitError)
    assert "No deployments available for selected model, Try again in 3 seconds. Passed model=g." in error.message
    assert "b is cooling down for 3.0 s after AuthenticationError (401)" in error.message
    assert (error.status_code, error.retry_after_s, error.cooldown_list) == (429, 3.0, ["a", "b"])


def test_keys_that_were_refused_are_told_as_that() -> None:
    error = refused("g", Need(), [resting("a", 401), resting("b", 403)])
    assert isinstance(error, errors.AuthenticationError)
    assert "a said no; b said no" in error.message
    assert isinstance(refused("g", Need(), [resting("a", 403)]), errors.PermissionDeniedError)


def test_a_call_that_fits_nowhere_is_told_why() -> None:
    small = Obstacle("window", member("a", window=10))
    assert isinstance(refused("g", Need(prompt_tokens=50), [small]), errors.ContextWindowExceededError)
    tagged = refused("g", Need(tags=frozenset({"x"})), [Obstacle("tags", member("a"))])
    assert isinstance(tagged, errors.RejectedRequestError)
    assert "Not allowed to access model due to tags configuration. Passed model=g and tags=['x']" in tagged.message
    assert "region 'eu'" in refused("g", Need(region="eu"), [Obstacle("region", member("a"))]).message
    assert "'a', 'b'" in unknown("nope", ["a", "b"]).message


# --- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"routing_strategy": "fastest"}, "routing_strategy is 'fastest'; it takes 'simple-shuffle'"),
        ({"num_retries": -1}, "num_retries is -1"),
        ({"cooldown_time": "soon"}, "cooldown_time is 'soon'"),
        ({"enable_tag_filtering": "yes"}, "enable_tag_filtering is 'yes'; it takes True or False"),
        ({"fallbacks": "b"}, "fallbacks is 'b'; it takes a list"),
        ({"retry_policy": {"X": 1}}, "retry_policy has no 'X'"),
    ],
)
def test_a_setting_that_cannot_be_is_named(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_of(given)


def test_an_unknown_setting_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="no argument 'num_retrys'; did you mean 'num_retries'"):
        options_of({"num_retrys": 1})


def test_settings_that_do_nothing_here_are_said_to(caplog: pytest.LogCaptureFixture) -> None:
    assert options_of({"cache_responses": True, "client_ttl": 5, "polling_interval": None}) == options_of({})
    assert "cache_responses" in caplog.text
    assert "client_ttl" not in caplog.text


def test_settings_are_changed_over_those_that_were() -> None:
    before = options_of({"num_retries": 5, "default_fallbacks": ["z"]})
    after = options_of({"cooldown_time": 9}, before)
    assert (after.num_retries, after.rules.cooldown_s, [e.group for e in after.elsewhere.general["*"]]) == (
        5,
        9.0,
        ["z"],
    )
    assert options_of({"num_retries": None}, before).num_retries is None
    assert Options().shown()["allowed_fails"] == 3
