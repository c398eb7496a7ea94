"""Counts as a provider sends them, checked, and usage as our callers see it.

A number that cannot be a count rejects the whole usage object: half of a bill is not a bill. The raw object is kept.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from callmeter.client.codecs.base import Meter
from callmeter.shapes import CompletionTokensDetails, CompletionUsage, PromptTokensDetails
from callmeter.types import Usage

MAX_COUNT = 2**53
"""Beyond this a JSON number is no longer exact everywhere, and no call consumes that much."""


class InvalidUsage(ValueError):
    """A provider's count that cannot be one. The message names it and its value."""


def count(raw: Any, path: str) -> int | None:
    """The count at a path such as `prompt_tokens_details.cached_tokens`; None where the path ends early.

    Raises `InvalidUsage` for anything but a whole number from 0 to 2**53: `12.0` is one; `"12"`, `true`, NaN are not.
    """
    value = raw.get(path) if isinstance(raw, dict) and "." not in path else at(raw, path)
    return None if value is None else checked(value, path)


def checked(value: Any, path: str) -> int:
    """The value if it is a count (see `count`). Raises `InvalidUsage` naming the path."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if type(value) is float and value.is_integer() and 0 <= value <= MAX_COUNT:
        return int(value)
    raise InvalidUsage(f"{path} is {value!r:.100}")


def required(raw: Any, path: str) -> int:
    """The count at a path. Raises `InvalidUsage` also where it is absent."""
    value = count(raw, path)
    if value is None:
        raise InvalidUsage(f"{path} is missing")
    return value


def at(raw: Any, path: str) -> Any:
    """The value at a dotted path through nested objects; None where it ends early."""
    if "." not in path:
        return raw.get(path) if isinstance(raw, dict) else None
    for name in path.split("."):
        if not isinstance(raw, dict):
            return None
        raw = raw.get(name)
    return raw


def metered(
    raw: Any, read: Callable[[Any], Usage], *, service_tier: str = "", reported: Decimal | None = None
) -> Meter:
    """The meter for a raw usage object; `read` makes it a `Usage` and may raise `InvalidUsage`. None is no usage."""
    if raw is None:
        return Meter(service_tier=service_tier, reported=reported)
    usage, problem = None, ""
    try:
        if not isinstance(raw, dict):
            raise InvalidUsage(f"usage is {raw!r:.100}")
        usage = read(raw)
    except InvalidUsage as error:
        problem = str(error)
    return Meter(usage=usage, raw=raw, problem=problem, service_tier=service_tier, reported=reported)


def completion_usage(usage: Usage, *, anthropic_keys: bool = False) -> CompletionUsage:
    """Usage in OpenAI's public shape; the one place that makes it.

    With `anthropic_keys` also `cache_creation_input_tokens` and `cache_read_input_tokens`, as Anthropic's users read.
    """
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    details = PromptTokensDetails(
        cached_tokens=usage.cache_read_tokens,
        audio_tokens=usage.input_audio_tokens or None,
        image_tokens=usage.input_image_tokens or None,
        video_tokens=usage.input_video_tokens or None,
    )
    shown = CompletionUsage(
        completion_tokens=usage.output_tokens,
        prompt_tokens=usage.input_tokens,
        total_tokens=usage.total_tokens,
        completion_tokens_details=_output_details(usage),
        prompt_tokens_details=details,
    )
    if anthropic_keys:
        shown.cache_creation_input_tokens, shown.cache_read_input_tokens = written, usage.cache_read_tokens
        if written:
            details.cache_creation_tokens = written
            details.cache_creation_token_details = {
                "ephemeral_5m_input_tokens": usage.cache_write_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
            }
    elif written:
        details.cache_write_tokens = written
    searches = usage.units.get("search.web")
    if searches:
        details.web_search_requests = int(searches)
        shown.server_tool_use = {"web_search_requests": int(searches)}
    return shown


def _output_details(usage: Usage) -> CompletionTokensDetails | None:
    if usage.reasoning_tokens is None and not usage.output_audio_tokens and not usage.output_image_tokens:
        return None
    return CompletionTokensDetails(
        reasoning_tokens=usage.reasoning_tokens,
        audio_tokens=usage.output_audio_tokens or None,
        image_tokens=usage.output_image_tokens or None,
    )
