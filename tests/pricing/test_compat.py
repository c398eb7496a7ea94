"""LiteLLM's cost helpers: the figures its users know."""

from types import SimpleNamespace
from typing import Any

import pytest

from callmeter.errors import BadRequestError, ConfigError
from callmeter.pricing import PriceBook, Usage, price
from callmeter.pricing.compat import completion_cost, cost_per_token, register_model
from callmeter.shapes import Completion, CompletionUsage, PromptTokensDetails


def answer(model: str, **usage: Any) -> Completion:
    return Completion(model=model, usage=CompletionUsage(**usage))


@pytest.fixture
def book() -> PriceBook:
    return PriceBook()


def test_an_answer_costs_what_its_usage_says() -> None:
    assert completion_cost(answer("gpt-3.5-turbo", prompt_tokens=10, completion_tokens=20)) == 3.5e-05


def test_cached_tokens_are_within_the_prompt() -> None:
    details = PromptTokensDetails(cached_tokens=400)
    response = answer("gpt-4o", prompt_tokens=1000, completion_tokens=100, prompt_tokens_details=details)
    assert completion_cost(response) == 0.003


def test_anthropics_keys_are_read() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 200,
    }
    assert completion_cost({"model": "claude-sonnet-4-5", "usage": usage}) == 0.004185


def test_one_hour_writes_are_told_apart() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 0,
        "cache_creation_input_tokens": 1000,
        "prompt_tokens_details": {"cache_creation_token_details": {"ephemeral_1h_input_tokens": 1000}},
    }
    assert completion_cost({"model": "claude-sonnet-4-5", "usage": usage}) == 0.006


def test_reasoning_is_not_added() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 500, "completion_tokens_details": {"reasoning_tokens": 400}}
    assert completion_cost(SimpleNamespace(model="o3", usage=usage)) == 0.00402


def test_the_exact_cost_an_answer_carries_is_the_one(book) -> None:
    from callmeter.pricing import Usage

    response = answer("gpt-4o", prompt_tokens=1, completion_tokens=1)
    cost = book.price("gpt-4", Usage(input_tokens=1000), provider="openai")
    response.__dict__["_hidden_params"] = {"cost": cost}
    assert completion_cost(response) == 0.03


@pytest.mark.parametrize(
    ("tier", "halves"),
    [
        ("default", (0.00125, 0.01)),
        ("flex", (0.000625, 0.005)),
        ("priority", (0.0025, 0.02)),
        ("auto", (0.00125, 0.01)),
    ],
)
def test_the_halves_follow_the_service_tier(tier, halves) -> None:
    assert cost_per_token("gpt-5", 1000, 1000, service_tier=tier) == halves


def test_halves_of_other_calls() -> None:
    assert cost_per_token("gpt-3.5-turbo", 5, 10) == (2.5e-06, 1.5e-05)
    assert cost_per_token("text-embedding-3-small", 1000) == (2e-05, 0.0)
    assert cost_per_token("tts-1", call_type="speech", prompt_characters=1000) == (0.015, 0.0)
    seconds = {"call_type": "transcription", "audio_transcription_file_duration": 60}
    assert cost_per_token("whisper-1", **seconds) == (0.0, 0.006)


def test_prices_of_the_callers_own() -> None:
    prices = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0}
    response = answer("whatever", prompt_tokens=10, completion_tokens=5)
    assert completion_cost(response, custom_cost_per_token=prices) == 20.0
    assert completion_cost(response, custom_cost_per_second=0.5, total_time=2000) == 1.0
    assert cost_per_token("whatever", 10, 5, custom_cost_per_token=prices) == (10.0, 10.0)


def test_a_price_of_the_callers_own_for_cached_tokens_is_used() -> None:
    details = PromptTokensDetails(cached_tokens=400)
    response = answer("whatever", prompt_tokens=1000, completion_tokens=100, prompt_tokens_details=details)
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5, "cache_read_input_token_cost": 1e-7}
    assert completion_cost(response, custom_cost_per_token=prices) == 0.00164


def test_a_price_of_the_callers_own_that_is_none_or_lacks_a_half_is_an_error() -> None:
    response = answer("whatever", prompt_tokens=10, completion_tokens=5)
    with pytest.raises(ConfigError, match="whatever: input_cost_per_token"):
        completion_cost(response, custom_cost_per_token={"input_cost_per_token": -1.0})
    with pytest.raises(BadRequestError, match="no rate for output"):
        completion_cost(response, custom_cost_per_token={"input_cost_per_token": 1.0})


def test_images_are_charged_by_quality_and_size() -> None:
    assert completion_cost(model="dall-e-3", size="1024x1024", quality="hd", n=2) == 0.16
    assert completion_cost(model="dall-e-3", size="1024-x-1024", call_type="image_generation") == 0.04


def test_speech_is_charged_by_the_character_and_transcription_by_the_second() -> None:
    assert completion_cost(model="tts-1", prompt="x" * 1000, call_type="speech") == 0.015
    assert completion_cost({"duration": 60.0}, model="whisper-1", call_type="transcription") == 0.006


