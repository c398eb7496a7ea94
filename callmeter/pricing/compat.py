"""Costs as floats, under the names and arguments of LiteLLM's helpers. Everything exact is in `callmeter.pricing`.

Unknown is an error here and never 0. Text is counted by the model's own tokenizer where it is at hand, and estimated
where it is not (`callmeter.pricing.count_tokens` says which), unless the book has a `count_tokens` of its own.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from callmeter.errors import BadRequestError
from callmeter.pricing import price_map
from callmeter.pricing.book import PriceBook, default_book
from callmeter.pricing.own import own_price
from callmeter.pricing.rates import EXACT, INPUT_LINES
from callmeter.types import Cost, CostItem, Usage

_INPUT_HALF = frozenset((*INPUT_LINES, "character"))


def completion_cost(
    completion_response: Any = None,
    model: str | None = None,
    prompt: str = "",
    messages: Sequence[Any] = (),
    completion: str = "",
    total_time: float | None = 0.0,
    call_type: str | None = None,
    custom_llm_provider: str | None = None,
    region_name: str | None = None,
    size: str | None = None,
    quality: str | None = None,
    n: int | None = None,
    custom_cost_per_token: Mapping[str, float] | None = None,
    custom_cost_per_second: float | None = None,
    optional_params: Mapping[str, Any] | None = None,
    base_model: str | None = None,
    service_tier: str | None = None,
    *,
    book: PriceBook | None = None,
    **_: Any,
) -> float:
    """USD for an answer of `completion()`, a dict of that shape, or text (`prompt` or `messages`, and `completion`).

    `total_time` is in milliseconds, for `custom_cost_per_second`; `size`, `quality` and `n` are an image's;
    `custom_cost_per_token` takes the keys of `register_model`. Raises `ConfigError` for a price that is none, and
    `BadRequestError` where the price is not known whole.
    """
    book = book or default_book()
    if custom_cost_per_second is not None:
        return float(_decimal(custom_cost_per_second) * _decimal(total_time or 0) / 1000)
    hidden = _get(completion_response, "_hidden_params") or {}
    known = _get(hidden, "cost")
    if isinstance(known, Cost) and not (model or base_model or custom_cost_per_token or service_tier):
        return float(_whole(known, str(_get(completion_response, "model")), ""))
    name = base_model or model or _get(completion_response, "model") or ""
    provider = custom_llm_provider or (_get(hidden, "custom_llm_provider") if not model else None)
    usage = usage_of(_get(completion_response, "usage"))
    if usage is None:
        units = _units(call_type or "", completion_response, prompt, size, quality, n) or _pieces(known)
        text = completion or _text_of(completion_response)
        usage = Usage(units=units) if units else _counted(book, name, list(messages) or prompt, text)
    own = own_price(name or "this answer", custom_cost_per_token or {})
    if own is not None:
        return float(_whole(book.price_as(own, usage), name, provider))
    tier = service_tier or _get(completion_response, "service_tier") or _get(optional_params, "service_tier")
    cost = book.price(name, usage, provider=provider, service_tier=tier, region=region_name)
    return float(_whole(cost, name, provider))


def cost_per_token(
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    response_time_ms: float | None = 0.0,
    custom_llm_provider: str | None = None,
    region_name: str | None = None,
    prompt_characters: int | None = None,
    completion_characters: int | None = None,
    cache_creation_input_tokens: int | None = 0,
    cache_read_input_tokens: int | None = 0,
    custom_cost_per_token: Mapping[str, float] | None = None,
    custom_cost_per_second: float | None = None,
    number_of_queries: int | None = None,
    usage_object: Any = None,
    call_type: str = "completion",
    audio_transcription_file_duration: float = 0.0,
    service_tier: str | None = None,
    *,
    book: PriceBook | None = None,
    **_: Any,
) -> tuple[float, float]:
    """USD for what went in and for what came out; `prompt_tokens` contains the cached ones.

    The second half holds everything that is not input: output tokens, seconds of audio, searches. Raises
    `BadRequestError` where the price is not known whole.
    """
    book = book or default_book()
    if custom_cost_per_second is not None:
        return 0.0, float(_decimal(custom_cost_per_second) * _decimal(response_time_ms or 0) / 1000)
    usage = usage_of(usage_object)
    if usage is None:
        units: dict[str, Decimal | int] = {}
        if audio_transcription_file_duration:
            units["audio_second"] = _decimal(audio_transcription_file_duration)
        if call_type in ("speech", "aspeech") and prompt_characters:
            units["character"] = prompt_characters
        if call_type in ("rerank", "arerank"):
            units["rerank"] = number_of_queries or 1
        usage = Usage(
            input_tokens=prompt_tokens,
            output_tokens=completion_tokens,
            cache_read_tokens=cache_read_input_tokens or 0,
            cache_write_tokens=cache_creation_input_tokens or 0,
            units=units,
        )
    own = own_price(model or "this call", custom_cost_per_token or {})
    if own is not None:
        cost = book.price_as(own, usage)
    else:
        cost = book.price(model, usage, provider=custom_llm_provider, service_tier=service_tier, region=region_name)
    _whole(cost, model, custom_llm_provider)
    return _sum(cost.items, within=True), _sum(cost.items, within=False)


def register_model(
    model_cost: Mapping[str, Mapping[str, Any]],
    *,
    custom_llm_provider: str | None = None,
    book: PriceBook | None = None,
    **_: Any,
) -> dict[str, dict[str, Any]]:
    """Prices of your own, in the form of LiteLLM's price map; returns all that were registered so in this book.

    Either all of them are taken or none. An entry stands for its model alone: what it leaves out is not known. Raises
    `ConfigError` naming model and key for a price that is none: null, negative, NaN, 1e308.
    """
    if not isinstance(model_cost, Mapping) or not all(isinstance(entry, Mapping) for entry in model_cost.values()):
        raise BadRequestError(f"register_model takes a dict of model to prices, not {model_cost!r:.80}; load it first")
    book = book or default_book()
    made = {name: price_map.authored(name, entry) for name, entry in model_cost.items()}
    book.register_all(
        (entry, custom_llm_provider or model_cost[name].get("litellm_provider") or None)
        for name, entry in made.items()
        if entry is not None
    )
    book.price_map = {**book.price_map, **{name: dict(entry) for name, entry in model_cost.items()}}
    return dict(book.price_map)


def usage_of(raw: Any) -> Usage | None:
    """OpenAI's usage object, or a dict of its shape, as `Usage`. None where there is none.

    Counts are taken as they are; pricing rejects those that cannot be.
    """
    if raw is None or isinstance(raw, Usage):
        return raw
    if (seconds := _get(raw, "seconds")) is not None:
        return Usage(units={"audio_second": _decimal(seconds)})
    details = (
        _get(raw, "prompt_tokens_details") or _get(raw, "input_tokens_details") or _get(raw, "input_token_details")
    )
    out = _get(raw, "completion_tokens_details") or _get(raw, "output_tokens_details")
    by_life = _get(details, "cache_creation_token_details")
    written = _first(_get(raw, "cache_creation_input_tokens"), _get(details, "cache_write_tokens"))
    hour = _get(by_life, "ephemeral_1h_input_tokens") or 0
    searches = _get(_get(raw, "server_tool_use"), "web_search_requests")
    return Usage(
        input_tokens=_first(_get(raw, "prompt_tokens"), _get(raw, "input_tokens")),
        output_tokens=_first(_get(raw, "completion_tokens"), _get(raw, "output_tokens")),
        cache_read_tokens=_first(_get(details, "cached_tokens"), _get(raw, "cache_read_input_tokens")),
        cache_write_tokens=written - hour if hour else written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=_get(out, "reasoning_tokens"),
        input_audio_tokens=_get(details, "audio_tokens") or 0,
        output_audio_tokens=_get(out, "audio_tokens") or 0,
        input_image_tokens=_get(details, "image_tokens") or 0,
        output_image_tokens=_get(out, "image_tokens") or 0,
        input_video_tokens=_get(details, "video_tokens") or 0,
        units={"search.web": searches} if searches else {},
    )


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), 0)


def _whole(cost: Cost, model: str, provider: str | None) -> Decimal:
    """The total, where it is all of the cost."""
    if cost.total is None or cost.status not in ("priced", "free"):
        raise BadRequestError(
            f"the cost of {model!r} is not known: {cost.reason or cost.status}; "
            "pass custom_llm_provider, or its prices to register_model",
            llm_provider=provider or "",
            model=model,
        )
    return cost.total


def _sum(items: Sequence[CostItem], *, within: bool) -> float:
    total = Decimal(0)
    for item in items:
        if (item.line in _INPUT_HALF) is within:
            total = EXACT.add(total, item.amount)
    return float(total)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _text_of(response: Any) -> str:
    choices = _get(response, "choices") or ()
    return "".join(_get(_get(choice, "message"), "content") or _get(choice, "text") or "" for choice in choices)


def _units(
    call_type: str, response: Any, prompt: str, size: str | None, quality: str | None, n: int | None
) -> dict[str, Decimal | int]:
    """What a call that is not sold by the token consumed; nothing for one that is."""
    if size or quality or "image" in call_type:
        variety = f"image.{quality or 'standard'}.{size.replace('-x-', 'x')}" if size else "image"
        return {variety: n or 1}
    if call_type in ("speech", "aspeech"):
        return {"character": len(prompt)}
    if call_type in ("transcription", "atranscription"):
        return {"audio_second": _decimal(_get(response, "duration") or 0)}
    return {}


def _pieces(known: Any) -> dict[str, Decimal | int]:
    """What an answer of ours consumed that is no token, by its cost as it was made."""
    items = known.items if isinstance(known, Cost) else ()
    return {item.line: item.quantity for item in items if item.unit != "token"}


def _counted(book: PriceBook, model: str, prompt: str | list[Any], completion: str) -> Usage:
    count = book.count_tokens or partial(_count, book)
    return Usage(
        input_tokens=count(model, prompt) if prompt else 0,
        output_tokens=count(model, completion) if completion else 0,
    )


def _count(book: PriceBook, model: str, given: str | list[Any]) -> int:
    from callmeter.pricing.tokens import count_tokens

    text, messages = (given, None) if isinstance(given, str) else (None, given)
    return count_tokens(model, text, messages, book=book).tokens
