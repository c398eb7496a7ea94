"""A difference in cost taken apart by cause."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.causes import Part, Side, parts
from callmeter.pricing.quantities import disjoint
from tests.pricing.usages import usages

RATES = {"input": 2, "output": 8, "cache_read": 1, "cache_write_5m": 3, "cache_write_1h": 4, "search.web": 1000}
LINES = {**RATES, "reasoning": 8, "audio_in": 5, "audio_out": 9, "cache_read_audio": 2, "image_in": 6, "image_out": 11}
ALL = {**LINES, "video_in": 7, "code_session": 30, "audio_second": 6, "character": 1, "nonsense": 13}


def side(usage: Usage, rates: Mapping[str, int] = RATES, **more: str) -> Side:
    """A call at a model that charges so many USD for each unit of a line."""

    def price(used: Usage) -> Decimal | None:
        lines = disjoint(used)
        if any(line not in rates for line, _ in lines):
            return None
        return sum((Decimal(quantity) * rates[line] for line, quantity in lines), Decimal(0))

    cost = price(usage)
    assert cost is not None
    return Side(**{"model": "m", **more}, usage=usage, cost=cost, price=price)


def found(old: Side, new: Side) -> dict[tuple[str, ...], int]:
    return {part.causes: int(part.usd) for part in parts(old, new)}


USED = Usage(input_tokens=100, cache_read_tokens=60, output_tokens=10)


def test_the_same_call_at_the_same_price_has_no_parts() -> None:
    assert parts(side(USED), side(USED)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"input_tokens": 150}, {("prompt",): 50 * 2}),
        ({"input_tokens": 80}, {("prompt",): -20 * 2}),
        ({"cache_read_tokens": 0}, {("cache",): 60 * (2 - 1)}),
        ({"cache_read_tokens": 90}, {("cache",): -30 * (2 - 1)}),
        ({"cache_write_tokens": 40}, {("cache",): 40 * (3 - 2)}),
        ({"output_tokens": 25}, {("answer",): 15 * 8}),
        ({"units": {"search.web": 2}}, {("fees",): 2 * 1000}),
        ({"input_tokens": 200, "cache_read_tokens": 0}, {("prompt",): 100 * 2, ("cache",): 60}),
        # Half of what was cached has no room any more: the rest of the prompt stays cached as it was.
        ({"input_tokens": 30, "cache_read_tokens": 30}, {("prompt",): -40 * 2 - 30 * 1}),
        (
            {"input_tokens": 150, "cache_read_tokens": 100, "output_tokens": 5, "units": {"search.web": 1}},
            {("answer",): -40, ("prompt",): 100, ("cache",): -40, ("fees",): 1000},
        ),
    ],
)
def test_each_cause_has_its_part(changes: dict[str, object], expected: dict[tuple[str, ...], int]) -> None:
    assert found(side(USED), side(replace(USED, **changes))) == expected


def test_another_price_of_the_same_model_is_told_from_another_use() -> None:
    dearer = {**RATES, "input": 4}
    old = replace(side(USED), price=side(USED, dearer).price)
    assert found(old, side(replace(USED, input_tokens=110), dearer)) == {("price",): 40 * 2, ("prompt",): 10 * 4}


def test_another_model_is_priced_with_the_old_use_first() -> None:
    cheap = {"input": 1, "output": 2, "cache_read": 1}
    new = side(replace(USED, output_tokens=20), cheap, model="n")
    assert found(side(USED), new) == {("model",): -40 - 60, ("answer",): 10 * 2}


def test_another_service_tier_is_told_from_another_model() -> None:
    twice = {line: rate * 2 for line, rate in RATES.items()}
    assert found(side(USED), side(USED, twice, tier="priority")) == {("tier",): int(side(USED).cost)}


def test_a_step_that_cannot_be_priced_is_joined_to_the_next() -> None:
    uncached = {"input": 1, "output": 2}
    new = side(Usage(input_tokens=100, output_tokens=10), uncached, model="n")
    assert found(side(USED), new) == {("model", "cache"): 120 - side(USED).cost}


def test_a_model_that_is_no_longer_sold_leaves_price_and_model_together() -> None:
    gone = replace(side(USED), price=lambda _: None)
    assert found(gone, side(USED, {"input": 1, "output": 2, "cache_read": 1}, model="n")) == {("price", "model"): -100}


def test_what_nothing_explains_is_put_down_to_the_price() -> None:
    same = replace(side(USED), price=lambda _: None)
    assert parts(same, replace(same, cost=same.cost + 3)) == [Part(("price",), Decimal(3))]


@given(usages(), usages(), st.sampled_from(["m", "n"]), st.sampled_from(["", "batch"]))
def test_the_parts_add_up_to_the_difference(old: Usage, new: Usage, model: str, tier: str) -> None:
    before, now = side(old, ALL), side(new, {line: rate + 1 for line, rate in ALL.items()}, model=model, tier=tier)
    apart = parts(before, now)
    assert sum((part.usd for part in apart), before.cost) == now.cost
    # Everything has a rate here, so that nothing need be joined; which says that each use on the way was one.
    assert all(len(part.causes) == 1 and part.usd for part in apart)


@given(usages(), usages())
def test_the_parts_add_up_with_a_real_table_too(old: Usage, new: Usage) -> None:
    """Where some lines have no rate, and others another one in long contexts."""
    book = PriceBook()
    sides = []
    for model, provider, usage in (("gpt-4o", "openai", old), ("gemini-2.5-pro", "gemini", new)):

        def price(used: Usage, model: str = model, provider: str = provider) -> Decimal | None:
            cost = book.price(model, used, provider=provider)
            return cost.total if cost.status == "priced" else None

        sides.append(Side(model=model, usage=usage, cost=price(usage) or Decimal(1), price=price))
    apart = parts(*sides)
    assert sum((part.usd for part in apart), sides[0].cost) == sides[1].cost
