"""What people write for an instant or a time zone: `7d`, `24h`, `2026-11-01`, `Europe/Berlin`."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from callmeter.errors import ConfigError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,4})([mhdw])")
_LOCALTIME = Path("/etc/localtime")

YEARS = range(1970, 9999)
"""The calendar has a day more on either side, so that every zone can show what lies within."""


def zone_called(name: str | None) -> tuple[str, tzinfo]:
    """A time zone's name and the zone; without a name, the reader's own. Raises `ConfigError` for an unknown one."""
    name = name or own_zone(os.environ)
    if name.upper() == "UTC":
        return "UTC", UTC
    try:
        return name, ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"there is no time zone {name!r}; give one like Europe/Berlin or UTC") from None


def own_zone(environ: Mapping[str, str], localtime: Path = _LOCALTIME) -> str:
    """The name of the reader's zone: from `TZ`, else from what /etc/localtime links to, else UTC."""
    named = environ.get("TZ", "").lstrip(":")
    if named:
        return named
    # Resolved in one step only: zone files may be links to one another, and the first name is the one people chose.
    target = os.readlink(localtime) if localtime.is_symlink() else ""
    _, found, name = target.partition("zoneinfo/")
    return name if found else "UTC"


def instant_called(text: str, option: str, zone: tzinfo, now: datetime) -> datetime:
    """The instant that `7d` (ago), `today`, `yesterday`, a date or a time mean. `option` is named in `ConfigError`.

    A date is its midnight in `zone`, and a time without an offset is a time there.
    """
    word = text.strip().lower()
    ago = _AGO.fullmatch(word)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "yesterday"):
        return midnight - timedelta(days=word == "yesterday")
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        found = None
    if found is None or found.year not in YEARS:
        raise ConfigError(f"{option} {text!r} is no instant; write 30m, 24h, 7d, today, 2026-11-01 or 2026-11-01T09:00")
    return found if found.tzinfo else found.replace(tzinfo=zone)
