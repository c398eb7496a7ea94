"""Calls to Gemini over real sockets: the same as Google's SDK makes, the answers alike, and a signature's round trip."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from google import genai
from google.genai import types as theirs
from google.oauth2.credentials import Credentials

import callmeter
from callmeter.errors import AuthenticationError, RateLimitError, UnsupportedParamsError
from callmeter.events.model import CallFailed, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider

M: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
MODEL = "gemini-2.5-flash"
WISH = {"prompt_tokens": 1000, "completion_tokens": 44, "cached_tokens": 300, "reasoning_tokens": 4}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def sdk(surface: str, provider: FakeProvider) -> genai.Client:
    options = theirs.HttpOptions(base_url=provider.url, api_version="v1beta" if surface == "gemini" else "v1")
    if surface == "gemini":
        return genai.Client(api_key="AIza-k", http_options=options)
    token = Credentials(token="ya29.k", expiry=datetime(2999, 1, 1))  # noqa: DTZ001
    return genai.Client(vertexai=True, project="p", location="us-central1", credentials=token, http_options=options)


def ask(surface: str, provider: FakeProvider, **more: Any) -> Any:
    where: dict[str, Any] = {"api_base": provider.url, "api_key": "AIza-k"}
    if surface == "vertex_ai":
        where |= {"api_key": "ya29.k", "vertex_project": "p"}
    return callmeter.completion(f"{surface}/{MODEL}", M, **where, **more)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("surface", ["gemini", "vertex_ai"])
def test_google_s_sdk_asks_the_same_and_reads_the_same(
    surface: str, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    declared = theirs.FunctionDeclaration(name="f", description="d", parameters_json_schema=schema)
    config = theirs.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        max_output_tokens=9,
        stop_sequences=["END"],
        tools=[theirs.Tool(function_declarations=[declared])],
        tool_config=theirs.ToolConfig(
            function_calling_config=theirs.FunctionCallingConfig(mode=theirs.FunctionCallingConfigMode.NONE)
        ),
        thinking_config=theirs.ThinkingConfig(thinking_budget=1024, include_thoughts=True),
        http_options=theirs.HttpOptions(headers={"x-fake": json.dumps(WISH | {"text": "Hello there."})}),
    )
    with sdk(surface, provider) as client:
        if stream:
            answers = list(client.models.generate_content_stream(model=MODEL, contents="Hi", config=config))
        else:
            answers = [client.models.generate_content(model=MODEL, contents="Hi", config=config)]
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    ours = ask(
        surface,
        provider,
        stream=stream,
        temperature=0.5,
        max_tokens=9,
        stop=["END"],
        tools=[tool],
        tool_choice="none",
        reasoning_effort="low",
        extra_headers={"x-fake": json.dumps(WISH | {"text": "Hello there."})},
    )
    text = "".join(c.choices[0].delta.content or "" for c in ours) if stream else ours.choices[0].message.content
    they_asked, we_asked = provider.requests
    assert we_asked.path == they_asked.path
    key = "x-goog-api-key" if surface == "gemini" else "authorization"
    assert we_asked.headers[key] == they_asked.headers[key]
    assert json.loads(we_asked.body) == plainly(json.loads(they_asked.body))
    assert text == "".join(answer.text or "" for answer in answers) == "Hello there."
    usage, counts = events[-1].usage, answers[-1].usage_metadata
    assert counts is not None
    assert usage.total_tokens == counts.total_token_count == 1044
    assert (usage.cache_read_tokens, usage.reasoning_tokens) == (300, 4)
    assert isinstance(events[-1], StreamCompleted if stream else CallSucceeded)


def plainly(asked: Any) -> Any:
    """The SDK's body without what says nothing: the role of an instruction, and snake case, both admitted there."""
    asked["systemInstruction"].pop("role", None)
    for tool in asked["tools"]:
        for function in tool["functionDeclarations"]:
            if "parameters_json_schema" in function:
                function["parametersJsonSchema"] = function.pop("parameters_json_schema")
    config = asked["generationConfig"]["thinkingConfig"]
    for ours in ("thinkingBudget", "includeThoughts"):
        snake = {"thinkingBudget": "thinking_budget", "includeThoughts": "include_thoughts"}[ours]
        config[ours] = config.pop(snake, config.get(ours))
    return asked


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_signature_goes_back_with_its_call(stream: bool, provider: FakeProvider, events: list[Any]) -> None:
    part = {"functionCall": {"name": "now", "args": {}}, "thoughtSignature": "CiQB"}
    answer = {
        "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
    }
    body = json.dumps(answer).encode()
    if stream:
        provider.raw(b"data: " + body + b"\r\n\r\n")
    else:
        provider.raw(body, content_type="application/json")
    asked: dict[str, Any] = {"api_base": provider.url, "api_key": "AIza-k"}
    tools = [{"type": "function", "function": {"name": "now"}}]
    first: Any = callmeter.completion("gemini/gemini-3-flash-preview", M, tools=tools, stream=stream, **asked)
    whole: Any = callmeter.stream_chunk_builder(list(first)) if stream else first
    message = whole.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noon"}
    callmeter.completion("gemini/gemini-3-flash-preview", [*M, message, result], tools=tools, **asked)
    contents = json.loads(provider.requests[-1].body)["contents"]
    assert contents[1:] == [
        {"role": "model", "parts": [part]},
        {"role": "user", "parts": [{"functionResponse": {"name": "now", "response": {"result": "noon"}}}]},
    ]
    # Handed to somebody else, the signature stays behind.
    callmeter.completion("openai/gpt-4o", [*M, message, result], api_base=provider.openai_base, api_key="k")
    assert b"CiQB" not in provider.requests[-1].body


def test_calls_are_awaited_alike(provider: FakeProvider, events: list[Any]) -> None:
    async def main() -> tuple[str, str]:
        asked: dict[str, Any] = {"api_base": provider.url, "api_key": "AIza-k"}
        plain: Any = await callmeter.acompletion(f"gemini/{MODEL}", M, **asked)
        stream: Any = await callmeter.acompletion(f"gemini/{MODEL}", M, stream=True, **asked)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return plain.choices[0].message.content, text

    plain, streamed = asyncio.run(main())
    assert plain == streamed
    assert [event.usage.output_tokens for event in events if hasattr(event, "usage") and event.usage] == [9, 9]


def test_a_stream_that_is_cut_ends_in_a_failure_with_what_it_had_cost(
    provider: FakeProvider, events: list[Any]
) -> None:
    wish = {"prompt_tokens": 50, "cut_after_chunks": 3}
    stream = ask("gemini", provider, stream=True, extra_headers={"x-fake": json.dumps(wish)})
    with pytest.raises(callmeter.APIConnectionError):
        list(stream)
    end = events[-1]
    assert isinstance(end, CallFailed)
    assert end.usage is not None
    assert end.usage.input_tokens == 50
    assert end.usage.output_tokens >= 3


def test_errors_have_their_class(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(429, times=None)
    with pytest.raises(RateLimitError, match="429"):
        ask("gemini", provider, max_retries=0)
    provider.reset()
    provider.answer(401)
    with pytest.raises(AuthenticationError):
        ask("vertex_ai", provider, stream=True)


@pytest.mark.parametrize("name", ["logit_bias", "store", "prediction", "prompt_cache_key"])
def test_what_gemini_lacks_is_refused_by_name(name: str, provider: FakeProvider, events: list[Any]) -> None:
    with pytest.raises(UnsupportedParamsError, match=f"does not support {name}"):
        ask("gemini", provider, **{name: "x"})
    assert len(provider.requests) == 0
