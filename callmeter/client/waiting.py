"""How long a server asks us to wait, in every spelling that providers have. Pure.

`retry-after-ms` and `retry-after` are for that. Where neither is there, a 429 is over when the limit that was hit is
reset, which providers say in headers of their own.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

RESETS = re.compile(
    r"x-ratelimit-(?P<reset>reset)(?P<bucket>-.+)?"
    r"|(?P<name>anthropic-ratelimit-.+)-reset"
    r"|ratelimit(?P<kind>by.+)?-reset"
    r"|x-ratelimit(?P<window>-limit-.+|-.+)-reset"
)
"""Headers that say when a limit is reset: `x-ratelimit-reset-requests` (OpenAI, Groq, Azure, Cerebras),
`anthropic-ratelimit-tokens-reset`, `x-ratelimit-reset` (OpenRouter, GitHub, Together), `ratelimit-reset` (Hugging Face,
watsonx.ai), `ratelimitbysize-reset` (Mistral), `x-ratelimit-tokens-reset`.

Source: https://platform.openai.com/docs/guides/rate-limits, https://docs.anthropic.com/en/api/rate-limits,
https://console.groq.com/docs/rate-limits, https://openrouter.ai/docs/api-reference/limits
"""

EARLIEST_S = 1e9
"""A number from here on is a time since the epoch, and not how long to wait."""

EARLIEST_MS = 1e12
"""From here on it is one in milliseconds."""


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds the server asks us to wait; None where it does not say or says nonsense.

    `retry-after-ms` wins over `retry-after`, which is seconds, an HTTP date or a duration such as `1m30s`.
    """
    ms = _number(headers.get("retry-after-ms", ""))
    if ms is not None:
        return ms / 1000
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    lasts = _duration(text)
    return _until(_http_date(text), now_s) if lasts is None else lasts


def reset_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds until the limits that are used up are reset, the longest of them; None where nothing is said to be.

    A limit is used up where nothing remains of it, or where the headers do not say how much does.
    """
    waits = [wait for text in _resets(headers) if (wait := _reset(text, now_s)) is not None]
    return max(waits, default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[str]:
    """What the headers say of the reset of those limits that are used up."""
    for name, text in headers.items():
        if "ratelimit" in name and RESETS.fullmatch(name):
            remains = headers.get(name.replace("reset", "remaining"), "").strip()
            if not remains or _number(remains) == 0:
                yield text.strip()
    yield from _USED_UP.findall(headers.get("ratelimit", ""))


def _reset(text: str, now_s: float | None) -> float | None:
    """A reset as seconds from now: a number of them, a duration, or a time as a number or a date."""
    number = _number(text)
    if number is None:
        lasts = _duration(text)
        return _until(_date(text), now_s) if lasts is None else lasts
    if number >= EARLIEST_MS:
        return _until(number / 1000, now_s)
    return _until(number, now_s) if number >= EARLIEST_S else number


def _until(moment_s: float | None, now_s: float | None) -> float | None:
    return None if moment_s is None else max(0.0, moment_s - (time.time() if now_s is None else now_s))


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _date(text: str) -> float | None:
    """A date as Anthropic writes it, or as HTTP does. Source: RFC 3339."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return _http_date(text)


def _duration(text: str) -> float | None:
    """`6m0s`, `1h2m`, `7.66s`, `120ms` in seconds."""
    parts = _DURATION.fullmatch(text)
    if not parts or not parts.group(0):
        return None
    return sum(
        float(part) * unit for part, unit in zip(parts.groups(), (86400, 3600, 60, 1, 0.001), strict=True) if part
    )


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


_USED_UP = re.compile(r";\s*r=0\s*;\s*t=(\d+)")
"""A used-up limit in `ratelimit: "api";r=0;t=55`, as Hugging Face has it.

Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
