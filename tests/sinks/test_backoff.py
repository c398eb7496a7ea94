"""Waits are bounded, jittered, and those a server asks for are honoured up to 15 minutes."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.sinks.backoff import asked_s, full_jitter_s, retry_after_s

NOON_NS = 1_749_988_800 * 10**9  # Sun, 15 Jun 2025 12:00:00 GMT


@given(failures=st.integers(-3, 10_000), seed=st.integers())
def test_a_backoff_stays_under_a_ceiling_that_doubles_up_to_a_minute(failures: int, seed: int) -> None:
    ceiling = 60.0 if failures > 7 else 0.5 * 2 ** max(failures - 1, 0)
    assert 0 <= full_jitter_s(failures, Random(seed)) <= ceiling


def test_backoffs_use_the_whole_range() -> None:
    drawn = [full_jitter_s(8, Random(seed)) for seed in range(200)]
    assert min(drawn) < 6
    assert max(drawn) > 54


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("-30", 0.0),
        ("86400", 900.0),
        ("9" * 400, 900.0),
        ("inf", 900.0),
        ("nan", 900.0),
        ("Sun, 15 Jun 2025 12:02:00 GMT", 120.0),
        ("Sun, 15 Jun 2025 11:00:00 GMT", 0.0),
        ("Sun, 15 Jun 2525 12:00:00 GMT", 900.0),
        ("soon", None),
        ("Sun, 99 Foo 2025", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_absurd_values_are_tamed(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after_s(header, NOON_NS) == seconds


@given(st.text())
def test_no_retry_after_header_raises(header: str) -> None:
    found = retry_after_s(header, NOON_NS)
    assert found is None or 0 <= found <= 900


@given(st.floats())
def test_any_wait_a_sink_asks_for_becomes_0_to_15_minutes(seconds: float) -> None:
    assert 0 <= asked_s(seconds) <= 900
