"""Claude on Vertex AI: what is different from Anthropic's own API, and that Anthropic's SDK says the same."""

import json
from typing import Any

import anthropic as sdk
import pytest
from anthropic import AnthropicVertex

import callmeter
from callmeter.client.codecs import anthropic
from callmeter.client.codecs.anthropic_vertex import CODEC, VERSION
from callmeter.errors import ContextWindowExceededError, PermissionDeniedError, RateLimitError
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment, Secret
from tests.golden_cases import Case, check, load_cases

M: list[Any] = [{"role": "user", "content": "Hi"}]
MODEL = "claude-sonnet-4-5@20250929"
HERE = Deployment(
    provider="vertex_ai",
    model=MODEL,
    codec="anthropic_vertex",
    api_base="https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5",
    api_key=Secret("ya29.token"),
)
CASES = load_cases("anthropic")


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_answers_are_anthropic_s_own(case: Case) -> None:
    check(case, CODEC)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_body_is_anthropic_s_with_a_version_and_without_a_model(case: Case) -> None:
    theirs = json.loads(anthropic.CODEC.request(case.call, case.deployment).body)
    ours = json.loads(CODEC.request(case.call, case.deployment).body)
    assert ours.pop("anthropic_version") == VERSION == "vertex-2023-10-16"
    assert theirs.pop("model") == case.deployment.model
    assert ours == theirs


@pytest.mark.parametrize(("stream", "method"), [(False, "rawPredict"), (True, "streamRawPredict")])
def test_the_model_is_in_the_address_and_a_token_in_the_headers(stream: bool, method: str) -> None:
    call = Call(id="1", operation="chat", model="m", messages=M, stream=stream, headers={"Anthropic-Beta": "a,b"})
    request = CODEC.request(call, HERE)
    assert request.url == f"{HERE.api_base}/publishers/anthropic/models/{MODEL}:{method}"
    assert request.headers == {
        "content-type": "application/json",
        "authorization": "Bearer ya29.token",
        "anthropic-beta": "a,b",
    }


def test_errors_are_google_s_or_anthropic_s() -> None:
    google = {"error": {"code": 403, "message": "denied", "status": "PERMISSION_DENIED"}}
    error = CODEC.failure(403, {}, json.dumps([google]).encode(), HERE)
    assert (type(error), error.type) == (PermissionDeniedError, "PERMISSION_DENIED")
    theirs = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
    assert type(CODEC.failure(400, {}, json.dumps(theirs).encode(), HERE)) is ContextWindowExceededError
    quota = {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
    assert type(CODEC.failure(429, {}, json.dumps(quota).encode(), HERE)) is RateLimitError


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_anthropic_s_sdk_asks_the_same_of_the_same_address(stream: bool) -> None:
    with FakeProvider() as provider, capture_events() as events:
        base = f"{provider.url}/v1"
        with AnthropicVertex(region="us-east5", project_id="p", access_token="ya29.token", base_url=base) as client:
            if stream:
                with client.messages.stream(model=MODEL, max_tokens=4096, messages=M) as answer:
                    theirs: sdk.types.Message = answer.get_final_message()
            else:
                theirs = client.messages.create(model=MODEL, max_tokens=4096, messages=M)
        ours = callmeter.completion(
            f"vertex_ai/{MODEL}",
            M,
            stream=stream,
            api_base=provider.url,
            api_key="ya29.token",
            vertex_project="p",
            vertex_location="us-east5",
        )
        text = "".join(c.choices[0].delta.content or "" for c in ours) if stream else ours.choices[0].message.content
        sdk_asked, we_asked = provider.requests
    assert we_asked.path == sdk_asked.path
    we_said, sdk_said = json.loads(we_asked.body), json.loads(sdk_asked.body)
    # Newer SDKs name a newer version; ours is the documented one, whose answers we read.
    assert (we_said.pop("anthropic_version"), bool(sdk_said.pop("anthropic_version"))) == (VERSION, True)
    assert we_said == sdk_said
    assert we_asked.headers["authorization"] == sdk_asked.headers["authorization"] == "Bearer ya29.token"
    assert text == theirs.content[0].text  # type: ignore[union-attr]
    assert events[-1].usage.output_tokens == theirs.usage.output_tokens
    assert events[-1].usage.input_tokens == theirs.usage.input_tokens
