"""Calls over wires without an SDK to hold them against: the golden bytes through `completion()`, plain and streamed."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

import callmeter
from callmeter.client.codecs import load
from callmeter.errors import BadRequestError, UnsupportedParamsError
from callmeter.events.model import CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider
from callmeter.types import Call, Deployment
from tests.golden_cases import Case, load_cases

M: Any = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


class Spoken(NamedTuple):
    """A wire as a caller meets it: what is passed beside the messages, and where that leads."""

    wire: str
    passed: Mapping[str, Any]
    plain: str
    streamed: str
    key: tuple[str, str]
    """The header that shows who calls, and its value."""
    lacks: tuple[str, ...]
    """Parameters that have no place in it."""

    def __repr__(self) -> str:
        return self.wire


BEARER = ("authorization", "Bearer tok")

WIRES = [
    Spoken(
        "gigachat",
        {"gigachat_access_token": "tok"},
        "/chat/completions",
        "/chat/completions",
        BEARER,
        ("logprobs", "parallel_tool_calls", "seed", "stop", "web_search_options"),
    ),
    Spoken(
        "langgraph",
        {"api_key": "tok"},
        "/runs/wait",
        "/runs/stream",
        ("x-api-key", "tok"),
        ("n", "response_format", "seed", "temperature", "tools"),
    ),
    Spoken(
        "nlp_cloud",
        {"api_key": "tok"},
        "/m/generation",
        "/m/generation",
        ("authorization", "Token tok"),
        ("logprobs", "response_format", "seed", "tools"),
    ),
    Spoken(
        "triton",
        {"api_key": "tok"},
        "/v2/models/m/generate",
        "/v2/models/m/generate_stream",
        BEARER,
        ("logprobs", "n", "response_format", "tools"),
    ),
    Spoken(
        "watsonx",
        {"token": "tok", "project_id": "p-1"},
        "/ml/v1/text/chat?version=2025-02-11",
        "/ml/v1/text/chat_stream?version=2025-02-11",
        BEARER,
        ("parallel_tool_calls", "prompt_cache_key", "web_search_options"),
    ),
]

cases = pytest.mark.parametrize(
    ("spoken", "case"),
    [
        pytest.param(spoken, case, id=f"{spoken}-{case}")
        for spoken in WIRES
        for case in load_cases(spoken.wire)
        if case.error is None
    ],
)
wires = pytest.mark.parametrize("spoken", WIRES, ids=repr)


def asked(spoken: Spoken, provider: FakeProvider, case: Case) -> dict[str, Any]:
    """The arguments of the call that a case is."""
    params = {**case.call.params, **case.call.extra}
    params.pop("thread_id", None)
    return {
        "model": f"{spoken.wire}/m",
        "messages": list(case.call.messages),
        "api_base": provider.url,
        "stream": case.call.stream,
        **spoken.passed,
        **params,
    }


def serve(provider: FakeProvider, case: Case) -> None:
    if case.call.stream:
        provider.raw(case.body, cuts=range(11, len(case.body), 97))
    else:
        provider.answer(body=case.body)


def check(spoken: Spoken, provider: FakeProvider, case: Case, said: list[Any], end: Any) -> None:
    """What the caller got and what was published is what the golden files say, and it was asked for as documented."""
    (heard,) = provider.requests
    assert heard.path == (spoken.streamed if case.call.stream else spoken.plain)
    assert heard.headers[spoken.key[0]] == spoken.key[1]
    assert case.completion is not None
    assert case.usage is not None
    wanted = [choice["message"]["content"] or "" for choice in case.completion["choices"]]
    assert said == wanted
    assert isinstance(end, StreamCompleted if case.call.stream else CallSucceeded)
    counted = case.usage["usage"]
    if counted is not None:
        assert end.usage_source == "provider"
        assert msgspec.to_builtins(end.usage) == counted
    assert end.usage_problem == case.usage["problem"]


@cases
def test_a_call_gets_what_the_golden_answer_says(
    spoken: Spoken, case: Case, provider: FakeProvider, events: list[Any]
) -> None:
    serve(provider, case)
    answer = callmeter.completion(**asked(spoken, provider, case))
    if case.call.stream:
        said = ["".join(chunk.choices[0].delta.content or "" for chunk in answer)]
    else:
        said = [choice.message.content or "" for choice in answer.choices]
    check(spoken, provider, case, said, events[-1])


@cases
def test_an_awaited_call_gets_the_same(spoken: Spoken, case: Case, provider: FakeProvider, events: list[Any]) -> None:
    serve(provider, case)

    async def call() -> list[str]:
        answer = await callmeter.acompletion(**asked(spoken, provider, case))
        if case.call.stream:
            return ["".join([chunk.choices[0].delta.content or "" async for chunk in answer])]
        return [choice.message.content or "" for choice in answer.choices]

    check(spoken, provider, case, asyncio.run(call()), events[-1])


@wires
def test_what_has_no_place_in_the_wire_is_refused_by_name_or_dropped(spoken: Spoken, provider: FakeProvider) -> None:
    case = next(case for case in load_cases(spoken.wire) if case.error is None and not case.call.stream)
    for name in spoken.lacks:
        value: Any = {"tools": [TOOL], "response_format": {"type": "json_object"}, "web_search_options": {}}.get(
            name, 1
        )
        with pytest.raises(UnsupportedParamsError, match=name):
            callmeter.completion(f"{spoken.wire}/m", M, api_base=provider.url, **spoken.passed, **{name: value})
        provider.answer(body=case.body)
        callmeter.completion(
            f"{spoken.wire}/m", M, api_base=provider.url, drop_params=True, **spoken.passed, **{name: value}
        )
        assert name not in json.loads(provider.requests[-1].body)


# --- the rest of what a codec alone can show


def body_of(wire: str, messages: Any = M, *, variables: Mapping[str, str] | None = None, **call: Any) -> dict[str, Any]:
    codec = load(wire)
    where = Deployment(provider=wire, model="m", codec=wire, api_base="https://x.test", variables=variables or {})
    request = codec.request(Call(id="c", operation="chat", model=f"{wire}/m", messages=messages, **call), where)
    body: dict[str, Any] = json.loads(request.body)
    return body


def test_watsonx_needs_to_know_who_pays() -> None:
    with pytest.raises(BadRequestError, match="project_id=… or space_id=…"):
        body_of("watsonx")
    assert body_of("watsonx", variables={"space_id": "s"})["space_id"] == "s"
    said = body_of("watsonx", variables={"project_id": "p"}, extra={"space_id": "mine"})
    assert (said["space_id"], "project_id" in said) == ("mine", False)


def test_watsonx_refuses_a_choice_it_has_no_word_for() -> None:
    with pytest.raises(BadRequestError, match="tool_choice 'any'"):
        body_of("watsonx", variables={"project_id": "p"}, params={"tools": [TOOL], "tool_choice": "any"})


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "'image_url'"),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": n, "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in "ab"
                    ],
                }
            ],
            "one at a time",
        ),
    ],
)
def test_gigachat_refuses_what_it_cannot_say(messages: Any, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        body_of("gigachat", messages)


def test_gigachat_cannot_be_made_to_call_some_function() -> None:
    with pytest.raises(BadRequestError, match="tool_choice required has no equivalent"):
        body_of("gigachat", params={"tools": [TOOL], "tool_choice": "required"})


def test_gigachats_cached_tokens_cost_nothing(provider: FakeProvider, events: list[Any]) -> None:
    case = next(case for case in load_cases("gigachat") if case.name == "plain_and_precached")
    provider.answer(body=case.body)
    callmeter.completion(
        "gigachat/m",
        M,
        api_base=provider.url,
        gigachat_access_token="tok",
        input_cost_per_token=1.0,
        output_cost_per_token=10.0,
    )
    # 1 prompt token and 4 of the answer; 37 more were read from the cache.
    assert (events[-1].usage.input_tokens, events[-1].cost.total) == (38, 41)


@pytest.mark.parametrize("wire", ["nlp_cloud", "triton"])
def test_wires_of_text_refuse_images(wire: str) -> None:
    with pytest.raises(BadRequestError, match="image_url"):
        body_of(wire, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}])


def test_sap_says_which_deployment_it_lacks() -> None:
    with pytest.raises(BadRequestError, match="AICORE_DEPLOYMENT_ID"):
        body_of("sap")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("https://x.test", "https://x.test/v2/inference/deployments/d/v2/completion"),
        ("https://x.test/v2", "https://x.test/v2/inference/deployments/d/v2/completion"),
        ("https://x.test/v2/inference/deployments/e", "https://x.test/v2/inference/deployments/e/v2/completion"),
        ("https://x.test/any/completion", "https://x.test/any/completion"),
    ],
)
def test_sap_is_found_under_every_form_of_its_address(base: str, path: str) -> None:
    where = Deployment(provider="sap", model="m", codec="sap", api_base=base, variables={"deployment": "d"})
    asked = load("sap").request(Call(id="c", operation="chat", model="sap/m", messages=M), where)
    assert (asked.url, asked.headers["ai-resource-group"]) == (path, "default")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("http://t:8000", "http://t:8000/v2/models/m/generate"),
        ("http://t:8000/v2", "http://t:8000/v2/models/m/generate"),
        ("http://t:8000/v2/models/other/generate", "http://t:8000/v2/models/other/generate"),
        ("http://t:8000/v2/models/other/generate_stream", "http://t:8000/v2/models/other/generate"),
    ],
)
def test_triton_is_found_under_every_form_of_its_address(base: str, path: str) -> None:
    where = Deployment(provider="triton", model="m", codec="triton", api_base=base)
    assert load("triton").request(Call(id="c", operation="chat", model="triton/m", messages=M), where).url == path


def test_a_run_on_a_thread_is_asked_for_there() -> None:
    where = Deployment(provider="langgraph", model="agent", codec="langgraph", api_base="http://g:2024")
    call = Call(id="c", operation="chat", model="langgraph/agent", messages=M, extra={"thread_id": "t1"}, stream=True)
    asked = load("langgraph").request(call, where)
    assert asked.url == "http://g:2024/threads/t1/runs/stream"
    assert "thread_id" not in json.loads(asked.body)
