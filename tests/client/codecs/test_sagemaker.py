"""Containers on SageMaker: OpenAI's chat within Amazon's framing, and that boto3 says and reads the same."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs import openai_chat
from callmeter.client.codecs.sagemaker import CODEC
from callmeter.errors import APIConnectionError, BadRequestError, InternalServerError, NotFoundError, RateLimitError
from callmeter.testing import FakeProvider, capture_events
from callmeter.testing.eventstream import event, exception
from callmeter.types import Call, Deployment
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, check, decode_stream, load_cases

M: list[Any] = [{"role": "user", "content": "Hi"}]
HERE = Deployment(provider="sagemaker", model="my-endpoint", codec="sagemaker", api_base="https://h.example")
CALL = Call(id="1", operation="chat", model="sagemaker/my-endpoint", messages=M)
KEYS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret", "aws_region_name": "us-east-1"}
SESSION = boto3.Session(aws_access_key_id="AKID", aws_secret_access_key="secret", region_name="us-east-1")


def sdk(url: str) -> Any:
    """boto3's own client, for a server here."""
    return SESSION.client("sagemaker-runtime", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def parts(body: bytes, size: int = 37) -> bytes:
    """What a container streams as Amazon passes it on: in parts that end anywhere."""
    cut = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(event("PayloadPart", piece, "application/octet-stream") for piece in cut)


def hosted(case: Case) -> Case:
    return case._replace(body=parts(case.body)) if case.call.stream else case


CASES = [hosted(case) for case in load_cases("openai_chat")]
PLAIN = next(case for case in CASES if case.name == "stream_plain")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_answers_are_openai_s(case: Case) -> None:
    check(case, CODEC)


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 10**6])
def test_the_parts_of_a_stream_may_end_anywhere(size: int) -> None:
    whole = next(case.body for case in load_cases("openai_chat") if case.name == "stream_multibyte")
    case = next(case for case in CASES if case.name == "stream_multibyte")
    check(case._replace(body=parts(whole, size)), CODEC)


@pytest.mark.parametrize("at", range(0, len(PLAIN.body), 17))
def test_a_stream_reads_the_same_wherever_it_is_cut(at: int) -> None:
    check(PLAIN, CODEC, (at, at + 1))


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_body_is_openai_s(case: Case) -> None:
    theirs = openai_chat.CODEC.request(case.call, case.deployment)
    ours = CODEC.request(case.call, case.deployment)
    assert json.loads(ours.body) == json.loads(theirs.body)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_boto3_asks_the_same_of_the_same_address(stream: bool, provider: FakeProvider) -> None:
    where = replace(HERE, api_base=provider.url, variables={"model_id": "component-1"})
    ours = CODEC.request(replace(CALL, stream=stream), where)
    asked = {"EndpointName": "my-endpoint", "Body": ours.body, "ContentType": "application/json"}
    asked |= {"InferenceComponentName": "component-1", "Accept": "text/event-stream" if stream else "application/json"}
    client = sdk(provider.url)
    client.invoke_endpoint_with_response_stream(**asked) if stream else client.invoke_endpoint(**asked)
    (theirs,) = provider.requests
    assert ours.url == provider.url + theirs.path
    named = {name: value for name, value in theirs.headers.items() if name.startswith("x-amzn-sagemaker")}
    assert named == {name: value for name, value in ours.headers.items() if name.startswith("x-amzn-sagemaker")}
    assert named["x-amzn-sagemaker-inference-component"] == "component-1"


def test_boto3_reads_the_same_bytes_of_a_stream() -> None:
    with serving(PLAIN.body, "application/vnd.amazon.eventstream") as url:
        answer = sdk(url).invoke_endpoint_with_response_stream(EndpointName="e", Body=b"{}")
        read = b"".join(piece["PayloadPart"]["Bytes"] for piece in answer["Body"])
    assert read == next(case.body for case in load_cases("openai_chat") if case.name == "stream_plain")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_call_is_signed_answered_and_counted(stream: bool, provider: FakeProvider) -> None:
    with capture_events() as events:
        asked: Any = {"api_base": provider.url, "stream": stream, **KEYS}
        answer = callmeter.completion("sagemaker/my-endpoint", M, **asked)
        text = (
            "".join(c.choices[0].delta.content or "" for c in answer) if stream else answer.choices[0].message.content
        )
    assert text.startswith("Hello from the fake provider")
    (heard,) = provider.requests
    assert heard.path == f"/endpoints/my-endpoint/invocations{'-response-stream' if stream else ''}"
    assert "Credential=AKID/" in heard.headers["authorization"]
    assert "/us-east-1/sagemaker/aws4_request" in heard.headers["authorization"]
    assert (events[-1].usage_source, events[-1].usage.output_tokens) == ("provider", 9)


def test_calls_are_awaited_alike_and_priced_by_the_hour_if_the_caller_says(provider: FakeProvider) -> None:
    async def main() -> Any:
        asked: dict[str, Any] = {"api_base": provider.url, "input_cost_per_second": 1, **KEYS}
        stream: Any = await callmeter.acompletion("sagemaker_chat/my-endpoint", M, stream=True, **asked)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with capture_events() as events:
        assert asyncio.run(main()).startswith("Hello")
    assert events[-1].cost.status == "priced"


def test_tools_are_called_in_a_stream(provider: FakeProvider) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["at"]}}}
    answer = callmeter.completion("sagemaker/e", M, tools=[tool], stream=True, api_base=provider.url, **KEYS)
    (called,) = callmeter.stream_chunk_builder(list(answer)).choices[0].message.tool_calls
    assert (called.function.name, json.loads(called.function.arguments)) == ("look", {"at": "fake"})


def test_a_container_s_error_is_met_with_the_status_it_had(provider: FakeProvider) -> None:
    told = {"message": "Received client error (400)", "OriginalStatusCode": 400, "OriginalMessage": "bad"}
    error = CODEC.failure(424, {"x-amzn-errortype": "ModelError"}, json.dumps(told).encode(), HERE)
    assert (type(error), error.type) == (BadRequestError, "ModelError")
    missing = {"message": "Endpoint e of account 1 not found."}
    assert type(CODEC.failure(404, {}, json.dumps(missing).encode(), HERE)) is NotFoundError
    with pytest.raises(ClientError, match="asked for by the request"):
        sdk(provider.url).invoke_endpoint(EndpointName="e", Body=b'{"messages":[],"x_fake":{"fail":429}}')
    with pytest.raises(RateLimitError):
        callmeter.completion("sagemaker/e", M, api_base=provider.url, x_fake={"fail": 429}, num_retries=0, **KEYS)


def test_an_error_within_a_stream_ends_it_after_what_came() -> None:
    begun = parts(b'data: {"choices":[{"index":0,"delta":{"content":"So"}}]}\n\n', 1000)
    broken = exception("ModelStreamError", b'{"Message": "the container died", "ErrorCode": "ModelInvocationFailed"}')
    failed = decode_stream(CODEC, CALL, HERE, begun + broken)
    assert failed.text == "So"
    assert isinstance(failed.error, callmeter.APIError)
    assert "the container died" in str(failed.error)
    internal = decode_stream(CODEC, CALL, HERE, begun + exception("InternalStreamFailure", b'{"Message": "oops"}'))
    assert type(internal.error) is InternalServerError
    cut = decode_stream(CODEC, CALL, HERE, begun + broken[:20])
    assert type(cut.error) is APIConnectionError
