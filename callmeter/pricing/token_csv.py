"""Requests from a CSV of token counts: a trace, an export of ours, or somebody else's log. Read line by line."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from callmeter.errors import ConfigError
from callmeter.pricing.fit import features_used
from callmeter.pricing.whatif import Request
from callmeter.types import Usage

NAMES: Mapping[str, str] = {
    "input": "input_tokens contexttokens prompttokens requesttokens tokensin input prompt",
    "output": "output_tokens generatedtokens completiontokens responsetokens tokensout output completion",
    "at": "at timestamp time date datetime createdat startedat starttime",
    "cache_read": "cache_read_tokens cachedtokens cachedinputtokens cachereadinputtokens inputcachedtokens",
    "cache_write": "cache_write_tokens cachecreationinputtokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens thinkingtokens",
    "audio_in": "input_audio_tokens",
    "audio_out": "output_audio_tokens",
    "audio_cached": "cache_read_audio_tokens",
    "image_in": "input_image_tokens",
    "image_out": "output_image_tokens",
    "video_in": "input_video_tokens",
    "units": "units",
    "tier": "service_tier tier",
    "operation": "operation",
    "finish": "finish_reason",
    "cost": "cost costusd",
}
"""What a column may hold, and the names it is known by: case, blanks and signs do not matter."""

_USAGE = {
    name: spellings.split()[0] for name, spellings in NAMES.items() if spellings.split()[0] in Usage.__struct_fields__
}
_USAGE.pop("units")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = ((10**17, 1), (10**14, 10**3), (10**11, 10**6), (0, 10**9))
"""From which number on an instant as a plain number is in ns, µs, ms or s, and nanoseconds of one."""


class TokenCsv:
    """A file of requests. `columns` says which column holds what, in place of what the names suggest.

    Raises `ConfigError` for a file that cannot be read, and where no column holds input or output tokens.
    """

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.columns = _detected(_header(path), columns or {}, path)
        """The column's name by what it holds."""
        self.without_usage = 0
        """Rows read so far that name neither input nor output."""

    def __iter__(self) -> Iterator[Request]:
        """The requests. Raises `ConfigError` naming line, column and value for what is no count or instant."""
        with _opened(self.path) as file:
            reader = csv.reader(file)
            header = next(reader)
            at = {what: header.index(name) for what, name in self.columns.items()}
            self.without_usage = 0
            try:
                for row in reader:
                    if row and (request := self._request(row, at, reader.line_num)) is not None:
                        yield request
            except (csv.Error, UnicodeDecodeError) as error:
                raise ConfigError(f"{self.path}, line {reader.line_num}: {error}; is it CSV in UTF-8?") from None

    def _request(self, row: Sequence[str], at: Mapping[str, int], line: int) -> Request | None:
        def cell(what: str, read: Callable[[str], Any], otherwise: Any = None) -> Any:
            if what not in at:
                return otherwise
            try:
                text = row[at[what]].strip()
                return read(text) if text else otherwise
            except (ValueError, InvalidOperation, IndexError, OverflowError, msgspec.DecodeError) as error:
                said = f"{row[at[what]]!r:.60}" if at[what] < len(row) else "missing"
                meant = _MEANT.get(what, "count")
                raise ConfigError(
                    f"{self.path}, line {line}: {self.columns[what]} is {said}, which is no {meant}"
                ) from error

        if cell("input", _count) is None or cell("output", _count) is None:
            self.without_usage += 1
            return None
        counts = {field: cell(what, _count, None if what == "reasoning" else 0) for what, field in _USAGE.items()}
        usage = Usage(**counts, units=cell("units", _units, {}))
        return Request(
            usage=usage,
            at_ns=cell("at", _instant_ns),
            cost=cell("cost", _money),
            service_tier=cell("tier", str, ""),
            operation=cell("operation", str, ""),
            uses=features_used(usage, cell("finish", str, "")),
        )


_MEANT = {"at": "instant", "cost": "amount in USD", "units": "map of line to quantity"}


def parse_columns(text: str) -> dict[str, str]:
    """`input=ContextTokens,output=GeneratedTokens` as a mapping. Raises `ConfigError` naming what may be mapped."""
    found = {}
    for part in text.split(","):
        what, equals, name = part.partition("=")
        if not equals or what.strip() not in NAMES or not name.strip():
            raise ConfigError(
                f"--columns {part.strip()!r} is no mapping; write input=NAME,output=NAME, "
                f"with any of {', '.join(NAMES)}"
            )
        found[what.strip()] = name.strip()
    return found


def _header(path: Path) -> list[str]:
    with _opened(path) as file:
        try:
            header = next(csv.reader(file), None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}; is it CSV in UTF-8?") from None
    if not header:
        raise ConfigError(f"{path} is empty; its first line has to name the columns")
    return header


def _opened(path: Path) -> Any:
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _detected(header: Sequence[str], given: Mapping[str, str], path: Path) -> dict[str, str]:
    for what, name in given.items():
        if name not in header:
            raise ConfigError(f"{path} has no column {name!r} for {what}; it has {', '.join(header)}")
    plain = {_plain(name): name for name in reversed(header)}
    found = dict(given)
    for what, spellings in NAMES.items():
        known = next((plain[_plain(s)] for s in spellings.split() if _plain(s) in plain), None)
        if what not in found and known is not None and known not in given.values():
            found[what] = known
    missing = [what for what in ("input", "output") if what not in found]
    if missing:
        raise ConfigError(
            f"{path} has no column that is known to hold {' and '.join(missing)} tokens; it has {', '.join(header)}: "
            f"write --columns {missing[0]}=NAME"
        )
    return found


def _plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _count(text: str) -> int:
    number = Decimal(text)
    if not number.is_finite() or number < 0 or number != number.to_integral_value() or number > 2**63:
        raise ValueError(text)
    return int(number)


def _money(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite() or amount < 0:
        raise ValueError(text)
    return amount


def _instant_ns(text: str) -> int:
    """An instant in ISO 8601, in UTC where it names no zone, or a number of s, ms, µs or ns since the epoch."""
    if text.replace(".", "", 1).isdecimal():
        number = Decimal(text)
        return int(number * next(unit for least, unit in _DIGITS if number >= least))
    found = datetime.fromisoformat(text)
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000


def _units(text: str) -> Mapping[str, Decimal | int]:
    """A JSON object, or a map as DuckDB writes it to CSV: `{search.web=2.000000000}`."""
    if text.startswith("{") and ":" in text:
        pairs = msgspec.json.decode(text, type=dict[str, Decimal]).items()
        return {line: _quantity(quantity) for line, quantity in pairs}
    entries = [entry.partition("=") for entry in text.strip("{}").split(",") if entry.strip()]
    if any(not equals for _, equals, _ in entries):
        raise ValueError(text)
    return {line.strip(): _quantity(Decimal(quantity.strip())) for line, _, quantity in entries}


def _quantity(number: Decimal) -> Decimal | int:
    return int(number) if number == number.to_integral_value() else number.normalize()
