"""The Responses API, for chat calls and natively, against OpenAI's own client."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openai.types.responses import Response

import callmeter
from callmeter.client import flow
from callmeter.client.codecs import azure_ai
from callmeter.client.codecs.openai_responses import CODEC
from callmeter.client.codecs.responses_answer import native, units
from callmeter.client.codecs.responses_input import items
from callmeter.client.codecs.responses_stream import native_event
from callmeter.client.drive import drive
from callmeter.client.plan import Listed, Plan, Target
from callmeter.client.providers import BY_NAME
from callmeter.client.recorder import Recorder
from callmeter.client.resolve import deployment, get_supported_openai_params
from callmeter.client.streaming import Stream
from callmeter.errors import (
    BadRequestError,
    UnsupportedParamsError,
)
from callmeter.events.model import CallFacts, CallSucceeded, StreamCompleted
from callmeter.records import ResponsesAnswer
from callmeter.runtime import default_runtime
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment, Secret
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, decode_stream, load_cases

CASES = load_cases("openai_responses")
WHOLE = [case for case in CASES if case.error is None]
NATIVE = [case for case in WHOLE if case.call.operation == "responses"]
BY_CASE = {case.name: case for case in CASES}
M: Any = [{"role": "user", "content": "Hi"}]
CALL = Call(id="c", operation="responses", model="openai/gpt-5-pro")
HERE = Deployment(
    provider="openai",
    model="gpt-5-pro",
    codec="openai_responses",
    api_base="https://api.openai.com/v1",
    api_key=Secret("k"),
)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["at"]}}}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_events() as seen:
        yield seen


@pytest.fixture
def provider(events: list[Any]) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.mark.parametrize(
    "name", ["plain", "tools_called", "builtin_tools", "everything_asked", "refusal", "image_made"]
)
def test_an_answer_streamed_item_by_item_folds_to_the_whole_one(name: str) -> None:
    """A stream that only says what is done, and that it is over, is enough."""
    case = BY_CASE[name]
    whole = json.loads(case.body)
    told = [{"type": "response.created", "response": {**whole, "output": []}}]
    for at, item in enumerate(whole["output"]):
        told.append({"type": "response.output_item.done", "output_index": at, "item": item})
    told.append({"type": "response.completed", "response": whole})
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in told)
    streamed = decode_stream(CODEC, replace(case.call, stream=True), case.deployment, body)
    plain = decode(case, CODEC)
    assert streamed.meter == plain.meter
    ours, theirs = streamed.completion.choices[0], plain.completion.choices[0]
    assert ours.finish_reason == theirs.finish_reason
    for field in ("tool_calls", "reasoning_details", "images"):
        assert getattr(ours.message, field) == getattr(theirs.message, field), field


# --- OpenAI's own client reads the same bytes alike, and sends what we send


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_calls_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        said = ""
        if case.call.stream:
            for event in client.responses.create(model="m", input="x", stream=True):
                said += event.delta if event.type == "response.output_text.delta" else ""
                if event.type in ("response.completed", "response.incomplete"):
                    theirs: Response = event.response  # type: ignore[union-attr]
        else:
            theirs = client.responses.create(model="m", input="x")
            said = theirs.output_text
    ours = decode(case, CODEC)
    message = ours.completion.choices[0].message
    assert (message.content or "") == said
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or () if c.function]
    assert calls == [(c.call_id, c.name, c.arguments or "{}") for c in theirs.output if c.type == "function_call"]
    assert ours.completion.id == theirs.id
    usage = ours.meter.usage
    if usage is None:
        assert theirs.usage is None or ours.meter.problem
    else:
        assert theirs.usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (theirs.usage.input_tokens, theirs.usage.output_tokens)
        assert usage.cache_read_tokens == theirs.usage.input_tokens_details.cached_tokens
        assert usage.reasoning_tokens == theirs.usage.output_tokens_details.reasoning_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_sdk_and_we_send_the_same_native_request(stream: bool, provider: FakeProvider) -> None:
    class Verdict(pydantic.BaseModel):
        good: bool

    client = openai.OpenAI(base_url=provider.openai_base, api_key="k", max_retries=0)
    asked: Any = {"input": "Hi", "instructions": "Be brief.", "reasoning": {"effort": "low"}}
    more: Any = {} if stream else {"text_format": Verdict}
    provider.answer(body=json.dumps({**json.loads(BY_CASE["plain"].body), "output": []}).encode())
    if stream:
        list(client.responses.create(model="gpt-5-pro", stream=True, **asked))
    else:
        client.responses.parse(model="gpt-5-pro", **asked, **more)
    call = replace(CALL, extra=asked | more, stream=stream)
    request = CODEC.request(call, replace(HERE, api_base=provider.openai_base))
    (heard,) = provider.requests
    assert request.url == provider.url + heard.path
    assert request.headers["authorization"] == heard.headers["authorization"]
    theirs = json.loads(heard.body)
    theirs.get("text", {}).get("format", {}).pop("description", None)
    assert json.loads(request.body) == {k: v for k, v in theirs.items() if (k, v) != ("stream", False)}


# --- chat over it


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model", ["openai/gpt-5-pro", "openai/responses/gpt-5"])
def test_a_model_that_is_served_there_alone_is_called_there(
    model: str, stream: bool, provider: FakeProvider, events: list[Any]
) -> None:
    answer = callmeter.completion(model, M, stream=stream, max_tokens=9, api_base=provider.openai_base, api_key="k")
    if stream:
        answer = callmeter.stream_chunk_builder(list(answer))
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    (heard,) = provider.requests
    assert heard.path == "/v1/responses"
    body = json.loads(heard.body)
    assert body["model"] == model.rpartition("/")[2]
    assert body["max_output_tokens"] == 9
    end = events[-1]
    assert isinstance(end, StreamCompleted if stream else CallSucceeded)
    counted = provider.counts.tokens["responses", body["model"]]
    assert end.usage_source == "provider"
    assert (end.usage.input_tokens, end.usage.output_tokens) == (counted.prompt_tokens, counted.completion_tokens)
    assert end.cost.status == "priced"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_tools_go_there_and_come_back(stream: bool, provider: FakeProvider) -> None:
    where: Any = {"api_base": provider.openai_base, "api_key": "k", "tools": [TOOL]}
    answer = callmeter.completion("openai/gpt-5-pro", M, stream=stream, **where)
    if stream:
        answer = callmeter.stream_chunk_builder(list(answer))
    message = answer.choices[0].message
    (tool,) = message.tool_calls
    assert (tool.function.name, json.loads(tool.function.arguments)) == ("look", {"at": "fake"})
    assert answer.choices[0].finish_reason == "tool_calls"
    told = [*M, message, {"role": "tool", "tool_call_id": tool.id, "content": "here"}]
    again = callmeter.completion("openai/gpt-5-pro", told, **where)
    assert again.choices[0].message.content
    sent = json.loads(provider.requests[-1].body)["input"]
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    assert sent[1]["call_id"] == sent[2]["call_id"] == tool.id


def test_what_the_api_lacks_is_refused_by_name(provider: FakeProvider) -> None:
    for name in ("stop", "seed", "n", "logit_bias"):
        with pytest.raises(UnsupportedParamsError, match=f"openai does not support {name}"):
            callmeter.completion("openai/o3-pro", M, api_base=provider.openai_base, api_key="k", **{name: 1})
    assert not provider.requests
    assert "stop" not in (get_supported_openai_params("o3-pro", "openai") or ())
    assert "stop" in (get_supported_openai_params("gpt-4o", "openai") or ())


@pytest.mark.parametrize("part", [{"type": "input_audio", "input_audio": {}}, {"type": "video_url"}], ids=repr)
def test_a_part_it_does_not_take_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"takes no content part of type '{part['type']}'"):
        items([{"role": "user", "content": [part]}])


def test_a_role_nobody_knows_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"messages\[0\] has role 'judge'"):
        items([{"role": "judge", "content": "x"}])


# --- natively


@pytest.mark.parametrize("case", [case for case in NATIVE if not case.call.stream], ids=repr)
def test_a_native_answer_is_the_apis_own_and_reads_like_an_object(case: Case) -> None:
    wire = json.loads(case.body)
    answer = native(CODEC.response(WireReply(status=200, body=case.body), case.call, case.deployment).completion)
    assert isinstance(answer, ResponsesAnswer)
    assert answer == wire
    assert answer.model_dump() == json.loads(answer.model_dump_json()) == wire
    theirs = Response.construct(**wire)
    assert answer.output_text == theirs.output_text
    assert [item.type for item in answer.output] == [item.type for item in theirs.output]
    assert answer["id"] == answer.id == answer.get("id")
    with pytest.raises(AttributeError, match="has no member 'choices'"):
        _ = answer.choices
    copy = answer.copy()
    copy.output.append("more")
    assert answer == wire


def test_every_event_of_a_native_stream_comes_out_as_it_is() -> None:
    case = BY_CASE["native_streamed"]
    told = [json.loads(line[6:]) for line in case.body.split(b"\n") if line.startswith(b"data: ")]
    decoded = decode(case, CODEC)
    came = [event for chunk in decoded.chunks if (event := native_event(chunk)) is not None]
    assert came == told
    assert came[-1].type == "response.completed"
    assert came[-1].response.output_text == decoded.text == "Hé there."
    assert all(chunk.choices for chunk in decoded.chunks if native_event(chunk) is not None)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_native_call_goes_the_whole_way(stream: bool, provider: FakeProvider, events: list[Any]) -> None:
    rt = default_runtime()
    call = replace(CALL, id=rt.ids(), stream=stream, extra={"input": "Hi"}, messages=M)
    facts = CallFacts(call_id=call.id, at_ns=rt.clock.wall_ns(), provider="openai", model="gpt-5-pro", stream=stream)
    recorder = Recorder(call, facts, rt, {})
    target = Target(call, replace(HERE, api_base=provider.openai_base))
    way = Listed(Plan(max_retries=0), lambda _: target)
    if stream:
        stream_of = Stream(drive(flow.stream(way, recorder), rt))
        seen = [event for chunk in stream_of if (event := native_event(chunk)) is not None]
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        answer = seen[-1].response
    else:
        answer = native(drive(flow.complete(way, recorder), rt))
        assert answer._hidden_params["cost"].status == "priced"
        assert answer._hidden_params is not answer._hidden_params
        assert answer.response_ms > 0
    assert answer.output_text
    end = events[-1]
    assert isinstance(end, StreamCompleted if stream else CallSucceeded)
    assert end.usage.input_tokens == answer.usage.input_tokens
    assert end.finish_reason == "stop"
    assert json.loads(provider.requests[0].body)["input"] == "Hi"


# --- what the API's own tools cost


def test_built_in_tools_are_lines_of_the_cost(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(body=BY_CASE["builtin_tools"].body)
    answer = callmeter.completion(
        "openai/responses/gpt-4o", M, api_base=provider.openai_base, api_key="k", web_search_options={}
    )
    lines = {item.line: item for item in answer._hidden_params["cost"].items}
    assert {line: lines[line].quantity for line in ("search.web", "search.file", "code_session")} == {
        "search.web": 2,
        "search.file": 1,
        "code_session": 2,
    }
    assert all(item.amount == item.quantity * item.rate for item in lines.values())
    assert answer._hidden_params["cost"].total == sum(item.amount for item in lines.values()) > Decimal(0)
    assert events[-1].usage.units["search.web"] == 2


ITEM = st.sampled_from(
    [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "code_interpreter_call", "container_id": "a"},
        {"type": "code_interpreter_call", "container_id": "b"},
        {"type": "message"},
    ]
)


@given(one=st.lists(ITEM), other=st.lists(ITEM))
def test_units_never_fall_when_more_is_done_and_never_exceed_the_items(one: list[Any], other: list[Any]) -> None:
    less, more = units(one), units([*one, *other])
    assert all(more[line] >= quantity for line, quantity in less.items())
    assert sum(more.values()) <= len(one) + len(other)
    assert all(more.values())


# --- addresses

R = "https://r.openai.azure.com"
ADDRESSES = {
    ("openai", "https://api.openai.com/v1"): "https://api.openai.com/v1/responses",
    ("openai", "https://x.example/v1/chat/completions"): "https://x.example/v1/responses",
    ("openai", "https://x.example/v1/responses"): "https://x.example/v1/responses",
    ("azure", R): f"{R}/openai/v1/responses",
    ("azure", f"{R}/openai/v1/"): f"{R}/openai/v1/responses",
    ("azure", f"{R}/?api-version=2025-04-01-preview"): f"{R}/openai/responses?api-version=2025-04-01-preview",
    ("azure", f"{R}/?api-version=preview"): f"{R}/openai/v1/responses?api-version=preview",
    ("azure", f"{R}/openai/deployments/d/chat/completions?api-version=2025-04-01-preview"): (
        f"{R}/openai/responses?api-version=2025-04-01-preview"
    ),
    ("azure_ai", "https://r.services.ai.azure.com/models"): "https://r.services.ai.azure.com/openai/v1/responses",
}


@pytest.mark.parametrize("where", ADDRESSES, ids=lambda where: where[1])
def test_responses_are_found_under_any_base(where: tuple[str, str]) -> None:
    provider, base = where
    place = replace(HERE, provider=provider, api_base=base, variables={"api_version": "2024-10-21"})
    assert CODEC.request(replace(CALL, extra={"input": "x"}), place).url == ADDRESSES[where]


def test_azure_is_called_with_its_own_key_header_and_priced_by_the_answers_model() -> None:
    where = deployment(BY_NAME["azure"], "responses/my-dep", api_base=R, api_key="az", environ={})
    assert (where.codec, where.model) == ("openai_responses", "my-dep")
    request = CODEC.request(replace(CALL, extra={"input": "x"}), where)
    assert request.headers["api-key"] == "az"
    assert "authorization" not in request.headers
    assert json.loads(request.body)["model"] == "my-dep"
    answer = CODEC.response(WireReply(status=200, body=BY_CASE["plain"].body), CALL, where)
    assert answer.meter.model == "gpt-5-pro-2025-10-06"
    assert azure_ai.endpoint(replace(where, api_base="https://r.services.ai.azure.com"), "responses").endswith(
        "/openai/v1/responses"
    )
