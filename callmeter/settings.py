"""Every setting once: its name, type, default, environment variable and one sentence. File < environment < keyword."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from callmeter.errors import ConfigError


class Settings(Struct, frozen=True, kw_only=True):
    """What `callmeter.configure(**settings)` takes. Each has an environment variable `CALLMETER_<NAME>`.

    The same names stand in `config.toml` in the home, or in the file that `CALLMETER_CONFIG` names.
    """

    home: Annotated[str, Meta(description="Directory of the journal and the ledger. Empty: the state directory.")] = ""
    ledger: Annotated[
        bool, Meta(description="Keep every call in the local ledger, as the name `duckdb` in success_callback does.")
    ] = False
    durability: Annotated[
        Literal["process", "sync", "power"],
        Meta(
            description="When an event counts as kept: process (committed in groups, soon after), sync (committed "
            "before the call goes on), power (sync, and flushed to the disk)."
        ),
    ] = "process"
    capture_content: Annotated[bool, Meta(description="Store prompts and answers with the events.")] = False
    max_content_bytes: Annotated[int, Meta(description="Captured content is cut to this many bytes.", ge=0)] = 262_144
    max_memory_bytes: Annotated[int, Meta(description="Events handed over and not yet on disk.", gt=0)] = 32 << 20
    max_journal_bytes: Annotated[int, Meta(description="Undelivered events on disk.", gt=0)] = 1 << 30
    max_sink_bytes: Annotated[int, Meta(description="Undelivered events of one sink.", gt=0)] = 512 << 20
    max_dead_bytes: Annotated[int, Meta(description="Dead letters of one sink.", gt=0)] = 64 << 20
    min_free_disk: Annotated[float, Meta(description="Stop growing when less of the disk is free.", ge=0, lt=1)] = 0.05
    retention_days: Annotated[int, Meta(description="Days of the ledger to keep; 0 keeps everything.", ge=0)] = 0
    content_retention_days: Annotated[
        int,
        Meta(description="Days of captured prompts and answers to keep; 0 keeps them as long as their calls.", ge=0),
    ] = 0
    exit_timeout_s: Annotated[float, Meta(description="Seconds an ending process may spend on delivering.", ge=0)] = 2.0
    callback_loop: Annotated[
        Literal["own", "caller"], Meta(description="Which event loop runs coroutine callbacks.")
    ] = "own"
    callback_timeout_s: Annotated[float, Meta(description="A callback slower than this is named in the log.", gt=0)] = (
        30.0
    )
    bind_keys: Annotated[
        Literal["", "origin"], Meta(description="origin: never send a key from the environment to a caller's api_base.")
    ] = ""
    transport: Annotated[Literal["auto", "httpx2", "pyreqwest"], Meta(description="The HTTP library for calls.")] = (
        "auto"
    )
    timeout_s: Annotated[float, Meta(description="Seconds one attempt may take.", gt=0)] = 600.0
    connect_timeout_s: Annotated[float, Meta(description="Seconds to connect.", gt=0)] = 10.0
    max_retries: Annotated[int, Meta(description="Retries after a first attempt that failed for now.", ge=0)] = 2
    environment: Annotated[str, Meta(description="Name of the environment, a column of the ledger.")] = ""
    project: Annotated[str, Meta(description="Project of calls that name none.")] = ""
    calibrate: Annotated[
        bool,
        Meta(
            description="Count what a provider does not by the ratio of the model's whole streams in this process; "
            "without it by the usual ratio, which depends on the text alone."
        ),
    ] = True
    price_source: Annotated[
        str, Meta(description="File or URL of a signed price table, for `callmeter prices update`. Empty: none.")
    ] = ""
    price_key: Annotated[
        str, Meta(description="Public Ed25519 key, in base64, that a price table has to be signed with.")
    ] = ""
    price_overrides: Annotated[
        str, Meta(description="TOML file of your own prices and discounts. Empty: `prices/overrides.toml` in the home.")
    ] = ""
    strict_accounts: Annotated[bool, Meta(description="Raise instead of log when the accounts do not add up.")] = False


def load(overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from file, environment and keywords, in rising order.

    Raises `ConfigError` naming the setting, where it came from, its value and what it may be.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for source, given in (_from_file(environ), _from_environ(environ), ("configure()", dict(overrides or {}))):
        for name, value in given.items():
            values[name] = _checked(name, value, source)
    return Settings(**values)


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """Where the journal lives unless told otherwise: the platform's directory for a program's state.

    Under pytest it is a temporary one, so that nobody's tests enter their spend.
    """
    environ = os.environ if environ is None else environ
    if environ.get("PYTEST_VERSION") or environ.get("PYTEST_CURRENT_TEST"):
        import tempfile

        return Path(tempfile.gettempdir()) / f"callmeter-pytest-{os.getuid()}" / str(os.getpid())
    if os.uname().sysname == "Darwin":
        return Path.home() / "Library" / "Application Support" / "callmeter"
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "callmeter"


def home_of(settings: Settings) -> Path:
    """The home these settings mean."""
    return Path(settings.home).expanduser() if settings.home else default_home()


def _from_file(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    named = environ.get("CALLMETER_CONFIG")
    home = Path(environ["CALLMETER_HOME"]).expanduser() if environ.get("CALLMETER_HOME") else default_home(environ)
    path = Path(named) if named else home / "config.toml"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if named:
            raise ConfigError(
                f"CALLMETER_CONFIG names {named!r}, which does not exist; create it or unset it"
            ) from None
        return str(path), {}
    except OSError as error:
        if not named:
            return str(path), {}
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}; make it readable") from None
    import tomllib

    try:
        return str(path), tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _from_environ(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    found = {}
    for name in Settings.__struct_fields__:
        text = environ.get("CALLMETER_" + name.upper())
        if text:
            found[name] = text
    return "the environment", found


_TYPES = get_type_hints(Settings, include_extras=True)


def _checked(name: str, value: Any, source: str) -> Any:
    if name not in _TYPES:
        raise ConfigError(f"{source} sets {name!r}, which is no setting; {_nearest(name)}")
    try:
        return msgspec.convert(value, _TYPES[name], strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        shown = f"CALLMETER_{name.upper()}" if source == "the environment" else name
        raise ConfigError(f"{source} sets {shown} to {value!r}: {error}; it takes {_takes(name)}") from None


def _takes(name: str) -> str:
    kind = get_args(_TYPES[name])[0] if get_origin(_TYPES[name]) is Annotated else _TYPES[name]
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, Settings.__struct_fields__, 1)
    return f"did you mean {close[0]!r}?" if close else "see the settings page of the docs"
