"""The rules, best first, and what follows from a decided list."""

from datetime import date
from decimal import Decimal

import pytest

from callmeter.pricing.build.decide import Verdict, agree, decide
from callmeter.pricing.build.join import Dossier
from callmeter.pricing.build.offers import Era, Offer, Slot
from callmeter.pricing.build.overrides import Decision
from tests.pricing.build.collections_of_prices import AS_OF

MILLION = Decimal(10**6)


def offer(source: str, read: str, written: str = "10", *, floor: int = 0, more: dict[Slot, str] | None = None, **about):
    prices = {Slot("input"): read, Slot("output"): written, **(more or {})}
    rates = {slot: Decimal(price) / MILLION for slot, price in prices.items()}
    return Offer(source=source, provider="groq", model="m", eras=(Era(None, rates),), **about)


def verdict(*offers: Offer, provider: str = "groq", mode: str = "chat", decision: Decision | None = None) -> Verdict:
    found = decide(Dossier(provider=provider, model="m", offers=offers, mode=mode), AS_OF, decision)
    assert found is not None
    return found


def usd(found: Verdict, slot: Slot) -> Decimal:
    return found.figures[slot].price * MILLION


LITELLM, GENAI, CATALOGUE = "litellm", "genai-prices", "models.dev"


@pytest.mark.parametrize(
    ("offers", "rule", "read"),
    [
        # A recent check outranks two that agree.
        ((offer(LITELLM, "1"), offer(GENAI, "2", checked=date(2026, 10, 14)), offer(CATALOGUE, "1")), "checked", 2),
        # One of 91 days ago does not, nor one of tomorrow.
        ((offer(LITELLM, "1"), offer(GENAI, "2", checked=date(2026, 8, 26)), offer(CATALOGUE, "1")), "agreed", 1),
        ((offer(LITELLM, "1"), offer(GENAI, "2", checked=date(2026, 11, 26)), offer(CATALOGUE, "1")), "agreed", 1),
        # Two that agree outrank one that names the provider's page.
        ((offer(LITELLM, "1", cites=True), offer(GENAI, "2"), offer(CATALOGUE, "2")), "agreed", 2),
        # Of two, the one that names a page; else the newer.
        ((offer(LITELLM, "1"), offer(CATALOGUE, "2", cites=True)), "cited", 2),
        ((offer(LITELLM, "1"), offer(CATALOGUE, "2")), "newer", 1),
        # One that lists the name outranks one that has a pattern for it.
        ((offer(CATALOGUE, "1"), offer(GENAI, "2", exact=False, cites=True)), "listed", 1),
        ((offer(CATALOGUE, "1"),), "single", 1),
    ],
)
def test_the_best_rule_that_applies_decides(offers, rule: str, read: int) -> None:
    found = verdict(*offers)
    assert (found.rule, usd(found, Slot("input"))) == (rule, read)


def test_between_equals_the_collection_that_follows_the_provider_best() -> None:
    pair = offer(LITELLM, "1"), offer(GENAI, "2")
    assert verdict(*pair, provider="gemini").figures[Slot("input")].source == GENAI
    assert verdict(*pair, provider="groq").figures[Slot("input")].source == LITELLM
    assert verdict(*pair, provider="gemini", mode="embedding").figures[Slot("input")].source == LITELLM


def test_figures_that_round_alike_agree_and_the_shorter_is_kept() -> None:
    found = verdict(offer(LITELLM, "0.600024"), offer(GENAI, "0.6"))
    assert (found.rule, usd(found, Slot("input"))) == ("agreed", Decimal("0.6"))
    assert found.figures[Slot("input")].agreed == (GENAI,)
    assert found.differences == ()


def test_another_list_adds_lines_only_where_it_is_of_the_same_price() -> None:
    best, fee = offer(GENAI, "2", checked=date(2026, 11, 1)), {Slot("audio_in"): "7"}
    same, other = offer(LITELLM, "2", more=fee), offer(LITELLM, "1", more=fee)
    assert verdict(same, best).figures[Slot("audio_in")].source == LITELLM
    assert Slot("audio_in") not in verdict(other, best).figures


def test_a_pattern_is_a_witness_and_adds_the_cache_alone() -> None:
    more = {Slot("audio_in"): "7", Slot("cache_read"): "0.2", Slot("cache_read", "batch"): "0.1"}
    found = verdict(offer(LITELLM, "2"), offer(GENAI, "2", exact=False, more=more))
    assert found.figures[Slot("input")].agreed == (GENAI,)
    assert found.figures.keys() == {Slot("input"), Slot("output"), Slot("cache_read")}
    assert found.figures[Slot("cache_read")].source == GENAI


def test_lists_without_a_shared_line_do_not_agree() -> None:
    seconds = Offer(source=LITELLM, provider="groq", model="m", eras=(Era(None, {Slot("audio_second"): Decimal(1)}),))
    assert not agree(seconds, offer(GENAI, "1"))


