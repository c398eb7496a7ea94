"""What is known about models, as LiteLLM's helpers tell it: limits, abilities, and prices that price alike."""

from datetime import UTC, datetime
from typing import Any

import pytest

import callmeter
from callmeter.client.model_info import ModelCost
from callmeter.errors import ConfigError
from callmeter.pricing import PriceBook, Usage, book, map_entry
from callmeter.pricing.compile import compiled
from callmeter.pricing.price_map import authored

MINE = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
    "litellm_provider": "openai",
    "mode": "chat",
    "max_input_tokens": 8192,
    "max_output_tokens": 1024,
    "supports_vision": True,
    "supports_url_context": False,
}


@pytest.fixture(autouse=True)
def fresh_book(monkeypatch: pytest.MonkeyPatch) -> PriceBook:
    """Models registered in one test are not known in the next."""
    fresh = PriceBook()
    book.default_book.cache_clear()
    monkeypatch.setattr(book, "PriceBook", lambda **_: fresh)
    yield fresh
    monkeypatch.undo()
    book.default_book.cache_clear()


def test_the_figures_people_know() -> None:
    info = callmeter.get_model_info("gpt-3.5-turbo")
    assert callmeter.get_max_tokens("gpt-3.5-turbo") == info["max_output_tokens"] == 4096
    assert (info["key"], info["litellm_provider"], info["mode"]) == ("gpt-3.5-turbo", "openai", "chat")
    assert (info["input_cost_per_token"], info["output_cost_per_token"]) == (5e-07, 1.5e-06)
    assert (info["input_cost_per_audio_token"], info["supports_web_search"]) == (None, None)
    assert "temperature" in info["supported_openai_params"]
    assert callmeter.get_model_info("claude-sonnet-4-5")["cache_creation_input_token_cost_above_1hr"] == 6e-06
    assert callmeter.get_model_info("gpt-4o", "openai")["max_input_tokens"] == 128_000


def test_a_model_nobody_knows_is_an_error_for_some_and_false_for_others() -> None:
    for ask in (callmeter.get_model_info, callmeter.get_max_tokens):
        with pytest.raises(callmeter.ModelNotMappedError, match="of-nobody"):
            ask("of-nobody")
    helpers = [getattr(callmeter, name) for name in callmeter.__all__ if name.startswith("supports_")]
    assert len(helpers) == 17
    assert not any(helper("of-nobody") or helper(model=None) for helper in helpers)
    assert callmeter.supports_vision.__doc__


def test_a_registered_model_is_told_as_it_was_given() -> None:
    callmeter.register_model({"my-model": MINE})
    assert callmeter.get_max_tokens("my-model") == 1024
    assert callmeter.supports_vision("my-model")
    assert callmeter.supports_vision("openai/my-model")
    assert not callmeter.supports_url_context("my-model")
    assert {name: callmeter.get_model_info("my-model")[name] for name in MINE} == MINE


def test_a_registered_model_without_prices_is_known_too() -> None:
    callmeter.register_model({"sizes-only": {"max_tokens": 77, "supports_reasoning": True}})
    assert callmeter.get_max_tokens("sizes-only") == 77
    assert callmeter.supports_reasoning("sizes-only")
    assert callmeter.get_model_info("sizes-only")["input_cost_per_token"] is None


def test_a_local_model_of_any_name_is_free() -> None:
    info = callmeter.get_model_info("ollama/of-mine")
    assert (info["input_cost_per_token"], info["max_tokens"], info["litellm_provider"]) == (0.0, None, "ollama")


def test_model_cost_is_a_mapping_of_all_of_them() -> None:
    cost = ModelCost(PriceBook())
    assert {"gpt-4o", "claude-sonnet-4-5"} <= set(cost)
    assert len(cost) == len(list(cost)) > 100
    assert cost["gpt-4o"]["input_cost_per_token"] == 2.5e-06
    assert cost["openai/gpt-4o"] == cost["gpt-4o"]
    assert "of-nobody" not in cost
    assert cost.get(None) is None
    with pytest.raises(KeyError):
        cost["of-nobody"]
    assert str(len(cost)) in repr(cost)
    assert isinstance(callmeter.model_cost, ModelCost)


