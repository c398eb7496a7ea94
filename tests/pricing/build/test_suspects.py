"""Each kind of suspicious figure stops the build until a decision covers it."""

import pytest

from callmeter.errors import ConfigError
from callmeter.pricing.build.overrides import KINDS, Decision, Overrides, combined, read
from callmeter.pricing.build.run import build
from tests.pricing.build.collections_of_prices import cost, genai, litellm, model, models_dev, prices, provider, write


def entry(name: str = "groq", mode: str = "chat", **fields):
    return {"litellm_provider": name, "mode": mode, **fields}


def tokens(read: float, written: float, **fields):
    return {"input_cost_per_token": read, "output_cost_per_token": written, **fields}


SLIPS = {
    "zero": {"price_map": litellm(groq__m=entry(**tokens(0, 0))), "catalogue": models_dev(("groq", "m", cost(input="1", output="2")))},
    "power-of-ten": {
        "price_map": litellm(groq__m=entry(**tokens(1e-6, 2e-6))),
        "catalogue": models_dev(("groq", "m", cost(input="1000", output="2"))),
    },
    "cache-read": {"price_map": litellm(groq__m=entry(**tokens(1e-6, 2e-6), cache_read_input_token_cost=2e-6))},
    "cache-write": {
        "price_map": litellm(
            groq__m=entry(
                **tokens(1e-6, 2e-6), cache_read_input_token_cost=1e-7, cache_creation_input_token_cost=5e-8
            )
        )
    },
    "long-context": {
        "price_map": litellm(groq__m=entry(**tokens(1e-6, 2e-6), output_cost_per_token_above_200k_tokens=1e-6))
    },
    "embedding-output": {"price_map": litellm(groq__m=entry(mode="embedding", **tokens(1e-7, 1e-7)))},
    "alias": {
        "module": genai(
            provider(
                "groq",
                model(
                    "m", prices(input_mtok="1", output_mtok="2"),
                    match="ClauseOr(or_=[ClauseEquals(equals='m'), ClauseEquals(equals='m-latest')])",
                ),
            )
        ),
        "price_map": litellm(**{"groq__m-latest": entry(**tokens(3e-6, 4e-6))}),
    },
    "image-text-rate": {
        "price_map": litellm(groq__m=entry(mode="image_generation", output_cost_per_image_token=4e-5, **tokens(5e-6, 4e-5)))
    },
    "unit": {"price_map": litellm(groq__m=entry(**tokens(0.002, 0.004)))},
    "currency": {"price_map": litellm(zhipuai__m=entry("zhipuai", **tokens(1e-6, 2e-6)))},
}  # fmt: skip


def test_there_is_a_slip_of_every_kind() -> None:
    assert SLIPS.keys() == KINDS.keys() - {"price"}


@pytest.mark.parametrize("kind", SLIPS)
def test_a_slip_stops_the_build(tmp_path, kind: str) -> None:
    result = build(write(tmp_path / "in", **SLIPS[kind]), tmp_path / "data")
    assert kind in {suspect.kind for suspect in result.open}


@pytest.mark.parametrize("kind", SLIPS)
def test_a_decision_settles_it_and_is_told_with_its_reason(tmp_path, kind: str) -> None:
    decisions = (
        f'[[decision]]\nkind = "{kind}"\nprovider = "{{groq,zhipuai}}"\nmodel = "m*"\nreason = "I looked it up"\n'
    )
    result = build(write(tmp_path / "in", **SLIPS[kind], decisions=decisions), tmp_path / "data")
    assert kind not in {suspect.kind for suspect in result.open}
    assert "I looked it up" in result.files["CONFLICTS.md"]
    assert result.idle == []


