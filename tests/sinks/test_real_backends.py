"""Calls made through the client, read back from the servers they were sent to: MLflow and Arize Phoenix.

Whatever a server shows of a call is compared with the event that the process itself published.
"""

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import callmeter
from callmeter.events.model import AttemptFailed, CallEnded, CallSucceeded
from callmeter.events.spans import call_attributes, spans_of
from callmeter.runtime import Runtime, using
from callmeter.sinks.base import Sink
from callmeter.sinks.mlflow import Mlflow
from callmeter.sinks.openinference import Phoenix
from callmeter.testing import FakeProvider
from callmeter.testing.host import Host
from tests.ended_calls import answered, facts
from tests.servers import running, said
from tests.sinks.rig import until
from tools.environments import interpreter

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VENVS = ROOT / ".venv-servers"

MLFLOW = (("mlflow==3.17.2",), ("--editable", f"{ROOT}[ledger,otlp]"))
PHOENIX = (("arize-phoenix==20.26.1",),)

SIGTERM = -15

WISH = {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 600, "reasoning_tokens": 20, "pause_s": 0.02}
MESSAGES = [{"role": "user", "content": "Weather in Paris?"}]


@contextmanager
def serving(
    name: str, installs: Sequence[Sequence[str]], folder: Path, *arguments: str, **environ: str
) -> Iterator[None]:
    """Run the server that the packages bring, until the block ends."""
    command = [interpreter(VENVS / name, *installs).with_name(name), *arguments]
    with running(command, folder, ends=(0, SIGTERM), **environ) as server:
        said(folder, "Uvicorn running on", server)
        yield


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    stores = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts")
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    with serving("mlflow", MLFLOW, folder, "server", *where, *stores):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("phoenix"), free_port()
    environ = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with serving("phoenix", PHOENIX, folder, "serve", **environ):
        yield f"http://127.0.0.1:{port}"


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str) -> Any:
    """The JSON that a server answers with."""
    with urllib.request.urlopen(url, timeout=30) as reply:
        return json.loads(reply.read())


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    for name in ("success_callback", "failure_callback", "input_callback", "callbacks"):
        monkeypatch.setattr(callmeter, name, [])
    with FakeProvider() as one:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", one.openai_base)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", one.url)
        yield one


PRICES = {"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6, "cache_read_input_token_cost": 3e-7}


def ask_model(model: str = "openai/gpt-4o", **more: Any) -> Any:
    headers = {"x-fake": json.dumps({**WISH, **more.pop("wish", {})})}
    known = {"user": "ada", "metadata": {"session_id": "s-1", "tags": ["env:test"], "run": 7}, **PRICES, **more}
    return callmeter.completion(model, MESSAGES, extra_headers=headers, temperature=0.5, **known)


def made(sink: str, provider: FakeProvider) -> dict[str, CallEnded]:
    """An answer, a stream, a failure, a fallback and a call whose price nobody knows, all delivered."""
    callmeter.success_callback = [sink]
    ends: list[Any] = []
    runtime = Runtime()
    runtime.subscribe(ends.append, inline=True)
    with using(runtime):
        ask_model()
        for _ in ask_model(stream=True):
            pass
        with pytest.raises(callmeter.BadRequestError):
            ask_model(wish={"fail": 400}, num_retries=0)
        provider.answer(500, times=1)
        ask_model(fallbacks=["anthropic/claude-sonnet-4-5"], num_retries=0)
        ask_model("openai/a-model-nobody-knows", **dict.fromkeys(PRICES))
        flushed = runtime.flush(60)
        assert flushed, flushed
        runtime.close(5)
    found = [event for event in ends if isinstance(event, CallEnded)]
    assert any(isinstance(event, AttemptFailed) for event in ends)
    return dict(zip(("answer", "stream", "failure", "fallback", "unpriced"), found, strict=True))


def instant_ns(text: str) -> int:
    """Nanoseconds of an ISO instant, which has microseconds at best."""
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp() * 1e6) * 1000


# --- MLflow


