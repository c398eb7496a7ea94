"""models.dev's catalogue: costs, limits, features, days."""

from datetime import date
from decimal import Decimal

from callmeter.pricing.build.models_dev import read
from callmeter.pricing.build.offers import Offer, Slot
from tests.pricing.build.collections_of_prices import models_dev


def one(tmp_path, entry, provider: str = "groq") -> Offer:
    (tmp_path / "c.json").write_text(models_dev((provider, "m", entry)))
    (offer,) = read(tmp_path / "c.json")
    return offer


def test_costs_are_by_the_million_and_longer_contexts_above_their_size(tmp_path) -> None:
    tiers = [{"tier": {"size": 200000}, "input": "2.5"}]
    offer = one(tmp_path, {"cost": {"input": "1.25", "output": 10, "input_audio": "1", "tiers": tiers}})
    assert offer.rates == {
        Slot("input"): Decimal("0.00000125"),
        Slot("output"): Decimal("0.00001"),
        Slot("audio_in"): Decimal("0.000001"),
        Slot("input", floor=200_001): Decimal("0.0000025"),
    }


def test_the_provider_has_our_name_and_its_own_rule_for_thresholds(tmp_path) -> None:
    tiers = [{"tier": {"size": 200000}, "input": "2"}]
    offer = one(tmp_path, {"cost": {"input": "1", "tiers": tiers}}, provider="xai")
    assert Slot("input", floor=200_000) in offer.rates
    assert one(tmp_path, {"cost": {"input": "1"}}, provider="amazon-bedrock").provider == "bedrock"


def test_a_fast_mode_is_a_tier(tmp_path) -> None:
    def fast(body):
        return {"modes": {"fast": {"cost": {"input": "2"}, "provider": {"body": body}}}}

    for body, tier in (({"service_tier": "priority"}, "priority"), ({"speed": "fast"}, "fast")):
        offer = one(tmp_path, {"cost": {"input": "1"}, "experimental": fast(body)})
        assert offer.rates[Slot("input", tier=tier)] == Decimal("0.000002")


def test_limits_features_and_the_day_of_release(tmp_path) -> None:
    offer = one(
        tmp_path,
        {
            "cost": {"input": "1", "cache_read": "0.1"},
            "limit": {"context": 200_000, "output": 0},
            "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
            "reasoning": True,
            "tool_call": False,
            "release_date": "2025-06",
        },
    )
    assert offer.limits == {"context": 200_000}
    assert offer.features == {"vision", "pdf_input", "reasoning", "prompt_caching"}
    assert (offer.released, offer.takes) == (date(2025, 6, 1), {"image"})


def test_a_day_that_is_none_is_not_known(tmp_path) -> None:
    assert one(tmp_path, {"cost": {"input": "1"}, "release_date": "soon"}).released is None
