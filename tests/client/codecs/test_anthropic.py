"""Anthropic Messages in both directions, against Anthropic's own SDK.

What a request says, parameter by parameter, is in `test_anthropic_request`.
"""

import json
from typing import Any

import anthropic as sdk
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.client.codecs.anthropic import CODEC
from callmeter.client.codecs.anthropic_answer import usage
from callmeter.client.usage import completion_usage
from callmeter.errors import (
    APIError,
    APIResponseValidationError,
    ContextWindowExceededError,
    RateLimitError,
    ServiceUnavailableError,
)
from callmeter.shapes import Message
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, decode_stream, load_cases, sent_body

CASES = load_cases("anthropic")
WHOLE = [case for case in CASES if case.error is None]

CALL = Call(id="c", operation="chat", model="anthropic/claude-sonnet-4-5")
HERE = Deployment(
    provider="anthropic", model="claude-sonnet-4-5", codec="anthropic", api_base="https://api.anthropic.com"
)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": []}},
        {"type": "message_start", "message": {"id": 7}},
        ["hello"],
    ],
)
def test_an_event_of_another_shape_is_named(frame: Any) -> None:
    body = b"data: " + json.dumps(frame).encode() + b"\n\n"
    error = decode_stream(CODEC, CALL, HERE, body).error
    assert isinstance(error, APIResponseValidationError)
    assert "Messages stream" in error.message


# --- Anthropic's own SDK reads the same bytes alike


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def read_by_sdk(case: Case) -> sdk.types.Message:
    kind = "text/event-stream" if case.call.stream else "application/json"
    asked: Any = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    with (
        serving(case.body, kind) as url,
        sdk.Anthropic(api_key="k", base_url=url, max_retries=0) as client,
    ):
        if not case.call.stream:
            message: sdk.types.Message = client.messages.create(**asked)
            return message
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_tools_and_usage(case: Case) -> None:
    theirs, ours = read_by_sdk(case), decode(case, CODEC)
    message = ours.completion.choices[0].message
    calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or () if c.function]
    used = [(b.id, b.name, b.input) for b in theirs.content if b.type == "tool_use"]
    if any(name == "json_tool_call" for _, name, _ in used):
        assert json.loads(message.content or "") == used[0][2]
        used.pop(0)
    else:
        assert (message.content or "") == "".join(b.text for b in theirs.content if b.type == "text")
    assert calls == used
    thoughts = [b.to_dict() for b in theirs.content if b.type in ("thinking", "redacted_thinking")]
    assert (message.thinking_blocks or []) == thoughts
    if ours.meter.usage is not None:
        counts = theirs.usage
        cached = (counts.cache_read_input_tokens or 0) + (counts.cache_creation_input_tokens or 0)
        assert ours.meter.usage.input_tokens == counts.input_tokens + cached
        assert ours.meter.usage.output_tokens == counts.output_tokens


THEIR_REQUEST = pydantic.TypeAdapter(MessageCreateParamsBase)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_sdk_s_types_admit_what_is_sent(case: Case) -> None:
    admitted = THEIR_REQUEST.validate_python(sent_body(case, CODEC))
    for message in admitted["messages"]:
        # Lists are checked while they are walked.
        assert list(message["content"])


# --- answers and counts


def test_a_body_that_is_no_message_is_a_validation_error() -> None:
    for body in (
        b"<html>",
        b'{"content": 5}',
        b'{"content": [{"type": "text", "text": 5}]}',
        b'{"id":"\xff"}',
        b"{}",
        b"",
    ):
        with pytest.raises(APIResponseValidationError, match="is not a message"):
            CODEC.response(WireReply(status=200, body=body), CALL, HERE)


@pytest.mark.parametrize(
    ("status", "kind", "text", "wanted"),
    [
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", ContextWindowExceededError),
        (413, "request_too_large", "Request exceeds the maximum size", ContextWindowExceededError),
        (429, "rate_limit_error", "slow down", RateLimitError),
        (529, "overloaded_error", "Overloaded", ServiceUnavailableError),
    ],
)
def test_failures_are_classed_by_status_and_kind(status: int, kind: str, text: str, wanted: type[APIError]) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}).encode()
    error = CODEC.failure(status, {"request-id": "req_1", "retry-after": "3"}, body, HERE)
    assert type(error) is wanted
    assert text in error.message
    assert (error.request_id, error.retry_after_s) == ("req_1", 3.0)


counts = st.integers(min_value=0, max_value=10**6)


@given(fresh=counts, read=counts, five=counts, hour=counts, out=counts, told=st.booleans())
def test_totals_contain_their_parts_whatever_anthropic_counts(
    fresh: int, read: int, five: int, hour: int, out: int, told: bool
) -> None:
    split = {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour}
    raw = {"input_tokens": fresh, "cache_read_input_tokens": read, "output_tokens": out, "cache_creation": split}
    if told:
        raw["cache_creation_input_tokens"] = five + hour
    counted = usage(raw)
    assert counted.input_tokens == fresh + read + five + hour
    assert (counted.cache_read_tokens, counted.cache_write_tokens, counted.cache_write_1h_tokens) == (read, five, hour)
    assert counted.reasoning_tokens is None
    public = completion_usage(counted, anthropic_keys=True)
    assert public.total_tokens == counted.input_tokens + out
    assert public.cache_creation_input_tokens == five + hour


def test_more_one_hour_writes_than_writes_are_no_usage() -> None:
    raw = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 6},
    }
    body = json.dumps({"type": "message", "content": [], "usage": raw}).encode()
    meter = CODEC.response(WireReply(status=200, body=body), CALL, HERE).meter
    assert meter.usage is None
    assert "ephemeral_1h_input_tokens" in meter.problem
    assert meter.raw == raw


def test_what_is_said_around_the_json_tool_is_not_in_the_answer() -> None:
    asked = replace(CALL, params={"response_format": {"type": "json_object"}})
    text = {"type": "text", "text": "Here you are: "}
    tool = {"type": "tool_use", "id": "1", "name": "json_tool_call", "input": {"a": 1}}
    for content, answer in (([text, tool], '{"a":1}'), ([text], "Here you are: ")):
        body = json.dumps({"type": "message", "content": content}).encode()
        events = [
            {"type": "content_block_start", "index": n, "content_block": block} for n, block in enumerate(content)
        ]
        events += [{"type": "content_block_stop", "index": n} for n in range(len(content))]
        stream = b"".join(
            b"data: " + json.dumps(event).encode() + b"\n\n" for event in [*events, {"type": "message_stop"}]
        )
        plain = CODEC.response(WireReply(status=200, body=body), asked, HERE).completion
        for completion in (plain, decode_stream(CODEC, asked, HERE, stream).completion):
            assert completion.choices[0].message.content == answer
            assert completion.choices[0].message.tool_calls is None


def test_content_is_null_beside_tools_alone() -> None:
    content = [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]
    body = json.dumps({"type": "message", "content": content, "stop_reason": "tool_use"}).encode()
    message: Message = CODEC.response(WireReply(status=200, body=body), CALL, HERE).completion.choices[0].message
    assert message.content is None
