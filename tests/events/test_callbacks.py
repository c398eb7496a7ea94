"""Existing callbacks hear of each call once, with copies of their own and no key in them."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

import callmeter
from callmeter.errors import InternalServerError
from callmeter.integrations.custom_logger import CustomLogger
from callmeter.runtime import Runtime, using

M = [{"role": "user", "content": "Hi"}]
CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture
def rt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    for name in ("success_callback", "failure_callback", "input_callback", "callbacks"):
        monkeypatch.setattr(callmeter, name, [])
    with using(Runtime()) as runtime:
        yield runtime
        assert runtime.flush(5)


def heard(rt: Runtime, calls: list[Any]) -> list[Any]:
    assert rt.flush(5)
    return calls


def asked(**params: Any) -> Any:
    return callmeter.completion("gpt-3.5-turbo", M, mock_response="Hello there", **params)


def test_a_function_hears_of_a_plain_call_once(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda *args: calls.append(args)]
    asked()
    ((kwargs, response, start, end),) = heard(rt, calls)
    assert response.choices[0].message.content == "Hello there"
    assert kwargs["response_cost"] == 3.5e-05
    assert start <= end
    assert start.tzinfo is None


def test_a_function_hears_of_a_stream_once_with_the_whole_answer(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda *args: calls.append(args)]
    for _ in asked(stream=True):
        pass
    ((kwargs, response, _, _),) = heard(rt, calls)
    assert response.choices[0].message.content == "Hello there"
    assert kwargs["complete_streaming_response"] == response
    assert kwargs["response_cost"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_plain_and_async_functions_both_hear_of_async_calls(rt: Runtime, stream: bool) -> None:
    calls: list[str] = []

    async def later(kwargs: Any, response: Any, start: Any, end: Any) -> None:
        await asyncio.sleep(0)
        calls.append("async")

    callmeter.success_callback = [lambda *_: calls.append("plain"), later]

    async def main() -> None:
        answer = await callmeter.acompletion("gpt-3.5-turbo", M, mock_response="Hello there", stream=stream)
        if stream:
            async for _ in answer:
                pass

    asyncio.run(main())
    assert heard(rt, calls) == ["plain", "async"]


def test_a_failure_is_told_once_with_its_exception(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.failure_callback = [lambda *args: calls.append(args)]
    callmeter.success_callback = [lambda *args: calls.append("success")]
    with pytest.raises(InternalServerError):
        callmeter.completion("gpt-3.5-turbo", M, mock_response=Exception("boom"), num_retries=0)
    ((kwargs, response, _, _),) = heard(rt, calls)
    assert response is None
    assert isinstance(kwargs["exception"], InternalServerError)
    assert kwargs["standard_logging_object"]["error_information"]["error_code"] == "500"
    assert kwargs["log_event_type"] == "failed_api_call"


def test_a_callback_that_raises_harms_neither_the_call_nor_the_next_callback(rt: Runtime) -> None:
    calls: list[str] = []

    def broken(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    callmeter.success_callback = [broken, lambda *_: calls.append("next")]
    assert asked().choices[0].message.content == "Hello there"
    assert heard(rt, calls) == ["next"]


def test_what_one_callback_changes_no_other_sees(rt: Runtime) -> None:
    calls: list[Any] = []

    def vandal(kwargs: dict[str, Any], response: Any, start: Any, end: Any) -> None:
        kwargs["messages"][0]["content"] = "changed"
        response.choices[0].message.content = "changed"
        kwargs.clear()

    def witness(kwargs: dict[str, Any], response: Any, start: Any, end: Any) -> None:
        calls.append((kwargs["messages"], response.choices[0].message.content))

    callmeter.success_callback = [vandal, witness]
    answer = asked()
    assert heard(rt, calls) == [(M, "Hello there")]
    assert answer.choices[0].message.content == "Hello there"


def test_what_the_caller_does_to_the_answer_callbacks_do_not_see(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda kwargs, response, *_: calls.append(response.choices[0].message.content)]
    asked().choices[0].message.content = "changed"
    assert heard(rt, calls) == ["Hello there"]


def test_no_key_reaches_a_callback(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda *args: calls.append(args)]
    callmeter.input_callback = [lambda kwargs: calls.append(kwargs)]
    asked(api_key=CANARY, extra_headers={"authorization": CANARY})
    assert len(heard(rt, calls)) == 2
    assert CANARY not in repr(calls)


def test_message_logging_can_be_turned_off(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda *args: calls.append(args)]
    monkeypatch.setattr(callmeter, "turn_off_message_logging", True)
    assert asked().choices[0].message.content == "Hello there"
    ((kwargs, response, _, _),) = heard(rt, calls)
    shown = repr((kwargs, response))
    assert "redacted-by-litellm" in shown
    assert "Hello there" not in shown
    assert "'Hi'" not in shown
    assert kwargs["response_cost"] == 3.5e-05


class Logger(CustomLogger):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def log_pre_api_call(self, model: str, messages: Any, kwargs: Any) -> None:
        self.calls.append(f"pre {model}")

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.calls.append(f"success {response_obj.usage.total_tokens}")

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.calls.append(f"async success {response_obj.usage.total_tokens}")

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.calls.append(f"failure {kwargs['exception'].status_code}")


def test_a_logger_object_hears_the_hooks_of_the_calls_kind(rt: Runtime) -> None:
    logger = Logger()
    callmeter.callbacks = [logger]
    asked()
    asyncio.run(callmeter.acompletion("gpt-3.5-turbo", M, mock_response="Hello there"))
    with pytest.raises(InternalServerError):
        callmeter.completion("gpt-3.5-turbo", M, mock_response=Exception("boom"), num_retries=0)
    assert heard(rt, logger.calls) == [
        "pre gpt-3.5-turbo",
        "success 30",
        "pre gpt-3.5-turbo",
        "async success 30",
        "pre gpt-3.5-turbo",
        "failure 500",
    ]


def test_an_async_failure_falls_to_the_plain_hook_where_that_is_the_only_one(rt: Runtime) -> None:
    logger = Logger()
    callmeter.callbacks = [logger]

    async def main() -> None:
        with pytest.raises(InternalServerError):
            await callmeter.acompletion("gpt-3.5-turbo", M, mock_response=Exception("boom"), num_retries=0)

    asyncio.run(main())
    assert heard(rt, logger.calls)[-1] == "failure 500"


def test_callbacks_of_one_call_alone(rt: Runtime) -> None:
    calls: list[str] = []
    asked(success_callback=[lambda *_: calls.append("own")])
    asked()
    assert heard(rt, calls) == ["own"]


def test_the_logging_payload_is_json_and_agrees_with_the_call(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda kwargs, *_: calls.append(kwargs["standard_logging_object"])]
    asked(metadata={"tags": ["a"], "team": "red", "run": 7}, user="ada")
    (payload,) = heard(rt, calls)
    assert json.loads(json.dumps(payload)) == payload
    assert (payload["prompt_tokens"], payload["completion_tokens"], payload["total_tokens"]) == (10, 20, 30)
    assert payload["response_cost"] == payload["cost_breakdown"]["total_cost"] == 3.5e-05
    parts = payload["cost_breakdown"]
    assert parts["input_cost"] + parts["output_cost"] == pytest.approx(3.5e-05, rel=1e-12)
    assert payload["request_tags"] == ["a"]
    assert payload["end_user"] == "ada"
    assert payload["metadata"]["run"] == "7"
    assert payload["messages"] == M
    assert payload["response"]["choices"][0]["message"]["content"] == "Hello there"


def test_an_unpriced_call_has_no_cost_and_says_why(rt: Runtime) -> None:
    calls: list[Any] = []
    callmeter.success_callback = [lambda kwargs, *_: calls.append(kwargs)]
    callmeter.completion("openai/nobody-prices-this", M, mock_response="x")
    (kwargs,) = heard(rt, calls)
    assert kwargs["response_cost"] is None
    assert "nobody-prices-this" in kwargs["response_cost_failure_debug_information"]["error_str"]


def test_subscribers_get_the_typed_events(rt: Runtime) -> None:
    from callmeter.events.model import CallStarted, CallSucceeded

    seen: list[Any] = []
    ends: list[Any] = []
    rt.subscribe(seen.append)
    stop = rt.subscribe(ends.append, CallSucceeded)
    asked()
    assert [type(event) for event in heard(rt, seen)] == [CallStarted, CallSucceeded]
    assert ends == seen[1:]
    stop()
    asked()
    assert len(heard(rt, seen)) == 4
    assert len(ends) == 1
