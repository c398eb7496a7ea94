"""Every sink of ours through the suite that plug-in authors run. What shares all its delivering code with a sink of the
fast lane is in the slow one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from callmeter.events.model import AnyEvent, CallEnded
from callmeter.events.trace import span_id
from callmeter.settings import Settings
from callmeter.sinks.base import Sink
from callmeter.sinks.langfuse import Langfuse
from callmeter.sinks.langsmith import LangSmith
from callmeter.sinks.mlflow import Mlflow
from callmeter.sinks.openinference import Arize, Phoenix
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.otlp.logs import OtlpLogs
from callmeter.sinks.otlp.traces import OtlpTraces
from callmeter.sinks.sentry import Sentry
from callmeter.sinks.traceloop import Traceloop
from callmeter.sinks.webhook import Webhook
from callmeter.testing.faultserver import Act, FaultServer
from callmeter.testing.host import Host
from callmeter.testing.sink_conformance import SinkConformance
from callmeter.types import Secret
from tests.sinks.otlp.wire import attributes, span_ids

CANARY = "canary-7f3a"


class TestWebhook(SinkConformance):
    secrets: ClassVar[tuple[str, ...]] = (CANARY,)

    def make_sink(self, url: str) -> Sink:
        return Webhook(f"{url}/{CANARY}", CANARY, headers={"authorization": CANARY})


class Spans(SinkConformance):
    """Sinks whose service tells calls by their spans, and answers as OTLP wants it."""

    checks_answers: ClassVar[bool] = True
    secrets: ClassVar[tuple[str, ...]] = (CANARY,)

    def key(self, event: AnyEvent) -> str:
        assert isinstance(event, CallEnded)
        return span_id(event.call)

    def keys(self, body: bytes) -> Sequence[str]:
        return span_ids(body)

    def healthy(self, keys: Sequence[str]) -> Act:
        return Act(headers={"content-type": "application/x-protobuf"})


class TestOtlp(Spans):
    def make_sink(self, url: str) -> Sink:
        return OtlpTraces(Target(url=f"{url}/v1/traces", headers={"authorization": Secret(CANARY)}), {})


@pytest.mark.slow
class TestOtlpLogs(Spans):
    def make_sink(self, url: str) -> Sink:
        return OtlpLogs(Target(url=f"{url}/v1/logs", headers={"authorization": Secret(CANARY)}), {})

    def key(self, event: AnyEvent) -> str:
        return event.id

    def keys(self, body: bytes) -> Sequence[str]:
        try:
            (resource,) = ExportLogsServiceRequest.FromString(body).resource_logs
        except Exception:
            return ()
        records: list[Any] = [record for scope in resource.scope_logs for record in scope.log_records]
        return [attributes(record)["callmeter.event.id"] for record in records]

    @pytest.mark.xfail(reason="the worker does not note what is in flight", strict=False)
    def test_a_process_that_dies_before_it_could_note_the_answer_is_followed_by_another(
        self, host: Host, sink: Sink, server: FaultServer
    ) -> None:
        super().test_a_process_that_dies_before_it_could_note_the_answer_is_followed_by_another(host, sink, server)


@pytest.mark.slow
class TestLangfuse(Spans):
    def make_sink(self, url: str) -> Sink:
        return Langfuse("pk-lf-1", CANARY, host=url)


@pytest.mark.slow
class TestMlflow(Spans):
    def make_sink(self, url: str) -> Sink:
        return Mlflow(url, experiment_id="7", authorization=Secret(f"Bearer {CANARY}"))


@pytest.mark.slow
class TestPhoenix(Spans):
    def make_sink(self, url: str) -> Sink:
        return Phoenix(url, api_key=CANARY)


@pytest.mark.slow
class TestArize(Spans):
    def make_sink(self, url: str) -> Sink:
        return Arize("space", CANARY, url=f"{url}/v1/traces")


@pytest.mark.slow
class TestLangSmith(Spans):
    def make_sink(self, url: str) -> Sink:
        return LangSmith(CANARY, url=url)


@pytest.mark.slow
class TestTraceloop(Spans):
    def make_sink(self, url: str) -> Sink:
        return Traceloop(CANARY, url=url)


@pytest.mark.slow
class TestSentry(Spans):
    def make_sink(self, url: str) -> Sink:
        return Sentry(f"{url.replace('://', f'://{CANARY}@')}/42")


def _from_the_docs() -> dict[str, Any]:
    page = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Pager" in block]
    scope: dict[str, Any] = {}
    exec(example, scope)
    return scope


@pytest.mark.slow
class TestTheSinkInTheDocs(SinkConformance):
    def make_sink(self, url: str) -> Sink:
        sink: Sink = _from_the_docs()["make"](Settings(), {"PAGER_URL": f"{url}/events"})
        return sink
