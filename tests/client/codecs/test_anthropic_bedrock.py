"""Claude on Bedrock by InvokeModel: what is different from Anthropic's own API, and that its SDK and boto3 agree."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import anthropic as sdk
import boto3
import pytest
from anthropic import AnthropicBedrock
from botocore.config import Config
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs import anthropic
from callmeter.client.codecs.anthropic_bedrock import CODEC, VERSION
from callmeter.client.framing import SSE
from callmeter.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    ContextWindowExceededError,
    RateLimitError,
)
from callmeter.testing import FakeProvider, capture_events
from callmeter.testing.eventstream import event, exception
from callmeter.types import Call, Deployment
from callmeter.wire import WireReply
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, check, decode, decode_stream, load_cases

M: list[Any] = [{"role": "user", "content": "Hi"}]
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
QUOTED = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
HERE = Deployment(provider="bedrock", model=MODEL, codec="anthropic_bedrock", api_base="https://h.example/")
CALL = Call(id="1", operation="chat", model="m", messages=M)
KEYS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret", "aws_region_name": "us-east-1"}


def invoked(case: Case) -> Case:
    """A case of Anthropic's with its stream's events wrapped as Amazon does."""
    if not case.call.stream:
        return case
    framing = SSE()
    told = [frame.data for frame in (*framing.feed(case.body), *framing.close())]
    return case._replace(body=b"".join(map(chunk, told)))


def chunk(data: bytes) -> bytes:
    return event("chunk", json.dumps({"bytes": b64encode(data).decode(), "p": "abcd"}).encode())


PLAIN_CASES = load_cases("anthropic")
CASES = [invoked(case) for case in PLAIN_CASES]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_answers_are_anthropic_s_own(case: Case) -> None:
    check(case, CODEC)


@pytest.mark.parametrize("case", [case for case in CASES if case.call.stream], ids=repr)
def test_a_stream_reads_the_same_wherever_it_is_cut(case: Case) -> None:
    for at in range(0, len(case.body), 31):
        check(case, CODEC, (at, at + 1))


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_body_is_anthropic_s_with_a_version_and_without_model_and_stream(case: Case) -> None:
    # What the model can be made to answer in is the model's, so both are told that it can.
    there = replace(case.deployment, model="claude-sonnet-4-5-20250929", quirks={"json_schema": True})
    call = replace(case.call, params={k: v for k, v in case.call.params.items() if k != "service_tier"})
    theirs = json.loads(anthropic.CODEC.request(call, there).body)
    ours = json.loads(CODEC.request(call, replace(there, model=MODEL)).body)
    assert ours.pop("anthropic_version") == VERSION == "bedrock-2023-05-31"
    assert theirs.pop("model") == "claude-sonnet-4-5-20250929"
    assert theirs.pop("stream", False) is case.call.stream
    ours.pop("anthropic_beta", None)
    assert ours == theirs


@pytest.mark.parametrize(("stream", "method"), [(False, "invoke"), (True, "invoke-with-response-stream")])
def test_the_model_is_in_the_address_and_betas_are_in_the_body(stream: bool, method: str) -> None:
    request = CODEC.request(replace(CALL, stream=stream, headers={"Anthropic-Beta": "a,b"}), HERE)
    assert request.url == f"https://h.example/model/{QUOTED}/{method}"
    assert request.headers == {
        "content-type": "application/json",
        "accept": "application/vnd.amazon.eventstream" if stream else "application/json",
    }
    assert json.loads(request.body)["anthropic_beta"] == ["a", "b"]


def test_what_converse_has_in_its_body_is_in_headers() -> None:
    extra = {
        "guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "2", "trace": "enabled"},
        "performanceConfig": {"latency": "optimized"},
        "requestMetadata": {"team": "a"},
    }
    request = CODEC.request(replace(CALL, params={"service_tier": "flex"}, extra=extra), HERE)
    assert {name: value for name, value in request.headers.items() if name.startswith("x-amzn-")} == {
        "x-amzn-bedrock-guardrailidentifier": "g1",
        "x-amzn-bedrock-guardrailversion": "2",
        "x-amzn-bedrock-trace": "ENABLED",
        "x-amzn-bedrock-performanceconfig-latency": "optimized",
        "x-amzn-bedrock-request-metadata": '{"team":"a"}',
        "x-amzn-bedrock-service-tier": "flex",
    }
    assert json.loads(request.body).keys() == {"anthropic_version", "messages", "max_tokens"}


def test_the_tier_that_served_is_told_in_a_header() -> None:
    case = next(case for case in CASES if case.name == "plain")
    reply = WireReply(status=200, body=case.body, headers={"x-amzn-bedrock-service-tier": "priority"})
    assert CODEC.response(reply, case.call, case.deployment).meter.service_tier == "priority"


def test_errors_are_amazon_s() -> None:
    headers = {"x-amzn-errortype": "ThrottlingException:http://x/"}
    error = CODEC.failure(429, headers, b'{"message": "Too many tokens per day"}', HERE)
    assert (type(error), error.type) == (RateLimitError, "ThrottlingException")
    long = b'{"message": "The model returned the following errors: prompt is too long: 9 > 8"}'
    assert (
        type(CODEC.failure(400, {"x-amzn-errortype": "ValidationException"}, long, HERE)) is ContextWindowExceededError
    )


def test_an_exception_or_a_chunk_that_is_none_ends_the_stream() -> None:
    body = next(case.body for case in CASES if case.name == "parallel_tools_streamed")
    begun = body[: int.from_bytes(body[:4], "big")]
    throttled = decode_stream(CODEC, CALL, HERE, begun + exception("throttlingException", b'{"message": "slow down"}'))
    assert type(throttled.error) is RateLimitError
    broken = decode_stream(CODEC, CALL, HERE, begun + event("chunk", b'{"bytes": "!"}'))
    assert type(broken.error) is APIResponseValidationError
    ended = decode_stream(CODEC, CALL, HERE, begun + event("initial-response", b"{}"))
    assert type(ended.error) is APIConnectionError
    with pytest.raises(BadRequestError, match="call it as bedrock/amazon"):
        CODEC.request(CALL, replace(HERE, model="amazon.nova-lite-v1:0"))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_anthropic_s_sdk_asks_the_same_of_the_same_address(stream: bool, provider: FakeProvider) -> None:
    with capture_events() as events:
        with AnthropicBedrock(
            aws_access_key="AKID", aws_secret_key="secret", aws_region="us-east-1", base_url=provider.url
        ) as client:
            if stream:
                with client.messages.stream(model=MODEL, max_tokens=4096, messages=M) as answer:
                    theirs: sdk.types.Message = answer.get_final_message()
            else:
                theirs = client.messages.create(model=MODEL, max_tokens=4096, messages=M)
        ours = callmeter.completion(f"bedrock/invoke/{MODEL}", M, stream=stream, api_base=provider.url, **KEYS)
        text = "".join(c.choices[0].delta.content or "" for c in ours) if stream else ours.choices[0].message.content
        sdk_asked, we_asked = provider.requests
    assert we_asked.path == sdk_asked.path.replace(":", "%3A")
    we_said, sdk_said = json.loads(we_asked.body), json.loads(sdk_asked.body)
    # Newer SDKs name a newer version; ours is the documented one, whose answers we read.
    assert (we_said.pop("anthropic_version"), bool(sdk_said.pop("anthropic_version"))) == (VERSION, True)
    assert we_said == sdk_said
    assert "Credential=AKID/" in we_asked.headers["authorization"]
    assert text == theirs.content[0].text  # type: ignore[union-attr]
    assert events[-1].cost.status == "priced"
    assert events[-1].usage.output_tokens == theirs.usage.output_tokens
    assert events[-1].usage.input_tokens == theirs.usage.input_tokens


@pytest.mark.parametrize("case", [c for c in CASES if c.error is None and c.call.stream], ids=repr)
def test_boto3_takes_the_same_events_from_the_stream(case: Case) -> None:
    session = boto3.Session(aws_access_key_id="AKID", aws_secret_access_key="secret", region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1})
    with serving(case.body, "application/vnd.amazon.eventstream") as url:
        client = session.client("bedrock-runtime", endpoint_url=url, config=config)
        answer = client.invoke_model_with_response_stream(modelId=MODEL, body=b"{}")
        told = [json.loads(piece["chunk"]["bytes"]) for piece in answer["body"]]
    output = [event["usage"]["output_tokens"] for event in told if event["type"] == "message_delta"]
    usage = decode(case, CODEC).meter.usage
    assert usage is not None
    assert usage.output_tokens == output[-1]
