"""genai-prices' data as offers: USD by million tokens, thousand calls or hour, with the days they begin.

The module with the data is read as text and never run. Source: https://github.com/pydantic/genai-prices.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.pricing.build import weekly
from callmeter.pricing.build.names import by_name
from callmeter.pricing.build.offers import Era, Offer, Slot, per_unit

SOURCE = "genai-prices"

_LINES: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write_5m", 10**6),
    "cache_write_5m_mtok": ("cache_write_5m", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "input_audio_mtok": ("audio_in", 10**6),
    "output_audio_mtok": ("audio_out", 10**6),
    "cache_audio_read_mtok": ("cache_read_audio", 10**6),
    "input_image_mtok": ("image_in", 10**6),
    "output_image_mtok": ("image_out", 10**6),
    "input_video_mtok": ("video_in", 10**6),
    "output_video_mtok": ("video_out", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "output_citation_mtok": ("citation", 10**6),
    "web_searches_kcount": ("search.web", 1000),
    "storage_searches_kcount": ("search.file", 1000),
    "requests_kcount": ("request", 1000),
    "input_text_messages_kcount": ("message", 1000),
    "audio_hours": ("audio_second", 3600),
    "input_audio_hours": ("audio_second", 3600),
    "input_mchars": ("character", 10**6),
    "input_document_kpages": ("page", 1000),
    "input_annotated_document_kpages": ("page_annotated", 1000),
}
_NOT_OURS = frozenset({"cache_image_read_mtok"})
"""Cached images are counted with cached text."""

_TIERS: Mapping[tuple[str, str], str] = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "",
    ("service_tier", "default"): "",
    ("speed", "fast"): "fast",
}
"""Variants by what a request says. `fast` of OpenAI is its `priority`, `default` the standard tier; routes and kinds of
search have no condition here."""

_CHECKED = re.compile(r"(?:verified|checked|read|as of|published)\b[^.;]{0,30}?(\d{4}-\d\d-\d\d)", re.I)
_REGIONAL = "regional."
"""Before the collection's names for models at regional endpoints of Bedrock; no call has it."""

_PROFILE = re.compile(r"'([a-z]{2,4}(?:-gov)?)\.anthropic\.")
_AREAS = ("apac", "eu", "us")
"""The areas of profiles where the collection does not name them."""

_VERTEX = re.compile(r"claude|-maas$|@")

Match = Callable[[str], bool]


class Pattern:
    """A model of the collection with the names it stands for."""

    def __init__(self, provider: str, model: str, clause: Mapping[str, Any]) -> None:
        self.provider, self.model, self.fits = provider, model, _matcher(clause)


def read(path: Path, as_of: date) -> tuple[list[Offer], list[Pattern]]:
    """Every model of the collection under each name it is listed by, and the patterns in the order they are tried.

    `as_of` tells today's prices from those that are announced.
    """
    offers: list[Offer] = []
    patterns: list[Pattern] = []
    for provider in _providers(path.read_text(encoding="utf-8")):
        for model in provider["models"]:
            for slug, name in _homes(provider["id"], model["id"]):
                offer = _offer(slug, name, provider, model, as_of)
                offers.append(offer)
                offers += [_renamed(offer, _name(provider["id"], other)) for other in _equals(model["match"])]
                offers += [replace(offer, model=profile) for profile in _profiles(model)]
                patterns.append(Pattern(slug, name, model["match"]))
    unique: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        known = unique.get((offer.provider, offer.model))
        if known is None or (known.alias_of and not offer.alias_of):
            unique[offer.provider, offer.model] = offer
    return list(unique.values()), patterns


def _homes(provider: str, model: str) -> Iterator[tuple[str, str]]:
    """Our provider and the name there. Google's are sold by the Gemini API, by Vertex AI, or by both."""
    if provider == "openai-decisions":
        return
    if provider == "google":
        if not _VERTEX.search(model):
            yield "gemini", model
        yield "vertex_ai", model
        return
    ids = by_name("genai")
    yield ids.get(provider) or ids.get(provider.partition("_")[0]) or provider.replace("-", "_"), _name(provider, model)


def _name(provider: str, model: str) -> str:
    """The router of Hugging Face bills as the provider named after the model."""
    host = provider.partition("_")[2] if provider.startswith("huggingface_") else ""
    return f"{model}:{host}" if host else model.removeprefix(_REGIONAL)


def _profiles(model: Mapping[str, Any]) -> Iterator[str]:
    """What calls name where the collection says `regional.`: the inference profiles of Bedrock's regions."""
    bare = model["id"].removeprefix(_REGIONAL)
    if bare != model["id"]:
        named = set(_PROFILE.findall(str(model["match"])))
        yield from (f"{area}.{bare}" for area in sorted(named) or _AREAS)


def _renamed(offer: Offer, name: str) -> Offer:
    return replace(offer, model=name, alias_of=offer.model if name != offer.model else "")


