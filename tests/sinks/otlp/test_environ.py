"""OpenTelemetry's variables mean here what they mean to its own exporters; a wrong one is named."""

import sys
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from callmeter.errors import ConfigError, MissingExtraError
from callmeter.settings import Settings
from callmeter.sinks.otlp.environ import Target, require_packages, resource, sample_rate, target
from callmeter.sinks.registry import make

BASE = "OTEL_EXPORTER_OTLP_"


def test_without_any_it_is_a_collector_on_this_machine() -> None:
    assert target("traces", {}) == Target(url="http://localhost:4318/v1/traces")
    assert target("metrics", {BASE + "PROTOCOL": "grpc"}).url == "http://localhost:4317"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {BASE + "ENDPOINT": "https://otlp.example.com/base/"},
        {BASE + "ENDPOINT": "https://a", BASE + "TRACES_ENDPOINT": "https://b/exactly/this"},
        {BASE + "HEADERS": "Authorization=Basic%20abc%3D, x-team = red"},
        {BASE + "HEADERS": "a=1", BASE + "TRACES_HEADERS": "b=2"},
        {BASE + "COMPRESSION": "gzip", BASE + "TIMEOUT": "2.5"},
        {BASE + "TRACES_COMPRESSION": "none", BASE + "COMPRESSION": "gzip", BASE + "TRACES_TIMEOUT": "3"},
    ],
)
def test_they_are_read_as_opentelemetrys_exporter_reads_them(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    theirs: Any = OTLPSpanExporter()
    ours = target("traces", environ)
    assert ours.url == theirs._endpoint
    assert ours.timeout_s == theirs._client._timeout
    assert ours.gzip == (theirs._compression.value == "gzip")
    assert {n: s.reveal() for n, s in ours.headers.items()}.items() <= dict(theirs._client._headers).items()


@pytest.mark.parametrize(
    ("given", "insecure", "url"),
    [
        ("collector:4317", "true", "http://collector:4317"),
        ("collector:4317", "", "https://collector:4317"),
        ("http://collector:4317", "", "http://collector:4317"),
    ],
)
def test_a_grpc_endpoint_without_a_scheme_is_secure_unless_told_otherwise(given: str, insecure: str, url: str) -> None:
    environ = {BASE + "PROTOCOL": "grpc", BASE + "ENDPOINT": given, BASE + "INSECURE": insecure}
    assert target("traces", environ).url == url


@pytest.mark.parametrize("endpoint", ["http://gateway:4318", "http://gateway:4318/v1/traces"])
def test_code_that_comes_from_litellm_keeps_its_variables(endpoint: str) -> None:
    environ = {"OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": endpoint, "OTEL_HEADERS": "x-key=k"}
    found = target("traces", environ)
    assert (found.url, found.headers["x-key"].reveal()) == ("http://gateway:4318/v1/traces", "k")
    assert target("metrics", environ).url == "http://gateway:4318/v1/metrics"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({BASE + "PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json'; callmeter sends http/protobuf"),
        ({BASE + "TRACES_COMPRESSION": "zstd"}, "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION is 'zstd'"),
        ({BASE + "TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT is 'soon'; set it to a number of seconds"),
        ({BASE + "TIMEOUT": "-1"}, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ({BASE + "ENDPOINT": "collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT does not hold an address"),
        ({BASE + "TRACES_ENDPOINT": "canary"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT does not hold an address"),
        ({BASE + "HEADERS": "canary"}, "OTEL_EXPORTER_OTLP_HEADERS is not a list of headers"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG is '2'"),
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is true"),
    ],
)
def test_one_that_cannot_be_used_is_named_and_no_secret_shown(environ: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make("otlp", Settings(), environ)
    assert told in str(caught.value)
    assert "canary" not in str(caught.value)


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(MissingExtraError, match=r"'otlp' needs packages: pip install 'callmeter\[otlp\]'"):
        require_packages("otlp", {})


@pytest.mark.parametrize(
    ("environ", "settings", "service"),
    [
        ({}, Settings(), "callmeter"),
        ({}, Settings(project="search"), "search"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=web,team=red%20one"}, Settings(project="search"), "web"),
        ({"OTEL_SERVICE_NAME": "api", "OTEL_RESOURCE_ATTRIBUTES": "service.name=web"}, Settings(), "api"),
    ],
)
def test_the_service_is_named_by_the_variables_or_the_project(
    environ: dict[str, str], settings: Settings, service: str
) -> None:
    found = resource(settings, environ)
    assert found["service.name"] == service
    assert found.get("team") == ("red one" if "team" in str(environ) else None)


@pytest.mark.parametrize(
    ("sampler", "argument", "rate"),
    [
        ("", "", 1.0),
        ("always_on", "", 1.0),
        ("parentbased_always_off", "", 0.0),
        ("parentbased_traceidratio", "0.25", 0.25),
        ("traceidratio", "", 1.0),
    ],
)
def test_the_standard_sampler_says_the_share(sampler: str, argument: str, rate: float) -> None:
    assert sample_rate({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}) == rate