def mlflow_trace(url: str, event: CallEnded) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What MLflow says of the call's trace as a whole, and its spans."""
    trace_id = f"tr-{spans_of(event)[0].trace_id}"
    info = ask(f"{url}/api/3.0/mlflow/traces/{trace_id}")["trace"]["trace_info"]
    whole = ask(f"{url}/api/3.0/mlflow/traces/get?trace_id={trace_id}&allow_partial=true")["trace"]
    return info, whole["spans"]


def test_mlflow_shows_what_the_events_say(
    mlflow: str, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "callmeter tests & more")
    calls = made("mlflow", provider)
    for name, event in calls.items():
        info, spans = mlflow_trace(mlflow, event)
        said = info["trace_metadata"]
        assert info["state"] == ("ERROR" if name == "failure" else "OK")
        assert (said["mlflow.trace.user"], said["mlflow.trace.session"]) == ("ada", "s-1")
        assert info["tags"]["env"] == "test"
        assert len(spans) == (3 if name == "fallback" else 1)
        if event.usage is None:
            assert "mlflow.trace.tokenUsage" not in said
        else:
            counts = json.loads(said["mlflow.trace.tokenUsage"])
            assert counts["input_tokens"] == event.usage.input_tokens == 1000
            assert counts["output_tokens"] == event.usage.output_tokens == 100
            assert counts.get("cache_read_input_tokens", 0) == event.usage.cache_read_tokens
        if event.cost.total is None:
            assert "mlflow.trace.cost" not in said
        else:
            assert Decimal(str(json.loads(said["mlflow.trace.cost"])["total_cost"])) == event.cost.total
    assert calls["answer"].cost.total == Decimal("0.00288")
    assert calls["unpriced"].cost.total is calls["failure"].cost.total is None


