"""What two tables say differently, and which of it somebody has to look at."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from callmeter.pricing.difference import Change, big, differences, percent, upcoming
from callmeter.pricing.document import hashed
from callmeter.pricing.rates import Rate
from tests.pricing.tables import changed, packaged, times, without

NOW = 1_795_000_000
"""In November 2026."""

NAME = "claude-sonnet-4-5"


def test_the_same_table_is_no_different() -> None:
    assert upcoming(packaged(), packaged(), NOW) == []
    assert big([], packaged()) == []


def test_a_changed_rate_says_by_how_much() -> None:
    found = differences(packaged(), changed(packaged(), "anthropic", NAME, times("output", 6, 5)), NOW)
    plain = next(change for change in found if not change.condition)
    assert (plain.provider, plain.model, plain.line, plain.kind) == ("anthropic", NAME, "output", "dearer")
    assert (plain.old, plain.new, plain.percent) == (15 * 10**9, 18 * 10**9, Decimal("20.0"))
    assert {change.line for change in found} == {"output"}
    back = differences(changed(packaged(), "anthropic", NAME, times("output", 6, 5)), packaged(), NOW)
    assert next(change for change in back if not change.condition).percent == Decimal("-16.7")


@pytest.mark.parametrize(("numerator", "denominator", "said"), [(2, 1, 0), (201, 100, 2), (1, 2, 0), (49, 100, 2)])
def test_a_price_that_more_than_doubles_or_halves_is_big(numerator: int, denominator: int, said: int) -> None:
    new = changed(packaged(), "anthropic", NAME, times("output", numerator, denominator))
    found = big(upcoming(packaged(), new, NOW), packaged())
    # Standard and batch.
    assert len(found) == said
    assert all(f"anthropic/{NAME} output" in sentence and "factor of 2" in sentence for sentence in found)


def test_a_price_that_becomes_nothing_is_big() -> None:
    new = changed(packaged(), "anthropic", NAME, times("output", 0))
    changes = upcoming(packaged(), new, NOW)
    assert {change.kind for change in changes} == {"now free"}
    assert any("was priced and is now free" in sentence for sentence in big(changes, packaged()))
    free = changed(packaged(), "anthropic", NAME, lambda model: replace(model, free=True, rates=()))
    assert big(upcoming(packaged(), free, NOW), packaged()) == [f"anthropic/{NAME} was priced and is now free"]
    assert {change.kind for change in upcoming(free, packaged(), NOW)} == {"no longer free"}


def test_more_than_a_twentieth_of_the_models_gone_is_big() -> None:
    few, many = without(packaged(), 0.02), without(packaged(), 0.2)
    assert big(upcoming(packaged(), few, NOW), packaged()) == []
    (sentence,) = big(upcoming(packaged(), many, NOW), packaged())
    assert "models are gone, more than 5%" in sentence
    assert {change.kind for change in differences(packaged(), few, NOW)} == {"model gone"}
    assert {change.kind for change in differences(few, packaged(), NOW)} == {"new model"}


def test_a_model_under_a_new_name_is_not_gone_while_the_old_one_leads_to_it() -> None:
    new = changed(packaged(), "anthropic", NAME, lambda model: replace(model, id="claude-sonnet-4.5-renamed"))
    assert differences(packaged(), new, NOW) == []


def test_a_price_to_come_is_listed_with_its_day_once() -> None:
    later = NOW + 86_400

    def announced(rate: Rate) -> list[Rate]:
        if rate.line != "output" or rate.until_s is not None:
            return [rate]
        return [replace(rate, until_s=later), replace(rate, start_s=later, femtos=rate.femtos * 3)]

    new = changed(
        packaged(), "anthropic", NAME, lambda m: replace(m, rates=tuple(r for old in m.rates for r in announced(old)))
    )
    found = upcoming(packaged(), new, NOW)
    assert {(change.at_s, change.percent) for change in found} == {(later, Decimal("200.0"))}
    assert len(found) == len(big(found, packaged())) == 2
    assert differences(packaged(), new, NOW) == []


def test_one_table_at_two_instants_shows_what_happened_between() -> None:
    found = differences(packaged(), packaged(), 1_767_225_600, 1_780_272_000)
    longer = [change for change in found if change.model == NAME]
    assert {(change.kind, ">200000" in change.condition) for change in longer} == {("rate gone", True)}


def test_a_provider_that_comes_brings_all_its_models() -> None:
    bare = replace(packaged(), providers={k: v for k, v in packaged().providers.items() if k != "anthropic"})
    found = differences(bare, packaged(), NOW)
    assert {(change.provider, change.kind) for change in found} == {("anthropic", "new model")}
    assert len(found) > 20


@given(old=st.integers(1, 10**15), new=st.integers(0, 10**15))
def test_a_percentage_leads_from_the_old_price_to_the_new(old: int, new: int) -> None:
    found = percent(old, new)
    assert found is not None
    assert abs(old + old * found / 100 - new) <= Decimal(old) / 2000 + Decimal("0.001")
    assert percent(None, new) is percent(old, None) is percent(0, new) is None


@given(old=st.integers(1, 10**12), new=st.integers(1, 10**12))
def test_what_is_big_is_the_same_either_way(old: int, new: int) -> None:
    there = Change(provider="p", model="m", kind="dearer", at_s=0, line="input", old=old, new=new)
    back = replace(there, old=new, new=old)
    assert bool(big([there], packaged())) == bool(big([back], packaged())) == (max(old, new) > 2 * min(old, new))


def test_tables_of_tests_are_hashed_again() -> None:
    made = changed(packaged(), "anthropic", NAME, times("output", 2)).providers["anthropic"]
    assert made.hash == hashed(made).hash != packaged().providers["anthropic"].hash
