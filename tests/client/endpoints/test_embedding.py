"""Embeddings: every form of input, the price of the input alone, and OpenAI's own client reads the same."""

import json
from decimal import Decimal
from typing import Any

import pytest

import callmeter
from callmeter.runtime import Runtime, using
from callmeter.testing import FakeProvider

MODEL = "openai/text-embedding-3-small"
TEXTS = ["The food was delicious", "and the waiter kind"]


def test_an_embedding_costs_its_input(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.embedding(MODEL, TEXTS, 4, x_fake={"prompt_tokens": 1000})
    assert [len(item["embedding"]) for item in answer["data"]] == [4, 4]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 1000
    end = events[-1]
    assert [(item.line, item.quantity) for item in end.cost.items] == [("input", 1000)]
    assert end.cost.total == Decimal("0.00002")


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("given", ["one text", TEXTS, [9906, 1917], [[9906, 1917], [12]]], ids=str)
def test_openais_own_client_sends_and_reads_the_same(given: Any, encoding: Any, provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    theirs = openai.OpenAI().embeddings.create(
        model="text-embedding-3-small", input=given, encoding_format=encoding, dimensions=5, user="u"
    )
    ours = callmeter.embedding(MODEL, given, dimensions=5, encoding_format=encoding, user="u")
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v1/embeddings"] * 2
    assert [item.model_dump() for item in ours.data] == [dict(item) for item in theirs.data]
    assert (ours.model, ours.object) == (theirs.model, theirs.object)
    assert ours.usage is not None
    assert (ours.usage.prompt_tokens, ours.usage.total_tokens) == (
        theirs.usage.prompt_tokens,
        theirs.usage.total_tokens,
    )


def test_a_prompt_without_content_keeps_its_number_of_texts(provider: FakeProvider) -> None:
    seen: list[Any] = []
    with using(Runtime()) as runtime:
        callmeter.embedding(
            MODEL, TEXTS, success_callback=[lambda *given: seen.append(given)], turn_off_message_logging=True
        )
        runtime.close(5)
    ((kwargs, response, _, _),) = seen
    assert kwargs["input"] == ["redacted-by-litellm"] * 2
    assert response.data == []


def test_usage_that_nobody_reports_is_counted_from_the_input(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.embedding(MODEL, [[9906, 1917], [12]], x_fake={"usage": False})
    end = events[-1]
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage_source) == (3, 0, "counted")
    assert end.cost.estimated
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


def test_a_mock_gives_every_input_the_vector(events: list[Any]) -> None:
    answer = callmeter.embedding(MODEL, TEXTS, mock_response=[0.1, 0.2])
    assert [item.embedding for item in answer.data] == [[0.1, 0.2]] * 2


@pytest.mark.parametrize(
    ("model", "base", "path"),
    [
        ("openai/m", "/v1/chat/completions", "/v1/embeddings"),
        ("azure/m", "", "/openai/deployments/m/embeddings?api-version=2024-10-21"),
        ("heroku/m", "", "/v1/embeddings"),
        ("heroku/m", "/v1/chat/completions", "/v1/embeddings"),
    ],
)
def test_the_address_is_beside_chats(model: str, base: str, path: str, provider: FakeProvider) -> None:
    callmeter.embedding(model, "Hi", api_base=provider.url + base, api_key="k")
    assert provider.requests[-1].path == path


def test_the_parameters_of_embeddings_are_told() -> None:
    names = callmeter.get_supported_openai_params("text-embedding-3-small", "openai", "embeddings")
    assert names == ["dimensions", "encoding_format", "user"]
    assert callmeter.get_supported_openai_params("claude-sonnet-4-5", "anthropic", "embeddings") is None
