"""Bedrock's Converse in both directions, against boto3: the same bytes read alike, the same requests sent."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs.bedrock import CODEC
from callmeter.client.codecs.bedrock_answer import WireTold, meter, usage
from callmeter.client.codecs.bedrock_messages import safe_id
from callmeter.client.codecs.bedrock_request import request_body
from callmeter.errors import (
    BadRequestError,
    UnsupportedParamsError,
)
from callmeter.events.model import CallFailed, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases, sent_body

CASES = load_cases("bedrock")
WHOLE = [case for case in CASES if case.error is None]
BROKEN = [case for case in CASES if case.error is not None and case.call.stream and case.name != "interrupted"]

M: Any = [{"role": "user", "content": "Hi"}]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
CALL = Call(id="c", operation="chat", model=f"bedrock/{CLAUDE}", messages=M)
HERE = Deployment(provider="bedrock", model=CLAUDE, codec="bedrock", api_base="https://h.example")
THERE = replace(HERE, model=NOVA)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["at"]}}}
KEYS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret", "aws_region_name": "us-east-1"}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_events(sleep=lambda _: None, jitter=lambda: 0.0) as seen:
        yield seen


@pytest.fixture
def provider(events: list[Any]) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


SESSION = boto3.Session(aws_access_key_id="AKID", aws_secret_access_key="secret", region_name="us-east-1")


def sdk(url: str) -> Any:
    """boto3's own client, for a server here."""
    return SESSION.client("bedrock-runtime", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def body_of(messages: Any = M, where: Deployment = HERE, **call: Any) -> dict[str, Any]:
    return request_body(replace(CALL, messages=messages, **call), where)


# --- boto3 reads the same bytes alike


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_boto3_reads_the_same_text_tools_thinking_and_usage(case: Case) -> None:
    asked: Any = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "x"}]}]}
    kind = "application/vnd.amazon.eventstream" if case.call.stream else "application/json"
    with serving(case.body, kind) as url:
        theirs = _streamed(sdk(url), asked) if case.call.stream else sdk(url).converse(**asked)
    blocks = theirs["output"]["message"]["content"]
    ours = decode(case, CODEC)
    choice = ours.completion.choices[0]
    message = choice.message
    uses = [b["toolUse"] for b in blocks if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"]
    carrying = [use for use in uses if use["name"] == "json_tool_call"]
    if carrying:
        assert json.loads(message.content or "") == carrying[0]["input"]
    else:
        assert (message.content or "") == "".join(map(_text, blocks))
    calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or () if c.function]
    assert calls == [(u["toolUseId"], u["name"], u["input"]) for u in uses if u not in carrying]
    thoughts = [b["reasoningContent"] for b in blocks if "reasoningContent" in b]
    spoken = [thought["reasoningText"] for thought in thoughts if "reasoningText" in thought]
    assert (message.reasoning_content or "") == "".join(thought["text"] for thought in spoken)
    signed = [t["signature"] for t in spoken if t.get("signature")] + [
        t["redactedContent"].decode() for t in thoughts if "redactedContent" in t
    ]
    assert [b.get("signature") or b.get("data") for b in message.thinking_blocks or ()] == signed
    images = [b["image"]["source"]["bytes"] for b in blocks if "image" in b]
    shown = [image["image_url"]["url"].partition(",")[2] for image in message.images or ()]
    assert [b64decode(data) for data in shown] == images
    assert (choice.provider_specific_fields or {})["native_finish_reason"] == theirs["stopReason"]
    counted, counts = ours.meter.usage, theirs.get("usage")
    if counted is None:
        assert counts is None or ours.meter.problem
    else:
        assert counted.total_tokens == counts["totalTokens"]
        assert counted.output_tokens == counts["outputTokens"]
        assert counted.cache_read_tokens == counts.get("cacheReadInputTokens", 0)
        written = counted.cache_write_tokens + counted.cache_write_1h_tokens
        assert written == counts.get("cacheWriteInputTokens", 0)


def _text(block: dict[str, Any]) -> str:
    cited = block.get("citationsContent", {}).get("content", ())
    return block.get("text", "") + "".join(part["text"] for part in cited)


