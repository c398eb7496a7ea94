"""LiteLLM's price map as offers. The key's name carries the provider, region, size and quality; the field's name
carries the line, the length of context and the service tier.

Source: https://docs.litellm.ai/docs/completion/token_usage, and the map that the package bundles.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from callmeter.pricing.build import weekly
from callmeter.pricing.build.names import bare, by_name, providers
from callmeter.pricing.build.offers import Era, Offer, Slot
from callmeter.pricing.price_map import LINES, TIERS

SOURCE = "litellm"

_LINES: Mapping[str, str] = {
    **LINES,
    "output_cost_per_video_token": "video_out",
    "input_cost_per_text_message": "message",
    "google_maps_grounding_cost_per_query": "search.maps",
    "input_cost_per_video_per_second": "video_second",
}
_BY_MODE: Mapping[str, Mapping[str, str]] = {
    "audio_transcription": {"input_cost_per_second": "audio_second", "output_cost_per_second": "audio_second"},
    "audio_speech": {
        "input_cost_per_character": "character",
        "input_cost_per_second": "audio_second",
        "output_cost_per_second": "audio_second",
    },
    "realtime": {"input_cost_per_second": "audio_second", "output_cost_per_second": "audio_second"},
    "video_generation": {"output_cost_per_second": "video_second", "output_cost_per_image": "image"},
    "image_generation": {"output_cost_per_image": "image", "input_cost_per_image": "image"},
    "image_edit": {"output_cost_per_image": "image", "input_cost_per_image": "image"},
    "embedding": {
        "input_cost_per_image": "image",
        "input_cost_per_character": "character",
        "input_cost_per_query": "request",
    },
    "rerank": {"input_cost_per_query": "rerank"},
    "search": {"input_cost_per_query": "search.web"},
    "vector_store": {"input_cost_per_query": "search.file"},
    "chat": {"output_cost_per_image": "image"},
    "ocr": {"input_cost_per_query": "page"},
}
"""Fields that mean another line in another mode."""

_FIELD = re.compile(
    rf"(?P<stem>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<tier>{'|'.join(TIERS)}))?$",
)
_BY_SIZE = re.compile(r"output_cost_per_second_(\d+p|\dk)|output_cost_per_image_([\d.]+K?)")
_SIZE = re.compile(r"(\d+)-x-(\d+)")
_STEPS = re.compile(r"(\d+|max)-steps")
_QUALITIES = frozenset({"low", "medium", "high", "xhigh", "max", "hd", "standard", "auto"})
_REGION = re.compile(r"[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d")
_ZONES: Mapping[str, str] = {
    "us": "us", "eu": "eu", "apac": "apac", "us-gov": "us-gov", "global": "global", "global-standard": "global",
}  # fmt: skip
_SEARCH = "search_context_cost_per_query"
_CLASS = re.compile(r"(fireworks|together)-ai-(embedding-|moe-)?(up|above|default|\d)")
"""Size classes that LiteLLM falls back to; no call names one."""

_UPLIFTS: Mapping[str, str] = {
    "regional_endpoint_uplift_multiplier": "regional",
    "regional_processing_uplift_multiplier_eu": "eu",
    "regional_processing_uplift_multiplier_us": "us",
}
_UPLIFTED = frozenset(
    "input output cache_read cache_read_audio cache_write_5m cache_write_1h audio_in audio_out image_in image_out "
    "video_in reasoning".split()
)
_DATABRICKS = Decimal("0.0000000001")
"""Databricks sells units; the map has their product with a price, exact to a hundredth of a cent a million tokens."""

_FEATURES: Mapping[str, str] = {
    "supports_vision": "vision",
    "supports_audio_input": "audio_input",
    "supports_audio_output": "audio_output",
    "supports_function_calling": "function_calling",
    "supports_parallel_function_calling": "parallel_function_calling",
    "supports_tool_choice": "tool_choice",
    "supports_response_schema": "response_schema",
    "supports_prompt_caching": "prompt_caching",
    "supports_reasoning": "reasoning",
    "supports_web_search": "web_search",
    "supports_pdf_input": "pdf_input",
    "supports_system_messages": "system_messages",
}
_LIMITS: Mapping[str, str] = {"max_input_tokens": "input", "max_output_tokens": "output"}


class Place(NamedTuple):
    """What a key of the map names."""

    provider: str
    model: str
    region: str = ""
    variety: str = ""
    """Of an image: `hd.1024x1792`."""


def read(path: Path) -> Iterator[Offer]:
    """Every entry of the map that prices a model, the sizes and regions of a model brought together."""
    document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    found: dict[tuple[str, str], Offer] = {}
    for key, entry in document.items():
        place = placed(key, entry) if key != "sample_spec" and isinstance(entry, Mapping) else None
        if place is None:
            continue
        rates = _rates(place, entry)
        for model in _spellings(place):
            # A name that carries its region is a model of its own; its plain name has the rate under a condition.
            own = place.region if model == place.model else ""
            offer = _offer(place, model, entry, {slot._replace(region=own or slot.region): r for slot, r in rates})
            known = found.get((place.provider, model))
            found[place.provider, model] = offer if known is None else _merged(known, offer)
    yield from (offer for offer in found.values() if offer.rates)


def placed(key: str, entry: Mapping[str, Any]) -> Place | None:
    """The provider, model, region and variety that a key names; None for what no call is priced by."""
    name = entry.get("litellm_provider")
    if not isinstance(name, str) or "month-commitment" in key or _CLASS.match(key):
        return None
    slug = by_name("litellm").get(name) or by_name("litellm").get(name.partition("-")[0]) or name.replace("-", "_")
    if name.startswith("vertex_ai-"):
        slug = "vertex_ai"
    parts, quality, size = [], "", ""
    for part in key.split("/"):
        if match := _SIZE.fullmatch(part):
            size = f"{match[1]}x{match[2]}"
        elif match := _STEPS.fullmatch(part):
            quality = "" if match[1] == "50" else part
        elif part in _QUALITIES and "image" in str(entry.get("mode")):
            quality = part
        else:
            parts.append(part)
    row = providers().get(slug)
    known = row.names() if row is not None else ()
    model = bare("/".join(parts), name, slug, *known, *(row.litellm if row is not None else ()))
    head, slash, rest = model.partition("/")
    region = ""
    if slash and slug == "bedrock" and _REGION.fullmatch(head):
        region, model = head, rest
    elif slash and slug == "azure" and head in _ZONES:
        region, model = _ZONES[head], rest
    variety = f"{quality or 'standard'}.{size}" if size else quality
    return Place(slug, model, region, variety)


def _spellings(place: Place) -> Iterator[str]:
    yield place.model
    if place.region and place.provider == "azure":
        yield f"{place.region}/{place.model}"


def _offer(place: Place, model: str, entry: Mapping[str, Any], rates: Mapping[Slot, Decimal]) -> Offer:
    limits = {ours: entry[theirs] for theirs, ours in _LIMITS.items() if isinstance(entry.get(theirs), int | Decimal)}
    features = frozenset(ours for theirs, ours in _FEATURES.items() if entry.get(theirs) is True)
    kinds = {"vision": "image", "audio_input": "audio"}
    return Offer(
        source=SOURCE,
        provider=place.provider,
        model=model,
        eras=(Era(None, rates),) if rates else (),
        mode=str(entry.get("mode") or ""),
        limits={kind: int(tokens) for kind, tokens in limits.items() if tokens > 0},
        features=features,
        takes=frozenset(kind for feature, kind in kinds.items() if feature in features)
        | ({"video"} if entry.get("supports_video_input") is True else set()),
        cites=str(entry.get("source", "")).startswith("http"),
    )


def _merged(one: Offer, other: Offer) -> Offer:
    """Two entries of one model. The plain entry wins over that of a size or a region."""
    first, second = (one, other) if any(slot.plain and slot.line == "input" for slot in one.rates) else (other, one)
    return Offer(
        source=SOURCE,
        provider=one.provider,
        model=one.model,
        eras=(Era(None, {**first.rates, **second.rates, **{slot: p for slot, p in first.rates.items() if p}}),),
        mode=first.mode or second.mode,
        limits=first.limits or second.limits,
        features=first.features or second.features,
        takes=first.takes | second.takes,
        cites=first.cites or second.cites,
    )


def _rates(place: Place, entry: Mapping[str, Any]) -> list[tuple[Slot, Decimal]]:
    mode = str(entry.get("mode") or "chat")
    rates: dict[Slot, Decimal] = {}
    for field, value in entry.items():
        if field == "input_cost_per_image" and "output_cost_per_image" in entry:
            # The picture that goes in; `image` counts those that come out.
            continue
        # Two fields may mean one line, the other one set to 0: a second of audio that goes in, of text that comes out.
        rates |= {
            slot: price for slot, price in _field(place, mode, field, value).items() if price or slot not in rates
        }
    _without_defaults(rates, mode)
    off_peak = entry.get("off_peak_pricing")
    if isinstance(off_peak, Mapping):
        _peaks(rates, off_peak)
    for field, region in _UPLIFTS.items():
        if isinstance(entry.get(field), int | Decimal):
            factor = Decimal(entry[field])
            rates |= {
                slot._replace(region=region): rate * factor
                for slot, rate in rates.items()
                if slot.line in _UPLIFTED and not slot.region
            }
    if place.provider == "databricks":
        rates = {slot: rate.quantize(_DATABRICKS) for slot, rate in rates.items()}
    return list(rates.items())


def _field(place: Place, mode: str, field: str, value: Any) -> dict[Slot, Decimal]:
    if field == _SEARCH and isinstance(value, Mapping):
        return _searches(value)
    if field == "guardrail_cost_per_unit" and isinstance(value, Mapping):
        return {Slot(f"guardrail.{unit}"): Decimal(price) for unit, price in value.items() if price}
    if field == "tiered_pricing" and isinstance(value, list):
        return _ranges(place, value)
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return {}
    price = Decimal(value)
    if match := _BY_SIZE.fullmatch(field):
        return {Slot(f"video_second.{match[1]}" if match[1] else f"image.{match[2]}"): price}
    if field.removesuffix("_batches") in ("input_cost_per_pixel", "output_cost_per_pixel"):
        return _pixels(place, price)
    if field == "file_search_cost_per_1k_calls":
        return {Slot("search.file"): price / 1000}
    slot = _slot(place, mode, field)
    return {} if slot is None else {slot: price}


def _slot(place: Place, mode: str, field: str) -> Slot | None:
    match = _FIELD.fullmatch(field)
    if match is None:
        return None
    line = _BY_MODE.get(mode, {}).get(match["stem"]) or _LINES.get(match["stem"])
    if line is None:
        return None
    if line == "image" and place.variety and "image" in mode:
        line = f"image.{place.variety}"
    floor = _floor(place, int(match["thousands"]) * 1000) if match["thousands"] else 0
    return Slot(line, TIERS.get(match["tier"] or "", ""), floor=floor)


def _floor(place: Place, threshold: int) -> int:
    row = providers().get(place.provider)
    return threshold if row is not None and row.inclusive else threshold + 1


def _searches(value: Mapping[str, Any]) -> dict[Slot, Decimal]:
    """The fee of a search by the size of its context; a request that names none has the medium one."""
    by_size = {key.rpartition("_")[2]: Decimal(price) for key, price in value.items()}
    plain = by_size.get("medium")
    found = {} if plain is None else {Slot("search.web"): plain}
    if len(set(by_size.values())) > 1:
        found |= {Slot(f"search.web.{size}"): price for size, price in by_size.items() if price != plain}
    return found


def _ranges(place: Place, rows: list[Mapping[str, Any]]) -> dict[Slot, Decimal]:
    """Rates by the length of the prompt, for all of its tokens."""
    found: dict[Slot, Decimal] = {}
    for row in rows:
        if not isinstance(row.get("range"), list):
            continue
        start = int(row["range"][0])
        floor = _floor(place, start) if start else 0
        for field, line in _LINES.items():
            if isinstance(row.get(field), int | Decimal):
                found[Slot(line, floor=floor)] = Decimal(row[field])
    return found


def _pixels(place: Place, price: Decimal) -> dict[Slot, Decimal]:
    """The price of one image of the size that the key names; a price by the pixel alone has no line."""
    size = place.variety.rpartition(".")[2]
    width, x, height = size.partition("x")
    if not x or not price:
        return {}
    whole = price * int(width) * int(height)
    return {Slot(f"image.{place.variety}"): whole.quantize(Decimal("0.0001"))}


def _without_defaults(rates: dict[Slot, Decimal], mode: str) -> None:
    """Takes away the zeros that stand for "does not apply"."""
    nonzero = {slot.line for slot, price in rates.items() if price}
    for slot in [slot for slot, price in rates.items() if not price]:
        by_piece = any(line not in ("input", "output") for line in nonzero)
        only_in = mode in ("embedding", "rerank", "moderation", "evaluation", "extraction")
        if slot.line not in ("input", "output") or by_piece or (slot.line == "output" and only_in):
            del rates[slot]


def _peaks(rates: dict[Slot, Decimal], off_peak: Mapping[str, Any]) -> None:
    """Turned round: what the map has as the price is charged in the peak hours, the off-peak price otherwise."""
    peaks = weekly.complement(off_peak)
    for field, line in _LINES.items():
        slot = Slot(line)
        if slot in rates and isinstance(off_peak.get(field), int | Decimal):
            rates |= {slot._replace(window=peak): rates[slot] for peak in peaks}
            rates[slot] = Decimal(off_peak[field])
