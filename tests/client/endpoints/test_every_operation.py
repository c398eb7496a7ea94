"""What holds for every operation: its events, its errors and retries, what callbacks and the ledger are told."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

import callmeter
from callmeter import ledger
from callmeter.caching import Cache
from callmeter.client.operations import OPERATIONS
from callmeter.client.providers import BY_NAME, CHATTED
from callmeter.events.model import AttemptFailed, CallFailed, CallStarted, CallSucceeded
from callmeter.integrations.custom_logger import CustomLogger
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.testing import FakeProvider, capture_events
from tests.client.endpoints.asked import OPERATIONS as ASKED

REDACTED = "redacted-by-litellm"


def test_every_operation_is_here() -> None:
    assert {asked.name for asked in ASKED} == OPERATIONS.keys() - {"chat"}


def test_a_call_has_a_start_and_an_end_that_say_what_it_was_and_cost(
    ask: Any, asked: Any, provider: FakeProvider, events: list[Any]
) -> None:
    answer = ask()
    start, end = events
    assert isinstance(start, CallStarted)
    assert isinstance(end, CallSucceeded)
    assert (end.call.operation, end.call.provider) == (asked.name, asked.provider)
    assert end.call.model_requested == asked.model
    assert end.call == start.call
    assert end.cost.status in ("priced", "free")
    assert answer._hidden_params["cost"] == end.cost
    assert answer._hidden_params["litellm_call_id"] == end.call.call_id
    assert answer.response_ms == end.latency_s * 1e3


def test_a_busy_provider_is_asked_again_and_then_another(ask: Any, asked: Any, provider: FakeProvider) -> None:
    async def at_once(_: float) -> None:
        return None

    with capture_events(sleep=lambda _: None, asleep=at_once, jitter=lambda: 0.0) as events:
        provider.answer(503, times=2)
        ask(num_retries=1, fallbacks=[asked.model])
    assert [type(event) for event in events] == [CallStarted, AttemptFailed, AttemptFailed, CallSucceeded]
    assert [attempt.reason for attempt in events[-1].attempts] == ["first", "retry", "fallback"]


def test_an_error_is_chats_error(ask: Any, asked: Any, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(401, times=None)
    with pytest.raises(callmeter.AuthenticationError) as caught:
        ask()
    assert caught.value.llm_provider == asked.provider
    assert isinstance(events[-1], CallFailed)
    assert len(provider.requests) == 1


def test_an_answer_that_is_none_says_so(ask: Any, provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(200, body=b'{"error": {"message": "overloaded", "code": "server_error"}}')
    with pytest.raises(callmeter.InternalServerError, match="overloaded"):
        ask(num_retries=0)
    assert isinstance(events[-1], CallFailed)


def test_a_mock_needs_no_provider(ask: Any, asked: Any, events: list[Any]) -> None:
    answer = ask(mock_response=asked.mock)
    assert asked.shows(answer) == asked.mock
    assert isinstance(events[-1], CallSucceeded)
    with pytest.raises(callmeter.RateLimitError):
        ask(mock_response=callmeter.RateLimitError("no"), num_retries=0)


def test_an_answer_is_cached_and_found_by_the_blocking_and_the_awaited_function(
    ask: Any, asked: Any, provider: FakeProvider, events: list[Any], switched_on: Any
) -> None:
    switched_on(Cache(supported_call_types=(asked.name, f"a{asked.name}")))
    mock = {"mock_response": asked.mock} if asked.provider != "openai" else {}
    first, again = ask(**mock), asked(**mock)
    assert (type(again), again) == (type(first), first)
    miss, hit = (event for event in events if isinstance(event, CallSucceeded))
    assert (miss.cache_hit, hit.cache_hit) == (False, True)
    assert (hit.cost.total, hit.cost.status, hit.cost.saved) == (0, "free", miss.cost.total)
    assert again._hidden_params["cache_key"] == first._hidden_params["cache_key"]
    assert len(provider.requests) <= 1


def test_callbacks_are_told_the_call_the_prompt_and_the_answer(ask: Any, asked: Any, provider: FakeProvider) -> None:
    seen: list[Any] = []
    with using(Runtime()) as runtime:
        ask(metadata={"trace": "t"}, custom=3, success_callback=[lambda *given: seen.append(given)])
        runtime.close(5)
    ((kwargs, response, start, end),) = seen
    assert kwargs["call_type"] in (asked.name, f"a{asked.name}")
    assert kwargs["input"] == kwargs["messages"] == asked.prompt
    assert kwargs["optional_params"]["custom"] == 3
    assert kwargs["optional_params"].keys().isdisjoint(OPERATIONS[asked.name].prompt)
    assert kwargs["litellm_params"]["metadata"] == {"trace": "t"}
    assert start <= end
    payload = kwargs["standard_logging_object"]
    assert (payload["call_type"], payload["messages"]) == (kwargs["call_type"], asked.prompt)
    assert payload["response"] == response.model_dump()
    assert payload["response_cost"] == kwargs["response_cost"] == float(kwargs["cost"].total)


def test_a_logger_hears_of_blocking_and_of_awaited_calls_by_their_own_hook(asked: Any, provider: FakeProvider) -> None:
    class Logger(CustomLogger):
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            heard.append(("sync", kwargs["call_type"]))

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            heard.append(("async", kwargs["call_type"]))

    heard: list[tuple[str, str]] = []
    with using(Runtime()) as runtime:
        asked(success_callback=[Logger()])
        asked.awaited(success_callback=[Logger()])
        runtime.close(5)
    assert heard == [("sync", asked.name), ("async", f"a{asked.name}")]


def test_a_callback_that_sees_no_content_sees_neither_prompt_nor_answer(asked: Any, provider: FakeProvider) -> None:
    shown: list[Any] = []
    with using(Runtime()) as runtime:
        asked(success_callback=[lambda *given: shown.append(given)])
        asked(success_callback=[lambda *given: shown.append(given)], turn_off_message_logging=True)
        runtime.close(5)
    (_, whole, *_), (kwargs, redacted, *_) = shown
    assert set(_leaves(kwargs["input"])) == {REDACTED}
    assert kwargs["standard_logging_object"]["messages"] == kwargs["input"]
    made = set(_leaves(whole.model_dump())) - set(_leaves(redacted.model_dump()))
    assert made
    assert redacted.model_dump().get("usage") == whole.model_dump().get("usage")


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [leaf for item in inner for leaf in _leaves(item)]
    return [value]


of_its_own_wire = pytest.mark.parametrize("asked", [asked for asked in ASKED if asked.name not in CHATTED], ids=repr)
"""Operations that a provider may lack; a text can be completed by any chat."""


@of_its_own_wire
def test_a_provider_that_does_not_offer_it_is_named_before_anything_is_sent(asked: Any, events: list[Any]) -> None:
    with pytest.raises(callmeter.BadRequestError) as caught:
        asked(model="anthropic/claude-sonnet-4-5", api_key="k")
    assert f"anthropic does not offer {asked.name}, only chat. {asked.name} is offered by " in str(caught.value)
    assert isinstance(events[-1], CallFailed)


@of_its_own_wire
def test_a_wire_that_is_not_spoken_yet_is_said_to_be_that(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = msgspec.structs.replace(BY_NAME[asked.provider], endpoints={asked.name: "acme"})
    monkeypatch.setitem(BY_NAME, "acme", msgspec.structs.replace(row, name="acme"))  # type: ignore[index]
    with pytest.raises(callmeter.BadRequestError, match="does not speak the wire 'acme'"):
        asked(model="acme/m", api_key="k")


def test_parameters_of_ones_own_and_the_base_go_out_as_given(asked: Any, provider: FakeProvider) -> None:
    asked(api_base=provider.url + "/v1/chat/completions", api_key="sk-mine", headers={"X-Mine": "1"}, made_up=7)
    heard = provider.requests[-1]
    assert heard.path.startswith("/v1/")
    assert "chat" not in heard.path
    assert (heard.headers["authorization"], heard.headers["x-mine"]) == ("Bearer sk-mine", "1")
    assert b"made_up" in heard.body


def test_a_price_of_ones_own_holds(asked: Any, provider: FakeProvider, events: list[Any]) -> None:
    asked(input_cost_per_second=0, output_cost_per_second=0)
    assert events[-1].cost.total == 0


def test_the_ledger_has_a_row_that_names_the_operation(asked: Any, provider: FakeProvider, home: Path) -> None:
    with using(Runtime(Settings(home=str(home), ledger=True))) as runtime:
        answer = asked()
        runtime.close(5)
    with ledger.connect() as book:
        rows = book.sql("SELECT operation, cost, status FROM calls").fetchall()
    assert rows == [(asked.name, answer._hidden_params["cost"].total, "success")]
