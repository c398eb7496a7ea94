"""Weekly hours at which a price holds, as one text: `12345 01:00-04:00 06:00-10:00`. Days 1 (Monday) to 7, UTC. Pure.

A span ends before its second time and lies within its day; `22:00-24:00` of one day and `00:00-02:00` of the next are
two spans.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

DAY = 24 * 60
WEEK = 7 * DAY

_MONDAY = 3 * DAY
"""The epoch began on a Thursday."""


def written(weekdays: Sequence[int], hours: Sequence[str]) -> str:
    """Days and spans as one text. Raises `ValueError` saying what is wrong with them."""
    days = sorted(set(weekdays))
    if not days or not all(type(day) is int and 1 <= day <= 7 for day in days):
        raise ValueError(f"weekdays is {list(weekdays)!r}; write numbers from 1, Monday, to 7")
    spans = sorted(_span(text) for text in hours)
    if not spans:
        raise ValueError('hours is empty; write spans such as "01:00-04:00"')
    if any(after[0] < before[1] for before, after in pairwise(spans)):
        raise ValueError(f"hours = {list(hours)!r} overlap; write each minute once")
    return " ".join(["".join(map(str, days)), *(f"{_clock(start)}-{_clock(end)}" for start, end in spans)])


@lru_cache(64)
def minutes(text: str) -> tuple[tuple[int, int], ...]:
    """The spans of a text as minutes of the week, the second one exclusive."""
    days, *spans = text.split(" ")
    return tuple(
        ((int(day) - 1) * DAY + start, (int(day) - 1) * DAY + end) for day in days for start, end in map(_span, spans)
    )


def covers(text: str, minute: int) -> bool:
    """Whether a minute of the week is within a text's hours."""
    return any(start <= minute < end for start, end in minutes(text))


def minute_of_week(at_ns: int) -> int:
    """An instant's minute of its week, which begins on Monday 00:00 UTC."""
    return (at_ns // 60_000_000_000 + _MONDAY) % WEEK


def _span(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    found = _minute(start), _minute(end)
    if not dash or not 0 <= found[0] < found[1] <= DAY:
        raise ValueError(f'{text!r} is no span of a day; write it as "01:00-04:00"')
    return found


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not colon or not (hour.isdecimal() and minute.isdecimal()) or int(minute) > 59:
        raise ValueError(f'{text!r} is no time of day; write it as "01:00"')
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
