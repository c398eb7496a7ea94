"""Replicate's predictions: asked for until they are there, streamed from an address of their own."""

import asyncio
import json
from typing import Any

import pytest
import replicate as sdk
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs.base import Later
from callmeter.client.codecs.replicate import CODEC, model_input, where
from callmeter.errors import BadRequestError, InternalServerError, NotFoundError, Timeout, UnsupportedParamsError
from callmeter.events.model import CallFailed, CallSucceeded, StreamCompleted
from callmeter.testing import FakeProvider, FixedClock, capture_events
from callmeter.types import Call, Deployment, Secret, Timeouts
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, load_cases

M: Any = [{"role": "user", "content": "Hi"}]
MODEL = "meta/meta-llama-3-70b-instruct"
HERE = Deployment(
    provider="replicate",
    model=MODEL,
    codec="replicate",
    api_base="https://api.replicate.com/v1",
    api_key=Secret("r8_key"),
)
CALL = Call(id="c", operation="chat", model=f"replicate/{MODEL}", messages=M)
CASES = load_cases("replicate")
BY_NAME = {case.name: case for case in CASES}


def prediction(status: str, **fields: Any) -> bytes:
    return json.dumps({"id": "p1", "model": MODEL, "version": "hidden", "status": status, **fields}).encode()


DONE = prediction("succeeded", output=["Hello", " there"], metrics={"input_token_count": 9, "output_token_count": 2})


def ask(provider: FakeProvider, **more: Any) -> Any:
    return callmeter.completion(f"replicate/{MODEL}", M, api_base=provider.openai_base, api_key="r8_key", **more)


# --- several requests, one call


def test_a_prediction_is_asked_for_until_it_is_there_and_is_one_call(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(201, body=prediction("starting"))
    provider.answer(body=prediction("processing"))
    provider.answer(body=DONE)
    answer = ask(provider)
    assert answer.choices[0].message.content == "Hello there"
    made, *asked = provider.requests
    assert (made.method, made.path) == ("POST", f"/v1/models/{MODEL}/predictions")
    assert made.headers["prefer"] == "wait=60"
    assert [(heard.method, heard.path) for heard in asked] == [("GET", "/v1/predictions/p1")] * 2
    assert all(heard.headers["authorization"] == "Bearer r8_key" for heard in provider.requests)
    end = events[-1]
    assert isinstance(end, CallSucceeded)
    assert len(end.attempts) == 1
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage_source) == (9, 2, "provider")


def test_an_attempt_takes_from_its_first_request_and_waiting_is_no_overhead_of_ours(provider: FakeProvider) -> None:
    clock = FixedClock()
    with capture_events(clock=clock, sleep=clock.advance) as seen:
        provider.answer(201, body=prediction("starting"))
        provider.answer(body=prediction("processing"))
        provider.answer(body=DONE)
        ask(provider)
    start, end = seen
    assert isinstance(end, CallSucceeded)
    (attempt,) = end.attempts
    assert attempt.at_ns == start.at_ns
    assert (attempt.latency_s, end.latency_s, end.overhead_s, end.retry_wait_s) == (1.0, 1.0, 0.0, 0.0)


def test_awaited_calls_take_the_same_steps(provider: FakeProvider) -> None:
    provider.answer(201, body=prediction("starting"))
    provider.answer(body=DONE)
    answer = asyncio.run(
        callmeter.acompletion(f"replicate/{MODEL}", M, api_base=provider.openai_base, api_key="r8_key")
    )
    assert answer.choices[0].message.content == "Hello there"
    assert [heard.method for heard in provider.requests] == ["POST", "GET"]


