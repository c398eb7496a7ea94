"""Sinks by the name people write in `success_callback`."""

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module

from callmeter.errors import ConfigError
from callmeter.settings import Settings
from callmeter.sinks.base import Sink

Factory = Callable[[Settings, Mapping[str, str]], Sink]
"""What an entry point of the group `callmeter.sinks` names: settings and environment in, a sink out."""

GROUP = "callmeter.sinks"


def make(name: str, settings: Settings, environ: Mapping[str, str]) -> Sink:
    """The sink of that name, configured from the environment.

    Raises `ConfigError` for a name nobody provides, and for one whose variables are missing or wrong,
    `MissingExtraError` for one that needs a package.
    """
    return find(name)(settings, environ)


def find(name: str) -> Factory:
    """What makes the sink of that name. Raises `ConfigError` for a name nobody provides, listing those there are."""
    factory = _OURS.get(_ALSO.get(name, name)) or _installed(name)
    if factory is not None:
        return factory
    close = difflib.get_close_matches(name, [*names(), *_ALSO], 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(
        f"there is no sink called {name!r}; {hint}there are {', '.join(names())}, and those that installed packages "
        f"add by an entry point of the group {GROUP!r}"
    )


def names() -> list[str]:
    """The names of callmeter's own sinks."""
    return sorted([*_OURS, *ELSEWHERE])


def needed(environ: Mapping[str, str], variable: str, sink: str, what: str) -> str:
    """The variable's value. Raises `ConfigError` saying which one is missing, for which sink, and what it holds."""
    value = environ.get(variable, "").strip()
    if not value:
        raise ConfigError(f"the sink {sink!r} needs {variable}, which is not set; set it to {what}")
    return value


def header_pairs(text: str, variable: str) -> dict[str, str]:
    """`K=v,K2=v2` as a mapping. Raises `ConfigError` naming the variable, not the value, which may be a credential."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{variable} is not a list of headers; write it as Name=value,Other=value")
        pairs[name.strip()] = value.strip()
    return pairs


def _webhook(settings: Settings, environ: Mapping[str, str]) -> Sink:
    from callmeter.sinks.webhook import Webhook

    return Webhook(
        needed(environ, "CALLMETER_WEBHOOK_URL", "webhook", "the https:// address that takes the events"),
        environ.get("CALLMETER_WEBHOOK_SECRET") or None,
        headers=header_pairs(environ.get("CALLMETER_WEBHOOK_HEADERS", ""), "CALLMETER_WEBHOOK_HEADERS"),
        capture_content=settings.capture_content,
    )


def _jsonl(settings: Settings, environ: Mapping[str, str]) -> Sink:
    from callmeter.sinks.jsonl import JsonLines

    path = needed(environ, "CALLMETER_JSONL_PATH", "jsonl", "the file to append events to")
    return JsonLines(path, capture_content=settings.capture_content)


def _made_in(module: str, factory: str = "make") -> Factory:
    """A factory in a module of this package, which is imported when the sink is asked for."""

    def make_there(settings: Settings, environ: Mapping[str, str]) -> Sink:
        sink: Sink = getattr(import_module(f"callmeter.sinks.{module}"), factory)(settings, environ)
        return sink

    return make_there


_OURS: dict[str, Factory] = {
    "arize": _made_in("openinference", "make_arize"),
    "arize_phoenix": _made_in("openinference"),
    "jsonl": _jsonl,
    "langfuse": _made_in("langfuse"),
    "langsmith": _made_in("langsmith"),
    "mlflow": _made_in("mlflow"),
    "otlp": _made_in("otlp.traces"),
    "otlp_logs": _made_in("otlp.logs"),
    "otlp_metrics": _made_in("otlp.metrics"),
    "sentry": _made_in("sentry"),
    "traceloop": _made_in("traceloop"),
    "webhook": _webhook,
}

_ALSO = {"langfuse_otel": "langfuse", "opentelemetry": "otlp", "otel": "otlp", "phoenix": "arize_phoenix"}
"""Other names that existing code has for them."""

ELSEWHERE = ("duckdb",)
"""Names that the runtime makes itself, listed so that a message can offer them."""


def _installed(name: str) -> Factory | None:
    """Somebody else's sink. Looked for only once a name is not ours: reading package metadata takes milliseconds."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        try:
            factory = entry.load()
        except Exception as error:
            raise ConfigError(
                f"the sink {name!r} of {entry.value} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return _checked(factory, name)
    return None


def _checked(factory: Factory, name: str) -> Factory:
    def checked(settings: Settings, environ: Mapping[str, str]) -> Sink:
        sink = factory(settings, environ)
        if not isinstance(sink, Sink):
            raise ConfigError(f"the entry point {name!r} made a {type(sink).__name__}; it has to make a callmeter Sink")
        return sink

    return checked
