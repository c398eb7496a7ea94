"""Embeddings on Bedrock: what boto3 sends and reads, whom they are asked of, and what is refused."""

import json
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config

import callmeter
from callmeter.testing import FakeProvider, capture_events

KEYS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret", "aws_region_name": "us-east-1"}
JSON = "application/json"
TITAN = "amazon.titan-embed-text-v2:0"
CASES = {
    TITAN: ("hello", {"inputText": "hello", "dimensions": 5}),
    "cohere.embed-english-v3": (
        ["hello", "you"],
        {"input_type": "search_document", "texts": ["hello", "you"], "output_dimension": 5},
    ),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


@pytest.mark.parametrize("model", CASES)
def test_boto3_sends_and_reads_the_same(model: str) -> None:
    given, body = CASES[model]
    session = boto3.Session(aws_access_key_id="AKID", aws_secret_access_key="secret", region_name="us-east-1")
    with FakeProvider() as provider:
        config = Config(retries={"total_max_attempts": 1})
        client = session.client("bedrock-runtime", endpoint_url=provider.url, config=config)
        theirs = json.loads(client.invoke_model(modelId=model, body=json.dumps(body), contentType=JSON)["body"].read())
        ours = callmeter.embedding(f"bedrock/{model}", given, dimensions=5, api_base=provider.url, **KEYS)
        sdk_asked, we_asked = provider.requests
    assert we_asked.path == sdk_asked.path
    assert json.loads(we_asked.body) == body
    assert we_asked.headers["content-type"] == sdk_asked.headers["content-type"]
    assert [item.embedding for item in ours.data] == (theirs.get("embeddings") or [theirs["embedding"]])


def test_the_price_is_the_model_s_in_its_region() -> None:
    where: dict[str, Any] = {**KEYS, "aws_region_name": "us-gov-west-1", "x_fake": {"prompt_tokens": 1000}}
    with FakeProvider() as provider, capture_events() as events:
        callmeter.embedding(f"bedrock/{TITAN}", "hello", api_base=provider.url, **where)
        profile = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/embed"
        callmeter.embedding(f"bedrock/{profile}", "hello", api_base=provider.url, base_model=TITAN, **KEYS)
        paths = [heard.path for heard in provider.requests]
    costs = [event.cost.total for event in events if hasattr(event, "cost")]
    assert costs[0] == Decimal("0.00011")
    assert paths[1] == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aprovisioned-model%2Fembed/invoke"


def test_what_bedrock_cannot_embed_is_refused_before_it_is_sent() -> None:
    with FakeProvider() as provider:
        asked: dict[str, Any] = {"api_base": provider.url, **KEYS}
        with pytest.raises(callmeter.BadRequestError, match=r"input has 2 texts: .* embeds one a call"):
            callmeter.embedding(f"bedrock/{TITAN}", ["one", "two"], **asked)
        with pytest.raises(callmeter.BadRequestError, match="is no model of Titan's or Cohere's embeddings"):
            callmeter.embedding("bedrock/amazon.nova-2-multimodal-embeddings-v1:0", "one", **asked)
        assert not provider.requests