def test_every_difference_is_told_with_all_values() -> None:
    (difference,) = verdict(offer(LITELLM, "1"), offer(GENAI, "2"), offer(CATALOGUE, "2")).differences
    assert difference.slot == Slot("input")
    assert {source: price * MILLION for source, price in difference.says.items()} == {
        LITELLM: 1,
        GENAI: 2,
        CATALOGUE: 2,
    }


def test_zeros_alone_are_no_price_and_free_is_what_calls_itself_so() -> None:
    nothing = offer(LITELLM, "0", "0")
    assert decide(Dossier(provider="groq", model="m", offers=(nothing,), mode="chat"), AS_OF) is None
    for name, free in (("m:free", True), ("m-free", True), ("freedom", False)):
        found = decide(Dossier(provider="groq", model=name, offers=(nothing,), mode="chat"), AS_OF)
        assert (found is not None and found.free) is free
    sold = decide(Dossier(provider="groq", model="m:free", offers=(offer(LITELLM, "1"),), mode="chat"), AS_OF)
    assert sold is not None
    assert not sold.free


def decision(**about) -> Decision:
    return Decision(kind="price", reason="for the test", **about)


def test_a_decision_takes_a_source_or_nothing() -> None:
    offers = offer(LITELLM, "1"), offer(GENAI, "2", checked=date(2026, 11, 1))
    found = verdict(*offers, decision=decision(take=LITELLM))
    assert (found.rule, usd(found, Slot("input")), found.reason) == ("decided", 1, "for the test")
    for take in ("nothing", CATALOGUE):
        assert (
            decide(Dossier(provider="groq", model="m", offers=offers, mode="chat"), AS_OF, decision(take=take)) is None
        )


def test_a_decision_drops_lines_sets_them_and_flattens_contexts() -> None:
    given = offer(LITELLM, "1", more={Slot("cache_read"): "3", Slot("input", floor=200_001): "2"})
    found = verdict(given, decision=decision(drop=("cache_read",), set={"output": "9"}, flat=True))
    assert {slot: figure.price * MILLION for slot, figure in found.figures.items()} == {
        Slot("input"): 1,
        Slot("output"): 9,
    }
    assert found.figures[Slot("output")].source == "decided"


def test_a_decision_multiplies_what_a_source_lists_of_another_place() -> None:
    given = offer(LITELLM, "1", more={Slot("search.web"): "7", Slot("input", region="global"): "1"})
    found = verdict(given, offer(GENAI, "1.1", "11"), decision=decision(times={LITELLM: "1.1"}))
    assert {slot: figure.price * MILLION for slot, figure in found.figures.items()} == {
        Slot("input"): Decimal("1.1"),
        Slot("output"): 11,
        Slot("search.web"): 7,
        Slot("input", region="global"): 1,
    }
    assert found.figures[Slot("input")].agreed == (GENAI,)
    assert "1.1 times what it lists" in found.figures[Slot("input")].note
    assert found.figures[Slot("search.web")].note == ""


def test_the_past_of_a_dated_list_is_kept_with_todays_part_for_a_tier() -> None:
    batch = Slot("input", tier="batch")
    dated = Offer(
        source=GENAI,
        provider="groq",
        model="m",
        eras=(
            Era(None, {Slot("input"): Decimal(4)}),
            Era(date(2026, 3, 1), {Slot("input"): Decimal(2), batch: Decimal(1)}),
        ),
        coming=(Era(date(2027, 1, 1), {Slot("input"): Decimal(6)}),),
        released=date(2025, 5, 5),
    )
    found = verdict(dated)
    ((start, end, then),) = found.past
    assert (start, end, found.since) == (date(2025, 5, 5), date(2026, 3, 1), date(2026, 3, 1))
    assert (then[Slot("input")].price, then[batch].price, then[batch].source) == (4, 2, "inferred")
    ((later, figures),) = found.coming
    assert (later, figures[Slot("input")].price, figures[batch].price) == (date(2027, 1, 1), 6, 3)


def test_a_release_begins_the_first_list_unless_it_cannot() -> None:
    assert verdict(offer(LITELLM, "1", released=date(2025, 1, 1))).since == date(2025, 1, 1)
    assert verdict(offer(LITELLM, "1", released=date(2027, 1, 1))).since is None


def test_a_list_of_regions_alone_adds_them_to_one_of_ordinary_prices() -> None:
    regions = Offer(
        source=LITELLM, provider="groq", model="m", cites=True,
        eras=(Era(None, {Slot("input", region="eu"): Decimal("0.0000011")}),),
    )  # fmt: skip
    found = verdict(regions, offer(GENAI, "1"))
    assert {slot: figure.source for slot, figure in found.figures.items()} == {
        Slot("input"): GENAI,
        Slot("output"): GENAI,
        Slot("input", region="eu"): LITELLM,
    }
