"""LiteLLM's price map: what its keys and fields mean in our lines and units."""

from decimal import Decimal

import pytest

from callmeter.pricing.build.litellm import placed, read
from callmeter.pricing.build.offers import Offer, Slot
from tests.pricing.build.collections_of_prices import litellm


def offers(tmp_path, **entries) -> dict[tuple[str, str], Offer]:
    path = tmp_path / "map.json"
    path.write_text(litellm(**entries))
    return {(offer.provider, offer.model): offer for offer in read(path)}


def rates(tmp_path, **fields) -> dict[Slot, Decimal]:
    entry = {"litellm_provider": "groq", "mode": "chat", **fields}
    return dict(offers(tmp_path, groq__m=entry)["groq", "m"].rates)


@pytest.mark.parametrize(
    ("field", "slot"),
    [
        ("input_cost_per_token", Slot("input")),
        ("cache_read_input_token_cost", Slot("cache_read")),
        ("cache_creation_input_token_cost", Slot("cache_write_5m")),
        ("cache_creation_input_token_cost_above_1hr", Slot("cache_write_1h")),
        ("cache_creation_input_token_cost_above_1hr_above_200k_tokens", Slot("cache_write_1h", floor=200_001)),
        ("input_cost_per_token_batches", Slot("input", tier="batch")),
        ("output_cost_per_token_above_272k_tokens_priority", Slot("output", tier="priority", floor=272_001)),
        ("output_cost_per_image_token", Slot("image_out")),
        ("input_cost_per_audio_token_flex", Slot("audio_in", tier="flex")),
        ("ocr_cost_per_page_batches", Slot("page", tier="batch")),
        ("output_cost_per_second_720p", Slot("video_second.720p")),
        ("output_cost_per_image_4K", Slot("image.4K")),
        ("google_maps_grounding_cost_per_query", Slot("search.maps")),
        ("code_interpreter_cost_per_session", Slot("code_session")),
    ],
)
def test_a_field_names_line_tier_and_length(tmp_path, field: str, slot: Slot) -> None:
    assert rates(tmp_path, **{field: 0.25})[slot] == Decimal("0.25")


def test_a_price_is_the_decimal_that_was_written(tmp_path) -> None:
    (tmp_path / "map.json").write_text(
        '{"groq/m": {"litellm_provider": "groq", "input_cost_per_token": 1.1e-7, "output_cost_per_token": 3e-07}}'
    )
    (offer,) = read(tmp_path / "map.json")
    assert offer.rates == {Slot("input"): Decimal("1.1e-7"), Slot("output"): Decimal("3e-7")}


def test_a_threshold_of_xai_is_within_the_longer_context(tmp_path) -> None:
    entry = {"litellm_provider": "xai", "input_cost_per_token": 1, "input_cost_per_token_above_200k_tokens": 2}
    assert Slot("input", floor=200_000) in offers(tmp_path, xai__grok=entry)["xai", "grok"].rates


def test_seconds_are_of_audio_or_video_by_the_mode(tmp_path) -> None:
    audio = rates(tmp_path, mode="audio_transcription", input_cost_per_second=0.5, output_cost_per_second=0.0)
    video = rates(tmp_path, mode="video_generation", output_cost_per_second=0.5)
    assert (audio, video) == ({Slot("audio_second"): Decimal("0.5")}, {Slot("video_second"): Decimal("0.5")})


def test_zeros_that_mean_does_not_apply_are_left_out(tmp_path) -> None:
    assert rates(tmp_path, mode="embedding", input_cost_per_token=0.1, output_cost_per_token=0.0) == {
        Slot("input"): Decimal("0.1")
    }
    assert rates(tmp_path, mode="rerank", input_cost_per_query=0.002, input_cost_per_token=0.0) == {
        Slot("rerank"): Decimal("0.002")
    }


def test_a_picture_put_in_is_not_one_that_comes_out(tmp_path) -> None:
    found = rates(tmp_path, mode="image_generation", output_cost_per_image=0.134, input_cost_per_image=0.0011)
    assert found == {Slot("image"): Decimal("0.134")}


