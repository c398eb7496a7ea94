"""Counting what a provider did not report."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.estimate import counted_usage, estimated, tokens_in
from callmeter.types import Call, Cost, Usage


def size(text: str) -> tuple[int, int]:
    return len(text), len(text.encode("utf-8", "surrogatepass"))


def call(*texts: str) -> Call:
    return Call(id="1", operation="chat", model="m", messages=[{"role": "user", "content": text} for text in texts])


def price(usage: Usage) -> Cost:
    return Cost(total=Decimal(usage.input_tokens + 4 * usage.output_tokens).scaleb(-6), status="priced")


def test_latin_text_is_four_characters_a_token() -> None:
    assert tokens_in(*size("four" * 100)) == 100


def test_chinese_text_is_about_a_token_a_character() -> None:
    assert 40 <= tokens_in(*size("今天天气很好" * 10)) <= 60


@given(st.text())
def test_an_estimate_never_exceeds_the_bytes(text: str) -> None:
    assert 0 <= tokens_in(*size(text)) <= len(text.encode("utf-8", "surrogatepass"))


@given(st.text(), st.text())
def test_an_estimate_never_falls_when_text_is_added(text: str, more: str) -> None:
    assert tokens_in(*size(text)) <= tokens_in(*size(text + more))


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5), st.text(max_size=200))
def test_the_estimated_cost_lies_in_its_band_and_under_the_bound(prompts: list[str], answer: str) -> None:
    count, most = counted_usage(call(*prompts), *size(answer), None)
    cost, bound = estimated(price, count, most), price(most).total
    assert cost.estimated
    assert cost.low is not None
    assert cost.total is not None
    assert cost.high is not None
    assert bound is not None
    assert cost.low <= cost.total <= cost.high <= bound


def test_a_prompt_that_was_reported_is_not_estimated() -> None:
    reported = Usage(input_tokens=1000, cache_read_tokens=900, output_tokens=1)
    count, most = counted_usage(call("hello"), 40, 40, reported)
    assert (count.input_tokens, count.cache_read_tokens, count.output_tokens) == (1000, 900, 10)
    assert (most.input_tokens, most.output_tokens) == (1000, 40)


def test_images_and_tools_are_counted_too() -> None:
    plain, _ = counted_usage(call("hi"), 0, 0, None)
    image = Call(
        id="1",
        operation="chat",
        model="m",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}],
            }
        ],
        params={"tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}]},
    )
    seen, _ = counted_usage(image, 0, 0, None)
    assert seen.input_tokens > plain.input_tokens + 700
