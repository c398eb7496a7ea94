"""Prices and discounts of the reader's own contracts, from a TOML file, worked into a table before it is used.

    [[model]]
    provider = "openai"
    id = "gpt-4o"
    reason = "contract 2026-14"
    [[model.rates]]
    from = 2026-01-01
    until = 2027-01-01
    per = "1M"
    input = "2"
    output = "8"

    [[discount]]
    provider = "anthropic"
    model = "claude-*"
    percent = "12.5"
    from = 2026-07-01
    reason = "committed use"

A `[[model]]` has the form of `data/*.toml`. A rate of it takes the place of the table's for the same line, tier and
region while it is in force; one for tokens takes the place of all the table's for tokens, since they belong together.
A discount takes its percent off the table's rates, not off a `[[model]]`'s.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.pricing import authored
from callmeter.pricing.contracts import USER, Contract, Discount, Overrides
from callmeter.pricing.match import canonical
from callmeter.pricing.rates import unit_of

MAX_DECIMALS = 6
"""Of a percentage."""

_DISCOUNT_KEYS = frozenset({"provider", "model", "percent", "from", "until", "lines", "reason"})


def load(path: Path) -> Overrides:
    """The overrides of a file.

    Raises `ConfigError` naming the file, the entry with its line, the field and its value.
    """
    try:
        body = path.read_bytes()
        text = body.decode()
    except OSError as error:
        raise ConfigError(f"cannot read the price overrides {path}: {error.strerror}; correct the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it so") from None
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    for key in document:
        if key not in ("model", "discount"):
            raise ConfigError(f"{path}: {key!r} is no key here; it takes [[model]] and [[discount]]")
    places = {kind: _places(text, kind) for kind in ("model", "discount")}
    models = _read(document, "model", _contract, path, places["model"])
    discounts = _read(document, "discount", _discount, path, places["discount"])
    digest = hashlib.sha256(body).hexdigest()[:8]
    found = Overrides(path=str(path), models=tuple(models), discounts=tuple(discounts), hash=digest)
    found.refuse_twins()
    return found


def _places(text: str, kind: str) -> list[int]:
    """The lines on which the tables of a kind begin."""
    header = re.compile(rf"^[ \t]*\[\[\s*{kind}\s*\]\]", re.MULTILINE)
    return [text.count("\n", 0, found.start()) + 1 for found in header.finditer(text)]


def _read(document: Mapping[str, Any], kind: str, read: Any, path: Path, lines: Sequence[int]) -> list[Any]:
    entries = document.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: {kind} is {entries!r:.60}; write it as [[{kind}]]")
    made = []
    for position, entry in enumerate(entries):
        try:
            made.append(read(entry))
        except ConfigError as error:
            # An array written inline has no headers to count.
            at = f", line {lines[position]}" if len(lines) == len(entries) else ""
            raise ConfigError(f"{path}{at}: [[{kind}]] {position + 1}: {error}") from None
    return made


def _contract(entry: Mapping[str, Any]) -> Contract:
    given = dict(entry)
    provider, reason = _text(given, "provider"), _text(given, "reason", needed=False)
    given.pop("provider")
    given.pop("reason", None)
    aliases = given.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) and alias.strip() for alias in aliases):
        raise ConfigError(f'aliases is {aliases!r:.60}; write a list of names, such as ["my-model"]')
    made = authored.model(given, source=reason)
    rates = [replace(rate, source=f"{USER}: {rate.source}" if rate.source else USER) for rate in made.rates]
    return Contract(
        provider=provider.casefold(),
        model=replace(made, rates=tuple(rates)),
        names=tuple(dict.fromkeys(map(canonical, (made.id, *aliases)))),
        reason=reason,
    )


def _discount(entry: Mapping[str, Any]) -> Discount:
    for key in entry:
        if key not in _DISCOUNT_KEYS:
            raise ConfigError(f"{key!r} is no key here; it takes {', '.join(sorted(_DISCOUNT_KEYS))}")
    provider = _text(entry, "provider")
    start_s, until_s = authored.interval(entry, provider)
    return Discount(
        provider=provider.casefold(),
        pattern=canonical(_text(entry, "model", needed=False) or "*"),
        percent=_percent(entry.get("percent")),
        start_s=start_s,
        until_s=until_s,
        lines=_lines(entry.get("lines", [])),
        reason=_text(entry, "reason", needed=False),
    )


def _text(entry: Mapping[str, Any], key: str, *, needed: bool = True) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str) or (needed and not value.strip()):
        said = f"is {value!r:.60}" if key in entry else "is missing"
        raise ConfigError(f'{key} {said}; write it as text, such as {key} = "openai"')
    return value.strip()


def _percent(value: Any) -> Decimal:
    advice = 'write a percentage above 0 and up to 100 as text, such as percent = "12.5"'
    if not isinstance(value, str | int) or isinstance(value, bool):
        said = "is missing" if value is None else f"is {value!r:.60}"
        raise ConfigError(f"percent {said}; {advice}")
    try:
        percent = Decimal(value)
    except InvalidOperation:
        raise ConfigError(f"percent is {value!r:.60}; {advice}") from None
    if not percent.is_finite() or not 0 < percent <= 100 or percent != round(percent, MAX_DECIMALS):
        raise ConfigError(f"percent is {value!r:.60}; {advice}, with {MAX_DECIMALS} decimals at most")
    return percent


def _lines(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ConfigError(f'lines is {value!r:.60}; write a list, such as ["input", "output"]')
    for line in value:
        if unit_of(line) is None:
            raise ConfigError(f"lines has {line!r:.60}, which is no line of a price; docs/prices.md has the list")
    return frozenset(value)
