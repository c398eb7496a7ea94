"""Counts from the wire, checked, and the public shape of usage."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.usage import MAX_COUNT, InvalidUsage, completion_usage, count, metered, required
from callmeter.types import Usage


@pytest.mark.parametrize("wrong", [-1, True, False, 1.5, float("nan"), float("inf"), "7", [], {}, MAX_COUNT + 1, 2**63])
def test_what_cannot_be_a_count_is_refused_by_name_and_value(wrong: Any) -> None:
    with pytest.raises(InvalidUsage) as caught:
        count({"a": {"b": wrong}}, "a.b")
    assert str(caught.value) == f"a.b is {wrong!r}"


@given(st.integers(0, MAX_COUNT))
def test_every_whole_number_is_a_count_also_as_a_float(number: int) -> None:
    assert count({"n": number}, "n") == number
    assert count({"n": float(number)}, "n") == int(float(number))


def test_a_count_that_is_not_there_is_unknown_and_not_zero() -> None:
    assert count({"a": None}, "a") is None
    assert count({"a": 3}, "a.b.c") is None
    assert count(None, "a") is None
    with pytest.raises(InvalidUsage, match="a is missing"):
        required({}, "a")


def test_a_usage_object_is_metered_with_its_raw_form_or_the_reason_against_it() -> None:
    def read(raw: Any) -> Usage:
        return Usage(input_tokens=required(raw, "in"))

    good, bad, absent = metered({"in": 3}, read), metered({"in": -3}, read), metered(None, read)
    assert (good.usage, good.raw, good.problem) == (Usage(input_tokens=3), {"in": 3}, "")
    assert (bad.usage, bad.raw, bad.problem) == (None, {"in": -3}, "in is -3")
    assert (absent.usage, absent.raw, absent.problem) == (None, None, "")
    assert metered(["x"], read).problem == "usage is ['x']"


def test_anthropics_users_find_the_keys_of_the_getting_started_page() -> None:
    shown = completion_usage(Usage(input_tokens=13, output_tokens=43), anthropic_keys=True).model_dump()
    assert shown == {
        "completion_tokens": 43,
        "prompt_tokens": 13,
        "total_tokens": 56,
        "completion_tokens_details": None,
        "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 0},
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def test_both_kinds_of_cache_writes_are_told_apart() -> None:
    usage = Usage(input_tokens=1000, cache_read_tokens=200, cache_write_tokens=300, cache_write_1h_tokens=100)
    shown = completion_usage(usage, anthropic_keys=True)
    assert (shown.cache_creation_input_tokens, shown.cache_read_input_tokens) == (400, 200)
    assert shown.prompt_tokens_details is not None
    assert shown.prompt_tokens_details.cache_creation_token_details == {
        "ephemeral_5m_input_tokens": 300,
        "ephemeral_1h_input_tokens": 100,
    }
    plain = completion_usage(usage)
    assert plain.prompt_tokens_details is not None
    assert plain.prompt_tokens_details.cache_write_tokens == 400
    assert "cache_creation_input_tokens" not in plain


def test_reasoning_audio_and_searches_are_shown() -> None:
    shown = completion_usage(Usage(output_tokens=9, reasoning_tokens=0, output_audio_tokens=4, units={"search.web": 2}))
    assert shown.completion_tokens_details is not None
    assert (shown.completion_tokens_details.reasoning_tokens, shown.completion_tokens_details.audio_tokens) == (0, 4)
    assert shown.server_tool_use == {"web_search_requests": 2}