def _streamed(client: Any, asked: Any) -> dict[str, Any]:
    """boto3's events put together to the form of its whole answers."""
    found: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in client.converse_stream(**asked)["stream"]:
        ((kind, told),) = event.items()
        if kind == "contentBlockStart":
            blocks[told["contentBlockIndex"]] = json.loads(json.dumps(told["start"]))
        elif kind == "contentBlockDelta":
            _add(blocks.setdefault(told["contentBlockIndex"], {}), told["delta"])
        elif kind in ("messageStop", "metadata"):
            found |= told
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"].get("input") or "{}")
    return found | {"output": {"message": {"content": [blocks[at] for at in sorted(blocks)]}}}


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] = block["toolUse"].get("input", "") + delta["toolUse"]["input"]
    if "image" in delta:
        source = block["image"].setdefault("source", {"bytes": b""})
        source["bytes"] += delta["image"]["source"]["bytes"]
    if "reasoningContent" in delta:
        into = block.setdefault("reasoningContent", {})
        if "redactedContent" in delta["reasoningContent"]:
            into["redactedContent"] = into.get("redactedContent", b"") + delta["reasoningContent"]["redactedContent"]
        else:
            text = into.setdefault("reasoningText", {"text": ""})
            for name, piece in delta["reasoningContent"].items():
                text[name] = text.get(name, "") + piece


@pytest.mark.parametrize("case", BROKEN, ids=repr)
def test_boto3_meets_the_same_error_in_the_stream(case: Case) -> None:
    asked: Any = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "x"}]}]}
    with serving(case.body, "application/vnd.amazon.eventstream") as url, pytest.raises(EventStreamError) as theirs:
        list(sdk(url).converse_stream(**asked)["stream"])
    ours = decode(case, CODEC).error
    assert ours is not None
    assert theirs.value.response["Error"]["Message"] in str(ours)


# --- and asks for the same


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_boto3_admits_what_we_send_and_sends_the_same(case: Case) -> None:
    ours = CODEC.request(case.call, case.deployment)
    with FakeProvider() as server:
        client = sdk(server.url)
        asked = {"modelId": case.deployment.model, **_with_bytes(json.loads(ours.body))}
        if case.call.stream:
            list(client.converse_stream(**asked)["stream"])
        else:
            client.converse(**asked)
        (theirs,) = server.requests
    assert ours.url == case.deployment.api_base + theirs.path
    assert json.loads(theirs.body) == sent_body(case, CODEC)


