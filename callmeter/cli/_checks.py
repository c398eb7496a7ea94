"""What `callmeter doctor` looks at. Each check says what it found; none changes anything or opens a connection."""

import os
import platform
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from callmeter import __version__
from callmeter.cli._home import open_journal
from callmeter.errors import CallmeterError, ConfigError, PriceTableError
from callmeter.settings import Settings, home_of, load

if TYPE_CHECKING:
    from callmeter.events.journal import Accounts

State = Literal["ok", "note", "wrong"]

REQUIRED = ("httpx2", "msgspec")
EXTRAS = {
    "fast": ("pyreqwest",),
    "ledger": ("apsw", "duckdb"),
    "cli": ("rich", "typer"),
    "prices": ("cryptography",),
}

SAFE_SQLITE = (3, 51, 3)
"""From this release on, a commit during a checkpoint loses nothing. Source: https://sqlite.org/wal.html"""

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""There was no callmeter before, so a clock that says less is wrong."""


class Finding(Struct, frozen=True):
    """What a check found. `cure` is what to do about it."""

    what: str
    state: State
    said: str
    cure: str = ""


def findings(home: str | None) -> list[Finding]:
    """Everything there is to say about this installation, the home and the settings."""
    here = list(_installation())
    try:
        settings = load({"home": home} if home else None)
    except ConfigError as error:
        return [*here, Finding("settings", "wrong", "cannot be used", str(error))]
    there = [*_prices(settings), *_home(home_of(settings).absolute(), settings)]
    return [*here, *there, *_settings(settings, home), *_keys()]


# --- the installation


def _installation() -> Iterator[Finding]:
    yield Finding("callmeter", "ok", f"{__version__} in {Path(__file__).parent.parent}")
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in REQUIRED:
        yield Finding(name, "ok", installed) if (installed := _version(name)) else _missing(name)
    for extra, names in EXTRAS.items():
        yield _extra(extra, names)
    yield Finding("transport", "ok", "pyreqwest, httpx2 in forked children" if _version("pyreqwest") else "httpx2")
    yield _sqlite()
    yield _clock(datetime.now(UTC))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _missing(package: str) -> Finding:
    return Finding(package, "wrong", "not installed", "pip install --force-reinstall callmeter")


def _extra(extra: str, packages: tuple[str, ...]) -> Finding:
    found = [f"{name} {_version(name) or 'missing'}" for name in packages]
    complete = all(map(_version, packages))
    cure = "" if complete else f"pip install 'callmeter[{extra}]' if you want it"
    return Finding(f"extra {extra}", "ok" if complete else "note", ", ".join(found), cure)


def _sqlite() -> Finding:
    try:
        import apsw
    except ImportError:
        return Finding("sqlite", "note", "no apsw, so no journal and no ledger", "pip install 'callmeter[ledger]'")
    used = apsw.sqlite_lib_version()
    if tuple(map(int, used.split("."))) >= SAFE_SQLITE:
        return Finding("sqlite", "ok", f"{used} (of apsw), without the WAL-reset race")
    return Finding(
        "sqlite",
        "wrong",
        f"{used} (of apsw) can lose rows when two processes commit and checkpoint at once",
        "pip install --upgrade apsw",
    )


def _clock(now: datetime) -> Finding:
    if now < EARLIEST:
        return Finding(
            "clock", "wrong", f"{now:%Y-%m-%d %H:%M:%S} UTC", "set the clock: calls are priced by their time"
        )
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _prices(settings: Settings) -> Iterator[Finding]:
    from callmeter.pricing.installed import Installed, sound
    from callmeter.pricing.shelf import Packaged, check_overrides, chosen, overrides_of, place_of
    from callmeter.pricing.sources import newest

    place = place_of(settings)
    problems: list[str] = []
    tables, index = chosen(place, problems.append)
    slugs = sorted(set(index.providers.values()))
    if isinstance(tables, Installed):
        try:
            sound(tables.root, tables.entry)
        except PriceTableError as error:
            tables = Packaged()
            problems.append(str(error))
    days = filter(None, (newest(tables.sources_of(slug)) for slug in slugs))
    checked = max(days, default=None)
    said = f"version {index.version}, checked {checked or 'on an unknown day'}, table {index.hash}"
    yield Finding("prices", "wrong" if problems else "ok", f"{said}, {len(slugs)} providers", "; ".join(problems))
    try:
        check_overrides(place)
        found = overrides_of(place)
    except ConfigError as error:
        yield Finding("price overrides", "wrong", "cannot be used: prices go on without them", str(error))
        return
    if found is not None:
        count = f"{len(found.models)} models, {len(found.discounts)} discounts"
        yield Finding("price overrides", "ok", f"{count} in {found.path}")


# --- the home


def _home(home: Path, settings: Settings) -> Iterator[Finding]:
    if not home.exists():
        yield Finding("home", "note", f"{home} is not there; it is made with the first event that is kept")
        return
    yield _permissions(home)
    yield _disk(home, settings)
    try:
        journal = open_journal(home)
    except CallmeterError as error:
        if (home / "journal.sqlite3").exists() or not home.is_dir():
            yield Finding("journal", "wrong", "cannot be used", str(error))
        else:
            yield Finding("journal", "note", f"none in {home}; it is made with the first event that is kept")
        return
    try:
        used, _ = journal.size()
        yield Finding("journal", "ok", f"{used:,} bytes in {journal.path}")
        yield _accounts(journal.accounts())
    except CallmeterError as error:
        yield Finding("journal", "wrong", "cannot be read", str(error))
    finally:
        journal.close()
    yield from _ledger(home)


def _permissions(home: Path) -> Finding:
    mode = home.stat().st_mode & 0o777
    said = f"{home}, mode {mode:03o}"
    if not os.access(home, os.W_OK):
        return Finding("home", "wrong", f"{said}, is not writable", f"make {home} writable, or set CALLMETER_HOME")
    if mode & 0o077:
        return Finding("home", "note", f"{said}, is open to others", f"chmod 700 {home}")
    return Finding("home", "ok", said)


def _disk(home: Path, settings: Settings) -> Finding:
    disk = shutil.disk_usage(home)
    said = f"{disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB"
    if disk.free < settings.min_free_disk * disk.total:
        return Finding("disk", "wrong", said, f"free some: below {settings.min_free_disk:.0%} nothing more is kept")
    return Finding("disk", "ok", said)


def _accounts(accounts: "list[Accounts]") -> Finding:
    wrong = [account for account in accounts if account.missing]
    if wrong:
        named = ", ".join(f"{account.sink} ({account.missing})" for account in wrong)
        return Finding("accounts", "wrong", f"events are unexplained: {named}", "please report this")
    waiting = {account.sink: account.waiting for account in accounts if account.waiting}
    held = ", ".join(f"{sink} has {count} waiting" for sink, count in waiting.items()) or "nothing waits"
    return Finding("accounts", "ok", f"every sink's add up; {held}")


def _ledger(home: Path) -> Iterator[Finding]:
    if _version("duckdb") is None:
        yield Finding("ledger", "note", "cannot be asked without duckdb", "pip install 'callmeter[ledger]'")
        return
    from callmeter import ledger

    with ledger.connect(home) as opened:
        count, newest = opened.execute('SELECT count(*), max("at") FROM calls').fetchone()
        for problem in opened.problems:
            yield Finding("ledger", "wrong", "is not complete", problem)
    if not opened.problems:
        yield Finding("ledger", "ok", f"{count:,} calls")
    if newest is not None and newest.timestamp() > time.time() + 60:
        yield Finding("clock", "wrong", f"the newest call began at {newest}, which is to come", "set the clock")


# --- settings


def _settings(settings: Settings, home: str | None) -> Iterator[Finding]:
    """The settings that are not at their defaults, and where each was set."""
    defaults = Settings()
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "home" and home:
            yield Finding("home is set", "ok", f"{value} by --home")
        elif os.environ.get(f"CALLMETER_{name.upper()}"):
            yield Finding(f"{name} is set", "ok", f"{_text(value)} by CALLMETER_{name.upper()}")
        elif value != getattr(defaults, name):
            yield Finding(f"{name} is set", "ok", f"{_text(value)} by the config file")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keys() -> Iterator[Finding]:
    """Which providers' keys the environment holds; never the keys."""
    from callmeter.client.providers import PROVIDERS

    without = 0
    for provider in PROVIDERS:
        held = [name for name in provider.key_env if os.environ.get(name)]
        if held:
            yield Finding(f"key for {provider.name}", "ok", f"**** in {', '.join(held)}")
        elif provider.needs_key:
            without += 1
    said = f"none for {without} of {len(PROVIDERS)} providers; `callmeter providers NAME` says which variable to set"
    yield Finding("other keys", "ok", said)
