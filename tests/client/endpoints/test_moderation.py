"""Moderation: free, judged text by text, and OpenAI's own client reads the same."""

import json
from typing import Any

import pytest

import callmeter
from callmeter.testing import FakeProvider


def test_each_text_is_judged_and_nothing_is_charged(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.moderation(["I will harm you", "Nice to meet you"])
    assert [result.flagged for result in answer.results] == [True, False]
    assert answer["results"][0]["categories"]["self-harm"] is answer.results[0].categories.self_harm is True
    assert answer.results[0].category_scores.harassment_threatening == 0.0001
    assert (events[-1].cost.total, events[-1].cost.status) == (0, "free")
    assert events[-1].call.model == "omni-moderation-latest"


def test_a_mocked_verdict_is_on_each_text() -> None:
    assert [r.flagged for r in callmeter.moderation(["one", "two"], mock_response="flagged").results] == [True, True]
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "u"}}]
    assert [r.flagged for r in callmeter.moderation(parts, mock_response="safe").results] == [False]


def test_a_copy_reads_like_the_answer(provider: FakeProvider) -> None:
    answer = callmeter.moderation("I will harm you")
    copy = answer.copy()
    copy.results[0].categories["self-harm"] = False
    assert answer.results[0].categories.self_harm is True
    assert copy.results[0].categories.self_harm is False
    with pytest.raises(AttributeError, match="self_hurt"):
        _ = answer.results[0].categories.self_hurt


@pytest.mark.parametrize(
    "given",
    ["one", ["one", "harm"], [{"type": "text", "text": "harm"}, {"type": "image_url", "image_url": {"url": "u"}}]],
    ids=["text", "texts", "parts"],
)
def test_openais_own_client_sends_and_reads_the_same(given: Any, provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    theirs = openai.OpenAI().moderations.create(model="omni-moderation-latest", input=given)
    ours = callmeter.moderation(given)
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v1/moderations"] * 2
    said, expected = ours.model_dump(), theirs.model_dump(by_alias=True)
    assert said.pop("id")[:5] == expected.pop("id")[:5] == "modr-"
    assert said == expected
