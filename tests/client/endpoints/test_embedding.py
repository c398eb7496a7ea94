"""Embeddings over real sockets: the same events, costs, retries and callbacks as chat, and OpenAI's SDK agrees."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import callmeter
from callmeter import ledger
from callmeter.events.model import AttemptFailed, CallFailed, CallStarted, CallSucceeded
from callmeter.runtime import Runtime, using
from callmeter.settings import Settings
from callmeter.testing import FakeProvider, capture_events

MODEL = "openai/text-embedding-3-small"
TEXTS = ["The food was delicious", "and the waiter kind"]
Ask = Callable[..., Any]


def awaited(*args: Any, **params: Any) -> Any:
    return asyncio.run(callmeter.aembedding(*args, **params))


both = pytest.mark.parametrize("ask", [callmeter.embedding, awaited], ids=["sync", "async"])


@both
def test_an_embedding_has_a_start_an_end_and_the_price_of_its_input(
    ask: Ask, provider: FakeProvider, events: list[Any]
) -> None:
    answer = ask(MODEL, TEXTS, dimensions=4, x_fake={"prompt_tokens": 1000})
    assert [len(item["embedding"]) for item in answer["data"]] == [4, 4]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 1000
    start, end = events
    assert isinstance(start, CallStarted)
    assert isinstance(end, CallSucceeded)
    assert (end.call.operation, end.call.provider, end.call.model) == ("embedding", "openai", "text-embedding-3-small")
    assert [(item.line, item.quantity) for item in end.cost.items] == [("input", 1000)]
    assert end.cost.total == Decimal("0.00002")
    assert answer._hidden_params["cost"] == end.cost
    assert answer.response_ms == end.latency_s * 1e3


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("given", ["one text", TEXTS, [9906, 1917], [[9906, 1917], [12]]], ids=str)
def test_openais_own_client_reads_the_same(given: Any, encoding: Any, provider: FakeProvider) -> None:
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
    assert (ours.usage.prompt_tokens, ours.usage.total_tokens) == (
        theirs.usage.prompt_tokens,
        theirs.usage.total_tokens,
    )


@both
def test_a_busy_provider_is_asked_again_and_then_another(ask: Ask, provider: FakeProvider) -> None:
    async def at_once(_: float) -> None:
        return None

    with capture_events(sleep=lambda _: None, asleep=at_once, jitter=lambda: 0.0) as events:
        provider.answer(503, times=2)
        answer = ask(MODEL, TEXTS, num_retries=1, fallbacks=["openai/text-embedding-3-large"])
    assert [type(event) for event in events] == [CallStarted, AttemptFailed, AttemptFailed, CallSucceeded]
    assert [attempt.reason for attempt in events[-1].attempts] == ["first", "retry", "fallback"]
    assert answer.model == "text-embedding-3-large"


def test_callbacks_see_the_input_and_a_payload(provider: FakeProvider) -> None:
    seen: list[Any] = []

    def note(kwargs: Any, response: Any, start: Any, end: Any) -> None:
        seen.append((kwargs, response))

    with using(Runtime()) as runtime:
        callmeter.embedding(MODEL, TEXTS, user="u-1", metadata={"trace": "t"}, success_callback=[note])
        awaited(MODEL, "one", success_callback=[note])
        runtime.close(5)
    (first, response), (second, _) = seen
    assert first["call_type"] == "embedding"
    assert first["input"] == first["messages"] == TEXTS
    assert first["optional_params"] == {"user": "u-1"}
    assert first["response_cost"] == pytest.approx(float(first["cost"].total))
    assert response.data[1].embedding
    payload = first["standard_logging_object"]
    assert (payload["call_type"], payload["messages"], payload["end_user"]) == ("embedding", TEXTS, "u-1")
    assert payload["response"]["data"][0]["index"] == 0
    assert (second["call_type"], second["input"]) == ("aembedding", "one")


def test_a_callback_that_sees_no_content_sees_neither_text_nor_vector(provider: FakeProvider) -> None:
    seen: list[Any] = []
    with using(Runtime()) as runtime:
        callmeter.embedding(
            MODEL, TEXTS, success_callback=[lambda *given: seen.append(given)], turn_off_message_logging=True
        )
        runtime.close(5)
    ((kwargs, response, _, _),) = seen
    assert kwargs["input"] == ["redacted-by-litellm"] * 2
    assert response.data == []
    assert response.usage.prompt_tokens


def test_usage_that_nobody_reports_is_counted_from_the_input(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.embedding(MODEL, [[9906, 1917], [12]], x_fake={"usage": False})
    end = events[-1]
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage_source) == (3, 0, "counted")
    assert end.cost.estimated
    assert answer.usage.prompt_tokens == 3


@both
def test_a_mock_gives_every_input_the_vector(ask: Ask, events: list[Any]) -> None:
    answer = ask(MODEL, TEXTS, mock_response=[0.1, 0.2])
    assert [item.embedding for item in answer.data] == [[0.1, 0.2]] * 2
    assert events[-1].cost.status == "priced"
    with pytest.raises(callmeter.RateLimitError):
        ask(MODEL, TEXTS, mock_response=callmeter.RateLimitError("no"), num_retries=0)


def test_a_provider_without_embeddings_is_told_by_name_before_anything_is_sent(events: list[Any]) -> None:
    with pytest.raises(
        callmeter.BadRequestError, match=r"anthropic does not offer embedding, only chat\. .* by .*aiml"
    ):
        callmeter.embedding("anthropic/claude-sonnet-4-5", "Hi", api_key="k")
    assert isinstance(events[-1], CallFailed)
    with pytest.raises(callmeter.BadRequestError, match="does not speak the wire 'watsonx_embedding'"):
        callmeter.embedding("watsonx/some-model", "Hi", api_key="k")


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


def test_the_ledger_tells_embeddings_from_chat(provider: FakeProvider, home: Path) -> None:
    with using(Runtime(Settings(home=str(home), ledger=True))) as runtime:
        callmeter.embedding(MODEL, TEXTS, x_fake={"prompt_tokens": 1000})
        callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}])
        runtime.close(5)
    with ledger.connect() as book:
        rows = book.sql("SELECT operation, input_tokens, cost FROM calls ORDER BY operation DESC").fetchall()
    assert rows[0] == ("embedding", 1000, Decimal("0.00002"))
    assert rows[1][0] == "chat"


def test_the_parameters_of_embeddings_are_told() -> None:
    names = callmeter.get_supported_openai_params("text-embedding-3-small", "openai", "embeddings")
    assert names == ["dimensions", "encoding_format", "user"]
    assert callmeter.get_supported_openai_params("claude-sonnet-4-5", "anthropic", "embeddings") is None