def test_a_long_context_that_is_served_as_standard_may_be_cheaper(tmp_path) -> None:
    prices = tokens(1e-6, 2e-6, input_cost_per_token_priority=3e-6, input_cost_per_token_above_200k_tokens=2e-6)
    result = build(write(tmp_path / "in", price_map=litellm(m=entry("azure", **prices))), tmp_path / "data")
    assert "above" not in "".join(suspect.detail for suspect in result.open)
    assert result.open == []


def test_a_search_filed_as_a_token_is_a_wrong_unit(tmp_path) -> None:
    price_map = litellm(groq__m=entry(input_cost_per_token=0.005, output_cost_per_token=1e-6))
    (suspect,) = build(write(tmp_path / "in", price_map=price_map), tmp_path / "data").open
    assert (suspect.kind, suspect.detail) == ("unit", "input at 5000 a million tokens")


def test_a_minute_of_audio_filed_as_a_token_is_a_wrong_unit(tmp_path) -> None:
    catalogue = models_dev(("groq", "whisper-x", cost(input="0.0023", output="0")))
    (suspect,) = build(write(tmp_path / "in", catalogue=catalogue), tmp_path / "data").open
    assert suspect.kind == "unit"


@pytest.mark.parametrize(("other", "currency"), [("7.1", "CNY"), ("1.13", "EUR")])
def test_one_factor_on_all_figures_looks_like_another_currency(tmp_path, other: str, currency: str) -> None:
    price_map = litellm(groq__m=entry(**tokens(1e-6, 2e-6)))
    catalogue = models_dev(("groq", "m", cost(input=other, output=str(float(other) * 2))))
    (suspect,) = build(write(tmp_path / "in", price_map=price_map, catalogue=catalogue), tmp_path / "data").open
    assert suspect.kind == "currency"
    assert currency in suspect.detail


def test_a_surcharge_of_ten_percent_is_no_currency(tmp_path) -> None:
    price_map = litellm(groq__m=entry(**tokens(1e-6, 2e-6)))
    catalogue = models_dev(("groq", "m", cost(input="1.1", output="2.2")))
    assert build(write(tmp_path / "in", price_map=price_map, catalogue=catalogue), tmp_path / "data").open == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "smell"\nreason = "r"', "'smell' is no kind of suspicion"),
        ('kind = "zero"\nreason = " "', "give it a reason"),
        ('kind = "zero"', "reason"),
        ('kind = "zero"\nreason = "r"\ntake = "tokencost"', "take = 'tokencost' is none of"),
        ('kind = "zero"\nreason = "r"\nbecause = "x"', "because"),
        ('kind = "zero"\nreason = "r"\nset = { input = "dear" }', "input: 'dear' is not a number"),
        ('kind = "price"\nreason = "r"\ntimes = { tokencost = "2" }', "times has 'tokencost', which is no source"),
        ('kind = "price"\nreason = "r"\ntimes = { litellm = "x" }', "times litellm: 'x' is not a number"),
    ],
)
def test_a_decision_that_is_none_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "overrides.toml"
    path.write_text(f"[[decision]]\n{text}\n")
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_the_first_decision_that_covers_a_case_holds_and_idle_ones_are_told() -> None:
    narrow, wide, idle = (
        Decision(kind="zero", reason="a", provider="groq", model="{m,n}-*"),
        Decision(kind="zero", reason="b"),
        Decision(kind="unit", reason="c"),
    )
    overrides = Overrides([narrow, wide, idle])
    assert overrides.find("zero", "groq", "n-1") is narrow
    assert overrides.find("zero", "groq", "o-1") is wide
    assert overrides.find("alias", "groq", "m-1") is None
    assert overrides.idle == [idle]


def test_decisions_on_one_model_add_up() -> None:
    first = Decision(kind="price", reason="a", drop=("output",))
    second = Decision(kind="zero", reason="b", take="litellm", set={"input": "1"})
    both = combined([first, second])
    assert both is not None
    assert (both.take, both.drop, both.set, both.reason) == ("litellm", ("output",), {"input": "1"}, "b")
    assert combined([]) is None
