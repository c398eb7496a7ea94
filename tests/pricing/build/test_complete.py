"""Figures that follow from those the sources state."""

from decimal import Decimal

import pytest

from callmeter.pricing.build.complete import INFERRED, Figure, Habits, completed
from callmeter.pricing.build.offers import Slot

SLOTS = {
    "base": Slot("input"),
    "out": Slot("output"),
    "long": Slot("input", floor=200_001),
    "read": Slot("cache_read"),
    "write": Slot("cache_write_5m"),
    "hour": Slot("cache_write_1h"),
    "audio": Slot("audio_in"),
    "audio_read": Slot("cache_read_audio"),
    "seen": Slot("image_in"),
    "picture": Slot("image_out"),
    "batch": Slot("input", "batch"),
    "batch_out": Slot("output", "batch"),
    "batch_read": Slot("cache_read", "batch"),
    "batch_write": Slot("cache_write_5m", "batch"),
    "flex": Slot("input", "flex"),
    "priority": Slot("input", "priority"),
    "eu": Slot("input", region="eu"),
    "batch_eu": Slot("input", "batch", "eu"),
}


def figures(**prices: str) -> dict[Slot, Figure]:
    return {SLOTS[name]: Figure(Decimal(price), "somebody") for name, price in prices.items()}


def follows(habits: Habits = Habits(), **prices: str) -> dict[Slot, Decimal]:
    found = completed(figures(**prices), habits)
    return {slot: figure.price for slot, figure in found.items() if figure.source == INFERRED}


def test_long_contexts_tiers_and_regions_combine_in_proportion() -> None:
    assert follows(base="2", long="4", batch="1", eu="2.2") == {
        Slot("input", "batch", floor=200_001): 2,
        Slot("input", region="eu", floor=200_001): Decimal("4.4"),
        Slot("input", "batch", "eu"): Decimal("1.1"),
        Slot("input", "batch", "eu", floor=200_001): Decimal("2.2"),
    }


@pytest.mark.parametrize(("line", "price"), [("read", "0.2"), ("audio", "8"), ("seen", "2.2")])
def test_all_that_goes_in_grows_with_the_text_of_a_long_context(line: str, price: str) -> None:
    found = follows(base="2", long="4", **{line: price})
    assert found == {SLOTS[line]._replace(floor=200_001): 2 * Decimal(price)}


def test_a_long_context_costs_as_standard_in_a_tier_that_is_for_short_ones() -> None:
    long = Slot("input", "priority", floor=200_001)
    assert follows(Habits(short_only=("priority",)), base="2", long="4", priority="5") == {long: 4}
    assert follows(base="2", long="4", priority="5") == {long: 10}


@pytest.mark.parametrize(
    ("prices", "price"),
    [
        ({"base": "2", "out": "8"}, Decimal(1)),
        ({"base": "2", "out": "2"}, None),  # by the model's size
        ({"base": "2", "out": "8", "read": "0.3"}, None),  # stated
    ],
)
def test_cached_input_costs_the_part_of_input_that_the_provider_says(prices: dict[str, str], price: object) -> None:
    assert follows(Habits(cached_input=Decimal("0.5")), **prices).get(Slot("cache_read")) == price


@pytest.mark.parametrize(
    ("stated", "line", "price"),
    [
        ({"base": "2", "batch": "1", "audio": "8"}, "audio_in", "4"),
        ({"out": "10", "batch_out": "5", "picture": "30"}, "image_out", "15"),
        ({"base": "2", "read": "0.2", "batch": "1"}, "cache_read", "1"),
        ({"base": "2", "write": "2.5", "hour": "4", "batch": "1", "batch_write": "1.25"}, "cache_write_1h", "2"),
        ({"base": "2", "read": "0.2", "audio": "8", "audio_read": "0.8", "batch": "1", "batch_read": "0.2"},
         "cache_read_audio", "0.8"),
    ],
)  # fmt: skip
def test_a_batch_charges_kinds_of_token_in_proportion_and_gives_no_discount_for_a_cache_it_does_not_list(
    stated: dict[str, str], line: str, price: str
) -> None:
    assert follows(**stated)[Slot(line, "batch")] == Decimal(price)


def test_another_tier_charges_the_cache_in_proportion() -> None:
    assert follows(base="2", read="0.2", flex="1") == {Slot("cache_read", "flex"): Decimal("0.1")}


def test_a_tier_that_is_listed_for_a_region_is_the_same_part_of_the_price_elsewhere() -> None:
    assert follows(base="2", eu="2.2", batch_eu="1.1") == {Slot("input", "batch"): 1}


def test_a_batch_without_a_rate_for_the_cache_charges_it_as_the_input_of_its_own_region() -> None:
    stated = figures(base="1.1", read="0.55", eu="1.513", batch="0.55")
    stated[Slot("cache_read", region="eu")] = Figure(Decimal("0.757"), "somebody")
    assert completed(stated)[Slot("cache_read", "batch", "eu")].price == Decimal("0.7565")


def test_what_a_source_states_is_not_replaced_by_what_follows() -> None:
    assert SLOTS["batch_eu"] not in follows(base="2", batch="1", eu="2.2", batch_eu="1.3")