def test_the_size_and_quality_of_an_image_are_in_the_key(tmp_path) -> None:
    found = offers(
        tmp_path,
        **{
            "azure/hd/1024-x-1792/painter": {
                "litellm_provider": "azure", "mode": "image_generation", "input_cost_per_pixel": 6.539e-8,
            },
            "azure/painter": {"litellm_provider": "azure", "mode": "image_generation", "input_cost_per_token": 1e-6},
        },
    )["azure", "painter"]  # fmt: skip
    assert found.rates == {Slot("image.hd.1024x1792"): Decimal("0.1200"), Slot("input"): Decimal("0.000001")}


def test_a_region_in_the_key_is_a_condition_and_a_name_of_its_own(tmp_path) -> None:
    entry = {"litellm_provider": "azure", "input_cost_per_token": 1.1e-6}
    found = offers(tmp_path, azure__eu__writer=entry, azure__writer={**entry, "input_cost_per_token": 1e-6})
    assert found["azure", "writer"].rates == {
        Slot("input", region="eu"): Decimal("0.0000011"),
        Slot("input"): Decimal("0.000001"),
    }
    assert found["azure", "eu/writer"].rates == {Slot("input"): Decimal("0.0000011")}


@pytest.mark.parametrize(
    ("key", "provider", "place"),
    [
        ("deepseek-flash", "deepseek", ("deepseek", "deepseek-flash", "", "")),
        ("bedrock/eu-west-2/meta.llama", "bedrock", ("bedrock", "meta.llama", "eu-west-2", "")),
        ("us.anthropic.claude", "bedrock_converse", ("bedrock", "us.anthropic.claude", "", "")),
        ("vertex_ai/claude@20250929", "vertex_ai-anthropic_models", ("vertex_ai", "claude@20250929", "", "")),
        (
            "fireworks_ai/accounts/fireworks/models/x",
            "fireworks_ai",
            ("fireworks_ai", "accounts/fireworks/models/x", "", ""),
        ),
    ],
)
def test_a_key_names_provider_model_and_region(key: str, provider: str, place: tuple[str, ...]) -> None:
    assert placed(key, {"litellm_provider": provider, "mode": "chat"}) == place


@pytest.mark.parametrize("key", ["bedrock/us-east-1/1-month-commitment/anthropic.claude", "together-ai-up-to-4b"])
def test_commitments_and_size_classes_are_no_models(key: str) -> None:
    assert placed(key, {"litellm_provider": "bedrock"}) is None


def test_ranges_of_length_are_longer_contexts(tmp_path) -> None:
    table = [
        {"range": [0, 256000.0], "input_cost_per_token": 5e-8},
        {"range": [256000.0, 1e6], "input_cost_per_token": 2.5e-7},
    ]
    found = rates(tmp_path, tiered_pricing=table)
    assert found == {Slot("input"): Decimal("5e-8"), Slot("input", floor=256_001): Decimal("2.5e-7")}


def test_the_fee_of_a_search_depends_on_the_size_of_its_context(tmp_path) -> None:
    sizes = {"search_context_size_low": 0.006, "search_context_size_medium": 0.01, "search_context_size_high": 0.014}
    found = rates(tmp_path, search_context_cost_per_query=sizes)
    assert found == {
        Slot("search.web"): Decimal("0.01"),
        Slot("search.web.low"): Decimal("0.006"),
        Slot("search.web.high"): Decimal("0.014"),
    }


def test_off_peak_hours_turn_into_peak_hours(tmp_path) -> None:
    windows = [
        {"hours_utc": ["00:00-01:00", "04:00-06:00", "10:00-00:00"], "weekdays": [1, 2, 3, 4, 5]},
        {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
    ]
    off_peak = {"input_cost_per_token": 1e-7, "windows": windows}
    found = rates(tmp_path, input_cost_per_token=2e-7, off_peak_pricing=off_peak)
    assert found == {
        Slot("input"): Decimal("1e-7"),
        Slot("input", window="12345 01:00-04:00 06:00-10:00"): Decimal("2e-7"),
    }


def test_an_uplift_is_a_price_of_the_region(tmp_path) -> None:
    found = rates(tmp_path, input_cost_per_token=1e-6, regional_endpoint_uplift_multiplier=1.1)
    assert found[Slot("input", region="regional")] == Decimal("1.1e-6")
