"""Ollama's native chat in both directions, against Ollama's own client."""

import json
from typing import Any

import ollama as sdk
import pydantic
import pytest
from msgspec.structs import replace
from ollama._types import ChatRequest

from callmeter.client.codecs.ollama import CODEC, endpoint, normalise_host, request_body
from callmeter.errors import (
    APIError,
    APIResponseValidationError,
    BadRequestError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    ServiceUnavailableError,
)
from callmeter.types import Call, Deployment, Secret
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, decode_stream, load_cases, sent_body

CASES = load_cases("ollama")
WHOLE = [case for case in CASES if case.error is None]

CALL = Call(id="c", operation="chat", model="ollama/llama3.2")
HERE = Deployment(provider="ollama", model="llama3.2", codec="ollama", api_base="http://localhost:11434")


def body_of(messages: Any = (), **call: Any) -> dict[str, Any]:
    return request_body(replace(CALL, messages=messages, **call), HERE)


# --- Ollama's own client reads the same bytes alike


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_tools_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with serving(case.body, "application/x-ndjson") as url:
        client = sdk.Client(host=url)
        theirs = list(client.chat(**asked, stream=True)) if case.call.stream else [client.chat(**asked)]
    ours = decode(case, CODEC)
    message = ours.completion.choices[0].message
    assert (message.content or "") == "".join(line.message.content or "" for line in theirs)
    assert (message.reasoning_content or "") == "".join(line.message.thinking or "" for line in theirs)
    calls = [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or () if c.function]
    used = [call.function for line in theirs for call in line.message.tool_calls or ()]
    assert calls == [(function.name, function.arguments) for function in used]
    counts = theirs[-1]
    if ours.meter.usage is None:
        assert counts.eval_count is None
    else:
        assert ours.meter.usage.input_tokens == (counts.prompt_eval_count or 0)
        assert ours.meter.usage.output_tokens == (counts.eval_count or 0)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_sdk_s_types_admit_what_is_sent_and_add_nothing(case: Case) -> None:
    sent = sent_body(case, CODEC)
    assert ChatRequest(**sent).model_dump(exclude_none=True) == sent


# --- requests


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", "http://localhost:11434"),
        ("localhost", "http://localhost:11434"),
        ("0.0.0.0", "http://localhost:11434"),
        ("0.0.0.0:8080", "http://localhost:8080"),
        (":8080", "http://localhost:8080"),
        (" 'gpu-box' ", "http://gpu-box:11434"),
        ("gpu-box:nonsense", "http://gpu-box:11434"),
        ("http://gpu-box", "http://gpu-box"),
        ("http://gpu-box:11434/", "http://gpu-box:11434"),
        ("https://ollama.com", "https://ollama.com"),
        ("ollama.com", "https://ollama.com"),
        ("https://host:8443/models/", "https://host:8443/models"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("::1", "http://[::1]:11434"),
        ("[::]", "http://localhost:11434"),
    ],
)
def test_every_way_to_write_the_host_becomes_an_address(text: str, address: str) -> None:
    assert normalise_host(text) == address
    assert normalise_host(address) == address


def test_the_address_of_chat_is_completed_once() -> None:
    for base in ("http://h:1", "http://h:1/", "http://h:1/api", "http://h:1/api/chat"):
        assert endpoint(base, "chat") == "http://h:1/api/chat"


def test_a_key_goes_as_bearer_and_the_caller_s_headers_win() -> None:
    where = replace(HERE, api_key=Secret("k"), headers={"X-Team": "1", "X-Other": "2"})
    headers = CODEC.request(replace(CALL, headers={"x-team": "3"}), where).headers
    assert headers["authorization"] == "Bearer k"
    assert (headers["x-team"], headers["x-other"]) == ("3", "2")
    assert "authorization" not in CODEC.request(CALL, HERE).headers


def test_stream_is_always_said_since_it_is_on_by_default() -> None:
    assert body_of()["stream"] is False
    assert body_of(stream=True)["stream"] is True


