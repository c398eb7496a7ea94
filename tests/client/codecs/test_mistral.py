"""Mistral's chat, OpenAI's with an accent, against Mistral's own client."""

import json
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.models import ChatCompletionRequest

import callmeter
from callmeter.client.codecs.openai_chat import CODEC
from callmeter.client.providers import BY_NAME
from callmeter.errors import UnsupportedParamsError
from callmeter.events.model import CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases

M: Any = [{"role": "user", "content": "Hi"}]
CASES = [case for case in load_cases("openai_chat") if case.deployment.provider == "mistral"]
MODEL = "mistral/mistral-large-latest"


def said(content: Any) -> tuple[str, str]:
    """Text and thoughts of the SDK's content, which is a string or parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else "", ""
    text = "".join(part.text for part in content if part.type == "text")
    thoughts = "".join(piece.text for part in content if part.type == "thinking" for piece in part.thinking)
    return text, thoughts


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_sdk_reads_the_same_text_thoughts_tools_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url:
        client = Mistral(api_key="k", server_url=url)
        if case.call.stream:
            events = [event.data for event in client.chat.stream(model="m", messages=M)]
            pieces = [said(event.choices[0].delta.content) for event in events]
            text, thoughts = ("".join(part) for part in zip(*pieces, strict=True))
            calls = [call for event in events for call in event.choices[0].delta.tool_calls or ()]
            finish, usage = events[-1].choices[0].finish_reason, events[-1].usage
        else:
            whole = client.chat.complete(model="m", messages=M)
            choice = whole.choices[0]
            assert choice.message is not None
            text, thoughts = said(choice.message.content)
            calls, finish, usage = list(choice.message.tool_calls or ()), choice.finish_reason, whole.usage
    ours = decode(case, CODEC)
    choice_, counted = ours.completion.choices[0], ours.meter.usage
    message = choice_.message
    assert (message.content or "", message.reasoning_content or "") == (text, thoughts)
    assert [
        (call.id, call.function.name, call.function.arguments) for call in message.tool_calls or () if call.function
    ] == [(call.id, call.function.name, call.function.arguments) for call in calls]
    assert (choice_.provider_specific_fields or {}).get("native_finish_reason", choice_.finish_reason) == finish
    assert counted is not None
    assert usage is not None
    assert (counted.input_tokens, counted.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_sdk_and_we_send_the_same_and_the_provider_counts_the_same(
    stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    client = Mistral(api_key="k", server_url=provider.url)
    asked: Any = {"messages": M, "temperature": 0.5, "max_tokens": 9, "tool_choice": "any"}
    if stream:
        for event in client.chat.stream(model="mistral-large-latest", random_seed=3, **asked):
            assert event.data.id
    else:
        client.chat.complete(model="mistral-large-latest", random_seed=3, **asked)
    answer = callmeter.completion(
        MODEL,
        M,
        temperature=0.5,
        max_completion_tokens=9,
        seed=3,
        tool_choice="required",
        user="for our own account",
        stream=stream,
        api_base=provider.openai_base,
        api_key="k",
    )
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    theirs, ours = provider.requests
    assert (theirs.path, theirs.headers["authorization"]) == (ours.path, ours.headers["authorization"])
    # The SDK says that it does not stream; whoever leaves that out means the same.
    assert json.loads(theirs.body) == {"stream": False} | json.loads(ours.body)
    assert isinstance(events[-1], StreamCompleted if stream else CallSucceeded)


def test_nothing_is_sent_that_mistral_does_not_know(provider: FakeProvider) -> None:
    known = {field.alias or name for name, field in ChatCompletionRequest.model_fields.items()}
    values: dict[str, Any] = {
        "frequency_penalty": 0.1, "logprobs": True, "max_completion_tokens": 5, "metadata": {"a": "b"}, "n": 1,
        "parallel_tool_calls": False, "prediction": {"type": "content", "content": "x"}, "presence_penalty": 0.1,
        "prompt_cache_key": "k", "reasoning_effort": "high", "response_format": {"type": "json_object"}, "seed": 1,
        "service_tier": "auto", "stop": ["x"], "temperature": 0, "tool_choice": "auto", "top_logprobs": 1, "top_p": 1,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "user": "u",
    }  # fmt: skip
    callmeter.completion(MODEL, M, api_base=provider.openai_base, api_key="k", **values)
    assert json.loads(provider.requests[-1].body).keys() <= known
    for name in BY_NAME["mistral"].quirks["lacks"]:
        assert name not in known
        with pytest.raises(UnsupportedParamsError, match=f"mistral does not support {name}"):
            callmeter.completion(MODEL, M, api_base=provider.openai_base, api_key="k", **{name: 1})
