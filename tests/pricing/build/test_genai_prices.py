"""genai-prices' data: units, dates, service tiers, patterns."""

from datetime import date
from decimal import Decimal

import pytest

from callmeter.errors import ConfigError
from callmeter.pricing.build.genai_prices import read
from callmeter.pricing.build.offers import Era, Offer, Slot
from tests.pricing.build.collections_of_prices import AS_OF, genai, model, prices, provider


def offers(tmp_path, *providers: str) -> dict[tuple[str, str], Offer]:
    path = tmp_path / "data.py"
    path.write_text(genai(*providers))
    found, _ = read(path, AS_OF)
    return {(offer.provider, offer.model): offer for offer in found}


def one(tmp_path, text: str) -> Offer:
    return offers(tmp_path, provider("groq", text))["groq", "m"]


@pytest.mark.parametrize(
    ("key", "price", "line", "each"),
    [
        ("input_mtok", "2", "input", Decimal("0.000002")),
        ("cache_write_mtok", "2", "cache_write_5m", Decimal("0.000002")),
        ("cache_audio_read_mtok", "2", "cache_read_audio", Decimal("0.000002")),
        ("output_image_mtok", "2", "image_out", Decimal("0.000002")),
        ("web_searches_kcount", "35", "search.web", Decimal("0.035")),
        ("input_document_kpages", "4", "page", Decimal("0.004")),
        ("input_mchars", "15", "character", Decimal("0.000015")),
        ("audio_hours", "0.36", "audio_second", Decimal("0.0001")),
    ],
)
def test_a_key_names_line_and_unit(tmp_path, key: str, price: str, line: str, each: Decimal) -> None:
    assert one(tmp_path, model("m", prices(**{key: price}))).rates == {Slot(line): each}


def test_an_unknown_key_stops_the_build(tmp_path) -> None:
    with pytest.raises(ConfigError, match="output_smell_mtok"):
        one(tmp_path, model("m", prices(output_smell_mtok="1")))


def test_a_longer_context_begins_above_its_start(tmp_path) -> None:
    tiered = "ModelPrice(input_mtok=TieredPrices(base=Decimal('1'), tiers=[Tier(start=199999, price=Decimal('2'))]))"
    assert set(one(tmp_path, model("m", tiered)).rates) == {Slot("input"), Slot("input", floor=200_000)}


def test_prices_have_the_days_they_begin_and_announced_ones_come_later(tmp_path) -> None:
    def from_day(price: str, *day: int) -> str:
        constraint = f"constraint=StartDateConstraint(start_date=datetime.date{day}), " if day else ""
        return f"ConditionalPrice({constraint}prices={prices(input_mtok=price)})"

    listed = f"[{from_day('3')}, {from_day('2', 2026, 3, 1)}, {from_day('4', 2027, 1, 1)}]"
    offer = one(tmp_path, model("m", listed))
    assert offer.eras == (
        Era(None, {Slot("input"): Decimal("0.000003")}),
        Era(date(2026, 3, 1), {Slot("input"): Decimal("0.000002")}),
    )
    assert offer.coming == (Era(date(2027, 1, 1), {Slot("input"): Decimal("0.000004")}),)


def test_variants_are_tiers_and_the_first_that_holds_counts(tmp_path) -> None:
    def batch(price: str, *day: int) -> str:
        constraint = f", constraint=StartDateConstraint(start_date=datetime.date{day})"
        return f"PriceVariant(when={{'processing': 'batch'}}, prices={prices(input_mtok=price)}{constraint})"

    variants = f"[{batch('9', 2027, 1, 1)}, {batch('1', 2026, 10, 14)}, {batch('5', 2026, 1, 1)}]"
    offer = one(tmp_path, model("m", prices(input_mtok="2"), variants=variants))
    assert offer.rates[Slot("input", tier="batch")] == Decimal("0.000001")


def test_hours_of_the_day_hold_every_day(tmp_path) -> None:
    hours = "constraint=TimeOfDateConstraint(start_time=datetime.time(22, 0), end_time=datetime.time(1, 30))"
    listed = f"[ConditionalPrice(prices={prices(input_mtok='1')}), ConditionalPrice({hours}, prices={prices(input_mtok='2')})]"
    assert set(one(tmp_path, model("m", listed)).rates) == {
        Slot("input"),
        Slot("input", window="1234567 00:00-01:30 22:00-24:00"),
    }


def test_every_name_a_model_equals_is_offered(tmp_path) -> None:
    clause = (
        "ClauseOr(or_=[ClauseEquals(equals='m'), ClauseEquals(equals='m-latest'), ClauseStartsWith(starts_with='m-2')])"
    )
    found = offers(tmp_path, provider("groq", model("m", prices(input_mtok="1"), match=clause)))
    assert found["groq", "m-latest"].alias_of == "m"
    assert set(found) == {("groq", "m"), ("groq", "m-latest")}


def test_patterns_are_tried_on_lower_case(tmp_path) -> None:
    clause = "ClauseAnd(and_=[ClauseStartsWith(starts_with='M-'), ClauseRegex(regex='^(?!.*tts)')])"
    (tmp_path / "data.py").write_text(genai(provider("groq", model("m", prices(input_mtok="1"), match=clause))))
    _, (pattern,) = read(tmp_path / "data.py", AS_OF)
    assert [pattern.fits(name) for name in ("m-8b", "m-tts", "n-8b")] == [True, False, False]


def test_the_day_of_checking_is_taken_from_the_comment(tmp_path) -> None:
    comment = "Released 2026-11-20. Batch rates verified on 2026-10-14 at https://prices.example/"
    offer = one(tmp_path, model("m", prices(input_mtok="1"), comments=comment))
    assert (offer.checked, offer.cites) == (date(2026, 10, 14), True)


def test_providers_have_our_names(tmp_path) -> None:
    found = offers(
        tmp_path,
        provider("google", model("gemini-x", prices(input_mtok="1")), model("claude-x", prices(input_mtok="1"))),
        provider("huggingface_together", model("org/m", prices(input_mtok="1"))),
        provider("x-ai", model("grok-x", prices(input_mtok="1"))),
    )
    assert set(found) == {
        ("gemini", "gemini-x"),
        ("vertex_ai", "gemini-x"),
        ("vertex_ai", "claude-x"),
        ("huggingface", "org/m:together"),
        ("xai", "grok-x"),
    }


def test_the_module_is_read_and_never_run(tmp_path) -> None:
    (tmp_path / "data.py").write_text(genai() + "\nraise SystemExit('it was run')\n")
    assert read(tmp_path / "data.py", AS_OF) == ([], [])


def test_a_regional_model_of_bedrock_has_the_names_that_calls_use(tmp_path) -> None:
    named = "ClauseOr(or_=[ClauseContains(contains='us.anthropic.c-1'), ClauseContains(contains='jp.anthropic.c-1')])"
    found = offers(
        tmp_path,
        provider(
            "aws",
            model("regional.anthropic.c-1", prices(input_mtok="1"), match=named),
            model("regional.anthropic.c-0", prices(input_mtok="1"), match="ClauseContains(contains='c-0')"),
        ),
    )
    assert {name for _, name in found} == {
        "anthropic.c-1", "us.anthropic.c-1", "jp.anthropic.c-1",
        "anthropic.c-0", "apac.anthropic.c-0", "eu.anthropic.c-0", "us.anthropic.c-0",
    }  # fmt: skip
    assert not any(offer.alias_of for offer in found.values())
