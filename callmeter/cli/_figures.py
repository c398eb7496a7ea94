"""How values look: money to its last digit, instants in the reader's zone, text that cannot drive a terminal."""

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal

from msgspec import Struct

MONEY_PLACES = 15
"""Decimals of the ledger's money; a Decimal with as many is an amount in USD or a rate."""

NO_MONEY = Decimal(0).scaleb(-MONEY_PLACES)


class Unknown(Struct, frozen=True):
    """A value that is not known, and the word for it. Machines get null."""

    word: str


def money(amount: Decimal) -> str:
    """Exactly, without trailing zeros, with at least two decimals: `0.00`, `12.30`, `0.0000125`."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def is_money(value: object) -> bool:
    """Whether a value is an amount in USD, by its number of decimals."""
    return isinstance(value, Decimal) and value.as_tuple().exponent == -MONEY_PLACES


def trimmed(value: Decimal) -> str:
    """A quantity without trailing zeros or an exponent."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def instant(at: datetime, zone: tzinfo) -> str:
    """To the second, in a zone that is named elsewhere."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str) -> str:
    """Text in which control characters are written out: a model's name must not move the cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shown(value: object, zone: tzinfo, *, column: str = "", grouped: bool = False) -> str:
    """A value as text for people; `grouped` puts commas between thousands of whole numbers."""
    match value:
        case None:
            return "-"
        case Unknown():
            return value.word
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if grouped else str(value)
        case float():
            return f"{value:.3f}" if column.endswith("_s") else str(value)
        case Decimal():
            return money(value) if is_money(value) else trimmed(value)
        case datetime():
            return instant(value, zone) if value.tzinfo else value.isoformat(" ")
        case list() | tuple():
            return ", ".join(shown(each, zone) for each in value) or "-"
        case Mapping():
            return ", ".join(f"{printable(str(key))}={shown(each, zone)}" for key, each in value.items()) or "-"
    return printable(str(value)) or "-"


def plain(value: object, zone: tzinfo) -> object:
    """A value as JSON has it: money and quantities as text, instants in RFC 3339 with the zone's offset."""
    match value:
        case Unknown():
            return None
        case Decimal():
            return money(value) if is_money(value) else trimmed(value)
        case datetime():
            return value.astimezone(zone).isoformat() if value.tzinfo else value.isoformat()
        case date():
            return value.isoformat()
        case list() | tuple():
            return [plain(each, zone) for each in value]
        case Mapping():
            return {str(key): plain(each, zone) for key, each in value.items()}
        case None | bool() | int() | float() | str():
            return value
    return str(value)
