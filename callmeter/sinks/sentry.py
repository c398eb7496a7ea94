"""Calls as spans at Sentry, by the OTLP endpoint of a project; nothing of its SDK runs here, or is initialised.

Source: https://docs.sentry.io/concepts/otlp/direct/traces
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from callmeter.errors import ConfigError
from callmeter.events.model import CallEnded
from callmeter.events.spans import Attributes, Span
from callmeter.settings import Settings
from callmeter.sinks.otlp.costs import sides
from callmeter.sinks.otlp.environ import Target, require_packages, share
from callmeter.sinks.otlp.traces import Dialect, OtlpTraces
from callmeter.sinks.registry import needed
from callmeter.types import Secret


def spoken(event: CallEnded, span: Span) -> Span:
    """The span with what Sentry reads. Its `gen_ai.cost.…_tokens` are USD, in spite of their names."""
    if span.attempt is not None:
        return span
    operation = span.attributes.get("gen_ai.operation.name", "")
    found: Attributes = {"sentry.op": f"gen_ai.{operation}", "gen_ai.system": event.call.provider}
    if event.usage is not None:
        usage = event.usage
        found["gen_ai.usage.total_tokens"] = usage.total_tokens
        parts = {
            "input_tokens.cached": usage.cache_read_tokens,
            "input_tokens.cache_write": usage.cache_write_tokens + usage.cache_write_1h_tokens,
            "output_tokens.reasoning": usage.reasoning_tokens,
        }
        found |= {f"gen_ai.usage.{name}": count for name, count in parts.items() if count}
    if event.cost.total is not None:
        given, made = sides(event.cost)
        found |= {"gen_ai.cost.input_tokens": float(given), "gen_ai.cost.output_tokens": float(made)}
        found["gen_ai.cost.total_tokens"] = float(event.cost.total)
    return replace(span, attributes={**span.attributes, **found})


class Sentry(OtlpTraces):
    """Spans of the project that a DSN names, failed calls with status and exception."""

    name: ClassVar[str] = "sentry"
    dialects: ClassVar[tuple[Dialect, ...]] = (spoken,)

    def __init__(self, dsn: str, *, environment: str = "", capture_content: bool = False, sample: float = 1.0) -> None:
        """Raises `ConfigError` for what is no DSN, without showing it."""
        url, key = _address(dsn)
        named = {"service.name": "callmeter", "deployment.environment.name": environment}
        super().__init__(
            Target(url=url, headers={"x-sentry-auth": Secret(f"sentry sentry_key={key}")}, gzip=True),
            {name: text for name, text in named.items() if text},
            capture_content=capture_content,
            sample=sample,
        )


def _address(dsn: str) -> tuple[str, str]:
    """The OTLP endpoint of a DSN, `https://KEY@HOST/PATH/PROJECT`, and the key in it."""
    parts = urlsplit(dsn)
    path, _, project = parts.path.rpartition("/")
    if parts.scheme not in ("http", "https") or not (parts.hostname and parts.username and project):
        raise ConfigError("SENTRY_DSN is no DSN; copy it from the project's client keys: https://KEY@HOST/PROJECT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{parts.port}" if parts.port else host
    return f"{parts.scheme}://{place}{path}/api/{project}/integration/otlp/v1/traces/", parts.username


def make(settings: Settings, environ: Mapping[str, str]) -> Sentry:
    """The sink `sentry`, by the variables of its SDK."""
    require_packages("sentry", environ)
    return Sentry(
        needed(environ, "SENTRY_DSN", "sentry", "the project's DSN"),
        environment=environ.get("SENTRY_ENVIRONMENT") or settings.environment,
        capture_content=settings.capture_content,
        sample=share("SENTRY_TRACES_SAMPLE_RATE", environ) * share("SENTRY_API_TRACE_RATE", environ),
    )
