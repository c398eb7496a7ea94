"""Weekly hours of a collection in our form, which `pricing/hours.py` describes. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from callmeter.errors import ConfigError
from callmeter.pricing import hours
from callmeter.pricing.hours import DAY, WEEK

_AHEAD: Mapping[str, int] = {"UTC": 0, "Asia/Shanghai": 8 * 60}
"""Minutes that a zone is ahead of UTC. Zones with summer time are not here: their week is not one week."""


def complement(pricing: Mapping[str, Any]) -> tuple[str, ...]:
    """The hours that no window of `windows` covers, where each has `hours_utc` and `weekdays` (1 is Monday)."""
    zone = pricing.get("weekday_timezone", "UTC")
    if zone not in _AHEAD:
        raise ConfigError(f"off_peak_pricing counts weekdays in {zone!r}; add its offset to pricing/build/weekly.py")
    covered = [False] * WEEK
    for window in pricing["windows"]:
        spans = window["hours_utc"]
        for span in [spans] if isinstance(spans, str) else spans:
            start, end = (_minute(text) for text in span.split("-"))
            for minute in range(start, end or DAY):
                for day in range(7):
                    local = (day * DAY + minute + _AHEAD[zone]) % WEEK // DAY + 1
                    if local in window["weekdays"]:
                        covered[day * DAY + minute] = True
    return written({minute for minute in range(WEEK) if not covered[minute]})


def daily(start: int, end: int) -> tuple[str, ...]:
    """The same minutes of every day, the later one exclusive; they may pass midnight."""
    minutes = range(start, end) if start < end else [*range(start, DAY), *range(end)]
    return written({day * DAY + minute for day in range(7) for minute in minutes})


def written(minutes: Iterable[int]) -> tuple[str, ...]:
    """Minutes of the week as texts, one for all days that have the same hours."""
    wanted = set(minutes)
    by_hours: dict[tuple[int, ...], list[int]] = {}
    for day in range(7):
        found = tuple(minute for minute in range(DAY) if day * DAY + minute in wanted)
        by_hours.setdefault(found, []).append(day + 1)
    return tuple(hours.written(days, _spans(found)) for found, days in by_hours.items() if found)


def _spans(minutes: tuple[int, ...]) -> list[str]:
    spans: list[list[int]] = []
    for minute in minutes:
        if spans and spans[-1][1] == minute:
            spans[-1][1] = minute + 1
        else:
            spans.append([minute, minute + 1])
    return [f"{_clock(start)}-{_clock(end)}" for start, end in spans]


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)
