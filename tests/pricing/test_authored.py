"""Prices as people write them: what is taken, what is refused and with which words."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from callmeter.errors import ConfigError
from callmeter.pricing import PriceBook, Usage

AT = datetime(2026, 11, 1, tzinfo=UTC)
USAGE = Usage(input_tokens=1000, output_tokens=100)


def entry(*rates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "mine", "rates": list(rates), **more}


def refusal(*rates: dict[str, Any], **more: Any) -> str:
    book = PriceBook()
    with pytest.raises(ConfigError) as caught:
        book.register(entry(*rates, **more))
    assert book.price("mine", USAGE, at=AT).status == "unpriced"
    return str(caught.value)


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "1e308", "x", "", None, 1.5, True, [], "sNaN", "-0"])
def test_a_price_that_is_none_is_refused_by_name_and_value(price) -> None:
    message = refusal({"per": "1M", "input": price, "output": "1"})
    assert message.startswith("mine: input")
    assert repr(price) in message


@pytest.mark.parametrize("price", ["0.0000000001", "1e-400", "9.9e-10"])
def test_a_price_below_a_femto_is_refused(price) -> None:
    assert "finer than 1e-15 USD" in refusal({"per": "1M", "input": price})


def test_two_equally_specific_rates_at_once_are_refused() -> None:
    message = refusal(
        {"from": date(2025, 1, 1), "input": "1"},
        {"from": date(2026, 1, 1), "input": "2"},
    )
    assert "two equally specific rates for input are in force from 2026-01-01" in message
    assert "two equally specific" in refusal(
        {"input": "1"}, {"when": {"tier": "batch"}, "input": "2"}, {"when": {"region": "eu"}, "input": "3"}
    )


def test_intervals_that_meet_do_not_overlap() -> None:
    book = PriceBook([entry({"until": date(2026, 1, 1), "input": "1"}, {"from": date(2026, 1, 1), "input": "2"})])
    assert book.price("mine", Usage(input_tokens=1), at=AT).total == 2


def test_the_more_specific_rate_wins_line_by_line() -> None:
    book = PriceBook([entry({"input": "2", "output": "4"}, {"when": {"tier": "batch"}, "input": "1"})])
    batch = book.price("mine", Usage(input_tokens=1, output_tokens=1), at=AT, service_tier="batch")
    assert [(item.line, item.amount, item.tier) for item in batch.items] == [("input", 1, "batch"), ("output", 4, "")]


def test_an_inclusive_threshold_includes_it() -> None:
    book = PriceBook([entry({"input": "1", "over": [{"gte": 10, "input": "2"}]})])
    assert [book.price("mine", Usage(input_tokens=n), at=AT).total for n in (9, 10)] == [9, 20]


def test_the_highest_threshold_reached_decides() -> None:
    over = [{"gt": 10, "input": "2"}, {"gt": 20, "input": "3"}]
    book = PriceBook([entry({"input": "1", "over": over})])
    assert [book.price("mine", Usage(input_tokens=n), at=AT).total for n in (10, 20, 21)] == [10, 40, 63]


def test_a_superseded_rate_stays_for_the_record_and_charges_nothing() -> None:
    book = PriceBook([entry({"input": "9", "superseded_by": "a slip of the pen"}, {"input": "1"})])
    assert book.price("mine", Usage(input_tokens=1), at=AT).total == 1


def test_a_longer_context_of_any_tier_does_not_displace_a_tiers_own_rate() -> None:
    over = [{"gt": 10, "input": "3"}]
    book = PriceBook([entry({"input": "2", "over": over}, {"when": {"tier": "batch"}, "input": "1"})])
    batch, plain = (
        book.price("mine", Usage(input_tokens=11), at=AT, service_tier=tier).total for tier in ("batch", None)
    )
    assert (batch, plain) == (11, 33)


def test_factors_combine_across_conditions() -> None:
    rates = (
        {"input": "1", "output": "2"},
        {"when": {"tier": "batch"}, "times": "0.5"},
        {"when": {"region": "us"}, "times": "1.1"},
    )
    book = PriceBook([entry(*rates)])
    cost = book.price("mine", Usage(input_tokens=1), at=AT, service_tier="batch", region="US")
    assert cost.total == Decimal("0.55")


@pytest.mark.parametrize(
    ("rates", "more", "words"),
    [
        ([{"inptu": "1"}], {}, "'inptu' is no line"),
        ([{"input": "1"}], {"pirce": 1}, "'pirce' is no key"),
        ([{"input": "1", "when": {"teir": "batch"}}], {}, "'teir' is no key"),
        ([{"input": "1", "over": [{"gt": 10, "gte": 10, "input": "2"}]}], {}, "needs one of gt and gte"),
        ([{"input": "1", "output": "1", "over": [{"gt": 10, "input": "2"}]}], {}, "leaves out output"),
        ([{"input": "1", "from": "2026-01-01"}], {}, "is no instant"),
        ([{"input": "1", "from": datetime(2026, 1, 1)}], {}, "is no instant"),  # noqa: DTZ001
        ([{"input": "1", "from": date(2026, 1, 2), "until": date(2026, 1, 1)}], {}, "is not after"),
        ([{"per": "1min", "input": "1"}], {}, "not counted in seconds"),
        ([{"per": "2", "input": "1"}], {}, "is no unit of price"),
        ([{"per": "1M"}], {}, "has no line"),
        ([], {}, "it has no rates"),
        ([{"input": "1"}], {"limits": {"context": 0}}, "whole numbers of tokens"),
        ([{"when": {"tier": "batch"}, "times": "0.5"}], {}, "finds no rate to multiply"),
        ([{"input": "1"}], {"as_text": ["images"]}, "not a line of tokens"),
    ],
)
def test_a_mistake_is_named(rates, more, words) -> None:
    assert words in refusal(*rates, **more)


def test_a_price_of_ones_own_outranks_the_table_and_says_so() -> None:
    book = PriceBook()
    before = book.price("gpt-4o", USAGE, provider="openai", at=AT)
    book.register({"id": "gpt-4o", "rates": [{"per": "1M", "input": "1", "output": "2"}]}, provider="openai")
    after = book.price("gpt-4o", USAGE, provider="openai", at=AT)
    assert (before.total, after.total) == (Decimal("0.0035"), Decimal("0.0012"))
    assert {item.source for item in after.items} == {"user"}
    assert after.table == "user"
    assert PriceBook().price("gpt-4o", USAGE, provider="openai", at=AT) == before


def test_without_a_provider_a_registered_price_holds_wherever_the_name_is_served() -> None:
    book = PriceBook([entry({"input": "1", "output": "1"}, aliases=["House-Model"])])
    for name, provider in (("mine", None), ("MINE", "vllm"), ("house-model", "openai")):
        assert book.price(name, USAGE, provider=provider, at=AT).total == 1100


def test_a_refused_entry_leaves_all_of_them_out() -> None:
    book = PriceBook()
    with pytest.raises(ConfigError):
        book.register_all([({"id": "good", "rates": [{"input": "1"}]}, None), ({"id": "bad"}, None)])
    assert book.price("good", USAGE, at=AT).status == "unpriced"


def test_features_are_a_list_of_names() -> None:
    book = PriceBook([entry({"input": "1", "confidence": "single"}, features=["vision", "reasoning", "vision"])])
    known = book.model("mine")
    assert known is not None
    assert known.features == ("reasoning", "vision")
    assert "features is 'vision'" in refusal({"input": "1"}, features="vision")
