"""What holds for every usage there can be."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.rates import INPUT_LINES, OUTPUT_LINES
from callmeter.pricing.table import load_index, load_table
from callmeter.types import CostItem
from tests.pricing.usages import usages

BOOK = PriceBook()
AT = datetime(2026, 11, 1, tzinfo=UTC)
MODELS = sorted((slug, model.id) for slug in set(load_index().providers.values()) for model in load_table(slug).models)
models = st.sampled_from(MODELS)
tiers = st.sampled_from([None, "batch", "flex", "priority", "fast", "auto"])
regions = st.sampled_from([None, "us", "eu"])


def is_free(provider: str, name: str) -> bool:
    entry = BOOK.model(name, provider)
    return entry is not None and entry.free


def missing_from(reason: str) -> set[str]:
    return set(reason.removeprefix("no rate for ").split(", ")) if reason else set()


@given(models, usages(), tiers, regions)
def test_items_sum_to_the_total_and_tokens_to_their_totals(model, usage, tier, region) -> None:
    cost = BOOK.price(model[1], usage, provider=model[0], at=AT, service_tier=tier, region=region)
    missing = missing_from(cost.reason)
    if cost.total is None:
        assert (cost.items, cost.status) == ((), "unpriced")
        return
    assert sum((item.amount for item in cost.items), Decimal(0)) == cost.total >= 0
    quantities = {item.line: item.quantity for item in cost.items}
    for total, lines in ((usage.input_tokens, INPUT_LINES), (usage.output_tokens, OUTPUT_LINES)):
        if missing.isdisjoint(lines):
            assert sum(quantities.get(line, 0) for line in lines) == total
    assert cost.status == ("partial" if missing else "free" if is_free(*model) else "priced")


def product(item: CostItem) -> Decimal:
    return item.rate * item.quantity


@given(models, usages())
def test_an_amount_is_its_quantity_times_its_rate_in_whole_femtos(model, usage) -> None:
    for item in BOOK.price(model[1], usage, provider=model[0], at=AT).items:
        assert abs(item.amount - product(item)) <= Decimal("5e-16")
        assert item.amount * 10**15 == int(item.amount * 10**15)
        if isinstance(item.quantity, int):
            assert item.amount == product(item)


DISJOINT: Mapping[str, tuple[str, ...]] = {
    "input": ("input_tokens",),
    "cache_read": ("input_tokens", "cache_read_tokens"),
    "cache_write_5m": ("input_tokens", "cache_write_tokens"),
    "cache_write_1h": ("input_tokens", "cache_write_1h_tokens"),
    "audio_in": ("input_tokens", "input_audio_tokens"),
    "output": ("output_tokens",),
    "reasoning": ("output_tokens", "reasoning_tokens"),
    "audio_out": ("output_tokens", "output_audio_tokens"),
}


def becomes_long(model: tuple[str, str], before: Usage, after: Usage) -> bool:
    """Whether a request reaches a longer context's prices."""
    entry = BOOK.model(model[1], model[0])
    return entry is not None and any(before.input_tokens < rate.floor <= after.input_tokens for rate in entry.rates)


@given(models, usages(), st.sampled_from(sorted(DISJOINT)), st.integers(1, 1000), tiers)
def test_more_of_any_line_never_costs_less(model, usage, line, more, tier) -> None:
    grown = replace(usage, **{name: (getattr(usage, name) or 0) + more for name in DISJOINT[line]})
    # Long contexts are not sold as priority: they are served, and charged, as standard.
    assume(tier != "priority" or not becomes_long(model, usage, grown))
    before, after = (BOOK.price(model[1], used, provider=model[0], at=AT, service_tier=tier) for used in (usage, grown))
    # Nothing at all costs 0; the first unit of a line without a rate makes that unknown.
    if before.total is not None and (before.items or after.total is not None):
        assert after.total is not None
        assert after.total >= before.total


@given(models, usages(), tiers)
def test_no_usage_within_the_bound_costs_more_than_it(model, usage, tier) -> None:
    common = {"provider": model[0], "at": AT, "service_tier": tier}
    units = {line: quantity for line, quantity in usage.units.items() if line != "nonsense"}
    bound = BOOK.bound(
        model[1], input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, units=units, **common
    )
    total = BOOK.price(model[1], usage, **common).total
    assert bound is None or total is None or total <= bound


