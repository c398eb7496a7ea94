"""How long to wait before trying again."""

from email.utils import parsedate_to_datetime
from random import Random

FIRST_S = 0.5
LONGEST_S = 60.0
LONGEST_ASKED_S = 900.0
"""A destination may ask for at most 15 minutes; more is taken as a mistake of its."""


def full_jitter_s(failures: int, rng: Random) -> float:
    """Seconds between 0 and a ceiling that doubles with each failure: 0.5 s after the first, 60 s at most.

    The whole range is drawn from, so that many clients of one service do not come back together.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    doublings = min(max(failures - 1, 0), 10)
    return rng.uniform(0.0, min(LONGEST_S, FIRST_S * 2**doublings))


def asked_s(seconds: float) -> float:
    """A wait somebody else asked for, made sane: 0 to 15 minutes; what is no number at all becomes 15 minutes."""
    if seconds < 0:
        return 0.0
    return seconds if seconds <= LONGEST_ASKED_S else LONGEST_ASKED_S


def retry_after_s(header: str | None, wall_ns: int) -> float | None:
    """Seconds a `Retry-After` header asks for, which may hold seconds or a date; None where it says nothing usable.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    text = (header or "").strip()
    if not text:
        return None
    try:
        return asked_s(float(text))
    except ValueError:
        pass
    try:
        return asked_s(parsedate_to_datetime(text).timestamp() - wall_ns / 1e9)
    except (ValueError, OverflowError):
        return None
