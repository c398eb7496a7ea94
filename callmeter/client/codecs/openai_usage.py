"""Usage as OpenAI-shaped servers report it: where each count stands, which includes which, and what it cost."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from callmeter.client.codecs.base import Meter
from callmeter.client.codecs.messages import JSON
from callmeter.client.usage import InvalidUsage, at, checked, completion_usage, count, metered, required
from callmeter.shapes import CompletionTokensDetails, CompletionUsage, PromptTokensDetails
from callmeter.types import Deployment, Usage

TOP = {"cached_tokens": "cache_read_tokens", "prompt_cache_hit_tokens": "cache_read_tokens"}
"""Parts of the totals that stand beside them and what we call them: Together and DeepSeek put cache reads there."""

PROMPT = {
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
    "video_tokens": "input_video_tokens",
}
"""Those in `prompt_tokens_details`."""

CACHED = {"audio_tokens": "cache_read_audio_tokens"}
"""Those in its `cached_tokens_details`."""

COMPLETION = {
    "reasoning_tokens": "reasoning_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
"""Those in `completion_tokens_details`. A later place wins over an earlier one, and the provider's row over all."""

SEARCHES = ("server_tool_use_details.web_search_requests", "server_tool_use.web_search_requests")


def raw_usage(payload: JSON) -> Any:
    """The usage object of an answer or chunk; Groq's last chunk has it under `x_groq`."""
    usage = payload.get("usage")
    return at(payload, "x_groq.usage") if usage is None else usage


def openai_meter(raw: Any, deployment: Deployment, service_tier: str) -> Meter:
    """What a raw usage object says about quantity and money."""
    names = deployment.quirks.get("usage", {})
    meter = metered(raw, lambda counts: _usage(counts, names), service_tier=service_tier, reported=reported_cost(raw))
    return _with_free_cache(meter) if deployment.quirks.get("free_cache") else meter


def _with_free_cache(meter: Meter) -> Meter:
    """A meter whose input leaves cache reads out, as they are not charged for."""
    if meter.usage is None or not meter.usage.cache_read_tokens:
        return meter
    read = meter.usage.cache_read_tokens
    consumed = replace(meter.usage, input_tokens=meter.usage.input_tokens + read)
    return replace(meter, usage=consumed, billed=replace(meter.usage, cache_read_tokens=0))


def input_meter(raw: Any, deployment: Deployment) -> Meter:
    """The same of an operation that writes nothing, where some give the total alone."""
    names = deployment.quirks.get("usage", {})
    whole = {"prompt_tokens": at(raw, "total_tokens"), "completion_tokens": 0}
    return metered(raw, lambda counts: _usage({**whole, **counts}, names), reported=reported_cost(raw))


def _usage(raw: Mapping[str, Any], names: Mapping[str, str]) -> Usage:
    """OpenAI's counts as ours: totals include their parts in both. Raises `InvalidUsage`.

    Where `total_tokens` says that reasoning stands outside `completion_tokens`, as at xAI, it is added.
    Source: https://docs.x.ai/docs/guides/reasoning
    """
    prompt, total = required(raw, names.get("input_tokens", "prompt_tokens")), count(raw, "total_tokens")
    output = count(raw, names.get("output_tokens", "completion_tokens"))
    if output is None:
        if total is None or total < prompt:
            raise InvalidUsage("completion_tokens is missing")
        output = total - prompt
    parts = _parts(raw, names)
    reasoning = parts.get("reasoning_tokens")
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    return Usage(input_tokens=prompt, output_tokens=output, units=_units(raw, names), **parts)


def _parts(raw: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    _note(found, raw, TOP)
    prompt = raw.get("prompt_tokens_details")
    _note(found, prompt, PROMPT)
    if isinstance(prompt, dict) and "cached_tokens_details" in prompt:
        _note(found, prompt["cached_tokens_details"], CACHED)
    _note(found, raw.get("completion_tokens_details"), COMPLETION)
    for field in PARTS & names.keys() if names else ():
        value = count(raw, names[field])
        if value is not None:
            found[field] = value
    return found


def _note(found: dict[str, int], box: Any, fields: Mapping[str, str]) -> None:
    if isinstance(box, dict):
        for name in fields.keys() & box.keys():
            value = box[name]
            if value is not None:
                found[fields[name]] = checked(value, name)


PARTS = frozenset(field for fields in (TOP, PROMPT, CACHED, COMPLETION) for field in fields.values())


def _units(raw: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Decimal | int]:
    found: dict[str, Decimal | int] = {}
    if "server_tool_use" in raw or "server_tool_use_details" in raw:
        for path in SEARCHES:
            searches = count(raw, path)
            if searches:
                found["search.web"] = searches
    for line, path in names.items() if names else ():
        if line not in Usage.__struct_fields__ and (value := count(raw, path)):
            found[line] = value
    return found


def reported_cost(raw: Any) -> Decimal | None:
    """OpenRouter's `cost` and Perplexity's `cost.total_cost`, USD; with a caller's own key at OpenRouter both parts."""
    if not isinstance(raw, Mapping) or "cost" not in raw:
        return None
    cost = raw["cost"]
    cost = at(cost, "total_cost") if isinstance(cost, Mapping) else cost
    upstream = at(raw, "cost_details.upstream_inference_cost") if at(raw, "is_byok") is True else 0
    if not _is_money(cost):
        return None
    return Decimal(str(cost)) + (Decimal(str(upstream)) if _is_money(upstream) else 0)


def _is_money(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9


def shown_usage(meter: Meter) -> CompletionUsage | None:
    """The public usage of an OpenAI-shaped answer: ours, with the details that the server gave beyond it."""
    if meter.usage is None:
        return None
    shown = completion_usage(meter.usage)
    _add_told(shown.prompt_tokens_details, at(meter.raw, "prompt_tokens_details"))
    told = at(meter.raw, "completion_tokens_details")
    if isinstance(told, Mapping):
        shown.completion_tokens_details = shown.completion_tokens_details or CompletionTokensDetails()
        _add_told(shown.completion_tokens_details, told)
    shown.cost = None if meter.reported is None else float(meter.reported)
    return shown


def _add_told(details: PromptTokensDetails | CompletionTokensDetails | None, told: Any) -> None:
    if details is None or not isinstance(told, Mapping):
        return
    known = _FIELDS[type(details)]
    for field, value in told.items():
        if type(value) is int and field in known and getattr(details, field) is None:
            setattr(details, field, value)


_FIELDS = {kind: frozenset(kind.__struct_fields__) for kind in (PromptTokensDetails, CompletionTokensDetails)}
