"""Bytes a token, learned: estimates in their band, bounded by the bytes, and small to keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.pricing.calibration import LEAST_OBSERVED, MOST_KEYS, MOST_OBSERVED, Calibration, Learned

observations = st.lists(st.tuples(st.integers(20, 10_000), st.integers(1, 60)), min_size=LEAST_OBSERVED, max_size=200)
"""Tokens, and whole bytes a token."""


def learned(seen: list[tuple[int, int]]) -> Calibration:
    calibration = Calibration()
    for tokens, ratio in seen:
        calibration.answer("openai", "gpt-4o", tokens * ratio, tokens)
    return calibration


@given(observations, st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_estimate_lies_in_its_band_under_the_bytes_and_never_falls_with_more_text(
    seen: list[tuple[int, int]], size: int, more: int
) -> None:
    ratio = learned(seen).of("openai", "gpt-4o").answer
    assert ratio is not None
    low, typical, high = ratio.tokens(size)
    assert 0 <= low <= typical <= high <= size
    assert all(a <= b for a, b in zip((low, typical, high), ratio.tokens(size + more), strict=True))


@given(observations)
def test_the_band_holds_nine_tenths_of_what_was_observed(seen: list[tuple[int, int]]) -> None:
    ratio = learned(seen).of("openai", "gpt-4o").answer
    assert ratio is not None
    within = [ratio.least <= 1000 * each <= ratio.most for _, each in seen]
    assert sum(within) >= len(seen) - 2 * (len(seen) * 5 // 100)
    for tokens, each in [pair for pair, inside in zip(seen, within, strict=True) if inside]:
        low, _, high = ratio.tokens(tokens * each)
        assert low <= tokens <= high


@given(st.integers(1, 60), st.integers(20, 5000))
def test_calls_that_all_agree_give_their_ratio_to_2_per_cent(each: int, tokens: int) -> None:
    ratio = learned([(tokens, each)] * LEAST_OBSERVED).of("openai", "gpt-4o").answer
    assert ratio is not None
    assert ratio.typical <= 1000 * each <= ratio.most
    assert ratio.most - ratio.typical <= max(1, ratio.typical // 50) + 1


def test_too_few_calls_teach_nothing_and_models_are_learned_apart() -> None:
    calibration = learned([(100, 4)] * (LEAST_OBSERVED - 1))
    assert calibration.of("openai", "gpt-4o") == Learned()
    calibration.answer("openai", "gpt-4o", 400, 100)
    assert calibration.of("openai", "gpt-4o").answer is not None
    assert calibration.of("openai", "gpt-4o").prompt is None
    assert calibration.of("azure", "gpt-4o") == Learned()


@pytest.mark.parametrize(("size", "tokens"), [(40, 10), (0, 100), (49, 100), (6500, 100), (10**9, 100)])
def test_what_cannot_be_text_of_that_many_tokens_teaches_nothing(size: int, tokens: int) -> None:
    calibration = Calibration()
    for _ in range(LEAST_OBSERVED):
        calibration.answer("openai", "gpt-4o", size, tokens)
    assert calibration.of("openai", "gpt-4o") == Learned()


def test_a_model_that_changes_is_followed() -> None:
    calibration = Calibration()
    calibration.answer("p", "m", 400, 100, count=MOST_OBSERVED)
    for _ in range(4):
        calibration.answer("p", "m", 300, 100, count=MOST_OBSERVED // 2)
    ratio = calibration.of("p", "m").answer
    assert ratio is not None
    assert 2900 < ratio.typical <= 3000


def test_it_is_kept_in_little_room_and_comes_back_whole() -> None:
    calibration = Calibration()
    for tokens in range(20, 5000):
        calibration.answer("openai", "gpt-4o", tokens * 4 + tokens % 7, tokens)
        calibration.prompt("openai", "gpt-4o", tokens * 5, tokens)
    body = calibration.encode()
    assert len(body) < 1000
    assert Calibration.decode(body).of("openai", "gpt-4o") == calibration.of("openai", "gpt-4o")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'[["p","m",{"answer":{"counts":{"1":2},"total":3}}]]',
        b'[["p","m",{"answer":{"counts":{"9999":2},"total":2}}]]',
    ],
)
def test_what_is_no_calibration_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.decode(body)


def test_the_number_of_models_is_bounded() -> None:
    calibration = Calibration()
    for n in range(MOST_KEYS + 10):
        calibration.answer("p", f"m{n}", 400, 100, count=LEAST_OBSERVED)
    assert calibration.of("p", f"m{MOST_KEYS - 1}") != Learned()
    assert calibration.of("p", f"m{MOST_KEYS}") == Learned()
