"""What `price()` answers: totals, items and statuses, on the shipped tables."""

import decimal
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from callmeter.pricing import Cost, PriceBook, Usage, price

IN_2026 = datetime(2026, 11, 1, tzinfo=UTC)


def cost_of(model: str, *, provider: str = "openai", tier: str | None = None, **counts: object) -> Cost:
    return price(model, Usage(**counts), provider=provider, at=IN_2026, service_tier=tier)  # type: ignore[arg-type]


def lines(cost: Cost) -> dict[str, Decimal]:
    return {item.line: item.amount for item in cost.items}


def test_a_plain_call_costs_its_input_and_its_output() -> None:
    cost = cost_of("gpt-3.5-turbo", input_tokens=10, output_tokens=20)
    assert (cost.total, cost.status, cost.currency) == (Decimal("0.000035"), "priced", "USD")


def test_cached_input_is_charged_once_at_its_own_rate() -> None:
    cost = cost_of("gpt-4o", input_tokens=1000, cache_read_tokens=400, output_tokens=100)
    assert cost.total == Decimal("0.003")
    assert lines(cost) == {"input": Decimal("0.0015"), "cache_read": Decimal("0.0005"), "output": Decimal("0.001")}


def test_cache_writes_are_charged_at_their_own_rate() -> None:
    cost = cost_of(
        "claude-sonnet-4-5",
        provider="anthropic",
        input_tokens=1000,
        cache_write_tokens=300,
        cache_read_tokens=200,
        output_tokens=100,
    )
    assert cost.total == Decimal("0.004185")


def test_one_hour_cache_writes_cost_twice_the_input() -> None:
    cost = cost_of("claude-sonnet-4-5", provider="anthropic", input_tokens=1000, cache_write_1h_tokens=1000)
    assert cost.total == Decimal("0.006")


@pytest.mark.parametrize(
    ("tier", "total"),
    [
        (None, "0.01125"),
        ("default", "0.01125"),
        ("auto", "0.01125"),
        ("never heard of", "0.01125"),
        ("flex", "0.005625"),
        ("batch", "0.005625"),
        ("priority", "0.0225"),
        ("fast", "0.0225"),
        ("PRIORITY", "0.0225"),
    ],
)
def test_the_service_tier_decides_the_rate_and_an_unknown_one_is_the_standard(tier, total) -> None:
    assert cost_of("gpt-5", tier=tier, input_tokens=1000, output_tokens=1000).total == Decimal(total)


def test_reasoning_is_within_the_output_and_charged_like_it() -> None:
    cost = cost_of("o3", input_tokens=10, output_tokens=500, reasoning_tokens=400)
    assert cost.total == Decimal("0.00402")
    reasoning = next(item for item in cost.items if item.line == "reasoning")
    assert (reasoning.quantity, reasoning.via) == (400, "output")


@pytest.mark.parametrize(
    ("model", "units", "total"),
    [
        ("whisper-1", {"audio_second": 60}, "0.006"),
        ("whisper-1", {"audio_second": Decimal("1.5")}, "0.00015"),
        ("tts-1", {"character": 1000}, "0.015"),
        ("dall-e-3", {"image.hd.1024x1792": 2}, "0.24"),
        ("gpt-4o", {"search.web": 1, "code_session": 1}, "0.04"),
        ("gpt-live-transcribe", {"audio_second": 60}, "0.01699999999998"),
    ],
)
def test_what_is_not_sold_by_the_token_is_charged_by_its_unit(model, units, total) -> None:
    assert cost_of(model, units=units).total == Decimal(total)


def test_an_embedding_has_only_input() -> None:
    assert cost_of("text-embedding-3-small", input_tokens=1000).total == Decimal("0.00002")


def test_beyond_the_threshold_the_whole_request_moves_and_at_it_nothing_does() -> None:
    at, beyond = (
        cost_of("claude-haiku-5-5", provider="anthropic", input_tokens=n, cache_read_tokens=50_000, output_tokens=1000)
        for n in (100_000, 100_001)
    )
    assert at.total == Decimal("0.006")
    assert {item.tier for item in at.items} == {""}
    assert lines(beyond) == {
        "input": Decimal("0.0250005"),
        "cache_read": Decimal("0.0025"),
        "output": Decimal("0.0025"),
    }
    assert {item.tier for item in beyond.items} == {">100000"}