def test_an_unknown_model_is_an_error_and_never_zero() -> None:
    for ask in (lambda: cost_per_token("nobody's", 1), lambda: completion_cost(answer("nobody's", prompt_tokens=1))):
        with pytest.raises(BadRequestError, match="nobody's"):
            ask()
    with pytest.raises(BadRequestError, match="no rate for audio_in"):
        cost_per_token("gpt-4o", usage_object={"prompt_tokens": 2, "prompt_tokens_details": {"audio_tokens": 1}})
    with pytest.raises(BadRequestError, match="input_tokens is -1"):
        cost_per_token("gpt-4o", prompt_tokens=-1)


def test_text_is_counted_by_the_books_counter_if_it_has_one(book) -> None:
    book.count_tokens = lambda model, text: {"Hey!": 2, "How's it going?": 5}[str(text)]
    text = {"prompt": "Hey!", "completion": "How's it going?"}
    assert completion_cost(model="gpt-3.5-turbo", **text, book=book) == 8.5e-06


def test_registered_prices_are_used_and_returned(book) -> None:
    mine = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "cache_read_input_token_cost": 1e-7,
        "input_cost_per_token_above_200k_tokens": 2e-6,
        "output_cost_per_token_above_200k_tokens": 3e-6,
        "input_cost_per_token_batches": 5e-7,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01},
        "litellm_provider": "openai",
        "max_input_tokens": 8192,
        "max_output_tokens": 1024,
        "mode": "chat",
        "supports_vision": True,
    }
    first = register_model({"my-model": mine}, book=book)
    assert first == {"my-model": mine}
    assert cost_per_token("openai/my-model", 1000, 100, book=book) == (0.001, 0.0002)
    assert cost_per_token("my-model", 200_001, 100, book=book) == (0.400002, 0.0003)
    assert cost_per_token("my-model", 1000, 100, service_tier="batch", book=book) == (0.0005, 0.0002)
    assert book.limits("my-model", "openai").output == 1024
    assert set(register_model({"other": {**mine}}, book=book)) == {"my-model", "other"}


def test_ranges_of_a_tier_table_choose_by_the_prompts_length(book) -> None:
    rows = [
        {"range": [0, 1000], "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
        {"range": [1000, 5000], "input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6},
    ]
    register_model({"ranged": {"tiered_pricing": rows}}, book=book)
    assert cost_per_token("ranged", 1000, 100, book=book) == (0.001, 0.0001)
    assert cost_per_token("ranged", 1001, 100, book=book) == (0.002002, 0.0004)


def test_both_prices_zero_is_free(book) -> None:
    register_model({"local": {"input_cost_per_token": 0, "output_cost_per_token": 0.0}}, book=book)
    assert cost_per_token("local", 10, 10, book=book) == (0.0, 0.0)


@pytest.mark.parametrize("price", [None, -1e-6, float("nan"), 1e308, float("inf"), "free", True, 1e-17])
def test_a_price_that_is_none_is_refused_and_nothing_is_registered(book, price) -> None:
    good = {"input_cost_per_token": 1e-6}
    with pytest.raises(ConfigError, match="bad: input_cost_per_token"):
        register_model({"good": good, "bad": {"input_cost_per_token": price}}, book=book)
    with pytest.raises(BadRequestError):
        cost_per_token("good", 1, book=book)
    assert book.price_map == {}


def test_the_noise_of_a_binary_fraction_is_rounded_away(book) -> None:
    register_model(
        {"noisy": {"input_cost_per_token": 0.1 + 0.2, "output_cost_per_token": 1.0833333333333335e-07}}, book=book
    )
    assert cost_per_token("noisy", 1, 1, book=book) == (0.3, 1.08333333e-07)


def test_a_price_without_a_line_is_logged_and_not_guessed(book, caplog) -> None:
    entry = {"input_cost_per_token": 1e-6, "vector_store_cost_per_gb_per_day": 0.1}
    register_model({"odd": entry}, book=book)
    assert "odd: vector_store_cost_per_gb_per_day" in caplog.text


def test_what_is_no_map_is_refused(book) -> None:
    with pytest.raises(BadRequestError, match="register_model takes a dict"):
        register_model("https://example.com/prices.json", book=book)


def test_what_was_made_by_the_piece_is_priced_anew_by_its_pieces() -> None:
    known = price("dall-e-3", Usage(units={"image.hd.1024x1024": 2}), provider="openai")
    response = {"data": [{}, {}], "_hidden_params": {"cost": known, "custom_llm_provider": "openai"}}
    assert completion_cost(response) == 0.16
    assert completion_cost(response, model="dall-e-3") == 0.16
    assert completion_cost(response, model="gpt-image-2", custom_cost_per_token={"input_cost_per_image": 0.5}) == 1.0


def test_a_transcriptions_usage_is_read_by_seconds_or_by_tokens() -> None:
    timed = {"text": "Hi", "usage": {"type": "duration", "seconds": 60}}
    assert completion_cost(timed, model="whisper-1") == 0.006
    counted = {
        "text": "Hi",
        "usage": {"input_tokens": 100, "output_tokens": 10, "input_token_details": {"audio_tokens": 100}},
    }
    expected = price("gpt-4o-transcribe", Usage(input_tokens=100, input_audio_tokens=100, output_tokens=10))
    assert completion_cost(counted, model="gpt-4o-transcribe") == float(expected.total or 0)
