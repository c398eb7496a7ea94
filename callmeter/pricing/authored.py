"""Prices as people write them, checked and spelled out as plain rates: the schema of `data/*.toml` and of overrides.

A model is `id`, `aliases`, `mode`, `limits`, `features`, `tokenizer`, `free`, `dated`, `as_text` and a list of `rates`.
An entry of `rates` is `from`, `until`, `when` (any of `tier`, `region`, `hours` with `weekdays`, in UTC), `per`, lines
such as `input = "2.5"`, `over`, `src`; or, in place of lines, `times`: a factor on every token rate its model has
without that condition. A wrong entry stays, with `superseded_by` saying what corrected it, and charges nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.pricing.hours import written
from callmeter.pricing.plan import STANDARD, build
from callmeter.pricing.rates import EXACT, TOKEN_LINES, Rate, femtos, unit_of
from callmeter.pricing.table import FEATURES, Limits, Model

_MODEL_KEYS = frozenset(
    {"id", "aliases", "mode", "limits", "features", "tokenizer", "free", "dated", "as_text", "rates"}
)
_RATE_KEYS = frozenset(
    {"from", "until", "when", "per", "over", "times", "src", "agreed", "checked", "confidence", "note", "superseded_by"}
)
_EMPTY: Mapping[str, Any] = {}


def model(entry: Mapping[str, Any], source: str = "") -> Model:
    """A model's entry as its rates. `source` is the source of rates that name none.

    Raises `ConfigError` naming the model and the key for anything that is no price: see `rates.femtos`; unknown keys
    and lines; a longer context that leaves a token line out; two equally specific rates.
    """
    name = entry.get("id")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"a model's id is {name!r}; give it the name calls use")
    _known(entry, _MODEL_KEYS, name)
    rates = [rate for rate, _ in traced(entry, source)]
    made = Model(
        id=name,
        mode=_text(entry, "mode", "chat", name),
        rates=tuple(sorted(rates, key=lambda r: (r.start_s, r.tier, r.region, r.window, r.floor, r.line))),
        free=entry.get("free") is True,
        same_when_dated=entry.get("dated") == "same-price",
        limits=_limits(entry.get("limits"), name),
        tokenizer=_text(entry, "tokenizer", "", name),
        features=_features(entry.get("features", ()), name),
    )
    if not made.rates and not made.free:
        raise ConfigError(f"{name}: it has no rates; add some, or say free = true")
    check(made)
    return made


def traced(entry: Mapping[str, Any], source: str = "") -> list[tuple[Rate, Mapping[str, Any]]]:
    """The rates of a model's entry, each with the block of `rates` it is from. Raises `ConfigError` like `model`."""
    name = entry["id"]
    found: list[tuple[Rate, Mapping[str, Any]]] = []
    for block in _tables(entry, "rates", name):
        if "superseded_by" in block:
            continue
        if "times" in block:
            made = _multiplied([rate for rate, _ in found], block, name)
        else:
            made = _listed(block, name, source)
        found += [(rate, block) for rate in made]
    return found + [pair for line in _as_text(entry, name) for pair in _alike(found, line)]


def check(made: Model) -> None:
    """Builds every plan the model can have. Raises `ConfigError` where two equally specific rates meet."""
    for tier in {rate.tier for rate in made.rates} | {STANDARD}:
        for region in {rate.region for rate in made.rates} | {""}:
            build(made, tier, region)


def _listed(block: Mapping[str, Any], name: str, source: str) -> list[Rate]:
    """The rates one block spells out, its longer contexts among them."""
    tier, region, window = _when(block, name)
    start, until = interval(block, name)
    per, source = block.get("per", "1"), block.get("src", source)

    def rates(lines: Mapping[str, Any], over: str) -> list[Rate]:
        return [
            Rate(line, _charged(line, price, per, name), start, until, tier, region, over, source, window)
            for line, price in lines.items()
        ]

    lines = _lines(block, _RATE_KEYS, name)
    if not lines:
        raise ConfigError(f'{name}: an entry of rates has no line; write one, such as input = "0.25"')
    found = rates(lines, "")
    for longer in _tables(block, "over", name):
        over = _threshold(longer, name)
        restated = _lines(longer, frozenset({"gt", "gte"}), name)
        missing = TOKEN_LINES & lines.keys() - restated.keys()
        if missing:
            raise ConfigError(f"{name}: {over} leaves out {', '.join(sorted(missing))}; the whole request moves")
        found += rates(restated, over)
    return found


def _multiplied(rates: Sequence[Rate], block: Mapping[str, Any], name: str) -> list[Rate]:
    """Every token rate so far that is ordinary in the block's condition, under that condition and times its factor."""
    tier, region, window = _when(block, name)
    start, until = interval(block, name)
    if bool(tier) + bool(region) + bool(window) != 1 or window or _lines(block, _RATE_KEYS, name):
        raise ConfigError(f"{name}: times needs `when` with either a tier or a region, and no lines beside it")
    factor = Decimal(str(block["times"]))
    found = []
    for rate in rates:
        ordinary = rate.tier in ("", STANDARD) if tier else not rate.region
        begins = max(start, rate.start_s)
        ends = min((end for end in (until, rate.until_s) if end is not None), default=None)
        if not ordinary or rate.line not in TOKEN_LINES or (ends is not None and begins >= ends):
            continue
        what = f"{name}: {rate.line} times {factor}"
        scaled = femtos(EXACT.scaleb(EXACT.multiply(factor, Decimal(rate.femtos)), -15), "1", what)
        moved = replace(rate, femtos=scaled, start_s=begins, until_s=ends, source=block.get("src", rate.source))
        found.append(replace(moved, tier=tier or rate.tier, region=region or rate.region))
    if not found:
        raise ConfigError(f"{name}: times {factor} finds no rate to multiply; put it after them")
    return found


