"""Cohere's v2 chat in both directions, against Cohere's own client."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cohere as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs.cohere import CODEC, endpoint, request_body
from callmeter.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    UnprocessableEntityError,
    UnsupportedParamsError,
)
from callmeter.events.model import CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases

CASES = load_cases("cohere")
WHOLE = [case for case in CASES if case.error is None]
M: Any = [{"role": "user", "content": "Hi"}]
CALL = Call(id="c", operation="chat", model="cohere/command-a-03-2025", messages=M)
HERE = Deployment(provider="cohere", model="command-a-03-2025", codec="cohere", api_base="https://api.cohere.com")
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["at"]}}}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_events() as seen:
        yield seen


@pytest.fixture
def provider(events: list[Any]) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def body_of(messages: Any = M, **call: Any) -> dict[str, Any]:
    return request_body(replace(CALL, messages=messages, **call), HERE)


# --- Cohere's own client reads the same bytes alike, and sends what we send


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_tools_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url:
        client = sdk.ClientV2(api_key="k", base_url=url)
        theirs = _streamed(client) if case.call.stream else _whole(client.chat(model="m", messages=M))
    ours = decode(case, CODEC)
    choice = ours.completion.choices[0]
    message = choice.message
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or () if c.function]
    assert (message.content or "") == theirs["text"]
    assert (message.reasoning_content or "") == theirs["thoughts"]
    assert calls == [(i, name, arguments or "{}") for i, name, arguments in theirs["calls"]]
    assert (choice.provider_specific_fields or {})["native_finish_reason"] == theirs["finish"]
    counts, usage = theirs["usage"], ours.meter.usage
    if usage is None:
        assert counts is None or ours.meter.problem
    else:
        spent = counts.tokens or counts.billed_units
        assert (usage.input_tokens, usage.output_tokens) == (spent.input_tokens, spent.output_tokens)
        assert usage.cache_read_tokens == (counts.cached_tokens or 0)
        billed = ours.meter.billed
        assert billed is not None
        assert (billed.input_tokens, billed.output_tokens) == (
            counts.billed_units.input_tokens,
            counts.billed_units.output_tokens,
        )


def _whole(answer: Any) -> dict[str, Any]:
    message = answer.message
    return {
        "text": "".join(part.text for part in message.content or () if part.type == "text"),
        "thoughts": "".join(part.thinking for part in message.content or () if part.type == "thinking")
        + (message.tool_plan or ""),
        "calls": [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()],
        "finish": answer.finish_reason,
        "usage": answer.usage,
    }


def _streamed(client: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"text": "", "thoughts": "", "calls": []}
    for event in client.chat_stream(model="m", messages=M):
        if event is None:
            continue
        match event.type:
            case "content-delta":
                found["text"] += event.delta.message.content.text or ""
                found["thoughts"] += event.delta.message.content.thinking or ""
            case "tool-plan-delta":
                found["thoughts"] += event.delta.message.tool_plan
            case "tool-call-start":
                call = event.delta.message.tool_calls
                found["calls"].append((call.id, call.function.name, call.function.arguments))
            case "tool-call-delta":
                name = found["calls"][-1]
                found["calls"][-1] = (*name[:2], name[2] + event.delta.message.tool_calls.function.arguments)
            case "message-end":
                found["finish"], found["usage"] = event.delta.finish_reason, event.delta.usage
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_sdk_and_we_send_the_same_and_the_provider_counts_the_same(
    stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    client = sdk.ClientV2(api_key="k", base_url=provider.url)
    asked: Any = {"model": "command-a-03-2025", "messages": M, "temperature": 0.5}
    if stream:
        *_, last = client.chat_stream(**asked)
        counts: Any = last.delta.usage
    else:
        counts = client.chat(**asked).usage
    answer = callmeter.completion(
        "cohere/command-a-03-2025", M, temperature=0.5, stream=stream, api_base=provider.url, api_key="k"
    )
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    theirs, ours = provider.requests
    assert theirs.path == ours.path == "/v2/chat"
    assert theirs.headers["authorization"] == ours.headers["authorization"] == "Bearer k"
    assert json.loads(theirs.body) == json.loads(ours.body)
    end = events[-1]
    assert isinstance(end, StreamCompleted if stream else CallSucceeded)
    assert end.usage is not None
    assert end.usage_source == "provider"
    assert (end.usage.input_tokens, end.usage.output_tokens) == (
        counts.tokens.input_tokens,
        counts.tokens.output_tokens,
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_tools_go_there_and_come_back(stream: bool, provider: FakeProvider) -> None:
    where: Any = {"api_base": provider.url, "api_key": "k", "tools": [TOOL]}
    answer = callmeter.completion("cohere/m", M, stream=stream, **where)
    if stream:
        answer = callmeter.stream_chunk_builder(list(answer))
    message = answer.choices[0].message
    (tool,) = message.tool_calls
    assert (tool.function.name, json.loads(tool.function.arguments)) == ("look", {"at": "fake"})
    assert answer.choices[0].finish_reason == "tool_calls"
    told = [*M, message, {"role": "tool", "tool_call_id": tool.id, "content": "here"}]
    again = callmeter.completion("cohere/m", told, **where)
    assert again.choices[0].message.content
    sent = json.loads(provider.requests[-1].body)["messages"]
    assert sent[1]["tool_plan"] == message.reasoning_content
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == tool.id


# --- what is billed


def test_billed_units_are_priced_and_all_tokens_are_shown(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.register_model(
        {"cohere/billed": {"litellm_provider": "cohere", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}
    )
    provider.answer(body=next(case for case in CASES if case.name == "plain").body)
    answer = callmeter.completion("cohere/billed", M, api_base=provider.url, api_key="k")
    assert answer.usage.prompt_tokens == 496
    assert answer._hidden_params["cost"].total == Decimal("0.000022")  # 4 × 1e-6 + 9 × 2e-6
    assert events[-1].usage.input_tokens == 496
    assert events[-1].raw_usage["billed_units"] == {"input_tokens": 4.0, "output_tokens": 9.0}


@given(
    spent=st.integers(0, 2**53), billed=st.integers(0, 2**53), cached=st.integers(0, 2**53), out=st.integers(0, 2**53)
)
def test_cached_tokens_never_exceed_the_input_they_are_part_of(spent: int, billed: int, cached: int, out: int) -> None:
    from callmeter.client.codecs.cohere_answer import meter
    from callmeter.pricing.quantities import disjoint

    told = meter(
        {
            "tokens": {"input_tokens": spent, "output_tokens": out},
            "billed_units": {"input_tokens": billed, "output_tokens": out},
            "cached_tokens": cached,
        }
    )
    for usage, inputs in ((told.usage, spent), (told.billed, billed)):
        assert usage is not None
        lines = dict(disjoint(usage))
        assert lines.get("input", 0) + lines.get("cache_read", 0) == inputs
        assert lines.get("output", 0) == out


# --- requests


def test_a_choice_that_cannot_be_said_is_refused_by_name() -> None:
    with pytest.raises(BadRequestError, match="has no equivalent at Cohere"):
        body_of(params={"tools": [TOOL], "tool_choice": "sometimes"})
    with pytest.raises(BadRequestError, match="tool_choice names other, and tools has none"):
        body_of(params={"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}})
    with pytest.raises(BadRequestError, match="Cohere takes functions only"):
        body_of(params={"tools": [{"type": "custom", "custom": {"name": "x"}}]})


def test_allowed_tools_are_all_that_is_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}
    body = body_of(params={"tools": [TOOL, other], "tool_choice": choice})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look"]
    assert body["tool_choice"] == "REQUIRED"


@pytest.mark.parametrize("kind", ["input_audio", "file", "video_url"])
def test_a_part_that_cohere_does_not_take_is_refused(kind: str) -> None:
    with pytest.raises(BadRequestError, match=f"Cohere takes no content part of type '{kind}'"):
        body_of([{"role": "user", "content": [{"type": kind, kind: {}}]}])


def test_a_role_nobody_knows_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"messages\[0\] has role 'judge'"):
        body_of([{"role": "judge", "content": "x"}])


@pytest.mark.parametrize("name", ["n", "logit_bias", "top_logprobs", "parallel_tool_calls", "web_search_options"])
def test_what_cohere_lacks_is_refused_by_name(name: str, provider: FakeProvider) -> None:
    with pytest.raises(UnsupportedParamsError, match=f"cohere does not support {name}"):
        callmeter.completion("cohere/m", M, api_base=provider.url, api_key="k", **{name: 2})
    assert not provider.requests


@pytest.mark.parametrize(
    "base", ["https://api.cohere.com", "https://api.cohere.com/", "https://api.cohere.com/v2", "https://api.cohere.com/v1/", "https://api.cohere.com/v2/chat"]
)  # fmt: skip
def test_the_address_is_found_under_any_base(base: str) -> None:
    assert endpoint(base, "chat") == "https://api.cohere.com/v2/chat"


ERRORS: dict[int, tuple[str, type[APIError]]] = {
    400: ("too many tokens: the total number of tokens in the prompt cannot exceed 4081", ContextWindowExceededError),
    401: ("no api key supplied", AuthenticationError),
    404: ("model 'xyz' not found, make sure the correct model ID was used", NotFoundError),
    422: ("invalid type", UnprocessableEntityError),
    429: ("You are using a Trial key, which is limited to 20 API calls / minute", RateLimitError),
    498: ("invalid token", AuthenticationError),
    500: ("internal server error", InternalServerError),
}


@pytest.mark.parametrize("status", ERRORS)
def test_an_error_body_is_the_error_it_stands_for(status: int) -> None:
    message, kind = ERRORS[status]
    error = CODEC.failure(status, {}, json.dumps({"id": "x", "message": message}).encode(), HERE)
    assert type(error) is kind
    assert message[:40] in str(error)
