"""Text completions: over their own wire where a model completes text, else by chat; whole and streamed."""

import asyncio
import json
from typing import Any

import pytest

import callmeter
from callmeter.client.providers import BY_NAME
from callmeter.events.model import StreamCompleted
from callmeter.runtime import Runtime, using
from callmeter.testing import FakeProvider

INSTRUCT = "openai/gpt-3.5-turbo-instruct"


def sent(provider: FakeProvider) -> tuple[str, Any]:
    heard = provider.requests[-1]
    return heard.path, json.loads(heard.body)


@pytest.mark.parametrize("prompt", ["one", ["one", "two"], [9906, 1917], [[9906], [12]]], ids=str)
def test_a_model_that_completes_text_is_asked_to(prompt: Any, provider: FakeProvider) -> None:
    answer = callmeter.text_completion(prompt, INSTRUCT, max_tokens=5, suffix=".", echo=True)
    path, body = sent(provider)
    assert path == "/v1/completions"
    assert body == {
        "model": "gpt-3.5-turbo-instruct", "prompt": prompt, "max_tokens": 5, "suffix": ".", "echo": True,
    }  # fmt: skip
    assert answer.object == "text_completion"
    assert answer.choices[0].text


def test_a_model_that_only_chats_is_asked_by_chat(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.text_completion(["Once"], "openai/gpt-4o", max_tokens=5, logprobs=2, reasoning_effort="low")
    path, body = sent(provider)
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 5,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
    }
    assert (answer.object, type(answer).__name__) == ("text_completion", "TextCompletion")
    assert events[-1].call.operation == "text_completion"


def test_any_provider_of_chat_completes_text(provider: FakeProvider) -> None:
    answer = callmeter.text_completion("Once", "anthropic/claude-sonnet-4-5", api_base=provider.url, api_key="k")
    assert sent(provider)[0] == "/v1/messages"
    assert answer.choices[0].text


@pytest.mark.parametrize("prompt", [["one", "two"], [9906, 1917], []], ids=str)
def test_chat_completes_one_text_a_call(prompt: Any, provider: FakeProvider, events: list[Any]) -> None:
    with pytest.raises(callmeter.BadRequestError, match="completes one text a call"):
        callmeter.text_completion(prompt, "openai/gpt-4o")
    assert not provider.requests


def test_what_chat_lacks_is_refused_or_dropped(provider: FakeProvider) -> None:
    with pytest.raises(callmeter.UnsupportedParamsError, match="does not support best_of, suffix"):
        callmeter.text_completion("Once", "openai/gpt-4o", best_of=2, suffix=".")
    callmeter.text_completion("Once", "openai/gpt-4o", best_of=2, suffix=".", drop_params=True)
    assert sent(provider)[1].keys() == {"model", "messages"}


def test_a_fallback_may_chat_where_the_first_completes(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(500)
    callmeter.text_completion("Once", INSTRUCT, num_retries=0, fallbacks=["openai/gpt-4o"])
    assert [heard.path for heard in provider.requests] == ["/v1/completions", "/v1/chat/completions"]
    assert [attempt.status for attempt in events[-1].attempts] == ["failure", "success"]


@pytest.mark.parametrize("model", [INSTRUCT, "openai/gpt-4o"])
def test_a_stream_gives_pieces_of_text(model: str, provider: FakeProvider, events: list[Any]) -> None:
    stream = callmeter.text_completion("Once", model, stream=True, stream_options={"include_usage": True})
    *pieces, last = list(stream)
    assert {piece.object for piece in pieces} == {"text_completion"}
    assert (
        "".join(piece.choices[0].text for piece in pieces) == callmeter.text_completion("Once", model).choices[0].text
    )
    assert last.usage is not None
    assert last.usage.completion_tokens == events[1].usage.output_tokens
    assert isinstance(events[1], StreamCompleted)

    async def read() -> list[str]:
        stream = await callmeter.atext_completion("Once", model, stream=True)
        return [piece.choices[0].text async for piece in stream]

    assert "".join(asyncio.run(read())) == "".join(piece.choices[0].text for piece in pieces)


def test_a_stream_that_is_closed_early_is_accounted_for(provider: FakeProvider, events: list[Any]) -> None:
    with callmeter.text_completion("Once", INSTRUCT, stream=True) as stream:
        next(stream)
    assert events[-1].finish_reason == "cancelled"
    assert stream._hidden_params["litellm_call_id"] == events[-1].call.call_id


def test_a_mocked_stream_gives_pieces_too(events: list[Any]) -> None:
    pieces = callmeter.text_completion("Once", INSTRUCT, stream=True, mock_response="Hello")
    assert [piece.choices[0].text for piece in pieces] == ["Hel", "lo", ""]


def test_callbacks_of_a_stream_see_text(provider: FakeProvider) -> None:
    seen: list[Any] = []
    with using(Runtime()) as runtime:
        text = "".join(
            piece.choices[0].text
            for piece in callmeter.text_completion(
                "Once", "openai/gpt-4o", stream=True, success_callback=[lambda *given: seen.append(given)]
            )
        )
        runtime.close(5)
    ((kwargs, response, _, _),) = seen
    assert response.choices[0].text == kwargs["complete_streaming_response"].choices[0].text == text


def test_who_names_models_that_only_complete_serves_the_others_by_chat() -> None:
    by_row = {
        name: BY_NAME[name].wire_of(model, "text_completion").codec
        for name, model in [("openai", "gpt-4o"), ("fireworks_ai", "m"), ("anthropic", "claude")]
    }
    assert by_row == {"openai": "openai_chat", "fireworks_ai": "openai_text", "anthropic": "anthropic"}
    assert BY_NAME["openai"].wire_of("ft:babbage-002:me::1", "text_completion").codec == "openai_text"


def test_openais_own_client_sends_and_reads_the_same(provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    given: dict[str, Any] = {"prompt": ["one"], "max_tokens": 5, "logprobs": 1, "best_of": 2, "user": "u"}
    theirs = openai.OpenAI().completions.create(model="gpt-3.5-turbo-instruct", **given)
    ours = callmeter.text_completion(model=INSTRUCT, **given)
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [choice.model_dump() for choice in ours.choices] == [choice.model_dump() for choice in theirs.choices]
    assert (ours.model, ours.object, ours.created) == (theirs.model, theirs.object, theirs.created)
    assert ours.usage is not None
    assert ours.usage.total_tokens == theirs.usage.total_tokens
    streamed = openai.OpenAI().completions.create(model="gpt-3.5-turbo-instruct", stream=True, **given)
    pieces = callmeter.text_completion(model=INSTRUCT, stream=True, **given)
    assert [c.choices[0].text for c in pieces] == [c.choices[0].text for c in streamed if c.choices]
