"""Azure OpenAI and Foundry: addresses in every form, verdicts of filters, tokens from Entra ID, and Azure's own client."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from msgspec.structs import replace

import callmeter
from callmeter.client import codecs
from callmeter.client.codecs import azure, azure_ai, azure_anthropic
from callmeter.client.codecs.azure import CODEC
from callmeter.client.providers import BY_NAME
from callmeter.client.resolve import deployment
from callmeter.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Timeout,
)
from callmeter.testing import FakeProvider, capture_events
from callmeter.types import Call, Deployment
from tests.client.codecs.one_answer import serving
from tests.golden_cases import Case, decode, decode_stream, load_cases

CASES = load_cases("azure")
STREAMS = [case for case in CASES if case.call.stream]
WHOLE = [case for case in CASES if case.error is None]
M = [{"role": "user", "content": "Hi"}]
CALL = Call(id="c", operation="chat", model="azure/dep", messages=M)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    for name in (*BY_NAME["azure"].environment, *BY_NAME["azure_ai"].environment):
        monkeypatch.delenv(name, raising=False)
    with FakeProvider() as server, capture_events():
        yield server


def test_each_of_several_choices_gets_its_own_verdicts_though_they_are_alike() -> None:
    said = [
        {
            "index": at,
            "delta": {"role": "assistant", "content": "x"},
            "content_filter_results": {"hate": {"filtered": False}},
        }
        for at in (0, 1, 0, 1)
    ]
    said += [{"index": at, "delta": {}, "finish_reason": "stop"} for at in (0, 1)]
    body = "".join(f"data: {json.dumps({'id': '1', 'model': 'm', 'choices': [choice]})}\n\n" for choice in said)
    call = replace(CALL, stream=True, params={"n": 2})
    decoded = decode_stream(CODEC, call, STREAMS[0].deployment, body.encode())
    assert decoded.error is None
    assert [choice.provider_specific_fields for choice in decoded.completion.choices] == [
        {"content_filter_results": {"hate": {"filtered": False}}}
    ] * 2


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_answers_model_is_what_is_priced(case: Case) -> None:
    assert decode(case, CODEC).meter.model == "gpt-4o-2024-11-20" != case.deployment.model


# --- Azure's own client reads the same bytes alike


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_the_sdk_reads_the_same_text_tools_filters_and_usage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    asked: Any = {"model": "my-deployment", "messages": M}
    with serving(case.body, "text/event-stream" if case.call.stream else "application/json") as url:
        client = openai.AzureOpenAI(azure_endpoint=url, api_key="k", api_version="2024-10-21", max_retries=0)
        if case.call.stream:
            theirs = list(client.chat.completions.create(**asked, stream=True))
            said = "".join(c.choices[0].delta.content or "" for c in theirs if c.choices and c.choices[0].delta)
            usage: Any = next(c.usage for c in reversed(theirs) if c.usage)
            finish = next(c.choices[0].finish_reason for c in theirs if c.choices and c.choices[0].finish_reason)
            filters = [c.choices[0].content_filter_results for c in theirs if _judged(c)]  # type: ignore[attr-defined]
        else:
            answer = client.chat.completions.create(**asked)
            said, usage = answer.choices[0].message.content or "", answer.usage
            finish = answer.choices[0].finish_reason
            filters = [answer.choices[0].content_filter_results] if _judged(answer) else []  # type: ignore[attr-defined]
    ours = decode(case, CODEC)
    choice = ours.completion.choices[0]
    assert (choice.message.content or "") == said
    assert choice.finish_reason == finish
    assert ours.meter.usage is not None
    assert (ours.meter.usage.input_tokens, ours.meter.usage.output_tokens) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )
    told = (choice.provider_specific_fields or {}).get("content_filter_results")
    merged = {name: verdict for found in filters for name, verdict in found.items()}
    assert (told or {}) == merged


def _judged(answer: Any) -> bool:
    return bool(answer.choices and getattr(answer.choices[0], "content_filter_results", None))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_sdk_and_we_send_the_same_request(stream: bool, provider: FakeProvider) -> None:
    more: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    client = openai.AzureOpenAI(azure_endpoint=provider.url, api_key="k", api_version="2024-10-21")
    theirs = client.chat.completions.create(model="dep", messages=M, temperature=0.5, **more)  # type: ignore[call-overload]
    ours = callmeter.completion(
        "azure/dep", M, temperature=0.5, api_base=provider.url, api_key="k", api_version="2024-10-21", **more
    )
    if stream:
        assert len([c for c in theirs if c.choices]) + 1 == len(list(ours))
    else:
        assert theirs.choices[0].message.content == ours.choices[0].message.content
    one, two = provider.requests
    assert one.path == two.path
    assert one.headers["api-key"] == two.headers["api-key"] == "k"
    assert json.loads(one.body) == json.loads(two.body)
    assert provider.counts.calls_by_model == {("azure", "dep"): 2}


# --- addresses

V = "api-version=2024-10-21"
R = "https://r.openai.azure.com"
ADDRESSES = {
    R: f"{R}/openai/deployments/dep/chat/completions?{V}",
    f"{R}/": f"{R}/openai/deployments/dep/chat/completions?{V}",
    f"{R}/openai/": f"{R}/openai/deployments/dep/chat/completions?{V}",
    f"{R}/openai/deployments/other": f"{R}/openai/deployments/other/chat/completions?{V}",
    f"{R}/openai/deployments/other/chat/completions?api-version=2025-01-01": (
        f"{R}/openai/deployments/other/chat/completions?api-version=2025-01-01"
    ),
    f"{R}/?api-version=2025-01-01": f"{R}/openai/deployments/dep/chat/completions?api-version=2025-01-01",
    f"{R}/openai/v1/": f"{R}/openai/v1/chat/completions",
    f"{R}/openai/v1/chat/completions": f"{R}/openai/v1/chat/completions",
    f"{R}/openai/v1?api-version=preview": f"{R}/openai/v1/chat/completions?api-version=preview",
    f"{R}?api-version=latest": f"{R}/openai/v1/chat/completions?api-version=latest",
    f"{R}?api-version=v1": f"{R}/openai/v1/chat/completions",
    "https://gw.example/azure": f"https://gw.example/azure/openai/deployments/dep/chat/completions?{V}",
    "https://gw.example/a?sub=1": f"https://gw.example/a/openai/deployments/dep/chat/completions?sub=1&{V}",
}


@pytest.mark.parametrize("base", ADDRESSES)
def test_an_endpoint_is_understood_in_every_form_it_is_pasted_in(base: str) -> None:
    where = Deployment(
        provider="azure", model="dep", codec="azure", api_base=base, variables={"api_version": "2024-10-21"}
    )
    assert CODEC.request(CALL, where).url == azure.endpoint(where) == ADDRESSES[base]


F = "https://r.services.ai.azure.com"
FOUNDRY = {
    F: f"{F}/models/chat/completions?api-version=2024-05-01-preview",
    f"{F}/models/": f"{F}/models/chat/completions?api-version=2024-05-01-preview",
    f"{F}/models/chat/completions?api-version=2": f"{F}/models/chat/completions?api-version=2",
    f"{F}/openai/v1/": f"{F}/openai/v1/chat/completions",
    "https://x.eastus.models.ai.azure.com": (
        "https://x.eastus.models.ai.azure.com/chat/completions?api-version=2024-05-01-preview"
    ),
}


@pytest.mark.parametrize("base", FOUNDRY)
def test_a_foundry_endpoint_is_understood_in_every_form(base: str) -> None:
    where = deployment(BY_NAME["azure_ai"], "Llama-3.3-70B-Instruct", api_base=base, api_key="k", environ={})
    request = codecs.load(where.codec).request(CALL, where)
    assert request.url == azure_ai.endpoint(where) == FOUNDRY[base]
    assert request.headers["api-key"] == "k"
    assert request.headers["extra-parameters"] == "pass-through"
    assert json.loads(request.body)["model"] == "Llama-3.3-70B-Instruct"


@pytest.mark.parametrize("base", [F, f"{F}/", f"{F}/models", f"{F}/anthropic", f"{F}/anthropic/v1/messages"])
def test_claude_in_foundry_speaks_anthropics_wire_at_the_same_resource(base: str) -> None:
    where = deployment(BY_NAME["azure_ai"], "claude-sonnet-4-5", api_base=base, api_key="k", environ={})
    assert where.codec == "azure_anthropic"
    request = azure_anthropic.CODEC.request(CALL, where)
    assert request.url == f"{F}/anthropic/v1/messages"
    assert request.headers["x-api-key"] == "k"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(request.body)["max_tokens"] > 0


def test_claude_in_foundry_answers_over_the_wire(provider: FakeProvider) -> None:
    answer = callmeter.completion("azure_ai/claude-sonnet-4-5", M, api_base=provider.url, api_key="k")
    assert answer.choices[0].message.content
    assert provider.requests[0].path == "/anthropic/v1/messages"


def test_anthropics_own_client_for_foundry_sends_the_same(provider: FakeProvider) -> None:
    client = anthropic.AnthropicFoundry(api_key="k", base_url=provider.url + "/anthropic/", max_retries=0)
    client.messages.create(model="claude-opus-4-8", max_tokens=9, messages=M)  # type: ignore[arg-type]
    callmeter.completion("azure_ai/claude-sonnet-4-5", M, max_tokens=9, api_base=provider.url, api_key="k")
    theirs, ours = provider.requests
    assert theirs.path == ours.path == "/anthropic/v1/messages"
    key = "api-key" if "api-key" in theirs.headers else "x-api-key"
    assert theirs.headers[key] == ours.headers["x-api-key"] == "k"
    sent = json.loads(ours.body)
    assert (sent["model"], sent["max_tokens"]) == ("claude-sonnet-4-5", 9)


# --- errors

ERRORS: dict[str, tuple[int, Any, type[APIError]]] = {
    "prompt filtered": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"sexual": {"filtered": True, "severity": "high"}},
                },
            }
        },
        ContentPolicyViolationError,
    ),
    "window": (
        400,
        {"error": {"message": "This model's maximum context length is 128000 tokens.", "code": "context_length_exceeded"}},
        ContextWindowExceededError,
    ),
    "version": (400, {"error": {"code": "OperationNotSupported", "message": "No chat here."}}, BadRequestError),
    "key": (401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}}, AuthenticationError),
    "token": (401, {"statusCode": 401, "message": "Unauthorized. Access token is missing."}, AuthenticationError),
    "firewall": (403, {"error": {"code": "403", "message": "Access denied due to Virtual Network rules."}}, PermissionDeniedError),
    "deployment": (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}, NotFoundError),
    "slow": (408, {"error": {"code": "Timeout", "message": "The operation was timeout."}}, Timeout),
    "busy": (429, {"error": {"code": "429", "message": "Please retry after 6 seconds."}}, RateLimitError),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_body_is_the_error_it_stands_for(name: str) -> None:
    status, body, kind = ERRORS[name]
    where = Deployment(provider="azure", model="dep", codec="azure", api_base=R)
    error = CODEC.failure(status, {"retry-after-ms": "6000"}, json.dumps(body).encode(), where)
    assert type(error) is kind
    assert error.retry_after_s == 6
    if name == "prompt filtered":
        inner = (error.provider_specific_fields or {})["innererror"]
        assert inner["content_filter_result"]["sexual"]["filtered"] is True


# --- the price


def test_a_deployment_is_priced_by_its_answers_model_or_by_what_the_caller_says(provider: FakeProvider) -> None:
    where = {"api_base": provider.url, "api_key": "k"}
    callmeter.register_model(
        {
            "azure/gpt-4o-test": {
                "litellm_provider": "azure",
                "input_cost_per_token": 1e-6,
                "output_cost_per_token": 2e-6,
            }
        }
    )
    wire = json.dumps(
        {
            "id": "1",
            "model": "gpt-4o-test",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    )
    provider.answer(body=wire.encode())
    by_answer = callmeter.completion("azure/dep", M, **where)
    said = callmeter.completion("azure/dep", M, base_model="gpt-4o-test", **where)
    unknown = callmeter.completion("azure/dep", M, **where)
    assert by_answer._hidden_params["response_cost"] == 20e-6
    assert said._hidden_params["cost"].status == "priced"
    assert unknown._hidden_params["cost"].total is None
