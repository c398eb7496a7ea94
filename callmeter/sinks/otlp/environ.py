"""OpenTelemetry's standard variables, read into where and how one signal is sent. Pure.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from callmeter.errors import ConfigError, MissingExtraError
from callmeter.settings import Settings
from callmeter.sinks.registry import header_pairs
from callmeter.types import Secret

Signal = Literal["traces", "metrics", "logs"]

Way = Literal["http/protobuf", "grpc"]

_PROTOCOLS: Mapping[str, Way] = {
    "http/protobuf": "http/protobuf",
    "grpc": "grpc",
    "otlp_http": "http/protobuf",
    "otlp_grpc": "grpc",
}
"""The standard's names, and those of `OTEL_EXPORTER` in code that comes from LiteLLM."""


class Target(Struct, frozen=True, kw_only=True):
    """Where one signal goes, and how."""

    url: str
    """For HTTP the whole address, for gRPC scheme, host and port."""
    protocol: Way = "http/protobuf"
    headers: Mapping[str, Secret] = {}
    gzip: bool = False
    timeout_s: float = 10.0
    certificate: str = ""
    """File of the certificates to trust, where the machine's do not do."""
    client_key: str = ""
    client_certificate: str = ""


def target(signal: Signal, environ: Mapping[str, str]) -> Target:
    """What the variables say of a signal; its own `OTEL_EXPORTER_OTLP_<SIGNAL>_…` win over the general ones.

    Raises `ConfigError` naming the variable that cannot be used.
    """

    def value(option: str, *also: str) -> tuple[str, str]:
        """The variable that holds the option, and what it holds."""
        for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{option}", f"OTEL_EXPORTER_OTLP_{option}", *also):
            if environ.get(name, "").strip():
                return name, environ[name].strip()
        return f"OTEL_EXPORTER_OTLP_{option}", ""

    name, text = value("PROTOCOL", "OTEL_EXPORTER")
    protocol = _protocol(name, text)
    header_name, header_text = value("HEADERS", "OTEL_HEADERS")
    return Target(
        url=_url(signal, protocol, environ, insecure=value("INSECURE")[1].lower() == "true"),
        protocol=protocol,
        headers=secret_headers(header_text, header_name),
        gzip=_gzip(*value("COMPRESSION")),
        timeout_s=seconds(*value("TIMEOUT")),
        certificate=value("CERTIFICATE")[1],
        client_key=value("CLIENT_KEY")[1],
        client_certificate=value("CLIENT_CERTIFICATE")[1],
    )


def resource(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What is said of this program as a whole, on top of what `OTEL_RESOURCE_ATTRIBUTES` says."""
    named = dict(_resource_pairs(environ))
    found = {"service.name": environ.get("OTEL_SERVICE_NAME", "").strip() or named.get("service.name", "")}
    found["service.name"] = found["service.name"] or settings.project or "callmeter"
    if settings.environment:
        found["deployment.environment.name"] = settings.environment
    return {**found, **{name: text for name, text in named.items() if name != "service.name"}}


def sample_rate(environ: Mapping[str, str]) -> float:
    """The share of calls without a sampled parent whose spans are sent, by `OTEL_TRACES_SAMPLER`.

    Raises `ConfigError` for a rate that is none.
    """
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        return 1.0
    return share("OTEL_TRACES_SAMPLER_ARG", environ)


def share(variable: str, environ: Mapping[str, str]) -> float:
    """A rate between 0 and 1 from a variable, 1 where it is not set. Raises `ConfigError` for anything else."""
    text = environ.get(variable, "").strip() or "1"
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise ConfigError(f"{variable} is {text!r}; set it to a share between 0 and 1")
    return rate


def require_packages(sink: str, environ: Mapping[str, str]) -> None:
    """Raises `MissingExtraError` without OpenTelemetry's packages, `ConfigError` where the environment turns it off.

    Looks for the packages without importing them.
    """
    from importlib.util import find_spec

    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise ConfigError(
            f"the sink {sink!r} stays off because OTEL_SDK_DISABLED is true; unset it to turn the sink on"
        )
    try:
        found = find_spec("opentelemetry.sdk") and find_spec("opentelemetry.exporter.otlp.proto.common")
    except ModuleNotFoundError:
        found = None
    if not found:
        raise MissingExtraError(f"the sink {sink!r} needs packages: pip install 'callmeter[otlp]'")


def secret_headers(text: str, variable: str) -> dict[str, Secret]:
    """`k=v,k2=v2`, URL-encoded, as headers with lower-case names. Raises `ConfigError` naming the variable."""
    return {name.lower(): Secret(unquote(value)) for name, value in header_pairs(text, variable).items()}


def _protocol(variable: str, text: str) -> Way:
    if not text:
        return "http/protobuf"
    if text not in _PROTOCOLS:
        raise ConfigError(f"{variable} is {text!r}; callmeter sends http/protobuf or grpc: set one of them")
    return _PROTOCOLS[text]


def _url(signal: Signal, protocol: Way, environ: Mapping[str, str], *, insecure: bool) -> str:
    own_name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    own = environ.get(own_name, "").strip()
    general_name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    if not environ.get(general_name, "").strip() and environ.get("OTEL_ENDPOINT", "").strip():
        general_name = "OTEL_ENDPOINT"
    general = environ.get(general_name, "").strip()
    if protocol == "grpc":
        given = own or general or "http://localhost:4317"
        if "://" not in given:
            given = ("http://" if insecure else "https://") + given
        return checked_url(given, own_name if own else general_name)
    path = f"/v1/{signal}"
    base = (general or "http://localhost:4318").rstrip("/")
    # LiteLLM's variable may hold the whole address of the traces.
    base = base.removesuffix("/v1/traces") if general_name == "OTEL_ENDPOINT" else base
    return checked_url(own or base + path, own_name if own else general_name)


def checked_url(url: str, variable: str) -> str:
    """The URL itself. Raises `ConfigError` naming the variable for what is not the address of an HTTP server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{variable} does not hold an address; write it as https://host:port")
    return url


def _gzip(variable: str, text: str) -> bool:
    if text.lower() not in ("", "none", "gzip"):
        raise ConfigError(f"{variable} is {text!r}; callmeter sends gzip or none: set one of them")
    return text.lower() == "gzip"


def seconds(variable: str, text: str) -> float:
    """A number of seconds, 10 where nothing is set; so OpenTelemetry's own SDK for Python reads its variables.

    Raises `ConfigError` for anything else.
    """
    try:
        given = float(text or "10")
    except ValueError:
        given = 0.0
    if not 0 < given <= 3600:
        raise ConfigError(f"{variable} is {text!r}; set it to a number of seconds")
    return given


def _resource_pairs(environ: Mapping[str, str]) -> Mapping[str, str]:
    text = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {name: unquote(value) for name, value in header_pairs(text, "OTEL_RESOURCE_ATTRIBUTES").items()}
