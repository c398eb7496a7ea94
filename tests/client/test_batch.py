"""Many calls at once: the answers in order, failures in place, each call with events of its own."""

import threading
from typing import Any

import pytest

import callmeter
from callmeter.events.model import CallFailed, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider

M = [{"role": "user", "content": "Hi"}]


def said(number: int) -> list[dict[str, str]]:
    """A conversation that the provider counts more tokens in than in those of lower numbers."""
    return [{"role": "user", "content": "say it. " * (number + 1)}]


def ends(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, CallSucceeded | CallFailed | StreamCompleted)]


def test_answers_come_in_the_order_of_the_conversations(provider: FakeProvider, events: list[Any]) -> None:
    with callmeter.tags(project="batch"):
        answers = callmeter.batch_completion("openai/gpt-4o", [said(n) for n in range(20)], max_workers=4)
    assert [answer._hidden_params["response_cost"] is not None for answer in answers] == [True] * 20
    assert len({answer._hidden_params["litellm_call_id"] for answer in answers}) == len(ends(events)) == 20
    assert {event.call.project for event in ends(events)} == {"batch"}
    counts = [answer.usage.prompt_tokens for answer in answers]
    assert counts == sorted(set(counts))


def test_a_failure_stands_in_its_place(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(401, times=1)
    answers = callmeter.batch_completion("openai/gpt-4o", [said(n) for n in range(3)], max_workers=1)
    assert [type(answer).__name__ for answer in answers] == ["AuthenticationError", "Completion", "Completion"]
    assert [type(event).__name__ for event in ends(events)] == ["CallFailed", "CallSucceeded", "CallSucceeded"]


def test_streams_are_read_by_their_caller(provider: FakeProvider, events: list[Any]) -> None:
    streams = callmeter.batch_completion("openai/gpt-4o", [said(1), said(2)], stream=True)
    assert ends(events) == []
    assert all(len(list(stream)) > 1 for stream in streams)
    assert len(ends(events)) == 2


def test_nothing_to_ask_is_an_empty_list_and_a_single_conversation_an_error(events: list[Any]) -> None:
    assert callmeter.batch_completion("openai/gpt-4o", []) == []
    with pytest.raises(callmeter.BadRequestError, match="list of conversations"):
        callmeter.batch_completion("openai/gpt-4o", M)
    for ask in (callmeter.batch_completion_models, callmeter.batch_completion_models_all_responses):
        with pytest.raises(callmeter.BadRequestError, match="no model to ask"):
            ask(models=[], messages=M)


def test_every_model_answers_in_the_models_order(provider: FakeProvider, events: list[Any]) -> None:
    models = ["openai/gpt-4o", "openai/of-nobody", "openai/gpt-4o-mini"]
    answers = callmeter.batch_completion_models_all_responses(models=models, messages=M, temperature=0)
    assert [answer._hidden_params["litellm_model_name"] for answer in answers] == models
    assert sorted(event.cost.status for event in ends(events)) == ["priced", "priced", "unpriced"]


def test_a_model_that_fails_stands_in_its_place(provider: FakeProvider, events: list[Any]) -> None:
    answers = callmeter.batch_completion_models_all_responses(["openai/gpt-4o", "nobody's"], M)
    assert [isinstance(answer, Exception) for answer in answers] == [False, True]


def test_the_fastest_answer_wins_and_the_others_are_accounted_for(provider: FakeProvider, events: list[Any]) -> None:
    held = threading.Event()
    ended = threading.Event()

    def watch(event: Any) -> None:
        if isinstance(event, CallSucceeded) and event.call.model == "gpt-4o":
            ended.set()

    callmeter.runtime.default_runtime().subscribe(watch, inline=True)
    real = callmeter.client.batch._ask

    def ask(call: dict[str, Any]) -> Any:
        if call["model"] == "openai/gpt-4o":
            assert held.wait(30)
        return real(call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callmeter.client.batch, "_ask", ask)
        answer = callmeter.batch_completion_models(models=["openai/gpt-4o", "openai/gpt-4o-mini"], messages=M)
    assert answer._hidden_params["litellm_model_name"] == "openai/gpt-4o-mini"
    held.set()
    assert ended.wait(30)
    assert sorted(event.call.model for event in ends(events)) == ["gpt-4o", "gpt-4o-mini"]


def test_a_failure_does_not_win(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.batch_completion_models(["nobody's", "openai/gpt-4o"], M)
    assert answer._hidden_params["litellm_model_name"] == "openai/gpt-4o"


def test_where_all_fail_the_first_models_error_is_raised(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(404, times=None)
    with pytest.raises(callmeter.NotFoundError) as caught:
        callmeter.batch_completion_models(["openai/gpt-4o", "openai/gpt-4o-mini"], M)
    assert caught.value.model == "gpt-4o"


def test_deployments_bring_arguments_of_their_own(provider: FakeProvider, events: list[Any]) -> None:
    deployments = [{"model": "openai/gpt-4o", "api_key": "sk-own", "model_info": {"id": "east"}}]
    answer = callmeter.batch_completion_models(deployments=deployments, messages=M)
    assert answer._hidden_params["model_id"] == "east"
    assert provider.requests[0].headers["authorization"] == "Bearer sk-own"


def test_streams_that_did_not_win_are_closed(provider: FakeProvider, events: list[Any]) -> None:
    both = threading.Barrier(2, timeout=30)
    real = callmeter.client.batch._ask

    def ask(call: dict[str, Any]) -> Any:
        stream = real(call)
        both.wait()
        return stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callmeter.client.batch, "_ask", ask)
        winner = callmeter.batch_completion_models(["openai/gpt-4o", "openai/gpt-4o-mini"], M, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in winner)
    for thread in threading.enumerate():
        if thread.name.startswith("callmeter-batch"):
            thread.join(30)
    assert len(ends(events)) == 2
    assert {type(event).__name__ for event in ends(events)} <= {"StreamCompleted", "CallFailed"}
