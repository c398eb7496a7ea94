"""Images: charged by tokens or by the piece, as their model is, and OpenAI's own client reads the same."""

import json
from decimal import Decimal
from typing import Any

import pytest

import callmeter
from callmeter.testing import FakeProvider


def test_tokens_are_charged_where_the_answer_counts_them(provider: FakeProvider, events: list[Any]) -> None:
    answer = callmeter.image_generation(
        "A sea otter", "openai/gpt-image-1.5", n=2, quality="low", x_fake={"prompt_tokens": 40}
    )
    assert len(answer.data) == 2
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.text_tokens == 40
    lines = {item.line: item for item in events[-1].cost.items}
    assert {line: item.quantity for line, item in lines.items()} == {"input": 40, "image_out": 544}
    assert events[-1].cost.total == 40 * lines["input"].rate + 544 * lines["image_out"].rate


@pytest.mark.parametrize(
    ("model", "params", "line", "total"),
    [
        ("openai/dall-e-2", {}, "image.standard.1024x1024", "0.02"),
        ("openai/dall-e-2", {"n": 3, "size": "256x256"}, "image.standard.256x256", "0.048"),
        ("openai/dall-e-3", {"quality": "hd", "size": "1024x1792"}, "image.hd.1024x1792", "0.12"),
        ("openai/dall-e-3", {"quality": "hd", "size": "auto"}, "image.hd.1024x1024", "0.08"),
    ],
)
def test_pieces_are_charged_by_quality_and_size(
    model: str, params: Any, line: str, total: str, provider: FakeProvider, events: list[Any]
) -> None:
    answer = callmeter.image_generation("A sea otter", model, **params)
    assert answer.usage is None
    assert [item.line for item in events[-1].cost.items] == [line]
    assert events[-1].cost.total == Decimal(total)


def test_one_price_for_all_pieces_holds_for_each_size(provider: FakeProvider, events: list[Any]) -> None:
    callmeter.image_generation("A cat", "xai/grok-imagine-image", n=2, api_base=provider.openai_base, api_key="k")
    (item,) = events[-1].cost.items
    assert (item.line, item.quantity, item.via) == ("image.standard.1024x1024", 2, "image")
    assert events[-1].cost.total == 2 * item.rate


def test_a_model_that_was_not_named_is_the_one_that_existing_code_expects(provider: FakeProvider) -> None:
    callmeter.image_generation("A sea otter")
    assert json.loads(provider.requests[-1].body) == {"model": "dall-e-2", "prompt": "A sea otter"}


@pytest.mark.parametrize("model", ["gpt-image-1.5", "dall-e-3"])
def test_openais_own_client_sends_and_reads_the_same(model: str, provider: FakeProvider) -> None:
    openai = pytest.importorskip("openai")
    given: dict[str, Any] = {"prompt": "A sea otter", "n": 2, "size": "1024x1024", "quality": "high", "user": "u"}
    theirs = openai.OpenAI().images.generate(model=model, **given)
    ours = callmeter.image_generation(model=f"openai/{model}", **given)
    their_request, our_request = (json.loads(heard.body) for heard in provider.requests)
    assert our_request == their_request
    assert [heard.path for heard in provider.requests] == ["/v1/images/generations"] * 2
    assert ours.model_dump(exclude_none=True) == theirs.model_dump(exclude_none=True)


def test_what_does_not_stream_says_so(provider: FakeProvider, events: list[Any]) -> None:
    with pytest.raises(callmeter.BadRequestError, match="image_generation does not stream"):
        callmeter.image_generation("A sea otter", "openai/gpt-image-1.5", stream=True)
    assert not provider.requests
    callmeter.image_generation("A sea otter", "openai/gpt-image-1.5", stream=False)
    assert b"stream" not in provider.requests[-1].body