def test_a_question_that_fails_is_asked_again_and_no_second_prediction_is_made(
    provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(201, body=prediction("starting"))
    provider.answer(503)
    provider.answer(body=DONE)
    assert ask(provider).choices[0].message.content == "Hello there"
    assert [heard.method for heard in provider.requests] == ["POST", "GET", "GET"]
    assert len(events[-1].attempts) == 1


def test_questions_that_fail_for_good_end_the_call_without_a_second_prediction(
    provider: FakeProvider, events: list[Any]
) -> None:
    provider.answer(201, body=prediction("starting"))
    provider.answer(503, times=None)
    with pytest.raises(callmeter.ServiceUnavailableError):
        ask(provider, num_retries=2)
    assert [heard.method for heard in provider.requests] == ["POST", "GET", "GET", "GET"]
    assert isinstance(events[-1], CallFailed)


def test_a_prediction_that_failed_is_made_anew_as_retries_allow(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(201, body=prediction("failed", error="Prediction interrupted; please retry (code: PA)"))
    provider.answer(201, body=DONE)
    assert ask(provider).choices[0].message.content == "Hello there"
    assert [attempt.status for attempt in events[-1].attempts] == ["failure", "success"]


def test_a_prediction_that_was_canceled_is_not_made_anew(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(201, body=prediction("canceled"))
    with pytest.raises(InternalServerError, match="canceled"):
        ask(provider)
    assert len(provider.requests) == 1


def test_a_prediction_that_is_not_there_in_time_ends_in_a_timeout(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(201, body=prediction("starting"), times=None)
    with pytest.raises(Timeout, match="has taken the call"):
        ask(provider, timeout=0.4, num_retries=0)
    (made,) = provider.requests
    assert (made.headers["prefer"], made.headers["cancel-after"]) == ("wait=1", "5s")


@pytest.mark.parametrize("case", [case for case in CASES if case.call.stream and case.error is None], ids=repr)
def test_a_stream_is_opened_where_the_prediction_says(case: Case, provider: FakeProvider, events: list[Any]) -> None:
    streamed = case.name != "does_not_stream"
    urls = {"stream": f"{provider.url}/streams/s1"} if streamed else {}
    provider.answer(201, body=prediction("starting", urls=urls))
    if streamed:
        provider.raw(case.body, cuts=range(7, 200, 13))
    else:
        provider.answer(body=case.body)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(provider, stream=True))
    assert text == decode(case, CODEC).text
    made, opened = provider.requests
    assert json.loads(made.body)["stream"] is True
    assert opened.method == "GET"
    assert opened.path == ("/streams/s1" if streamed else "/v1/predictions/p1")
    end = events[-1]
    assert isinstance(end, StreamCompleted)
    assert end.usage_source == ("counted" if streamed else "provider")
    assert end.time_to_first_chunk_s is not None


def test_awaited_streams_take_the_same_steps(provider: FakeProvider) -> None:
    provider.answer(201, body=prediction("starting", urls={"stream": f"{provider.url}/streams/s1"}))
    provider.raw(BY_NAME["streamed"].body)

    async def read() -> str:
        stream = await callmeter.acompletion(
            f"replicate/{MODEL}", M, api_base=provider.openai_base, api_key="r8_key", stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(read()).startswith("Roses are red\nViolets")


def test_a_stream_that_cannot_be_opened_fails_the_call(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(201, body=prediction("starting", urls={"stream": f"{provider.url}/gone"}))
    provider.answer(404, body=b'{"title":"Not found","detail":"The stream is gone.","status":404}')
    with pytest.raises(NotFoundError, match="stream is gone"):
        ask(provider, stream=True)
    assert isinstance(events[-1], CallFailed)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("https://stream.replicate.com/v1/files/x", True),
        ("https://api.replicate.com/v1/predictions/x/stream", True),
        ("http://stream.replicate.com/v1/files/x", False),
        ("https://stream.replicate.com.evil.example/x", False),
        ("https://evilreplicate.com/x", False),
        ("https://elsewhere.example/x", False),
    ],
)
def test_the_key_goes_to_the_providers_own_hosts_alone(address: str, trusted: bool) -> None:
    call = replace(CALL, stream=True)
    body = prediction("starting", urls={"stream": address})
    later = CODEC.response(WireReply(status=201, body=body), call, HERE)
    assert isinstance(later, Later)
    assert later.request.url == address
    assert ("authorization" in later.request.headers) is trusted


# --- what is asked


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("meta/llama", "models/meta/llama/predictions", {}),
        ("acme/m:abc123", "predictions", {"version": "abc123"}),
        ("abc123", "predictions", {"version": "abc123"}),
        ("deployments/acme/d", "deployments/acme/d/predictions", {}),
    ],
)
def test_every_kind_of_model_has_its_own_path(model: str, path: str, version: dict[str, str]) -> None:
    assert where(model) == (path, version)


def test_the_server_holds_an_answer_no_longer_than_the_call_waits() -> None:
    asked = CODEC.request(replace(CALL, timeouts=Timeouts(total_s=20.0)), HERE)
    assert (asked.headers["prefer"], asked.headers["cancel-after"]) == ("wait=20", "20s")
    assert "prefer" not in CODEC.request(replace(CALL, stream=True), HERE).headers


def test_tools_are_refused_by_name(provider: FakeProvider) -> None:
    with pytest.raises(UnsupportedParamsError, match="replicate does not support tools"):
        ask(provider, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    told = [*M, {"role": "tool", "tool_call_id": "x", "content": "4"}]
    with pytest.raises(BadRequestError, match=r"messages\[1\] is about one"):
        model_input(replace(CALL, messages=told), HERE)


def test_a_part_that_is_no_text_or_image_is_refused_by_its_type() -> None:
    heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]
    with pytest.raises(BadRequestError, match="'input_audio'"):
        model_input(replace(CALL, messages=heard), HERE)


def test_more_images_than_a_model_takes_are_refused() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(BadRequestError, match="takes one image, and the conversation has 2"):
        model_input(replace(CALL, messages=[{"role": "user", "content": [part, part]}]), HERE)


# --- Replicate's own client


@pytest.mark.parametrize("case", [case for case in CASES if not case.call.stream and case.error is None], ids=repr)
def test_the_sdk_reads_the_same_output_and_metrics(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(case.body, "application/json") as url:
        theirs = sdk.Client(api_token="r8_key", base_url=url).predictions.create(version="v", input={"prompt": "Hi"})
    ours = decode(case, CODEC)
    output = theirs.output if isinstance(theirs.output, str) else None
    if isinstance(theirs.output, list):
        output = "".join(theirs.output)
    assert theirs.status == "succeeded"
    if output is not None:
        assert ours.text == output
    if ours.meter.usage is not None:
        assert theirs.metrics is not None
        assert ours.meter.usage.input_tokens == theirs.metrics["input_token_count"]
        assert ours.meter.usage.output_tokens == theirs.metrics["output_token_count"]


def test_the_sdk_sends_the_same_prediction(provider: FakeProvider) -> None:
    provider.answer(201, body=DONE, times=2)
    client = sdk.Client(api_token="r8_key", base_url=provider.url)
    client.models.predictions.create(model=MODEL, input={"prompt": "Hi", "temperature": 0.5}, wait=60, stream=False)
    ask(provider, temperature=0.5)
    theirs, ours = provider.requests
    assert "/v1" + theirs.path.removeprefix("/v1") == ours.path
    assert json.loads(theirs.body) == json.loads(ours.body)
    for name in ("authorization", "prefer"):
        assert theirs.headers[name] == ours.headers[name]


def test_the_sdk_reads_the_same_stream(provider: FakeProvider) -> None:
    case = BY_NAME["streamed"]
    started = prediction("starting", urls={"stream": f"{provider.url}/streams/s1"})
    provider.answer(201, body=started)
    provider.raw(case.body)
    client = sdk.Client(api_token="r8_key", base_url=provider.url)
    text = "".join(str(event) for event in client.stream(MODEL, input={"prompt": "Hi"}, use_file_output=False))
    assert text == decode(case, CODEC).text