@given(
    models,
    usages(),
    st.integers(0, 10**9),
    st.sampled_from(["2024-01-01", "2025-06-10", "2026-03-13", "2026-08-21", "2026-11-01"]),
)
def test_the_cost_depends_on_the_rates_in_force_and_on_nothing_else_of_the_instant(
    model, usage, nanoseconds, day
) -> None:
    at = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9
    first, later = (BOOK.price(model[1], usage, provider=model[0], at=when) for when in (at, at + nanoseconds))
    assert first == later or first.reason.startswith("no price of")


def dashed(name: str) -> str:
    """`4.5` as `4-5`; a dot between words, as in `ai21.j2-mid-v1`, is part of the name."""
    return re.sub(r"(?<=\d)\.(?=\d)", "-", name)


@given(
    models,
    st.sampled_from([str.upper, str.title, lambda n: f"  {n} ", dashed]),
    st.booleans(),
    usages(),
)
def test_every_spelling_of_a_name_has_one_cost(model, spell, prefixed, usage) -> None:
    name = spell(f"{model[0]}/{model[1]}" if prefixed else model[1])
    assert BOOK.price(name, usage, provider=model[0], at=AT) == BOOK.price(model[1], usage, provider=model[0], at=AT)


garbage = st.one_of(
    st.integers(max_value=-1),
    st.integers(min_value=2**53 + 1),
    st.booleans(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers(), max_size=2),
    st.just(object()),
    st.decimals(),
)
COUNTS = sorted(set(Usage.__struct_fields__) - {"units"})


@given(models, usages(), st.dictionaries(st.sampled_from(COUNTS), garbage, min_size=1))
def test_a_count_that_cannot_be_rejects_the_usage_and_never_raises(model, usage, wrong) -> None:
    cost = BOOK.price(model[1], replace(usage, **wrong), provider=model[0], at=AT)
    assert (cost.total, cost.status, cost.items) == (None, "invalid_usage", ())
    assert any(name in cost.reason for name in wrong)
    assert len(cost.reason) < 300


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    "wrong", [-1, 2**53 + 1, 2**63, pytest.param(10**5000, id="huge"), 1.0, float("nan"), True, "1", Decimal(1)]
)
def test_each_count_has_to_be_a_whole_number_within_bounds(name: str, wrong: Any) -> None:
    # Totals are as large as they may be, so that only the count itself is at fault.
    usage = replace(Usage(input_tokens=2**53, output_tokens=2**53), **{name: wrong})
    cost = BOOK.price("gpt-4o", usage, provider="openai", at=AT)
    assert cost.status == "invalid_usage"
    assert name in cost.reason


@given(
    st.one_of(
        st.dictionaries(st.text(), st.one_of(garbage.filter(lambda v: not isinstance(v, Decimal))), min_size=1),
        st.dictionaries(st.integers(), st.integers(0, 5), min_size=1),
        st.sampled_from(
            ["text", "", [], 0, None, [1], object(), {"search.web": Decimal("NaN")}, {"search.web": Decimal("-1")}]
        ),
        st.sampled_from([{"search.web": Decimal("Infinity")}, {"audio_second": Decimal("1e-19")}]),
    )
)
def test_units_that_cannot_be_reject_the_usage(units) -> None:
    cost = BOOK.price("gpt-4o", Usage(input_tokens=1, units=units), provider="openai", at=AT)
    assert (cost.total, cost.status) == (None, "invalid_usage")


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": 10, "cache_read_tokens": 11},
        {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 6},
        {"output_tokens": 10, "reasoning_tokens": 11},
        {"input_tokens": 9, "cache_read_audio_tokens": 3, "input_audio_tokens": 5},
        {"input_tokens": 9, "cache_read_audio_tokens": 3, "cache_read_tokens": 5},
        {"input_tokens": 9, "input_image_tokens": 5, "input_video_tokens": 5},
    ],
)
def test_parts_that_exceed_their_total_reject_the_usage(counts) -> None:
    cost = BOOK.price("gpt-4o", Usage(**counts), provider="openai", at=AT)
    assert (cost.total, cost.status) == (None, "invalid_usage")
    assert "exceed" in cost.reason or "more than" in cost.reason


@pytest.mark.parametrize("usage", [{"input_tokens": 1}, 3, "usage", []])
def test_what_is_no_usage_object_is_rejected(usage) -> None:
    assert BOOK.price("gpt-4o", usage, provider="openai", at=AT).status == "invalid_usage"
