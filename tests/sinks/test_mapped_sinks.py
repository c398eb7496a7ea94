"""The backends that take OTLP in words of their own: where it goes, with which key, and what they find there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from callmeter.clock import SystemClock
from callmeter.errors import ConfigError, MissingExtraError
from callmeter.events.model import CallEnded
from callmeter.settings import Settings
from callmeter.sinks.langsmith import LangSmith
from callmeter.sinks.mlflow import LocalMlflow, Mlflow
from callmeter.sinks.openinference import Arize, Phoenix
from callmeter.sinks.otlp.traces import OtlpTraces
from callmeter.sinks.registry import make
from callmeter.sinks.sending import deliver
from callmeter.sinks.sentry import Sentry
from callmeter.sinks.traceloop import Traceloop
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER
from callmeter.types import Secret
from tests.ended_calls import CONTENT, UNPRICED, answered, facts, failed, retried
from tests.sinks.otlp.wire import attributes, resource, span_ids, spans


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(span_ids) as one:
        yield one


def shown(server: FaultServer, sink: OtlpTraces, *events: CallEnded) -> list[dict[str, Any]]:
    """The attributes of the spans that arrived."""
    list(deliver(sink, events, SENDER, SystemClock(), lambda: 60))
    return [attributes(span) for span in spans(server.received[-1].body)]


def phoenix(url: str) -> OtlpTraces:
    return Phoenix(url, api_key="canary", project="search", capture_content=True)


def arize(url: str) -> OtlpTraces:
    return Arize("space", "canary", url=f"{url}/v1/traces", project="search", capture_content=True)


def langsmith(url: str) -> OtlpTraces:
    return LangSmith("canary", url=url, project="search", workspace="w", capture_content=True)


def traceloop(url: str) -> OtlpTraces:
    return Traceloop("canary", url=url, capture_content=True)


def sentry(url: str) -> OtlpTraces:
    return Sentry(f"{url.replace('://', '://canary@')}/42", environment="test", capture_content=True)


def mlflow(url: str) -> OtlpTraces:
    return Mlflow(url, experiment_id="7", authorization=Secret("Bearer canary"), capture_content=True)


SINKS = {sink.__name__: sink for sink in (phoenix, arize, langsmith, traceloop, sentry, mlflow)}


@pytest.mark.parametrize(
    ("name", "path", "headers"),
    [
        ("phoenix", "/v1/traces", {"authorization": "Bearer canary"}),
        ("arize", "/v1/traces", {"space_id": "space", "api_key": "canary"}),
        ("langsmith", "/otel/v1/traces", {"x-api-key": "canary", "langsmith-project": "search", "x-tenant-id": "w"}),
        ("traceloop", "/v1/traces", {"authorization": "Bearer canary"}),
        ("sentry", "/api/42/integration/otlp/v1/traces/", {"x-sentry-auth": "sentry sentry_key=canary"}),
        ("mlflow", "/v1/traces", {"authorization": "Bearer canary", "x-mlflow-experiment-id": "7"}),
    ],
)
def test_it_goes_where_the_service_takes_it_with_the_key(
    server: FaultServer, name: str, path: str, headers: Mapping[str, str]
) -> None:
    sink = SINKS[name](server.base_url)
    shown(server, sink, *(answered(facts(f"{n:032x}")) for n in range(3)))
    (request,) = server.received
    assert request.path == path
    assert headers.items() <= request.headers.items()
    assert request.headers["content-encoding"] == "gzip"
    assert "canary" not in f"{sink.endpoint} {sink.identity()} {sink!r}"


@pytest.mark.parametrize("name", SINKS)
def test_every_backend_gets_the_plain_conventions_as_well(server: FaultServer, name: str) -> None:
    (span,) = shown(server, SINKS[name](server.base_url), answered())
    assert span["gen_ai.usage.input_tokens"] == 1000
    assert span["callmeter.cost.exact"] == "0.00295500"


@pytest.mark.parametrize("name", SINKS)
def test_no_attempt_has_tokens_or_a_cost_to_be_added_up(server: FaultServer, name: str) -> None:
    whole, *attempts = shown(server, SINKS[name](server.base_url), retried())
    assert len(attempts) == 2
    counted = ("gen_ai.usage", "gen_ai.cost", "llm.token_count", "llm.cost", "langsmith.usage", "mlflow.llm")
    assert [n for span in attempts for n in span if n.startswith(counted)] == []
    assert [n for n in whole if n.startswith(counted)] != []


@pytest.mark.parametrize("name", SINKS)
def test_a_failure_without_usage_or_cost_claims_none(server: FaultServer, name: str) -> None:
    (span,) = shown(server, SINKS[name](server.base_url), failed())
    counted = ("gen_ai.usage", "gen_ai.cost", "llm.token_count", "llm.cost", "langsmith.usage", "mlflow.llm.cost")
    assert [n for n in span if n.startswith(counted)] == []


def test_phoenix_finds_openinferences_words(server: FaultServer) -> None:
    (span,) = shown(server, phoenix(server.base_url), answered())
    assert resource(server.received[0].body)["openinference.project.name"] == "search"
    expected = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "claude-sonnet-4-5-20250929",
        "llm.provider": "anthropic",
        "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 100,
        "llm.token_count.total": 1100,
        "llm.token_count.prompt_details.cache_read": 600,
        "llm.token_count.prompt_details.cache_write": 100,
        "llm.token_count.completion_details.reasoning": 20,
        "llm.cost.prompt": 0.001455,
        "llm.cost.completion": 0.0015,
        "llm.cost.total": 0.002955,
        "llm.cost.prompt_details.cache_read": 0.00018,
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.1.message.content": "Weather in Paris?",
        "llm.output_messages.0.message.content": "Let me look.",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"at":"Paris"}',
        "session.id": "s-1",
        "user.id": "ada",
        "tag.tags": ["env:test", "beta"],
    }
    assert expected.items() <= {name: value for name, value in span.items() if name in expected}.items()
    assert json.loads(span["metadata"]) == {"run": "7"}


def test_langsmith_finds_the_usage_with_its_cost(server: FaultServer) -> None:
    (span,) = shown(server, langsmith(server.base_url), answered())
    assert json.loads(span["langsmith.usage_metadata"]) == {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "input_token_details": {"cache_read": 600, "cache_creation": 100},
        "output_token_details": {"reasoning": 20},
        "input_cost": 0.001455,
        "output_cost": 0.0015,
        "total_cost": 0.002955,
    }
    assert (span["langsmith.span.kind"], span["langsmith.span.tags"]) == ("llm", "env:test,beta")
    assert (span["langsmith.metadata.ls_provider"], span["langsmith.metadata.run"]) == ("anthropic", "7")
    assert json.loads(span["gen_ai.prompt"])[1]["parts"][0]["content"] == "Weather in Paris?"


def test_traceloop_finds_properties_to_filter_by(server: FaultServer) -> None:
    (span,) = shown(server, traceloop(server.base_url), answered())
    prefix = "traceloop.association.properties."
    assert {name.removeprefix(prefix): value for name, value in span.items() if name.startswith(prefix)} == {
        "run": "7",
        "user_id": "ada",
        "session_id": "s-1",
        "tags": "env:test,beta",
    }
    assert (span["gen_ai.system"], span["gen_ai.usage.total_tokens"]) == ("anthropic", 1100)


def test_sentry_finds_the_cost_under_its_names(server: FaultServer) -> None:
    (span,) = shown(server, sentry(server.base_url), answered())
    costs = {name: value for name, value in span.items() if name.startswith("gen_ai.cost.")}
    assert costs == {
        "gen_ai.cost.input_tokens": 0.001455,
        "gen_ai.cost.output_tokens": 0.0015,
        "gen_ai.cost.total_tokens": 0.002955,
    }
    assert span["gen_ai.usage.input_tokens.cached"] == 600
    assert span["sentry.op"] == "gen_ai.chat"


def test_mlflow_finds_the_cost_and_the_tags_of_the_trace(server: FaultServer) -> None:
    sink = mlflow(server.base_url)
    (span,) = shown(server, sink, answered())
    cost = {"input_cost": 0.001455, "output_cost": 0.0015, "total_cost": 0.002955}
    assert json.loads(span["mlflow.llm.cost"]) == cost
    assert (span["mlflow.traceTag.env"], span["mlflow.traceTag.beta"]) == ("test", "true")
    (below,) = shown(server, sink, answered(facts(parent_id="b" * 16)))
    assert "mlflow.traceTag.env" not in below


def test_mlflow_is_not_led_to_make_up_a_cost(server: FaultServer) -> None:
    (span,) = shown(server, mlflow(server.base_url), answered(cost=UNPRICED))
    assert ("mlflow.llm.cost" in span, span["mlflow.llm.model"]) == (False, "")


@pytest.mark.parametrize("name", SINKS)
def test_content_stays_here_unless_the_sink_captures_it(server: FaultServer, name: str) -> None:
    sink = SINKS[name](server.base_url)
    (span,) = shown(server, sink, answered())
    assert CONTENT.messages[0]["content"] in str(span)
    sink.capture_content = False
    (span,) = shown(server, sink, answered())
    assert CONTENT.messages[0]["content"] not in str(span)


# --- configuration


@pytest.mark.parametrize(
    ("name", "environ", "missing"),
    [
        ("langsmith", {}, "LANGSMITH_API_KEY"),
        ("traceloop", {}, "TRACELOOP_API_KEY"),
        ("sentry", {}, "SENTRY_DSN"),
        ("arize", {"ARIZE_API_KEY": "k"}, "ARIZE_SPACE_ID"),
    ],
)
def test_a_missing_variable_is_named(name: str, environ: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' needs {missing}"):
        make(name, Settings(), environ)


@pytest.mark.parametrize(
    ("name", "environ", "url"),
    [
        ("arize_phoenix", {}, "http://localhost:6006/v1/traces"),
        ("phoenix", {"PHOENIX_COLLECTOR_ENDPOINT": "https://app.phoenix.arize.com/s/me"}, "https://app.phoenix.arize.com/s/me/v1/traces"),
        ("arize", {"ARIZE_SPACE_ID": "s", "ARIZE_API_KEY": "k"}, "https://otlp.arize.com/v1/traces"),
        ("langsmith", {"LANGSMITH_API_KEY": "k"}, "https://api.smith.langchain.com/otel/v1/traces"),
        ("langsmith", {"LANGCHAIN_API_KEY": "k", "LANGCHAIN_ENDPOINT": "https://eu.example.com/"}, "https://eu.example.com/otel/v1/traces"),
        ("traceloop", {"TRACELOOP_API_KEY": "k"}, "https://api.traceloop.com/v1/traces"),
        ("sentry", {"SENTRY_DSN": "https://k@o1.ingest.sentry.io/7"}, "https://o1.ingest.sentry.io/api/7/integration/otlp/v1/traces/"),
        ("sentry", {"SENTRY_DSN": "https://k@host:9000/path/7"}, "https://host:9000/path/api/7/integration/otlp/v1/traces/"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://mlflow:5000/"}, "http://mlflow:5000/v1/traces"),
    ],
)  # fmt: skip
def test_the_address_is_what_the_variables_of_its_sdk_mean(name: str, environ: dict[str, str], url: str) -> None:
    sink = make(name, Settings(), environ)
    assert isinstance(sink, OtlpTraces)
    assert sink.target.url == url


@pytest.mark.parametrize("dsn", ["canary", "https://canary/7", "https://canary@host", "ftp://canary@host/7"])
def test_what_is_no_dsn_is_refused_without_being_shown(dsn: str) -> None:
    with pytest.raises(ConfigError, match="SENTRY_DSN is no DSN") as caught:
        make("sentry", Settings(), {"SENTRY_DSN": dsn})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Basic YWRhOnB3"),
    ],
)
def test_mlflow_is_shown_the_credentials_it_wants(environ: dict[str, str], header: str) -> None:
    sink = make("mlflow", Settings(), {"MLFLOW_TRACKING_URI": "http://mlflow:5000", **environ})
    assert isinstance(sink, Mlflow)
    assert sink.target.headers["authorization"].reveal() == header


def test_a_local_store_needs_mlflow_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name == "mlflow" else True)
    with pytest.raises(MissingExtraError, match=r"pip install 'callmeter\[mlflow\]'"):
        make("mlflow", Settings(), {"MLFLOW_TRACKING_URI": "sqlite:///x.db"})


def test_local_stores_of_other_folders_have_outboxes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = LocalMlflow("sqlite:///mlflow.db").identity()
    monkeypatch.chdir(tmp_path)
    assert LocalMlflow("sqlite:///mlflow.db").identity() != here
    assert (
        "canary"
        not in f"{LocalMlflow('postgresql://u:canary@db/x')!r} {LocalMlflow('postgresql://canary@db').endpoint}"
    )


def test_mlflow_on_databricks_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="sends to MLflow servers only"):
        make("mlflow", Settings(), {"MLFLOW_TRACKING_URI": "databricks"})
