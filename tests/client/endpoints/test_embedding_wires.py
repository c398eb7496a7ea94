"""Embeddings of providers that do not speak OpenAI's wire: their own SDKs send and read the same as we do."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import callmeter
from callmeter.testing import FakeProvider

TEXTS = ["The food was delicious", "and the waiter kind"]


@pytest.fixture(autouse=True)
def keys(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "COHERE_API_KEY": "co-test", "COHERE_BASE_URL": provider.url,
        "GEMINI_API_KEY": "AIza-test", "GEMINI_API_BASE": provider.url + "/v1beta",
        "VOYAGE_API_KEY": "pa-test", "VOYAGE_API_BASE": provider.url + "/v1",
        "OLLAMA_HOST": provider.url,
        "AWS_BEDROCK_RUNTIME_ENDPOINT": provider.url, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
        "VERTEXAI_API_BASE": provider.url, "VERTEXAI_PROJECT": "p-1", "VERTEXAI_LOCATION": "us-central1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def by_ollama(url: str) -> list[list[float]]:
    client = pytest.importorskip("ollama").Client(host=url)
    return [list(vector) for vector in client.embed(model="all-minilm", input=TEXTS, dimensions=5).embeddings]


def by_cohere(url: str) -> list[list[float]]:
    client = pytest.importorskip("cohere").ClientV2(api_key="co-test", base_url=url)
    found = client.embed(
        model="embed-v4.0", texts=TEXTS, input_type="search_document", embedding_types=["float"], output_dimension=5
    )
    return list(found.embeddings.float_)


def by_google(url: str) -> list[list[float]]:
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="AIza-test", http_options={"base_url": url, "api_version": "v1beta"})
    config = {"output_dimensionality": 5, "task_type": "SEMANTIC_SIMILARITY"}
    found = client.models.embed_content(model="gemini-embedding-001", contents=TEXTS, config=config)
    return [each.values for each in found.embeddings]


@pytest.mark.parametrize(
    ("theirs", "model", "more"),
    [
        (by_ollama, "ollama/all-minilm", {}),
        (by_cohere, "cohere/embed-v4.0", {}),
        (by_google, "gemini/gemini-embedding-001", {"task_type": "SEMANTIC_SIMILARITY"}),
    ],
)
def test_the_providers_own_sdk_sends_and_reads_the_same(
    theirs: Callable[[str], list[list[float]]], model: str, more: dict[str, str], provider: FakeProvider
) -> None:
    expected = theirs(provider.url)
    ours = callmeter.embedding(model, TEXTS, dimensions=5, **more)
    their_request, our_request = provider.requests
    assert our_request.path == their_request.path
    assert json.loads(our_request.body) == json.loads(their_request.body)
    assert [item.embedding for item in ours.data] == expected
    assert len(expected) == 2


@pytest.mark.parametrize(
    "model",
    ["ollama/all-minilm", "cohere/embed-v4.0", "gemini/gemini-embedding-001", "voyage/voyage-3.5",
     "vertex_ai/text-embedding-005", "bedrock/cohere.embed-english-v3"],
)  # fmt: skip
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_usage_and_cost_are_those_of_the_input(
    model: str, awaited: bool, provider: FakeProvider, events: list[Any]
) -> None:
    given: dict[str, Any] = {"extra_headers": {"x-fake": json.dumps({"prompt_tokens": 1000})}}
    if model.startswith("vertex_ai/"):
        given["api_key"] = "ya29.test"
    if awaited:
        answer = asyncio.run(callmeter.aembedding(model, TEXTS, dimensions=4, **given))
    else:
        answer = callmeter.embedding(model, TEXTS, dimensions=4, **given)
    end = events[-1]
    assert (len(answer.data), len(answer.data[1].embedding), answer.usage.prompt_tokens) == (2, 4, 1000)
    assert (end.usage.input_tokens, end.usage_source, end.cost.status) == (
        1000,
        "provider",
        "free" if model.startswith("ollama/") else "priced",
    )


@pytest.mark.parametrize(
    "model",
    ["ollama/all-minilm", "cohere/embed-v4.0", "gemini/gemini-embedding-001", "bedrock/amazon.titan-embed-text-v2:0"],
)
def test_tokens_are_refused_where_only_texts_are_taken(model: str, provider: FakeProvider) -> None:
    with pytest.raises(callmeter.BadRequestError, match=r"input\[0\] is 9906: .* embeds texts, not tokens"):
        callmeter.embedding(model, [9906, 1917])
    assert not provider.requests


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("ollama/all-minilm", 404, callmeter.NotFoundError),
        ("cohere/embed-v4.0", 401, callmeter.AuthenticationError),
        ("gemini/gemini-embedding-001", 429, callmeter.RateLimitError),
        ("bedrock/amazon.titan-embed-text-v2:0", 429, callmeter.RateLimitError),
    ],
)
def test_an_error_is_the_providers_own(model: str, status: int, kind: type, provider: FakeProvider) -> None:
    provider.answer(status)
    with pytest.raises(kind, match="was told to answer"):
        callmeter.embedding(model, "hi", num_retries=0)
