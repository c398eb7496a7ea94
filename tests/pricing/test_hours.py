"""Prices that hold for hours of the week."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.errors import ConfigError
from callmeter.pricing import PriceBook, Usage
from callmeter.pricing.hours import WEEK, covers, minute_of_week, minutes, written

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
USAGE = Usage(input_tokens=1)


def book(*rates) -> PriceBook:
    return PriceBook([{"id": "m", "rates": list(rates)}])


def at(found: PriceBook, when: datetime) -> str:
    return str(found.price("m", USAGE, at=when).total)


def test_days_and_spans_have_one_form() -> None:
    assert written([3, 1, 1], ["06:00-10:00", "1:00-4:00"]) == "13 01:00-04:00 06:00-10:00"
    assert minutes("2 00:00-24:00") == ((24 * 60, 48 * 60),)


@pytest.mark.parametrize(
    ("weekdays", "hours", "message"),
    [
        ([], ["01:00-02:00"], "weekdays is"),
        ([0], ["01:00-02:00"], "weekdays is"),
        ([True], ["01:00-02:00"], "weekdays is"),
        ([1], [], "hours is empty"),
        ([1], ["02:00-01:00"], "is no span of a day"),
        ([1], ["23:00-25:00"], "is no span of a day"),
        ([1], ["one-two"], "is no time of day"),
        ([1], ["01:00-01:60"], "is no time of day"),
        ([1], ["01:00-03:00", "02:00-04:00"], "overlap"),
    ],
)
def test_what_is_no_week_is_refused(weekdays, hours, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(weekdays, hours)
    with pytest.raises(ConfigError, match="m: when: "):
        book({"input": "1"}, {"when": {"weekdays": weekdays, "hours": hours}, "input": "2"})


@given(st.integers(0, 4 * 10**9))
def test_the_minute_of_the_week_is_the_calendars(seconds: int) -> None:
    when = datetime.fromtimestamp(seconds, UTC)
    assert minute_of_week(seconds * 10**9) == when.weekday() * 1440 + when.hour * 60 + when.minute


def test_a_price_changes_at_the_minute() -> None:
    found = book({"input": "1"}, {"when": {"hours": ["01:00-04:00"], "weekdays": [1]}, "input": "2"})
    edges = [(0, 59, "1"), (1, 0, "2"), (3, 59, "2"), (4, 0, "1")]
    assert [at(found, MONDAY.replace(hour=h, minute=m)) for h, m, _ in edges] == [price for _, _, price in edges]
    assert at(found, MONDAY + timedelta(days=1, hours=2)) == "1"


def test_hours_without_days_are_of_every_day_and_days_without_hours_whole() -> None:
    every_day = book({"input": "1"}, {"when": {"hours": ["23:00-24:00"]}, "input": "2"})
    assert at(every_day, MONDAY + timedelta(days=4, hours=23)) == "2"
    sundays = book({"input": "1"}, {"when": {"weekdays": [7]}, "input": "2"})
    assert [at(sundays, MONDAY + timedelta(days=day)) for day in (5, 6, 7)] == ["1", "2", "1"]


def test_hours_hold_within_their_dates() -> None:
    found = book(
        {"input": "1"},
        {"from": MONDAY, "until": MONDAY + timedelta(days=7), "when": {"hours": ["00:00-12:00"]}, "input": "2"},
    )
    assert [at(found, MONDAY + timedelta(days=day)) for day in (-1, 0, 7)] == ["1", "2", "1"]


def test_hours_and_a_tier_that_meet_are_refused() -> None:
    with pytest.raises(ConfigError, match="two equally specific rates for input"):
        book(
            {"input": "1"},
            {"when": {"tier": "batch"}, "input": "2"},
            {"when": {"hours": ["01:00-02:00"]}, "input": "3"},
        )
    found = book(
        {"input": "1"},
        {"when": {"tier": "batch"}, "input": "2"},
        {"when": {"hours": ["01:00-02:00"]}, "input": "3"},
        {"when": {"tier": "batch", "hours": ["01:00-02:00"]}, "input": "4"},
    )
    night = MONDAY.replace(hour=1)
    assert str(found.price("m", USAGE, at=night, service_tier="batch").total) == "4"


def test_an_item_says_at_which_hours_its_rate_holds() -> None:
    found = book({"input": "1"}, {"when": {"hours": ["01:00-04:00"], "weekdays": [1]}, "input": "2"})
    (item,) = found.price("m", USAGE, at=MONDAY.replace(hour=2)).items
    assert item.tier == "1 01:00-04:00"


@given(st.sets(st.integers(1, 7), min_size=1), st.integers(0, 1439), st.integers(1, 1440), st.integers(0, WEEK - 1))
def test_a_week_is_covered_where_its_text_says(days, start, length, minute) -> None:
    end = min(start + length, 1440)
    text = written(sorted(days), [f"{start // 60}:{start % 60}-{end // 60}:{end % 60}"])
    assert covers(text, minute) == (minute // 1440 + 1 in days and start <= minute % 1440 < end)