def test_tier_region_and_length_multiply() -> None:
    usage = Usage(input_tokens=200_000, output_tokens=1000)
    cost = price("claude-haiku-5-5", usage, provider="anthropic", at=IN_2026, service_tier="batch", region="us")
    assert cost.total == (200_000 * Decimal("0.25") + 1000 * Decimal("1.25")) * Decimal("1.1") / 10**6
    assert cost.items[0].tier == "batch us >100000"


def test_the_rate_in_force_at_the_call_is_used() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    totals = [
        price("gpt-3.5-turbo", usage, provider="openai", at=datetime(*day, tzinfo=UTC)).total
        for day in ((2023, 3, 2), (2023, 7, 1), (2024, 3, 1))
    ]
    assert totals == [Decimal(4), Decimal("3.5"), Decimal(2)]


def test_an_interval_begins_with_its_first_instant() -> None:
    cut = int(datetime(2025, 6, 10, tzinfo=UTC).timestamp()) * 10**9
    before, after = (price("o3", Usage(input_tokens=1), provider="openai", at=at) for at in (cut - 1, cut))
    assert (before.total, after.total) == (Decimal("0.00001"), Decimal("0.000002"))
    assert after.items[0].since == "2025-06-10T00:00:00Z"


def test_before_its_first_price_a_model_is_unpriced() -> None:
    cost = price("gpt-4o", Usage(input_tokens=1), provider="openai", at=datetime(2020, 1, 1, tzinfo=UTC))
    assert (cost.total, cost.status) == (None, "unpriced")
    assert cost.reason == (
        "no price of 'gpt-4o' is in force at 2020-01-01T00:00:00Z; the first is from 2024-05-13T00:00:00Z"
    )


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        price("gpt-4o", Usage(), at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_without_usage_there_is_no_cost() -> None:
    cost = price("gpt-4o", None, provider="openai")
    assert (cost.total, cost.status) == (None, "no_usage")


def test_reported_zero_usage_of_a_priced_model_costs_nothing_and_is_priced() -> None:
    cost = cost_of("gpt-4o")
    assert (cost.total, cost.status, cost.items) == (Decimal(0), "priced", ())


def test_a_local_model_is_free_whatever_its_name() -> None:
    cost = cost_of("some-model:7b", provider="ollama", input_tokens=10, output_tokens=5)
    assert (cost.total, cost.status) == (Decimal(0), "free")
    assert [(item.line, item.quantity, item.rate) for item in cost.items] == [("input", 10, 0), ("output", 5, 0)]


def test_a_model_in_ollamas_cloud_is_not_free() -> None:
    cost = cost_of("gpt-oss:120b-cloud", provider="ollama", input_tokens=10)
    assert (cost.total, cost.status) == (None, "unpriced")


def test_moderation_is_free() -> None:
    assert cost_of("omni-moderation-latest", input_tokens=10).status == "free"


def test_a_line_without_a_rate_leaves_a_known_subtotal() -> None:
    cost = cost_of("gpt-4o", input_tokens=10, input_audio_tokens=4, units={"page": 2})
    assert (cost.status, cost.total) == ("partial", Decimal("0.000015"))
    assert cost.reason == "no rate for audio_in, page"


def test_where_no_line_has_a_rate_the_cost_is_unknown_and_not_zero() -> None:
    cost = cost_of("whisper-1", input_tokens=10)
    assert (cost.total, cost.status, cost.reason) == (None, "unpriced", "no rate for input")


def test_cache_reads_without_a_rate_are_charged_as_input_and_say_so() -> None:
    cost = cost_of("gpt-4", input_tokens=100, cache_read_tokens=40)
    read = next(item for item in cost.items if item.line == "cache_read")
    assert (cost.total, read.via, cost.saved) == (Decimal("0.003"), "input", Decimal(0))


def test_what_the_cache_saved_is_the_difference_to_the_input_rate() -> None:
    assert cost_of("gpt-4o", input_tokens=1000, cache_read_tokens=400).saved == Decimal("0.0005")
    assert cost_of("gpt-4o", input_tokens=1000).saved is None


def test_every_item_says_where_its_rate_is_from() -> None:
    cost = cost_of("gpt-4o", input_tokens=1)
    item = cost.items[0]
    assert (item.unit, item.rate, item.source, item.since) == (
        "token",
        Decimal("0.0000025"),
        "genai-prices",
        "2024-10-02T00:00:00Z",
    )
    assert cost.table.startswith("openai@")


def test_the_callers_decimal_context_rounds_nothing() -> None:
    usage = Usage(input_tokens=123_456_789, output_tokens=987_654_321)
    expected = price("gpt-4o-mini", usage, provider="openai", at=IN_2026)
    with decimal.localcontext(decimal.Context(prec=2)):
        assert price("gpt-4o-mini", usage, provider="openai", at=IN_2026) == expected


def test_amounts_are_plain_numbers_to_read() -> None:
    cost = cost_of("gpt-4", input_tokens=1_000_000, output_tokens=1_000_000)
    assert (str(cost.total), [str(item.amount) for item in cost.items]) == ("90", ["30", "60"])


def test_a_books_clock_says_when_now_is() -> None:
    book = PriceBook(now_ns=lambda: int(datetime(2023, 3, 2, tzinfo=UTC).timestamp()) * 10**9)
    assert book.price("gpt-3.5-turbo", Usage(input_tokens=1_000_000), provider="openai").total == 2


def test_the_bound_takes_the_dearest_line_each_token_can_land_on() -> None:
    book = PriceBook()
    bound = book.bound("claude-haiku-5-5", input_tokens=100_001, output_tokens=10, provider="anthropic", at=IN_2026)
    assert bound == (100_001 * Decimal(1) + 10 * Decimal("2.5")) / 10**6
    short = book.bound("claude-haiku-5-5", input_tokens=100_000, output_tokens=10, provider="anthropic", at=IN_2026)
    assert short == (100_000 * Decimal("0.2") + 10 * Decimal("0.5")) / 10**6


def test_a_bound_with_searches_contains_their_fees_and_is_none_without_a_rate() -> None:
    book = PriceBook()
    common = {"input_tokens": 0, "output_tokens": 0, "provider": "openai", "at": IN_2026}
    assert book.bound("gpt-4o", **common, units={"search.web": 3}) == Decimal("0.03")
    assert book.bound("gpt-4o", **common, units={"page": 1}) is None
    assert book.bound("no such model", **common) is None
    assert book.bound("anything", **{**common, "provider": "ollama"}) == 0


def test_limits_come_from_the_table() -> None:
    limits = PriceBook().limits("gpt-4o", "openai")
    assert limits is not None
    assert (limits.context, limits.output) == (128_000, 16_384)
    assert PriceBook().limits("no such model", "openai") is None


def test_a_variety_without_a_rate_of_its_own_is_charged_like_its_family() -> None:
    usage = Usage(units={"image.hd.1024x1024": 2, "image.standard.1024x1024": 1})
    cost = price("grok-imagine-image", usage, provider="xai")
    (family,) = price("grok-imagine-image", Usage(units={"image": 3}), provider="xai").items
    assert [(item.line, item.via) for item in cost.items] == [
        ("image.hd.1024x1024", "image"),
        ("image.standard.1024x1024", "image"),
    ]
    assert (cost.total, cost.status) == (3 * family.rate, "priced")
    most = PriceBook().bound("grok-imagine-image", input_tokens=0, output_tokens=0, provider="xai", units=usage.units)
    assert most == cost.total
    dalle = price("dall-e-3", Usage(units={"image.ultra.1x1": 1}), provider="openai")
    assert (dalle.total, dalle.reason) == (None, "no rate for image.ultra.1x1")


@pytest.mark.parametrize("tier", [None, "flex", "priority"])
def test_a_guardrail_is_billed_with_the_call_of_any_model(tier: str | None) -> None:
    units = {"guardrail.topicPolicyUnits": Decimal(2), "guardrail.contentPolicyUnits": Decimal(1)}
    guarded = cost_of("amazon.nova-lite-v1:0", provider="bedrock", tier=tier, input_tokens=1000, units=units)
    bare = cost_of("amazon.nova-lite-v1:0", provider="bedrock", tier=tier, input_tokens=1000)
    assert (guarded.status, bare.status) == ("priced", "priced")
    assert guarded.total == bare.total + Decimal("0.00045")  # type: ignore[operator]


def test_a_guardrail_has_no_price_where_the_model_had_none_yet() -> None:
    before = datetime(2023, 1, 1, tzinfo=UTC)
    cost = price("amazon.nova-lite-v1:0", Usage(input_tokens=1), provider="bedrock", at=before)
    guarded = Usage(input_tokens=1, units={"guardrail.topicPolicyUnits": Decimal(2)})
    assert price("amazon.nova-lite-v1:0", guarded, provider="bedrock", at=before) == cost