def test_options_of_three_origins_are_joined_the_caller_s_own_last() -> None:
    body = body_of(
        params={"temperature": 0.5, "max_tokens": 9, "stop": ["a", "b"], "user": "u"},
        extra={"top_k": 4, "options": {"temperature": 0.1}, "truncate": False, "extra_body": {"shift": True}},
    )
    assert body["options"] == {"temperature": 0.1, "num_predict": 9, "stop": ["a", "b"], "top_k": 4}
    assert (body["truncate"], body["shift"]) == (False, True)
    assert "user" not in body


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "max")],
)
def test_effort_is_think(effort: str, think: Any) -> None:
    assert body_of(params={"reasoning_effort": effort})["think"] == think


def test_default_effort_is_left_to_the_model() -> None:
    assert "think" not in body_of(params={"reasoning_effort": "default"})


def test_a_pydantic_class_is_the_format() -> None:
    class City(pydantic.BaseModel):
        name: str

    assert body_of(params={"response_format": City})["format"]["properties"]["name"]["type"] == "string"


def test_an_answer_of_ours_can_be_appended_as_it_is() -> None:
    case = next(c for c in CASES if c.name == "tools_streamed")
    message = decode(case, CODEC).completion.choices[0].message
    calls = message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in reversed(calls)]
    sent = body_of([message, *results])["messages"]
    assert [call["function"]["arguments"] for call in sent[0]["tool_calls"]] == [{"city": "Tokyo"}, {"city": "Rom"}, {}]
    assert [result["tool_name"] for result in sent[1:]] == ["now", "get_weather", "get_weather"]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": "https://x.test/a.png"}]}, "https://x.test"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "image_url.url"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "file"),
        ({"role": "function", "content": "x"}, "function"),
        ({"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "[1]"}}]}, "c1"),
    ],
)
def test_what_ollama_cannot_say_is_refused_by_name(message: Any, named: str) -> None:
    with pytest.raises(BadRequestError, match=named):
        body_of([message])


# --- answers


def test_ids_of_tool_calls_are_the_same_whenever_the_same_bytes_are_read() -> None:
    case = next(c for c in CASES if c.name == "tools_streamed")
    first, second = (decode(case, CODEC).completion.choices[0].message.tool_calls for _ in range(2))
    assert first == second
    assert len({call.id for call in first or ()}) == 3


def test_a_body_that_is_no_answer_is_a_validation_error() -> None:
    for body in (b"<html>", b"{}", b'{"message": 5}', b'{"message":{"content":[]}}', b'{"model":"\xff"}', b""):
        with pytest.raises(APIResponseValidationError, match="/api/chat"):
            CODEC.response(WireReply(status=200, body=body), CALL, HERE)


def test_a_count_that_cannot_be_is_a_problem_and_no_usage() -> None:
    body = b'{"message":{"content":"Hi"},"done":true,"eval_count":-1,"prompt_eval_count":3}'
    answer = CODEC.response(WireReply(status=200, body=body), CALL, HERE)
    assert answer.meter.usage is None
    assert answer.meter.problem == "eval_count is -1"
    assert answer.completion.usage is None


def test_what_follows_the_last_line_is_not_read() -> None:
    body = b'{"message":{"content":"Hi"},"done":true}\n{"error":"late"}\nrubbish'
    read = decode_stream(CODEC, replace(CALL, stream=True), HERE, body)
    assert read.error is None
    assert read.text == "Hi"


@pytest.mark.parametrize(
    ("status", "text", "wanted"),
    [
        (400, "m does not support tools", BadRequestError),
        (400, "the prompt exceeds the available context size", ContextWindowExceededError),
        (404, "model 'x' not found", NotFoundError),
        (500, "llama runner process has terminated", InternalServerError),
        (503, "server busy, please try again. maximum pending requests exceeded", ServiceUnavailableError),
    ],
)
def test_failures_are_classed_by_status_and_text(status: int, text: str, wanted: type[APIError]) -> None:
    error = CODEC.failure(status, {}, json.dumps({"error": text}).encode(), HERE)
    assert type(error) is wanted
    assert text in error.message
