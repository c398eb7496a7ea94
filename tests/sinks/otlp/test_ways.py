"""gRPC, and TLS with certificates of one's own: the same spans, every status with its one meaning."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from callmeter.clock import SystemClock
from callmeter.errors import ConfigError
from callmeter.sinks.base import Delivery, Misconfigured, Refused, RetryLater, TooLarge
from callmeter.sinks.otlp.environ import Target
from callmeter.sinks.otlp.traces import OtlpTraces
from callmeter.sinks.sending import deliver
from callmeter.testing.faultserver import FaultServer
from callmeter.testing.host import SENDER
from callmeter.types import Secret
from tests.ended_calls import answered
from tests.sinks.otlp.wire import span_ids

Behave = Callable[[Any], ExportTraceServiceResponse]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A gRPC collector that takes what comes, or does as it is told first."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.metadata: dict[str, str] = {}
        self.behave: Behave = lambda context: ExportTraceServiceResponse()

    def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
        self.metadata = dict(context.invocation_metadata())
        self.requests.append(request)
        return self.behave(context)


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    one = Collector()
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 20_000)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(one, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield one, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


def sent(target: Target, *events: Any, timeout_s: float = 5.0) -> Any:
    sink = OtlpTraces(target, {})
    sink.timeout_s = timeout_s
    sink.open()
    try:
        ((_, said),) = deliver(sink, events or (answered(),), SENDER, SystemClock(), lambda: 60)
        return said
    finally:
        sink.close()


def test_a_call_arrives_over_grpc_with_its_headers(collector: tuple[Collector, str]) -> None:
    there, url = collector
    said = sent(Target(url=url, protocol="grpc", headers={"x-key": Secret("k")}, gzip=True))
    assert said == Delivery(accepted=[answered().id])
    (request,) = there.requests
    assert span_ids(request.SerializeToString()) == [answered().call.span_id]
    assert there.metadata["x-key"] == "k"


def aborting(code: grpc.StatusCode, retry_after_s: float | None = None) -> Behave:
    def behave(context: Any) -> ExportTraceServiceResponse:
        if retry_after_s is not None:
            info, status = RetryInfo(retry_delay=Duration(seconds=int(retry_after_s))), Status(code=code.value[0])
            status.details.add().Pack(info)
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(code, "told so")
        raise AssertionError

    return behave


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        *((code, RetryLater) for code in ("CANCELLED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")),
        *((code, RetryLater) for code in ("RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED")),
        *((code, Misconfigured) for code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND")),
        *((code, Refused) for code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS")),
    ],
)
def test_every_status_has_one_meaning(collector: tuple[Collector, str], code: str, meaning: type) -> None:
    there, url = collector
    there.behave = aborting(getattr(grpc.StatusCode, code))
    said = sent(Target(url=url, protocol="grpc"))
    assert type(said) is meaning
    assert "told so" in str(said)


def test_a_wait_that_is_asked_for_is_kept(collector: tuple[Collector, str]) -> None:
    there, url = collector
    there.behave = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, 120)
    assert sent(Target(url=url, protocol="grpc")).after_s == 120.0


def test_a_batch_larger_than_the_server_takes_is_too_large(collector: tuple[Collector, str]) -> None:
    _, url = collector
    said = sent(Target(url=url, protocol="grpc"), *[answered()] * 20)
    assert isinstance(said, TooLarge)


def test_a_partial_success_is_a_refusal(collector: tuple[Collector, str]) -> None:
    there, url = collector
    partial = {"rejected_spans": 1, "error_message": "too long"}
    there.behave = lambda context: ExportTraceServiceResponse(partial_success=partial)
    said = sent(Target(url=url, protocol="grpc"))
    assert isinstance(said, Refused)
    assert "rejected 1 spans: too long" in str(said)


def test_without_an_answer_it_may_have_arrived_and_without_a_connection_it_did_not(
    collector: tuple[Collector, str],
) -> None:
    there, url = collector
    released = threading.Event()

    def hang(context: Any) -> ExportTraceServiceResponse:
        released.wait(20)
        return ExportTraceServiceResponse()

    there.behave = hang
    said = sent(Target(url=url, protocol="grpc"), timeout_s=0.3)
    released.set()
    assert (type(said), said.uncertain) == (RetryLater, True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        said = sent(Target(url=f"http://127.0.0.1:{unused.getsockname()[1]}", protocol="grpc"), timeout_s=2.0)
    assert (type(said), said.uncertain) == (RetryLater, False)


# --- certificates of one's own


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = ca.issue_cert("client@example.com")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    return ca


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FaultServer]:
    """A server that shows a certificate of that authority and wants one of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with FaultServer(span_ids) as one:
        one._server.socket = context.wrap_socket(one._server.socket, server_side=True)
        yield one


def test_the_variables_certificates_are_trusted_and_shown(secure: FaultServer, tmp_path: Path) -> None:
    url = secure.base_url.replace("http:", "https:")
    files = {"client_key": str(tmp_path / "client.key"), "client_certificate": str(tmp_path / "client.pem")}
    assert isinstance(sent(Target(url=url)), RetryLater)
    assert isinstance(sent(Target(url=url, certificate=str(tmp_path / "ca.pem"))), RetryLater)
    said = sent(Target(url=url, certificate=str(tmp_path / "ca.pem"), **files))
    assert said == Delivery(accepted=[answered().id])
    assert len(secure.received) == 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path, protocol: Any) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        sent(Target(url="https://127.0.0.1:1", protocol=protocol, certificate=missing))
