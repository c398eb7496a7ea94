"""Reranking: charged by token or by the search, documents given back, and Cohere's own client reads the same."""

import json
from decimal import Decimal
from typing import Any

import pytest

import callmeter
from callmeter.testing import FakeProvider

DOCUMENTS = ["a dog barks", "a cat sleeps", "birds fly"]


def test_tokens_are_charged_where_they_are_counted(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.rerank(
        "jina_ai/jina-reranker-v2-base-multilingual", "a cat", DOCUMENTS, 2, x_fake={"prompt_tokens": 1000}
    )
    assert [(place.index, place["relevance_score"]) for place in answer.results] == [(1, 1.0), (0, 0.5)]
    assert answer.results[0].document is not None
    assert answer.results[0].document.text == "a cat sleeps"
    assert answer.meta == {
        "billed_units": {"total_tokens": 1000},
        "tokens": {"input_tokens": 1000, "output_tokens": 0},
    }
    assert [(item.line, item.quantity) for item in events[-1].cost.items] == [("input", 1000)]


def test_cohere_is_charged_by_the_search(
    provider: FakeProvider, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "co-test")
    monkeypatch.setenv("COHERE_BASE_URL", provider.url)
    answer = callmeter.rerank("cohere/rerank-v3.5", "a cat", DOCUMENTS * 50, top_n=3, return_documents=False)
    assert [place.get("document") for place in answer.results] == [None] * 3
    assert [(item.line, item.quantity) for item in events[-1].cost.items] == [("rerank", 2)]
    assert events[-1].cost.total == Decimal("0.004")


def test_coheres_own_client_sends_and_reads_the_same(provider: FakeProvider) -> None:
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="co-test", base_url=provider.url)
    theirs = client.rerank(model="rerank-v3.5", query="a cat", documents=DOCUMENTS, top_n=2)
    ours = callmeter.rerank("cohere/rerank-v3.5", "a cat", DOCUMENTS, top_n=2, api_base=provider.url, api_key="co-test")
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v2/rerank"] * 2
    assert [(place.index, place.relevance_score) for place in ours.results] == [
        (place.index, place.relevance_score) for place in theirs.results
    ]
    assert ours.meta is not None
    assert ours.meta.billed_units.search_units == theirs.meta.billed_units.search_units


def test_usage_that_nobody_reports_is_counted_from_query_and_documents(
    provider: FakeProvider, events: list[Any]
) -> None:
    answer = callmeter.rerank("jina_ai/jina-reranker-v2-base-multilingual", "a cat", DOCUMENTS, x_fake={"usage": False})
    assert answer.meta is None
    assert events[-1].usage_source == "counted"
    assert events[-1].usage.input_tokens > 5
    assert events[-1].cost.estimated