def _offer(slug: str, name: str, provider: Mapping[str, Any], model: Mapping[str, Any], as_of: date) -> Offer:
    comment = str(model.get("price_comments", ""))
    eras, coming = _eras(model, as_of)
    days = [date.fromisoformat(text) for text in _CHECKED.findall(comment)]
    return Offer(
        source=SOURCE,
        provider=slug,
        model=name,
        eras=eras,
        coming=coming,
        limits={"context": model["context_window"]} if model.get("context_window") else {},
        checked=max(days, default=None),
        cites="http" in comment or bool(provider.get("pricing_urls")),
    )


def _eras(model: Mapping[str, Any], as_of: date) -> tuple[tuple[Era, ...], tuple[Era, ...]]:
    """The price lists until today, and those to come. Weekly hours and service tiers are today's."""
    listed = model["prices"]
    if isinstance(listed, Mapping):
        listed = [{"prices": listed}]
    dated: dict[date | None, dict[Slot, Decimal]] = {}
    hourly: dict[Slot, Decimal] = {}
    for entry in listed:
        constraint = entry.get("constraint") or {}
        rates = _rates(entry["prices"])
        if "start_time" in constraint:
            windows = weekly.daily(constraint["start_time"], constraint["end_time"])
            hourly |= {slot._replace(window=w): price for slot, price in rates.items() for w in windows}
        else:
            dated[constraint.get("start_date")] = rates
    eras = [Era(day, dated[day]) for day in sorted(dated, key=lambda day: day or date.min)]
    known = [era for era in eras if era.start is None or era.start <= as_of]
    coming = tuple(era for era in eras if era not in known)
    if not known:
        return (), coming
    tiers = _variants(model.get("price_variants") or (), as_of)
    return (*known[:-1], Era(known[-1].start, {**known[-1].rates, **hourly, **tiers})), coming


def _variants(variants: Sequence[Mapping[str, Any]], as_of: date) -> dict[Slot, Decimal]:
    """What service tiers change of today's list; the first that holds counts.

    Their days are days of checking, so no start is taken from them.
    """
    found: dict[Slot, Decimal] = {}
    for variant in reversed(variants):
        if (variant.get("constraint") or {}).get("start_date", as_of) > as_of:
            continue
        tiers = {_TIERS.get(condition, "") for condition in variant["when"].items()}
        tier = tiers.pop() if len(tiers) == 1 else ""
        if tier:
            found |= {slot._replace(tier=tier): price for slot, price in _rates(variant["prices"]).items()}
    return found


def _rates(prices: Mapping[str, Any]) -> dict[Slot, Decimal]:
    found: dict[Slot, Decimal] = {}
    for key, value in prices.items():
        if key in _NOT_OURS or value is None:
            continue
        if key not in _LINES:
            raise ConfigError(f"genai-prices has a price {key!r} that pricing/build/genai_prices.py does not know")
        line, per = _LINES[key]
        if isinstance(value, Mapping):
            found[Slot(line)] = per_unit(value["base"], per)
            for longer in value["tiers"]:
                found[Slot(line, floor=int(longer["start"]) + 1)] = per_unit(longer["price"], per)
        else:
            found[Slot(line)] = per_unit(value, per)
    return found


def _equals(clause: Mapping[str, Any]) -> Iterator[str]:
    if "equals" in clause:
        yield clause["equals"]
    for part in clause.get("or_", ()):
        yield from _equals(part)


def _matcher(clause: Mapping[str, Any]) -> Match:
    """The collection's own test of a name, which it lower-cases first."""
    for key, test in _TESTS.items():
        if key in clause:
            wanted = str(clause[key])
            return lambda name: test(name, wanted)
    parts = [_matcher(part) for part in clause.get("or_") or clause.get("and_") or ()]
    every = "and_" in clause
    return lambda name: (all if every else any)(part(name) for part in parts)


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda name, wanted: name == wanted.lower(),
    "starts_with": lambda name, wanted: name.startswith(wanted.lower()),
    "ends_with": lambda name, wanted: name.endswith(wanted.lower()),
    "contains": lambda name, wanted: wanted.lower() in name,
    "regex": lambda name, wanted: bool(re.search(wanted, name)),
}


def _providers(text: str) -> Sequence[Mapping[str, Any]]:
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "providers":
            found = _value(statement.value)
            if isinstance(found, list):
                return found
    raise ConfigError("genai-prices' data.py has no list `providers`; the reader was written for its version 0.2.3")


def _value(node: ast.expr | None) -> Any:
    """A literal or a call of a known constructor as plain data."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call):
        called, arguments = ast.unparse(node.func), [_value(argument) for argument in node.args]
        if called == "Decimal":
            return Decimal(arguments[0])
        if called == "datetime.date":
            return date(*arguments)
        if called == "datetime.time":
            return arguments[0] * 60 + arguments[1]
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    return None
