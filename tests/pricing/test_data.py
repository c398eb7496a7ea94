"""The shipped prices: what every table has to be like, and known figures of retired and current models."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from callmeter.client.providers import PROVIDERS as CLIENT_ROWS
from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.build.offers import SOURCES
from callmeter.pricing.compile import HERE
from callmeter.pricing.plan import build
from callmeter.pricing.sources import packaged
from callmeter.pricing.table import Model, load_index, load_table

BOOK = PriceBook()
PROVIDERS = sorted(set(load_index().providers.values()))
FREE_LINES = {"coralbricks": ("cache_read",), "tensormesh": ("cache_read",)}
"""Nobody's zero is a price but where `build/overrides.toml` says so."""


def sheets(provider: str) -> Iterator[tuple[Model, Mapping[str, int]]]:
    """Every sheet of prices a provider's models can have, in femtos by line."""
    for model in load_table(provider).models:
        for tier in {rate.tier for rate in model.rates} | {"standard"}:
            for region in {rate.region for rate in model.rates} | {""}:
                plan = build(model, tier, region)
                for found in [*plan.sheets, *(sheet for week in plan.weeks.values() for sheet in week.sheets)]:
                    yield from ((model, {line: charge.femtos for line, charge in s.charges.items()}) for s in found)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rates_of_a_provider_are_plausible(provider: str) -> None:
    for model, rates in sheets(provider):
        assert all(rate > 0 for line, rate in rates.items() if line not in FREE_LINES.get(provider, ())), model.id
        if "input" in rates:
            assert rates["cache_read"] <= rates["input"], model.id
            assert rates["cache_write_5m"] <= rates["cache_write_1h"], model.id
        if model.mode == "embedding":
            assert "output" not in rates, model.id


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_writing_to_a_cache_costs_at_least_what_reading_and_input_do(provider: str) -> None:
    for model, rates in sheets(provider):
        if "input" in rates:
            assert rates["input"] <= rates["cache_write_1h"], model.id
            assert rates["cache_read"] <= rates["cache_write_5m"], model.id


def test_the_tables_cover_what_they_promise() -> None:
    index = load_index()
    assert len(set(index.providers.values())) >= 45
    assert sum(len(load_table(provider).models) for provider in PROVIDERS) >= 5_000
    modes = {model.mode for provider in PROVIDERS for model in load_table(provider).models}
    assert modes >= {
        "chat", "embedding", "image_generation", "audio_transcription", "audio_speech", "video_generation", "rerank",
        "ocr", "moderation", "search", "realtime", "responses",
    }  # fmt: skip


def test_every_rate_names_a_source_that_says_where_and_when() -> None:
    for provider in PROVIDERS:
        table, sources = load_table(provider), packaged(provider)
        for model in table.models:
            for rate in model.rates:
                source = sources[rate.source]
                assert source.note or (source.url and source.checked), (provider, model.id, rate)


@pytest.mark.parametrize(
    ("provider", "model", "day", "per_million"),
    [
        ("anthropic", "claude-3-sonnet-20240229", "2024-06-01", ("3", "15")),
        ("anthropic", "claude-instant-1", "2023-05-01", ("1.63", "5.51")),
        ("anthropic", "claude-instant-1", "2024-05-01", ("0.8", "2.4")),
        ("anthropic", "claude-2", "2023-08-01", ("11.02", "32.68")),
        ("anthropic", "claude-3-5-haiku-20241022", "2024-11-10", ("1", "5")),
        ("anthropic", "claude-3-5-haiku-20241022", "2025-01-01", ("0.8", "4")),
        ("anthropic", "claude-opus-4-5", "2026-11-01", ("5", "25")),
        ("openai", "gpt-3.5-turbo", "2023-04-01", ("2", "2")),
        ("openai", "gpt-3.5-turbo", "2023-12-01", ("1.5", "2")),
        ("openai", "gpt-3.5-turbo", "2026-11-01", ("0.5", "1.5")),
        ("openai", "gpt-4", "2023-04-01", ("30", "60")),
        ("openai", "gpt-4-32k", "2023-04-01", ("60", "120")),
        ("openai", "text-davinci-003", "2023-04-01", ("20", "20")),
        ("openai", "gpt-4o", "2024-06-01", ("5", "15")),
        ("openai", "gpt-4o", "2026-11-01", ("2.5", "10")),
        ("openai", "o1-mini", "2024-10-01", ("3", "12")),
        ("openai", "gpt-5.6-luna", "2026-07-20", ("1", "6")),
        ("openai", "gpt-5.6-luna", "2026-11-01", ("0.2", "1.2")),
    ],
)
def test_a_model_has_the_price_of_its_day(provider, model, day, per_million) -> None:
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    usage = Usage(input_tokens=100_000, output_tokens=100_000)
    cost = BOOK.price(model, usage, provider=provider, at=at)
    assert [item.amount * 10 for item in cost.items] == [Decimal(price) for price in per_million]


def test_anthropics_long_context_price_ended_with_its_beta() -> None:
    usage = Usage(input_tokens=200_001, output_tokens=1)
    long, flat = (
        BOOK.price("claude-sonnet-4-5", usage, provider="anthropic", at=datetime(2026, month, 1, tzinfo=UTC)).items[0]
        for month in (4, 6)
    )
    assert (long.rate, flat.rate) == (Decimal("0.000006"), Decimal("0.000003"))


@pytest.mark.parametrize(
    ("model", "per_search"),
    [
        ("gpt-4o", "0.01"),
        ("o3-deep-research", "0.01"),
        ("o4-mini-deep-research", "0.01"),
        ("gpt-4o-search-preview", "0.025"),
        ("gpt-4o-mini-search-preview", "0.025"),
        ("gpt-rosalind-research", None),
    ],
)
def test_only_the_search_preview_models_pay_the_preview_tools_fee(model: str, per_search: str | None) -> None:
    cost = BOOK.price(model, Usage(units={"search.web": 1}), provider="openai", at=datetime(2026, 11, 1, tzinfo=UTC))
    assert cost.total == (None if per_search is None else Decimal(per_search))


@pytest.mark.parametrize(
    ("model", "line", "source"),
    [
        ("gpt-4o-audio-preview", "input", "genai-prices"),
        ("gpt-4o-audio-preview", "audio_in", "litellm"),
        ("gpt-image-1", "image_out", "litellm"),
    ],
)
def test_a_line_names_the_source_that_states_it(model: str, line: str, source: str) -> None:
    usage = Usage(input_tokens=2, input_audio_tokens=1, output_tokens=1, output_image_tokens=1)
    cost = BOOK.price(model, usage, provider="openai", at=datetime(2026, 11, 1, tzinfo=UTC))
    assert {item.line: item.source for item in cost.items}[line] == source


def test_the_notices_are_beside_the_tables_as_they_are_in_the_wheel() -> None:
    notices = (HERE / "data" / "THIRD_PARTY_NOTICES").read_text()
    assert (HERE.parent.parent / "THIRD_PARTY_NOTICES").read_text().startswith(notices)
    collections = {source.split("://")[1].split("/")[0] for source in SOURCES.values()}
    assert collections == {"github.com", "models.dev"}
    assert all(name in notices for name in ("genai-prices", "LiteLLM", "models.dev", "Permission is hereby granted"))


def test_a_provider_has_the_names_here_that_calls_give_it() -> None:
    known = load_index().providers
    for row in CLIENT_ROWS:
        if row.name in known:
            assert {known.get(name) for name in (row.name, *row.aliases)} == {row.name}