def test_mlflow_takes_the_same_span_again_without_counting_it_twice(
    mlflow: str, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    event = made("mlflow", provider)["stream"]
    before, _ = mlflow_trace(mlflow, event)
    sent_from(home / "again", Mlflow(mlflow), event)
    assert mlflow_trace(mlflow, event)[0]["trace_metadata"] == before["trace_metadata"]


def test_the_plain_otlp_sink_reaches_mlflow_by_the_standard_variables_alone(
    mlflow: str, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", mlflow)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-mlflow-experiment-id=0")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    for name, event in made("otlp", provider).items():
        info, _ = mlflow_trace(mlflow, event)
        assert info["state"] == ("ERROR" if name == "failure" else "OK")
        if event.usage is not None:
            assert json.loads(info["trace_metadata"]["mlflow.trace.tokenUsage"])["input_tokens"] == 1000


LOCAL = """
import json, sys
import mlflow
from mlflow.tracing.client import TracingClient
import callmeter
from callmeter.events.trace import trace_id

calls = []
callmeter.subscribe(calls.append)
callmeter.success_callback = ["mlflow"]
mlflow.set_tracking_uri("sqlite:///traces.db")
callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello")
mlflow.set_experiment("a")
with mlflow.start_span("outer") as outer:
    callmeter.completion("openai/gpt-4o", [{"role": "user", "content": "Hi"}], mock_response="Hello")
assert callmeter.flush(60)
mlflow.flush_trace_async_logging()
alone, below = [event for event in calls if hasattr(event, "attempts")]
assert (below.call.trace_id, below.call.parent_id) == (outer.trace_id.removeprefix("tr-"), outer.span_id)
client = TracingClient("sqlite:///traces.db")
usage = json.loads(client.get_trace_info("tr-" + trace_id(alone.call)).trace_metadata["mlflow.trace.tokenUsage"])
assert usage["input_tokens"] == alone.usage.input_tokens, usage
joined = [span.name for span in client.get_trace(outer.trace_id).data.spans]
assert sorted(joined) == ["chat gpt-4o", "outer"], joined
print("fine")
"""


def test_a_local_store_takes_calls_through_mlflows_client_and_joins_its_open_span(home: Path, tmp_path: Path) -> None:
    out = subprocess.run(
        [interpreter(VENVS / "mlflow", *MLFLOW), "-c", LOCAL],
        cwd=tmp_path,
        env={"CALLMETER_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert out.stdout.strip().endswith("fine"), out.stdout + out.stderr


# --- Phoenix


def phoenix_spans(url: str, project: str, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The project's spans by id, once all of these are there: Phoenix stores what it took a little later."""
    found: dict[str, dict[str, Any]] = {}

    def there() -> bool:
        try:
            listed = ask(f"{url}/v1/projects/{project}/spans?limit=200")["data"]
        except OSError:
            return False
        found.update({span["context"]["span_id"]: span for span in listed})
        return wanted <= found.keys()

    until(there, "the spans are in Phoenix", 30)
    return found


def test_phoenix_shows_what_the_events_say(
    phoenix: str, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", phoenix)
    monkeypatch.setenv("PHOENIX_PROJECT_NAME", "tests")
    calls = made("arize_phoenix", provider)
    expected = {span.span_id: (event, span) for event in calls.values() for span in spans_of(event)}
    found = phoenix_spans(phoenix, "tests", set(expected))
    assert set(found) == set(expected)
    for span_id, (event, span) in expected.items():
        seen = found[span_id]
        assert (seen["name"], seen["context"]["trace_id"]) == (span.name, span.trace_id)
        assert (seen["parent_id"] or "") == span.parent_id
        assert abs(instant_ns(seen["start_time"]) - span.start_ns) < 2000
        assert abs(instant_ns(seen["end_time"]) - span.end_ns) < 2000
        assert (seen["status_code"] == "ERROR") == (span.error is not None)
        if span.attempt is not None:
            continue
        shown = seen["attributes"]
        assert seen["span_kind"] == "LLM"
        exact = call_attributes(event).get("callmeter.cost.exact")
        assert shown.get("callmeter.cost.exact") == exact
        assert (exact is None) == (event.cost.total is None)
        if event.usage is not None:
            assert shown["llm.token_count.prompt"] == event.usage.input_tokens
            assert shown["llm.token_count.completion"] == event.usage.output_tokens
            assert shown["llm.token_count.prompt_details.cache_read"] == event.usage.cache_read_tokens
        first = event.time_to_first_chunk_s
        assert shown.get("gen_ai.response.time_to_first_chunk") == first
        assert (first is not None) == event.call.stream
    assert calls["stream"].time_to_first_chunk_s


def sent_from(home: Path, sink: Sink, event: CallEnded) -> None:
    """Deliver an event from a host that knows of no earlier delivery."""
    host = Host(home)
    host.append(sink, [replace(event, content=None)])
    host.run(host.worker(sink), 5)
    assert host.accounts(sink).delivered == 1
    host.close()


def test_phoenix_keeps_one_of_a_span_that_is_sent_twice(phoenix: str, tmp_path: Path) -> None:
    event = answered(facts("0" * 31 + "7"))
    for name in ("one", "other"):
        sent_from(tmp_path / name, Phoenix(phoenix, project="twice"), event)
    span = spans_of(event)[0].span_id
    phoenix_spans(phoenix, "twice", {span})
    assert len(ask(f"{phoenix}/v1/projects/twice/spans?limit=10")["data"]) == 1


def test_a_call_stands_below_the_callers_own_span_in_phoenix(
    phoenix: str, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", phoenix)
    monkeypatch.setenv("PHOENIX_PROJECT_NAME", "joined")
    # The program's own tracer, of which callmeter knows nothing but that a span of it is active.
    tracing = TracerProvider(resource=Resource({"openinference.project.name": "joined"}))
    tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{phoenix}/v1/traces")))
    callmeter.success_callback = ["arize_phoenix"]
    ends: list[Any] = []
    runtime = Runtime()
    runtime.subscribe(ends.append, types=CallSucceeded, inline=True)
    with using(runtime), tracing.get_tracer("app").start_as_current_span("handle request") as span:
        ask_model()
        assert runtime.flush(60)
        runtime.close(5)
    (event,) = ends
    own = trace.format_span_id(span.get_span_context().span_id)
    below = spans_of(event)[0].span_id
    found = phoenix_spans(phoenix, "joined", {own, below})
    assert found[below]["parent_id"] == own
    assert found[below]["context"]["trace_id"] == found[own]["context"]["trace_id"]
