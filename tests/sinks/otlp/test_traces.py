"""What arrives over OTLP is the event: decoded by OpenTelemetry's own protobufs from a real socket."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from callmeter.clock import SystemClock
from callmeter.events.model import CallEnded
from callmeter.events.spans import call_attributes, spans_of
from callmeter.settings import Settings
from callmeter.sinks.base import Delivery, RetryLater
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.otlp.traces import OtlpTraces
from callmeter.sinks.registry import make
from callmeter.sinks.sending import deliver
from callmeter.testing.faultserver import Act, FaultServer
from callmeter.testing.host import SENDER, Host, ended
from callmeter.types import Secret
from tests.ended_calls import AT_NS, CALL_ID, ERROR, answered, facts, failed, retried
from tests.sinks.otlp.wire import attributes, resource, span_ids, spans

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(span_ids) as one:
        yield one


def sink_to(server: FaultServer, **options: Any) -> OtlpTraces:
    return OtlpTraces(
        Target(url=f"{server.base_url}/v1/traces", headers={"x-key": Secret("k")}, **options), {"service.name": "web"}
    )


def sent(sink: OtlpTraces, *events: CallEnded) -> list[Any]:
    return [said for _, said in deliver(sink, events, SENDER, SystemClock(), lambda: 60)]


def test_a_call_arrives_whole(server: FaultServer) -> None:
    sink = sink_to(server)
    sink.capture_content = True
    (said,) = sent(sink, answered())
    assert said == Delivery(accepted=[answered().id])
    (request,) = server.received
    assert (request.path, request.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert request.headers["x-key"] == "k"
    assert resource(request.body)["service.name"] == "web"
    (span,) = spans(request.body)
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id) == (
        CALL_ID,
        spans_of(answered())[0].span_id,
        b"",
    )
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (AT_NS, AT_NS + 2_000_000_000)
    assert (span.kind, span.name) == (Span.SPAN_KIND_CLIENT, "chat claude-sonnet-4-5")
    assert span.status.code == Status.STATUS_CODE_UNSET
    expected = {n: list(v) if isinstance(v, tuple) else v for n, v in call_attributes(answered()).items()}
    assert attributes(span) == expected


def test_content_stays_here_unless_the_sink_captures_it(server: FaultServer) -> None:
    sent(sink_to(server), answered())
    assert b"Weather in Paris" not in server.received[0].body


def test_a_failure_is_an_error_with_its_exception(server: FaultServer) -> None:
    sent(sink_to(server), failed())
    (span,) = spans(server.received[0].body)
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, ERROR.message)
    (event,) = span.events
    assert event.name == "exception"
    assert attributes(event) == {"exception.type": "RateLimitError", "exception.message": "slow down"}
    assert event.time_unix_nano == AT_NS + 500_000_000


def test_attempts_and_the_callers_span_keep_their_order(server: FaultServer) -> None:
    sent(sink_to(server), retried(facts(trace_id="a" * 32, parent_id="b" * 16)))
    whole, first, second = spans(server.received[0].body)
    assert {span.trace_id.hex() for span in (whole, first, second)} == {"a" * 32}
    assert whole.parent_span_id.hex() == "b" * 16
    assert first.parent_span_id == second.parent_span_id == whole.span_id


def test_what_is_sent_again_is_the_same_bytes_but_for_the_sender(server: FaultServer) -> None:
    sink = sink_to(server)
    sent(sink, retried())
    sent(sink, retried())
    first, second = server.received
    assert first.body == second.body
    sent(sink_to(server), retried())
    assert spans(server.received[2].body) == spans(first.body)


def test_large_bodies_are_compressed_where_it_is_asked_for(server: FaultServer) -> None:
    sent(sink_to(server, gzip=True), *(ended(n) for n in range(20)))
    assert server.received[0].headers["content-encoding"] == "gzip"
    assert len(server.taken) == 20


def partial(rejected: int) -> bytes:
    return ExportTraceServiceResponse(
        partial_success={"rejected_spans": rejected, "error_message": "attribute too long"}
    ).SerializeToString()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"", PROTOBUF),
        (ExportTraceServiceResponse().SerializeToString(), PROTOBUF),
        (partial(0), PROTOBUF),
        (b"{}", {"content-type": "application/json; charset=utf-8"}),
        (b'{"partialSuccess":{}}', {"content-type": "application/json"}),
    ],
)
def test_an_otlp_answer_takes_the_batch(server: FaultServer, body: bytes, headers: dict[str, str]) -> None:
    server.answer(200, headers=headers, body=body)
    assert sent(sink_to(server), answered()) == [Delivery(accepted=[answered().id])]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>Sign in</html>", {"content-type": "text/html"}),
        (b"OK", {"content-type": "text/plain"}),
        (b"[]", {"content-type": "application/json"}),
        (b'{"partialSu', {"content-type": "application/json"}),
        (b'{"partialSuccess":[1]}', {"content-type": "application/json"}),
        (b"<html>", PROTOBUF),
    ],
)
def test_any_other_2xx_confirms_nothing(server: FaultServer, body: bytes, headers: dict[str, str]) -> None:
    server.answer(200, headers=headers, body=body)
    (said,) = sent(sink_to(server), answered())
    assert isinstance(said, RetryLater)
    assert "not OTLP" in str(said)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (partial(1), PROTOBUF),
        (
            b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"attribute too long"}}',
            {"content-type": "application/json"},
        ),
    ],
)
def test_a_rejected_span_is_found_and_the_others_get_through(host: Host, body: bytes, headers: dict[str, str]) -> None:
    with FaultServer(span_ids, refusal=lambda keys: Act(body=body, headers=headers)) as rejecting:
        rejecting.poison = frozenset({spans_of(ended(5))[0].span_id})
        sink = sink_to(rejecting)
        host.publish(sink, range(16))
        host.run(host.worker(sink), 60)
    accounts = host.accounts(sink)
    assert (accounts.delivered, accounts.dead) == (15, 1)
    assert host.dead(sink)[ended(5).id].endswith("rejected 1 spans: attribute too long")


def test_a_call_below_a_span_that_is_not_recorded_is_not_traced() -> None:
    sink = OtlpTraces(Target(url="http://x"), {})
    assert sink.takes(facts(parent_id="b" * 16))
    assert not sink.takes(facts(parent_id="b" * 16, sampled=False))


def test_of_calls_without_a_parent_a_share_is_traced_by_trace() -> None:
    sink = OtlpTraces(Target(url="http://x"), {}, sample=0.25)
    calls = [facts(f"{n:032x}", trace_id=f"{n:032x}") for n in range(4000)]
    kept = [call for call in calls if sink.takes(call)]
    assert 850 < len(kept) < 1150
    assert [call for call in calls if sink.takes(call)] == kept
    assert sink.takes(facts(trace_id=calls[0].trace_id, parent_id="b" * 16))


def test_programs_of_other_names_do_not_deliver_each_others_calls() -> None:
    def identity(**environ: str) -> str:
        return make("otlp", Settings(), environ).identity()

    assert identity(OTEL_SERVICE_NAME="a") == identity(OTEL_SERVICE_NAME="a")
    assert identity(OTEL_SERVICE_NAME="a") != identity(OTEL_SERVICE_NAME="b")
    assert identity(OTEL_SERVICE_NAME="a") != identity(OTEL_SERVICE_NAME="a", OTEL_EXPORTER_OTLP_HEADERS="k=v")


PROBE = """
import sys, threading
from callmeter.settings import Settings
from callmeter.sinks.registry import make
sink = make("otlp", Settings(), {})
assert not {"opentelemetry.sdk", "opentelemetry.trace", "google.protobuf"} & sys.modules.keys(), "imported too early"
sink.open()
from opentelemetry import trace, metrics
assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
assert "Proxy" in type(metrics.get_meter_provider()).__name__
assert threading.active_count() == 1
print("grpc" in sys.modules, "requests" in sys.modules)
"""


def test_making_it_imports_nothing_and_opening_it_starts_nothing_and_sets_no_provider() -> None:
    out = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    assert out.stdout.split() == ["False", "False"]