def test_setting_an_entry_of_model_cost_registers_it_and_none_is_taken_away() -> None:
    own = PriceBook()
    cost = ModelCost(own)
    cost["my-model"] = MINE
    assert cost["my-model"]["max_output_tokens"] == 1024
    assert "my-model" in set(cost)
    assert own.price("my-model", Usage(input_tokens=1), provider="openai").total is not None
    with pytest.raises(TypeError, match="my-model"):
        del cost["my-model"]
    with pytest.raises(ConfigError):
        cost["bad"] = {"input_cost_per_token": -1}
    assert "bad" not in cost


AT = datetime(2026, 11, 1, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 10**9
USAGES = [
    Usage(input_tokens=tokens, cache_read_tokens=100, cache_write_tokens=50, cache_write_1h_tokens=20, output_tokens=70)
    for tokens in (1_000, 128_001, 200_001, 272_001)
]


def shipped() -> list[Any]:
    """Some of the models that are sold by the token, and alike in every region."""
    known = PriceBook()
    return [
        pytest.param(provider, model, id=f"{provider}/{model.id}")
        for provider in known.providers()
        for model in known.models(provider)
        if known.price(model.id, USAGES[0], provider=provider, at=AT).status == "priced"
        and not any(rate.region or rate.window for rate in model.rates)
        and all_lines_have_longer_contexts(model)
    ][::7]


def all_lines_have_longer_contexts(model: Any) -> bool:
    """A price map has no way to say that a line costs at long contexts what it costs at short ones."""
    lines: dict[str, set[tuple[str, str]]] = {}
    for rate in model.rates:
        lines.setdefault(rate.over, set()).add((rate.line, rate.tier))
    return all(found == lines.get("") for found in lines.values())


@pytest.mark.parametrize(("provider", "model"), shipped())
def test_an_entry_read_back_prices_alike(provider: str, model: Any) -> None:
    made = authored("again", map_entry.entry(model, provider, AT_NS))
    assert made is not None
    known, again = PriceBook(), PriceBook([made])
    for usage in USAGES:
        for tier in (None, "batch", "flex", "priority"):
            theirs = known.price(model.id, usage, provider=provider, at=AT, service_tier=tier)
            assert again.price("again", usage, at=AT, service_tier=tier).total == theirs.total


# --- the table's own fields


def test_features_are_carried_and_checked(tmp_path: Any) -> None:
    rates = [{"per": "1M", "input": "1", "output": "2"}]
    known = PriceBook([{"id": "mine", "rates": rates, "features": ["vision", "reasoning", "vision"], "mode": "chat"}])
    assert known.model("mine").features == ("reasoning", "vision")
    for wrong, what in ((["sight"], "'sight' is no feature"), ("vision", "write a list"), ([1], "write a list")):
        with pytest.raises(ConfigError, match=what):
            PriceBook([{"id": "mine", "rates": rates, "features": wrong}])
    with pytest.raises(ConfigError, match="mode is 7"):
        PriceBook([{"id": "mine", "rates": rates, "mode": 7}])


def test_features_limits_and_mode_are_in_the_compiled_table(tmp_path: Any) -> None:
    (tmp_path / "acme.toml").write_text(
        """
        [provider]
        id = "acme"
        [[source]]
        id = "page"
        [[model]]
        id = "m"
        mode = "embedding"
        limits = { context = 8192, output = 1024 }
        features = ["vision"]
        [[model.rates]]
        per = "1M"
        input = "1"
        src = "page"
        """
    )
    body = compiled(tmp_path)["acme.json"]
    assert b'"features":["vision"]' in body
    assert b'"limits":{"context":8192,"output":1024}' in body
    assert b'"mode":"embedding"' in body
