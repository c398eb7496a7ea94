"""The bound before a call: no usage within it costs more."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.pricing import PriceBook, Usage, bound
from callmeter.pricing.table import load_table

BOOK = PriceBook()
AT = datetime(2026, 11, 1, tzinfo=UTC)
MODELS = [(slug, model.id) for slug in ("openai", "anthropic") for model in load_table(slug).models]
TIERS = ["default", "standard", "batch", "flex", "priority", "scale", "nonsense"]


@st.composite
def usages(draw: st.DrawFn, most_input: int, most_output: int) -> Usage:
    """Any usage within the two bounds, spread over lines at random."""
    parts = draw(st.lists(st.integers(0, most_input // 6), min_size=6, max_size=6))
    _text, read, write, hour, audio, image = parts
    heard = draw(st.integers(0, min(read, audio)))
    out = draw(st.lists(st.integers(0, most_output // 4), min_size=4, max_size=4))
    return Usage(
        input_tokens=sum(parts) - heard,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        input_audio_tokens=audio,
        cache_read_audio_tokens=heard,
        input_image_tokens=image,
        output_tokens=sum(out),
        reasoning_tokens=draw(st.sampled_from([None, out[0]])),
        output_audio_tokens=out[1],
        output_image_tokens=out[2],
    )


@given(st.sampled_from(MODELS), st.integers(0, 2_000_000), st.integers(0, 200_000), st.integers(1, 4), st.data())
def test_no_usage_within_max_tokens_costs_more_whatever_tier_serves_it(
    model: tuple[str, str], most_input: int, max_tokens: int, n: int, data: st.DataObject
) -> None:
    provider, name = model
    found = bound(name, input_tokens=most_input, max_tokens=max_tokens, n=n, provider=provider, at=AT, book=BOOK)
    usage = data.draw(usages(most_input, max_tokens * n))
    tier = data.draw(st.sampled_from([None, *TIERS]))
    total = BOOK.price(name, usage, provider=provider, at=AT, service_tier=tier).total
    assert found.output_tokens == max_tokens * n
    assert (found.high is None) == bool(found.reason)
    assert found.high is None or total is None or total <= found.high


@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(1, 5))
def test_the_bound_never_falls_when_more_is_allowed(
    model: tuple[str, str], inputs: int, outputs: int, more: int, n: int
) -> None:
    def high(inputs: int, outputs: int, n: int) -> Decimal | None:
        provider, name = model
        return bound(name, input_tokens=inputs, max_tokens=outputs, n=n, provider=provider, at=AT, book=BOOK).high

    least = high(inputs, outputs, n)
    for grown in (high(inputs + more, outputs, n), high(inputs, outputs + more, n), high(inputs, outputs, n + 1)):
        assert least is None or grown is None or grown >= least


def test_without_max_tokens_the_models_longest_answer_is_taken() -> None:
    found = bound("gpt-4o", input_tokens=1000, provider="openai", at=AT, service_tier="default")
    assert (found.output_tokens, found.output_from) == (16_384, "limits.output")
    assert found.high == (1000 * Decimal("2.5") + 16_384 * 10) / 10**6


def test_choices_multiply_the_output_alone() -> None:
    found = bound("gpt-4o", input_tokens=1000, max_tokens=100, n=3, provider="openai", at=AT, service_tier="default")
    assert found.high == (1000 * Decimal("2.5") + 300 * 10) / 10**6


def test_where_no_tier_is_asked_for_the_dearest_is_taken() -> None:
    common = {"input_tokens": 1000, "max_tokens": 100, "provider": "openai", "at": AT}
    priority = bound("gpt-4o", service_tier="priority", **common).high
    standard = bound("gpt-4o", service_tier="default", **common).high
    assert priority is not None
    assert standard is not None
    assert bound("gpt-4o", **common).high == bound("gpt-4o", service_tier="auto", **common).high == priority > standard


def test_a_longer_context_is_bounded_at_its_own_rate() -> None:
    common = {"max_tokens": 0, "provider": "anthropic", "at": AT, "service_tier": "standard"}
    short = bound("claude-haiku-5-5", input_tokens=100_000, **common).high
    longer = bound("claude-haiku-5-5", input_tokens=100_001, **common).high
    assert (short, longer) == (Decimal("0.02"), Decimal("0.100001"))


def test_what_is_not_known_is_none_with_a_reason_and_free_is_0() -> None:
    unknown = bound("no such model", input_tokens=1, max_tokens=1, provider="openai")
    assert (unknown.high, unknown.reason) == (None, "a rate that a call to 'no such model' may need is not known")
    endless = bound("no such model", input_tokens=1, provider="openai")
    assert (endless.high, endless.output_tokens) == (None, None)
    assert "pass max_tokens" in endless.reason
    assert bound("llama3.2", input_tokens=1, max_tokens=1, provider="ollama").high == 0
    pages = bound("gpt-4o", input_tokens=1, max_tokens=1, provider="openai", units={"page": 1})
    assert pages.high is None


def test_searches_that_are_allowed_are_within_the_bound() -> None:
    common = {"input_tokens": 0, "max_tokens": 0, "provider": "openai", "at": AT}
    assert bound("gpt-4o", units={"search.web": 3}, **common).high == Decimal("0.03")


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": True}, {"input_tokens": -1}, {"max_tokens": -1}])
def test_counts_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        bound("gpt-4o", **{"input_tokens": 1, "max_tokens": 1, **wrong})