def _with_bytes(value: Any) -> Any:
    """A body as boto3 takes it: bytes where JSON has base64."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    blobs = {"bytes", "redactedContent"}
    return {name: b64decode(item) if name in blobs else _with_bytes(item) for name, item in value.items()}


# --- calls


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_call_is_signed_answered_counted_and_priced(stream: bool, provider: FakeProvider, events: list[Any]) -> None:
    wish = {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 300, "cache_write_tokens": 200}
    answer = callmeter.completion(
        f"bedrock/{CLAUDE}", M, stream=stream, api_base=provider.url, x_fake={**wish, "cache_write_1h_tokens": 100}, **KEYS
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
    assert text.startswith("Hello from the fake provider")
    heard = provider.requests[0]
    assert heard.path == f"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse{'-stream' if stream else ''}"
    assert "Credential=AKID/" in heard.headers["authorization"]
    end = events[-1]
    assert isinstance(end, StreamCompleted if stream else CallSucceeded)
    assert (end.usage_source, end.cost.status) == ("provider", "priced")
    used = end.usage
    assert (used.input_tokens, used.output_tokens, used.cache_read_tokens) == (1000, 100, 300)
    assert (used.cache_write_tokens, used.cache_write_1h_tokens) == (200, 100)
    # 400 × 3.3 + 300 × 0.33 + 200 × 4.125 + 100 × 6.6 + 100 × 16.5, each per million
    assert end.cost.total == Decimal("0.004554")
    assert end.call.region == "us-east-1"
    if not stream:
        assert answer._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"] == answer.id


def test_calls_are_awaited_alike(provider: FakeProvider, events: list[Any]) -> None:
    async def main() -> tuple[str, str]:
        asked: dict[str, Any] = {"api_base": provider.url, **KEYS}
        plain: Any = await callmeter.acompletion(f"bedrock/{NOVA}", M, **asked)
        stream: Any = await callmeter.acompletion(f"bedrock/{NOVA}", M, stream=True, **asked)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return plain.choices[0].message.content, text

    plain, streamed = asyncio.run(main())
    assert plain == streamed
    assert [event.usage.output_tokens for event in events if getattr(event, "usage", None)] == [9, 9]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_tools_go_there_and_come_back(stream: bool, provider: FakeProvider) -> None:
    where: Any = {"api_base": provider.url, "tools": [TOOL], **KEYS}
    answer = callmeter.completion(f"bedrock/{CLAUDE}", M, stream=stream, **where)
    if stream:
        answer = callmeter.stream_chunk_builder(list(answer))
    message = answer.choices[0].message
    (tool,) = message.tool_calls
    assert (tool.function.name, json.loads(tool.function.arguments)) == ("look", {"at": "fake"})
    assert answer.choices[0].finish_reason == "tool_calls"
    told = [*M, message, {"role": "tool", "tool_call_id": tool.id, "content": "here"}]
    again = callmeter.completion(f"bedrock/{CLAUDE}", told, **where)
    assert again.choices[0].message.content
    sent = json.loads(provider.requests[-1].body)["messages"]
    assert sent[1]["content"] == [{"toolUse": {"toolUseId": tool.id, "name": "look", "input": {"at": "fake"}}}]
    assert sent[2]["content"] == [{"toolResult": {"toolUseId": tool.id, "content": [{"text": "here"}]}}]


def test_thinking_survives_the_round_trip_here_and_at_anthropic() -> None:
    case = next(case for case in CASES if case.name == "thinking_redacted")
    message = decode(case, CODEC).completion.choices[0].message
    sent = body_of([*M, message, {"role": "user", "content": "Go on."}])["messages"][1]["content"]
    assert sent == json.loads(case.body)["output"]["message"]["content"]
    at_anthropic = callmeter.client.codecs.load("anthropic").request(
        replace(CALL, messages=[*M, message, *M]), replace(HERE, codec="anthropic")
    )
    thought = json.loads(at_anthropic.body)["messages"][1]["content"][0]
    assert thought == {"type": "redacted_thinking", "data": "Eu8ECkgIBxABGAIqQIhkIaSt8p"}


@given(data=st.binary(max_size=40))
def test_redacted_thinking_of_any_bytes_comes_back_as_it_was(data: bytes) -> None:
    from callmeter.client.codecs.bedrock_messages import redacted, unredacted

    assert unredacted(redacted(data)) == data


def test_a_stream_that_is_cut_ends_in_a_failure_with_what_it_had_cost(
    provider: FakeProvider, events: list[Any]
) -> None:
    wish = {"prompt_tokens": 50, "cut_after_chunks": 3}
    stream = callmeter.completion(f"bedrock/{NOVA}", M, stream=True, api_base=provider.url, x_fake=wish, **KEYS)
    with pytest.raises(callmeter.APIConnectionError):
        list(stream)
    end = events[-1]
    assert isinstance(end, CallFailed)
    assert end.usage is not None
    assert end.usage_source == "counted"
    assert end.usage.output_tokens >= 3


def test_each_attempt_is_signed(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(503)
    callmeter.completion(f"bedrock/{NOVA}", M, api_base=provider.url, **KEYS)
    assert ["AWS4-HMAC-SHA256" in heard.headers["authorization"] for heard in provider.requests] == [True, True]


# --- counts


counts = st.integers(0, 2**40)


@given(plain=counts, read=counts, minutes=counts, hour=counts, out=counts)
def test_counts_are_whole_disjoint_and_priced_once(plain: int, read: int, minutes: int, hour: int, out: int) -> None:
    from callmeter.pricing.quantities import disjoint

    used = usage(
        {
            "inputTokens": plain,
            "outputTokens": out,
            "cacheReadInputTokens": read,
            "cacheReadInputTokenCount": read,
            "cacheWriteInputTokens": minutes + hour,
            "cacheWriteInputTokenCount": minutes + hour,
            "cacheDetails": [{"ttl": "5m", "inputTokens": minutes}, {"ttl": "1h", "inputTokens": hour}],
        }
    )
    assert used.total_tokens == plain + read + minutes + hour + out
    lines = dict(disjoint(used))
    named = {"input": plain, "cache_read": read, "cache_write_5m": minutes, "cache_write_1h": hour, "output": out}
    assert lines == {line: count for line, count in named.items() if count}


@pytest.mark.parametrize(
    "raw",
    [
        {"inputTokens": 1},
        {"outputTokens": 1},
        {"inputTokens": "3", "outputTokens": 1},
        {"inputTokens": 3, "outputTokens": 1, "cacheReadInputTokens": -2},
        {"inputTokens": 3, "outputTokens": 1, "cacheDetails": [{"ttl": "1h"}]},
        [],
    ],
    ids=str,
)
def test_counts_that_make_no_sense_are_a_problem_and_no_usage(raw: Any) -> None:
    told = meter(WireTold(usage=raw))
    assert told.usage is None
    assert told.problem
    assert told.raw == raw


def test_a_router_s_answer_is_priced_as_the_model_that_gave_it() -> None:
    case = next(case for case in CASES if case.name == "prompt_router")
    assert decode(case, CODEC).meter.model == "us.anthropic.claude-3-5-sonnet-20240620-v1:0"


@pytest.mark.parametrize("body", [b'{"output":{}}', b"{}", b'{"output":{"message":{"content":5}}}', b"[]", b"\xff"])
def test_a_body_that_is_no_answer_is_a_validation_error(body: bytes) -> None:
    with pytest.raises(callmeter.errors.APIResponseValidationError, match="not an answer of Converse"):
        CODEC.response(WireReply(status=200, body=body), CALL, HERE)


# --- requests


def test_an_instruction_alone_is_asked_as_a_question() -> None:
    assert body_of([{"role": "system", "content": "Be brief."}]) == {
        "messages": [{"role": "user", "content": [{"text": "Be brief."}]}]
    }


def test_neighbours_are_one_turn_and_blank_messages_are_none() -> None:
    talk = [*M, {"role": "assistant", "content": " \n"}, {"role": "user", "content": "You there?"}]
    assert body_of(talk)["messages"] == [{"role": "user", "content": [{"text": "Hi"}, {"text": "You there?"}]}]


def test_an_answer_begun_for_the_model_ends_in_no_white_space() -> None:
    assert body_of([*M, {"role": "assistant", "content": "So: \n"}])["messages"][1]["content"] == [{"text": "So:"}]


def test_a_history_with_tools_has_tools_even_where_the_call_wants_none() -> None:
    called = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{}"}}]}
    talk = [*M, called, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    stub = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
    assert body_of(talk)["toolConfig"] == {"tools": [stub]}
    kept = body_of(talk, params={"tools": [TOOL], "tool_choice": "none"})["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in kept["tools"]] == ["look"]
    assert "toolConfig" not in body_of(params={"tools": [TOOL], "tool_choice": "none"})


def test_allowed_tools_are_all_that_is_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}
    config = body_of(params={"tools": [TOOL, other], "tool_choice": choice})["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["look"]
    assert config["toolChoice"] == {"any": {}}


def test_anthropic_s_own_tools_reach_claude_and_nobody_else() -> None:
    bash = {"type": "bash_20250124", "name": "bash"}
    body = body_of(params={"tools": [bash, TOOL]}, headers={"anthropic-beta": "computer-use-2025-01-24"})
    assert body["additionalModelRequestFields"] == {"tools": [bash]}
    request = CODEC.request(replace(CALL, headers={"anthropic-beta": "computer-use-2025-01-24"}), HERE)
    assert json.loads(request.body)["additionalModelRequestFields"] == {"anthropic_beta": ["computer-use-2025-01-24"]}
    assert "anthropic-beta" not in request.headers
    with pytest.raises(BadRequestError, match=r"tools\[0\] is of type 'bash_20250124'"):
        body_of(where=THERE, params={"tools": [bash]})


def test_with_thinking_on_no_tool_is_forced() -> None:
    form = {"response_format": {"type": "json_object"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert "toolChoice" not in body_of(params=form)["toolConfig"]


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        ("us.deepseek.r1-v1:0", "none", {}),
        ("qwen.qwen3-32b-v1:0", "medium", {"reasoning_config": "high"}),
        ("openai.gpt-oss-20b-1:0", "xhigh", {"reasoning_effort": "high"}),
        ("us.anthropic.claude-opus-4-20250514-v1:0", "low", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("anthropic.claude-3-haiku-20240307-v1:0", "none", {}),
    ],
)
def test_each_kind_of_model_is_told_to_think_in_its_own_words(model: str, effort: str, told: Any) -> None:
    body = body_of(where=replace(HERE, model=model), params={"reasoning_effort": effort})
    assert body.get("additionalModelRequestFields", {}) == told


@pytest.mark.parametrize(
    ("params", "name"), [({"reasoning_effort": "low"}, "reasoning_effort"), ({"tools": [TOOL], "parallel_tool_calls": False}, "parallel_tool_calls")]
)  # fmt: skip
def test_what_a_model_lacks_is_refused_by_name_or_dropped(params: Any, name: str) -> None:
    with pytest.raises(UnsupportedParamsError, match=name) as refused:
        body_of(where=THERE, params=params)
    assert refused.value.param == name
    assert "additionalModelRequestFields" not in body_of(where=THERE, params=params, drop_params=True)


@pytest.mark.parametrize("name", ["n", "seed", "logit_bias", "logprobs", "web_search_options", "frequency_penalty"])
def test_what_converse_lacks_is_refused_by_name(name: str, provider: FakeProvider) -> None:
    with pytest.raises(UnsupportedParamsError, match=f"bedrock does not support {name}"):
        callmeter.completion(f"bedrock/{NOVA}", M, api_base=provider.url, **KEYS, **{name: 2})
    assert not provider.requests


def test_what_the_caller_allows_goes_to_the_model(provider: FakeProvider) -> None:
    callmeter.completion(
        f"bedrock/{NOVA}", M, api_base=provider.url, seed=7, allowed_openai_params=["seed"], top_k=3, **KEYS
    )
    body = json.loads(provider.requests[0].body)
    assert body["additionalModelRequestFields"] == {"seed": 7, "inferenceConfig": {"topK": 3}}


REFUSED: list[tuple[Any, str]] = [
    ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}, r"cannot fetch 'https.*s3:// URI"),
    ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}, "reads no image/tiff"),
    ({"type": "image_url", "image_url": {}}, r"image_url\.url is missing"),
    ({"type": "file", "file": {"file_id": "file-123"}}, "cannot fetch 'file-123'"),
    ({"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}}, "reads no application/zip"),
    ({"type": "file", "file": {}}, "file_data or file.file_id is missing"),
    ({"type": "input_audio", "input_audio": {}}, r"input_audio\.data is missing"),
    ({"type": "video", "video": {}}, "takes no content part of type 'video'"),
    ({"image": {}, "text": "two"}, "takes no content part of type None"),
]


@pytest.mark.parametrize(("part", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_a_part_that_bedrock_does_not_take_is_refused(part: Any, why: str) -> None:
    with pytest.raises(BadRequestError, match=why):
        body_of([{"role": "user", "content": [part]}])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"role": "judge", "content": "x"}, r"messages\[0\] has role 'judge'"),
        ({"role": "assistant", "function_call": {"name": "x"}}, "needs tool_calls"),
    ],
)
def test_a_message_that_has_no_words_is_refused(message: Any, why: str) -> None:
    with pytest.raises(BadRequestError, match=why):
        body_of([message])


def test_a_choice_that_cannot_be_said_is_refused() -> None:
    with pytest.raises(BadRequestError, match="has no equivalent at Bedrock"):
        body_of(params={"tools": [TOOL], "tool_choice": "sometimes"})


@given(st.text(min_size=1, max_size=120))
def test_a_tool_call_s_id_fits_bedrock_s_alphabet_and_length(call_id: str) -> None:
    safe = safe_id(call_id)
    assert 1 <= len(safe) <= 64
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")
    assert safe_id(safe) == safe
