"""What the environment lets a process call."""

from collections.abc import Iterator
from typing import Any

import pytest

import callmeter
from callmeter.client.providers import PROVIDERS
from callmeter.testing import FakeProvider, capture_events

NAMES = {
    name
    for row in PROVIDERS
    for name in (*row.key_env, *row.base_env, *(env for variable in row.variables.values() for env in variable.env))
}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("openai/gpt-4o", ["OPENAI_API_KEY"]),
        ("gpt-4o", ["OPENAI_API_KEY"]),
        ("anthropic/claude-sonnet-4-5", ["ANTHROPIC_API_KEY"]),
        ("azure/my-deployment", ["AZURE_API_BASE", "AZURE_API_KEY"]),
        ("bedrock/some.model", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
        ("vertex_ai/gemini-2.5-pro", ["VERTEXAI_PROJECT"]),
        ("ollama/llama3.2", []),
        ("of-nobody", []),
        (None, []),
    ],
)
def test_what_a_call_lacks_is_named(model: Any, missing: list[str]) -> None:
    assert callmeter.validate_environment(model) == {"keys_in_environment": not missing, "missing_keys": missing}


@pytest.mark.parametrize(
    ("model", "environ"),
    [
        ("openai/gpt-4o", {"OPENAI_API_KEY": "k"}),
        ("anthropic/claude-sonnet-4-5", {"ANTHROPIC_AUTH_TOKEN": "k"}),
        ("azure/d", {"AZURE_RESOURCE_NAME": "r", "AZURE_OPENAI_API_KEY": "k"}),
        ("azure/d", {"AZURE_API_BASE": "https://r.openai.azure.com", "AZURE_AD_TOKEN": "t"}),
        ("bedrock/m", {"AWS_BEARER_TOKEN_BEDROCK": "k"}),
        ("bedrock/m", {"AWS_PROFILE": "work"}),
        ("bedrock/m", {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s"}),
        ("vertex_ai/m", {"VERTEX_PROJECT": "p"}),
    ],
)
def test_each_way_to_set_it_is_seen(model: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not callmeter.validate_environment(model)["keys_in_environment"]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert callmeter.validate_environment(model) == {"keys_in_environment": True, "missing_keys": []}


def test_what_is_passed_is_not_missing() -> None:
    assert callmeter.validate_environment("openai/gpt-4o", api_key="k")["keys_in_environment"]
    assert callmeter.validate_environment("azure/d", api_base="https://x")["missing_keys"] == ["AZURE_API_KEY"]


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_every_provider_has_an_answer(row: Any) -> None:
    found = callmeter.validate_environment(f"{row.name}/m")
    assert found["keys_in_environment"] is not bool(found["missing_keys"])
    assert set(found["missing_keys"]) <= NAMES | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


# --- which models


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        yield server


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_events(sleep=lambda _: None) as seen:
        yield seen


def test_models_of_providers_whose_key_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert callmeter.get_valid_models() == []
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    found = callmeter.get_valid_models()
    assert "claude-sonnet-4-5" in found
    assert not any("gpt" in name for name in found)
    assert "gpt-4o" in callmeter.get_valid_models(custom_llm_provider="openai", api_key="k")
    assert callmeter.get_valid_models(custom_llm_provider="openai") == []
    with pytest.raises(callmeter.BadRequestError, match="nobody"):
        callmeter.get_valid_models(custom_llm_provider="nobody")


def test_a_provider_is_asked_for_its_models_if_wanted(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(200, body=b'{"object": "list", "data": [{"id": "gpt-4o"}, {"id": "my-own"}]}')
    found = callmeter.get_valid_models(True, custom_llm_provider="openai", api_key="sk-own")
    assert found == ["openai/gpt-4o", "openai/my-own"]
    heard = provider.requests[0]
    assert (heard.method, heard.path.endswith("/models")) == ("GET", True)
    assert heard.headers["authorization"] == "Bearer sk-own"
    assert events == []


def test_a_key_is_sent_in_the_providers_own_header_when_it_is_asked(provider: FakeProvider) -> None:
    provider.answer(200, body=b'{"data": []}')
    assert callmeter.get_valid_models(True, "portkey", api_key="pk", api_base=provider.openai_base) == []
    heard = provider.requests[0].headers
    assert heard["x-portkey-api-key"] == "pk"
    assert "authorization" not in heard


def test_an_answer_that_is_no_list_and_a_refusal_are_errors(provider: FakeProvider, events: list[Any]) -> None:
    provider.answer(200, body=b"[1]")
    with pytest.raises(callmeter.APIError, match="list of models"):
        callmeter.get_valid_models(True, custom_llm_provider="openai", api_key="k")
    provider.answer(401)
    with pytest.raises(callmeter.AuthenticationError):
        callmeter.get_valid_models(True, custom_llm_provider="openai", api_key="k")


def test_a_provider_that_cannot_be_asked_says_so() -> None:
    with pytest.raises(callmeter.BadRequestError, match="cannot be asked"):
        callmeter.get_valid_models(True, custom_llm_provider="cohere", api_key="k")


def test_a_key_is_tried_by_one_call_that_is_accounted_for(provider: FakeProvider, events: list[Any]) -> None:
    assert callmeter.check_valid_key("openai/gpt-4o", "sk-good")
    provider.answer(401)
    assert not callmeter.check_valid_key("openai/gpt-4o", "sk-bad")
    assert [type(event).__name__ for event in events] == ["CallStarted", "CallSucceeded", "CallStarted", "CallFailed"]
    provider.answer(500)
    with pytest.raises(callmeter.InternalServerError):
        callmeter.check_valid_key("openai/gpt-4o", "sk-good")
    assert len(provider.requests) == 3