def _as_text(entry: Mapping[str, Any], name: str) -> Sequence[str]:
    """Kinds of token that the provider counts and charges as text."""
    lines: Sequence[str] = entry.get("as_text", ())
    for line in lines:
        if line not in TOKEN_LINES:
            raise ConfigError(f"{name}: as_text has {line!r}, which is not a line of tokens")
    return lines


def _alike(rates: Iterable[tuple[Rate, Mapping[str, Any]]], line: str) -> Iterator[tuple[Rate, Mapping[str, Any]]]:
    return ((replace(rate, line=line), block) for rate, block in rates if rate.line == "input")


def _lines(table: Mapping[str, Any], other: frozenset[str], name: str) -> dict[str, Any]:
    """The priced lines of a table; `search.web` may be written as a dotted key."""
    lines: dict[str, Any] = {}
    for key, value in table.items():
        if key in other:
            continue
        lines |= _dotted(key, value) if isinstance(value, Mapping) else {key: value}
    for line in lines:
        if unit_of(line) is None:
            raise ConfigError(f"{name}: {line!r} is no line that can be priced; pricing/rates.py has the list")
    return lines


def _dotted(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variety, price in value.items():
        line = f"{key}.{variety}"
        found |= _dotted(line, price) if isinstance(price, Mapping) else {line: price}
    return found


def _charged(line: str, price: Any, per: Any, name: str) -> int:
    return femtos(price, _per(line, per, name), f"{name}: {line}")


def _per(line: str, per: Any, name: str) -> str:
    if per in ("1min", "1h") and unit_of(line) != "second":
        raise ConfigError(f"{name}: {line} is not counted in seconds, so it has no price per = {per!r}")
    return str(per)


def _threshold(table: Mapping[str, Any], name: str) -> str:
    given = {key: table[key] for key in ("gt", "gte") if key in table}
    if len(given) != 1 or not all(type(v) is int and v > 0 for v in given.values()):
        raise ConfigError(f"{name}: an entry of over needs one of gt and gte, a whole number of tokens; it has {given}")
    return f">={given['gte']}" if "gte" in given else f">{given['gt']}"


def _when(block: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    """Tier, region and weekly hours; empty for any."""
    when = block.get("when", _EMPTY)
    texts = [when[key] for key in ("tier", "region") if key in when] if isinstance(when, Mapping) else [""]
    if any(not isinstance(text, str) or not text for text in texts):
        raise ConfigError(f'{name}: when is {when!r}; write it as {{ tier = "batch" }}')
    _known(when, frozenset({"tier", "region", "hours", "weekdays"}), f"{name}: when")
    return when.get("tier", "").casefold(), when.get("region", "").casefold(), _window(when, name)


def _window(when: Mapping[str, Any], name: str) -> str:
    if "hours" not in when and "weekdays" not in when:
        return ""
    hours, weekdays = when.get("hours", ["00:00-24:00"]), when.get("weekdays", [1, 2, 3, 4, 5, 6, 7])
    if not isinstance(hours, list) or not isinstance(weekdays, list) or not all(isinstance(h, str) for h in hours):
        raise ConfigError(f'{name}: when is {when!r}; write it as {{ hours = ["01:00-04:00"], weekdays = [1, 2] }}')
    try:
        return written(weekdays, hours)
    except ValueError as problem:
        raise ConfigError(f"{name}: when: {problem}") from None


def interval(block: Mapping[str, Any], name: str) -> tuple[int, int | None]:
    """The seconds since the epoch at which `from` and `until` put something into force and end it."""
    start = _seconds(block.get("from", date(1970, 1, 1)), "from", name)
    until = _seconds(block["until"], "until", name) if "until" in block else None
    if until is not None and until <= start:
        raise ConfigError(f"{name}: until = {block['until']} is not after from = {block.get('from')}")
    return start, until


def _seconds(value: Any, key: str, name: str) -> int:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime) or value.tzinfo is None or value.microsecond:
        raise ConfigError(f"{name}: {key} = {value!r} is no instant; write a date, or a time with its offset from UTC")
    return int(value.timestamp())


def _limits(value: Any, name: str) -> Limits | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or any(type(v) is not int or v <= 0 for v in value.values()):
        raise ConfigError(f"{name}: limits is {value!r}; write whole numbers of tokens above 0")
    _known(value, frozenset(Limits.__struct_fields__), f"{name}: limits")
    return Limits(**value)


def _features(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(feature, str) for feature in value):
        raise ConfigError(f'{name}: features is {value!r:.80}; write a list such as ["vision", "reasoning"]')
    if unknown := sorted(set(value) - FEATURES):
        raise ConfigError(f"{name}: {unknown[0]!r} is no feature; those there are: {', '.join(sorted(FEATURES))}")
    return tuple(sorted(set(value)))


def _text(entry: Mapping[str, Any], key: str, default: str, name: str) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {key} is {value!r:.80}; write it as text")
    return value


def _tables(entry: Mapping[str, Any], key: str, name: str) -> Sequence[Mapping[str, Any]]:
    found = entry.get(key, ())
    if not isinstance(found, list | tuple) or not all(isinstance(item, Mapping) for item in found):
        raise ConfigError(f"{name}: {key} is {found!r:.80}; write a list of tables")
    return found


def _known(table: Mapping[str, Any], keys: frozenset[str], name: str) -> None:
    for key in table:
        if key not in keys:
            raise ConfigError(f"{name}: {key!r} is no key here; it takes {', '.join(sorted(keys))}")
