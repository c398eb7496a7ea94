"""Which attempt comes next."""

from hypothesis import given
from hypothesis import strategies as st

from callmeter import errors
from callmeter.client.plan import LAST_BACKOFF_S, MAX_SERVER_DELAY_S, Plan, Step, retryable


def plan(targets: int = 1, max_retries: int = 2, for_long_prompts: int | None = None) -> Plan:
    return Plan(targets, max_retries, for_long_prompts)


def busy(**given: object) -> errors.RateLimitError:
    return errors.RateLimitError("busy", **given)  # type: ignore[arg-type]


def test_a_busy_server_is_tried_again_after_a_pause() -> None:
    assert plan().after(0, 1, busy(), 0.0, None) == Step(0, 0.5, "retry")


def test_the_pause_doubles_and_jitter_only_shortens_it() -> None:
    waits = [plan(max_retries=9).after(0, tries, busy(), 0.0, None).wait_s for tries in range(1, 8)]  # type: ignore[union-attr]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, LAST_BACKOFF_S]
    assert plan().after(0, 1, busy(), 1.0, None) == Step(0, 0.375, "retry")


def test_retry_after_is_what_the_server_says() -> None:
    assert plan().after(0, 1, busy(retry_after_s=7.0), 1.0, None) == Step(0, 7.0, "retry")


def test_a_server_that_asks_for_too_much_is_not_waited_for() -> None:
    assert plan().after(0, 1, busy(retry_after_s=MAX_SERVER_DELAY_S + 1), 0.0, None) is None


def test_retries_are_counted_per_target() -> None:
    assert plan(max_retries=2).after(0, 3, busy(), 0.0, None) is None
    assert plan(targets=2, max_retries=2).after(0, 3, busy(), 0.0, None) == Step(1, 0.0, "fallback")


def test_a_wrong_key_is_not_retried_but_another_target_is_tried() -> None:
    wrong = errors.AuthenticationError("no")
    assert plan().after(0, 1, wrong, 0.0, None) is None
    assert plan(targets=2).after(0, 1, wrong, 0.0, None) == Step(1, 0.0, "fallback")


def test_a_long_prompt_goes_to_the_target_for_long_prompts_and_nothing_else_does() -> None:
    long = errors.ContextWindowExceededError("too long")
    assert plan(targets=3, for_long_prompts=2).after(0, 1, long, 0.0, None) == Step(2, 0.0, "fallback")
    assert plan(targets=2, for_long_prompts=1).after(1, 1, long, 0.0, None) is None
    assert plan(targets=2, for_long_prompts=1).after(0, 1, errors.AuthenticationError("no"), 0.0, None) is None


def test_no_pause_outlasts_the_whole_calls_time() -> None:
    assert plan().after(0, 1, busy(retry_after_s=5.0), 0.0, 4.9) is None
    assert plan().after(0, 1, busy(retry_after_s=5.0), 0.0, 5.1) is not None


def test_the_servers_own_word_on_retrying_wins() -> None:
    assert not retryable(errors.InternalServerError("no", retryable=False))
    assert retryable(errors.BadRequestError("again", retryable=True))


def test_what_is_retried_by_default() -> None:
    again = [errors.Timeout("t"), errors.APIConnectionError("c"), errors.RateLimitError("r"), errors.ConflictError("c")]
    again += [errors.InternalServerError("i"), errors.BadGatewayError("b"), errors.ServiceUnavailableError("s")]
    never = [errors.BadRequestError("b"), errors.AuthenticationError("a"), errors.NotFoundError("n")]
    never += [errors.UnprocessableEntityError("u"), errors.APIResponseValidationError("v")]
    assert [retryable(error) for error in again] == [True] * len(again)
    assert [retryable(error) for error in never] == [False] * len(never)


@given(st.integers(1, 5), st.integers(0, 4), st.floats(0, 1))
def test_a_plan_always_comes_to_an_end(targets: int, max_retries: int, jitter: float) -> None:
    p, at, tries, steps = plan(targets, max_retries), 0, 1, 0
    while (step := p.after(at, tries, busy(), jitter, None)) is not None:
        tries = tries + 1 if step.target == at else 1
        at, steps = step.target, steps + 1
    assert steps == targets * (max_retries + 1) - 1
