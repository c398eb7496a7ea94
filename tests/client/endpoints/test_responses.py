"""The Responses API natively: its own answers and events, accounted for like any call."""

import asyncio
import json
from typing import Any

import pytest

import callmeter
from callmeter.events.model import StreamCompleted
from callmeter.records import ResponsesAnswer
from callmeter.runtime import Runtime, using
from callmeter.testing import FakeProvider


def test_an_answer_is_the_apis_own_with_what_is_known_of_the_call(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.responses(
        "Hi",
        "openai/gpt-5",
        instructions="Be brief.",
        max_output_tokens=50,
        x_fake={"prompt_tokens": 9, "text": "Yes."},
    )
    assert isinstance(answer, ResponsesAnswer)
    assert (answer["id"][:5], answer.output_text, answer.usage.input_tokens) == ("resp_", "Yes.", 9)
    end = events[-1]
    assert (end.call.operation, end.usage.input_tokens, end.cost.status) == ("responses", 9, "priced")
    assert answer._hidden_params["cost"] == end.cost
    assert end.response_id == answer.id


def test_openais_own_client_sends_and_reads_the_same(provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    given: dict[str, Any] = {
        "input": "Hi",
        "instructions": "Be brief.",
        "temperature": 0.5,
        "user": "u",
        "store": False,
    }
    theirs = openai.OpenAI().responses.create(model="gpt-5", **given)
    ours = callmeter.responses(model="openai/gpt-5", **given)
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v1/responses"] * 2
    assert ours.output_text == theirs.output_text
    assert ours.usage == theirs.usage.model_dump(exclude_unset=True)
    streamed = list(openai.OpenAI().responses.create(model="gpt-5", stream=True, **given))
    events = list(callmeter.responses(model="openai/gpt-5", stream=True, **given))
    assert [event.type for event in events] == [event.type for event in streamed]
    assert events[-1].response.output_text == streamed[-1].response.output_text
    assert json.loads(provider.requests[-1].body) == json.loads(provider.requests[-2].body)


def test_a_pydantic_class_is_the_format_it_stands_for(provider: FakeProvider) -> None:
    pydantic = pytest.importorskip("pydantic")
    shape = pydantic.create_model("Capital", city=(str, ...))
    callmeter.responses("Capital of France?", "openai/gpt-5", text_format=shape)
    form = json.loads(provider.requests[-1].body)["text"]["format"]
    assert (form["type"], form["name"], form["strict"]) == ("json_schema", "Capital", True)


def test_a_stream_gives_the_apis_events(provider: FakeProvider, events: list[Any]) -> None:
    async def read() -> list[Any]:
        stream = await callmeter.aresponses("Hi", "openai/responses/gpt-5", stream=True)
        return [event async for event in stream]

    sync = list(callmeter.responses("Hi", "openai/responses/gpt-5", stream=True))
    assert [event.type for event in asyncio.run(read())] == [event.type for event in sync]
    assert (sync[0].type, sync[-1].type) == ("response.created", "response.completed")
    said = "".join(event.delta for event in sync if event.type == "response.output_text.delta")
    assert sync[-1].response.output_text == said
    end = events[1]
    assert isinstance(end, StreamCompleted)
    assert end.usage.output_tokens == sync[-1].response.usage.output_tokens
    assert json.loads(provider.requests[0].body)["model"] == "gpt-5"


def test_callbacks_of_a_stream_see_the_response_and_of_a_broken_one_its_text(provider: FakeProvider) -> None:
    seen: list[Any] = []

    def note(kwargs: Any, response: Any, start: Any, end: Any) -> None:
        seen.append(kwargs["complete_streaming_response"])

    with using(Runtime()) as runtime:
        whole = list(callmeter.responses("Hi", "openai/gpt-5", stream=True, success_callback=[note]))
        with callmeter.responses("Hi", "openai/gpt-5", stream=True, success_callback=[note]) as stream:
            event = next(event for event in stream if event.type == "response.output_text.delta")
        runtime.close(5)
    complete, cut = seen
    assert complete == whole[-1].response
    assert (cut.status, cut.output_text[: len(event.delta)]) == ("incomplete", event.delta)


def test_a_mocked_stream_gives_events_too(events: list[Any]) -> None:
    came = list(callmeter.responses("Hi", "openai/gpt-5", stream=True, mock_response="Hello"))
    assert [event.type.removeprefix("response.") for event in came] == [
        "created", "output_text.delta", "output_text.delta", "completed",
    ]  # fmt: skip
    assert came[-1].response.output_text == "Hello"
    assert came[-1].response.id == f"resp_{events[-1].call.call_id}"


def test_usage_that_nobody_reports_is_counted_from_what_was_asked(provider: FakeProvider, events: list[Any]) -> None:
    items = [{"role": "user", "content": [{"type": "input_text", "text": "word " * 100}]}]
    callmeter.responses(items, "openai/gpt-5", instructions="word " * 100, x_fake={"usage": False})
    end = events[-1]
    assert end.usage_source == "counted"
    assert 100 < end.usage.input_tokens < 400
    assert end.cost.estimated
